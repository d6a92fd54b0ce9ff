//! Pure: what can be wrong with the data directory.

use std::io;
use std::path::{Path, PathBuf};

use common::zk::jute::JuteError;

/// Why the data on disk cannot be used or added to.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file is not what its name says.
    #[error("{} at offset {offset}: {reason}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Byte at which the damage was found.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// A record in a file cannot be read.
    #[error("{} at offset {offset}: {source}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Byte at which the record begins.
        offset: u64,
        /// What is wrong with it.
        source: JuteError,
    },
    /// Transactions are missing between a snapshot or log and the next log.
    #[error(
        "{} begins with zxid 0x{found:x}, but the data before it ends with 0x{last:x}: a log file is missing",
        path.display()
    )]
    Gap {
        /// The file after the gap.
        path: PathBuf,
        /// Its first zxid.
        found: i64,
        /// The last one before it.
        last: i64,
    },
    /// There are logs and no snapshot that they continue.
    #[error(
        "no usable snapshot in {}, but there are transaction logs; if this server was upgraded from 3.4, set snapshot.trust.empty=true once",
        path.display()
    )]
    NoSnapshot {
        /// The snapshot directory.
        path: PathBuf,
    },
    /// There is nothing, and nothing may be begun.
    #[error(
        "{} holds no data, and db.autocreate is false: mount or restore them, or make an empty file 'initialize' beside it to begin anew",
        path.display()
    )]
    Empty {
        /// The snapshot directory.
        path: PathBuf,
    },
    /// `dataDir` and `dataLogDir` were swapped or changed.
    #[error(
        "{} holds {what} files; check that dataDir and dataLogDir are what they were",
        path.display()
    )]
    WrongDirectory {
        /// The directory.
        path: PathBuf,
        /// The kind of files that should not be there.
        what: &'static str,
    },
    /// Another server works there.
    #[error("{} is in use by another server: stop it or change dataDir", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The directory is missing and may not be made.
    #[error("{} does not exist, and zookeeper.datadir.autocreate is false", path.display())]
    Missing {
        /// The directory.
        path: PathBuf,
    },
}

impl StorageError {
    /// An error of the system.
    pub fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }

    /// Damage found at an offset.
    pub fn corrupt(path: &Path, offset: u64, reason: impl Into<String>) -> Self {
        Self::Corrupt {
            path: path.to_owned(),
            offset,
            reason: reason.into(),
        }
    }

    /// An unreadable record.
    pub fn record(path: &Path, offset: u64, source: JuteError) -> Self {
        Self::Record {
            path: path.to_owned(),
            offset,
            source,
        }
    }
}
