//! Files that Apache's broker wrote, changed at random: logs load, are read and compacted, or say which file is bad; nothing panics.
//! A stable relative of the fuzz targets `partition_dir`, `cleaner` and `indexes`. A failure prints its seed; `TANDEM_SEED=<n>` runs that
//! one alone, `TANDEM_FUZZ_ROUNDS=<n>` that many.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "this is a test")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use broker::log::cleaner::clean::{CleanError, CleanSettings, clean_log};
use broker::log::codec;
use broker::log::config::LogConfig;
use broker::log::entry::EntryHeader;
use broker::log::names::TopicPartition;
use broker::log::partition_dir::PartitionDir;
use broker::log::partition_log::PartitionLog;
use broker::log::partition_read::FetchBound;
use broker::log::recovery::{LoadOptions, open_log};
use broker::log::scan::Scanner;
use kafka_wire::records::batch::{BatchView, crc32, crc32c};
use kafka_wire::records::legacy::MessageView;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/log")
        .join(name)
}

/// Gives whatever looks like a batch or message its checksum.
fn mend_log(log: &mut [u8]) {
    let mut rest = log;
    while rest.len() > 26 {
        let length = u32::from_be_bytes([rest[8], rest[9], rest[10], rest[11]]) as usize;
        let size = length.saturating_add(12);
        if size < 26 || size > rest.len() {
            return;
        }
        let (batch, behind) = rest.split_at_mut(size);
        let (at, sum) = match batch[16] {
            0 | 1 => (12, crc32(&batch[16..])),
            _ => (17, crc32c(&batch[21..])),
        };
        batch[at..at + 4].copy_from_slice(&sum.to_be_bytes());
        rest = behind;
    }
}

/// Where the batches of a log begin.
fn starts(log: &[u8]) -> Vec<usize> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(head) = log.get(at..at + 12) {
        found.push(at);
        at += 12 + u32::from_be_bytes([head[8], head[9], head[10], head[11]]) as usize;
    }
    found
}

/// Changes a file at some places, often in the headers of batches and with numbers at the edge.
fn spoil(random: &mut StdRng, name: &str, bytes: &mut Vec<u8>) {
    const EDGES: [i64; 8] = [
        0,
        -1,
        1,
        i64::MAX,
        i64::MIN,
        i32::MAX as i64,
        i32::MIN as i64,
        1 << 32,
    ];
    let starts = if name.ends_with(".log") {
        starts(bytes)
    } else {
        vec![0]
    };
    for _ in 0..random.random_range(1..4) {
        if bytes.is_empty() {
            return;
        }
        let any = random.random_range(0..bytes.len());
        let start = starts[random.random_range(0..starts.len())];
        let at = match random.random_bool(0.7) {
            true => (start + random.random_range(0..75)).min(bytes.len() - 1),
            false => any,
        };
        match random.random_range(0..12) {
            0..5 => bytes[at] ^= 1 << random.random_range(0..8),
            5..7 => bytes[at] = random.random(),
            7..10 => {
                let edge = EDGES[random.random_range(0..EDGES.len())];
                let width = [2, 4, 8][random.random_range(0..3)];
                let number = &edge.to_be_bytes()[8 - width..];
                for (byte, new) in bytes[at..].iter_mut().zip(number) {
                    *byte = *new;
                }
            }
            10 => bytes.truncate(any),
            _ => bytes.extend_from_within(start.min(any)..any),
        }
    }
}

/// A changed copy of a golden directory.
fn spoiled(random: &mut StdRng, dir: &Path) {
    let from = golden(["unclean", "recovered"][usize::from(random.random_bool(0.5))]).join("mix-0");
    let far = random.random_bool(0.05).then(|| {
        [
            "00000000002147483648",
            "09223372036854775807",
            "09223372036854775700",
        ][random.random_range(0..3)]
    });
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let mut name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let mut bytes = fs::read(&path).unwrap();
        let log = name.ends_with(".log");
        if random.random_bool(if log { 0.7 } else { 0.3 }) {
            spoil(random, &name, &mut bytes);
        }
        if random.random_bool(0.9) {
            if log {
                mend_log(&mut bytes);
            } else if name.ends_with(".snapshot") && bytes.len() > 6 {
                let sum = crc32c(&bytes[6..]);
                bytes[2..6].copy_from_slice(&sum.to_be_bytes());
            }
        }
        if let Some(far) = far {
            name = name.replace("00000000000000000096", far);
        }
        if random.random_bool(0.97) {
            fs::write(dir.join(name), bytes).unwrap();
        }
    }
}

type Record = (Option<Vec<u8>>, Option<Vec<u8>>);

