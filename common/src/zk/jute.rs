//! Pure: jute's primitives (`zookeeper-jute`, `BinaryInputArchive` and `BinaryOutputArchive`).
//!
//! Everything is big-endian. An int has 4 bytes, a long 8, a boolean 1 (anything but 0 is true).
//! A string and a buffer are an int length and that many bytes; a vector is an int count and
//! that many items; -1 stands for null in all three.

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;

/// ZooKeeper's default for `jute.maxbuffer`: the largest frame from a client, in bytes.
pub const DEFAULT_MAX_BUFFER_BYTES: usize = 0xf_ffff;

/// Why bytes are not the record that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JuteError {
    /// The bytes end within a value.
    #[error("record ends early: {needed} more bytes needed, {left} left")]
    Eof {
        /// Bytes the value needs from here on.
        needed: usize,
        /// Bytes that are left.
        left: usize,
    },
    /// A string or buffer length that is negative (and not null) or over the limit.
    #[error("unreasonable length {0}")]
    Length(i32),
    /// Null where a string must be.
    #[error("null string where one is required")]
    NullString,
    /// An operation or transaction type that is unknown or not allowed here.
    #[error("type {0} is not allowed here")]
    Type(i32),
    /// Flags of a create that name no mode.
    #[error("invalid flag {0} for create mode")]
    CreateFlags(i32),
    /// A multi that mixes reads with writes, or has create arguments that never fit together.
    #[error("multi mixes different kinds of operations")]
    MixedMulti,
}

/// Reads jute values off the front of a buffer; strings and buffers are slices of it.
///
/// A slice keeps the whole frame alive: who stores one for long copies it.
#[derive(Debug, Clone)]
pub struct Reader {
    bytes: Bytes,
    at: usize,
    max_length: usize,
    null: bool,
}

impl Reader {
    /// A reader whose lengths are bounded by the bytes that are there.
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        Self::with_max_length(bytes, i32::MAX as usize)
    }

    /// A reader that also rejects a string or buffer longer than `max_length` bytes.
    #[must_use]
    pub fn with_max_length(bytes: Bytes, max_length: usize) -> Self {
        Self {
            bytes,
            at: 0,
            max_length,
            null: false,
        }
    }

    /// Bytes not read yet.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Takes all that is left.
    #[must_use]
    pub fn take_rest(&mut self) -> Bytes {
        let rest = self.bytes.slice(self.at..);
        self.at = self.bytes.len();
        rest
    }

    /// The bytes that are left, without taking them.
    #[must_use]
    pub fn peek(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    /// How many bytes have been read.
    #[must_use]
    pub fn position(&self) -> usize {
        self.at
    }

    /// Goes back to where [`Reader::position`] was.
    pub fn rewind(&mut self, position: usize) {
        self.at = position.min(self.at);
        self.null = false;
    }

    /// Whether a null was read as something empty, which the real server may not do.
    #[must_use]
    pub fn read_null(&self) -> bool {
        self.null
    }

    /// Notes that a null was read as something empty.
    pub fn note_null(&mut self) {
        self.null = true;
    }

    /// Takes the next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<Bytes, JuteError> {
        self.need(count)?;
        let taken = self.bytes.slice(self.at..self.at + count);
        self.at += count;
        Ok(taken)
    }

    fn need(&self, needed: usize) -> Result<(), JuteError> {
        let left = self.remaining();
        if left < needed {
            Err(JuteError::Eof { needed, left })
        } else {
            Ok(())
        }
    }

    fn read_array<const N: usize>(&mut self) -> Result<[u8; N], JuteError> {
        let left = self.peek();
        let Some(array) = left.first_chunk::<N>() else {
            return Err(JuteError::Eof {
                needed: N,
                left: left.len(),
            });
        };
        let array = *array;
        self.at += N;
        Ok(array)
    }

    /// Reads one record.
    pub fn read<T: Record>(&mut self) -> Result<T, JuteError> {
        T::decode(self)
    }

    fn read_sized(&mut self) -> Result<Option<Bytes>, JuteError> {
        let length = self.read::<i32>()?;
        if length == -1 {
            return Ok(None);
        }
        match usize::try_from(length) {
            Ok(count) if count <= self.max_length => self.take(count).map(Some),
            _ => Err(JuteError::Length(length)),
        }
    }
}

/// A value with a jute form.
pub trait Record: Sized {
    /// The fewest bytes a value can take: bounds what a vector's count may reserve.
    const MIN_BYTES: usize;

