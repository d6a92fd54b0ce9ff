//! Pure: message sets of magic 0 and 1: reading and building.
//!
//! Layout, big endian (`LegacyRecord.java`, `AbstractLegacyRecordBatch.java`):
//!
//! ```text
//!  0 i64 offset            16 i8 magic, 0 or 1
//!  8 i32 size from 12      17 i8 attributes: bits 0-2 codec, 3 log append time (magic 1)
//! 12 u32 CRC-32 of [16..]  18 i64 timestamp (magic 1 only)
//!                             i32 key length (-1 null), key, i32 value length (-1 null), value
//! ```
//!
//! A compressed message holds a message set as its value and carries the offset of its last inner
//! message. Inner offsets are absolute in magic 0 and count from 0 in magic 1.

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

use crate::records::batch::{
    BatchError, LOG_OVERHEAD, MAGIC_POSITION, MAGIC_V2, NO_TIMESTAMP, TimestampType,
};
use crate::records::compression::{self, Codec, CompressionError};
use crate::records::lz4::{self, HeaderChecksum};
use crate::records::record::{Record, RecordError};

const CODEC_MASK: u8 = 0x07;
const LOG_APPEND_TIME: u8 = 0x08;
/// CRC, magic, attributes, and the lengths of key and value.
const OVERHEAD_V0: usize = 14;
const TIMESTAMP_BYTES: usize = 8;

/// Why bytes are no message set, or cannot be converted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LegacyError {
    /// Fewer bytes than the message declares.
    #[error("message needs {needed} bytes, {available} are there")]
    Truncated {
        /// Bytes of the whole message, or of its head.
        needed: usize,
        /// Bytes at hand.
        available: usize,
    },
    /// The declared size is below that of an empty message.
    #[error("message at offset {offset} declares an impossible size of {size}")]
    BadSize {
        /// Offset as written.
        offset: i64,
        /// Size field as written.
        size: i32,
    },
    /// Key or value reach beyond the message.
    #[error("message at offset {offset} is too short for its key and value")]
    Malformed {
        /// Offset as written.
        offset: i64,
    },
    /// A record that the older formats, as Kafka writes them, cannot hold.
    #[error("record at offset {offset} cannot be written: {reason}")]
    Unwritable {
        /// Offset of the record.
        offset: i64,
        /// Why.
        reason: &'static str,
    },
    /// Another magic than 0 and 1.
    #[error("message at offset {offset} has magic {magic}, expected 0 or 1")]
    BadMagic {
        /// Offset as written.
        offset: i64,
        /// Magic as written.
        magic: i8,
    },
    /// The checksum does not fit the bytes.
    #[error("message at offset {offset} fails its checksum")]
    BadChecksum {
        /// Offset as written.
        offset: i64,
    },
    /// A compressed message that breaks the rules.
    #[error("compressed message at offset {offset}: {reason}")]
    BadWrapper {
        /// Offset as written.
        offset: i64,
        /// The rule.
        reason: &'static str,
    },
    /// The codec number is undefined, or its codec must not be used in this magic.
    #[error("codec {codec} cannot be used with magic {magic}")]
    UnsupportedCodec {
        /// Codec number.
        codec: u8,
        /// Magic of the batch to be read or written.
        magic: i8,
    },
    /// The value of a compressed message, or the payload of a batch, cannot be decompressed.
    #[error(transparent)]
    Compression(#[from] CompressionError),
    /// A batch of magic 2 is not well-formed.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// A record of magic 2 is not well-formed.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// One message as it stands in a message set; compressed ones hold more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageView<'a> {
    /// Offset; of a compressed message that of the last one in it.
    pub offset: i64,
    /// 0 or 1.
    pub magic: i8,
    /// Codec and kind of timestamp; see the module's drawing.
    pub attributes: u8,
    /// Milliseconds since the epoch, -1 in magic 0.
    pub timestamp: i64,
    /// Key, or null.
    pub key: Option<&'a [u8]>,
    /// Value, or null; of a compressed message the compressed set.
    pub value: Option<&'a [u8]>,
    /// Whether key and value fit in the message; if not, both look null.
    pub is_well_formed: bool,
    /// Whether the length of the key is not that of null.
    pub has_key: bool,
    crc: u32,
    bytes: &'a [u8],
}

