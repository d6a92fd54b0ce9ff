//! Pure: one record inside a v2 batch: borrowed view, owned form, encoding and decoding.
//!
//! Layout (`DefaultRecord.java`, KIP-98 and KIP-82). `varint` and `varlong` are zigzag base-128 numbers:
//!
//! ```text
//! varint length of what follows | i8 attributes (0) | varlong timestamp delta | varint offset delta
//! varint key length (-1 null) | key | varint value length (-1 null) | value
//! varint header count | header*: varint key length, key, varint value length (-1 null), value
//! ```

use bytes::{BufMut, Bytes, BytesMut};

/// Why the bytes of a record cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes end inside a record.
    #[error("record ends after the end of its batch")]
    Truncated,
    /// A variable-length number has more bytes than its type allows.
    #[error("variable-length number in a record is too long")]
    BadVarint,
    /// The length at the start of a record is negative.
    #[error("length of a record is negative")]
    NegativeSize,
    /// The length at the start of a record has more bytes than its type allows.
    #[error("length of a record is too long a number")]
    BadSize,
    /// The fields of a record reach beyond the length at its start.
    #[error("record declares {declared} bytes but its fields are longer")]
    Overrun {
        /// Length in bytes as written at the start of the record.
        declared: usize,
    },
    /// The length at the start of a record disagrees with its fields.
    #[error("record declares {declared} bytes but its fields end at {actual}")]
    BadLength {
        /// Length in bytes as written at the start of the record.
        declared: usize,
        /// Bytes that its fields take.
        actual: usize,
    },
    /// A negative count, or a header without a key.
    #[error("record header is invalid: {0}")]
    BadHeader(&'static str),
    /// The batch holds more or fewer bytes than its record count says.
    #[error("batch declares {declared} records but its payload disagrees")]
    BadCount {
        /// Records as counted by the batch header.
        declared: i32,
    },
}

/// A record that owns its parts (cheap slices of shared bytes).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Absolute offset; when building a batch, only its difference from the base offset is written.
    pub offset: i64,
    /// Milliseconds since the epoch, or -1 for none.
    pub timestamp: i64,
    /// Key, or null.
    pub key: Option<Bytes>,
    /// Value, or null (a tombstone in compacted topics).
    pub value: Option<Bytes>,
    /// Headers in order; keys may repeat.
    pub headers: Vec<RecordHeader>,
}

/// A header of an owned [`Record`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordHeader {
    /// Key as UTF-8 bytes; never null.
    pub key: Bytes,
    /// Value, or null.
    pub value: Option<Bytes>,
}

/// A record as slices of a decompressed batch payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// Difference from the batch's base offset.
    pub offset_delta: i32,
    /// Difference from the batch's base timestamp in milliseconds.
    pub timestamp_delta: i64,
    /// Absolute offset.
    pub offset: i64,
    /// Milliseconds since the epoch; the batch's maximum if it carries log append times.
    pub timestamp: i64,
    /// Key, or null.
    pub key: Option<&'a [u8]>,
    /// Value, or null.
    pub value: Option<&'a [u8]>,
    /// Number of headers in `header_bytes`.
    pub header_count: usize,
    /// Headers, still encoded; checked, so that [`RecordView::headers`] cannot fail.
    header_bytes: &'a [u8],
}

impl<'a> RecordView<'a> {
    /// Headers in order, as (key, value).
    pub fn headers(&self) -> Vec<(&'a [u8], Option<&'a [u8]>)> {
        let mut reader = RecordReader::new(self.header_bytes);
        let mut headers = Vec::with_capacity(self.header_count);
        while let Ok(header) = reader.header() {
            headers.push(header);
        }
        headers
    }

    /// Copies key, value and headers into a record of its own.
    pub fn to_owned_record(&self) -> Record {
        let owned = Bytes::copy_from_slice;
        Record {
            offset: self.offset,
            timestamp: self.timestamp,
            key: self.key.map(owned),
            value: self.value.map(owned),
            headers: self
                .headers()
                .into_iter()
                .map(|(key, value)| RecordHeader {
                    key: owned(key),
                    value: value.map(owned),
                })
                .collect(),
        }
    }
}

/// What a batch lends to its records: added to the deltas of each.
#[derive(Debug, Clone, Copy)]
pub struct RecordBase {
    /// Offset to which offset deltas are added.
    pub offset: i64,
    /// Timestamp to which timestamp deltas are added, in milliseconds.
    pub timestamp: i64,
    /// Timestamp of every record if the batch carries log append times.
    pub log_append_time: Option<i64>,
}

