//! Pure: walks through the batches of an internal topic: records and transaction markers.

use std::borrow::Cow;

use kafka_wire::records::batch::{BatchView, MAGIC_V2};
use kafka_wire::records::compression::{Codec, decompress};
use kafka_wire::records::control::{ControlType, parse_key};
use kafka_wire::records::entries;
use kafka_wire::records::legacy::MessageView;

/// A batch of an internal topic never holds more than this when decompressed: the coordinators
/// write batches below `max.message.bytes`, and nobody else writes there.
const MAX_DECOMPRESSED_BYTES: usize = 256 * 1024 * 1024;

/// What is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A record.
    Record {
        /// Offset of the first record in its batch.
        batch_offset: i64,
        /// Set if the batch is transactional.
        producer_id: Option<i64>,
        /// Key.
        key: &'a [u8],
        /// Value; none is a tombstone.
        value: Option<&'a [u8]>,
    },
    /// The end of a transaction.
    Marker {
        /// Whose transaction.
        producer_id: i64,
        /// Committed, or aborted.
        commit: bool,
    },
}

/// Walks through whole batches, and through messages of the formats before 0.11, as old clusters
/// left them; answers the offset after the last one. What cannot be read is reported and passed over.
pub fn replay(
    bytes: &[u8],
    visit: &mut dyn FnMut(Entry<'_>),
    report: &mut dyn FnMut(i64, String),
) -> Option<i64> {
    let mut next = None;
    let mut rest = bytes;
    loop {
        let entry = match entries::split_first(rest) {
            Ok(Some((entry, after))) => {
                rest = after;
                entry
            }
            Ok(None) => return next,
            Err(error) => {
                report(next.unwrap_or(-1), error.to_string());
                return next;
            }
        };
        let (base_offset, after, replayed) = match entry.magic {
            MAGIC_V2 => match BatchView::parse(entry.bytes) {
                Ok(batch) => (
                    batch.header.base_offset,
                    batch.header.next_offset(),
                    replay_batch(&batch, visit),
                ),
                Err(error) => {
                    report(next.unwrap_or(-1), error.to_string());
                    continue;
                }
            },
            _ => match MessageView::parse(entry.bytes) {
                Ok(message) => {
                    let after = message.offset.wrapping_add(1);
                    (message.offset, after, replay_message(&message, visit))
                }
                Err(error) => {
                    report(next.unwrap_or(-1), error.to_string());
                    continue;
                }
            },
        };
        next = Some(after);
        if let Err(error) = replayed {
            report(base_offset, error);
        }
    }
}

fn replay_batch(batch: &BatchView<'_>, visit: &mut dyn FnMut(Entry<'_>)) -> Result<(), String> {
    let header = &batch.header;
    let payload = decompressed(batch)?;
    let mut batch_offset = None;
    let producer_id = header.is_transactional().then_some(header.producer_id);
    for record in batch.records(&payload) {
        let record = record.map_err(|error| error.to_string())?;
        if header.is_control() {
            let kind = parse_key(record.key).map_err(|error| error.to_string())?;
            if let ControlType::Commit | ControlType::Abort = kind {
                let commit = kind == ControlType::Commit;
                visit(Entry::Marker {
                    producer_id: header.producer_id,
                    commit,
                });
            }
            continue;
        }
        let batch_offset = *batch_offset.get_or_insert(record.offset);
        visit(Entry::Record {
            batch_offset,
            producer_id,
            key: record.key.ok_or_else(|| no_key(record.offset))?,
            value: record.value,
        });
    }
    Ok(())
}

fn replay_message(
    message: &MessageView<'_>,
    visit: &mut dyn FnMut(Entry<'_>),
) -> Result<(), String> {
    let records = message
        .records(MAX_DECOMPRESSED_BYTES)
        .map_err(|error| error.to_string())?;
    let batch_offset = records
        .first()
        .map_or(message.offset, |record| record.offset);
    for record in &records {
        visit(Entry::Record {
            batch_offset,
            producer_id: None,
            key: record.key.as_deref().ok_or_else(|| no_key(record.offset))?,
            value: record.value.as_deref(),
        });
    }
    Ok(())
}

fn no_key(offset: i64) -> String {
    format!("record at offset {offset} has no key")
}

fn decompressed<'a>(batch: &BatchView<'a>) -> Result<Cow<'a, [u8]>, String> {
    let id = batch.header.codec_id();
    let codec = Codec::from_id(id).ok_or_else(|| format!("codec {id} is not known"))?;
    decompress(codec, batch.payload(), MAX_DECOMPRESSED_BYTES).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use kafka_wire::records::batch_builder::{BatchBuilder, BatchBuilderOptions};
    use kafka_wire::records::legacy::{MessageSetBuilder, MessageSetOptions};

    use super::*;

    #[test]
    fn formats_of_all_ages_are_read_one_after_the_other() {
        let mut log = Vec::new();
        for (magic, codec) in [(0, Codec::None), (1, Codec::Gzip)] {
            let mut set = MessageSetBuilder::new(MessageSetOptions {
                magic,
                codec,
                base_offset: 2,
                log_append_time: None,
            });
            for offset in 0..2 {
                let offset = offset + 2 * i64::from(magic);
                set.push(offset, 7, Some(b"key"), Some(b"value"));
            }
            log.extend_from_slice(&set.finish().unwrap());
        }
        // A batch whose header makes no sense hides only itself.
        let mut broken = BatchBuilder::new(BatchBuilderOptions::default());
        broken.append(7, Some(b"hidden"), None);
        let mut broken = broken.build().to_vec();
        broken[57..61].copy_from_slice(&(-5_i32).to_be_bytes());
        log.extend_from_slice(&broken);
        let mut batch = BatchBuilder::new(BatchBuilderOptions {
            base_offset: 5,
            ..BatchBuilderOptions::default()
        });
        batch.append(7, Some(b"last"), None);
        log.extend_from_slice(&batch.build());

        let mut seen = Vec::new();
        let mut reports = 0;
        let mut visit = |entry: Entry<'_>| {
            if let Entry::Record {
                batch_offset, key, ..
            } = entry
            {
                seen.push((batch_offset, key.to_vec()));
            }
        };
        let next = replay(&log, &mut visit, &mut |_, _| reports += 1);
        assert_eq!((next, reports), (Some(6), 1));
        let of = |offset, key: &[u8]| (offset, key.to_vec());
        assert_eq!(
            seen,
            [
                of(0, b"key"),
                of(1, b"key"),
                of(2, b"key"),
                of(2, b"key"),
                of(5, b"last")
            ]
        );
    }
}
