//! Pure: walks through the batches of an internal topic: records and transaction markers.

use std::borrow::Cow;

use kafka_wire::records::batch::{BatchView, Batches};
use kafka_wire::records::compression::{Codec, decompress};
use kafka_wire::records::control::{ControlType, parse_key};

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

/// Walks through whole batches; answers the offset after the last one. Batches that cannot be
/// read are reported and passed over.
pub fn replay(
    bytes: &[u8],
    visit: &mut dyn FnMut(Entry<'_>),
    report: &mut dyn FnMut(i64, String),
) -> Option<i64> {
    let mut next = None;
    for batch in Batches::new(bytes) {
        let Ok(batch) = batch.inspect_err(|error| report(next.unwrap_or(-1), error.to_string()))
        else {
            break;
        };
        next = Some(batch.header.next_offset());
        if let Err(error) = replay_batch(&batch, visit) {
            report(batch.header.base_offset, error);
        }
    }
    next
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
        let Some(key) = record.key else {
            return Err(format!("record at offset {} has no key", record.offset));
        };
        visit(Entry::Record {
            batch_offset,
            producer_id,
            key,
            value: record.value,
        });
    }
    Ok(())
}

fn decompressed<'a>(batch: &BatchView<'a>) -> Result<Cow<'a, [u8]>, String> {
    let id = batch.header.codec_id();
    let codec = Codec::from_id(id).ok_or_else(|| format!("codec {id} is not known"))?;
    decompress(codec, batch.payload(), MAX_DECOMPRESSED_BYTES).map_err(|error| error.to_string())
}