/// What [`RecordSource::skip_record`] saw of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SkippedRecord {
    /// Difference from the batch's base offset.
    pub offset_delta: i32,
    /// Absolute offset.
    pub offset: i64,
    /// Milliseconds since the epoch; the batch's maximum if it carries log append times.
    pub timestamp: i64,
    /// Bytes of the key, negative for null.
    pub key_size: i32,
    /// Bytes of the value, negative for null.
    pub value_size: i32,
}

/// Reads records one after another from a decompressed payload.
#[derive(Debug, Clone)]
pub struct RecordReader<'a> {
    rest: &'a [u8],
}

impl<'a> RecordReader<'a> {
    /// Reads from the start of `payload`.
    pub fn new(payload: &'a [u8]) -> Self {
        RecordReader { rest: payload }
    }

    /// Bytes that are not read yet.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// True when every byte has been read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Reads the next record.
    ///
    /// # Errors
    /// Any [`RecordError`] if the bytes are not a whole, well-formed record.
    pub fn next_record(&mut self, base: &RecordBase) -> Result<RecordView<'a>, RecordError> {
        let declared = match self.varint() {
            Err(RecordError::BadVarint) => return Err(RecordError::BadSize),
            other => usize::try_from(other?).map_err(|_| RecordError::NegativeSize)?,
        };
        let body = self.take(declared)?;
        Self::body(body, base).map_err(|error| match error {
            RecordError::Truncated => RecordError::Overrun { declared },
            other => other,
        })
    }

    fn body(body: &'a [u8], base: &RecordBase) -> Result<RecordView<'a>, RecordError> {
        let declared = body.len();
        let mut reader = RecordReader::new(body);
        reader.take(1)?; // attributes: none are defined
        let timestamp_delta = reader.varlong()?;
        let offset_delta = reader.varint()?;
        let key = reader.nullable()?;
        let value = reader.nullable()?;
        let count = reader.varint()?;
        if count < 0 {
            return Err(RecordError::BadHeader("negative number of headers"));
        }
        let header_count = count as usize;
        if header_count > reader.rest.len() {
            return Err(RecordError::BadHeader("more headers than bytes"));
        }
        let header_bytes = reader.rest;
        for _ in 0..header_count {
            reader.header()?;
        }
        if !reader.rest.is_empty() {
            let actual = declared - reader.rest.len();
            return Err(RecordError::BadLength { declared, actual });
        }
        Ok(RecordView {
            offset_delta,
            timestamp_delta,
            offset: base.offset.wrapping_add(i64::from(offset_delta)),
            timestamp: base
                .log_append_time
                .unwrap_or_else(|| base.timestamp.wrapping_add(timestamp_delta)),
            key,
            value,
            header_count,
            header_bytes,
        })
    }

    fn header(&mut self) -> Result<(&'a [u8], Option<&'a [u8]>), RecordError> {
        let key = self.nullable()?.ok_or(RecordError::BadHeader("null key"))?;
        Ok((key, self.nullable()?))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], RecordError> {
        let (head, tail) = self
            .rest
            .split_at_checked(len)
            .ok_or(RecordError::Truncated)?;
        self.rest = tail;
        Ok(head)
    }

    fn nullable(&mut self) -> Result<Option<&'a [u8]>, RecordError> {
        match usize::try_from(self.varint()?) {
            Ok(len) => self.take(len).map(Some),
            Err(_) => Ok(None),
        }
    }
}

/// Where the fields of records come from: bytes that are there, or that are unpacked as they are needed.
pub trait RecordSource {
    /// Why there is no field.
    type Error: From<RecordError>;

    /// The next byte.
    ///
    /// # Errors
    /// [`RecordError::Truncated`] if there is none.
    fn byte(&mut self) -> Result<u8, Self::Error>;

    /// Leaves out as many bytes.
    ///
    /// # Errors
    /// [`RecordError::Truncated`] if there are fewer.
    fn pass(&mut self, bytes: usize) -> Result<(), Self::Error>;

    /// Takes note of a record's key, of so many bytes, and leaves it out.
    ///
    /// # Errors
    /// As for [`RecordSource::pass`].
    fn key(&mut self, bytes: usize) -> Result<(), Self::Error> {
        self.pass(bytes)
    }

