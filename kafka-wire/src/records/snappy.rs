//! Pure: snappy blocks in the framing of xerial's snappy-java (`SnappyOutputStream.java`).
//!
//! ```text
//! 82 'S' 'N' 'A' 'P' 'P' 'Y' 00 | version i32 = 1 | lowest compatible version i32 = 1
//! block*: length i32 | one snappy block of at most 32 KiB of data
//! ```
//!
//! Streams may be joined: the 16 bytes may come again where a block is due. Clients other than
//! Java's write one bare snappy block, which is read as well.

use crate::records::compression::{Codec, CompressionError};

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const HEADER: [u8; 16] = [
    0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1,
];
/// Java's default: data bytes per block.
const BLOCK_BYTES: usize = 32 * 1024;

/// Compresses in the framing above.
///
/// # Errors
/// [`CompressionError::Corrupt`] when the library fails.
pub fn compress(data: &[u8]) -> Result<Vec<u8>, CompressionError> {
    let mut encoder = snap::raw::Encoder::new();
    let mut out = Vec::with_capacity(HEADER.len() + data.len() / 2);
    out.extend_from_slice(&HEADER);
    let mut block = vec![0; snap::raw::max_compress_len(data.len().min(BLOCK_BYTES))];
    for chunk in data.chunks(BLOCK_BYTES) {
        let length = encoder.compress(chunk, &mut block).map_err(corrupt)?;
        out.extend_from_slice(&(length as u32).to_be_bytes());
        out.extend_from_slice(&block[..length]);
    }
    Ok(out)
}

/// Decompresses framed blocks or a bare one.
///
/// # Errors
/// [`CompressionError`].
pub fn decompress(data: &[u8], max_bytes: usize) -> Result<Vec<u8>, CompressionError> {
    let mut out = Vec::new();
    unpack(data, max_bytes, &mut out)?;
    Ok(out)
}

/// The same, appended to what is empty; on errors it holds the blocks before.
///
/// # Errors
/// [`CompressionError`]. As snappy-java does, up to three bytes after the last block are ignored, and all that follows
/// what begins like another header and is none.
pub fn unpack(data: &[u8], max_bytes: usize, out: &mut Vec<u8>) -> Result<(), CompressionError> {
    let mut blocks = Blocks::of(data)?;
    while blocks.next(out, max_bytes)? {}
    Ok(())
}

/// The blocks of a stream, one after another.
pub struct Blocks<'a> {
    decoder: snap::raw::Decoder,
    rest: &'a [u8],
    /// One block without any framing, not read yet.
    bare: bool,
}

impl<'a> Blocks<'a> {
    /// Reads the header, if there is one.
    ///
    /// # Errors
    /// [`CompressionError::Corrupt`].
    pub fn of(data: &'a [u8]) -> Result<Self, CompressionError> {
        let bare = data.len() < HEADER.len() || !data.starts_with(&MAGIC);
        if !bare && !is_header(data) {
            return Err(corrupt("version is not known"));
        }
        Ok(Self {
            decoder: snap::raw::Decoder::new(),
            rest: if bare { data } else { &data[HEADER.len()..] },
            bare,
        })
    }

    /// Unpacks the next block behind `out`, which may become `max_bytes` long. False at the end.
    ///
    /// # Errors
    /// [`CompressionError`]; `out` is as it was then.
    pub fn next(&mut self, out: &mut Vec<u8>, max_bytes: usize) -> Result<bool, CompressionError> {
        if self.bare {
            self.bare = false;
            let block = std::mem::take(&mut self.rest);
            return decompress_block(&mut self.decoder, block, out, max_bytes).map(|()| true);
        }
        while let Some((head, tail)) = self.rest.split_first_chunk::<4>() {
            if head[..] == MAGIC[..4] {
                let (header, tail) = self
                    .rest
                    .split_at_checked(HEADER.len())
                    .ok_or_else(|| corrupt("header is cut off"))?;
                if !is_header(header) {
                    break;
                }
                self.rest = tail;
                continue;
            }
            let length = u32::from_be_bytes(*head) as usize;
            let (block, tail) = tail
                .split_at_checked(length)
                .ok_or_else(|| corrupt("block is cut off"))?;
            self.rest = tail;
            return decompress_block(&mut self.decoder, block, out, max_bytes).map(|()| true);
        }
        self.rest = &[];
        Ok(false)
    }
}

fn is_header(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC) && bytes[8] < 0x80 && bytes[8..12] != [0; 4]
}

fn decompress_block(
    decoder: &mut snap::raw::Decoder,
    block: &[u8],
    out: &mut Vec<u8>,
    max_bytes: usize,
) -> Result<(), CompressionError> {
    let length = snap::raw::decompress_len(block).map_err(corrupt)?;
    let start = out.len();
    if length > max_bytes - start {
        return Err(CompressionError::TooLarge { max_bytes });
    }
    // A copy element is 2 bytes at least and yields at most 64.
    if length > block.len().saturating_mul(64) {
        return Err(corrupt("block claims more data than it can hold"));
    }
    out.resize(start + length, 0);
    let written = decoder.decompress(block, &mut out[start..]);
    if written.is_err() {
        out.truncate(start);
    }
    written.map(drop).map_err(corrupt)
}

fn corrupt(reason: impl ToString) -> CompressionError {
    CompressionError::corrupt(Codec::Snappy, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_and_joined_blocks_are_read() {
        let bare = snap::raw::Encoder::new().compress_vec(b"tandem").unwrap();
        assert_eq!(decompress(&bare, 100).unwrap(), b"tandem");
        let mut joined = compress(b"tan").unwrap();
        joined.extend(compress(b"dem").unwrap());
        assert_eq!(decompress(&joined, 100).unwrap(), b"tandem");
    }

    #[test]
    fn a_block_cannot_claim_a_gigabyte() {
        let claim = [0x80, 0x80, 0x80, 0x80, 0x04, 0x00, 0x61];
        assert!(decompress(&claim, usize::MAX).is_err());
    }
}
