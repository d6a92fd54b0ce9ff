//! Shell: names of logs and snapshots, and the directories they are in (FileTxnSnapLog.java).

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::storage::compression::Compression;
use crate::storage::error::StorageError;

/// The subdirectory of dataDir and dataLogDir that holds this version of the format.
pub const VERSION_DIR: &str = "version-2";

const LOG_PREFIX: &str = "log";
const SNAPSHOT_PREFIX: &str = "snapshot";

/// A log or snapshot and the zxid in its name: a log's first, a snapshot's last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZxidFile {
    /// The zxid.
    pub zxid: i64,
    /// Where it is.
    pub path: PathBuf,
}

/// The two directories.
#[derive(Clone, Debug)]
pub struct Directories {
    /// `dataDir/version-2`: snapshots.
    pub snapshots: PathBuf,
    /// `dataLogDir/version-2`: logs.
    pub logs: PathBuf,
}

impl Directories {
    /// Opens both; makes them unless `autocreate` is off.
    pub fn open(
        data_dir: &Path,
        data_log_dir: &Path,
        autocreate: bool,
    ) -> Result<Self, StorageError> {
        let directories = Self {
            snapshots: data_dir.join(VERSION_DIR),
            logs: data_log_dir.join(VERSION_DIR),
        };
        for path in [&directories.snapshots, &directories.logs] {
            if path.is_dir() {
                continue;
            }
            if !autocreate {
                return Err(StorageError::Missing { path: path.clone() });
            }
            fs::create_dir_all(path).map_err(|e| StorageError::io("create", path, e))?;
        }
        if directories.snapshots != directories.logs {
            if !directories
                .list(&directories.logs, SNAPSHOT_PREFIX)?
                .is_empty()
            {
                return Err(StorageError::WrongDirectory {
                    path: directories.logs,
                    what: "snapshot",
                });
            }
            if !directories
                .list(&directories.snapshots, LOG_PREFIX)?
                .is_empty()
            {
                return Err(StorageError::WrongDirectory {
                    path: directories.snapshots,
                    what: "log",
                });
            }
        }
        Ok(directories)
    }

    /// Both as they are, for who only reads. `dataDir` may be the `version-2` itself.
    pub fn existing(data_dir: &Path, data_log_dir: &Path) -> Result<Self, StorageError> {
        let below = |directory: &Path| {
            let version = directory.join(VERSION_DIR);
            let path = if version.is_dir() {
                &version
            } else {
                directory
            };
            match fs::metadata(path) {
                Ok(found) if found.is_dir() => Ok(path.to_owned()),
                Ok(_) => Err(StorageError::io(
                    "read",
                    path,
                    std::io::ErrorKind::NotADirectory.into(),
                )),
                Err(error) => Err(StorageError::io("read", path, error)),
            }
        };
        Ok(Self {
            snapshots: below(data_dir)?,
            logs: below(data_log_dir)?,
        })
    }

    /// Claims both directories for this process for as long as the result lives: two servers in
    /// one directory would ruin it.
    pub fn lock(&self) -> Result<Vec<File>, StorageError> {
        let mut locks = Vec::new();
        for path in [&self.snapshots, &self.logs] {
            let directory = File::open(path).map_err(|e| StorageError::io("open", path, e))?;
            match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) => return Err(StorageError::InUse { path: path.clone() }),
                // Not every file system has locks.
                _ => locks.push(directory),
            }
            if self.snapshots == self.logs {
                break;
            }
        }
        Ok(locks)
    }

    /// Takes away the file `initialize` beside the logs' `version-2`, by which an operator says that
    /// there are no data yet; answers whether there was one.
    pub fn take_initialize(&self) -> Result<bool, StorageError> {
        let path = self.logs.with_file_name("initialize");
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StorageError::io("remove", &path, error)),
        }
    }

    /// Path of the log that begins with `zxid`.
    pub fn log(&self, zxid: i64) -> PathBuf {
        self.logs.join(format!("{LOG_PREFIX}.{zxid:x}"))
    }

    /// Path of the snapshot that ends with `zxid`.
    pub fn snapshot(&self, zxid: i64, compression: Compression) -> PathBuf {
        let extension = compression.extension();
        self.snapshots
            .join(format!("{SNAPSHOT_PREFIX}.{zxid:x}{extension}"))
    }

    /// Path under which a snapshot is written until it is complete; no ZooKeeper takes it for one.
    pub fn unfinished_snapshot(&self, zxid: i64) -> PathBuf {
        self.snapshots
            .join(format!(".{SNAPSHOT_PREFIX}.{zxid:x}.unfinished"))
    }

    /// All logs, oldest first.
    pub fn log_files(&self) -> Result<Vec<ZxidFile>, StorageError> {
        self.list(&self.logs, LOG_PREFIX)
    }

    /// All snapshots, oldest first.
    pub fn snapshot_files(&self) -> Result<Vec<ZxidFile>, StorageError> {
        self.list(&self.snapshots, SNAPSHOT_PREFIX)
    }

    /// The logs that hold transactions after `zxid`: the last that begins at or before it, and
    /// all later ones.
    pub fn logs_after(&self, zxid: i64) -> Result<Vec<ZxidFile>, StorageError> {
        let mut files = self.log_files()?;
        let first = files
            .iter()
            .rposition(|file| file.zxid <= zxid)
            .unwrap_or(0);
        Ok(files.split_off(first))
    }

    /// Removes what a snapshot in the making left when the server died.
    pub fn remove_unfinished(&self) -> Result<(), StorageError> {
        let read = |e| StorageError::io("read", &self.snapshots, e);
        for entry in fs::read_dir(&self.snapshots).map_err(read)? {
            let path = entry.map_err(read)?.path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if name.starts_with('.') && name.ends_with(".unfinished") {
                fs::remove_file(&path).map_err(|e| StorageError::io("remove", &path, e))?;
            }
        }
        Ok(())
    }

    /// Sum of the sizes of all files of a directory in bytes.
    pub fn size(directory: &Path) -> u64 {
        let Ok(entries) = fs::read_dir(directory) else {
            return 0;
        };
        entries
            .flatten()
            .filter_map(|entry| entry.metadata().ok())
            .map(|meta| meta.len())
            .sum()
    }

    fn list(&self, directory: &Path, prefix: &str) -> Result<Vec<ZxidFile>, StorageError> {
        let read = |e| StorageError::io("read", directory, e);
        let mut files = Vec::new();
        for entry in fs::read_dir(directory).map_err(read)? {
            let path = entry.map_err(read)?.path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if let Some(zxid) = zxid_of(name, prefix) {
                files.push(ZxidFile { zxid, path });
            }
        }
        files.sort_by_key(|file| file.zxid);
        Ok(files)
    }
}

/// The zxid in a name `<prefix>.<hex>`, with at most one more part (`.gz`, `.snappy`).
fn zxid_of(name: &str, prefix: &str) -> Option<i64> {
    let mut parts = name.split('.');
    if parts.next() != Some(prefix) {
        return None;
    }
    let zxid = u64::from_str_radix(parts.next()?, 16).ok()? as i64;
    match (parts.next(), parts.next()) {
        (None | Some(_), None) => Some(zxid),
        _ => None,
    }
}

/// Makes the creation or renaming of a file in this directory durable.
pub fn sync_directory(directory: &Path) -> Result<(), StorageError> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|e| StorageError::io("sync", directory, e))
}
