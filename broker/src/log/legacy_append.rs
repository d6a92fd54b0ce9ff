//! Pure: message sets of magic 0 and 1 from old producers, checked and rewritten into one batch of magic 2 (`LogValidator.java`).

use bytes::Bytes;
use kafka_wire::records::batch::{MAGIC_V2, NO_TIMESTAMP, TimestampType};
use kafka_wire::records::batch_builder::{BatchBuilder, BatchBuilderOptions};
use kafka_wire::records::entries;
use kafka_wire::records::legacy::{InnerMessage, LegacyError, MessageView};
use kafka_wire::records::record::Record;

use crate::log::append::AppendError;
use crate::log::codec::{self, MAX_DECOMPRESSED_BYTES, NO_CODEC};
use crate::log::config::TargetCompression;
use crate::log::validator::{Check, Failures, RecordParts, ValidBatch};

/// Checks a message set, whose entries have been found sound, and makes one batch of all its messages; one at the end
/// that is not whole is left out. `source` is the last codec but none that any of them has.
///
/// # Errors
/// [`AppendError`] with the code of Apache's broker.
pub(super) fn validate(
    records: &Bytes,
    source: u8,
    check: &Check<'_>,
) -> Result<ValidBatch, AppendError> {
    let target = match check.config.compression_type {
        TargetCompression::Producer => source,
        TargetCompression::Codec(target) => target,
    };
    let log_append_time = check.config.message_timestamp_type == TimestampType::LogAppendTime;
    let mut set = Set {
        check,
        first_magic: None,
        // Apache's broker measures what it does not pack before it looks at anything else, and packs only when it
        // has looked at everything.
        measures_first: source == NO_CODEC && target == NO_CODEC,
        builder: BatchBuilder::new(BatchBuilderOptions {
            log_append_time: log_append_time.then_some(check.options.now_ms),
            ..BatchBuilderOptions::default()
        }),
        refused: None,
    };
    if set.measures_first {
        set.measure(records)?;
    }
    let mut rest = &records[..];
    while let Some((entry, tail)) = entries::split_first(rest)? {
        set.same_magic(entry.magic)?;
        let message = MessageView::parse(entry.bytes).map_err(|error| check.legacy(&error))?;
        set.add(&message)?;
        rest = tail;
    }
    if let Some(refused) = set.refused {
        return Err(refused);
    }
    let valid = codec::finish(set.builder, target)?;
    check.size(valid.size_bytes())?;
    Ok(valid)
}

struct Set<'a> {
    check: &'a Check<'a>,
    first_magic: Option<i8>,
    measures_first: bool,
    builder: BatchBuilder,
    /// Why the set cannot be written, if everything else is in order.
    refused: Option<AppendError>,
}

impl Set<'_> {
    fn measure(&self, records: &[u8]) -> Result<(), AppendError> {
        let mut rest = records;
        while let Some((entry, tail)) = entries::split_first(rest)? {
            if entry.magic < MAGIC_V2 {
                let message = MessageView::parse(entry.bytes);
                let message = message.map_err(|error| self.check.legacy(&error))?;
                if !message.is_well_formed {
                    let offset = message.offset;
                    return Err(self.check.legacy(&LegacyError::Malformed { offset }));
                }
            }
            rest = tail;
        }
        Ok(())
    }

    fn same_magic(&mut self, magic: i8) -> Result<(), AppendError> {
        let first = *self.first_magic.get_or_insert(magic);
        if magic == first {
            return Ok(());
        }
        Err(AppendError::invalid(format!(
            "Batch magic {magic} is not the same as the first batch's magic byte {first} in topic partition {}",
            self.check.partition
        )))
    }

    fn add(&mut self, message: &MessageView<'_>) -> Result<(), AppendError> {
        let check = self.check;
        let inner = message.inner(MAX_DECOMPRESSED_BYTES);
        let inner = inner.map_err(|error| check.legacy(&error))?;
        let is_packed = message.codec_id() != NO_CODEC;
        let mut failures = Failures::default();
        for (index, inner) in inner.into_iter().enumerate() {
            if is_packed {
                self.packed(message, &inner, index as i32, &mut failures)?;
            }
            let parts = RecordParts {
                has_key: inner.has_key,
                timestamp: inner.timestamp,
                offset: inner.offset,
                index: index as i32,
            };
            check.record(message.timestamp_type(), &parts, &mut failures, || {
                format!("{}", inner.offset)
            });
            match inner.record {
                Some(record) if failures.is_empty() => self.write(&record)?,
                Some(_) => {}
                None => {
                    let offset = inner.offset;
                    let error = check.legacy(&LegacyError::Malformed { offset });
                    self.refused.get_or_insert(error);
                }
            }
        }
        failures.into_result()
    }

    /// What messages within a compressed one must be like.
    fn packed(
        &self,
        outer: &MessageView<'_>,
        inner: &InnerMessage,
        index: i32,
        failures: &mut Failures,
    ) -> Result<(), AppendError> {
        let (offset, partition) = (inner.offset, self.check.partition);
        if inner.codec_id != NO_CODEC {
            return Err(match inner.codec_id {
                5.. => codec::unknown(inner.codec_id),
                _ => AppendError::invalid("Inner messages must not be compressed"),
            });
        }
        if inner.magic != outer.magic {
            failures.push(index, false, || {
                format!(
                    "Record {offset}'s magic does not match outer magic {} in topic partition {partition}",
                    outer.magic
                )
            });
        } else if !inner.crc_ok {
            return Err(self.check.legacy(&LegacyError::BadChecksum { offset }));
        }
        Ok(())
    }

    fn write(&mut self, record: &Record) -> Result<(), AppendError> {
        if record.timestamp < NO_TIMESTAMP {
            let refused = codec::negative_timestamp(record.timestamp);
            if self.measures_first {
                return Err(refused);
            }
            self.refused.get_or_insert(refused);
        }
        self.builder.append(
            record.timestamp,
            record.key.as_deref(),
            record.value.as_deref(),
        );
        Ok(())
    }
}
