//! Shell: the cleaner's threads: each takes the dirtiest log, cleans it, and deletes old segments of compacted logs
//! (`LogCleaner.scala`).

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::log::cleaner::candidates::Candidate;
use crate::log::cleaner::clean::{CleanError, CleanSettings, CleanStats, clean_log};
use crate::log::cleaner::states::Ending;
use crate::log::cleaner::throttle::Throttle;
use crate::log::error::{StorageError, StorageResult};
use crate::log::manager::LogManager;
use crate::log::partition_log::PartitionLog;

/// Longest sleep between two looks at whether to stop.
const NAP: Duration = Duration::from_millis(100);
const MEBIBYTE: f64 = 1024.0 * 1024.0;

/// The `log.cleaner.*` keys.
#[derive(Debug, Clone, Copy)]
pub struct CleanerSettings {
    /// `log.cleaner.threads`.
    pub threads: usize,
    /// `log.cleaner.dedupe.buffer.size`, shared by the threads, in bytes.
    pub dedupe_buffer_bytes: u64,
    /// `log.cleaner.io.buffer.load.factor`.
    pub load_factor: f64,
    /// `log.cleaner.io.buffer.size`, shared by the threads, in bytes.
    pub io_buffer_bytes: usize,
    /// `log.cleaner.io.max.bytes.per.second`, for all threads together.
    pub io_max_bytes_per_second: f64,
    /// `log.cleaner.backoff.ms`.
    pub backoff: Duration,
    /// Tells the time in milliseconds since the epoch.
    pub now_ms: fn() -> i64,
}

/// The running cleaner.
#[derive(Debug)]
pub struct Cleaner {
    logs: Arc<LogManager>,
    threads: Vec<JoinHandle<()>>,
}

/// What all threads share.
struct Shared {
    logs: Arc<LogManager>,
    settings: CleanerSettings,
    throttle: Mutex<Throttle>,
    started: Instant,
    /// Held while a log is chosen.
    choosing: Mutex<()>,
}

impl Cleaner {
    /// Starts the threads.
    ///
    /// # Errors
    /// The I/O error if a thread cannot be started.
    pub fn start(settings: CleanerSettings, logs: Arc<LogManager>) -> std::io::Result<Self> {
        tracing::info!("Starting the log cleaner");
        let shared = Arc::new(Shared {
            logs: Arc::clone(&logs),
            settings,
            throttle: Mutex::new(Throttle::new(
                settings.io_max_bytes_per_second,
                Duration::ZERO,
            )),
            started: Instant::now(),
            choosing: Mutex::new(()),
        });
        let mut cleaner = Cleaner {
            logs,
            threads: Vec::new(),
        };
        for number in 0..settings.threads {
            let shared = Arc::clone(&shared);
            let thread = std::thread::Builder::new()
                .name(format!("log-cleaner-{number}"))
                .spawn(move || shared.run(number))?;
            cleaner.threads.push(thread);
        }
        Ok(cleaner)
    }

    /// Ends the threads; the cleaning at hand is given up.
    pub fn stop(mut self) {
        tracing::info!("Shutting down the log cleaner.");
        self.logs.cleaner_control().stop();
        for thread in std::mem::take(&mut self.threads) {
            if thread.join().is_err() {
                tracing::error!("a cleaner thread had failed");
            }
        }
    }
}

impl Drop for Cleaner {
    fn drop(&mut self) {
        self.logs.cleaner_control().stop();
    }
}

impl Shared {
    fn run(&self, number: usize) {
        let control = self.logs.cleaner_control();
        while !control.is_stopping() {
            let cleaned = self.clean_dirtiest(number);
            self.delete_old_segments();
            if !cleaned {
                control.sleep(self.settings.backoff);
            }
        }
    }