impl<'a> MessageView<'a> {
    /// Views the message at the start of `bytes`; the checksum is not looked at. What follows the value is ignored.
    ///
    /// # Errors
    /// [`LegacyError::Truncated`], [`LegacyError::BadSize`] or [`LegacyError::BadMagic`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, LegacyError> {
        let view = Self::parse_any(bytes)?;
        if (0..MAGIC_V2).contains(&view.magic) {
            Ok(view)
        } else {
            Err(LegacyError::BadMagic {
                offset: view.offset,
                magic: view.magic,
            })
        }
    }

    /// The same for messages in a compressed one, where a magic that is not known reads like 1.
    fn parse_any(bytes: &'a [u8]) -> Result<Self, LegacyError> {
        let available = bytes.len();
        let Some(head) = bytes.first_chunk::<LOG_OVERHEAD>() else {
            return Err(LegacyError::Truncated {
                needed: LOG_OVERHEAD,
                available,
            });
        };
        let offset = i64_at(head, 0);
        let size = i32_at(head, 8);
        let needed = match usize::try_from(size) {
            Ok(size) if size >= OVERHEAD_V0 => LOG_OVERHEAD + size,
            _ => return Err(LegacyError::BadSize { offset, size }),
        };
        let bytes = bytes
            .get(..needed)
            .ok_or(LegacyError::Truncated { needed, available })?;
        let magic = bytes[MAGIC_POSITION].cast_signed();
        let (timestamp, fields) = match magic {
            0 => (NO_TIMESTAMP, &bytes[18..]),
            // The smallest message of magic 0 has room for a timestamp.
            _ => (i64_at(bytes, 18), &bytes[18 + TIMESTAMP_BYTES..]),
        };
        let parts = nullable(fields).and_then(|(key, rest)| {
            let (value, _) = nullable(rest)?;
            Some((key, value))
        });
        let (key, value) = parts.unwrap_or_default();
        Ok(Self {
            offset,
            magic,
            attributes: bytes[17],
            timestamp,
            key,
            value,
            is_well_formed: parts.is_some(),
            has_key: fields.len() >= 4 && i32_at(fields, 0) >= 0,
            crc: i32_at(bytes, 12).cast_unsigned(),
            bytes,
        })
    }

    /// The whole message.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether the stored checksum fits the bytes.
    #[must_use]
    pub fn crc_ok(&self) -> bool {
        self.crc == crc32fast::hash(&self.bytes[MAGIC_POSITION..])
    }

    /// Codec number.
    #[must_use]
    pub fn codec_id(&self) -> u8 {
        self.attributes & CODEC_MASK
    }

    /// Kind of the timestamp; magic 0 has none and counts as create time.
    #[must_use]
    pub fn timestamp_type(&self) -> TimestampType {
        if self.magic > 0 && self.attributes & LOG_APPEND_TIME != 0 {
            TimestampType::LogAppendTime
        } else {
            TimestampType::CreateTime
        }
    }

    /// The records of this message with absolute offsets: itself, or what is in it.
    ///
    /// # Errors
    /// [`LegacyError`], also when the set inside is larger than `max_bytes`.
    pub fn records(&self, max_bytes: usize) -> Result<Vec<Record>, LegacyError> {
        let mut records = Vec::new();
        for inner in self.inner(max_bytes)? {
            let record = inner.record.ok_or(LegacyError::Malformed {
                offset: self.offset,
            })?;
            records.push(record);
        }
        Ok(records)
    }

    /// The same with what a broker checks before it appends them.
    ///
    /// # Errors
    /// [`LegacyError`], also when the set inside is larger than `max_bytes`. What is cut off at its end is left out,
    /// as Kafka does.
    pub fn inner(&self, max_bytes: usize) -> Result<Vec<InnerMessage>, LegacyError> {
        let unsupported = LegacyError::UnsupportedCodec {
            codec: self.codec_id(),
            magic: self.magic,
        };
        let codec = match Codec::from_id(self.codec_id()) {
            Some(Codec::None) => return Ok(vec![self.to_inner()]),
            None => return Err(unsupported),
            Some(codec) => codec,
        };
        let bad = |reason| LegacyError::BadWrapper {
            offset: self.offset,
            reason,
        };
        if codec == Codec::Zstd {
            return Err(bad("zstd is not known in this magic"));
        }
        if !self.is_well_formed {
            return Err(LegacyError::Malformed {
                offset: self.offset,
            });
        }
        let value = self.value.ok_or_else(|| bad("value is null"))?;
        let mut set = Vec::new();
        if codec == Codec::Lz4 {
            lz4::unpack(value, max_bytes, header_checksum(self.magic), &mut set)?;
        } else {
            compression::unpack(codec, value, max_bytes, &mut set)?;
        }
        let mut messages = Vec::new();
        let mut rest = set.as_slice();
        loop {
            let message = match MessageView::parse_any(rest) {
                Err(LegacyError::Truncated { .. }) => break,
                other => other?,
            };
            let mut inner = message.to_inner();
            if message.magic == 1 && self.timestamp_type() == TimestampType::LogAppendTime {
                inner.timestamp = self.timestamp;
                if let Some(record) = &mut inner.record {
                    record.timestamp = self.timestamp;
                }
            }
            messages.push(inner);
            rest = &rest[message.bytes().len()..];
        }
        let last = messages.last().ok_or_else(|| bad("it is empty"))?.offset;
        // Some versions of librdkafka send an offset of 0; the inner ones are right then.
        if self.magic > 0 && self.offset != 0 {
            if self.offset < last {
                return Err(bad("its offset is below that of a message in it"));
            }
            for inner in &mut messages {
                inner.offset = inner.offset.wrapping_add(self.offset - last);
                if let Some(record) = &mut inner.record {
                    record.offset = inner.offset;
                }
            }
        }
        Ok(messages)
    }

    fn to_inner(self) -> InnerMessage {
        InnerMessage {
            offset: self.offset,
            magic: self.magic,
            codec_id: self.codec_id(),
            crc_ok: self.crc_ok(),
            has_key: self.has_key,
            timestamp: self.timestamp,
            record: self.is_well_formed.then(|| self.to_record()),
        }
    }

    fn to_record(self) -> Record {
        Record {
            offset: self.offset,
            timestamp: self.timestamp,
            key: self.key.map(Bytes::copy_from_slice),
            value: self.value.map(Bytes::copy_from_slice),
            headers: Vec::new(),
        }
    }
}

