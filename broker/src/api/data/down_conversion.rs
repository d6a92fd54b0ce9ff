//! Shell: records as clients of old versions read them (KIP-31, KIP-283).

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
    match convert::down_convert(&bytes, magic, first_offset, MAX_UNPACKED_BYTES) {
        Ok(converted) => Ok(Records::Memory(converted)),
        Err(LegacyError::UnsupportedCodec { .. }) => Err(ErrorCode::UnsupportedCompressionType),
        Err(error) => {
            tracing::error!("cannot convert records to magic {magic}: {error}");
            Err(ErrorCode::UnknownServerError)
        }
    }
}
