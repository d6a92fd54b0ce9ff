//! Tests of a partition log through its public interface, on real files.

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::records::batch::Batches;
use kafka_wire::records::batch_builder::{BatchBuilder, BatchBuilderOptions};
use kafka_wire::wire::Records;
use tempfile::TempDir;

use crate::log::append::{AppendError, AppendInfo, AppendOptions, AppendOrigin};
use crate::log::config::LogConfig;
use crate::log::names::TopicPartition;
use crate::log::partition_dir::PartitionDir;
use crate::log::partition_log::PartitionLog;
use crate::log::partition_read::{FetchBound, ReadError, ReadResult};
use crate::log::recovery::{LoadOptions, open_log};

const NOW: i64 = 1_700_000_000_000;
const CLIENT: AppendOptions = AppendOptions {
    origin: AppendOrigin::Client,
    now_ms: NOW,
};

fn config(entries: &[(&str, &str)]) -> Arc<LogConfig> {
    Arc::new(LogConfig::from_entries(entries.iter().copied()).unwrap())
}

fn open(dir: &TempDir, config: Arc<LogConfig>, clean: bool, recovery_point: i64) -> PartitionLog {
    let options = LoadOptions {
        clean,
        recovery_point,
        log_start_offset: 0,
        producer_expiration_ms: 86_400_000,
        now_ms: NOW,
    };
    let partition_dir = PartitionDir::new(dir.path().to_owned());
    open_log(partition_dir, TopicPartition::new("t", 0), config, &options).unwrap()
}

fn batch(records: usize, value_bytes: usize, timestamp: i64) -> Bytes {
    idempotent(records, value_bytes, timestamp, -1, -1, -1)
}

fn idempotent(
    records: usize,
    value_bytes: usize,
    timestamp: i64,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
) -> Bytes {
    let mut builder = BatchBuilder::new(BatchBuilderOptions {
        producer_id,
        producer_epoch,
        base_sequence,
        ..BatchBuilderOptions::default()
    });
    let value = vec![b'x'; value_bytes];
    for _ in 0..records {
        builder.append(timestamp, Some(b"k"), Some(&value));
    }
    builder.build()
}

fn append(log: &PartitionLog, records: &Bytes) -> Result<AppendInfo, AppendError> {
    let info = log.append_as_leader(records, 3, &CLIENT)?;
    log.set_high_watermark(log.log_end_offset());
    Ok(info)
}

/// Base offsets of the batches read, and their bytes.
fn contents(result: &ReadResult) -> (Vec<i64>, Vec<u8>) {
    let bytes = match &result.records {
        Records::Memory(bytes) => bytes.to_vec(),
        Records::File {
            file,
            position,
            len,
        } => {
            let mut bytes = vec![0; *len as usize];
            file.read_exact_at(&mut bytes, *position).unwrap();
            bytes
        }
    };
    // The last one may be cut.
    let bases = Batches::new(&bytes)
        .map(|batch| {
            let batch = batch.unwrap();
            assert!(batch.crc_ok());
            batch.header.base_offset
        })
        .collect();
    (bases, bytes)
}

fn bases(log: &PartitionLog, from: i64, max_bytes: usize) -> Vec<i64> {
    contents(
        &log.read(from, max_bytes, FetchBound::HighWatermark, true)
            .unwrap(),
    )
    .0
}

#[test]
fn appended_batches_are_read_within_bounds() {
    let dir = TempDir::new().unwrap();
    let log = open(&dir, config(&[("segment.bytes", "20000")]), true, 0);
    for i in 0..200 {
        let info = append(&log, &batch(2, 300, NOW)).unwrap();
        assert_eq!((info.first_offset, info.last_offset), (i * 2, i * 2 + 1));
    }
    assert!(log.segment_count() > 5);
    let size = batch(2, 300, NOW).len();
    for from in 0..400 {
        let first = from / 2 * 2;
        assert_eq!(bases(&log, from, 1), [first]);
        let several = bases(&log, from, size * 5 + 7);
        assert_eq!(several[0], first);
        assert!(several.len() <= 5 && !several.is_empty());
        let read = log.read(from, size * 5 + 7, FetchBound::HighWatermark, true);
        assert!(read.unwrap().records.len() <= size * 5 + 7);
        assert!(several.windows(2).all(|pair| pair[1] == pair[0] + 2));
    }
    let none = log
        .read(10, size - 1, FetchBound::HighWatermark, false)
        .unwrap();
    assert!(none.records.is_empty());
    assert!(bases(&log, 400, 1000).is_empty());
    let error = log.read(401, 1000, FetchBound::LogEnd, true).unwrap_err();
    assert!(matches!(
        error,
        ReadError::OffsetOutOfRange {
            log_end_offset: 400,
            ..
        }
    ));
}

