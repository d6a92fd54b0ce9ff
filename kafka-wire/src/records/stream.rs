//! Pure: packed records read as they are unpacked, so that it takes little memory however much they unpack to.

use crate::records::compression::{Codec, CompressionError, ZstdPieces};
use crate::records::lz4::HeaderChecksum;
use crate::records::record::{RecordError, RecordSource};
use crate::records::{gzip, lz4, snappy};

/// Bytes unpacked at a time where a codec leaves the choice.
const PIECE_BYTES: usize = 128 * 1024;
/// Longest key that is remembered, in bytes.
const MAX_KEY_BYTES: usize = 64 * 1024 * 1024;

/// Why a record cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The record itself makes no sense, or there is none.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// What it is packed in makes no sense, or its key is too long.
    #[error(transparent)]
    Packing(#[from] CompressionError),
}

/// The payload of a batch as it is unpacked.
enum Pieces<'a> {
    Plain(&'a [u8]),
    Gzip(Box<gzip::Pieces<'a>>),
    Snappy(snappy::Blocks<'a>),
    Lz4(lz4::Blocks<'a>),
    Zstd(ZstdPieces<'a>),
}

/// Reads records one after another from a packed payload. Only keys are remembered, and only if asked for.
pub struct RecordStream<'a> {
    pieces: Pieces<'a>,
    /// The piece at hand.
    piece: Vec<u8>,
    /// Bytes of it that were read.
    read: usize,
    keys: bool,
    key: Vec<u8>,
}

impl<'a> RecordStream<'a> {
    /// Reads from the start of `payload`; `keys` says whether [`RecordStream::last_key`] will be asked for.
    ///
    /// # Errors
    /// [`CompressionError::Corrupt`] if it does not begin as the codec's output does.
    pub fn new(codec: Codec, payload: &'a [u8], keys: bool) -> Result<Self, CompressionError> {
        let pieces = match codec {
            Codec::None => Pieces::Plain(payload),
            Codec::Gzip => Pieces::Gzip(Box::new(gzip::Pieces::of(payload)?)),
            Codec::Snappy => Pieces::Snappy(snappy::Blocks::of(payload)?),
            Codec::Lz4 => Pieces::Lz4(lz4::Blocks::of(payload, HeaderChecksum::Right)?),
            Codec::Zstd => Pieces::Zstd(ZstdPieces::of(payload)?),
        };
        Ok(Self {
            pieces,
            piece: Vec::new(),
            read: 0,
            keys,
            key: Vec::new(),
        })
    }

    /// The key of the record that was skipped last; empty, too, if it has none.
    pub fn last_key(&self) -> &[u8] {
        &self.key
    }

    /// True if nothing follows.
    ///
    /// # Errors
    /// [`CompressionError`] if what follows cannot be unpacked.
    pub fn at_end(&mut self) -> Result<bool, CompressionError> {
        Ok(!self.fill()?)
    }

    /// Makes sure that the piece at hand has a byte to be read. False at the end.
    fn fill(&mut self) -> Result<bool, CompressionError> {
        while self.read == self.piece.len() {
            self.piece.clear();
            self.read = 0;
            let piece = &mut self.piece;
            let more = match &mut self.pieces {
                Pieces::Plain(rest) => {
                    let (head, tail) = rest.split_at(rest.len().min(PIECE_BYTES));
                    piece.extend_from_slice(head);
                    *rest = tail;
                    !head.is_empty()
                }
                Pieces::Gzip(pieces) => pieces.next(piece, PIECE_BYTES)?,
                // Their blocks are bounded by the formats and by what they were made from.
                Pieces::Snappy(blocks) => blocks.next(piece, usize::MAX)?,
                Pieces::Lz4(blocks) => blocks.next(piece, usize::MAX)?,
                Pieces::Zstd(pieces) => pieces.next(piece, PIECE_BYTES)?,
            };
            if !more {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Calls `see` with the next `bytes` bytes, part by part.
    fn parts(
        &mut self,
        mut bytes: usize,
        mut see: impl FnMut(&mut Vec<u8>, &[u8]),
    ) -> Result<(), StreamError> {
        while bytes > 0 {
            if !self.fill()? {
                return Err(RecordError::Truncated.into());
            }
            let part = bytes.min(self.piece.len() - self.read);
            see(&mut self.key, &self.piece[self.read..self.read + part]);
            self.read += part;
            bytes -= part;
        }
        Ok(())
    }
}

impl RecordSource for RecordStream<'_> {
    type Error = StreamError;

    fn byte(&mut self) -> Result<u8, StreamError> {
        if !self.fill()? {
            return Err(RecordError::Truncated.into());
        }
        let byte = self.piece[self.read];
        self.read += 1;
        Ok(byte)
    }

    fn pass(&mut self, bytes: usize) -> Result<(), StreamError> {
        self.parts(bytes, |_, _| ())
    }

    fn key(&mut self, bytes: usize) -> Result<(), StreamError> {
        self.key.clear();
        if !self.keys {
            return self.pass(bytes);
        }
        if bytes > MAX_KEY_BYTES {
            let max_bytes = MAX_KEY_BYTES;
            return Err(CompressionError::TooLarge { max_bytes }.into());
        }
        self.parts(bytes, |key, part| key.extend_from_slice(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::batch::BatchView;
    use crate::records::batch_builder::{BatchBuilder, BatchBuilderOptions};
    use crate::records::compression::compress;

    #[test]
    fn streams_tell_what_records_tell() {
        let mut builder = BatchBuilder::new(BatchBuilderOptions::default());
        for number in 0..3000u32 {
            let key = vec![b'k'; (number % 300) as usize];
            let value = vec![number as u8; (number % 1000) as usize];
            let key = (number % 7 > 0).then_some(&key[..]);
            builder.append(i64::from(number), key, Some(&value));
        }
        let plain = builder.payload().to_vec();
        let batch = builder.build();
        let view = BatchView::parse(&batch).unwrap();
        let base = view.header.record_base();
        for codec in Codec::ALL {
            let packed = compress(codec, &plain).unwrap();
            let mut stream = RecordStream::new(codec, &packed, true).unwrap();
            for record in view.records(&plain) {
                let record = record.unwrap();
                let skipped = stream.skip_record(&base).unwrap();
                assert_eq!(
                    (skipped.offset, skipped.timestamp),
                    (record.offset, record.timestamp)
                );
                assert_eq!(stream.last_key(), record.key.unwrap_or_default());
                assert_eq!(skipped.key_size < 0, record.key.is_none());
            }
            assert!(stream.at_end().unwrap(), "{codec:?}");
            let ended = stream.skip_record(&base);
            assert_eq!(ended, Err(StreamError::Record(RecordError::Truncated)));
            if codec != Codec::None {
                let cut = &packed[..packed.len() - 1];
                let mut stream = RecordStream::new(codec, cut, false).unwrap();
                let ended = std::iter::repeat_with(|| stream.skip_record(&base))
                    .find_map(Result::err)
                    .unwrap();
                let found = matches!(ended, StreamError::Packing(_));
                assert!(found || codec == Codec::Snappy, "{codec:?} {ended}");
            }
        }
    }
}
