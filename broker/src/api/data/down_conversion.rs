//! Shell: records as clients of old versions read them (KIP-31, KIP-283).

use bytes::Bytes;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::records::convert;
use kafka_wire::records::legacy::LegacyError;
use kafka_wire::wire::Records;

use crate::replica::file_range;

/// The largest decompressed batch that is converted, in bytes; batches are bounded by `max.message.bytes`, but a
/// small one may unpack to anything.
const MAX_UNPACKED_BYTES: usize = 64 << 20;

/// Converts to magic 0 or 1, leaving out what is before `first_offset` where that is possible.
///
/// # Errors
/// The code to answer the partition with.
pub fn convert(records: &Records, magic: i8, first_offset: i64) -> Result<Records, ErrorCode> {
    if records.is_empty() {
        return Ok(records.clone());
    }
    let bytes = file_range::in_memory(records).map_err(|error| {
        tracing::error!("cannot read records for conversion to magic {magic}: {error}");
        ErrorCode::KafkaStorageError
    })?;
    match within_limit(&bytes, magic, first_offset) {
        Ok(converted) => Ok(Records::Memory(converted)),
        Err(LegacyError::UnsupportedCodec { .. }) => Err(ErrorCode::UnsupportedCompressionType),
        Err(error) => {
            tracing::error!("cannot convert records to magic {magic}: {error}");
            Err(ErrorCode::UnknownServerError)
        }
    }
}

/// Converts no more than what fits the size of the original, which is what the client asked for, but at least its
/// first batch: old formats take more room.
fn within_limit(bytes: &Bytes, magic: i8, first_offset: i64) -> Result<Bytes, LegacyError> {
    let converted = convert::down_convert(bytes, magic, first_offset, MAX_UNPACKED_BYTES)?;
    let mut limit = bytes.len();
    if converted.len() > limit {
        let first = &bytes[..entry_length(bytes).min(bytes.len())];
        let first = convert::down_convert(first, magic, first_offset, MAX_UNPACKED_BYTES)?;
        limit = limit.max(first.len());
    }
    let mut end = 0;
    while end < converted.len() {
        let next = end + entry_length(&converted[end..]);
        if next > limit {
            break;
        }
        end = next;
    }
    Ok(converted.slice(..end.min(converted.len())))
}

/// The length of the batch or message at the front, its offset and size included.
fn entry_length(bytes: &[u8]) -> usize {
    let size = bytes.get(8..12).and_then(|size| size.first_chunk::<4>());
    size.map_or(bytes.len(), |size| 12 + u32::from_be_bytes(*size) as usize)
}
