//! Pure: an error code with the text that goes with it (`common/requests/ApiError.java`).

use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;

/// What a client is told of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The code.
    pub code: ErrorCode,
    /// More than the code's own text says, if there is more.
    pub message: Option<String>,
}

impl ApiError {
    /// An error that its code says all about.
    #[must_use]
    pub fn plain(code: ErrorCode) -> Self {
        Self {
            code,
            message: None,
        }
    }

    /// An error with a text of its own.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: Some(message.into()),
        }
    }

    /// The text for a response.
    #[must_use]
    pub fn text(&self) -> Option<ByteString> {
        self.message.as_deref().map(ByteString::from)
    }
}
