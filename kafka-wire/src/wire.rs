//! Pure: the values and errors that all messages share: uuids, records, wire errors.
//!
//! Primitives (Kafka's `protocol/types/Type.java`, `ByteUtils.java`): integers are big endian, a
//! bool is one byte, an uvarint is LEB128 of at most 5 bytes. In versions before an API's first
//! flexible one a string has an i16 length, bytes and arrays an i32 length, -1 meaning null.
//! Flexible versions use uvarint(length + 1), 0 meaning null, and end each struct with a section
//! of tagged fields: uvarint count, then (uvarint tag, uvarint size, data) in ascending tag order.

use std::fmt;
use std::fs::File;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use thiserror::Error;

/// Why bytes are no message, or a message cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WireError {
    /// The bytes end inside a value.
    #[error("message ends early: {needed} bytes needed, {remaining} left")]
    UnexpectedEnd {
        /// Bytes that the value takes.
        needed: usize,
        /// Bytes that are left.
        remaining: usize,
    },
    /// The message ends before the bytes do.
    #[error("{left} bytes left after the end of the message")]
    TrailingBytes {
        /// Bytes that are left.
        left: usize,
    },
    /// A length or count that no message can have.
    #[error("impossible length {length} with {remaining} bytes left")]
    InvalidLength {
        /// The length as it was read.
        length: i64,
        /// Bytes that are left.
        remaining: usize,
    },
    /// A variable-length integer of more than its maximal number of bytes.
    #[error("variable-length integer is too long")]
    InvalidVarint,
    /// A string is not UTF-8.
    #[error("string is not valid utf-8")]
    InvalidUtf8,
    /// The data of a tagged field is longer than the field.
    #[error("tagged field {tag} has {left} bytes too many")]
    InvalidTag {
        /// The field's tag.
        tag: u32,
        /// Bytes that the field did not take.
        left: usize,
    },
    /// Null where the version allows none.
    #[error("null where a value is required")]
    UnexpectedNull,
    /// Null where the version to be written allows none.
    #[error("{field} must not be null in version {version}")]
    NullField {
        /// `Struct.field`.
        field: &'static str,
        /// The version to be written.
        version: i16,
    },
    /// A field is set that the version to be written lacks and that must not be dropped.
    #[error("{field} is set, but version {version} cannot carry it")]
    FieldNotInVersion {
        /// `Struct.field`.
        field: &'static str,
        /// The version to be written.
        version: i16,
    },
    /// A version that this codec does not know.
    #[error("{name} has no version {version}")]
    UnsupportedVersion {
        /// The message.
        name: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// An API key that this codec does not know.
    #[error("unknown api key {0}")]
    UnknownApiKey(i16),
    /// A string, array or byte field that does not fit its length prefix.
    #[error("length {0} does not fit its prefix")]
    TooLong(usize),
    /// Records in a file where bytes in memory are required.
    #[error("records are a file range and cannot be copied into memory here")]
    FileRecords,
}

/// A 16-byte id, written as base64url text of 22 characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Uuid(
    /// The bytes in wire order.
    pub [u8; 16],
);

impl Uuid {
    /// "No id".
    pub const ZERO: Self = Self([0; 16]);
    /// The id that Kafka reserves for its metadata topic.
    pub const ONE: Self = Self([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

    /// A version 4 id from 16 random bytes; `None` for the few that Kafka's `Uuid.randomUuid`
    /// draws again: the reserved ones, and those whose text starts with a dash.
    #[must_use]
    pub fn from_random_bytes(mut bytes: [u8; 16]) -> Option<Self> {
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let id = Self(bytes);
        let usable = id != Self::ZERO && id != Self::ONE && !id.to_string().starts_with('-');
        usable.then_some(id)
    }

    /// A new version 4 id that a topic may have.
    #[must_use]
    pub fn random() -> Self {
        loop {
            if let Some(id) = Self::from_random_bytes(rand::random()) {
                return id;
            }
        }
    }

    /// Whether this is "no id".
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    /// Reads the base64url text form; `None` when it is not one of exactly 16 bytes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Record batches inside a message: bytes, or a range of a log segment that is sent as it is.
#[derive(Clone)]
pub enum Records {
    /// Batches in memory; when decoded, a slice of the frame.
    Memory(Bytes),
    /// Batches in a file.
    File {
        /// The open file.
        file: Arc<File>,
        /// Where the range starts, in bytes.
        position: u64,
        /// How long the range is, in bytes.
        len: u32,
    },
}

impl Records {
    /// Size in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::File { len, .. } => *len as usize,
        }
    }

    /// Whether there are no bytes at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, when they are in memory.
    #[must_use]
    pub fn memory(&self) -> Option<&Bytes> {
        match self {
            Self::Memory(bytes) => Some(bytes),
            Self::File { .. } => None,
        }
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Self {
        Self::Memory(bytes)
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(bytes) => write!(f, "Memory({} bytes)", bytes.len()),
            Self::File { position, len, .. } => write!(f, "File({len} bytes at {position})"),
        }
    }
}

impl PartialEq for Records {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Memory(a), Self::Memory(b)) => a == b,
            (
                Self::File {
                    file: a,
                    position: pa,
                    len: la,
                },
                Self::File {
                    file: b,
                    position: pb,
                    len: lb,
                },
            ) => Arc::ptr_eq(a, b) && pa == pb && la == lb,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuid_text_is_kafkas() {
        // Uuid.METADATA_TOPIC_ID and Uuid.ZERO_UUID as the Java class prints them.
        assert_eq!(Uuid::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(Uuid::ONE.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        let id = Uuid::random();
        assert_eq!(Uuid::parse(&id.to_string()), Some(id));
        assert_eq!(Uuid::parse("AAAA"), None);
    }
}
