//! Pure: the rules that a batch must keep before a leader appends it, and its rewriting where the topic asks for one (`LogValidator.java`).
//!
//! Everything is checked with base offset 0, outside the log's lock: base offset and leader epoch lie outside the checksum, so the log
//! assigns them in the copied header when it writes, and the payload stays the producer's bytes.

use bytes::Bytes;
use kafka_wire::records::batch::{
    BATCH_HEADER_LEN, BatchBuilder, BatchBuilderOptions, BatchHeader, BatchView, LOG_OVERHEAD,
    MAGIC_POSITION, MAGIC_V2, NO_TIMESTAMP, TimestampType,
};

use crate::log::append::{AppendError, AppendOptions, AppendOrigin, RecordFailure};
use crate::log::codec::{self, NO_CODEC, ZSTD};
use crate::log::config::{LogConfig, TargetCompression};
use crate::log::legacy_append;

/// Failures of single records that the error text repeats.
const FAILURES_IN_MESSAGE: usize = 3;
/// Smallest size field of an entry of any magic.
const MIN_ENTRY_SIZE: i32 = 14;
/// First produce version that may carry zstd.
const FIRST_ZSTD_VERSION: i16 = 7;
/// First produce version that must carry batches of magic 2.
const FIRST_V2_VERSION: i16 = 3;

/// A batch that may be appended: base offset 0, all else final.
#[derive(Debug)]
pub struct ValidBatch {
    /// Its header; base offset and leader epoch are the log's to set.
    pub header: BatchHeader,
    /// Its records as they are stored.
    pub payload: Bytes,
    /// True if the records were rewritten, so that sizes have changed.
    pub rewritten: bool,
}

impl ValidBatch {
    /// Bytes of the whole batch.
    pub fn size_bytes(&self) -> usize {
        BATCH_HEADER_LEN + self.payload.len()
    }
}

/// Splits the first entry off `records`, as `ByteBufferLogInputStream` does; `None` if there is no whole one.
fn first_entry(records: &Bytes) -> Result<Option<(i8, Bytes)>, AppendError> {
    if records.len() < LOG_OVERHEAD {
        return Ok(None);
    }
    let size = i32::from_be_bytes([records[8], records[9], records[10], records[11]]);
    if size < MIN_ENTRY_SIZE {
        return Err(AppendError::Corrupt(format!(
            "Record size {size} is less than the minimum record overhead ({MIN_ENTRY_SIZE})"
        )));
    }
    let Some(magic) = records.get(MAGIC_POSITION).map(|byte| *byte as i8) else {
        return Ok(None);
    };
    if !(0..=MAGIC_V2).contains(&magic) {
        return Err(AppendError::Corrupt(format!(
            "Invalid magic found in record: {magic}"
        )));
    }
    let whole = LOG_OVERHEAD + size as usize;
    if whole > records.len() {
        return Ok(None);
    }
    Ok(Some((magic, records.slice(..whole))))
}

/// Checks what a leader is asked to append and rewrites it where the topic's configuration wants another form.
/// `None` if there is no whole batch in `records`. `partition` is for messages.
///
/// # Errors
/// [`AppendError`] with the code and the text of Apache's broker.
pub fn validate(
    records: &Bytes,
    config: &LogConfig,
    options: &AppendOptions,
    partition: &str,
) -> Result<Option<ValidBatch>, AppendError> {
    let first = first_entry(records)?;
    if let Some(version) = options
        .produce_version
        .filter(|version| *version >= FIRST_V2_VERSION)
    {
        check_produce_version(records, first.as_ref(), version)?;
    }
    let Some((magic, batch)) = first else {
        return Ok(None);
    };
    let check = Check {
        config,
        options,
        partition,
    };
    if magic < MAGIC_V2 {
        return legacy_append::validate(records, &check).map(Some);
    }
    let view = BatchView::parse(&batch)
        .map_err(|error| AppendError::Corrupt(format!("{error} in topic partition {partition}")))?;
    check.before_lock(&view)?;
    if first_entry(&records.slice(batch.len()..))?.is_some() {
        return Err(AppendError::invalid(
            "Compressed outer record has more than one batch",
        ));
    }
    check.batch(&view)?;
    let source = view.header.codec_id();
    let target = match config.compression_type {
        TargetCompression::Producer => source,
        // Control records are compressed only if they come so.
        TargetCompression::Codec(_) if source == NO_CODEC && view.header.is_control() => NO_CODEC,
        TargetCompression::Codec(target) => target,
    };
    let plain = codec::decompress(&view)?;
    let checked = check.records(&view, &plain)?;
    let keep = source == target && (source == NO_CODEC || checked.consecutive);
    let valid = match keep {
        true => check.in_place(&view, &batch, checked.max_timestamp),
        false => check.rebuild(&view, &plain, target)?,
    };
    if valid.rewritten {
        check.size(valid.size_bytes())?;
    }
    Ok(Some(valid))
}