/// The records of all segments by offset; `None` if a batch cannot be taken apart.
fn records(dir: &Path) -> Option<BTreeMap<i64, Vec<Record>>> {
    let mut found: BTreeMap<i64, Vec<Record>> = BTreeMap::new();
    for entry in fs::read_dir(dir).ok()? {
        let path = entry.ok()?.path();
        if path.extension().is_none_or(|suffix| suffix != "log") {
            continue;
        }
        let file = File::open(&path).ok()?;
        let mut scanner = Scanner::new(&file, 0, file.metadata().ok()?.len());
        while let Some(entry) = scanner.next_entry().ok()? {
            let bytes = scanner.bytes_of(&entry).ok()?;
            let mut note = |offset, key: Option<&[u8]>, value: Option<&[u8]>| {
                let record = (key.map(<[u8]>::to_vec), value.map(<[u8]>::to_vec));
                found.entry(offset).or_default().push(record);
            };
            if let EntryHeader::V2(_) = entry.header {
                let view = BatchView::parse(bytes).ok()?;
                let plain = codec::decompress(&view).ok()?;
                for record in view.records(&plain) {
                    let record = record.ok()?;
                    note(record.offset, record.key, record.value);
                }
            } else {
                for record in MessageView::parse(bytes).ok()?.records(1 << 28).ok()? {
                    note(
                        record.offset,
                        record.key.as_deref(),
                        record.value.as_deref(),
                    );
                }
            }
        }
    }
    Some(found)
}

fn read_all(log: &PartitionLog) {
    let (start, end) = (log.log_start_offset(), log.log_end_offset());
    assert!(start <= end, "{start} {end}");
    log.set_high_watermark(end);
    let first = start..end.min(start.saturating_add(100));
    for offset in first.chain(end.saturating_sub(3).max(start)..end) {
        let _ = log.read(offset, 1000, FetchBound::LogEnd, true);
        let _ = log.offset_for_timestamp(1_700_000_000_000 + offset % 1000);
    }
    let _ = log.max_timestamp_offset();
}

/// Compacts three times; what is left was there before.
fn compact(random: &mut StdRng, log: &PartitionLog, dir: &Path) {
    let before = records(dir);
    log.set_high_watermark(i64::MAX);
    let settings = CleanSettings {
        map_bytes: 24 * random.random_range(3..200),
        load_factor: 0.9,
        read_bytes: random.random_range(100..5000),
    };
    let mut checkpoint = None;
    for pass in 0..3 {
        let Ok(facts) = log.cleaning_facts() else {
            return;
        };
        let candidate = facts.candidate(checkpoint, i64::MAX);
        if candidate.cleanable_bytes == 0 {
            break;
        }
        let now_ms = 1_800_000_000_000 + pass * 100_000_000;
        match clean_log(log, &candidate, &settings, now_ms, &mut |_| Ok(())) {
            Ok(stats) => checkpoint = Some(stats.clean_until),
            // A segment was split; the next pass finds its pieces.
            Err(CleanError::Aborted) => {}
            Err(error) => {
                assert!(error.to_string().contains(".log"), "{error}");
                break;
            }
        }
    }
    let Some(before) = before else { return };
    for (offset, left) in records(dir).expect("what is left can be taken apart") {
        let all = before.get(&offset).expect("it was there before");
        assert!(
            left.iter().all(|record| all.contains(record)),
            "{offset}: {left:?} of {all:?}"
        );
    }
}

fn round(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("t-0");
    fs::create_dir(&dir).unwrap();
    spoiled(&mut random, &dir);
    let pick = |random: &mut StdRng, of: &[&'static str]| of[random.random_range(0..of.len())];
    let config = LogConfig::from_entries([
        ("cleanup.policy", "compact"),
        (
            "index.interval.bytes",
            pick(&mut random, &["4096", "64", "0"]),
        ),
        ("segment.bytes", pick(&mut random, &["1073741824", "2000"])),
        ("delete.retention.ms", pick(&mut random, &["86400000", "0"])),
    ]);
    let config = Arc::new(config.unwrap());
    let mut options = LoadOptions {
        clean: random.random_bool(0.4),
        recovery_point: [0, 0, 96, i64::MAX][random.random_range(0..4)],
        log_start_offset: [0, 0, 0, 30, 120][random.random_range(0..5)],
        producer_expiration_ms: i64::MAX,
        now_ms: 0,
    };
    let open = |options: &LoadOptions| {
        let partition = TopicPartition::new("t", 0);
        open_log(
            PartitionDir::new(dir.clone()),
            partition,
            config.clone(),
            options,
        )
    };
    let log = match open(&options) {
        Ok(log) => log,
        Err(error) => {
            assert!(error.to_string().contains("t-0/"), "{error}");
            return;
        }
    };
    read_all(&log);
    let end = log.log_end_offset();
    if random.random_bool(0.7) {
        compact(&mut random, &log, &dir);
        log.remove_doomed_files(i64::MAX).unwrap();
        read_all(&log);
    }
    let closed = log.close(0).is_ok();
    drop(log);
    // What was recovered is sound.
    if !options.clean && closed {
        let again = open(&options).expect("what was left can be opened");
        assert!(again.log_end_offset() <= end);
        drop(again);
        options.clean = true;
        let again = open(&options).expect("what was left can be opened");
        assert!(again.log_end_offset() <= end);
    }
}

#[test]
fn changed_directories_are_loaded_read_and_compacted_or_refused() {
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let seeds = match number("TANDEM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TANDEM_FUZZ_ROUNDS").unwrap_or(300),
    };
    for seed in seeds {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| round(seed))) {
            println!("TANDEM_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
