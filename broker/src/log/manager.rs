//! Shell: all logs of this broker: opening the log directories, making and deleting logs (`LogManager.scala`). What timers call is
//! in `manager_passes.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;

use dashmap::DashMap;
use kafka_wire::wire::Uuid;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use crate::log::cleaner::control::CleanerControl;
use crate::log::config::LogConfig;
use crate::log::error::{IoContext, StorageError};
use crate::log::log_dir::{LogDir, LogDirError};
use crate::log::names::{DirKind, TopicPartition, partition_dir, renamed_dir};
use crate::log::partition_dir::PartitionDir;
use crate::log::partition_log::PartitionLog;
use crate::log::recovery::{LoadOptions, open_log};

/// Answers a topic's configuration as it is now.
pub type TopicConfigs = Arc<dyn Fn(&str) -> Arc<LogConfig> + Send + Sync>;

/// What the log manager needs to start.
#[derive(Clone)]
pub struct ManagerOptions {
    /// `log.dirs`.
    pub log_dirs: Vec<PathBuf>,
    /// Those of them that were found unusable before.
    pub failed_dirs: Vec<PathBuf>,
    /// `num.recovery.threads.per.data.dir`.
    pub recovery_threads: usize,
    /// `producer.id.expiration.ms`.
    pub producer_expiration_ms: i64,
    /// Configuration by topic.
    pub topic_configs: TopicConfigs,
    /// The time, in milliseconds since the epoch.
    pub now_ms: i64,
}

/// Why the log manager cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A directory is in use.
    #[error(transparent)]
    Dir(#[from] LogDirError),
    /// The same directory is given twice.
    #[error("duplicate log directory {} in log.dirs", .0.display())]
    DuplicateDir(PathBuf),
    /// The same partition is in two directories.
    #[error(
        "duplicate log directories for {partition} are found in both {} and {}; delete the one that is out of date",
        first.display(), second.display()
    )]
    DuplicateLog {
        /// Topic and partition.
        partition: TopicPartition,
        /// One directory.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// A directory that is none of a log.
    #[error(
        "found directory {}, which is not named topic-partition or topic-partition.uniqueId-delete (if marked for deletion); \
         log.dirs should only contain such directories", .0.display()
    )]
    OddDir(PathBuf),
    /// Records that cannot be read although nothing says that they were being written.
    #[error("{0}; the log is not changed: restore the file, or delete it to lose its records")]
    Storage(#[from] StorageError),
    /// A mistake in the broker.
    #[error("loading logs ended in a panic")]
    Panicked,
    /// No directory can be used.
    #[error(
        "none of the specified log dirs can be created or validated; see the errors above, and log.dirs"
    )]
    NoLogDirs,
}

/// Why a log cannot be made or found.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// It may be in a directory that is out of service, or none is in service.
    #[error("can not create log for {0} because log directories are offline")]
    Offline(TopicPartition),
    /// The log belongs to another incarnation of the topic.
    #[error(
        "tried to assign topic id {requested} to log for topic partition {partition}, but log already \
         contained topic id {found}"
    )]
    InconsistentTopicId {
        /// Topic and partition.
        partition: TopicPartition,
        /// Topic id asked for.
        requested: Uuid,
        /// Topic id of the log.
        found: Uuid,
    },
    /// The disk failed; its directory is out of service now.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A log directory that was taken out of service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedDir {
    /// The directory.
    pub path: PathBuf,
    /// The partitions that went with it.
    pub partitions: Vec<TopicPartition>,
}

/// Locks for the creation of logs.
const CREATION_LOCKS: usize = 16;

/// All logs of this broker.
pub struct LogManager {
    pub(super) dirs: Vec<Arc<LogDir>>,
    /// Directories of `log.dirs` that could not be used from the start.
    pub(super) failed_dirs: Vec<PathBuf>,
    pub(super) logs: DashMap<TopicPartition, Arc<PartitionLog>>,
    pub(super) topic_configs: TopicConfigs,
    pub(super) producer_expiration_ms: i64,
    /// Where failed directories are told of, and the other end until somebody wants to hear.
    pub(super) failures: UnboundedSender<FailedDir>,
    pub(super) failures_heard: Mutex<Option<UnboundedReceiver<FailedDir>>>,
    /// Directories renamed for deletion, and when they may go.
    pub(super) doomed_dirs: Mutex<Vec<(PathBuf, i64)>>,
    /// Copies that a move to another disk had begun; they lie still until the topic goes.
    pub(super) future_dirs: Mutex<BTreeMap<TopicPartition, PathBuf>>,
    /// Orders creation and deletion of each partition; partitions share these, so that many can be made at a time,
    /// whose waits for the disk the file system then joins.
    pub(super) creation: [Mutex<()>; CREATION_LOCKS],
    pub(super) cleaning: CleanerControl,
}

