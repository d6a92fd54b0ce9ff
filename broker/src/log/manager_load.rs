//! Shell: opens the log directories at the start of a broker and loads every log in them, several at once.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use parking_lot::Mutex;
use tokio::sync::mpsc::unbounded_channel;

use crate::log::cleaner::control::CleanerControl;
use crate::log::error::{IoContext, StorageResult};
use crate::log::log_dir::{LogDir, LogDirError};
use crate::log::manager::{FailedDir, LogManager, ManagerOptions, OpenError};
use crate::log::names::{DirKind, TopicPartition, parse_dir};
use crate::log::partition_dir::PartitionDir;
use crate::log::recovery::{LoadOptions, open_log};

/// Directories that other parts of a broker keep beside the logs.
const FOREIGN_DIRS: [&str; 2] = ["remote-log-index-cache", "lost+found"];

/// A partition directory to be loaded.
struct LoadJob {
    path: PathBuf,
    partition: TopicPartition,
    options: LoadOptions,
}

impl LogManager {
    /// Locks the log directories and opens every log in them. A directory whose disk fails is left out.
    ///
    /// # Errors
    /// [`OpenError`] if a directory is in use, a partition is there twice, or no directory is usable.
    pub fn open(options: &ManagerOptions) -> Result<Self, OpenError> {
        let mut dirs = Vec::new();
        let mut failed_dirs = Vec::new();
        let (failures, failures_heard) = unbounded_channel();
        let mut seen = HashSet::new();
        for path in &options.log_dirs {
            match LogDir::open(path) {
                Ok(dir) => {
                    let canonical = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
                    if !seen.insert(canonical) {
                        return Err(OpenError::DuplicateDir(path.clone()));
                    }
                    dirs.push(Arc::new(dir));
                }
                Err(LogDirError::Locked(_))
                    if seen.contains(&fs::canonicalize(path).unwrap_or_default()) =>
                {
                    return Err(OpenError::DuplicateDir(path.clone()));
                }
                Err(error @ LogDirError::Locked(_)) => return Err(error.into()),
                Err(LogDirError::Storage(error)) => {
                    tracing::error!(%error, dir = %path.display(), "failed to create or validate data directory");
                    let _ = failures.send(FailedDir {
                        path: path.clone(),
                        partitions: Vec::new(),
                    });
                    failed_dirs.push(path.clone());
                }
            }
        }
        if dirs.is_empty() {
            return Err(OpenError::NoLogDirs);
        }
        let manager = LogManager {
            dirs,
            failed_dirs,
            logs: DashMap::new(),
            topic_configs: Arc::clone(&options.topic_configs),
            producer_expiration_ms: options.producer_expiration_ms,
            failures,
            failures_heard: Mutex::new(Some(failures_heard)),
            doomed_dirs: Mutex::new(Vec::new()),
            creation: Default::default(),
            cleaning: CleanerControl::default(),
        };
        for dir in &manager.dirs {
            manager.cleaning.load(dir.path());
            manager.load_dir(dir, options)?;
        }
        if manager.online_dirs().next().is_none() {
            return Err(OpenError::NoLogDirs);
        }
        Ok(manager)
    }

    /// Opens all logs of one directory, several at once if so configured.
    fn load_dir(&self, dir: &LogDir, options: &ManagerOptions) -> Result<(), OpenError> {
        let jobs = match self.jobs(dir, options.now_ms) {
            Ok(jobs) => jobs,
            Err(error) => {
                self.report(dir, &error);
                return Ok(());
            }
        };
        let (total, shown) = (jobs.len(), dir.path().display());
        match (total, dir.was_clean()) {
            (0, _) => tracing::info!("no logs found to be loaded in {shown}"),
            (_, true) => tracing::info!(
                "skipping recovery of {total} logs from {shown} since clean shutdown file was found"
            ),
            _ => tracing::info!(
                "recovering {total} logs from {shown} since no clean shutdown file was found"
            ),
        }
        let next = AtomicUsize::new(0);
        let failure = Mutex::new(None);
        std::thread::scope(|scope| {
            for _ in 0..options.recovery_threads.clamp(1, total.max(1)) {
                scope.spawn(|| {
                    while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if let Err(error) = self.load_log(dir, job) {
                            *failure.lock() = Some(error);
                            next.store(total, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        match failure.into_inner() {
            Some(error) => Err(error),
            None => {
                dir.set_loaded();
                Ok(())
            }
        }
    }

    fn jobs(&self, dir: &LogDir, now_ms: i64) -> StorageResult<Vec<LoadJob>> {
        let (recovery_points, log_starts) = dir.load_points();
        let mut jobs = Vec::new();
        for entry in fs::read_dir(dir.path()).context("list", dir.path())? {
            let path = entry.context("list", dir.path())?.path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if !path.is_dir() || FOREIGN_DIRS.contains(&name) {
                continue;
            }
            match parse_dir(name) {
                Some((partition, DirKind::Current)) => {
                    let options = LoadOptions {
                        clean: dir.was_clean(),
                        recovery_point: recovery_points.get(&partition).copied().unwrap_or(0),
                        log_start_offset: log_starts.get(&partition).copied().unwrap_or(0),
                        producer_expiration_ms: self.producer_expiration_ms,
                        now_ms,
                    };
                    jobs.push(LoadJob {
                        path,
                        partition,
                        options,
                    });
                }
                Some((_, DirKind::Delete)) => self.doomed_dirs.lock().push((path, now_ms)),
                Some((_, DirKind::Future | DirKind::Stray)) => {
                    tracing::warn!(path = %path.display(), "leaving a moved or stray log alone");
                }
                None => tracing::warn!(
                    path = %path.display(), "ignoring a directory that is not named <topic>-<partition>"
                ),
            }
        }
        jobs.sort_by(|a, b| a.partition.cmp(&b.partition));
        Ok(jobs)
    }

    fn load_log(&self, dir: &LogDir, job: &LoadJob) -> Result<(), OpenError> {
        let LoadJob {
            path,
            partition,
            options,
        } = job;
        let config = (self.topic_configs)(&partition.topic);
        let partition_dir = PartitionDir::new(path.clone());
        let log = match open_log(partition_dir, partition.clone(), config, options) {
            Ok(log) => log,
            Err(error) => {
                self.report(dir, &error);
                return Ok(());
            }
        };
        tracing::info!(
            partition = %partition, segments = log.segment_count(), start = log.log_start_offset(),
            end = log.log_end_offset(), "loaded log"
        );
        if let Some(other) = self.logs.insert(partition.clone(), Arc::new(log)) {
            return Err(OpenError::DuplicateLog {
                partition: partition.clone(),
                first: other.log_dir(),
                second: dir.path().to_owned(),
            });
        }
        Ok(())
    }
}