/// A message in a compressed one, or one that stands for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InnerMessage {
    /// Absolute offset.
    pub offset: i64,
    /// As written; should be that of the message around it.
    pub magic: i8,
    /// Codec number; should be 0 within a compressed message.
    pub codec_id: u8,
    /// Whether its checksum fits.
    pub crc_ok: bool,
    /// Whether the length of its key is not that of null.
    pub has_key: bool,
    /// Milliseconds since the epoch; the outer message's if it carries the time of an append.
    pub timestamp: i64,
    /// What it holds; `None` if key or value do not fit in it.
    pub record: Option<Record>,
}

/// Iterates over the messages of a set; an incomplete one at the end is left out.
#[derive(Debug, Clone)]
pub struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Messages<'a> {
    /// Starts at the first byte of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<MessageView<'a>, LegacyError>;

    fn next(&mut self) -> Option<Self::Item> {
        match MessageView::parse(self.rest) {
            Ok(message) => {
                self.rest = &self.rest[message.bytes.len()..];
                Some(Ok(message))
            }
            Err(LegacyError::Truncated { .. }) => None,
            Err(error) => {
                self.rest = &[];
                Some(Err(error))
            }
        }
    }
}

/// What a [`MessageSetBuilder`] writes.
#[derive(Debug, Clone, Copy)]
pub struct MessageSetOptions {
    /// 0 or 1.
    pub magic: i8,
    /// Codec; any but [`Codec::Zstd`].
    pub codec: Codec,
    /// Offset from which inner offsets of magic 1 count.
    pub base_offset: i64,
    /// If set, the timestamp of all messages, which are marked as the broker's.
    pub log_append_time: Option<i64>,
}

/// Builds a message set: messages one after another, or one compressed message.
#[derive(Debug)]
pub struct MessageSetBuilder {
    options: MessageSetOptions,
    set: BytesMut,
    last_offset: i64,
    max_timestamp: i64,
}

impl MessageSetBuilder {
    /// Starts an empty set.
    #[must_use]
    pub fn new(options: MessageSetOptions) -> Self {
        let max_timestamp = NO_TIMESTAMP;
        Self {
            options,
            set: BytesMut::new(),
            last_offset: -1,
            max_timestamp,
        }
    }

