//! Tests of segments whose offsets run too far: split while loading, after crashes at each step, and by the cleaner.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use kafka_wire::records::batch_builder::{BatchBuilder, BatchBuilderOptions};
use kafka_wire::records::control::{ControlType, EndTransactionMarker, marker_batch};
use tempfile::TempDir;

use super::write_pieces;
use crate::log::cleaner::clean::{CleanError, CleanSettings, clean_log};
use crate::log::config::LogConfig;
use crate::log::error::StorageResult;
use crate::log::names::TopicPartition;
use crate::log::partition_dir::PartitionDir;
use crate::log::partition_log::PartitionLog;
use crate::log::recovery::{LoadOptions, open_log};
use crate::log::replace::{finish_files, put_in_place};
use crate::log::scan::Scanner;
use crate::log::segment::Segment;
use crate::log::txn_index::AbortedTxn;

const NOW: i64 = 1_700_000_000_000;
/// Less than 2^31 above the second piece.
const FAR: i64 = (1 << 32) - 100;
const PRODUCER: i64 = 9;
/// Base offsets of the batches, one record each; the last but one is the marker of a transaction that begins at 2.
const OFFSETS: [i64; 9] = [
    0,
    1,
    2,
    i32::MAX as i64,
    i32::MAX as i64 + 1,
    FAR,
    FAR + 7,
    FAR + 8,
    3 * FAR,
];
const MARKER: i64 = FAR + 8;
const BASES: [i64; 3] = [0, i32::MAX as i64 + 1, 3 * FAR];

fn batch(offset: i64) -> Vec<u8> {
    let transactional = offset == 2;
    let mut batch = if offset == MARKER {
        let marker = EndTransactionMarker {
            control_type: ControlType::Abort,
            coordinator_epoch: 0,
        };
        marker_batch(marker, PRODUCER, 0, NOW).to_vec()
    } else {
        let mut options = BatchBuilderOptions::default();
        if transactional {
            options.producer_id = PRODUCER;
            options.producer_epoch = 0;
            options.base_sequence = 0;
            options.transactional = true;
        }
        let mut builder = BatchBuilder::new(options);
        let key = offset.to_string();
        builder.append(NOW + offset % 1000, Some(key.as_bytes()), Some(&[b'v'; 50]));
        builder.build().to_vec()
    };
    batch[..8].copy_from_slice(&offset.to_be_bytes());
    batch
}

fn write_segment(dir: &Path, base_offset: i64, offsets: &[i64]) {
    let log: Vec<u8> = offsets.iter().flat_map(|offset| batch(*offset)).collect();
    fs::write(dir.join(format!("{base_offset:020}.log")), log).unwrap();
}

fn open(dir: &Path, clean: bool) -> StorageResult<PartitionLog> {
    let options = LoadOptions {
        clean,
        recovery_point: 0,
        log_start_offset: 0,
        producer_expiration_ms: i64::MAX,
        now_ms: NOW,
    };
    let config = LogConfig::from_entries([
        ("cleanup.policy", "compact"),
        ("min.cleanable.dirty.ratio", "0"),
        ("index.interval.bytes", "0"),
    ]);
    let partition_dir = PartitionDir::new(dir.to_owned());
    let partition = TopicPartition::new("t", 0);
    open_log(
        partition_dir,
        partition,
        Arc::new(config.unwrap()),
        &options,
    )
}

fn bases(log: &PartitionLog) -> Vec<i64> {
    let segments = log.segments.load();
    segments
        .iter()
        .map(|segment| segment.base_offset())
        .collect()
}

fn offsets(log: &PartitionLog) -> Vec<i64> {
    let mut found = Vec::new();
    for segment in log.segments.load().iter() {
        let mut scanner = Scanner::new(segment.file(), 0, segment.size());
        while let Some(entry) = scanner.next_entry().unwrap() {
            found.push(entry.header.base_offset());
            // What the indexes lead to is what is there.
            let range = segment.find(entry.header.base_offset()).unwrap().unwrap();
            assert_eq!(range.position, entry.position);
        }
    }
    found
}

