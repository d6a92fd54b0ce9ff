//! Pure: why a client call failed, with the names that Java's clients give to it.

use kafka_wire::client::connection::ConnectionError;
use kafka_wire::error_code::ErrorCode;
use thiserror::Error;

/// A failure of a client call. Its text is the message of Java's exception.
#[derive(Debug, Clone, Error)]
pub enum ClientError {
    /// A broker answered with an error.
    #[error("{message}")]
    Api {
        /// Which error.
        code: ErrorCode,
        /// The broker's text, or Kafka's default one.
        message: String,
    },
    /// The connection failed.
    #[error("{0}")]
    Connection(#[from] ConnectionError),
    /// A setting is not valid.
    #[error("{0}")]
    Config(String),
    /// The client cannot be made with these settings: what failed, and why.
    #[error("{0}")]
    Construct(&'static str, Box<ClientError>),
    /// Something the caller asked for makes no sense.
    #[error("{0}")]
    Illegal(String),
    /// An error of the tools themselves: Java's full class name, and the text.
    #[error("{1}")]
    Other(&'static str, String),
}

impl ClientError {
    /// An answer with this code; without a text of the broker's, Kafka's default one.
    #[must_use]
    pub fn api(code: i16, message: Option<&str>) -> Self {
        let code = ErrorCode::from_code(code);
        Self::Api {
            code,
            message: message.unwrap_or(code.message()).to_owned(),
        }
    }

    /// `Err` unless the code is 0.
    ///
    /// # Errors
    /// [`ClientError::Api`].
    pub fn check(code: i16, message: Option<&str>) -> Result<(), Self> {
        if code == 0 {
            Ok(())
        } else {
            Err(Self::api(code, message))
        }
    }

    /// Java's `TimeoutException`.
    #[must_use]
    pub fn timeout(message: impl Into<String>) -> Self {
        Self::Api {
            code: ErrorCode::RequestTimedOut,
            message: message.into(),
        }
    }

    /// The broker's error, if it is one.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Api { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether trying again may help.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Api { code, .. } => code.is_retriable(),
            Self::Connection(ConnectionError::Wire { .. }) => false,
            Self::Connection(_) => true,
            _ => false,
        }
    }

    /// Full name of Java's exception.
    #[must_use]
    pub fn exception(&self) -> String {
        match self {
            Self::Api {
                code: ErrorCode::InvalidRecord,
                ..
            } => "org.apache.kafka.common.InvalidRecordException".to_owned(),
            Self::Api { code, .. } => {
                format!("org.apache.kafka.common.errors.{}", code.exception())
            }
            Self::Connection(ConnectionError::Timeout { .. }) => {
                "org.apache.kafka.common.errors.TimeoutException".to_owned()
            }
            Self::Connection(_) => "org.apache.kafka.common.errors.DisconnectException".to_owned(),
            Self::Config(_) => "org.apache.kafka.common.config.ConfigException".to_owned(),
            Self::Construct(..) => "org.apache.kafka.common.KafkaException".to_owned(),
            Self::Illegal(_) => "java.lang.IllegalArgumentException".to_owned(),
            Self::Other(name, _) => (*name).to_owned(),
        }
    }

    /// The first line of Java's stack trace, and the causes.
    #[must_use]
    pub fn trace(&self) -> String {
        let message = self.to_string();
        let own = if message.is_empty() {
            self.exception()
        } else {
            format!("{}: {message}", self.exception())
        };
        match self {
            Self::Construct(_, cause) => format!("{own}\nCaused by: {}", cause.trace()),
            _ => own,
        }
    }
}
