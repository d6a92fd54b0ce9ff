//! Pure: why the server does not run, and the exit code that says so (ExitCode.java).

use std::net::SocketAddr;

use common::config::ConfigError;

use crate::storage::error::StorageError;
use crate::tls::store::TlsError;

/// Why the server did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The configuration cannot be used.
    #[error("Invalid config, exiting abnormally: {0}")]
    Config(#[from] ConfigError),
    /// TLS cannot be spoken as configured.
    #[error("Invalid config, exiting abnormally: {0}")]
    Tls(#[from] TlsError),
    /// The data directory cannot be used.
    #[error("Unable to access datadir, exiting abnormally: {0}")]
    Storage(#[from] StorageError),
    /// The port cannot be had.
    #[error("cannot listen on {address}: {source}{hint}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: std::io::Error,
        /// What to do about it.
        hint: String,
    },
    /// The metrics cannot be served.
    #[error(
        "Cannot boot MetricsProvider: cannot listen on {address}:{port}: {source}; set metricsProvider.httpPort"
    )]
    Metrics {
        /// `metricsProvider.httpHost`.
        address: String,
        /// `metricsProvider.httpPort`.
        port: u16,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The runtime cannot be set up.
    #[error("cannot start: {0}")]
    Runtime(std::io::Error),
    /// The log cannot be written any more.
    #[error("the transaction log cannot be written, exiting abnormally: {0}")]
    Log(StorageError),
}

/// Keys whose values only matter to ZooKeeper once it has accepted its configuration.
const LATE_KEYS: &[&str] = &[
    "java.security.auth.login.config",
    "DigestAuthenticationProvider.digestAlg",
    "serverCnxnFactory",
    "watchManagerName",
    "nio.sessionlessCnxnTimeout",
    "connection_throttle_drop_increase",
    "connection_throttle_drop_decrease",
    "connection_throttle_decrease_ratio",
];

impl ServerError {
    /// ZooKeeper's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            // Java finds these out when the server is being set up, not with the configuration.
            Self::Config(ConfigError::Invalid { key, .. }) if LATE_KEYS.contains(&key.as_str()) => {
                1
            }
            Self::Config(_) | Self::Tls(_) => 2,
            Self::Storage(error) => match error {
                StorageError::Missing { .. }
                | StorageError::Empty { .. }
                | StorageError::InUse { .. }
                | StorageError::Io { .. }
                | StorageError::WrongDirectory { .. } => 3,
                _ => 1,
            },
            Self::Log(_) => 10,
            Self::Bind { .. } | Self::Metrics { .. } | Self::Runtime(_) => 1,
        }
    }
}
