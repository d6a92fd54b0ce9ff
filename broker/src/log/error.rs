//! Pure: errors of files and directories, with the path they happened at.

use std::io;
use std::path::{Path, PathBuf};

/// A file that cannot be used. An I/O error puts the whole log directory out of service.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// Verb of what was tried.
        action: &'static str,
        /// File or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file's contents are not what its format says.
    #[error("{} is corrupt: {reason}", path.display())]
    Corrupt {
        /// File.
        path: PathBuf,
        /// What is wrong, with line or position.
        reason: String,
    },
    /// A segment holds an offset that its indexes cannot tell from its base offset: it is to be split.
    #[error("{} has offset {offset}, which is too far from its base offset", path.display())]
    Overflow {
        /// The `.log` file.
        path: PathBuf,
        /// The first such offset that was met.
        offset: i64,
    },
}

impl StorageError {
    /// A [`StorageError::Corrupt`].
    pub fn corrupt(path: &Path, reason: impl Into<String>) -> Self {
        StorageError::Corrupt {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }

    /// The same error for somebody else whom it concerns.
    pub fn again(&self) -> Self {
        match self {
            StorageError::Io {
                action,
                path,
                source,
            } => StorageError::Io {
                action,
                path: path.clone(),
                source: match source.raw_os_error() {
                    Some(code) => io::Error::from_raw_os_error(code),
                    None => io::Error::new(source.kind(), source.to_string()),
                },
            },
            StorageError::Corrupt { path, reason } => StorageError::corrupt(path, reason.clone()),
            StorageError::Overflow { path, offset } => StorageError::Overflow {
                path: path.clone(),
                offset: *offset,
            },
        }
    }

    /// True if the operating system refused, so that the disk may be broken.
    pub fn is_io(&self) -> bool {
        matches!(self, StorageError::Io { .. })
    }

    /// True if it is the records themselves that make no sense.
    pub fn is_of_records(&self) -> bool {
        match self {
            StorageError::Corrupt { path, .. } => path.extension().is_some_and(|ext| ext == "log"),
            StorageError::Overflow { .. } => true,
            StorageError::Io { .. } => false,
        }
    }

    /// True if the file or directory is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, StorageError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Result of a storage operation.
pub type StorageResult<T> = Result<T, StorageError>;

/// Adds action and path to an I/O result.
pub trait IoContext<T> {
    /// Names what was tried and on which path.
    ///
    /// # Errors
    /// The I/O error, wrapped.
    fn context(self, action: &'static str, path: &Path) -> StorageResult<T>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn context(self, action: &'static str, path: &Path) -> StorageResult<T> {
        self.map_err(|source| StorageError::Io {
            action,
            path: path.to_owned(),
            source,
        })
    }
}

impl<T> IoContext<T> for rustix::io::Result<T> {
    fn context(self, action: &'static str, path: &Path) -> StorageResult<T> {
        self.map_err(io::Error::from).context(action, path)
    }
}
