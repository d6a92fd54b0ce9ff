//! Tests of the log manager: directories, locks, markers, creation and deletion.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use kafka_wire::records::batch_builder::{BatchBuilder, BatchBuilderOptions};
use kafka_wire::wire::Uuid;
use tempfile::TempDir;

use crate::log::append::{AppendOptions, AppendOrigin};
use crate::log::config::LogConfig;
use crate::log::log_dir::LogDirError;
use crate::log::manager::{LogError, LogManager, ManagerOptions, OpenError};
use crate::log::partition_log::PartitionLog;

const NOW: i64 = 1_700_000_000_000;

fn options(dirs: &[PathBuf]) -> ManagerOptions {
    let config = Arc::new(LogConfig::default());
    ManagerOptions {
        log_dirs: dirs.to_vec(),
        failed_dirs: Vec::new(),
        recovery_threads: 2,
        producer_expiration_ms: 86_400_000,
        topic_configs: Arc::new(move |_| Arc::clone(&config)),
        now_ms: NOW,
    }
}

fn open(dirs: &[PathBuf]) -> LogManager {
    LogManager::open(&options(dirs)).unwrap()
}

fn append(log: &PartitionLog) {
    let mut builder = BatchBuilder::new(BatchBuilderOptions::default());
    builder.append(NOW, None, Some(b"v"));
    let records: Bytes = builder.build();
    let options = AppendOptions {
        origin: AppendOrigin::Client,
        now_ms: NOW,
    };
    log.append_as_leader(&records, 0, &options).unwrap();
    log.set_high_watermark(i64::MAX);
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn logs_survive_clean_and_unclean_stops_over_two_directories() {
    let temp = TempDir::new().unwrap();
    let dirs = [temp.path().join("a"), temp.path().join("b")];
    let id = Uuid::random();
    let manager = open(&dirs);
    for partition in 0..4 {
        let log = manager
            .get_or_create("t", partition, Some(id), true, NOW)
            .unwrap();
        append(&log);
    }
    let in_dir = |name: &str| fs::read_dir(temp.path().join(name)).unwrap().count();
    assert!(
        in_dir("a") >= 2 && in_dir("b") >= 2,
        "partitions are spread"
    );
    let log = manager.get("t", 0).unwrap();
    let other = manager
        .get_or_create("t", 0, Some(Uuid::ONE), true, NOW)
        .unwrap_err();
    assert!(matches!(other, LogError::InconsistentTopicId { found, .. } if found == id));
    drop(log);
    manager.shutdown(NOW, 5);
    let marker = dirs[0].join(".kafka_cleanshutdown");
    assert_eq!(text(&marker), "{\"version\":0,\"brokerEpoch\":5}");
    drop(manager);

    let manager = open(&dirs);
    assert!(
        fs::metadata(&marker).is_err(),
        "taken away while the broker runs"
    );
    assert_eq!(manager.logs().len(), 4);
    let log = manager.get("t", 3).unwrap();
    assert_eq!((log.log_end_offset(), log.topic_id()), (1, Some(id)));
    assert_eq!(manager.checkpointed_high_watermark(&log), 1);
    append(&log);
    drop((log, manager)); // killed

    let manager = open(&dirs);
    assert_eq!(manager.get("t", 3).unwrap().log_end_offset(), 2);
}

#[test]
fn a_directory_has_one_user() {
    let temp = TempDir::new().unwrap();
    let dir = temp.path().join("a");
    let manager = open(std::slice::from_ref(&dir));
    let error = LogManager::open(&options(std::slice::from_ref(&dir))).unwrap_err();
    assert!(
        matches!(error, OpenError::Dir(LogDirError::Locked(_))),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains("Failed to acquire lock on file .lock")
    );
    drop(manager);
    let twice = LogManager::open(&options(&[dir.clone(), dir.join("../a")])).unwrap_err();
    assert!(matches!(twice, OpenError::DuplicateDir(_)), "{twice}");
    open(&[dir]);
}

#[test]
fn deletion_renames_first() {
    let temp = TempDir::new().unwrap();
    let dir = temp.path().to_owned();
    let manager = open(std::slice::from_ref(&dir));
    let log = manager.get_or_create("gone", 0, None, true, NOW).unwrap();
    append(&log);
    manager.delete("gone", 0, NOW).unwrap();
    manager.delete("gone", 0, NOW).unwrap();
    assert!(manager.get("gone", 0).is_none());
    let renamed = log.dir();
    let name = renamed.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("gone-0.") && name.ends_with("-delete") && name.len() == 46);
    // The name is free at once.
    let fresh = manager.get_or_create("gone", 0, None, true, NOW).unwrap();
    assert_eq!(fresh.log_end_offset(), 0);
    manager.delete_doomed(NOW + 59_999);
    assert!(fs::metadata(&*renamed).is_ok());
    manager.delete_doomed(NOW + 60_000);
    assert!(fs::metadata(&*renamed).is_err());
    // What a stop left undone is done some time after the next start, so that the wrong log directories can be noticed.
    manager.delete("gone", 0, NOW).unwrap();
    let renamed = fresh.dir();
    manager.shutdown(NOW, -1);
    drop(manager);
    let manager = open(&[dir]);
    assert!(manager.logs().is_empty());
    manager.delete_doomed(NOW + 59_999);
    assert!(fs::metadata(&*renamed).is_ok());
    manager.delete_doomed(NOW + 60_000);
    assert!(fs::metadata(&*renamed).is_err());
}

