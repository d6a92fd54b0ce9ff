//! Shell: opens the log directories at the start of a broker and loads every log in them, several at once.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use dashmap::DashMap;
use parking_lot::Mutex;
use tokio::sync::mpsc::unbounded_channel;

use crate::log::cleaner::control::CleanerControl;
use crate::log::error::IoContext;
use crate::log::log_dir::{LogDir, LogDirError};
use crate::log::manager::{FailedDir, LogManager, ManagerOptions, OpenError};
use crate::log::names::{DirKind, TopicPartition, parse_dir};
use crate::log::partition_dir::PartitionDir;
use crate::log::partition_log::PartitionLog;
use crate::log::recovery::{LoadOptions, open_log};

/// What other parts of a broker keep beside the logs: a directory, and a topic.
const FOREIGN_DIR: &str = "remote-log-index-cache";
const FOREIGN_TOPIC: &str = "__cluster_metadata";

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
        let mut fail = |path: &PathBuf| {
            let partitions = Vec::new();
            // Fails only if the other end is gone, which this function holds.
            let _ = failures.send(FailedDir {
                path: path.clone(),
                partitions,
            });
            failed_dirs.push(path.clone());
        };
        for path in &options.log_dirs {
            if options.failed_dirs.contains(path) {
                fail(path);
                continue;
            }
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
                    fail(path);
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
            future_dirs: Mutex::default(),
            creation: Default::default(),
            cleaning: CleanerControl::default(),
        };
        for dir in &manager.dirs {
            manager.cleaning.load(dir.path());
        }
        if let Err(error) = manager.load_all(options) {
            if !matches!(error, OpenError::Panicked) {
                manager.leave_as_found(options.now_ms);
            }
            return Err(error);
        }
        if manager.online_dirs().next().is_none() {
            return Err(OpenError::NoLogDirs);
        }
        Ok(manager)
    }

    /// Opens the logs of all directories at once, since they are on disks of their own.
    fn load_all(&self, options: &ManagerOptions) -> Result<(), OpenError> {
        let started = Instant::now();
        let results: Vec<Result<usize, OpenError>> = std::thread::scope(|scope| {
            let loads: Vec<_> = self
                .dirs
                .iter()
                .map(|dir| scope.spawn(|| self.load_dir(dir, options)))
                .collect();
            loads
                .into_iter()
                .map(|load| load.join().unwrap_or(Err(OpenError::Panicked)))
                .collect()
        });
        let mut total = 0;
        for result in results {
            total += result?;
        }
        let unclean: Vec<_> = self.dirs.iter().filter(|dir| !dir.was_clean()).collect();
        tracing::info!(
            "loaded {total} logs in {} ms (unclean log dirs: {:?})",
            started.elapsed().as_millis(),
            unclean.iter().map(|dir| dir.path()).collect::<Vec<_>>()
        );
        Ok(())
    }

    /// Opens all logs of one directory, several at once if so configured. Answers how many.
    fn load_dir(&self, dir: &LogDir, options: &ManagerOptions) -> Result<usize, OpenError> {
        let jobs = dir.begin_loading().map_err(OpenError::from);
        let jobs = match jobs.and_then(|()| self.jobs(dir, options.now_ms)) {
            Ok(jobs) => jobs,
            Err(OpenError::Storage(error)) => {
                self.report(dir, &error);
                return Ok(0);
            }
            Err(error) => return Err(error),
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
        let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let failure = Mutex::new(None);
        std::thread::scope(|scope| {
            for _ in 0..load_threads(dir, options).min(total) {
                scope.spawn(|| {
                    while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let started = Instant::now();
                        match self.load_log(dir, job) {
                            Ok(log) => {
                                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                                tell(dir, job, log.as_deref(), started, (done, total));
                            }
                            Err(error) => {
                                *failure.lock() = Some(error);
                                next.store(total, Ordering::Relaxed);
                            }
                        }
                    }
                });
            }
        });
        match failure.into_inner() {
            Some(error) => Err(error),
            None => {
                dir.set_loaded();
                Ok(total)
            }
        }
    }

    fn jobs(&self, dir: &LogDir, now_ms: i64) -> Result<Vec<LoadJob>, OpenError> {
        let (recovery_points, log_starts) = dir.load_points()?;
        let mut jobs = Vec::new();
        for entry in fs::read_dir(dir.path()).context("list", dir.path())? {
            let path = entry.context("list", dir.path())?.path();
            let name = path.file_name().unwrap_or_default();
            let Some(name) = name.to_str() else {
                // Java cannot even name it, so that Kafka passes it over.
                tracing::warn!(path = %path.display(), "ignoring a name that is not UTF-8");
                continue;
            };
            if name == FOREIGN_DIR || !path.is_dir() {
                continue;
            }
            match parse_dir(name) {
                Some((partition, _)) if partition.topic == FOREIGN_TOPIC => {}
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
                Some((_, DirKind::Delete)) => self.doom(path, now_ms),
                Some((_, DirKind::Stray)) => {
                    tracing::warn!(path = %path.display(), "leaving a stray log alone");
                }
                Some((partition, DirKind::Future)) => self.note_future(partition, path)?,
                None => return Err(OpenError::OddDir(path)),
            }
        }
        jobs.sort_by(|a, b| a.partition.cmp(&b.partition));
        Ok(jobs)
    }

    /// Remembers a copy that a move to this disk had begun; there may be one of each partition.
    fn note_future(&self, partition: TopicPartition, path: PathBuf) -> Result<(), OpenError> {
        tracing::warn!(
            path = %path.display(),
            "leaving the copy of a log alone that a move to this directory had begun"
        );
        let earlier = self
            .future_dirs
            .lock()
            .insert(partition.clone(), path.clone());
        match earlier {
            None => Ok(()),
            Some(first) => Err(OpenError::DuplicateLog {
                partition,
                first,
                second: path,
            }),
        }
    }

    /// Opens one log. `None` if its directory has failed, as Kafka sees it; records that cannot be read stop the broker.
    fn load_log(
        &self,
        dir: &LogDir,
        job: &LoadJob,
    ) -> Result<Option<Arc<PartitionLog>>, OpenError> {
        let LoadJob {
            path,
            partition,
            options,
        } = job;
        let config = (self.topic_configs)(&partition.topic);
        let partition_dir = PartitionDir::new(path.clone());
        let log = match open_log(partition_dir, partition.clone(), config, options) {
            Ok(log) => Arc::new(log),
            Err(error) if error.is_of_records() => return Err(error.into()),
            Err(error) => {
                self.report(dir, &error);
                return Ok(None);
            }
        };
        if let Some(other) = self.logs.insert(partition.clone(), log.clone()) {
            if let Err(error) = other.close(options.now_ms) {
                self.report(dir, &error);
            }
            return Err(OpenError::DuplicateLog {
                partition: partition.clone(),
                first: other.log_dir(),
                second: dir.path().to_owned(),
            });
        }
        Ok(Some(log))
    }
}

/// How many logs of a directory are opened at a time: as many as the configuration says for recovery, and as many as there are
/// processors where nothing is to be recovered.
fn load_threads(dir: &LogDir, options: &ManagerOptions) -> usize {
    let processors = match dir.was_clean() {
        true => std::thread::available_parallelism().map_or(1, usize::from),
        false => 1,
    };
    options.recovery_threads.max(processors)
}

/// Progress: one line for each log.
fn tell(
    dir: &LogDir,
    job: &LoadJob,
    log: Option<&PartitionLog>,
    started: Instant,
    (done, total): (usize, usize),
) {
    let (partition, took) = (&job.partition, started.elapsed().as_millis());
    let shown = dir.path().display();
    match log {
        Some(log) => tracing::info!(
            "completed load of {partition} with {} segments, log start offset {} and log end offset {} in {took} ms \
             ({done}/{total} completed in {shown})",
            log.segment_count(),
            log.log_start_offset(),
            log.log_end_offset(),
        ),
        None => tracing::error!(
            "error while loading {partition} in {took} ms ({done}/{total} completed in {shown})"
        ),
    }
}