/// What `ProduceRequest.validateRecords` asks of requests since version 3.
fn check_produce_version(
    records: &Bytes,
    first: Option<&(i8, Bytes)>,
    version: i16,
) -> Result<(), AppendError> {
    let requests = format!("Produce requests with version {version}");
    let Some((magic, batch)) = first else {
        return Err(AppendError::invalid(format!(
            "{requests} must have at least one record batch per partition"
        )));
    };
    if *magic != MAGIC_V2 {
        return Err(AppendError::invalid(format!(
            "{requests} are only allowed to contain record batches with magic version 2"
        )));
    }
    let codec = batch.get(22).map_or(NO_CODEC, |attributes| attributes & 7);
    if version < FIRST_ZSTD_VERSION && codec == ZSTD {
        return Err(AppendError::UnsupportedCompression(format!(
            "{requests} are not allowed to use ZStandard compression"
        )));
    }
    if first_entry(&records.slice(batch.len()..))?.is_some() {
        return Err(AppendError::invalid(format!(
            "{requests} are only allowed to contain exactly one record batch per partition"
        )));
    }
    Ok(())
}

/// The checks of one append.
pub(super) struct Check<'a> {
    pub(super) config: &'a LogConfig,
    pub(super) options: &'a AppendOptions,
    pub(super) partition: &'a str,
}

impl Check<'_> {
    /// Base offset, size and checksum.
    fn before_lock(&self, view: &BatchView<'_>) -> Result<(), AppendError> {
        let header = &view.header;
        if self.options.origin == AppendOrigin::Client && header.base_offset != 0 {
            return Err(AppendError::invalid(format!(
                "The baseOffset of the record batch in the append to {} should be 0, but it is {}",
                self.partition, header.base_offset
            )));
        }
        self.size(header.size_bytes())?;
        if !view.crc_ok() {
            return Err(AppendError::Corrupt(format!(
                "Record is corrupt (stored crc = {}) in topic partition {}.",
                header.crc, self.partition
            )));
        }
        Ok(())
    }

    pub(super) fn size(&self, size: usize) -> Result<(), AppendError> {
        let limit = self.config.max_message_bytes as usize;
        if size > limit {
            let partition = self.partition.to_owned();
            return Err(AppendError::MessageTooLarge {
                partition,
                size,
                limit,
            });
        }
        Ok(())
    }

    /// Counts, control bit and sequence, for clients.
    fn batch(&self, view: &BatchView<'_>) -> Result<(), AppendError> {
        if self.options.origin != AppendOrigin::Client {
            return Ok(());
        }
        let header = &view.header;
        let partition = self.partition;
        let (first, last) = (header.base_offset, header.last_offset());
        let count_from_offsets = last.wrapping_sub(first).wrapping_add(1);
        let count = header.record_count;
        if count_from_offsets <= 0 {
            return Err(AppendError::invalid(format!(
                "Batch has an invalid offset range: [{first}, {last}] in topic partition {partition}"
            )));
        }
        if count <= 0 {
            return Err(AppendError::invalid(format!(
                "Invalid reported count for record batch: {count} in topic partition {partition}"
            )));
        }
        if count_from_offsets != i64::from(count) {
            return Err(AppendError::invalid(format!(
                "Inconsistent batch offset range [{first}, {last}] and count of records {count} in topic \
                 partition {partition}"
            )));
        }
        if header.is_control() {
            return Err(AppendError::invalid(format!(
                "Clients are not allowed to write control records in topic partition {partition}"
            )));
        }
        if header.has_producer_id() && header.base_sequence < 0 {
            return Err(AppendError::invalid(format!(
                "Invalid sequence number {} in record batch with producerId {} in topic partition {partition}",
                header.base_sequence, header.producer_id
            )));
        }
        Ok(())
    }

    /// Checks each record.
    fn records(&self, view: &BatchView<'_>, plain: &[u8]) -> Result<CheckedRecords, AppendError> {
        let mut failures = Failures::default();
        let mut checked = CheckedRecords {
            max_timestamp: NO_TIMESTAMP,
            consecutive: true,
        };
        for (index, record) in view.records(plain).enumerate() {
            let record = record.map_err(|error| {
                AppendError::invalid(format!("{error} in topic partition {}", self.partition))
            })?;
            checked.max_timestamp = checked.max_timestamp.max(record.timestamp);
            checked.consecutive &= record.offset_delta as usize == index;
            let parts = RecordParts {
                has_key: record.key.is_some(),
                timestamp: record.timestamp,
                offset: record.offset,
                index: index as i32,
            };
            self.record(view.header.timestamp_type(), &parts, &mut failures);
        }
        failures.into_result()?;
        Ok(checked)
    }

    pub(super) fn record(
        &self,
        batch_type: TimestampType,
        record: &RecordParts,
        failures: &mut Failures,
    ) {
        let config = self.config;
        if config.compact && !record.has_key {
            failures.push(record.index, false, || {
                format!(
                    "Compacted topic cannot accept message without key in topic partition {}",
                    self.partition
                )
            });
            return;
        }
        let now = self.options.now_ms;
        if config.message_timestamp_type == TimestampType::CreateTime
            && record.timestamp != NO_TIMESTAMP
        {
            let age = now.saturating_sub(record.timestamp);
            let before = config.message_timestamp_before_max_ms;
            let after = config.message_timestamp_after_max_ms;
            if age > before || age.saturating_neg() > after {
                failures.push(record.index, true, || {
                    format!(
                        "Timestamp {} of message with offset {} is out of range. The timestamp should be \
                         within [{}, {}]",
                        record.timestamp,
                        record.offset,
                        now.saturating_sub(before),
                        now.saturating_add(after)
                    )
                });
            }
        } else if batch_type == TimestampType::LogAppendTime {
            failures.push(record.index, true, || {
                format!(
                    "Invalid timestamp type in message with offset {}. Producer should not set timestamp type \
                     to LogAppendTime.",
                    record.offset
                )
            });
        }
    }

    /// Keeps the payload and sets the timestamps that the topic asks for.
    fn in_place(&self, view: &BatchView<'_>, batch: &Bytes, max_timestamp: i64) -> ValidBatch {
        let mut header = view.header;
        let kind = self.config.message_timestamp_type;
        let max_timestamp = match kind {
            TimestampType::CreateTime => max_timestamp,
            TimestampType::LogAppendTime => self.options.now_ms,
        };
        if header.timestamp_type() != kind || header.max_timestamp != max_timestamp {
            header.set_timestamp(kind, max_timestamp);
            header.crc = header.compute_crc(view.payload());
        }
        header.base_offset = 0;
        ValidBatch {
            header,
            payload: batch.slice(BATCH_HEADER_LEN..),
            rewritten: false,
        }
    }

    /// Writes the records into a new batch with another codec, or with offsets without gaps.
    fn rebuild(
        &self,
        view: &BatchView<'_>,
        plain: &[u8],
        target: u8,
    ) -> Result<ValidBatch, AppendError> {
        let header = &view.header;
        let mut builder =
            BatchBuilder::new(self.builder_options(header.is_transactional(), header));
        for (index, record) in view.records(plain).enumerate() {
            let record = record.map_err(|error| AppendError::invalid(error.to_string()))?;
            let headers = record.headers();
            builder.push_parts(
                index as i32,
                record.timestamp,
                record.key,
                record.value,
                headers.iter().copied(),
            );
        }
        codec::finish(builder, target)
    }

    fn builder_options(&self, transactional: bool, header: &BatchHeader) -> BatchBuilderOptions {
        BatchBuilderOptions {
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
            transactional,
            control: header.is_control(),
            log_append_time: (self.config.message_timestamp_type == TimestampType::LogAppendTime)
                .then_some(self.options.now_ms),
            ..BatchBuilderOptions::default()
        }
    }
}

