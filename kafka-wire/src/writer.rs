//! Pure: writes primitives into a list of segments, of which file ranges are sent unread.

use std::fs::File;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;

use crate::wire::{Records, Uuid, WireError};

/// Byte fields of at least this size become a segment of their own instead of being copied.
const SHARED_BYTES_MIN: usize = 4096;

/// A piece of an encoded message.
#[derive(Debug, Clone)]
pub enum Segment {
    /// Bytes in memory.
    Bytes(Bytes),
    /// A range of a file, to be sent from the file.
    File {
        /// The open file.
        file: Arc<File>,
        /// Where the range starts, in bytes.
        position: u64,
        /// How long the range is, in bytes.
        len: u32,
    },
}

impl Segment {
    /// Size in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::File { len, .. } => *len as usize,
        }
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Collects one message.
#[derive(Debug, Default)]
pub struct Writer {
    segments: Vec<Segment>,
    sealed_bytes: usize,
    tail: BytesMut,
}

impl Writer {
    /// An empty message.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty message with room for `bytes`.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            tail: BytesMut::with_capacity(bytes),
            ..Self::default()
        }
    }

    /// Bytes written so far, file ranges included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sealed_bytes + self.tail.len()
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The message in order; adjacent bytes are one segment.
    #[must_use]
    pub fn into_segments(mut self) -> Vec<Segment> {
        self.seal_tail();
        self.segments
    }

    /// The message after its 4-byte length, as it goes over a connection.
    ///
    /// # Errors
    /// [`WireError::TooLong`] when the length does not fit.
    pub fn into_frame(self) -> Result<Vec<Segment>, WireError> {
        let length = self.len();
        let prefix = i32::try_from(length)
            .map_err(|_| WireError::TooLong(length))?
            .to_be_bytes();
        let mut segments = self.into_segments();
        match segments.first_mut() {
            Some(Segment::Bytes(first)) if first.len() < SHARED_BYTES_MIN => {
                let mut joined = BytesMut::with_capacity(first.len() + prefix.len());
                joined.put_slice(&prefix);
                joined.put_slice(first);
                *first = joined.freeze();
            }
            _ => segments.insert(0, Segment::Bytes(Bytes::copy_from_slice(&prefix))),
        }
        Ok(segments)
    }

    /// The message as one buffer.
    ///
    /// # Errors
    /// [`WireError::FileRecords`] when a part of it is a file range.
    pub fn into_bytes(self) -> Result<Bytes, WireError> {
        if self.segments.is_empty() {
            return Ok(self.tail.freeze());
        }
        let mut joined = BytesMut::with_capacity(self.len());
        for segment in self.into_segments() {
            match segment {
                Segment::Bytes(bytes) => joined.put_slice(&bytes),
                Segment::File { .. } => return Err(WireError::FileRecords),
            }
        }
        Ok(joined.freeze())
    }

    fn seal_tail(&mut self) {
        if !self.tail.is_empty() {
            let bytes = self.tail.split().freeze();
            self.push(Segment::Bytes(bytes));
        }
    }

    fn push(&mut self, segment: Segment) {
        self.sealed_bytes += segment.len();
        self.segments.push(segment);
    }

    /// Bytes as they are, without a length.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.tail.put_slice(bytes);
    }

    /// Bytes as they are, without a length; long ones are shared, not copied.
    pub fn raw_shared(&mut self, bytes: &Bytes) {
        if bytes.len() < SHARED_BYTES_MIN {
            self.tail.put_slice(bytes);
        } else {
            self.seal_tail();
            self.push(Segment::Bytes(bytes.clone()));
        }
    }

    /// One byte, 1 for true.
    ///
    /// # Errors
    /// None; like its siblings below it returns a result so that generated code is uniform.
    pub fn bool(&mut self, value: bool) -> Result<(), WireError> {
        self.i8(i8::from(value))
    }

    /// One signed byte.
    pub fn i8(&mut self, value: i8) -> Result<(), WireError> {
        self.tail.put_i8(value);
        Ok(())
    }

    /// Two bytes, signed.
    pub fn i16(&mut self, value: i16) -> Result<(), WireError> {
        self.tail.put_i16(value);
        Ok(())
    }

    /// Two bytes, unsigned.
    pub fn u16(&mut self, value: u16) -> Result<(), WireError> {
        self.tail.put_u16(value);
        Ok(())
    }

    /// Four bytes, signed.
    pub fn i32(&mut self, value: i32) -> Result<(), WireError> {
        self.tail.put_i32(value);
        Ok(())
    }

    /// Eight bytes, signed.
    pub fn i64(&mut self, value: i64) -> Result<(), WireError> {
        self.tail.put_i64(value);
        Ok(())
    }

    /// Eight bytes, IEEE 754.
    pub fn f64(&mut self, value: f64) -> Result<(), WireError> {
        self.tail.put_f64(value);
        Ok(())
    }

    /// Sixteen bytes.
    pub fn uuid(&mut self, value: Uuid) -> Result<(), WireError> {
        self.tail.put_slice(&value.0);
        Ok(())
    }

    /// LEB128.
    pub fn uvarint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.tail.put_u8((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.tail.put_u8(value as u8);
    }

    /// uvarint(length + 1), or the null mark.
    fn compact_length(&mut self, length: Option<usize>) -> Result<(), WireError> {
        let raw = match length {
            None => 0,
            Some(length) if length < i32::MAX as usize => length as u32 + 1,
            Some(length) => return Err(WireError::TooLong(length)),
        };
        self.uvarint(raw);
        Ok(())
    }

    fn length16(&mut self, length: Option<usize>, flexible: bool) -> Result<(), WireError> {
        // Java refuses strings beyond an i16 length in compact form as well.
        let raw = match length {
            None => -1,
            Some(length) => i16::try_from(length).map_err(|_| WireError::TooLong(length))?,
        };
        if flexible {
            self.compact_length(length)
        } else {
            self.i16(raw)
        }
    }

    fn length32(&mut self, length: Option<usize>, flexible: bool) -> Result<(), WireError> {
        if flexible {
            return self.compact_length(length);
        }
        let raw = match length {
            None => -1,
            Some(length) => i32::try_from(length).map_err(|_| WireError::TooLong(length))?,
        };
        self.i32(raw)
    }

    /// A string.
    ///
    /// # Errors
    /// [`WireError::TooLong`] beyond 32767 bytes.
    pub fn string(&mut self, value: &ByteString, flexible: bool) -> Result<(), WireError> {
        self.length16(Some(value.len()), flexible)?;
        self.tail.put_slice(value.as_bytes());
        Ok(())
    }

    /// A string or null.
    ///
    /// # Errors
    /// As [`Writer::string`].
    pub fn nullable_string(
        &mut self,
        value: &Option<ByteString>,
        flexible: bool,
    ) -> Result<(), WireError> {
        match value {
            Some(value) => self.string(value, flexible),
            None => self.length16(None, flexible),
        }
    }

    /// Bytes.
    ///
    /// # Errors
    /// [`WireError::TooLong`] beyond 2 GiB.
    pub fn bytes(&mut self, value: &Bytes, flexible: bool) -> Result<(), WireError> {
        self.length32(Some(value.len()), flexible)?;
        self.raw_shared(value);
        Ok(())
    }

    /// Bytes or null.
    ///
    /// # Errors
    /// As [`Writer::bytes`].
    pub fn nullable_bytes(
        &mut self,
        value: &Option<Bytes>,
        flexible: bool,
    ) -> Result<(), WireError> {
        match value {
            Some(value) => self.bytes(value, flexible),
            None => self.length32(None, flexible),
        }
    }

    /// Record batches or null; a file range becomes a segment.
    ///
    /// # Errors
    /// As [`Writer::bytes`].
    pub fn records(&mut self, value: &Option<Records>, flexible: bool) -> Result<(), WireError> {
        match value {
            None => self.length32(None, flexible),
            Some(Records::Memory(bytes)) => self.bytes(bytes, flexible),
            Some(Records::File {
                file,
                position,
                len,
            }) => {
                self.length32(Some(*len as usize), flexible)?;
                self.seal_tail();
                self.push(Segment::File {
                    file: file.clone(),
                    position: *position,
                    len: *len,
                });
                Ok(())
            }
        }
    }

    /// An array.
    ///
    /// # Errors
    /// [`WireError::TooLong`], or an element's error.
    pub fn array<T>(
        &mut self,
        values: &[T],
        flexible: bool,
        mut element: impl FnMut(&mut Self, &T) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        self.length32(Some(values.len()), flexible)?;
        for value in values {
            element(self, value)?;
        }
        Ok(())
    }

    /// An array or null.
    ///
    /// # Errors
    /// As [`Writer::array`].
    pub fn nullable_array<T>(
        &mut self,
        values: &Option<Vec<T>>,
        flexible: bool,
        element: impl FnMut(&mut Self, &T) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        match values {
            Some(values) => self.array(values, flexible, element),
            None => self.length32(None, flexible),
        }
    }

    /// A struct or null: a byte 1 or -1, then the struct.
    ///
    /// # Errors
    /// Those of the struct.
    pub fn nullable_struct<T>(
        &mut self,
        value: &Option<T>,
        write: impl FnOnce(&mut Self, &T) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        match value {
            None => self.i8(-1),
            Some(value) => {
                self.i8(1)?;
                write(self, value)
            }
        }
    }

    /// The tagged fields at the end of a flexible struct.
    pub fn tags(&mut self, tags: Tags) {
        self.uvarint(tags.fields.len() as u32);
        for (tag, data) in tags.fields {
            self.uvarint(tag);
            self.uvarint(data.len() as u32);
            for segment in data.into_segments() {
                match segment {
                    Segment::Bytes(bytes) => self.raw_shared(&bytes),
                    file @ Segment::File { .. } => {
                        self.seal_tail();
                        self.push(file);
                    }
                }
            }
        }
    }

    /// The mark of a flexible struct without tagged fields.
    pub fn no_tags(&mut self) {
        self.tail.put_u8(0);
    }
}

