//! Pure: reads primitives out of a frame; strings, bytes and records stay slices of it.

use bytes::Bytes;
use bytestring::ByteString;

use crate::wire::{Records, Uuid, WireError};

/// A cursor over the bytes of one message.
#[derive(Debug, Clone)]
pub struct Reader {
    bytes: Bytes,
    position: usize,
}

impl Reader {
    /// Starts at the first byte.
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes, position: 0 }
    }

    /// Bytes that are left.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// All that is left, as a slice of the frame.
    #[must_use]
    pub fn rest(&self) -> Bytes {
        self.bytes.slice(self.position..)
    }

    /// Takes the next `length` bytes as a slice of the frame.
    ///
    /// # Errors
    /// [`WireError::UnexpectedEnd`].
    pub fn take(&mut self, length: usize) -> Result<Bytes, WireError> {
        let remaining = self.remaining();
        if length > remaining {
            return Err(WireError::UnexpectedEnd {
                needed: length,
                remaining,
            });
        }
        let start = self.position;
        self.position += length;
        Ok(self.bytes.slice(start..start + length))
    }

    #[inline]
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        match self.bytes[self.position..].first_chunk::<N>() {
            Some(chunk) => {
                self.position += N;
                Ok(*chunk)
            }
            None => Err(WireError::UnexpectedEnd {
                needed: N,
                remaining: self.remaining(),
            }),
        }
    }

    /// One byte; anything but 0 is true.
    ///
    /// # Errors
    /// [`WireError::UnexpectedEnd`], as for all fixed-size values below.
    pub fn bool(&mut self) -> Result<bool, WireError> {
        Ok(self.i8()? != 0)
    }

    /// One signed byte.
    pub fn i8(&mut self) -> Result<i8, WireError> {
        Ok(i8::from_be_bytes(self.fixed()?))
    }

    /// Two bytes, signed.
    pub fn i16(&mut self) -> Result<i16, WireError> {
        Ok(i16::from_be_bytes(self.fixed()?))
    }

    /// Two bytes, unsigned.
    pub fn u16(&mut self) -> Result<u16, WireError> {
        Ok(u16::from_be_bytes(self.fixed()?))
    }

    /// Four bytes, signed.
    pub fn i32(&mut self) -> Result<i32, WireError> {
        Ok(i32::from_be_bytes(self.fixed()?))
    }

    /// Eight bytes, signed.
    pub fn i64(&mut self) -> Result<i64, WireError> {
        Ok(i64::from_be_bytes(self.fixed()?))
    }

    /// Eight bytes, IEEE 754.
    pub fn f64(&mut self) -> Result<f64, WireError> {
        Ok(f64::from_be_bytes(self.fixed()?))
    }

    /// Sixteen bytes.
    pub fn uuid(&mut self) -> Result<Uuid, WireError> {
        Ok(Uuid(self.fixed()?))
    }

    /// LEB128 of at most 5 bytes; like Java's, bits beyond the 32nd are dropped.
    ///
    /// # Errors
    /// [`WireError::InvalidVarint`] when a sixth byte would follow.
    pub fn uvarint(&mut self) -> Result<u32, WireError> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.fixed()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(WireError::InvalidVarint)
    }

    /// Zigzag LEB128 of at most 5 bytes.
    ///
    /// # Errors
    /// As [`Reader::uvarint`].
    pub fn varint(&mut self) -> Result<i32, WireError> {
        let raw = self.uvarint()?;
        Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
    }

    /// Zigzag LEB128 of at most 10 bytes.
    ///
    /// # Errors
    /// [`WireError::InvalidVarint`] when an eleventh byte would follow.
    pub fn varlong(&mut self) -> Result<i64, WireError> {
        let mut raw = 0u64;
        for shift in 0..10 {
            let [byte] = self.fixed()?;
            raw |= u64::from(byte & 0x7f) << (7 * shift);
            if byte & 0x80 == 0 {
                return Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed());
            }
        }
        Err(WireError::InvalidVarint)
    }

    /// A length prefix: `None` is null. The length is at most the bytes that are left.
    fn length(&mut self, raw: i64) -> Result<Option<usize>, WireError> {
        match usize::try_from(raw) {
            Ok(length) if length <= self.remaining() => Ok(Some(length)),
            Ok(needed) => Err(WireError::UnexpectedEnd {
                needed,
                remaining: self.remaining(),
            }),
            Err(_) if raw == -1 => Ok(None),
            Err(_) => Err(WireError::InvalidLength {
                length: raw,
                remaining: self.remaining(),
            }),
        }
    }

    fn length16(&mut self, flexible: bool) -> Result<Option<usize>, WireError> {
        let raw = if flexible {
            i64::from(self.uvarint()?) - 1
        } else {
            i64::from(self.i16()?)
        };
        self.length(raw)
    }

    fn length32(&mut self, flexible: bool) -> Result<Option<usize>, WireError> {
        let raw = if flexible {
            i64::from(self.uvarint()?) - 1
        } else {
            i64::from(self.i32()?)
        };
        self.length(raw)
    }

    /// A string that must not be null.
    ///
    /// # Errors
    /// [`WireError::UnexpectedNull`], [`WireError::InvalidUtf8`] or a length that cannot be.
    pub fn string(&mut self, flexible: bool) -> Result<ByteString, WireError> {
        self.nullable_string(flexible)?
            .ok_or(WireError::UnexpectedNull)
    }

    /// A string or null.
    ///
    /// # Errors
    /// [`WireError::InvalidUtf8`] or a length that cannot be.
    pub fn nullable_string(&mut self, flexible: bool) -> Result<Option<ByteString>, WireError> {
        let Some(length) = self.length16(flexible)? else {
            return Ok(None);
        };
        let bytes = self.take(length)?;
        ByteString::try_from(bytes)
            .map(Some)
            .map_err(|_| WireError::InvalidUtf8)
    }

    /// Bytes that must not be null.
    ///
    /// # Errors
    /// [`WireError::UnexpectedNull`] or a length that cannot be.
    pub fn bytes(&mut self, flexible: bool) -> Result<Bytes, WireError> {
        self.nullable_bytes(flexible)?
            .ok_or(WireError::UnexpectedNull)
    }

    /// Bytes or null.
    ///
    /// # Errors
    /// A length that cannot be.
    pub fn nullable_bytes(&mut self, flexible: bool) -> Result<Option<Bytes>, WireError> {
        let Some(length) = self.length32(flexible)? else {
            return Ok(None);
        };
        self.take(length).map(Some)
    }

    /// Record batches or null.
    ///
    /// # Errors
    /// A length that cannot be.
    pub fn records(&mut self, flexible: bool) -> Result<Option<Records>, WireError> {
        Ok(self.nullable_bytes(flexible)?.map(Records::Memory))
    }

    /// An array that must not be null.
    ///
    /// # Errors
    /// [`WireError::UnexpectedNull`], a count that cannot be, or an element's error.
    pub fn array<T>(
        &mut self,
        flexible: bool,
        element: impl FnMut(&mut Self) -> Result<T, WireError>,
    ) -> Result<Vec<T>, WireError> {
        self.nullable_array(flexible, element)?
            .ok_or(WireError::UnexpectedNull)
    }

    /// An array or null. Every element takes at least one byte, so a count beyond the bytes that
    /// are left is refused; room is made in advance for no more memory than those bytes.
    ///
    /// # Errors
    /// A count that cannot be, or an element's error.
    pub fn nullable_array<T>(
        &mut self,
        flexible: bool,
        mut element: impl FnMut(&mut Self) -> Result<T, WireError>,
    ) -> Result<Option<Vec<T>>, WireError> {
        let Some(count) = self.length32(flexible)? else {
            return Ok(None);
        };
        let affordable = self.remaining() / size_of::<T>().max(1) + 1;
        let mut values = Vec::with_capacity(count.min(affordable));
        for _ in 0..count {
            values.push(element(self)?);
        }
        Ok(Some(values))
    }

    /// A struct or null: a negative byte is null, any other precedes the struct.
    ///
    /// # Errors
    /// Those of the struct.
    pub fn nullable_struct<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, WireError>,
    ) -> Result<Option<T>, WireError> {
        if self.i8()? < 0 {
            Ok(None)
        } else {
            read(self).map(Some)
        }
    }

    /// The tagged fields at the end of a flexible struct. `field` reads a tag that it knows and
    /// says so; the data of the others is skipped.
    ///
    /// # Errors
    /// Those of the fields, and [`WireError::InvalidTag`] when a field leaves bytes of its data.
    pub fn tags(
        &mut self,
        mut field: impl FnMut(u32, &mut Self) -> Result<bool, WireError>,
    ) -> Result<(), WireError> {
        for _ in 0..self.uvarint()? {
            let tag = self.uvarint()?;
            let size = self.uvarint()?;
            let mut data = Self::new(self.take(size as usize)?);
            if field(tag, &mut data)? && data.remaining() > 0 {
                return Err(WireError::InvalidTag {
                    tag,
                    left: data.remaining(),
                });
            }
        }
        Ok(())
    }

    /// The tagged fields of a struct that has none of its own.
    ///
    /// # Errors
    /// Sizes that cannot be.
    pub fn skip_tags(&mut self) -> Result<(), WireError> {
        self.tags(|_, _| Ok(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_huge_count_is_refused_before_memory_is_taken() {
        let mut r = Reader::new(Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 0, 0]));
        let error = r.array(false, Reader::i64).unwrap_err();
        assert_eq!(
            error,
            WireError::UnexpectedEnd {
                needed: 0x7fff_ffff,
                remaining: 2
            }
        );
        let mut r = Reader::new(Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f]));
        assert!(r.nullable_bytes(true).is_err());
        let mut r = Reader::new(Bytes::from_static(&[0xff, 0xff, 0xff, 0xfe]));
        let error = r.nullable_bytes(false).unwrap_err();
        assert_eq!(
            error,
            WireError::InvalidLength {
                length: -2,
                remaining: 0
            }
        );
    }

    #[test]
    fn unknown_tags_are_skipped() {
        let mut r = Reader::new(Bytes::from_static(&[1, 9, 2, 0xaa, 0xbb, 7]));
        r.skip_tags().unwrap();
        assert_eq!(r.i8(), Ok(7));
    }

    #[test]
    fn zigzag_is_javas() {
        // ByteUtils.writeVarint(-2147483648) and writeVarlong(-9223372036854775808).
        let mut r = Reader::new(Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f]));
        assert_eq!(r.varint(), Ok(i32::MIN));
        let mut r = Reader::new(Bytes::from_static(&[
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01,
        ]));
        assert_eq!(r.varlong(), Ok(i64::MIN));
    }
}