    /// Adds a message with an absolute offset.
    pub fn push(&mut self, offset: i64, timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>) {
        let timestamp = self.options.log_append_time.unwrap_or(timestamp);
        self.last_offset = offset;
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let relative = self.options.codec != Codec::None && self.options.magic > 0;
        let written = if relative {
            offset - self.options.base_offset
        } else {
            offset
        };
        put_message(
            &mut self.set,
            &self.options,
            Codec::None,
            written,
            timestamp,
            key,
            value,
        );
    }

    /// The finished set; empty if nothing was added.
    ///
    /// # Errors
    /// [`LegacyError::UnsupportedCodec`] for zstd, or a failure of the codec.
    pub fn finish(self) -> Result<Bytes, LegacyError> {
        let MessageSetOptions {
            magic,
            codec,
            log_append_time,
            ..
        } = self.options;
        if self.set.is_empty() || codec == Codec::None {
            return Ok(self.set.freeze());
        }
        let compressed = match codec {
            Codec::Zstd => {
                return Err(LegacyError::UnsupportedCodec {
                    codec: codec.id(),
                    magic,
                });
            }
            Codec::Lz4 => lz4::compress(&self.set, header_checksum(magic))?,
            _ => compression::compress(codec, &self.set)?.into_owned(),
        };
        let timestamp = log_append_time.unwrap_or(self.max_timestamp);
        let mut out = BytesMut::new();
        let value = Some(compressed.as_slice());
        put_message(
            &mut out,
            &self.options,
            codec,
            self.last_offset,
            timestamp,
            None,
            value,
        );
        Ok(out.freeze())
    }
}

fn put_message(
    out: &mut BytesMut,
    options: &MessageSetOptions,
    codec: Codec,
    offset: i64,
    timestamp: i64,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) {
    let lengths = key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len);
    let size = overhead(options.magic) + lengths;
    let start = out.len();
    out.reserve(LOG_OVERHEAD + size);
    out.put_i64(offset);
    out.put_i32(size as i32);
    out.put_u32(0);
    out.put_i8(options.magic);
    let by_broker = options.magic > 0 && options.log_append_time.is_some();
    out.put_u8(codec.id() | if by_broker { LOG_APPEND_TIME } else { 0 });
    if options.magic > 0 {
        out.put_i64(timestamp);
    }
    for part in [key, value] {
        match part {
            Some(part) => {
                out.put_i32(part.len() as i32);
                out.put_slice(part);
            }
            None => out.put_i32(-1),
        }
    }
    let crc = crc32fast::hash(&out[start + MAGIC_POSITION..]);
    out[start + 12..start + 16].copy_from_slice(&crc.to_be_bytes());
}

fn header_checksum(magic: i8) -> HeaderChecksum {
    if magic == 0 {
        HeaderChecksum::Broken
    } else {
        HeaderChecksum::Right
    }
}

fn overhead(magic: i8) -> usize {
    if magic == 0 {
        OVERHEAD_V0
    } else {
        OVERHEAD_V0 + TIMESTAMP_BYTES
    }
}

/// Splits off a field with an i32 length; `None` when the bytes do not hold it.
fn nullable(bytes: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    match usize::try_from(i32::from_be_bytes(*length)) {
        Ok(length) => rest
            .split_at_checked(length)
            .map(|(field, rest)| (Some(field), rest)),
        Err(_) => Some((None, rest)),
    }
}

fn i32_at(bytes: &[u8], at: usize) -> i32 {
    bytes[at..]
        .first_chunk()
        .map_or(0, |chunk| i32::from_be_bytes(*chunk))
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    bytes[at..]
        .first_chunk()
        .map_or(0, |chunk| i64::from_be_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(magic: i8, codec: Codec) -> Bytes {
        let options = MessageSetOptions {
            magic,
            codec,
            base_offset: 40,
            log_append_time: None,
        };
        let mut builder = MessageSetBuilder::new(options);
        builder.push(40, 1000, Some(b"k"), Some(b"v"));
        builder.push(42, 1001, None, None);
        builder.finish().unwrap()
    }

    #[test]
    fn hostile_sets_make_errors() {
        let good = set(1, Codec::None);
        for at in 0..good.len() {
            for byte in [0, 0x7f, 0xff] {
                let mut bad = good.to_vec();
                bad[at] = byte;
                for message in Messages::new(&bad).flatten() {
                    let _ = message.records(1000);
                }
            }
        }
        let mut wrong = good.to_vec();
        wrong[20] ^= 1;
        assert!(!MessageView::parse(&wrong).unwrap().crc_ok());
    }
}