#[test]
fn consumers_see_up_to_the_high_watermark() {
    let dir = TempDir::new().unwrap();
    let log = open(&dir, config(&[]), true, 0);
    for _ in 0..10 {
        log.append_as_leader(&batch(1, 10, NOW), 0, &CLIENT)
            .unwrap();
    }
    assert!(bases(&log, 0, 10_000).is_empty());
    for high_watermark in [4, 7, 10] {
        assert_eq!(
            log.raise_high_watermark(high_watermark),
            Some(high_watermark)
        );
        assert_eq!(log.raise_high_watermark(high_watermark - 1), None);
        let expected: Vec<i64> = (2..high_watermark).collect();
        assert_eq!(bases(&log, 2, 10_000), expected);
    }
    let all = log.read(0, 10_000, FetchBound::LogEnd, true).unwrap();
    assert_eq!(contents(&all).0.len(), 10);
}

#[test]
fn clean_and_unclean_reopening_keep_everything() {
    for clean in [true, false] {
        let dir = TempDir::new().unwrap();
        let settings = config(&[("segment.bytes", "10000"), ("index.interval.bytes", "500")]);
        let log = open(&dir, Arc::clone(&settings), true, 0);
        for i in 0..100 {
            append(&log, &idempotent(1, 200, NOW + i, 7, 0, i as i32)).unwrap();
        }
        if clean {
            log.close(NOW).unwrap();
        }
        drop(log);
        let log = open(&dir, settings, clean, 0);
        log.set_high_watermark(i64::MAX);
        assert_eq!((log.log_start_offset(), log.log_end_offset()), (0, 100));
        assert_eq!(log.latest_epoch(), Some(3));
        let (from_start, _) = contents(&log.read(0, 1 << 20, FetchBound::LogEnd, true).unwrap());
        assert_eq!(from_start[0], 0);
        assert_eq!(bases(&log, 57, 1), [57]);
        let found = log.offset_for_timestamp(NOW + 42).unwrap().unwrap();
        assert_eq!(
            (found.offset, found.timestamp, found.leader_epoch),
            (42, NOW + 42, Some(3))
        );
        assert_eq!(log.offset_for_timestamp(NOW + 100).unwrap(), None);
        assert_eq!(log.max_timestamp_offset().unwrap().offset, 99);
        // The producer goes on where it was; its last batch is known as repeated.
        let repeated = append(&log, &idempotent(1, 200, NOW, 7, 0, 99)).unwrap();
        assert!(repeated.duplicate && repeated.first_offset == 99);
        let gap = append(&log, &idempotent(1, 200, NOW, 7, 0, 101)).unwrap_err();
        assert_eq!(gap.code(), ErrorCode::OutOfOrderSequenceNumber);
        assert_eq!(
            append(&log, &idempotent(1, 1, NOW, 7, 0, 100))
                .unwrap()
                .first_offset,
            100
        );
    }
}

/// A client repeats what was not acknowledged, maybe after more than one crash.
#[test]
fn repeated_batches_are_known_after_several_crashes() {
    let dir = TempDir::new().unwrap();
    let settings = config(&[("segment.bytes", "700")]);
    let log = open(&dir, Arc::clone(&settings), true, 0);
    for i in 0..6 {
        append(&log, &idempotent(1, 200, NOW, 7, 0, i)).unwrap();
    }
    drop(log);
    for crash in 0..3 {
        let log = open(&dir, Arc::clone(&settings), false, 0);
        for i in 1..6 {
            let repeated = append(&log, &idempotent(1, 200, NOW, 7, 0, i)).unwrap();
            let known = (repeated.duplicate, repeated.first_offset);
            assert_eq!(known, (true, i64::from(i)), "crash {crash}");
        }
    }
}

#[test]
fn retention_removes_whole_old_segments() {
    let dir = TempDir::new().unwrap();
    let settings = [
        ("segment.bytes", "1000"),
        ("retention.ms", "500"),
        ("file.delete.delay.ms", "60000"),
    ];
    let log = open(&dir, config(&settings), true, 0);
    for i in 0..30 {
        append(&log, &batch(1, 200, NOW + i * 10)).unwrap();
    }
    let segments = log.segment_count();
    assert_eq!(log.retention_pass(NOW + 400).unwrap(), 0);
    log.set_high_watermark(5);
    assert!(
        log.retention_pass(NOW + 10_000).unwrap() <= 2,
        "only below the high watermark"
    );
    log.set_high_watermark(30);
    let start = log.log_start_offset();
    assert!(log.retention_pass(NOW + 600).unwrap() > 0);
    assert!(log.log_start_offset() > start && log.segment_count() < segments);
    let error = log.read(0, 100, FetchBound::LogEnd, true).unwrap_err();
    assert!(matches!(
        error,
        ReadError::OffsetOutOfRange { requested: 0, .. }
    ));
    // All go in the end, and offsets go on.
    log.retention_pass(NOW + 100_000).unwrap();
    assert_eq!(
        (
            log.log_start_offset(),
            log.log_end_offset(),
            log.size_bytes()
        ),
        (30, 30, 0)
    );
    assert_eq!(append(&log, &batch(1, 1, NOW)).unwrap().first_offset, 30);
    let deleted = || {
        let names = std::fs::read_dir(dir.path()).unwrap();
        names
            .filter(|e| {
                e.as_ref()
                    .unwrap()
                    .file_name()
                    .to_str()
                    .unwrap()
                    .ends_with(".deleted")
            })
            .count()
    };
    assert!(deleted() > 10);
    log.remove_doomed_files(NOW + 50_000).unwrap();
    assert!(deleted() > 10);
    log.remove_doomed_files(NOW + 200_000).unwrap();
    assert_eq!(deleted(), 0);
}

