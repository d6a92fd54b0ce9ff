//! Pure: the codecs of record batches (`CompressionType.java`).
//!
//! What comes out of [`decompress`] is bounded: few bytes can claim to be gigabytes.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io;

use thiserror::Error;
use zstd::stream::raw::{Decoder, InBuffer, Operation as _, OutBuffer};

use crate::records::{gzip, lz4, snappy};

/// How much output room a decoder starts with for each byte of input, and gets more of.
pub(super) const EXPECTED_RATIO: usize = 4;
/// Kafka's level for zstd.
const ZSTD_LEVEL: i32 = 3;

/// A codec, as in the lowest three bits of a batch's attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Codec {
    /// Not compressed.
    #[default]
    None,
    /// Gzip, RFC 1952.
    Gzip,
    /// Snappy in the framing of xerial's snappy-java.
    Snappy,
    /// LZ4 frames of independent blocks.
    Lz4,
    /// Zstandard frames, RFC 8878; magic 2 only.
    Zstd,
}

impl Codec {
    /// All codecs by number.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec with this number.
    #[must_use]
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.get(usize::from(id)).copied()
    }

    /// The number in a batch's attributes.
    #[must_use]
    pub fn id(self) -> u8 {
        self as u8
    }

    /// The codec with this name in `compression.type`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.name() == name)
    }

    /// The name in `compression.type`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// Why bytes cannot be decompressed (or, for a broken codec library, compressed).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CompressionError {
    /// The data is larger than the caller allows.
    #[error("decompressed data is larger than {max_bytes} bytes")]
    TooLarge {
        /// The limit.
        max_bytes: usize,
    },
    /// The bytes are not what the codec writes.
    #[error("bytes are not valid {codec}: {reason}")]
    Corrupt {
        /// Name of the codec.
        codec: &'static str,
        /// What is wrong with them.
        reason: String,
    },
}

impl CompressionError {
    pub(crate) fn corrupt(codec: Codec, reason: impl ToString) -> Self {
        Self::Corrupt {
            codec: codec.name(),
            reason: reason.to_string(),
        }
    }
}

/// Compresses the records of a batch.
///
/// # Errors
/// [`CompressionError::Corrupt`] when the codec's library fails.
pub fn compress(codec: Codec, data: &[u8]) -> Result<Cow<'_, [u8]>, CompressionError> {
    Ok(Cow::Owned(match codec {
        Codec::None => return Ok(Cow::Borrowed(data)),
        Codec::Gzip => gzip::compress(data)?,
        Codec::Snappy => snappy::compress(data)?,
        Codec::Lz4 => lz4::compress(data, lz4::HeaderChecksum::Right)?,
        Codec::Zstd => compress_zstd(data)?,
    }))
}

/// Decompresses the records of a batch to at most `max_bytes`.
///
/// # Errors
/// [`CompressionError`].
pub fn decompress(
    codec: Codec,
    data: &[u8],
    max_bytes: usize,
) -> Result<Cow<'_, [u8]>, CompressionError> {
    if codec == Codec::None {
        return match data.len() > max_bytes {
            true => Err(CompressionError::TooLarge { max_bytes }),
            false => Ok(Cow::Borrowed(data)),
        };
    }
    let mut out = Vec::new();
    unpack(codec, data, max_bytes, &mut out)?;
    Ok(Cow::Owned(out))
}

/// Decompresses the records of a batch into `out`, which is empty; on errors it holds what precedes the bad bytes.
///
/// # Errors
/// [`CompressionError`].
pub fn unpack(
    codec: Codec,
    data: &[u8],
    max_bytes: usize,
    out: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    match codec {
        Codec::None if data.len() > max_bytes => {
            return Err(CompressionError::TooLarge { max_bytes });
        }
        Codec::None => out.extend_from_slice(data),
        Codec::Gzip => gzip::unpack(data, max_bytes, out)?,
        Codec::Snappy => snappy::unpack(data, max_bytes, out)?,
        Codec::Lz4 => lz4::unpack(data, max_bytes, lz4::HeaderChecksum::Right, out)?,
        Codec::Zstd => unpack_zstd(data, max_bytes, out)?,
    }
    Ok(())
}

thread_local! {
    // A context is some hundred kilobytes: made once per thread, and reset for each batch.
    static ZSTD_DECODER: RefCell<Option<Decoder<'static>>> = const { RefCell::new(None) };
    static ZSTD_ENCODER: RefCell<Option<zstd::bulk::Compressor<'static>>> =
        const { RefCell::new(None) };
}

