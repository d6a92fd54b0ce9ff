//! Shell: one log directory: its lock, its marker of a clean stop, its checkpoints.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, MutexGuard};
use rustix::fs::{FlockOperation, fcntl_lock, flock};

use crate::log::checkpoint::{
    HIGH_WATERMARK_FILE, LOG_START_FILE, Offsets, RECOVERY_POINT_FILE, read_offsets, sync_dir,
    write_offsets,
};
use crate::log::error::{IoContext, StorageError, StorageResult};
use crate::log::names::TopicPartition;

const LOCK_FILE: &str = ".lock";
const CLEAN_SHUTDOWN_FILE: &str = ".kafka_cleanshutdown";

/// Why a log directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogDirError {
    /// Another broker uses it.
    #[error(
        "Failed to acquire lock on file .lock in {}. A Kafka instance in another process or thread is using \
         this directory.", .0.display()
    )]
    Locked(PathBuf),
    /// The disk failed, or the path is not a directory that may be written.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A directory of `log.dirs`, locked.
#[derive(Debug)]
pub struct LogDir {
    path: PathBuf,
    /// Holds the lock as long as it is open.
    lock: Mutex<Option<File>>,
    online: AtomicBool,
    /// True if the last stop left its marker.
    clean: bool,
    /// True once all logs in it are loaded, so that the next stop may leave the marker.
    loaded: AtomicBool,
    /// High watermarks as read or last written; the first source when a partition is opened.
    high_watermarks: Mutex<Offsets>,
    /// True once they were written in this run: what was read may be in another order, or a run may have left another file half
    /// written.
    wrote_high_watermarks: AtomicBool,
    /// Held while the other checkpoints are gathered and written: timers and deletions would else replace the same file at
    /// the same time.
    checkpointing: Mutex<()>,
}

impl LogDir {
    /// Makes the directory if need be, locks it, and makes the checkpoints that are not there, empty as Kafka does.
    ///
    /// # Errors
    /// [`LogDirError`] if it is in use or cannot be used.
    pub fn open(path: &Path) -> Result<Self, LogDirError> {
        match fs::metadata(path).context("inspect", path) {
            Err(error) if error.is_not_found() => {
                tracing::info!(dir = %path.display(), "log directory not found, creating it");
                fs::create_dir_all(path).context("create", path)?;
                if let Some(parent) = path
                    .parent()
                    .filter(|parent| !parent.as_os_str().is_empty())
                {
                    sync_dir(parent)?;
                }
            }
            Err(error) => return Err(error.into()),
            Ok(metadata) if !metadata.is_dir() => {
                return Err(StorageError::corrupt(path, "not a directory; check log.dirs").into());
            }
            Ok(_) => {}
        }
        let lock = lock(path)?;
        let marker = path.join(CLEAN_SHUTDOWN_FILE);
        let clean = marker.exists();
        for name in [RECOVERY_POINT_FILE, LOG_START_FILE, HIGH_WATERMARK_FILE] {
            make_empty(&path.join(name))?;
        }
        let high_watermarks = read_offsets(&path.join(HIGH_WATERMARK_FILE))?;
        Ok(LogDir {
            path: path.to_owned(),
            lock: Mutex::new(Some(lock)),
            online: AtomicBool::new(true),
            clean,
            loaded: AtomicBool::new(false),
            high_watermarks: Mutex::new(high_watermarks),
            wrote_high_watermarks: AtomicBool::new(false),
            checkpointing: Mutex::new(()),
        })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// False after an I/O error.
    pub fn is_online(&self) -> bool {
        self.online.load(Ordering::Acquire)
    }

    /// Takes the directory out of service and lets go of its lock. True if it was in service.
    pub fn set_offline(&self) -> bool {
        let was_online = self.online.swap(false, Ordering::AcqRel);
        self.unlock();
        was_online
    }

    /// True if the last stop left its marker.
    pub fn was_clean(&self) -> bool {
        self.clean
    }

    /// Takes the marker of a clean stop away, so that a crash while loading counts as one.
    ///
    /// # Errors
    /// [`StorageError`] if it cannot be removed.
    pub fn begin_loading(&self) -> StorageResult<()> {
        if !self.clean {
            return Ok(());
        }
        let marker = self.path.join(CLEAN_SHUTDOWN_FILE);
        let removed = match marker.is_dir() {
            // Kafka's does not mind an empty one.
            true => fs::remove_dir(&marker),
            false => fs::remove_file(&marker),
        };
        removed.context("delete", &marker)
    }

    /// Notes that all logs are loaded.
    pub fn set_loaded(&self) {
        self.loaded.store(true, Ordering::Release);
    }

    /// To be held from before the offsets are gathered until they are written.
    pub fn checkpointing(&self) -> MutexGuard<'_, ()> {
        self.checkpointing.lock()
    }