fn aborted(log: &PartitionLog) -> Vec<AbortedTxn> {
    let mut found = Vec::new();
    for segment in log.segments.load().iter() {
        let mut of_segment = Vec::new();
        segment
            .txn_index()
            .collect(0, i64::MAX, &mut of_segment)
            .unwrap();
        assert!(
            of_segment
                .iter()
                .all(|txn| segment.can_hold(txn.last_offset))
        );
        found.extend(of_segment);
    }
    found
}

const ABORTED: AbortedTxn = AbortedTxn {
    producer_id: PRODUCER,
    first_offset: 2,
    last_offset: MARKER,
    last_stable_offset: MARKER + 1,
};

fn check(log: &PartitionLog) {
    assert_eq!(bases(log), BASES);
    assert_eq!(offsets(log), OFFSETS);
    assert_eq!(aborted(log), [ABORTED]);
    assert_eq!(log.log_end_offset(), 3 * FAR + 1);
}

#[test]
fn loading_splits_what_indexes_cannot_tell() {
    for clean in [true, false] {
        let dir = TempDir::new().unwrap();
        write_segment(dir.path(), 0, &OFFSETS);
        if !clean {
            for suffix in ["index", "timeindex"] {
                let path = dir.path().join(format!("{:020}.{suffix}", 0));
                fs::write(path, [0; 4080]).unwrap();
            }
        }
        let log = open(dir.path(), clean).unwrap();
        check(&log);
        log.close(NOW).unwrap();
        for base_offset in BASES {
            for suffix in ["log", "index", "timeindex"] {
                let path = dir.path().join(format!("{base_offset:020}.{suffix}"));
                assert!(path.exists(), "{}", path.display());
            }
        }
        drop(log);
        check(&open(dir.path(), true).unwrap());
    }
    // With a torn tail, which recovery cuts off the last piece.
    let dir = TempDir::new().unwrap();
    write_segment(dir.path(), 0, &OFFSETS);
    let path = dir.path().join("00000000000000000000.log");
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend(&batch(3 * FAR + 1)[..40]);
    fs::write(&path, bytes).unwrap();
    check(&open(dir.path(), false).unwrap());
    // The piece comes behind the segment that follows.
    let dir = TempDir::new().unwrap();
    write_segment(dir.path(), 0, &[0, FAR]);
    write_segment(dir.path(), 10, &[10, 11]);
    let log = open(dir.path(), false).unwrap();
    assert_eq!(bases(&log), [0, 10, FAR]);
    assert_eq!(offsets(&log), [0, 10, 11, FAR]);
    assert_eq!(log.log_end_offset(), FAR + 1);
    // Its place is taken.
    let dir = TempDir::new().unwrap();
    write_segment(dir.path(), 0, &[0, FAR]);
    write_segment(dir.path(), FAR, &[FAR]);
    let error = open(dir.path(), false).unwrap_err();
    assert!(error.is_of_records(), "{error}");
    // Offsets that come back are no overflow.
    let dir = TempDir::new().unwrap();
    write_segment(dir.path(), 0, &[0, FAR, 1]);
    let error = open(dir.path(), false).unwrap_err();
    assert!(error.is_of_records(), "{error}");
}

