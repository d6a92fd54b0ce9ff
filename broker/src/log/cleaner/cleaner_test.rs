//! Tests of the cleaner's threads on the logs of a manager.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_wire::records::batch_builder::{BatchBuilder, BatchBuilderOptions};
use tempfile::TempDir;

use crate::log::append::{AppendOptions, AppendOrigin};
use crate::log::checkpoint::{CLEANER_FILE, read_offsets};
use crate::log::cleaner::cleaner::{Cleaner, CleanerSettings};
use crate::log::config::LogConfig;
use crate::log::manager::{LogManager, ManagerOptions};
use crate::log::names::TopicPartition;
use crate::log::partition_log::PartitionLog;

const NOW: i64 = 1_700_000_000_000;
const SETTINGS: CleanerSettings = CleanerSettings {
    threads: 2,
    dedupe_buffer_bytes: 1 << 22,
    load_factor: 0.9,
    io_buffer_bytes: 1 << 16,
    io_max_bytes_per_second: f64::MAX,
    backoff: Duration::from_millis(5),
    now_ms: || NOW,
};

fn manager(dir: &Path) -> Arc<LogManager> {
    let config = |topic: &str| {
        let (policy, retention) = match topic {
            "both" => ("compact,delete", "500"),
            "deleted" => ("delete", "-1"),
            _ => ("compact", "-1"),
        };
        let entries = [
            ("cleanup.policy", policy),
            ("retention.bytes", retention),
            ("segment.bytes", "600"),
            ("min.cleanable.dirty.ratio", "0.01"),
        ];
        Arc::new(LogConfig::from_entries(entries).unwrap())
    };
    let options = ManagerOptions {
        log_dirs: vec![dir.to_owned()],
        failed_dirs: Vec::new(),
        recovery_threads: 1,
        producer_expiration_ms: 86_400_000,
        topic_configs: Arc::new(config),
        now_ms: NOW,
    };
    Arc::new(LogManager::open(&options).unwrap())
}

/// A log of 40 batches of two records, whose keys are few.
fn written(logs: &LogManager, topic: &str) -> Arc<PartitionLog> {
    let log = logs.get_or_create(topic, 0, None, true, NOW).unwrap();
    let options = AppendOptions {
        origin: AppendOrigin::Client,
        now_ms: NOW,
    };
    for number in 0..40u8 {
        let mut builder = BatchBuilder::new(BatchBuilderOptions::default());
        for key in [number % 5, number] {
            builder.append(NOW, Some(&[key]), Some(&[b'v'; 30]));
        }
        log.append_as_leader(&builder.build(), 0, &options).unwrap();
    }
    log.set_high_watermark(i64::MAX);
    log
}

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until a cleaning is on, or over already.
fn wait_for_cleaning(logs: &LogManager, log: &PartitionLog) {
    let control = logs.cleaner_control();
    wait("a cleaning", || {
        !control.is_idle(log.partition()) || is_clean(logs, log)
    });
}

fn clean_offset(logs: &LogManager, log: &PartitionLog) -> Option<i64> {
    let control = logs.cleaner_control();
    control.clean_offset(&log.log_dir(), log.partition())
}

fn is_clean(logs: &LogManager, log: &PartitionLog) -> bool {
    clean_offset(logs, log) == Some(log.active_segment().base_offset())
}

#[test]
fn logs_are_cleaned_by_their_policy_and_a_bad_one_is_given_up() {
    let dir = TempDir::new().unwrap();
    let logs = manager(dir.path());
    let [good, both, deleted, bad] =
        ["good", "both", "deleted", "bad"].map(|topic| written(&logs, topic));
    let before = good.size_bytes();
    let first = dir.path().join("bad-0/00000000000000000000.log");
    let file = fs::OpenOptions::new().write(true).open(&first).unwrap();
    file.write_all_at(&[0xff; 4], 62).unwrap();
    let cleaner = Cleaner::start(SETTINGS, Arc::clone(&logs)).unwrap();
    let control = logs.cleaner_control();
    wait("the cleaning", || {
        is_clean(&logs, &good) && both.log_start_offset() > 0
    });
    wait("the bad log", || {
        control.is_given_up(dir.path(), bad.partition())
    });
    cleaner.stop();
    assert!(good.size_bytes() < before);
    assert_eq!((good.log_start_offset(), bad.log_start_offset()), (0, 0));
    assert_eq!((bad.size_bytes(), deleted.size_bytes()), (before, before));
    assert!(both.size_bytes() <= 1100, "{}", both.size_bytes());
    let noted = read_offsets(&dir.path().join(CLEANER_FILE)).unwrap();
    assert_eq!(noted[good.partition()], good.active_segment().base_offset());
    assert!(!noted.contains_key(deleted.partition()));
}

#[test]
fn whoever_changes_a_log_otherwise_keeps_the_cleaner_away() {
    let dir = TempDir::new().unwrap();
    let logs = manager(dir.path());
    let [paused, other] = ["paused", "other"].map(|topic| written(&logs, topic));
    logs.pause_cleaning(paused.partition());
    // So slow that each cleaning is in progress when it is asked to stop.
    let slow = CleanerSettings {
        io_max_bytes_per_second: 4000.0,
        io_buffer_bytes: 400,
        ..SETTINGS
    };
    let cleaner = Cleaner::start(slow, Arc::clone(&logs)).unwrap();
    wait_for_cleaning(&logs, &other);
    assert!(logs.truncate(&other, 40, NOW).unwrap());
    assert_eq!(clean_offset(&logs, &paused), None);
    logs.resume_cleaning(paused.partition());
    wait("both logs", || {
        is_clean(&logs, &paused) && is_clean(&logs, &other)
    });
    assert!(logs.truncate(&other, 10, NOW).unwrap());
    assert!(clean_offset(&logs, &other).unwrap() <= 10);
    written(&logs, "other");
    wait_for_cleaning(&logs, &other);
    logs.delete("other", 0, NOW).unwrap();
    logs.checkpoint();
    let noted = read_offsets(&dir.path().join(CLEANER_FILE)).unwrap();
    let names: Vec<&TopicPartition> = noted.keys().collect();
    assert_eq!(names, [paused.partition()]);
    // A third log is in the middle of its cleaning when all ends.
    let third = written(&logs, "third");
    wait_for_cleaning(&logs, &third);
    cleaner.stop();
    for entry in fs::read_dir(third.dir().as_path()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(!name.ends_with(".cleaned"), "{name}");
    }
}