    /// Cleans the log that needs it most. True if one was cleaned.
    fn clean_dirtiest(&self, number: usize) -> bool {
        let Some((log, candidate)) = self.take_dirtiest() else {
            return false;
        };
        let control = self.logs.cleaner_control();
        let before = Instant::now();
        let cleaned = self.clean(&log, &candidate);
        let clean_until = match &cleaned {
            Ok(stats) => {
                report(number, &log, &candidate, stats, before.elapsed());
                stats.clean_until
            }
            Err(_) => candidate.first_dirty,
        };
        let mut written = Ok(());
        if !control.is_stopping() || cleaned.is_ok() {
            // While the state still says "in progress", so that whoever pauses finds the checkpoint settled.
            written = self.settle(&log, clean_until);
        }
        control.done(log.partition());
        match cleaned {
            Ok(_) => {}
            Err(CleanError::Aborted) => {
                tracing::info!(partition = %log.partition(), "cleaning was aborted");
            }
            Err(CleanError::Storage(error)) => self.failed(&log, &error),
        }
        if let Err(error) = written {
            self.failed(&log, &error);
        }
        true
    }

    /// Notes how far a log is clean, unless somebody waits for the cleaning to stop.
    fn settle(&self, log: &PartitionLog, clean_until: i64) -> StorageResult<()> {
        let control = self.logs.cleaner_control();
        if control.must_stop(log.partition()) && !control.is_stopping() {
            return Ok(());
        }
        control.set_clean_offset(&log.log_dir(), log.partition(), clean_until)
    }

    fn clean(&self, log: &PartitionLog, candidate: &Candidate) -> Result<CleanStats, CleanError> {
        let settings = &self.settings;
        let threads = settings.threads.max(1);
        let per_log = CleanSettings {
            map_bytes: settings.dedupe_buffer_bytes / threads as u64,
            load_factor: settings.load_factor,
            read_bytes: (settings.io_buffer_bytes / threads / 2).max(1),
        };
        tracing::info!(
            partition = %log.partition(), from = candidate.first_dirty, to = candidate.first_uncleanable,
            "beginning cleaning of log"
        );
        let mut pace = |bytes| self.pace(log, bytes);
        clean_log(log, candidate, &per_log, (settings.now_ms)(), &mut pace)
    }

    /// Pauses if more is read and written than allowed; says if the cleaning is to stop.
    fn pace(&self, log: &PartitionLog, bytes: usize) -> Result<(), CleanError> {
        let control = self.logs.cleaner_control();
        let mut left = self.pause_for(bytes);
        let paused = !left.is_zero();
        loop {
            if control.must_stop(log.partition()) {
                return Err(CleanError::Aborted);
            }
            if left.is_zero() {
                break;
            }
            std::thread::sleep(left.min(NAP));
            left = left.saturating_sub(NAP);
        }
        if paused {
            self.throttle.lock().restart(self.started.elapsed());
        }
        Ok(())
    }

    fn pause_for(&self, bytes: usize) -> Duration {
        if bytes == 0 || self.settings.io_max_bytes_per_second >= f64::MAX {
            return Duration::ZERO;
        }
        let now = self.started.elapsed();
        let pause = self.throttle.lock().observe(bytes, now);
        pause.unwrap_or_default()
    }

    /// The log with the largest dirty part among those that are due; its cleaning has begun then.
    fn take_dirtiest(&self) -> Option<(Arc<PartitionLog>, Candidate)> {
        let _choosing = self.choosing.lock();
        let control = self.logs.cleaner_control();
        let now_ms = (self.settings.now_ms)();
        let mut best: Option<(Arc<PartitionLog>, Candidate)> = None;
        for log in self.logs.logs() {
            let dir = log.log_dir();
            let usable = log.config().compact
                && control.is_idle(log.partition())
                && !control.is_given_up(&dir, log.partition());
            if !usable {
                continue;
            }
            let candidate = match self.candidate(&log, now_ms) {
                Ok(candidate) => candidate,
                Err(error) => {
                    self.failed(&log, &error);
                    continue;
                }
            };
            let dirtier = best
                .as_ref()
                .is_none_or(|(_, best)| candidate.dirty_ratio() > best.dirty_ratio());
            if candidate.is_due(log.config().min_cleanable_dirty_ratio) && dirtier {
                best = Some((log, candidate));
            }
        }
        best.filter(|(log, _)| control.begin(log.partition()))
    }

