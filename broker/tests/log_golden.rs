//! Opens a data directory that an Apache broker wrote (five codecs, idempotent and transactional producers, two segments) and left
//! behind with `kill -9`, and compares what our recovery and clean stop leave with what Apache's left, byte for byte.

#![allow(clippy::unwrap_used, reason = "this is a test")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use broker::log::codec;
use broker::log::config::LogConfig;
use broker::log::manager::{LogManager, ManagerOptions};
use broker::log::partition_read::FetchBound;
use kafka_wire::records::batch::Batches;
use kafka_wire::wire::Records;
use tempfile::TempDir;

/// Shortly after the directory was written.
const NOW: i64 = 1_795_441_600_000;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/log")
        .join(name)
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}

fn open(dir: &TempDir) -> LogManager {
    let settings = [
        ("segment.bytes", "6000"),
        ("index.interval.bytes", "300"),
        ("segment.index.bytes", "4096"),
    ];
    let config = Arc::new(LogConfig::from_entries(settings).unwrap());
    LogManager::open(&ManagerOptions {
        log_dirs: vec![dir.path().to_owned()],
        failed_dirs: Vec::new(),
        recovery_threads: 1,
        producer_expiration_ms: 86_400_000,
        topic_configs: Arc::new(move |_| Arc::clone(&config)),
        now_ms: NOW,
    })
    .unwrap()
}

#[test]
fn recovery_leaves_what_apaches_leaves() {
    let dir = TempDir::new().unwrap();
    copy_dir(&golden("unclean"), dir.path());
    let manager = open(&dir);
    let log = manager.get("mix", 0).unwrap();
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (0, 166));
    log.set_high_watermark(166);
    assert_eq!(
        log.last_stable_offset(),
        165,
        "the last record's transaction is open"
    );
    drop(log);
    manager.shutdown(NOW, -1);
    let ours = files(&dir.path().join("mix-0"));
    let apaches = files(&golden("recovered/mix-0"));
    assert_eq!(
        ours.keys().collect::<Vec<_>>(),
        apaches.keys().collect::<Vec<_>>()
    );
    for (name, bytes) in &apaches {
        assert_eq!(ours.get(name), Some(bytes), "{name}");
    }
}

#[test]
fn every_record_is_read_and_found_by_its_timestamp() {
    let dir = TempDir::new().unwrap();
    copy_dir(&golden("recovered"), dir.path());
    fs::write(dir.path().join(".kafka_cleanshutdown"), "{}").unwrap();
    let manager = open(&dir);
    let log = manager.get("mix", 0).unwrap();
    log.set_high_watermark(i64::MAX);
    let mut timestamps = Vec::new();
    let mut from = 0;
    while from < log.log_end_offset() {
        let result = log.read(from, 1000, FetchBound::LogEnd, true).unwrap();
        let Records::File {
            file,
            position,
            len,
        } = result.records
        else {
            panic!("nothing at offset {from}");
        };
        let mut bytes = vec![0; len as usize];
        file.read_exact_at(&mut bytes, position).unwrap();
        for batch in Batches::new(&bytes) {
            let batch = batch.unwrap();
            assert!(batch.crc_ok());
            let plain = codec::decompress(&batch).unwrap();
            for record in batch.records(&plain) {
                let record = record.unwrap();
                assert_eq!(record.offset, timestamps.len() as i64);
                timestamps.push(record.timestamp);
            }
            from = batch.header.next_offset();
        }
    }
    assert_eq!(timestamps.len(), 166);
    for target in &timestamps {
        let expected = timestamps
            .iter()
            .position(|timestamp| timestamp >= target)
            .unwrap();
        let found = log.offset_for_timestamp(*target).unwrap().unwrap();
        assert_eq!(
            (found.offset, found.timestamp),
            (expected as i64, timestamps[expected])
        );
    }
    let committed = log.read(0, 1 << 20, FetchBound::LastStable, true).unwrap();
    assert!(committed.aborted.is_some());
}