impl std::fmt::Debug for LogManager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogManager")
            .field("dirs", &self.dirs)
            .finish_non_exhaustive()
    }
}

impl LogManager {
    /// The log directories, in the order of `log.dirs`.
    pub fn dirs(&self) -> &[Arc<LogDir>] {
        &self.dirs
    }

    /// Directories in service.
    pub fn online_dirs(&self) -> impl Iterator<Item = &Arc<LogDir>> {
        self.dirs.iter().filter(|dir| dir.is_online())
    }

    /// Directories out of service.
    pub fn offline_dirs(&self) -> Vec<PathBuf> {
        let failed = self.dirs.iter().filter(|dir| !dir.is_online());
        let failed = failed.map(|dir| dir.path().to_owned());
        self.failed_dirs.iter().cloned().chain(failed).collect()
    }

    /// The log of a partition.
    pub fn get(&self, topic: &str, partition: i32) -> Option<Arc<PartitionLog>> {
        let partition = TopicPartition::new(topic, partition);
        self.logs.get(&partition).map(|log| Arc::clone(&log))
    }

    /// All logs.
    pub fn logs(&self) -> Vec<Arc<PartitionLog>> {
        self.logs.iter().map(|log| Arc::clone(&log)).collect()
    }

    /// All logs of a topic.
    pub fn logs_of_topic(&self, topic: &str) -> Vec<Arc<PartitionLog>> {
        let of_topic = self.logs.iter().filter(|log| log.key().topic == topic);
        of_topic.map(|log| Arc::clone(&log)).collect()
    }

    /// High watermark of a partition as last checkpointed; 0 if there is none.
    pub fn checkpointed_high_watermark(&self, log: &PartitionLog) -> i64 {
        let parent = log.log_dir();
        let dir = self.dirs.iter().find(|dir| dir.path() == parent);
        dir.and_then(|dir| dir.high_watermark(log.partition()))
            .unwrap_or(0)
    }