/// What checking a batch's records found.
struct CheckedRecords {
    max_timestamp: i64,
    /// True if the records' offsets are 0, 1, 2 ...; some old clients leave gaps, and their batches are rewritten.
    consecutive: bool,
}

/// What of a record decides whether it may be appended.
pub(super) struct RecordParts {
    /// False if its key is null.
    pub(super) has_key: bool,
    /// Milliseconds, -1 for none.
    pub(super) timestamp: i64,
    /// Offset as sent.
    pub(super) offset: i64,
    /// Number in its batch.
    pub(super) index: i32,
}

/// Records that were refused.
#[derive(Debug, Default)]
pub struct Failures {
    list: Vec<RecordFailure>,
    bad_timestamp: bool,
}

impl Failures {
    /// Notes a record.
    pub fn push(&mut self, index: i32, is_timestamp: bool, message: impl FnOnce() -> String) {
        self.bad_timestamp |= is_timestamp;
        self.list.push(RecordFailure {
            index,
            message: message(),
        });
    }

    /// An error if any record was noted; a bad timestamp decides its kind.
    ///
    /// # Errors
    /// [`AppendError::InvalidTimestamp`] or [`AppendError::InvalidRecord`].
    pub fn into_result(self) -> Result<(), AppendError> {
        if self.list.is_empty() {
            return Ok(());
        }
        if self.bad_timestamp {
            return Err(AppendError::InvalidTimestamp { records: self.list });
        }
        let shown: Vec<String> = self.list[..self.list.len().min(FAILURES_IN_MESSAGE)]
            .iter()
            .map(|failure| {
                format!(
                    "RecordError(batchIndex={}, message='{}')",
                    failure.index, failure.message
                )
            })
            .collect();
        let message = format!(
            "One or more records have been rejected due to {} record errors in total, and only showing the \
             first three errors at most: [{}]",
            self.list.len(),
            shown.join(", ")
        );
        Err(AppendError::InvalidRecord {
            message,
            records: self.list,
        })
    }
}

#[cfg(test)]
#[path = "validator_test.rs"]
mod tests;