    /// Skips the next record, looking only at what Kafka looks at in a packed batch that it keeps as it is: lengths
    /// of fields, but neither that of the record nor whether the two agree (`DefaultRecord.readPartiallyFrom`).
    ///
    /// # Errors
    /// Any [`RecordError`] if the fields do not fit in what is there.
    fn skip_record(&mut self, base: &RecordBase) -> Result<SkippedRecord, Self::Error> {
        self.varint()?;
        self.pass(1)?; // attributes: none are defined
        let timestamp_delta = self.varlong()?;
        let offset_delta = self.varint()?;
        let key_size = self.varint()?;
        self.key(usize::try_from(key_size).unwrap_or(0))?;
        let value_size = self.skip()?;
        let count = self.varint()?;
        if count < 0 {
            return Err(RecordError::BadHeader("negative number of headers").into());
        }
        for _ in 0..count {
            if self.skip()? < 0 {
                return Err(RecordError::BadHeader("null key").into());
            }
            self.skip()?;
        }
        Ok(SkippedRecord {
            offset_delta,
            offset: base.offset.wrapping_add(i64::from(offset_delta)),
            timestamp: base
                .log_append_time
                .unwrap_or_else(|| base.timestamp.wrapping_add(timestamp_delta)),
            key_size,
            value_size,
        })
    }

    /// Skips a field with a length, which is returned; a negative one stands for null.
    ///
    /// # Errors
    /// [`RecordError::Truncated`] or [`RecordError::BadVarint`].
    fn skip(&mut self) -> Result<i32, Self::Error> {
        let size = self.varint()?;
        self.pass(usize::try_from(size).unwrap_or(0))?;
        Ok(size)
    }

    /// A variable-length number of as many bits, before its sign is made out.
    ///
    /// # Errors
    /// [`RecordError::Truncated`] or [`RecordError::BadVarint`].
    fn unsigned(&mut self, max_bits: u32) -> Result<u64, Self::Error> {
        let mut value = 0u64;
        let mut shift = 0u32;
        loop {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
            shift += 7;
            if shift >= max_bits {
                return Err(RecordError::BadVarint.into());
            }
        }
    }

    /// A number of 32 bits.
    ///
    /// # Errors
    /// As for [`RecordSource::unsigned`].
    fn varint(&mut self) -> Result<i32, Self::Error> {
        let raw = self.unsigned(32)? as u32;
        Ok(((raw >> 1) as i32) ^ -((raw & 1) as i32))
    }

    /// A number of 64 bits.
    ///
    /// # Errors
    /// As for [`RecordSource::unsigned`].
    fn varlong(&mut self) -> Result<i64, Self::Error> {
        let raw = self.unsigned(64)?;
        Ok(((raw >> 1) as i64) ^ -((raw & 1) as i64))
    }
}

impl RecordSource for RecordReader<'_> {
    type Error = RecordError;

    fn byte(&mut self) -> Result<u8, RecordError> {
        let (&byte, tail) = self.rest.split_first().ok_or(RecordError::Truncated)?;
        self.rest = tail;
        Ok(byte)
    }

    fn pass(&mut self, bytes: usize) -> Result<(), RecordError> {
        self.take(bytes).map(|_| ())
    }
}

/// The parts of a record to be encoded by [`encode_record`].
#[derive(Debug, Clone, Copy)]
pub struct RecordParts<'a> {
    /// Difference from the batch's base offset.
    pub offset_delta: i32,
    /// Difference from the batch's base timestamp in milliseconds.
    pub timestamp_delta: i64,
    /// Key, or null.
    pub key: Option<&'a [u8]>,
    /// Value, or null.
    pub value: Option<&'a [u8]>,
}

/// Appends one record with `headers` (key, value) to `out`.
pub fn encode_record<'h>(
    out: &mut BytesMut,
    parts: &RecordParts<'_>,
    headers: impl ExactSizeIterator<Item = (&'h [u8], Option<&'h [u8]>)> + Clone,
) {
    let mut len = 1 + varlong_len(parts.timestamp_delta) + varint_len(parts.offset_delta);
    len += nullable_len(parts.key) + nullable_len(parts.value);
    len += varint_len(headers.len() as i32);
    for (key, value) in headers.clone() {
        len += nullable_len(Some(key)) + nullable_len(value);
    }
    out.reserve(len + 5);
    put_varint(out, len as i32);
    out.put_u8(0);
    put_varlong(out, parts.timestamp_delta);
    put_varint(out, parts.offset_delta);
    put_nullable(out, parts.key);
    put_nullable(out, parts.value);
    put_varint(out, headers.len() as i32);
    for (key, value) in headers {
        put_nullable(out, Some(key));
        put_nullable(out, value);
    }
}