    /// Recovery points and log starts by partition.
    ///
    /// # Errors
    /// [`StorageError`] if a file is malformed; the directory counts as failed then.
    pub fn load_points(&self) -> StorageResult<(Offsets, Offsets)> {
        let read = |name| read_offsets(&self.path.join(name));
        Ok((read(RECOVERY_POINT_FILE)?, read(LOG_START_FILE)?))
    }

    /// High watermark of a partition as last written.
    pub fn high_watermark(&self, partition: &TopicPartition) -> Option<i64> {
        self.high_watermarks.lock().get(partition).copied()
    }

    /// Replaces the recovery points.
    ///
    /// # Errors
    /// [`StorageError`] if the file cannot be replaced.
    pub fn write_recovery_points(&self, offsets: &Offsets) -> StorageResult<()> {
        self.write(RECOVERY_POINT_FILE, offsets)
    }

    /// Replaces the log starts.
    ///
    /// # Errors
    /// [`StorageError`] if the file cannot be replaced.
    pub fn write_log_starts(&self, offsets: &Offsets) -> StorageResult<()> {
        self.write(LOG_START_FILE, offsets)
    }

    /// Replaces the high watermarks, unless they are those that this run has written.
    ///
    /// # Errors
    /// [`StorageError`] if the file cannot be replaced.
    pub fn write_high_watermarks(&self, offsets: Offsets) -> StorageResult<()> {
        let mut written = self.high_watermarks.lock();
        let is_first = !self.wrote_high_watermarks.load(Ordering::Relaxed);
        if *written != offsets || (is_first && !offsets.is_empty()) {
            self.write(HIGH_WATERMARK_FILE, &offsets)?;
            *written = offsets;
            self.wrote_high_watermarks.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    fn write(&self, name: &str, offsets: &Offsets) -> StorageResult<()> {
        let entries = offsets
            .iter()
            .map(|(partition, offset)| (partition, *offset));
        write_offsets(&self.path.join(name), entries)
    }

    /// Leaves the marker of a clean stop, if all logs were loaded in this run or the one before stopped cleanly.
    ///
    /// # Errors
    /// [`StorageError`] if it cannot be written.
    pub fn mark_clean(&self, broker_epoch: i64) -> StorageResult<()> {
        if !self.clean && !self.loaded.load(Ordering::Acquire) {
            return Ok(());
        }
        let path = self.path.join(CLEAN_SHUTDOWN_FILE);
        let text = format!("{{\"version\":0,\"brokerEpoch\":{broker_epoch}}}");
        fs::write(&path, text).context("write", &path)?;
        File::open(&path)
            .and_then(|file| file.sync_all())
            .context("sync", &path)
    }

    /// Lets go of the lock.
    pub fn unlock(&self) {
        self.lock.lock().take();
    }
}

/// Makes an empty file unless there is something of that name.
///
/// # Errors
/// [`StorageError`] if it cannot be made.
pub fn make_empty(path: &Path) -> StorageResult<()> {
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(error).context("create", path)
        }
        _ => Ok(()),
    }
}

/// Takes the lock that Java takes too (POSIX record locks, per process) and one that also holds within a process.
fn lock(dir: &Path) -> Result<File, LogDirError> {
    let path = dir.join(LOCK_FILE);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .context("open", &path)?;
    for result in [
        flock(&file, FlockOperation::NonBlockingLockExclusive),
        fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive),
    ] {
        match result {
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::ACCESS) => {
                return Err(LogDirError::Locked(dir.to_owned()));
            }
            other => other.context("lock", &path)?,
        }
    }
    Ok(file)
}
