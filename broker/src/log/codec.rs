//! Pure: compressed payloads as the log needs them: unpacked to be checked, packed when the topic wants another codec.

use std::borrow::Cow;

use bytes::Bytes;
use kafka_wire::records::batch::{BATCH_HEADER_LEN, BatchHeader, BatchView};
use kafka_wire::records::batch_builder::BatchBuilder;
use kafka_wire::records::compression::{self, Codec, CompressionError};
use kafka_wire::records::control::{self, EndTransactionMarker};
use kafka_wire::records::stream::RecordStream;

use crate::log::append::AppendError;
use crate::log::validator::ValidBatch;

/// Codec number of uncompressed batches.
pub const NO_CODEC: u8 = 0;
/// Codec number of zstd.
pub const ZSTD: u8 = 4;

/// Bytes that one batch may unpack to where it is needed as a whole: to be packed with another codec, or converted. Producers pack
/// what would be a few `batch.size` unpacked; this only stops bombs.
pub const MAX_DECOMPRESSED_BYTES: usize = 256 * 1024 * 1024;
/// Bytes up to which a batch is unpacked as a whole although it could be read piece by piece, which takes longer.
pub const MAX_WHOLE_BYTES: usize = 16 * 1024 * 1024;

/// Unpacks the records of a batch; borrows them if they are not compressed.
///
/// # Errors
/// [`AppendError`] for an unknown codec, malformed data, or more than [`MAX_DECOMPRESSED_BYTES`].
pub fn decompress<'a>(view: &BatchView<'a>) -> Result<Cow<'a, [u8]>, AppendError> {
    let plain = unpack_within(view, MAX_DECOMPRESSED_BYTES)?;
    match plain.broken {
        Some(error) => Err(error),
        None => Ok(plain.bytes),
    }
}

/// Records of a batch, as far as they can be unpacked.
#[derive(Debug)]
pub struct Unpacked<'a> {
    /// The records up to where the packed bytes go wrong.
    pub bytes: Cow<'a, [u8]>,
    /// What is wrong there.
    pub broken: Option<AppendError>,
    /// True if nothing is but that there is more than was allowed.
    pub too_large: bool,
}

/// Unpacks what can be unpacked of a batch's records, up to `max_bytes`; borrows them if they are not compressed.
///
/// # Errors
/// [`AppendError`] for an unknown codec.
pub fn unpack_within<'a>(
    view: &BatchView<'a>,
    max_bytes: usize,
) -> Result<Unpacked<'a>, AppendError> {
    let codec = codec_of(view)?;
    if codec == Codec::None {
        return Ok(Unpacked {
            bytes: Cow::Borrowed(view.payload()),
            broken: None,
            too_large: false,
        });
    }
    let mut bytes = Vec::new();
    let done = compression::unpack(codec, view.payload(), max_bytes, &mut bytes);
    let too_large = matches!(done, Err(CompressionError::TooLarge { .. }));
    Ok(Unpacked {
        bytes: Cow::Owned(bytes),
        broken: done.err().map(|error| broken(&error)),
        too_large,
    })
}

/// The records of a batch, unpacked as they are read.
///
/// # Errors
/// [`AppendError`] for an unknown codec or bytes that are none of its.
pub fn stream<'a>(view: &BatchView<'a>, keys: bool) -> Result<RecordStream<'a>, AppendError> {
    let stream = RecordStream::new(codec_of(view)?, view.payload(), keys);
    stream.map_err(|error| broken(&error))
}

fn codec_of(view: &BatchView<'_>) -> Result<Codec, AppendError> {
    let id = view.header.codec_id();
    Codec::from_id(id).ok_or_else(|| unknown(id))
}

/// The error for packed bytes that go wrong.
pub fn broken(error: &CompressionError) -> AppendError {
    AppendError::Unexpected(format!("Failed to decompress record stream: {error}"))
}

/// The error for a codec that does not exist.
pub fn unknown(codec_id: u8) -> AppendError {
    AppendError::Unexpected(format!("Unknown compression type id: {codec_id}"))
}

/// The error for a record that cannot be written again because of its timestamp.
pub fn negative_timestamp(timestamp: i64) -> AppendError {
    AppendError::Unexpected(format!("Invalid negative timestamp {timestamp}"))
}

/// Finishes a batch with codec number `target`.
///
/// # Errors
/// [`AppendError`] if the codec's library fails.
pub fn finish(builder: BatchBuilder, target: u8) -> Result<ValidBatch, AppendError> {
    let codec = Codec::from_id(target).unwrap_or_default();
    let bytes = if codec == Codec::None {
        builder.build()
    } else {
        let packed = compression::compress(codec, builder.payload())
            .map_err(|error| AppendError::invalid(error.to_string()))?
            .into_owned();
        builder.build_compressed(target, &packed)
    };
    from_built(&bytes)
}

fn from_built(bytes: &Bytes) -> Result<ValidBatch, AppendError> {
    let header =
        BatchHeader::parse(bytes).map_err(|error| AppendError::Corrupt(error.to_string()))?;
    Ok(ValidBatch {
        header,
        payload: bytes.slice(BATCH_HEADER_LEN..),
        rewritten: true,
    })
}

/// The transaction marker in the control batch at the start of `bytes`, if it still holds one.
///
/// # Errors
/// [`AppendError`] if batch or marker are malformed.
pub fn read_marker(bytes: &[u8]) -> Result<Option<EndTransactionMarker>, AppendError> {
    let view = BatchView::parse(bytes).map_err(|error| AppendError::Corrupt(error.to_string()))?;
    let plain = decompress(&view)?;
    let Some(record) = view.records(&plain).next() else {
        return Ok(None);
    };
    let record = record.map_err(|error| AppendError::invalid(error.to_string()))?;
    control::parse_marker(record.key, record.value)
        .map_err(|error| AppendError::invalid(error.to_string()))
}
