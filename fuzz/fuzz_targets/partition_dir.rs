//! A partition's directory from any bytes: segments, indexes, snapshots and epochs. Loading ends in a log or in an error that names the
//! file; reading what was loaded never panics. The first byte chooses how the broker stopped and whether checksums fit.
#![no_main]

use std::fs;
use std::sync::Arc;

use broker::log::config::LogConfig;
use broker::log::names::TopicPartition;
use broker::log::partition_dir::PartitionDir;
use broker::log::partition_read::FetchBound;
use broker::log::recovery::{LoadOptions, open_log};
use kafka_wire::records::batch::crc32c;
use libfuzzer_sys::fuzz_target;

const FILES: [&str; 8] = [
    "00000000000000000000.log",
    "00000000000000000000.index",
    "00000000000000000000.timeindex",
    "00000000000000000000.txnindex",
    "00000000000000000009.log",
    "00000000000000000009.index",
    "00000000000000000009.snapshot",
    "leader-epoch-checkpoint",
];

/// Puts right checksums into whatever looks like a batch, so that the fuzzer gets behind them.
fn repair(log: &mut [u8]) {
    let mut rest = log;
    while rest.len() >= 61 {
        let length = u32::from_be_bytes([rest[8], rest[9], rest[10], rest[11]]) as usize;
        let size = length.saturating_add(12);
        if size < 61 || size > rest.len() {
            return;
        }
        let (batch, behind) = rest.split_at_mut(size);
        let crc = crc32c(&batch[21..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
        rest = behind;
    }
}

fuzz_target!(|data: &[u8]| {
    let [form, rest @ ..] = data else { return };
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    let dir = home.path().join("t-0");
    fs::create_dir(&dir).expect("it can be made");
    let mut rest = rest;
    for name in FILES {
        let [length, more @ ..] = rest else { break };
        // A file is there if its length says so; the first gets the most.
        let scale = if name.ends_with(".log") { 8 } else { 1 };
        let (content, behind) = more.split_at((usize::from(*length) * scale).min(more.len()));
        rest = behind;
        if *length == 0 {
            continue;
        }
        let mut content = content.to_vec();
        if form & 2 == 0 && name.ends_with(".log") {
            repair(&mut content);
        }
        if form & 2 == 0 && name.ends_with(".snapshot") && content.len() > 6 {
            let crc = crc32c(&content[6..]);
            content[2..6].copy_from_slice(&crc.to_be_bytes());
        }
        fs::write(dir.join(name), content).expect("it can be written");
    }
    let config = Arc::new(LogConfig::default());
    let mut options = LoadOptions {
        clean: form & 1 == 0,
        recovery_point: i64::from(form >> 2 & 15),
        log_start_offset: i64::from(form >> 6),
        producer_expiration_ms: i64::MAX,
        now_ms: 0,
    };
    let open = |options: &LoadOptions| {
        let partition = TopicPartition::new("t", 0);
        open_log(PartitionDir::new(dir.clone()), partition, config.clone(), options)
    };
    let Ok(log) = open(&options) else { return };
    let (start, end) = (log.log_start_offset(), log.log_end_offset());
    assert!(start <= end, "{start} {end}");
    log.set_high_watermark(end);
    for offset in start..end.min(start.saturating_add(20)) {
        let _ = log.read(offset, 1000, FetchBound::LogEnd, true);
        let _ = log.offset_for_timestamp(offset);
    }
    let _ = log.max_timestamp_offset();
    if log.close(0).is_err() {
        return;
    }
    drop(log);
    // What was recovered is sound.
    if !options.clean {
        options.recovery_point = 0;
        let again = open(&options).expect("a recovered log can be opened");
        assert_eq!(again.log_end_offset(), end);
    }
});
