//! Compaction of a partition's directory from any bytes: it ends, or in an error that names the file; records that are left were there
//! before, in the same order, and the log can be loaded again. The first byte chooses how, the second the offsets.
#![no_main]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use broker::log::cleaner::clean::{CleanSettings, clean_log};
use broker::log::codec;
use broker::log::config::LogConfig;
use broker::log::entry::EntryHeader;
use broker::log::names::TopicPartition;
use broker::log::partition_dir::PartitionDir;
use broker::log::recovery::{LoadOptions, open_log};
use broker::log::scan::Scanner;
use kafka_wire::records::batch::BatchView;
use kafka_wire::records::legacy::MessageView;
use libfuzzer_sys::fuzz_target;
use tandem_fuzz::fill;

/// Key and value of a record.
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
                    note(record.offset, record.key.as_deref(), record.value.as_deref());
                }
            }
        }
    }
    Some(found)
}

fuzz_target!(|data: &[u8]| {
    let [form, offsets, rest @ ..] = data else { return };
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    let dir = home.path().join("t-0");
    fs::create_dir(&dir).expect("it can be made");
    fill(&dir, *offsets, form & 2 == 0, rest);
    let config = LogConfig::from_entries([
        ("cleanup.policy", "compact"),
        ("index.interval.bytes", ["4096", "64"][usize::from(form >> 2) % 2]),
        ("segment.bytes", ["1073741824", "2000"][usize::from(form >> 3) % 2]),
        ("delete.retention.ms", ["86400000", "0"][usize::from(form >> 4) % 2]),
    ]);
    let config = Arc::new(config.expect("the configuration is sound"));
    let mut options = LoadOptions {
        clean: form & 1 == 0,
        recovery_point: 0,
        log_start_offset: 0,
        producer_expiration_ms: i64::MAX,
        now_ms: 0,
    };
    let open = |options: &LoadOptions| {
        let partition = TopicPartition::new("t", 0);
        open_log(PartitionDir::new(dir.clone()), partition, config.clone(), options)
    };
    let Ok(log) = open(&options) else { return };
    log.set_high_watermark(i64::MAX);
    let before = records(&dir);
    let settings = CleanSettings {
        map_bytes: 24 * [1000, 5][usize::from(form >> 5) % 2],
        load_factor: 0.9,
        read_bytes: 256,
    };
    let end = log.log_end_offset();
    let mut checkpoint = None;
    for pass in 0..3 {
        let Ok(facts) = log.cleaning_facts() else { return };
        let candidate = facts.candidate(checkpoint, i64::MAX);
        if candidate.cleanable_bytes == 0 {
            break;
        }
        let now_ms = 1_700_000_000_000 + pass * 100_000_000;
        let Ok(stats) = clean_log(&log, &candidate, &settings, now_ms, &mut |_| Ok(())) else { break };
        checkpoint = Some(stats.clean_until);
    }
    if let Some(before) = before {
        let after = records(&dir).expect("what is left can be taken apart");
        for (offset, left) in after {
            let all = before.get(&offset).expect("it was there before");
            assert!(left.iter().all(|record| all.contains(record)), "{offset}: {left:?} of {all:?}");
        }
    }
    log.remove_doomed_files(i64::MAX).expect("they can be removed");
    let _ = log.close(0);
    drop(log);
    if !options.clean {
        options.recovery_point = end;
        let again = open(&options).expect("a compacted log can be opened");
        assert!(again.log_end_offset() <= end);
    }
});
