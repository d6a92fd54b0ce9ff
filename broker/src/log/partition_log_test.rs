//! Tests of a partition log through its public interface, on real files.

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::records::batch::{BatchBuilder, BatchBuilderOptions, Batches};
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
    produce_version: Some(9),
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
    let mut batches = Batches::new(&bytes);
    let bases = batches
        .by_ref()
        .map(|batch| {
            let batch = batch.unwrap();
            assert!(batch.crc_ok());
            batch.header.base_offset
        })
        .collect();
    assert!(batches.rest().is_empty(), "a batch was cut");
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
fn appended_batches_are_read_whole_within_bounds() {
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
