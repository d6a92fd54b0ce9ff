//! A partition's directory from any bytes: segments, indexes, snapshots and epochs. Loading ends in a log or in an error that names the
//! file; reading what was loaded never panics. The first byte chooses how the broker stopped and whether checksums fit, the second the
//! offsets.
#![no_main]

use std::fs;
use std::sync::Arc;

use broker::log::config::LogConfig;
use broker::log::names::TopicPartition;
use broker::log::partition_dir::PartitionDir;
use broker::log::partition_read::FetchBound;
use broker::log::recovery::{LoadOptions, open_log};
use libfuzzer_sys::fuzz_target;
use tandem_fuzz::fill;

fuzz_target!(|data: &[u8]| {
    let [form, offsets, rest @ ..] = data else { return };
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    let dir = home.path().join("t-0");
    fs::create_dir(&dir).expect("it can be made");
    fill(&dir, *offsets, form & 2 == 0, rest);
    let interval = ["4096", "100", "0"][usize::from(form >> 5) % 3];
    let config = LogConfig::from_entries([("index.interval.bytes", interval)]);
    let config = Arc::new(config.expect("the configuration is sound"));
    let options = LoadOptions {
        clean: form & 1 == 0,
        recovery_point: [0, 0, 96, i64::MAX][usize::from(form >> 2) % 4],
        log_start_offset: i64::from(form >> 4 & 1) * 30,
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
    for offset in (start..end.min(start.saturating_add(20))).chain(end.saturating_sub(5).max(start)..end) {
        let _ = log.read(offset, 1000, FetchBound::LogEnd, true);
        let _ = log.offset_for_timestamp(offset);
    }
    let _ = log.max_timestamp_offset();
    if log.close(0).is_err() {
        return;
    }
    drop(log);
    // What was recovered is sound; what was below the recovery point has not been looked at.
    if !options.clean {
        let again = open(&options).expect("a recovered log can be opened");
        assert_eq!(again.log_end_offset(), end);
    }
});
