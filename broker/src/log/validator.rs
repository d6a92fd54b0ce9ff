//! Pure: the rules that a batch must keep before a leader appends it, and its rewriting where the topic asks for one (`LogValidator.java`).
//!
//! Everything is checked with base offset 0, outside the log's lock: base offset and leader epoch lie outside the checksum, so the log
//! assigns them in the copied header when it writes, and the payload stays the producer's bytes.

use bytes::Bytes;
use kafka_wire::records::batch::{
    BATCH_HEADER_LEN, BatchHeader, BatchView, MAGIC_V2, NO_PRODUCER_EPOCH, NO_PRODUCER_ID,
    NO_TIMESTAMP, TimestampType,
};
use kafka_wire::records::batch_builder::{BatchBuilder, BatchBuilderOptions};
use kafka_wire::records::entries::{self, Entry};
use kafka_wire::records::legacy::{LegacyError, MessageView};
use kafka_wire::records::record::{RecordError, RecordReader, RecordSource as _, SkippedRecord};
use kafka_wire::records::stream::StreamError;

use crate::log::append::{AppendError, AppendOptions, AppendOrigin, RecordFailure};
use crate::log::codec::{self, MAX_DECOMPRESSED_BYTES, MAX_WHOLE_BYTES, NO_CODEC, Unpacked};
use crate::log::config::{LogConfig, TargetCompression};
use crate::log::legacy_append;

/// Failures of single records that the error text repeats.
const FAILURES_IN_MESSAGE: usize = 3;
/// Bytes of a batch up to and including its last offset delta.
const LAST_OFFSET_DELTA_END: usize = 27;
/// The attributes that stay when a batch gets another timestamp.
const KNOWN_ATTRIBUTES: i16 = 0x7f;

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
    let check = Check {
        config,
        options,
        partition,
    };
    let mut first = None;
    let mut count = 0;
    let mut source = NO_CODEC;
    let mut rest = &records[..];
    while let Some((entry, tail)) = entries::split_first(rest)? {
        let sound = check.before_lock(entry)?;
        if sound.codec_id() != NO_CODEC {
            source = sound.codec_id();
        }
        first.get_or_insert(sound);
        count += 1;
        rest = tail;
    }
    let Some(first) = first else {
        return Ok(None);
    };
    if count > 1 && (source != NO_CODEC || matches!(first, Sound::Batch(_))) {
        return Err(AppendError::invalid(
            "Compressed outer record has more than one batch",
        ));
    }
    match first {
        Sound::Message(_) => legacy_append::validate(records, source, &check).map(Some),
        Sound::Batch(view) => check.whole(records, &view).map(Some),
    }
}

/// A batch or message of the right size, with the right checksum.
enum Sound<'a> {
    Batch(BatchView<'a>),
    Message(MessageView<'a>),
}

impl Sound<'_> {
    fn codec_id(&self) -> u8 {
        match self {
            Sound::Batch(view) => view.header.codec_id(),
            Sound::Message(view) => view.codec_id(),
        }
    }
}

/// The checks of one append.
pub(super) struct Check<'a> {
    pub(super) config: &'a LogConfig,
    pub(super) options: &'a AppendOptions,
    pub(super) partition: &'a str,
}

