//! Pure: request and response headers (`common/message/{RequestHeader,ResponseHeader}.json`,
//! `ApiMessageType.requestHeaderVersion`).
//!
//! ```text
//! request v0   api_key i16 | api_version i16 | correlation_id i32
//! request v1   v0 | client_id: nullable string with an i16 length
//! request v2   v1 | tagged fields                      (API versions that are flexible)
//! response v0  correlation_id i32
//! response v1  v0 | tagged fields                      (API versions that are flexible)
//! ```
//!
//! Two exceptions: ControlledShutdown v0 uses request header v0, and ApiVersions always answers
//! with response header v0, so that a client can read the answer to a version nobody knows.

use bytestring::ByteString;

use crate::api_key::ApiKey;
use crate::reader::Reader;
use crate::wire::WireError;
use crate::writer::Writer;

/// What stands before each request body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// Which API.
    pub api_key: ApiKey,
    /// Which version of its body; not checked to be one that exists.
    pub api_version: i16,
    /// Comes back with the response.
    pub correlation_id: i32,
    /// Name of the client; `None` when null or in header v0.
    pub client_id: Option<ByteString>,
}

impl RequestHeader {
    /// Reads a header; the body follows in `r`.
    ///
    /// # Errors
    /// [`WireError::UnknownApiKey`], or bytes that are no header.
    pub fn decode(r: &mut Reader) -> Result<Self, WireError> {
        let key = r.i16()?;
        let api_version = r.i16()?;
        let correlation_id = r.i32()?;
        let api_key = ApiKey::from_code(key).ok_or(WireError::UnknownApiKey(key))?;
        let header_version = request_header_version(api_key, api_version);
        let client_id = if header_version >= 1 {
            r.nullable_string(false)?
        } else {
            None
        };
        if header_version >= 2 {
            r.skip_tags()?;
        }
        Ok(Self {
            api_key,
            api_version,
            correlation_id,
            client_id,
        })
    }

    /// Writes the header that the API version asks for.
    ///
    /// # Errors
    /// [`WireError::TooLong`] for a client id beyond 32767 bytes.
    pub fn encode(&self, w: &mut Writer) -> Result<(), WireError> {
        w.i16(self.api_key.code())?;
        w.i16(self.api_version)?;
        w.i32(self.correlation_id)?;
        let header_version = request_header_version(self.api_key, self.api_version);
        if header_version >= 1 {
            w.nullable_string(&self.client_id, false)?;
        }
        if header_version >= 2 {
            w.no_tags();
        }
        Ok(())
    }
}

/// What stands before each response body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseHeader {
    /// The request's correlation id.
    pub correlation_id: i32,
}

impl ResponseHeader {
    /// Reads the header of a response to the given API version.
    ///
    /// # Errors
    /// Bytes that are no header.
    pub fn decode(r: &mut Reader, api_key: ApiKey, api_version: i16) -> Result<Self, WireError> {
        let correlation_id = r.i32()?;
        if response_header_version(api_key, api_version) >= 1 {
            r.skip_tags()?;
        }
        Ok(Self { correlation_id })
    }

    /// Writes the header of a response to the given API version.
    ///
    /// # Errors
    /// None at present.
    pub fn encode(
        &self,
        w: &mut Writer,
        api_key: ApiKey,
        api_version: i16,
    ) -> Result<(), WireError> {
        w.i32(self.correlation_id)?;
        if response_header_version(api_key, api_version) >= 1 {
            w.no_tags();
        }
        Ok(())
    }
}

/// The header version of a request; also for versions beyond those that exist.
#[must_use]
pub fn request_header_version(api_key: ApiKey, api_version: i16) -> i16 {
    if api_key == ApiKey::ControlledShutdown && api_version == 0 {
        0
    } else if api_key.is_flexible(api_version) {
        2
    } else {
        1
    }
}

/// The header version of a response.
#[must_use]
pub fn response_header_version(api_key: ApiKey, api_version: i16) -> i16 {
    if api_key == ApiKey::ApiVersions {
        0
    } else {
        i16::from(api_key.is_flexible(api_version))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn flexible_headers_keep_the_old_client_id() {
        // RequestHeader(METADATA, 12, "ab", 5) as the Java client writes it.
        let golden = Bytes::from_static(&[0, 3, 0, 12, 0, 0, 0, 5, 0, 2, b'a', b'b', 0]);
        let header = RequestHeader::decode(&mut Reader::new(golden.clone())).unwrap();
        assert_eq!(header.api_key, ApiKey::Metadata);
        assert_eq!(header.client_id.as_deref(), Some("ab"));
        let mut w = Writer::new();
        header.encode(&mut w).unwrap();
        assert_eq!(w.into_bytes().unwrap(), golden);
    }

    #[test]
    fn the_two_exceptions() {
        assert_eq!(request_header_version(ApiKey::ControlledShutdown, 0), 0);
        assert_eq!(request_header_version(ApiKey::ControlledShutdown, 3), 2);
        assert_eq!(request_header_version(ApiKey::ApiVersions, 99), 2);
        assert_eq!(response_header_version(ApiKey::ApiVersions, 3), 0);
        assert_eq!(response_header_version(ApiKey::Fetch, 12), 1);
    }

    #[test]
    fn unknown_keys_are_named() {
        let bytes = Bytes::from_static(&[0, 52, 0, 0, 0, 0, 0, 5, 0, 0]);
        let error = RequestHeader::decode(&mut Reader::new(bytes)).unwrap_err();
        assert_eq!(error, WireError::UnknownApiKey(52));
    }
}