fn compress_zstd(data: &[u8]) -> Result<Vec<u8>, CompressionError> {
    let compressed: io::Result<Vec<u8>> = ZSTD_ENCODER.with_borrow_mut(|slot| {
        let encoder = match slot {
            Some(encoder) => encoder,
            None => slot.insert(zstd::bulk::Compressor::new(ZSTD_LEVEL)?),
        };
        encoder.compress(data)
    });
    compressed.map_err(|error| CompressionError::corrupt(Codec::Zstd, error))
}

/// What Zstandard frames unpack to, piece by piece.
pub(super) struct ZstdPieces<'a> {
    decoder: Decoder<'static>,
    rest: &'a [u8],
    in_frame: bool,
}

impl<'a> ZstdPieces<'a> {
    /// At the start of `data`.
    pub(super) fn of(data: &'a [u8]) -> Result<Self, CompressionError> {
        let decoder = Decoder::new();
        Ok(Self {
            decoder: decoder.map_err(|error| CompressionError::corrupt(Codec::Zstd, error))?,
            rest: data,
            in_frame: false,
        })
    }

    /// Puts the next bytes, about `most`, behind `out`. False at the end.
    pub(super) fn next(
        &mut self,
        out: &mut Vec<u8>,
        most: usize,
    ) -> Result<bool, CompressionError> {
        let start = out.len();
        while out.len() == start {
            if self.rest.is_empty() && !self.in_frame {
                return Ok(false);
            }
            out.reserve(most);
            let mut input = InBuffer::around(self.rest);
            let mut output = OutBuffer::around_pos(&mut *out, start);
            let hint = self.decoder.run(&mut input, &mut output);
            let hint = hint.map_err(|error| CompressionError::corrupt(Codec::Zstd, error))?;
            let consumed = input.pos();
            self.rest = &self.rest[consumed..];
            self.in_frame = hint != 0 && (self.in_frame || consumed > 0 || out.len() > start);
            if consumed == 0 && out.len() == start && self.in_frame {
                return Err(CompressionError::corrupt(Codec::Zstd, "frame is cut off"));
            }
        }
        Ok(true)
    }
}

fn unpack_zstd(data: &[u8], max_bytes: usize, out: &mut Vec<u8>) -> Result<(), CompressionError> {
    let corrupt = |error: io::Error| CompressionError::corrupt(Codec::Zstd, error);
    ZSTD_DECODER.with_borrow_mut(|slot| {
        let decoder = match slot {
            Some(decoder) => decoder,
            None => slot.insert(Decoder::new().map_err(corrupt)?),
        };
        decoder.reinit().map_err(corrupt)?;
        let mut input = InBuffer::around(data);
        let expected = data
            .len()
            .saturating_mul(EXPECTED_RATIO)
            .clamp(64, max_bytes.max(64));
        out.reserve(expected);
        let mut in_frame = false;
        loop {
            if out.len() == out.capacity() {
                out.reserve(out.capacity());
            }
            let (consumed, produced) = (input.pos(), out.len());
            let mut output = OutBuffer::around_pos(&mut *out, produced);
            let hint = decoder.run(&mut input, &mut output).map_err(corrupt)?;
            if out.len() > max_bytes {
                return Err(CompressionError::TooLarge { max_bytes });
            }
            // 0 says that a frame is complete and flushed; another one may follow.
            in_frame = hint != 0 && (in_frame || input.pos() > consumed || out.len() > produced);
            if input.pos() == data.len() && !in_frame {
                return Ok(());
            }
            if (input.pos(), out.len()) == (consumed, produced) && out.len() < out.capacity() {
                return Err(CompressionError::corrupt(Codec::Zstd, "frame is cut off"));
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_codec_reads_what_it_writes() {
        let texts = [
            Vec::new(),
            b"x".to_vec(),
            b"tandem ".repeat(40_000),
            (0..200_000u32)
                .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
                .collect(),
        ];
        for codec in Codec::ALL {
            for text in &texts {
                let packed = compress(codec, text).unwrap();
                let read = decompress(codec, &packed, text.len()).unwrap();
                assert_eq!(read, text.as_slice(), "{}", codec.name());
                if !text.is_empty() {
                    let error = decompress(codec, &packed, text.len() - 1).unwrap_err();
                    assert_eq!(
                        error,
                        CompressionError::TooLarge {
                            max_bytes: text.len() - 1
                        }
                    );
                }
            }
        }
    }

    #[test]
    fn cut_off_data_is_refused() {
        let text = b"tandem ".repeat(1000);
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let packed = compress(codec, &text).unwrap();
            for len in [1, packed.len() / 2, packed.len() - 1] {
                let error = decompress(codec, &packed[..len], 1 << 20);
                assert!(
                    matches!(error, Err(CompressionError::Corrupt { .. })),
                    "{codec:?} {len}"
                );
            }
        }
    }
}