    fn candidate(&self, log: &PartitionLog, now_ms: i64) -> StorageResult<Candidate> {
        let control = self.logs.cleaner_control();
        let dir = log.log_dir();
        let checkpoint = control.clean_offset(&dir, log.partition());
        let candidate = log.cleaning_facts()?.candidate(checkpoint, now_ms);
        if candidate.reset {
            // Retention of the same log moves its start all the time.
            if !log.config().delete {
                tracing::warn!(
                    partition = %log.partition(), checkpoint, first_dirty = candidate.first_dirty,
                    "the checkpointed first dirty offset is not in the log, starting at the log's start"
                );
            }
            control.set_clean_offset(&dir, log.partition(), candidate.first_dirty)?;
        }
        Ok(candidate)
    }

    /// Deletes what is below the start of compacted logs, and what `compact,delete` says.
    fn delete_old_segments(&self) {
        let control = self.logs.cleaner_control();
        let now_ms = (self.settings.now_ms)();
        for log in self.logs.logs() {
            let usable =
                log.config().compact && !control.is_given_up(&log.log_dir(), log.partition());
            if !usable || control.is_stopping() || !control.begin(log.partition()) {
                continue;
            }
            let deleted = log.retention_pass(now_ms);
            if control.done(log.partition()) == Ending::Aborted {
                tracing::debug!(partition = %log.partition(), "somebody waited for retention to end");
            }
            if let Err(error) = deleted {
                self.failed(&log, &error);
            }
        }
    }

    /// A disk that fails takes its directory out of service; a log that cannot be read is left alone from now on.
    fn failed(&self, log: &PartitionLog, error: &StorageError) {
        match error {
            StorageError::Io { .. } => {
                self.logs.fail_dir_of(log, error);
            }
            StorageError::Corrupt { .. } | StorageError::Overflow { .. } => {
                tracing::warn!(
                    partition = %log.partition(), %error, "cleaning failed, marking the partition as uncleanable"
                );
                let control = self.logs.cleaner_control();
                control.give_up(&log.log_dir(), log.partition());
            }
        }
    }
}

/// Tells what was done.
fn report(
    number: usize,
    log: &PartitionLog,
    candidate: &Candidate,
    stats: &CleanStats,
    took: Duration,
) {
    let counts = &stats.counts;
    let (read, kept) = (counts.bytes_read as f64, counts.bytes_kept as f64);
    let seconds = took.as_secs_f64();
    tracing::info!(
        "Log cleaner thread {number} cleaned log {} (dirty section = [{}, {}]): {:.1} MB of log processed in {seconds:.1} seconds \
         ({:.1} MB/sec), {:.1} MB indexed, buffer utilization {:.1}%, start size {:.1} MB ({} messages), end size {:.1} MB \
         ({} messages), {:.1}% size reduction",
        log.partition(),
        candidate.first_dirty,
        stats.clean_until,
        read / MEBIBYTE,
        read / MEBIBYTE / seconds.max(0.001),
        stats.map_bytes_read as f64 / MEBIBYTE,
        100.0 * stats.map_used,
        read / MEBIBYTE,
        counts.records_read,
        kept / MEBIBYTE,
        counts.records_kept,
        100.0 * (1.0 - kept / read.max(1.0)),
    );
    if candidate.delay_ms > 0 {
        tracing::info!(partition = %log.partition(), delay_ms = candidate.delay_ms, "compaction was overdue");
    }
    if counts.keyless > 0 {
        tracing::warn!(
            partition = %log.partition(), records = counts.keyless, "dropped records without a key during compaction"
        );
    }
}

#[cfg(test)]
#[path = "cleaner_test.rs"]
mod tests;