#[test]
fn a_copy_begun_elsewhere_goes_with_the_topic() {
    let temp = TempDir::new().unwrap();
    let dirs = [temp.path().join("a"), temp.path().join("b")];
    let manager = open(&dirs);
    manager.get_or_create("t", 0, None, true, NOW).unwrap();
    manager.shutdown(NOW, -1);
    drop(manager);
    let future = dirs[1].join("t-0.0123456789abcdef0123456789abcdef-future");
    fs::create_dir(&future).unwrap();
    fs::create_dir(dirs[1].join("__cluster_metadata-1")).unwrap();
    let manager = open(&dirs);
    assert_eq!(manager.logs().len(), 1);
    manager.delete("t", 0, NOW).unwrap();
    assert!(!future.exists());
    manager.delete_doomed(NOW + 60_000);
    assert_eq!(
        fs::read_dir(&dirs[1])
            .unwrap()
            .filter(|e| e.as_ref().unwrap().path().is_dir())
            .count(),
        1
    );
    fs::create_dir(dirs[0].join("t-0.x-future")).unwrap();
    fs::create_dir(dirs[1].join("t-0.y-future")).unwrap();
    drop(manager);
    let error = LogManager::open(&options(&dirs)).unwrap_err();
    assert!(matches!(error, OpenError::DuplicateLog { .. }), "{error}");
}

#[test]
fn a_failed_directory_takes_its_logs_with_it() {
    let temp = TempDir::new().unwrap();
    let good = temp.path().join("good");
    let bad = temp.path().join("bad");
    fs::write(&bad, "not a directory").unwrap();
    let manager = open(&[bad.clone(), good.clone()]);
    assert_eq!(manager.offline_dirs(), [bad]);
    let refused = manager.get_or_create("t", 0, None, false, NOW).unwrap_err();
    assert!(
        matches!(refused, LogError::Offline(_)),
        "it may be in the failed directory"
    );
    let log = manager.get_or_create("t", 0, None, true, NOW).unwrap();
    fs::remove_dir_all(&good).unwrap();
    let error = log.assign_topic_id(Uuid::random()).unwrap_err();
    let mut failed = manager.failed_dirs().unwrap();
    assert_eq!(failed.try_recv().unwrap().path, manager.offline_dirs()[0]);
    manager.fail_dir_of(&log, &error);
    let gone = failed.try_recv().unwrap();
    assert_eq!((gone.path, gone.partitions.len()), (good, 1));
    assert!(manager.get("t", 0).is_none());
    assert!(manager.get_or_create("t", 1, None, true, NOW).is_err());
}