    /// The log of a partition, made in the directory with the fewest logs if there is none.
    /// `is_new` says that the partition cannot be in a directory that is out of service.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn get_or_create(
        &self,
        topic: &str,
        partition: i32,
        topic_id: Option<Uuid>,
        is_new: bool,
        now_ms: i64,
    ) -> Result<Arc<PartitionLog>, LogError> {
        let _creation = self.creation_lock(topic, partition);
        let log = match self.get(topic, partition) {
            Some(log) => log,
            None => self.create(TopicPartition::new(topic, partition), is_new, now_ms)?,
        };
        let Some(requested) = topic_id else {
            return Ok(log);
        };
        match log.ensure_topic_id(requested) {
            Ok(Ok(())) => Ok(log),
            Ok(Err(found)) => {
                let partition = log.partition().clone();
                Err(LogError::InconsistentTopicId {
                    partition,
                    requested,
                    found,
                })
            }
            Err(error) => {
                self.fail_dir_of(&log, &error);
                Err(error.into())
            }
        }
    }

    fn create(
        &self,
        partition: TopicPartition,
        is_new: bool,
        now_ms: i64,
    ) -> Result<Arc<PartitionLog>, LogError> {
        if !is_new && !self.offline_dirs().is_empty() {
            return Err(LogError::Offline(partition));
        }
        let mut candidates: Vec<(usize, &Arc<LogDir>)> = self
            .online_dirs()
            .map(|dir| {
                let count = self
                    .logs
                    .iter()
                    .filter(|log| log.log_dir() == dir.path())
                    .count();
                (count, dir)
            })
            .collect();
        candidates.sort_by_key(|(count, _)| *count);
        for (_, dir) in candidates {
            let path = dir.path().join(partition_dir(&partition));
            let made = fs::create_dir_all(&path)
                .context("create", &path)
                .and_then(|()| {
                    let options = LoadOptions {
                        clean: true,
                        recovery_point: 0,
                        log_start_offset: 0,
                        producer_expiration_ms: self.producer_expiration_ms,
                        now_ms,
                    };
                    let config = (self.topic_configs)(&partition.topic);
                    open_log(PartitionDir::new(path), partition.clone(), config, &options)
                });
            match made {
                Ok(log) => {
                    let log = Arc::new(log);
                    self.logs.insert(partition.clone(), Arc::clone(&log));
                    tracing::info!(partition = %partition, dir = %dir.path().display(), "created log");
                    return Ok(log);
                }
                Err(error) => {
                    self.report(dir, &error);
                }
            }
        }
        Err(LogError::Offline(partition))
    }

    /// Takes a log out of service and renames its directory; the files go after the broker's
    /// `log.segment.delete.delay.ms`, as Kafka has it, whatever the topic says. A copy begun on another disk goes, too.
    /// Does nothing if there is no such log. The caller must call [`LogManager::checkpoint`] before it tells anybody, so
    /// that a new log of this name does not inherit a recovery point; once for many deletions.
    ///
    /// # Errors
    /// [`LogError`] if the directory cannot be renamed, or the log may be in one that is out of service.
    pub fn delete(&self, topic: &str, partition: i32, now_ms: i64) -> Result<(), LogError> {
        let _creation = self.creation_lock(topic, partition);
        let partition = TopicPartition::new(topic, partition);
        self.pause_cleaning(&partition);
        let deleted = self.delete_unwatched(&partition, now_ms);
        self.resume_cleaning(&partition);
        deleted
    }

    /// [`LogManager::delete`] with the cleaner kept away.
    fn delete_unwatched(&self, partition: &TopicPartition, now_ms: i64) -> Result<(), LogError> {
        let Some((_, log)) = self.logs.remove(partition) else {
            if self.offline_dirs().is_empty() {
                return Ok(());
            }
            return Err(LogError::Offline(partition.clone()));
        };
        let unique = format!("{:032x}", rand::random::<u128>());
        if let Err(error) = log.rename_dir(DirKind::Delete, &unique) {
            self.fail_dir_of(&log, &error);
            return Err(error.into());
        }
        self.doom(log.dir().to_path_buf(), now_ms);
        let future = self.future_dirs.lock().remove(partition);
        if let Some(path) = future {
            let to = path.with_file_name(renamed_dir(partition, DirKind::Delete, &unique));
            match fs::rename(&path, &to).context("rename", &path) {
                Ok(()) => self.doom(to, now_ms),
                Err(error) => tracing::error!(%error, "a copy of a deleted log is left"),
            }
        }
        Ok(())
    }

    /// Has a directory removed when the delay is over.
    pub(super) fn doom(&self, dir: PathBuf, now_ms: i64) {
        // No topic's name is empty: these are the broker's own settings.
        let delay = (self.topic_configs)("").file_delete_delay_ms;
        tracing::info!(dir = %dir.display(), "log is scheduled for deletion in {delay} ms");
        self.doomed_dirs
            .lock()
            .push((dir, now_ms.saturating_add(delay)));
    }

    fn creation_lock(&self, topic: &str, partition: i32) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        (topic, partition).hash(&mut hasher);
        self.creation[hasher.finish() as usize % CREATION_LOCKS].lock()
    }

    /// Logs in one directory.
    pub fn logs_in(&self, dir: &LogDir) -> Vec<Arc<PartitionLog>> {
        let inside = self.logs.iter().filter(|log| log.log_dir() == dir.path());
        inside.map(|log| Arc::clone(&log)).collect()
    }

    /// Takes a log's directory out of service after an I/O error on it; a file whose contents are bad says nothing of the disk.
    pub fn fail_dir_of(&self, log: &PartitionLog, error: &StorageError) {
        let parent = log.log_dir();
        match self.dirs.iter().find(|dir| dir.path() == parent) {
            Some(dir) if error.is_io() => self.report(dir, error),
            _ => tracing::error!(%error, partition = %log.partition(), "log failed"),
        }
    }

    /// Notes a failed disk: no more logs are served from it, and who listens at [`LogManager::failed_dirs`] is told.
    pub(super) fn report(&self, dir: &LogDir, error: &StorageError) {
        if !dir.set_offline() {
            return;
        }
        tracing::error!(%error, dir = %dir.path().display(), "log directory failed, stopping to serve its logs");
        let partitions: Vec<TopicPartition> = self
            .logs_in(dir)
            .iter()
            .map(|log| log.partition().clone())
            .collect();
        for partition in &partitions {
            self.logs.remove(partition);
        }
        let path = dir.path().to_owned();
        // Fails only if nobody listens any more, while the broker stops.
        let _ = self.failures.send(FailedDir { path, partitions });
    }

    /// Tells of every directory that fails, from the start on. `None` for all but the first caller.
    pub fn failed_dirs(&self) -> Option<UnboundedReceiver<FailedDir>> {
        self.failures_heard.lock().take()
    }
}

#[cfg(test)]
#[path = "manager_test.rs"]
mod tests;
