//! Pure: LZ4 frames as Kafka reads and writes them (`KafkaLZ4BlockOutputStream.java`).
//!
//! ```text
//! magic 0x184d2204 | flags | block size | content size u64, if flagged | header checksum
//! block*: length u32, highest bit set when stored as is | data | checksum u32, if flagged
//! end: length 0 | content checksum u32, if flagged                         (little endian)
//! ```
//!
//! The header checksum is the second byte of xxHash32 over flags up to the checksum. Old clients
//! hashed the magic as well, so in message sets of magic 0 Kafka writes it that way and ignores it
//! when it reads. Blocks must be independent of each other.

use crate::records::compression::{Codec, CompressionError, EXPECTED_RATIO};

const MAGIC: [u8; 4] = 0x184d_2204u32.to_le_bytes();
const VERSION_BITS: u8 = 0x40;
const INDEPENDENT: u8 = 0x20;
const BLOCK_CHECKSUM: u8 = 0x10;
const CONTENT_SIZE: u8 = 0x08;
const CONTENT_CHECKSUM: u8 = 0x04;
const STORED: u32 = 0x8000_0000;
/// Kafka writes blocks of 64 KiB.
const BLOCK_BYTES: usize = 64 * 1024;
const BLOCK_BYTES_CODE: u8 = 4;

/// How the checksum of the frame's header is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderChecksum {
    /// As LZ4 says: magic 1 and 2.
    Right,
    /// Over the magic too, and not checked: magic 0.
    Broken,
}

/// Compresses into one frame.
///
/// # Errors
/// [`CompressionError::Corrupt`] when the library fails.
pub fn compress(data: &[u8], checksum: HeaderChecksum) -> Result<Vec<u8>, CompressionError> {
    let mut out = Vec::with_capacity(data.len() / 2 + 32);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[VERSION_BITS | INDEPENDENT, BLOCK_BYTES_CODE << 4]);
    let hashed = if checksum == HeaderChecksum::Right {
        &out[4..]
    } else {
        &out[..]
    };
    out.push(header_checksum(hashed));
    let room = lz4_flex::block::get_maximum_output_size(data.len().min(BLOCK_BYTES));
    let mut block = vec![0; room];
    for chunk in data.chunks(BLOCK_BYTES) {
        let length = lz4_flex::block::compress_into(chunk, &mut block).map_err(corrupt)?;
        if length < chunk.len() {
            out.extend_from_slice(&(length as u32).to_le_bytes());
            out.extend_from_slice(&block[..length]);
        } else {
            out.extend_from_slice(&(chunk.len() as u32 | STORED).to_le_bytes());
            out.extend_from_slice(chunk);
        }
    }
    out.extend_from_slice(&[0; 4]);
    Ok(out)
}

/// Decompresses one frame; like Kafka, what follows it is ignored.
///
/// # Errors
/// [`CompressionError`].
pub fn decompress(
    data: &[u8],
    max_bytes: usize,
    checksum: HeaderChecksum,
) -> Result<Vec<u8>, CompressionError> {
    let mut out = Vec::new();
    unpack(data, max_bytes, checksum, &mut out)?;
    Ok(out)
}

/// The same, appended to what is empty; on errors it holds the blocks before.
///
/// # Errors
/// [`CompressionError`].
pub fn unpack(
    data: &[u8],
    max_bytes: usize,
    checksum: HeaderChecksum,
    out: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    let mut blocks = Blocks::of(data, checksum)?;
    out.reserve(data.len().saturating_mul(EXPECTED_RATIO).min(max_bytes));
    while blocks.next(out, max_bytes)? {}
    Ok(())
}

/// A frame's blocks, one after another.
#[derive(Debug)]
pub struct Blocks<'a> {
    input: Input<'a>,
    flags: u8,
    max_block: usize,
    ended: bool,
}

impl<'a> Blocks<'a> {
    /// Reads a frame's header.
    ///
    /// # Errors
    /// [`CompressionError::Corrupt`].
    pub fn of(data: &'a [u8], checksum: HeaderChecksum) -> Result<Self, CompressionError> {
        let mut input = Input { rest: data };
        let (flags, max_block) = read_header(&mut input, data, checksum)?;
        Ok(Self {
            input,
            flags,
            max_block,
            ended: false,
        })
    }

    /// Unpacks the next block behind `out`, which may become `max_bytes` long. False at the frame's end.
    ///
    /// # Errors
    /// [`CompressionError`]; `out` is as it was then.
    pub fn next(&mut self, out: &mut Vec<u8>, max_bytes: usize) -> Result<bool, CompressionError> {
        if self.ended {
            return Ok(false);
        }
        let head = self.input.u32("block length")?;
        let length = (head & !STORED) as usize;
        if length == 0 {
            if self.flags & CONTENT_CHECKSUM != 0 {
                self.input.u32("content checksum")?;
            }
            self.ended = true;
            return Ok(false);
        }
        if length > self.max_block {
            return Err(corrupt("block is larger than the frame allows"));
        }
        let block = self.input.take(length, "block")?;
        let start = out.len();
        let mut read = read_block(block, head & STORED != 0, self.max_block, out, max_bytes);
        if self.flags & BLOCK_CHECKSUM != 0 && read.is_ok() {
            read = match self.input.u32("block checksum") {
                Ok(sum) if sum == xxhash32(block) => Ok(()),
                Ok(_) => Err(corrupt("block checksum mismatch")),
                Err(error) => Err(error),
            };
        }
        if read.is_err() {
            out.truncate(start);
        }
        read.map(|()| true)
    }
}