#[test]
fn retention_by_size_and_compacted_topics() {
    let dir = TempDir::new().unwrap();
    let log = open(
        &dir,
        config(&[("segment.bytes", "1000"), ("retention.bytes", "2500")]),
        true,
        0,
    );
    for _ in 0..41 {
        append(&log, &batch(1, 200, NOW)).unwrap();
    }
    log.update_config(config(&[
        ("segment.bytes", "1000"),
        ("cleanup.policy", "compact"),
        ("retention.bytes", "1"),
        ("retention.ms", "1"),
    ]));
    assert_eq!(
        log.retention_pass(NOW + 1_000_000).unwrap(),
        0,
        "compacted topics are kept whole"
    );
    log.update_config(config(&[
        ("segment.bytes", "1000"),
        ("retention.bytes", "2500"),
    ]));
    log.retention_pass(NOW).unwrap();
    assert!(
        (2500..3500).contains(&log.size_bytes()),
        "{}",
        log.size_bytes()
    );
    // DeleteRecords moves the start at once, segments follow with the next pass.
    let target = log.log_end_offset() - 1;
    assert!(log.delete_records_before(target).unwrap());
    assert!(!log.delete_records_before(target - 5).unwrap());
    assert!(log.delete_records_before(target + 2).is_err());
    assert_eq!(log.log_start_offset(), target);
    log.retention_pass(NOW).unwrap();
    assert_eq!(log.segment_count(), 1);
    assert!(log.starts_within_segment());
    assert_eq!(bases(&log, target, 1000), [target]);
}

#[test]
fn truncation_resets_what_follows() {
    let dir = TempDir::new().unwrap();
    let log = open(&dir, config(&[("segment.bytes", "1000")]), true, 0);
    for i in 0..20 {
        let epoch = i / 8;
        log.append_as_leader(&idempotent(1, 200, NOW, 4, 0, i), epoch, &CLIENT)
            .unwrap();
    }
    log.set_high_watermark(20);
    assert!(log.truncate_to(9, NOW).unwrap());
    assert!(!log.truncate_to(9, NOW).unwrap());
    assert_eq!((log.log_end_offset(), log.high_watermark()), (9, 9));
    assert_eq!(log.latest_epoch(), Some(1));
    assert_eq!(log.last_sequence(4), Some(8));
    assert_eq!(log.end_offset_for_epoch(0).unwrap().end_offset, 8);
    log.append_as_leader(&idempotent(1, 200, NOW, 4, 0, 9), 5, &CLIENT)
        .unwrap();
    log.set_high_watermark(i64::MAX);
    assert_eq!(bases(&log, 9, 10_000), [9]);
    // Below all segments nothing can stay.
    assert!(log.delete_records_before(9).unwrap());
    log.retention_pass(NOW).unwrap();
    assert!(log.truncate_to(2, NOW).unwrap());
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (2, 2));
    assert_eq!((log.producer_count(), log.latest_epoch()), (0, None));
    assert_eq!(append(&log, &batch(1, 1, NOW)).unwrap().first_offset, 2);
    log.close(NOW).unwrap();
    drop(log);
    assert_eq!(open(&dir, config(&[]), true, 0).log_end_offset(), 3);
}

#[test]
fn recovery_forgets_producers_that_have_expired() {
    let dir = TempDir::new().unwrap();
    let log = open(&dir, config(&[]), true, 0);
    append(&log, &idempotent(1, 10, NOW - 86_400_000, 4, 0, 0)).unwrap();
    append(&log, &idempotent(1, 10, NOW, 5, 0, 0)).unwrap();
    assert_eq!(log.producer_count(), 2);
    drop(log);
    let log = open(&dir, config(&[]), false, 0);
    let known: Vec<i64> = log.producers().iter().map(|(id, _)| *id).collect();
    assert_eq!(known, [5]);
    append(&log, &idempotent(1, 10, NOW, 4, 0, 7)).unwrap();
    let repeated = append(&log, &idempotent(1, 10, NOW, 5, 0, 0)).unwrap();
    assert_eq!((repeated.first_offset, repeated.duplicate), (1, true));
}

