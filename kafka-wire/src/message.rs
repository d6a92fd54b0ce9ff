//! Pure: what every generated message can do, and what an API's request promises.

use std::fmt::Debug;

use bytes::Bytes;

use crate::reader::Reader;
use crate::wire::WireError;
use crate::writer::Writer;

/// One message of Kafka 3.7.1: a request, a response or a record of an internal topic.
pub trait Message: Sized + Default + Clone + Debug + PartialEq {
    /// The message's name in Kafka's definitions, e.g. `FetchRequest`.
    const NAME: &'static str;
    /// The API key, or -1 for records that belong to no API.
    const API_KEY: i16;
    /// The lowest version that this codec knows.
    const MIN_VERSION: i16;
    /// The highest version that this codec knows.
    const MAX_VERSION: i16;

    /// Reads the body of the given version; fields that the version lacks take their default.
    ///
    /// # Errors
    /// When the bytes end early, hold a length that cannot be, or the version is not known.
    fn decode(r: &mut Reader, version: i16) -> Result<Self, WireError>;

    /// Writes the body in the given version.
    ///
    /// # Errors
    /// When the version is not known, when a field that it lacks holds something which must not
    /// be lost (Kafka's rule for fields that are not "ignorable"), when null stands where the
    /// version allows none, or when a length does not fit its prefix.
    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), WireError>;

    /// Whether this codec knows the version.
    ///
    /// # Errors
    /// [`WireError::UnsupportedVersion`].
    fn check_version(version: i16) -> Result<(), WireError> {
        if (Self::MIN_VERSION..=Self::MAX_VERSION).contains(&version) {
            return Ok(());
        }
        Err(WireError::UnsupportedVersion {
            name: Self::NAME,
            version,
        })
    }
}

/// The request of an API, tied to its response.
pub trait Request: Message {
    /// What the receiver answers.
    type Response: Message;
}

/// Reads a whole value: the message must end where the bytes end.
///
/// # Errors
/// As [`Message::decode`], and when bytes are left over.
pub fn decode_exact<M: Message>(bytes: Bytes, version: i16) -> Result<M, WireError> {
    let mut r = Reader::new(bytes);
    let message = M::decode(&mut r, version)?;
    match r.remaining() {
        0 => Ok(message),
        left => Err(WireError::TrailingBytes { left }),
    }
}

/// Encodes a message that holds no file ranges into one buffer.
///
/// # Errors
/// As [`Message::encode`], and [`WireError::FileRecords`] when records are a file range.
pub fn encode_to_bytes<M: Message>(message: &M, version: i16) -> Result<Bytes, WireError> {
    let mut w = Writer::new();
    message.encode(&mut w, version)?;
    w.into_bytes()
}

/// Reads a key or value of an internal topic: a 2-byte version, then the message in that version
/// (Kafka's `MessageUtil.toVersionPrefixedBytes`). The version is returned with it.
///
/// # Errors
/// As [`decode_exact`]; an unknown version is [`WireError::UnsupportedVersion`].
pub fn decode_versioned<M: Message>(bytes: Bytes) -> Result<(i16, M), WireError> {
    let mut r = Reader::new(bytes);
    let version = r.i16()?;
    Ok((version, decode_exact(r.rest(), version)?))
}

/// Writes a key or value of an internal topic: a 2-byte version, then the message.
///
/// # Errors
/// As [`encode_to_bytes`].
pub fn encode_versioned<M: Message>(message: &M, version: i16) -> Result<Bytes, WireError> {
    let mut w = Writer::new();
    w.i16(version)?;
    message.encode(&mut w, version)?;
    w.into_bytes()
}
