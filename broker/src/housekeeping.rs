//! Shell: what a broker does from time to time: compaction, retention, flushes, checkpoints, removal of deleted files.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::config::broker::BrokerConfig;
use crate::log::cleaner::cleaner::{Cleaner, CleanerSettings};
use crate::log::manager::LogManager;
use crate::replica::clock::now_ms;

/// Kafka starts its log tasks only after this pause (`LogManager.InitialTaskDelayMs`).
const INITIAL_DELAY: Duration = Duration::from_secs(30);
/// How often finished segments are brought to disk.
const FLUSH_ROLLED_EVERY: Duration = Duration::from_secs(1);
/// How often files whose deletion delay has passed are looked for.
const DELETE_EVERY: Duration = Duration::from_secs(1);

/// Starts all timers; they end when the set is dropped or shut down.
pub fn start(config: &BrokerConfig, logs: &Arc<LogManager>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let mut every = |period: i64, delay: Duration, work: fn(&LogManager)| {
        // Zero or less, or beyond any clock, stand for never.
        let Ok(period) = u64::try_from(period) else {
            return;
        };
        if period == 0 || period > i64::MAX as u64 / 2 {
            return;
        }
        tasks.spawn(repeat(
            Duration::from_millis(period),
            delay,
            logs.clone(),
            work,
        ));
    };
    every(
        config.log_retention_check_interval_ms,
        INITIAL_DELAY,
        |logs| {
            logs.retention_pass(now_ms());
        },
    );
    every(
        config.log_flush_scheduler_interval_ms,
        INITIAL_DELAY,
        |logs| logs.flush_dirty(now_ms()),
    );
    every(
        i64::from(config.log_flush_offset_checkpoint_interval_ms),
        INITIAL_DELAY,
        LogManager::checkpoint_recovery_points,
    );
    every(
        i64::from(config.log_flush_start_offset_checkpoint_interval_ms),
        INITIAL_DELAY,
        LogManager::checkpoint_log_starts,
    );
    every(
        config.replica_high_watermark_checkpoint_interval_ms,
        Duration::from_secs(1),
        LogManager::checkpoint_high_watermarks,
    );
    every(
        i64::from(config.producer_id_expiration_check_interval_ms),
        INITIAL_DELAY,
        |logs| logs.expire_producers(now_ms()),
    );
    every(millis(FLUSH_ROLLED_EVERY), FLUSH_ROLLED_EVERY, |logs| {
        logs.flush_rolled(now_ms())
    });
    every(millis(DELETE_EVERY), DELETE_EVERY, |logs| {
        logs.delete_doomed(now_ms())
    });
    tasks
}

/// Starts the log cleaner, unless it is turned off.
pub fn start_cleaner(config: &BrokerConfig, logs: &Arc<LogManager>) -> Option<Cleaner> {
    if !config.log_cleaner_enable {
        return None;
    }
    let settings = CleanerSettings {
        threads: usize::try_from(config.log_cleaner_threads).unwrap_or(1),
        dedupe_buffer_bytes: config.log_cleaner_dedupe_buffer_size.unsigned_abs(),
        load_factor: config.log_cleaner_io_buffer_load_factor,
        io_buffer_bytes: usize::try_from(config.log_cleaner_io_buffer_size).unwrap_or(0),
        io_max_bytes_per_second: config.log_cleaner_io_max_bytes_per_second,
        backoff: Duration::from_millis(config.log_cleaner_backoff_ms.unsigned_abs()),
        now_ms,
    };
    logs.prepare_cleaner_checkpoints();
    match Cleaner::start(settings, logs.clone()) {
        Ok(cleaner) => Some(cleaner),
        Err(error) => {
            tracing::error!(%error, "the log cleaner cannot be started; compacted topics will grow");
            None
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

async fn repeat(period: Duration, delay: Duration, logs: Arc<LogManager>, work: fn(&LogManager)) {
    let mut ticks = interval_at(Instant::now() + delay, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let logs = logs.clone();
        // All of these touch the disk: not on a thread that serves connections.
        if let Err(error) = tokio::task::spawn_blocking(move || work(&logs)).await {
            tracing::error!("a log task failed: {error}");
        }
    }
}