#[test]
fn read_committed_stops_at_the_open_transaction_and_names_the_aborted() {
    use kafka_wire::records::control::{ControlType, EndTransactionMarker, marker_batch};
    let dir = TempDir::new().unwrap();
    let log = open(&dir, config(&[]), true, 0);
    let in_transaction = |sequence| {
        let mut builder = BatchBuilder::new(BatchBuilderOptions {
            producer_id: 8,
            producer_epoch: 0,
            base_sequence: sequence,
            transactional: true,
            ..BatchBuilderOptions::default()
        });
        builder.append(NOW, None, Some(b"v"));
        builder.build()
    };
    append(&log, &batch(1, 1, NOW)).unwrap();
    append(&log, &in_transaction(0)).unwrap();
    append(&log, &batch(1, 1, NOW)).unwrap();
    assert_eq!((log.last_stable_offset(), log.high_watermark()), (1, 3));
    let committed = |from| {
        log.read(from, 10_000, FetchBound::LastStable, true)
            .unwrap()
    };
    assert_eq!(contents(&committed(0)).0, [0]);
    assert!(committed(1).records.is_empty());
    let marker = EndTransactionMarker {
        control_type: ControlType::Abort,
        coordinator_epoch: 0,
    };
    let coordinator = AppendOptions {
        origin: AppendOrigin::Coordinator,
        ..CLIENT
    };
    let coordinator = AppendOptions { ..coordinator };
    log.append_as_leader(&marker_batch(marker, 8, 0, NOW), 3, &coordinator)
        .unwrap();
    assert_eq!(
        log.last_stable_offset(),
        1,
        "the marker is not replicated yet"
    );
    log.set_high_watermark(4);
    assert_eq!(log.last_stable_offset(), 4);
    let result = committed(0);
    assert_eq!(contents(&result).0, [0, 1, 2, 3]);
    assert_eq!(result.aborted, Some(vec![(8, 1)]));
    // A client may not write the marker itself.
    let error = append(&log, &marker_batch(marker, 8, 0, NOW)).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidRecord);
}

#[test]
fn segments_roll_by_time_and_start_again_after_an_idle_reopening() {
    let dir = TempDir::new().unwrap();
    let log = open(&dir, config(&[("segment.ms", "1000")]), true, 0);
    append(&log, &batch(1, 1, NOW)).unwrap();
    append(&log, &batch(1, 1, NOW + 1000)).unwrap();
    assert_eq!(log.segment_count(), 1);
    append(&log, &batch(1, 1, NOW + 1001)).unwrap();
    assert_eq!(log.segment_count(), 2);
    drop(log);
    let log = open(&dir, config(&[("segment.ms", "1000")]), false, 0);
    append(&log, &batch(1, 1, NOW + 2002)).unwrap();
    assert_eq!(log.segment_count(), 3);
}

#[test]
fn readers_beside_an_appender_see_whole_batches_below_the_high_watermark() {
    const APPENDS: i64 = 2000;
    let expected: i64 = (0..APPENDS).map(|i| 1 + i % 3).sum();
    let dir = TempDir::new().unwrap();
    let settings = [("segment.bytes", "20000"), ("index.interval.bytes", "1000")];
    let log = open(&dir, config(&settings), true, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for i in 0..APPENDS {
                log.append_as_leader(&batch(1 + i as usize % 3, 30, NOW), 0, &CLIENT)
                    .unwrap();
                if i % 3 == 0 {
                    log.raise_high_watermark(log.log_end_offset() - i % 2);
                }
            }
            log.raise_high_watermark(i64::MAX);
        });
        for seed in 1..3 {
            let log = &log;
            scope.spawn(move || {
                let mut from = 0;
                let mut reads = 0;
                loop {
                    let bound = [FetchBound::HighWatermark, FetchBound::LogEnd][reads % 2];
                    let result = log.read(from, 700 * seed, bound, true).unwrap();
                    let limit = match bound {
                        FetchBound::LogEnd => result.log_end_offset,
                        _ => result.high_watermark,
                    };
                    let (bases, bytes) = contents(&result);
                    assert!(bases.first().is_none_or(|first| *first <= from));
                    let last = Batches::new(&bytes)
                        .map(|b| b.unwrap().header.last_offset())
                        .max();
                    if let Some(last) = last {
                        assert!(last < limit && last >= from);
                        from = last + 1;
                    }
                    reads += 1;
                    if from == expected {
                        break;
                    }
                }
            });
        }
    });
    assert_eq!(log.log_end_offset(), expected);
}