impl Check<'_> {
    /// Base offset, size, checksum and codec, which are looked at in all that is sent before anything else.
    fn before_lock<'e>(&self, entry: Entry<'e>) -> Result<Sound<'e>, AppendError> {
        let sound = match entry.magic {
            MAGIC_V2 => Sound::Batch(self.sound_batch(entry.bytes)?),
            _ => {
                self.size(entry.bytes.len())?;
                let message = MessageView::parse(entry.bytes);
                let message = message.map_err(|error| self.legacy(&error))?;
                if !message.crc_ok() {
                    let offset = message.offset;
                    return Err(self.legacy(&LegacyError::BadChecksum { offset }));
                }
                Sound::Message(message)
            }
        };
        match sound.codec_id() {
            id @ 5.. => Err(codec::unknown(id)),
            _ => Ok(sound),
        }
    }

    fn sound_batch<'e>(&self, bytes: &'e [u8]) -> Result<BatchView<'e>, AppendError> {
        let base_offset = bytes
            .first_chunk()
            .map_or(0, |base| i64::from_be_bytes(*base));
        if self.options.origin == AppendOrigin::Client && base_offset != 0 {
            return Err(AppendError::invalid(format!(
                "The baseOffset of the record batch in the append to {} should be 0, but it is {base_offset}",
                self.partition
            )));
        }
        if bytes.len() < LAST_OFFSET_DELTA_END {
            let partition = self.partition;
            return Err(AppendError::Unexpected(format!(
                "batch of {} bytes in topic partition {partition} has no last offset",
                bytes.len()
            )));
        }
        self.size(bytes.len())?;
        let view = BatchView::parse(bytes).map_err(|error| {
            AppendError::Corrupt(format!("{error} in topic partition {}", self.partition))
        })?;
        if !view.crc_ok() {
            return Err(AppendError::Corrupt(format!(
                "Record is corrupt (stored crc = {}) in topic partition {}.",
                view.header.crc, self.partition
            )));
        }
        Ok(view)
    }

    /// Checks the only batch of an append, and rewrites it if the topic wants another codec.
    fn whole(&self, records: &Bytes, view: &BatchView<'_>) -> Result<ValidBatch, AppendError> {
        self.batch(view)?;
        let source = view.header.codec_id();
        let target = match self.config.compression_type {
            TargetCompression::Producer => source,
            // Control records are compressed only if they come so.
            TargetCompression::Codec(_) if source == NO_CODEC && view.header.is_control() => {
                NO_CODEC
            }
            TargetCompression::Codec(target) => target,
        };
        if source == target && source != NO_CODEC {
            let max_timestamp = self.packed(view)?;
            return Ok(self.in_place(view, records, max_timestamp));
        }
        let plain = codec::unpack_within(view, MAX_DECOMPRESSED_BYTES)?;
        let max_timestamp = self.records(view, &plain)?;
        if source != target {
            let valid = self.rebuild(view, &plain.bytes, target)?;
            self.size(valid.size_bytes())?;
            return Ok(valid);
        }
        Ok(self.in_place(view, records, max_timestamp))
    }

    pub(super) fn legacy(&self, error: &LegacyError) -> AppendError {
        let text = format!("{error} in topic partition {}", self.partition);
        match error {
            LegacyError::BadSize { .. }
            | LegacyError::BadChecksum { .. }
            | LegacyError::BadMagic { .. }
            | LegacyError::Truncated { .. } => AppendError::Corrupt(text),
            LegacyError::BadWrapper { .. } => AppendError::invalid(text),
            _ => AppendError::Unexpected(text),
        }
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

    /// Checks each record; the largest timestamp.
    fn records(&self, view: &BatchView<'_>, plain: &Unpacked<'_>) -> Result<i64, AppendError> {
        let mut failures = Failures::default();
        let mut max_timestamp = NO_TIMESTAMP;
        for (index, record) in view.records(&plain.bytes).enumerate() {
            let record = record.map_err(|error| self.bad_record(view, plain, error))?;
            max_timestamp = max_timestamp.max(record.timestamp);
            let parts = RecordParts {
                has_key: record.key.is_some(),
                timestamp: record.timestamp,
                offset: record.offset,
                index: index as i32,
            };
            self.record(view.header.timestamp_type(), &parts, &mut failures, || {
                let (key, value) = (record.key, record.value);
                let (key, value) = (key.map_or(0, <[u8]>::len), value.map_or(0, <[u8]>::len));
                described("DefaultRecord", &parts, key, value)
            });
        }
        self.unbroken(plain)?;
        failures.into_result()?;
        Ok(max_timestamp)
    }

    /// Checks each record of a packed batch that is kept as it is, as far as that needs neither keys nor values; the largest timestamp.
    fn packed(&self, view: &BatchView<'_>) -> Result<i64, AppendError> {
        let base = view.header.record_base();
        let declared = view.header.record_count;
        let plain = codec::unpack_within(view, MAX_WHOLE_BYTES)?;
        if plain.too_large {
            // However much it unpacks to, it takes little memory.
            drop(plain);
            let mut stream = codec::stream(view, false)?;
            let skipped = self.skipped_records(view, || {
                stream.skip_record(&base).map_err(|error| match error {
                    StreamError::Packing(error) => codec::broken(&error),
                    StreamError::Record(error) => self.unsound(error),
                })
            })?;
            if !stream.at_end().map_err(|error| codec::broken(&error))? {
                return Err(self.unsound(RecordError::BadCount { declared }));
            }
            return skipped.into_result(self);
        }
        let mut reader = RecordReader::new(&plain.bytes);
        let skipped = self.skipped_records(view, || {
            let record = reader.skip_record(&base);
            record.map_err(|error| self.bad_record(view, &plain, error))
        })?;
        if !reader.is_empty() {
            return Err(self.bad_record(view, &plain, RecordError::BadCount { declared }));
        }
        self.unbroken(&plain)?;
        skipped.into_result(self)
    }

    /// What the records of a packed batch look like, which `next` skips one after another.
    fn skipped_records(
        &self,
        view: &BatchView<'_>,
        mut next: impl FnMut() -> Result<SkippedRecord, AppendError>,
    ) -> Result<Skipped, AppendError> {
        let mut skipped = Skipped {
            failures: Failures::default(),
            max_timestamp: NO_TIMESTAMP,
            consecutive: true,
        };
        for index in 0..view.header.record_count {
            let record = next()?;
            let parts = RecordParts {
                has_key: record.key_size >= 0,
                timestamp: record.timestamp,
                offset: record.offset,
                index,
            };
            let kind = view.header.timestamp_type();
            let failed = self.record(kind, &parts, &mut skipped.failures, || {
                let (key, value) = (record.key_size.max(0), record.value_size.max(0));
                described("PartialDefaultRecord", &parts, key as usize, value as usize)
            });
            if !failed {
                skipped.max_timestamp = skipped.max_timestamp.max(record.timestamp);
                skipped.consecutive &= record.offset_delta == index;
            }
        }
        Ok(skipped)
    }

    fn unsound(&self, error: RecordError) -> AppendError {
        AppendError::invalid(format!("{error} in topic partition {}", self.partition))
    }

    fn bad_record(
        &self,
        view: &BatchView<'_>,
        plain: &Unpacked<'_>,
        error: RecordError,
    ) -> AppendError {
        let text = format!("{error} in topic partition {}", self.partition);
        match (&error, &plain.broken) {
            (RecordError::Truncated, Some(broken)) => AppendError::Unexpected(broken.to_string()),
            (RecordError::BadSize, _) if view.header.codec_id() == NO_CODEC => {
                AppendError::Unexpected(text)
            }
            _ => AppendError::invalid(text),
        }
    }

    fn unbroken(&self, plain: &Unpacked<'_>) -> Result<(), AppendError> {
        match &plain.broken {
            None => Ok(()),
            Some(broken) => Err(AppendError::Unexpected(broken.to_string())),
        }
    }

    /// Notes what is wrong with a record; whether anything is.
    pub(super) fn record(
        &self,
        batch_type: TimestampType,
        record: &RecordParts,
        failures: &mut Failures,
        describe: impl FnOnce() -> String,
    ) -> bool {
        let config = self.config;
        if config.compact && !record.has_key {
            failures.push(record.index, false, || {
                format!(
                    "Compacted topic cannot accept message without key in topic partition {}",
                    self.partition
                )
            });
            return true;
        }
        let now = self.options.now_ms;
        if config.message_timestamp_type == TimestampType::CreateTime
            && record.timestamp != NO_TIMESTAMP
        {
            let age = now.wrapping_sub(record.timestamp);
            let before = config.message_timestamp_before_max_ms;
            let after = config.message_timestamp_after_max_ms;
            if age > before || age.wrapping_neg() > after {
                failures.push(record.index, true, || {
                    format!(
                        "Timestamp {} of message with offset {} is out of range. The timestamp should be \
                         within [{}, {}]",
                        record.timestamp,
                        record.offset,
                        now.wrapping_sub(before),
                        now.wrapping_add(after)
                    )
                });
                return true;
            }
        } else if batch_type == TimestampType::LogAppendTime {
            failures.push(record.index, true, || {
                format!(
                    "Invalid timestamp type in message {}. Producer should not set timestamp type to \
                     LogAppendTime.",
                    describe()
                )
            });
            return true;
        }
        false
    }

    /// Keeps the payload and sets the timestamps that the topic asks for.
    fn in_place(&self, view: &BatchView<'_>, records: &Bytes, max_timestamp: i64) -> ValidBatch {
        let mut header = view.header;
        let kind = self.config.message_timestamp_type;
        let max_timestamp = match kind {
            TimestampType::CreateTime => max_timestamp,
            TimestampType::LogAppendTime => self.options.now_ms,
        };
        if header.timestamp_type() != kind || header.max_timestamp != max_timestamp {
            header.attributes &= KNOWN_ATTRIBUTES;
            header.set_timestamp(kind, max_timestamp);
            header.crc = header.compute_crc(view.payload());
        }
        header.base_offset = 0;
        ValidBatch {
            header,
            payload: records.slice(BATCH_HEADER_LEN..view.bytes().len()),
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
            if record.timestamp < NO_TIMESTAMP {
                return Err(codec::negative_timestamp(record.timestamp));
            }
            let headers = record.headers();
            // Apache's broker makes texts of the keys of headers when it writes records anew.
            let keys: Vec<_> = headers
                .iter()
                .map(|(key, _)| String::from_utf8_lossy(key))
                .collect();
            let headers = keys.iter().zip(&headers);
            builder.push_parts(
                index as i32,
                record.timestamp,
                record.key,
                record.value,
                headers.map(|(key, (_, value))| (key.as_bytes(), *value)),
            );
        }
        check_producer(header)?;
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

/// What the records of a packed batch were found to be.
struct Skipped {
    failures: Failures,
    max_timestamp: i64,
    /// Whether offsets follow each other.
    consecutive: bool,
}

impl Skipped {
    /// The largest timestamp, if the batch may stay as it is.
    fn into_result(self, check: &Check<'_>) -> Result<i64, AppendError> {
        self.failures.into_result()?;
        if !self.consecutive {
            // Apache's broker would pack these anew, but has not kept what it skipped.
            return Err(AppendError::Unexpected(format!(
                "offsets in a packed batch do not follow each other in topic partition {}",
                check.partition
            )));
        }
        Ok(self.max_timestamp)
    }
}

/// What a batch must say of its producer to be written anew (`MemoryRecordsBuilder.java`).
fn check_producer(header: &BatchHeader) -> Result<(), AppendError> {
    let refused = if header.producer_id == NO_PRODUCER_ID {
        header
            .is_transactional()
            .then_some("Cannot write transactional messages without a valid producer ID")
    } else if header.producer_epoch == NO_PRODUCER_EPOCH {
        Some("Invalid negative producer epoch")
    } else if header.base_sequence < 0 && !header.is_control() {
        Some("Invalid negative sequence number used")
    } else {
        None
    };
    match refused {
        Some(text) => Err(AppendError::Unexpected(text.to_owned())),
        None => Ok(()),
    }
}

/// A record as Apache's broker names it to producers.
fn described(class: &str, record: &RecordParts, key: usize, value: usize) -> String {
    format!(
        "{class}(offset={}, timestamp={}, key={key} bytes, value={value} bytes)",
        record.offset, record.timestamp
    )
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

    /// True while nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
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
