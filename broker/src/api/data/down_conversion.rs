//! Shell: records as clients of old versions read them (KIP-31, KIP-283).
//!
//! As `LazyDownConversionRecords.java`: the first batch that leaves anything when it is converted decides whether there
//! is an answer; the others follow in pieces, as long as they can be converted and there is room.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_wire::error_code::ErrorCode;
use kafka_wire::records::batch::BATCH_HEADER_LEN;
use kafka_wire::records::convert::down_convert;
use kafka_wire::records::entries;
use kafka_wire::records::legacy::LegacyError;
use kafka_wire::wire::Records;

use crate::replica::file_range;

/// The largest decompressed batch that is converted, in bytes; batches are bounded by `max.message.bytes`, but a
/// small one may unpack to anything.
const MAX_UNPACKED_BYTES: usize = 64 << 20;
/// Bytes of batches that are converted at a time (`LazyDownConversionRecordsSend`).
const PIECE_BYTES: usize = 128 * 1024;
const ZSTD: u8 = 4;

/// Converts to magic 0 or 1, leaving out what is before `first_offset` where that is possible. The answer is as large
/// as the original, or as its first batch, whichever is more: old formats take more room. Its last message may be cut.
///
/// # Errors
/// UNSUPPORTED_COMPRESSION_TYPE for the partition, or the code that the whole request fails with.
pub fn convert(records: &Records, magic: i8, first_offset: i64) -> Result<Records, ErrorCode> {
    if records.is_empty() {
        return Ok(records.clone());
    }
    let bytes = file_range::in_memory(records).map_err(|error| {
        tracing::error!("cannot read records for conversion to magic {magic}: {error}");
        ErrorCode::KafkaStorageError
    })?;
    let mut converter = Converter {
        rest: &bytes,
        magic,
        first_offset,
    };
    match converter.all(bytes.len()) {
        Ok(converted) => Ok(Records::Memory(converted)),
        Err(error) => {
            let code = code(&error);
            if code != ErrorCode::UnsupportedCompressionType {
                tracing::error!("cannot convert records to magic {magic}: {error}");
            }
            Err(code)
        }
    }
}

struct Converter<'a> {
    rest: &'a [u8],
    magic: i8,
    first_offset: i64,
}

impl Converter<'_> {
    fn all(&mut self, size: usize) -> Result<Bytes, LegacyError> {
        let mut out = BytesMut::new();
        let mut any = false;
        while out.is_empty() {
            match self.piece(0)? {
                Some(converted) => out.put_slice(&converted),
                None if any => return Ok(overflow()),
                None => return Ok(Bytes::new()),
            }
            any = true;
        }
        let limit = size.max(out.len());
        while out.len() < limit {
            match self.piece(PIECE_BYTES) {
                Ok(Some(converted)) => {
                    let room = limit - out.len();
                    out.put_slice(&converted[..room.min(converted.len())]);
                }
                Ok(None) => break,
                // The client asks again from there, and is told then.
                Err(error) => {
                    tracing::debug!("records are converted only up to one that cannot be: {error}");
                    break;
                }
            }
        }
        Ok(out.freeze())
    }

    /// The next batch, and more while they are no more than so many bytes, converted; `None` at the end.
    fn piece(&mut self, max_bytes: usize) -> Result<Option<Bytes>, LegacyError> {
        let start = self.rest;
        let mut size = 0;
        while let Ok(Some((entry, rest))) = entries::split_first(self.rest) {
            if size > 0 && size + entry.bytes.len() > max_bytes {
                break;
            }
            size += entry.bytes.len();
            self.rest = rest;
        }
        if size == 0 {
            return Ok(None);
        }
        let piece = &start[..size];
        down_convert(piece, self.magic, self.first_offset, MAX_UNPACKED_BYTES).map(Some)
    }
}

/// The beginning of a message that never comes: nothing of what was read can be told, and it is not the end.
fn overflow() -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i64(-1);
    bytes.put_i32(BATCH_HEADER_LEN as i32);
    bytes.freeze()
}

fn code(error: &LegacyError) -> ErrorCode {
    match error {
        LegacyError::UnsupportedCodec { codec: ZSTD, .. } => ErrorCode::UnsupportedCompressionType,
        LegacyError::Record(_) | LegacyError::BadWrapper { .. } => ErrorCode::InvalidRecord,
        LegacyError::BadSize { .. } => ErrorCode::CorruptMessage,
        _ => ErrorCode::UnknownServerError,
    }
}