/// The tagged fields of one struct that differ from their default, in ascending order.
#[derive(Debug, Default)]
pub struct Tags {
    fields: Vec<(u32, Writer)>,
}

impl Tags {
    /// No fields yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a field.
    ///
    /// # Errors
    /// Those of the field.
    pub fn put(
        &mut self,
        tag: u32,
        write: impl FnOnce(&mut Writer) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        let mut data = Writer::new();
        write(&mut data)?;
        self.fields.push((tag, data));
        Ok(())
    }
}

/// The value of a field that the version to be written does not allow to be null.
///
/// # Errors
/// [`WireError::NullField`].
pub fn required<'a, T>(
    value: &'a Option<T>,
    field: &'static str,
    version: i16,
) -> Result<&'a T, WireError> {
    value
        .as_ref()
        .ok_or(WireError::NullField { field, version })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_ranges_stay_segments() {
        let file = Arc::new(tempfile::tempfile().unwrap());
        let mut w = Writer::new();
        w.i16(7).unwrap();
        w.records(
            &Some(Records::File {
                file,
                position: 4096,
                len: 300,
            }),
            true,
        )
        .unwrap();
        w.no_tags();
        let frame = w.into_frame().unwrap();
        let sizes: Vec<usize> = frame.iter().map(Segment::len).collect();
        assert_eq!(sizes, [8, 300, 1]);
        let Segment::Bytes(head) = &frame[0] else {
            panic!("bytes first")
        };
        assert_eq!(head[..], [0, 0, 1, 49, 0, 7, 0xad, 0x02]);
    }

    #[test]
    fn long_strings_are_refused() {
        let mut w = Writer::new();
        let long = ByteString::from("x".repeat(40_000));
        assert_eq!(w.string(&long, true), Err(WireError::TooLong(40_000)));
    }
}