/// Appends the encoded record `raw` with another timestamp delta; all else is copied.
///
/// # Errors
/// [`RecordError`] if `raw` does not start like a record.
pub fn encode_with_timestamp_delta(
    out: &mut BytesMut,
    raw: &[u8],
    timestamp_delta: i64,
) -> Result<(), RecordError> {
    let mut reader = RecordReader::new(raw);
    reader.varint()?;
    let attributes = reader.take(1)?;
    reader.varlong()?;
    let tail = reader.rest;
    let len = 1 + varlong_len(timestamp_delta) + tail.len();
    out.reserve(len + 5);
    put_varint(out, len as i32);
    out.put_slice(attributes);
    put_varlong(out, timestamp_delta);
    out.put_slice(tail);
    Ok(())
}

fn put_nullable(out: &mut BytesMut, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            put_varint(out, bytes.len() as i32);
            out.put_slice(bytes);
        }
        None => put_varint(out, -1),
    }
}

fn nullable_len(bytes: Option<&[u8]>) -> usize {
    match bytes {
        Some(bytes) => varint_len(bytes.len() as i32) + bytes.len(),
        None => 1,
    }
}

fn put_varint(out: &mut BytesMut, value: i32) {
    put_unsigned(out, u64::from(((value << 1) ^ (value >> 31)) as u32));
}

fn put_varlong(out: &mut BytesMut, value: i64) {
    put_unsigned(out, ((value << 1) ^ (value >> 63)) as u64);
}

fn put_unsigned(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8((value as u8) | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

fn varint_len(value: i32) -> usize {
    unsigned_len(u64::from(((value << 1) ^ (value >> 31)) as u32))
}

fn varlong_len(value: i64) -> usize {
    unsigned_len(((value << 1) ^ (value >> 63)) as u64)
}

fn unsigned_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: RecordBase = RecordBase {
        offset: 100,
        timestamp: 1000,
        log_append_time: None,
    };

    #[test]
    fn bytes_of_the_java_writer() {
        // DefaultRecord.writeTo(offsetDelta 3, timestampDelta -2, key "k", value null, header h=1).
        let expected = [0x16, 0, 3, 6, 2, b'k', 1, 2, 2, b'h', 2, b'1'];
        let mut out = BytesMut::new();
        let parts = RecordParts {
            offset_delta: 3,
            timestamp_delta: -2,
            key: Some(b"k"),
            value: None,
        };
        let headers: [(&[u8], Option<&[u8]>); 1] = [(b"h", Some(b"1"))];
        encode_record(&mut out, &parts, headers.iter().copied());
        assert_eq!(out[..], expected[..]);
        let record = RecordReader::new(&out).next_record(&BASE).unwrap();
        assert_eq!((record.offset, record.timestamp), (103, 998));
        assert_eq!((record.key, record.value), (Some(&b"k"[..]), None));
        assert_eq!(record.headers(), headers);
        let mut later = BytesMut::new();
        encode_with_timestamp_delta(&mut later, &out, 300).unwrap();
        let later = RecordReader::new(&later).next_record(&BASE).unwrap();
        assert_eq!((later.timestamp, later.offset), (1300, 103));
        assert_eq!((later.key, later.headers()), (record.key, record.headers()));
    }

    #[test]
    fn hostile_bytes_are_errors() {
        let read = |bytes: &[u8]| RecordReader::new(bytes).next_record(&BASE).map(|_| ());
        assert_eq!(read(&[]), Err(RecordError::Truncated));
        assert_eq!(read(&[0x14, 0, 3]), Err(RecordError::Truncated));
        assert_eq!(read(&[0xff; 12]), Err(RecordError::BadSize));
        assert_eq!(read(&[1]), Err(RecordError::NegativeSize));
        // key and value null, 2^30 headers in one byte
        let many = [0x16, 0, 0, 0, 1, 1, 0x80, 0x80, 0x80, 0x80, 8, 0];
        assert!(matches!(read(&many), Err(RecordError::BadHeader(_))));
        // one byte left over
        assert!(matches!(
            read(&[14, 0, 0, 0, 1, 1, 0, 9]),
            Err(RecordError::BadLength { .. })
        ));
    }
}