    /// Reads one value off the front of `reader`.
    fn decode(reader: &mut Reader) -> Result<Self, JuteError>;

    /// Appends the value to `out`.
    fn encode(&self, out: &mut BytesMut);

    /// The value's bytes alone.
    fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::new();
        self.encode(&mut out);
        out.freeze()
    }
}

impl Record for i32 {
    const MIN_BYTES: usize = 4;

    fn decode(reader: &mut Reader) -> Result<Self, JuteError> {
        Ok(i32::from_be_bytes(reader.read_array()?))
    }

    fn encode(&self, out: &mut BytesMut) {
        out.put_i32(*self);
    }
}

impl Record for i64 {
    const MIN_BYTES: usize = 8;

    fn decode(reader: &mut Reader) -> Result<Self, JuteError> {
        Ok(i64::from_be_bytes(reader.read_array()?))
    }

    fn encode(&self, out: &mut BytesMut) {
        out.put_i64(*self);
    }
}

impl Record for bool {
    const MIN_BYTES: usize = 1;

    fn decode(reader: &mut Reader) -> Result<Self, JuteError> {
        Ok(reader.read_array::<1>()? != [0])
    }

    fn encode(&self, out: &mut BytesMut) {
        out.put_u8(u8::from(*self));
    }
}

/// A buffer; null and empty differ.
impl Record for Option<Bytes> {
    const MIN_BYTES: usize = 4;

    fn decode(reader: &mut Reader) -> Result<Self, JuteError> {
        reader.read_sized()
    }

    fn encode(&self, out: &mut BytesMut) {
        encode_buffer(self.as_deref(), out);
    }
}

/// A string that must be there.
impl Record for ByteString {
    const MIN_BYTES: usize = 4;

    fn decode(reader: &mut Reader) -> Result<Self, JuteError> {
        reader
            .read::<Option<ByteString>>()?
            .ok_or(JuteError::NullString)
    }

    fn encode(&self, out: &mut BytesMut) {
        encode_str(self, out);
    }
}

/// A string that may be null.
impl Record for Option<ByteString> {
    const MIN_BYTES: usize = 4;

    fn decode(reader: &mut Reader) -> Result<Self, JuteError> {
        Ok(reader
            .read_sized()?
            .map(|bytes| match ByteString::try_from(bytes.clone()) {
                Ok(string) => string,
                Err(_) => ByteString::from(lossy_as_java(&bytes)),
            }))
    }

    fn encode(&self, out: &mut BytesMut) {
        match self {
            None => out.put_i32(-1),
            Some(string) => encode_str(string, out),
        }
    }
}

/// A vector. Null is read as empty, and the reader notes it; a count below -1 is empty in the real
/// server too.
impl<T: Record> Record for Vec<T> {
    const MIN_BYTES: usize = 4;

    fn decode(reader: &mut Reader) -> Result<Self, JuteError> {
        let count = reader.read::<i32>()?;
        if count == -1 {
            reader.note_null();
        }
        let count = usize::try_from(count).unwrap_or(0);
        let mut items = Vec::with_capacity(count.min(reader.remaining() / T::MIN_BYTES.max(1)));
        for _ in 0..count {
            items.push(T::decode(reader)?);
        }
        Ok(items)
    }

    fn encode(&self, out: &mut BytesMut) {
        put_length(self.len(), out);
        for item in self {
            item.encode(out);
        }
    }
}

fn put_length(length: usize, out: &mut BytesMut) {
    // A frame's own length is an int, so nothing longer can be on its way.
    out.put_i32(i32::try_from(length).unwrap_or(i32::MAX));
}

/// Appends a buffer with its length.
pub fn encode_buffer(bytes: Option<&[u8]>, out: &mut BytesMut) {
    match bytes {
        None => out.put_i32(-1),
        Some(bytes) => {
            put_length(bytes.len(), out);
            out.put_slice(bytes);
        }
    }
}

/// Appends a string with its length. As jute does, a character beyond the basic plane goes out
/// as two surrogates of three bytes each (CESU-8).
pub fn encode_str(string: &str, out: &mut BytesMut) {
    let bytes = string.as_bytes();
    if !bytes.iter().any(|byte| *byte >= 0xf0) {
        put_length(bytes.len(), out);
        out.put_slice(bytes);
        return;
    }
    let mut encoded = Vec::with_capacity(bytes.len() * 2);
    for unit in string.encode_utf16() {
        let low = (unit & 0x3f) as u8;
        match unit {
            0..0x80 => encoded.push(unit as u8),
            0x80..0x800 => encoded.extend([0xc0 | (unit >> 6) as u8, 0x80 | low]),
            _ => {
                let middle = ((unit >> 6) & 0x3f) as u8;
                encoded.extend([0xe0 | (unit >> 12) as u8, 0x80 | middle, 0x80 | low]);
            }
        }
    }
    put_length(encoded.len(), out);
    out.put_slice(&encoded);
}

