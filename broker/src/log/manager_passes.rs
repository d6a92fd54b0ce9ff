//! Shell: what timers ask of all logs: retention, flushing, checkpoints, removal of what was deleted; and the clean stop.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::log::error::{IoContext, StorageResult};
use crate::log::log_dir::LogDir;
use crate::log::manager::LogManager;
use crate::log::partition_log::PartitionLog;

impl LogManager {
    /// Removes directories and files whose deletion delay has passed.
    pub fn delete_doomed(&self, now_ms: i64) {
        let due: Vec<PathBuf> = {
            let mut doomed = self.doomed_dirs.lock();
            let due = doomed
                .iter()
                .filter(|(_, due)| *due <= now_ms)
                .map(|d| d.0.clone())
                .collect();
            doomed.retain(|(_, due)| *due > now_ms);
            due
        };
        for path in due {
            match fs::remove_dir_all(&path).context("delete", &path) {
                Ok(()) => tracing::info!(dir = %path.display(), "deleted log"),
                Err(error) if error.is_not_found() => {}
                Err(error) => {
                    tracing::error!(%error, "log was not deleted; it will be tried on the next start")
                }
            }
        }
        self.each_log(|log| log.remove_doomed_files(now_ms));
    }

    /// Deletes old segments of all logs that are not compacted (`log.retention.check.interval.ms`). Answers how many
    /// went. Those of compacted logs go when the cleaner has been there.
    pub fn retention_pass(&self, now_ms: i64) -> usize {
        let deleted = AtomicUsize::new(0);
        self.each_log(|log| {
            if log.config().compact || !self.cleaning.begin(log.partition()) {
                return Ok(());
            }
            let passed = log.retention_pass(now_ms);
            self.cleaning.done(log.partition());
            deleted.fetch_add(passed?, Ordering::Relaxed);
            Ok(())
        });
        deleted.into_inner()
    }

    /// Brings segments that were rolled to disk; call it about every second.
    pub fn flush_rolled(&self, now_ms: i64) {
        self.each_log(|log| log.flush_rolled(now_ms));
    }

    /// Flushes logs whose `flush.ms` has passed (`log.flush.scheduler.interval.ms`).
    pub fn flush_dirty(&self, now_ms: i64) {
        self.each_log(|log| {
            let idle = now_ms.saturating_sub(log.last_flush_ms());
            if idle >= log.config().flush_ms {
                log.flush(now_ms)
            } else {
                Ok(())
            }
        });
    }

    /// Forgets producers that were silent for `producer.id.expiration.ms` (check interval of the same name).
    pub fn expire_producers(&self, now_ms: i64) {
        self.each_log(|log| {
            log.expire_producers(now_ms);
            Ok(())
        });
    }

    /// Writes recovery points (`log.flush.offset.checkpoint.interval.ms`) and forgets what was cleaned of logs that are gone.
    pub fn checkpoint_recovery_points(&self) {
        for dir in self.online_dirs() {
            self.checkpoint_dir(dir, true, false);
        }
    }

    /// Writes log starts (`log.flush.start.offset.checkpoint.interval.ms`).
    pub fn checkpoint_log_starts(&self) {
        for dir in self.online_dirs() {
            self.checkpoint_dir(dir, false, true);
        }
    }

    /// Writes both.
    pub fn checkpoint(&self) {
        for dir in self.online_dirs() {
            self.checkpoint_dir(dir, true, true);
        }
    }

    fn checkpoint_dir(&self, dir: &LogDir, recovery_points: bool, log_starts: bool) {
        let _checkpointing = dir.checkpointing();
        let logs = self.logs_in(dir);
        let mut written = Ok(());
        if recovery_points {
            let points = logs.iter().map(|log| {
                let partition = log.partition().clone();
                (partition, log.recovery_point())
            });
            written = dir
                .write_recovery_points(&points.collect())
                .and_then(|()| self.checkpoint_cleaner(dir));
        }
        if log_starts && written.is_ok() {
            let within = logs.iter().filter(|log| log.starts_within_segment());
            let starts = within.map(|log| (log.partition().clone(), log.log_start_offset()));
            written = dir.write_log_starts(&starts.collect());
        }
        if let Err(error) = written {
            self.report(dir, &error);
        }
    }

    /// Writes high watermarks (`replica.high.watermark.checkpoint.interval.ms`).
    pub fn checkpoint_high_watermarks(&self) {
        for dir in self.online_dirs() {
            let offsets = self
                .logs_in(dir)
                .into_iter()
                .map(|log| (log.partition().clone(), log.high_watermark()))
                .collect();
            if let Err(error) = dir.write_high_watermarks(offsets) {
                self.report(dir, &error);
            }
        }
    }

    /// Calls `work` for each log; a failure takes its directory out of service.
    fn each_log(&self, work: impl Fn(&PartitionLog) -> StorageResult<()>) {
        for log in self.logs() {
            if let Err(error) = work(&log) {
                self.fail_dir_of(&log, &error);
            }
        }
    }

    /// For a broker that does not start: directories whose last stop was clean count as stopped cleanly again, so that what was
    /// refused is refused the next time, too, instead of being recovered. The checkpoints stay.
    pub(super) fn leave_as_found(&self, now_ms: i64) {
        for dir in self.online_dirs().filter(|dir| dir.was_clean()) {
            let logs = self.logs_in(dir);
            let closed = logs.iter().try_for_each(|log| log.close(now_ms));
            if let Err(error) = closed.and_then(|()| dir.mark_clean(-1)) {
                tracing::warn!(%error, "the next start will recover the logs of this directory");
            }
        }
    }

    /// Flushes and closes all logs, writes the checkpoints and leaves the marker of a clean stop.
    pub fn shutdown(&self, now_ms: i64, broker_epoch: i64) {
        self.checkpoint_high_watermarks();
        for dir in self.online_dirs() {
            let mut clean = true;
            for log in self.logs_in(dir) {
                if let Err(error) = log.close(now_ms) {
                    tracing::warn!(%error, partition = %log.partition(), "log was not closed cleanly");
                    clean = false;
                }
            }
            self.checkpoint_dir(dir, true, true);
            if clean
                && dir.is_online()
                && let Err(error) = dir.mark_clean(broker_epoch)
            {
                tracing::warn!(%error, "clean shutdown marker was not written");
            }
            dir.unlock();
        }
    }
}