/// Each rename of a split is where a crash may come.
#[test]
fn a_crash_leaves_all_pieces_or_none() {
    let full = |dir: &Path| {
        write_segment(dir, 0, &OFFSETS);
        let partition_dir = PartitionDir::new(dir.to_owned());
        let segment = Segment::open(&partition_dir, 0, NOW, 0).unwrap();
        let config = LogConfig::from_entries([("index.interval.bytes", "0")]).unwrap();
        assert_eq!(
            write_pieces(&segment, i64::MAX, &config, None).unwrap(),
            BASES
        );
        partition_dir
    };
    for done in 0..=7 {
        let dir = TempDir::new().unwrap();
        let partition_dir = full(dir.path());
        let [_, second, third] = BASES;
        // The highest piece first.
        let finished: &[&[i64]] = &[&[], &[third], &[second, third], &BASES];
        finish_files(&partition_dir, finished[done.min(3)]).unwrap();
        if done > 3 {
            let old = dir.path().join("00000000000000000000.log");
            fs::rename(&old, old.with_extension("log.deleted")).unwrap();
            put_in_place(&partition_dir, &BASES[..done - 4]).unwrap();
        }
        check(&open(dir.path(), false).unwrap());
        let names: BTreeSet<String> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let left = |name: &&String| name.ends_with(".swap") || name.ends_with(".cleaned");
        assert_eq!(names.iter().find(left), None, "after {done}");
    }
}

#[test]
fn the_cleaner_splits_and_begins_anew() {
    let dir = TempDir::new().unwrap();
    write_segment(dir.path(), 0, &OFFSETS);
    // Rolled when it could still be told; the indexes say nothing.
    let last = 3 * FAR + 1;
    write_segment(dir.path(), last, &[last]);
    for suffix in ["index", "timeindex"] {
        for base_offset in [0, last] {
            fs::write(dir.path().join(format!("{base_offset:020}.{suffix}")), []).unwrap();
        }
    }
    let entry = crate::log::txn_index::encode(&ABORTED);
    fs::write(dir.path().join("00000000000000000000.txnindex"), entry).unwrap();
    let log = open(dir.path(), true).unwrap();
    assert_eq!(bases(&log), [0, last]);
    log.set_high_watermark(i64::MAX);
    let settings = CleanSettings {
        map_bytes: 1 << 20,
        load_factor: 0.9,
        read_bytes: 1000,
    };
    let clean = || {
        let candidate = log.cleaning_facts().unwrap().candidate(None, NOW);
        clean_log(&log, &candidate, &settings, NOW, &mut |_| Ok(()))
    };
    assert!(matches!(clean(), Err(CleanError::Aborted)));
    let expected = [&BASES[..], &[last]].concat();
    assert_eq!(bases(&log), expected);
    assert_eq!(offsets(&log), [&OFFSETS[..], &[last]].concat());
    assert_eq!(aborted(&log), [ABORTED]);
    clean().unwrap();
    assert_eq!(bases(&log), expected);
    // The aborted record is gone.
    let kept: Vec<i64> = OFFSETS.into_iter().filter(|offset| *offset != 2).collect();
    assert_eq!(offsets(&log), [&kept[..], &[last]].concat());
}

#[test]
fn the_cleaner_leaves_what_reaches_behind_the_next_segment() {
    let dir = TempDir::new().unwrap();
    write_segment(dir.path(), 0, &[0, FAR]);
    write_segment(dir.path(), 10, &[10]);
    for suffix in ["index", "timeindex"] {
        for base_offset in [0, 10] {
            fs::write(dir.path().join(format!("{base_offset:020}.{suffix}")), []).unwrap();
        }
    }
    let log = open(dir.path(), true).unwrap();
    let first = Arc::clone(&log.segments.load()[0]);
    let error = log.split_segment(&first, NOW).unwrap_err();
    assert!(error.is_of_records(), "{error}");
    assert_eq!(bases(&log), [0, 10]);
    assert_eq!(count_of_logs(dir.path()), 2);
}

/// How many segment files there are, finished or not.
fn count_of_logs(dir: &Path) -> usize {
    let names = fs::read_dir(dir).unwrap();
    let is_log = |name: &std::ffi::OsString| name.to_string_lossy().contains(".log");
    names
        .map(|entry| entry.unwrap().file_name())
        .filter(is_log)
        .count()
}
