//! Pure: the first frame on a connection and its answer.
//!
//! Both end in a boolean `readOnly` that clients before 3.4 neither send nor expect, so it is
//! optional here and `None` means it is not on the wire.

use bytes::{Bytes, BytesMut};

use crate::zk::jute::{JuteError, Reader, Record};

/// Bytes of a session's password.
pub const PASSWORD_BYTES: usize = 16;

/// A client asks for a session, or to go on with one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConnectRequest {
    /// 0.
    pub protocol_version: i32,
    /// The newest zxid the client has heard of; a server that is behind it hangs up.
    pub last_zxid_seen: i64,
    /// The session timeout asked for, in ms.
    pub timeout_ms: i32,
    /// The session to go on with, or 0.
    pub session_id: i64,
    /// That session's password.
    pub password: Option<Bytes>,
    /// Whether a read-only server will do; not sent by clients before 3.4.
    pub read_only: Option<bool>,
}

/// The server's answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConnectResponse {
    /// 0.
    pub protocol_version: i32,
    /// The session timeout granted, in ms; 0 or less says that the session is gone.
    pub timeout_ms: i32,
    /// The session, or 0.
    pub session_id: i64,
    /// Its password.
    pub password: Option<Bytes>,
    /// Whether the server only reads; not sent to clients before 3.4.
    pub read_only: Option<bool>,
}

fn decode_read_only(reader: &mut Reader) -> Result<Option<bool>, JuteError> {
    if reader.remaining() == 0 {
        Ok(None)
    } else {
        reader.read().map(Some)
    }
}

fn encode_read_only(read_only: Option<bool>, out: &mut BytesMut) {
    if let Some(read_only) = read_only {
        read_only.encode(out);
    }
}

impl Record for ConnectRequest {
    const MIN_BYTES: usize = 28;

    fn decode(reader: &mut Reader) -> Result<Self, JuteError> {
        Ok(Self {
            protocol_version: reader.read()?,
            last_zxid_seen: reader.read()?,
            timeout_ms: reader.read()?,
            session_id: reader.read()?,
            password: reader.read()?,
            read_only: decode_read_only(reader)?,
        })
    }

    fn encode(&self, out: &mut BytesMut) {
        self.protocol_version.encode(out);
        self.last_zxid_seen.encode(out);
        self.timeout_ms.encode(out);
        self.session_id.encode(out);
        self.password.encode(out);
        encode_read_only(self.read_only, out);
    }
}

impl Record for ConnectResponse {
    const MIN_BYTES: usize = 20;

    fn decode(reader: &mut Reader) -> Result<Self, JuteError> {
        Ok(Self {
            protocol_version: reader.read()?,
            timeout_ms: reader.read()?,
            session_id: reader.read()?,
            password: reader.read()?,
            read_only: decode_read_only(reader)?,
        })
    }

    fn encode(&self, out: &mut BytesMut) {
        self.protocol_version.encode(out);
        self.timeout_ms.encode(out);
        self.session_id.encode(out);
        self.password.encode(out);
        encode_read_only(self.read_only, out);
    }
}
