//! Pure: why a broker cannot start, or cannot go on.

use crate::log::config::LogConfigError;
use crate::log::manager::OpenError;
use crate::log::meta_properties::MetaPropertiesError;
use crate::net::listener::ListenError;
use crate::zk::error::StoreError;

/// Why a broker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// ZooKeeper cannot be reached, or refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A log directory belongs to another broker or cluster.
    #[error(transparent)]
    MetaProperties(#[from] MetaPropertiesError),
    /// The logs cannot be opened.
    #[error(transparent)]
    Logs(#[from] OpenError),
    /// The broker's settings are no configuration for a log.
    #[error(transparent)]
    LogConfig(#[from] LogConfigError),
    /// A listener cannot be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Threads for connections cannot be started.
    #[error("cannot start the threads for connections (num.network.threads): {0}")]
    Threads(#[source] std::io::Error),
    /// There is no broker id, and none may be made up.
    #[error(
        "no broker.id is set, none is in meta.properties, and broker.id.generation.enable is false"
    )]
    NoBrokerId,
    /// It was asked to stop before it had started.
    #[error("{0} while the broker was still starting up")]
    Interrupted(&'static str),
}

/// Why a broker stops by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No disk is left.
    #[error("Shutdown broker because all log dirs in {0} have failed")]
    NoLogDirs(String),
}