/// Malformed UTF-8 becomes U+FFFD as Java's decoder has it: one for each maximal bad part, and
/// one for a whole three-byte surrogate.
pub fn lossy_as_java(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    loop {
        match std::str::from_utf8(rest) {
            Ok(valid) => {
                text.push_str(valid);
                return text;
            }
            Err(error) => {
                let (valid, bad) = rest.split_at(error.valid_up_to());
                text.push_str(&String::from_utf8_lossy(valid));
                text.push('\u{fffd}');
                let surrogate = matches!(bad, [0xed, 0xa0..=0xbf, 0x80..=0xbf, ..]);
                let skip = if surrogate {
                    3
                } else {
                    error.error_len().unwrap_or(bad.len())
                };
                rest = &bad[skip..];
            }
        }
    }
}

/// Declares structs whose jute form is their fields in order.
macro_rules! records {
    ($( $(#[$meta:meta])* $vis:vis struct $name:ident {
        $( $(#[$field_meta:meta])* $field_vis:vis $field:ident: $kind:ty ),* $(,)?
    } )*) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        $vis struct $name { $( $(#[$field_meta])* $field_vis $field: $kind ),* }

        impl $crate::zk::jute::Record for $name {
            const MIN_BYTES: usize =
                0 $( + <$kind as $crate::zk::jute::Record>::MIN_BYTES )*;

            fn decode(
                reader: &mut $crate::zk::jute::Reader,
            ) -> Result<Self, $crate::zk::jute::JuteError> {
                Ok(Self { $( $field: reader.read()? ),* })
            }

            fn encode(&self, out: &mut ::bytes::BytesMut) {
                $( $crate::zk::jute::Record::encode(&self.$field, out); )*
            }
        }
    )* };
}
pub(crate) use records;

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(bytes: &'static [u8]) -> Reader {
        Reader::new(Bytes::from_static(bytes))
    }

    #[test]
    fn a_hostile_count_reserves_no_more_than_is_there() {
        let error = reader(&[0x7f, 0xff, 0xff, 0xff, 0, 0]).read::<Vec<i32>>();
        assert_eq!(error, Err(JuteError::Eof { needed: 4, left: 2 }));
        assert_eq!(reader(&[0xff; 4]).read::<Vec<i32>>(), Ok(vec![]));
    }

    #[test]
    fn lengths_are_bounded() {
        let limited = |bytes| Reader::with_max_length(Bytes::from_static(bytes), 2);
        assert_eq!(
            limited(&[0, 0, 0, 3, 1, 2, 3]).read::<Option<Bytes>>(),
            Err(JuteError::Length(3))
        );
        assert_eq!(
            reader(&[0xff, 0xff, 0xff, 0xfe]).read::<Option<Bytes>>(),
            Err(JuteError::Length(-2))
        );
        assert_eq!(
            reader(&[0, 0, 0, 9, 1]).read::<Option<Bytes>>(),
            Err(JuteError::Eof { needed: 9, left: 1 })
        );
    }

    #[test]
    fn null_and_empty_differ() {
        assert_eq!(reader(&[0xff; 4]).read::<Option<Bytes>>(), Ok(None));
        assert_eq!(
            reader(&[0; 4]).read::<Option<Bytes>>(),
            Ok(Some(Bytes::new()))
        );
        assert_eq!(
            reader(&[0xff; 4]).read::<ByteString>(),
            Err(JuteError::NullString)
        );
    }

    #[test]
    fn strings_beyond_the_basic_plane_go_out_as_surrogates_and_come_back_replaced() {
        let mut out = BytesMut::new();
        encode_str("a\u{1f600}", &mut out);
        assert_eq!(&out[..], b"\0\0\0\x07a\xed\xa0\xbd\xed\xb8\x80");
        let back = Reader::new(out.freeze()).read::<ByteString>();
        assert_eq!(back, Ok(ByteString::from("a\u{fffd}\u{fffd}")));
    }
}
