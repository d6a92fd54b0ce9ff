//! Pure: why an operation of the client failed.

use crate::zk::code::ErrorCode;
use crate::zk::jute::JuteError;
use crate::zk::multi::MultiResult;
use crate::zk::path::PathError;

/// Why an operation failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ZkError {
    /// The server says no.
    #[error("zookeeper answered {code} for {path}")]
    Api {
        /// The server's reason.
        code: ErrorCode,
        /// What the operation was about; empty if nothing.
        path: String,
    },
    /// The server says no with a code that is not known.
    #[error("zookeeper answered with the unknown error code {code} for {path}")]
    UnknownCode {
        /// The code.
        code: i32,
        /// What the operation was about; empty if nothing.
        path: String,
    },
    /// The connection went away, or none could be made. A write may or may not have taken place.
    #[error("connection to zookeeper lost")]
    ConnectionLoss,
    /// The server has ended the session: a new client is needed.
    #[error("zookeeper session expired")]
    SessionExpired,
    /// The server refused an authentication: a new client is needed.
    #[error("zookeeper authentication failed")]
    AuthFailed,
    /// The client was closed.
    #[error("zookeeper client is closed")]
    Closed,
    /// A path that no node can have; nothing was sent.
    #[error("{0}")]
    Path(#[from] PathError),
    /// A path, scheme or ACL that no server would take; nothing was sent.
    #[error("{0}")]
    Arguments(&'static str),
    /// The server's answer could not be read.
    #[error("answer of zookeeper could not be read: {0}")]
    Malformed(#[from] JuteError),
    /// No connection came about in the time given.
    #[error("no connection to zookeeper at {servers} within {waited_ms} ms")]
    ConnectTimeout {
        /// The servers tried.
        servers: String,
        /// How long, in ms.
        waited_ms: u128,
    },
}

impl ZkError {
    /// What a reply's error code says about `path`.
    #[must_use]
    pub fn from_reply(code: i32, path: &str) -> Self {
        match ErrorCode::from_code(code) {
            Some(ErrorCode::ConnectionLoss) => Self::ConnectionLoss,
            Some(ErrorCode::SessionExpired) => Self::SessionExpired,
            Some(ErrorCode::AuthFailed) => Self::AuthFailed,
            Some(code) => Self::Api {
                code,
                path: path.to_owned(),
            },
            None => Self::UnknownCode {
                code,
                path: path.to_owned(),
            },
        }
    }

    /// The server's code, or the one Java's client would give.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Api { code, .. } => *code,
            Self::UnknownCode { .. } => ErrorCode::SystemError,
            Self::ConnectionLoss | Self::ConnectTimeout { .. } => ErrorCode::ConnectionLoss,
            Self::SessionExpired | Self::Closed => ErrorCode::SessionExpired,
            Self::AuthFailed => ErrorCode::AuthFailed,
            Self::Path(_) | Self::Arguments(_) => ErrorCode::BadArguments,
            Self::Malformed(_) => ErrorCode::MarshallingError,
        }
    }

    /// Whether the server answered with `code`.
    #[must_use]
    pub fn is(&self, code: ErrorCode) -> bool {
        matches!(self, Self::Api { code: told, .. } if *told == code)
    }
}

/// Why a multi failed: nothing of it took place, unless the connection was lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct MultiError {
    /// The reason.
    pub error: ZkError,
    /// Which operation the server refused, if it got as far as that.
    pub index: Option<usize>,
    /// What the server says of each operation; empty if it did not get as far as that.
    pub results: Vec<MultiResult>,
}

impl From<ZkError> for MultiError {
    fn from(error: ZkError) -> Self {
        Self {
            error,
            index: None,
            results: Vec::new(),
        }
    }
}