/// Checks the frame's header; returns its flags and the largest block in bytes.
fn read_header(
    input: &mut Input<'_>,
    data: &[u8],
    checksum: HeaderChecksum,
) -> Result<(u8, usize), CompressionError> {
    if input.take(4, "magic")? != MAGIC {
        return Err(corrupt("magic is missing"));
    }
    let &[flags, block_size] = input.array::<2>("header")?;
    if flags & 0xc0 != VERSION_BITS || flags & 0x03 != 0 || flags & INDEPENDENT == 0 {
        return Err(corrupt(format!("flags {flags:#04x} are not supported")));
    }
    let code = block_size >> 4;
    if block_size & 0x8f != 0 || code < BLOCK_BYTES_CODE {
        return Err(corrupt(format!(
            "block size {block_size:#04x} is not valid"
        )));
    }
    if flags & CONTENT_SIZE != 0 {
        input.array::<8>("content size")?;
    }
    let hashed = &data[MAGIC.len()..data.len() - input.rest.len()];
    let &[found] = input.array::<1>("header checksum")?;
    if checksum == HeaderChecksum::Right && found != header_checksum(hashed) {
        return Err(corrupt("header checksum mismatch"));
    }
    // Codes 4 to 7 are 64 KiB, 256 KiB, 1 MiB and 4 MiB.
    Ok((flags, 1 << (2 * u32::from(code) + 8)))
}

fn read_block(
    block: &[u8],
    stored: bool,
    max_block: usize,
    out: &mut Vec<u8>,
    max_bytes: usize,
) -> Result<(), CompressionError> {
    let start = out.len();
    let room = max_bytes - start;
    if stored {
        if block.len() > room {
            return Err(CompressionError::TooLarge { max_bytes });
        }
        out.extend_from_slice(block);
        return Ok(());
    }
    // A byte of a block yields at most 255 bytes of data.
    let largest = max_block.min(block.len().saturating_mul(255));
    out.resize(start + largest, 0);
    let length = lz4_flex::block::decompress_into(block, &mut out[start..]).map_err(corrupt)?;
    out.truncate(start + length);
    if length > room {
        return Err(CompressionError::TooLarge { max_bytes });
    }
    Ok(())
}

#[derive(Debug)]
struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn take(&mut self, length: usize, what: &str) -> Result<&'a [u8], CompressionError> {
        let (head, tail) = self
            .rest
            .split_at_checked(length)
            .ok_or_else(|| corrupt(format!("{what} is cut off")))?;
        self.rest = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<&'a [u8; N], CompressionError> {
        let (head, tail) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or_else(|| corrupt(format!("{what} is cut off")))?;
        self.rest = tail;
        Ok(head)
    }

    fn u32(&mut self, what: &str) -> Result<u32, CompressionError> {
        Ok(u32::from_le_bytes(*self.array(what)?))
    }
}

fn corrupt(reason: impl ToString) -> CompressionError {
    CompressionError::corrupt(Codec::Lz4, reason)
}

fn header_checksum(bytes: &[u8]) -> u8 {
    (xxhash32(bytes) >> 8) as u8
}

/// xxHash32 with seed 0.
fn xxhash32(bytes: &[u8]) -> u32 {
    const P1: u32 = 0x9e37_79b1;
    const P2: u32 = 0x85eb_ca77;
    const P3: u32 = 0xc2b2_ae3d;
    const P4: u32 = 0x27d4_eb2f;
    const P5: u32 = 0x1656_67b1;
    let word = |chunk: &[u8; 4]| u32::from_le_bytes(*chunk);
    let (stripes, rest) = bytes.as_chunks::<16>();
    let mut hash = if stripes.is_empty() {
        P5
    } else {
        let mut lanes = [P1.wrapping_add(P2), P2, 0, 0u32.wrapping_sub(P1)];
        for stripe in stripes {
            for (lane, chunk) in lanes.iter_mut().zip(stripe.as_chunks::<4>().0) {
                *lane = lane.wrapping_add(word(chunk).wrapping_mul(P2));
                *lane = lane.rotate_left(13).wrapping_mul(P1);
            }
        }
        let [a, b, c, d] = lanes;
        let ab = a.rotate_left(1).wrapping_add(b.rotate_left(7));
        ab.wrapping_add(c.rotate_left(12))
            .wrapping_add(d.rotate_left(18))
    };
    hash = hash.wrapping_add(bytes.len() as u32);
    let (words, tail) = rest.as_chunks::<4>();
    for chunk in words {
        hash = hash
            .wrapping_add(word(chunk).wrapping_mul(P3))
            .rotate_left(17)
            .wrapping_mul(P4);
    }
    for byte in tail {
        hash = hash.wrapping_add(u32::from(*byte).wrapping_mul(P5));
        hash = hash.rotate_left(11).wrapping_mul(P1);
    }
    hash = (hash ^ (hash >> 15)).wrapping_mul(P2);
    hash = (hash ^ (hash >> 13)).wrapping_mul(P3);
    hash ^ (hash >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_the_reference() {
        // Test values of the xxHash specification.
        assert_eq!(xxhash32(b""), 0x02cc_5d05);
        assert_eq!(xxhash32(b"abc"), 0x32d1_53ff);
        assert_eq!(
            xxhash32(b"Nobody inspects the spammish repetition"),
            0xe229_3b2f
        );
    }

    #[test]
    fn the_broken_checksum_is_only_for_magic_0() {
        let broken = compress(b"tandem", HeaderChecksum::Broken).unwrap();
        assert_eq!(
            decompress(&broken, 100, HeaderChecksum::Broken).unwrap(),
            b"tandem"
        );
        assert!(decompress(&broken, 100, HeaderChecksum::Right).is_err());
    }
}
