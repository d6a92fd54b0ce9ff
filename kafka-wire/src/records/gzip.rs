//! Pure: gzip as Java reads it (`java.util.zip.GZIPInputStream`, RFC 1952): reserved flags are ignored, and so is what follows a member
//! and is too short for another one, or does not begin like one.
//!
//! ```text
//! 1f 8b | 08 | flags | time u32 | 2 bytes | extra: u16 length, bytes | name, 0 | comment, 0 | u16 CRC of the header
//! deflate stream | CRC-32 u32 | size u32                                            (little endian)
//! ```

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::bufread::DeflateDecoder;
use flate2::write::GzEncoder;

use crate::records::compression::{Codec, CompressionError, EXPECTED_RATIO};

const HEADER_BYTES: usize = 10;
const TRAILER_BYTES: usize = 8;
/// Another member is looked for only if more bytes than these follow a trailer.
const LEAST_MEMBER: usize = 18;
const HEADER_CRC: u8 = 2;
const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;

/// Compresses into one member.
///
/// # Errors
/// [`CompressionError::Corrupt`] when the library fails.
pub fn compress(data: &[u8]) -> Result<Vec<u8>, CompressionError> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let written = encoder.write_all(data).and_then(|()| encoder.finish());
    written.map_err(corrupt)
}

/// Decompresses into `out`, which is empty; on errors it holds what precedes the bad bytes.
///
/// # Errors
/// [`CompressionError`].
pub fn unpack(data: &[u8], max_bytes: usize, out: &mut Vec<u8>) -> Result<(), CompressionError> {
    out.reserve(data.len().saturating_mul(EXPECTED_RATIO).min(max_bytes));
    let mut rest = after_header(data).ok_or_else(|| corrupt("header is not one"))?;
    loop {
        let start = out.len();
        let room = u64::try_from(max_bytes - start).unwrap_or(u64::MAX);
        let mut deflated = DeflateDecoder::new(rest);
        let read = (&mut deflated)
            .take(room.saturating_add(1))
            .read_to_end(out);
        read.map_err(corrupt)?;
        if out.len() > max_bytes {
            return Err(CompressionError::TooLarge { max_bytes });
        }
        let member = &out[start..];
        let (sum, size) = (crc32fast::hash(member), member.len() as u32);
        match after_trailer(deflated.into_inner(), sum, size)? {
            Some(next) => rest = next,
            None => return Ok(()),
        }
    }
}

/// The deflated bytes of the member behind the trailer at the front, which must have the sum and size of what was before it; `None`
/// if that was the last member.
fn after_trailer(rest: &[u8], sum: u32, size: u32) -> Result<Option<&[u8]>, CompressionError> {
    let (trailer, behind) = rest
        .split_first_chunk::<TRAILER_BYTES>()
        .ok_or_else(|| corrupt("stream is cut off"))?;
    if trailer[..4] != sum.to_le_bytes() || trailer[4..] != size.to_le_bytes() {
        return Err(corrupt("checksum or size mismatch"));
    }
    if behind.len() <= LEAST_MEMBER {
        return Ok(None);
    }
    Ok(after_header(behind))
}

/// What members unpack to, piece by piece.
#[derive(Debug)]
pub struct Pieces<'a> {
    /// The member at hand; `None` behind the last.
    deflated: Option<DeflateDecoder<&'a [u8]>>,
    sum: crc32fast::Hasher,
    size: u32,
}

impl<'a> Pieces<'a> {
    /// Reads the first header.
    ///
    /// # Errors
    /// [`CompressionError::Corrupt`].
    pub fn of(data: &'a [u8]) -> Result<Self, CompressionError> {
        let rest = after_header(data).ok_or_else(|| corrupt("header is not one"))?;
        Ok(Self {
            deflated: Some(DeflateDecoder::new(rest)),
            sum: crc32fast::Hasher::new(),
            size: 0,
        })
    }

    /// Puts the next bytes, at most `most`, behind `out`. False at the end.
    ///
    /// # Errors
    /// [`CompressionError::Corrupt`].
    pub fn next(&mut self, out: &mut Vec<u8>, most: usize) -> Result<bool, CompressionError> {
        let start = out.len();
        while let Some(deflated) = &mut self.deflated {
            out.resize(start + most, 0);
            let read = deflated.read(&mut out[start..]);
            out.truncate(start + *read.as_ref().unwrap_or(&0));
            if read.map_err(corrupt)? > 0 {
                self.sum.update(&out[start..]);
                self.size = self.size.wrapping_add((out.len() - start) as u32);
                return Ok(true);
            }
            let sum = std::mem::take(&mut self.sum).finalize();
            let size = std::mem::take(&mut self.size);
            let rest: &'a [u8] = deflated.get_ref();
            self.deflated = after_trailer(rest, sum, size)?.map(DeflateDecoder::new);
        }
        Ok(false)
    }
}

/// What follows the header at the front; `None` if there is none.
fn after_header(data: &[u8]) -> Option<&[u8]> {
    let (head, mut rest) = data.split_first_chunk::<HEADER_BYTES>()?;
    if head[..3] != [0x1f, 0x8b, 8] {
        return None;
    }
    let flags = head[3];
    if flags & EXTRA != 0 {
        let (length, tail) = rest.split_first_chunk::<2>()?;
        rest = tail.get(usize::from(u16::from_le_bytes(*length))..)?;
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            let end = rest.iter().position(|byte| *byte == 0)?;
            rest = &rest[end + 1..];
        }
    }
    if flags & HEADER_CRC != 0 {
        let header = &data[..data.len() - rest.len()];
        let (sum, tail) = rest.split_first_chunk::<2>()?;
        if u32::from(u16::from_le_bytes(*sum)) != crc32fast::hash(header) & 0xffff {
            return None;
        }
        rest = tail;
    }
    Some(rest)
}

fn corrupt(reason: impl ToString) -> CompressionError {
    CompressionError::corrupt(Codec::Gzip, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(data: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        unpack(data, 1000, &mut out).ok().map(|()| out)
    }

    #[test]
    fn members_flags_and_garbage() {
        let one = compress(b"tandem").unwrap();
        let text = || Some(b"tandem".to_vec());
        assert_eq!(unpacked(&one), text());
        let mut flagged = one.clone();
        flagged[3] = 0xe1;
        assert_eq!(unpacked(&flagged), text());
        assert_eq!(unpacked(&[&one[..], &[0x41; 30]].concat()), text());
        assert_eq!(
            unpacked(&[&one[..], &one[..]].concat()),
            Some(b"tandemtandem".to_vec())
        );
        // A name, then the checksum of the header.
        let mut head = [&one[..10], b"name\0"].concat();
        head[3] = NAME | HEADER_CRC;
        let sum = (crc32fast::hash(&head) as u16).to_le_bytes();
        let named = [&head[..], &sum, &one[10..]].concat();
        assert_eq!(unpacked(&named), text());
        for cut in 0..one.len() {
            assert_eq!(unpacked(&one[..cut]), None, "{cut}");
        }
    }
}
