//! Tests of compaction on real files: random logs, random passes, crashes between and within them, against a plain model of
//! what must stay. A failure prints the seed; `TANDEM_SEED=<n>` runs that one alone, `TANDEM_ROUNDS=<n>` that many.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use kafka_wire::records::batch::{BatchHeader, BatchView};
use kafka_wire::records::batch_builder::{BatchBuilder, BatchBuilderOptions};
use kafka_wire::records::compression::{Codec, compress};
use kafka_wire::records::control::{ControlType, EndTransactionMarker, marker_batch, parse_key};
use kafka_wire::records::record::{Record, RecordHeader};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;

use crate::log::append::{AppendOptions, AppendOrigin};
use crate::log::cleaner::clean::{CleanError, CleanSettings, clean_log};
use crate::log::codec;
use crate::log::config::LogConfig;
use crate::log::entry::EntryHeader;
use crate::log::names::TopicPartition;
use crate::log::partition_dir::PartitionDir;
use crate::log::partition_log::PartitionLog;
use crate::log::recovery::{LoadOptions, open_log};
use crate::log::scan::Scanner;

const START: i64 = 1_700_000_000_000;
const DELETE_RETENTION_MS: i64 = 1000;

/// What became of a record's transaction; plain records count as committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Open,
    Committed,
    Aborted,
}

#[derive(Debug, Clone)]
struct Appended {
    record: Record,
    fate: Fate,
    /// Producer, for transactional records.
    transaction: Option<i64>,
    /// When the first pass saw this, a tombstone.
    first_cleaned_ms: Option<i64>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Producer {
    epoch: i16,
    next_sequence: i32,
    in_transaction: bool,
    /// True if the last words were data, so that the sequence must survive.
    known: bool,
}

struct Sim {
    random: StdRng,
    dir: TempDir,
    config: Arc<LogConfig>,
    log: PartitionLog,
    now_ms: i64,
    appended: BTreeMap<i64, Appended>,
    producers: BTreeMap<i64, Producer>,
    checkpoint: Option<i64>,
    /// Offset up to which a pass that was given up may have been.
    attempted: i64,
    passes: usize,
}

/// A batch as it is in the log.
struct Found {
    header: BatchHeader,
    records: Vec<Record>,
}

impl Sim {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let kind = ["CreateTime", "LogAppendTime"][usize::from(random.random_bool(0.2))];
        let segment_bytes = random.random_range(600..4000).to_string();
        let interval = random.random_range(0..600).to_string();
        let config = LogConfig::from_entries([
            ("cleanup.policy", "compact"),
            ("segment.bytes", &segment_bytes),
            ("index.interval.bytes", &interval),
            ("message.timestamp.type", kind),
            ("delete.retention.ms", &DELETE_RETENTION_MS.to_string()),
        ]);
        let (config, dir) = (Arc::new(config.unwrap()), TempDir::new().unwrap());
        let log = open(&dir, &config, true, START);
        Sim {
            random,
            dir,
            config,
            log,
            now_ms: START,
            appended: BTreeMap::new(),
            producers: BTreeMap::new(),
            checkpoint: None,
            attempted: 0,
            passes: 0,
        }
    }

    fn step(&mut self) {
        self.now_ms += self.random.random_range(0..100);
        match self.random.random_range(0..100) {
            0..60 => self.append(),
            60..80 => self.end_transaction(),
            80..94 => self.clean(),
            94..97 => self.now_ms += 2 * DELETE_RETENTION_MS,
            _ => self.reopen(),
        }
    }

    fn options(&self, origin: AppendOrigin) -> AppendOptions {
        AppendOptions {
            origin,
            now_ms: self.now_ms,
        }
    }

    fn append(&mut self) {
        let producer_id = self.random.random_range(-2i64..4);
        let mut options = BatchBuilderOptions::default();
        let mut producer = Producer::default();
        if producer_id >= 0 {
            producer = self
                .producers
                .get(&producer_id)
                .copied()
                .unwrap_or_default();
            if !producer.in_transaction {
                producer.in_transaction = self.random.random_bool(0.5);
                if self.random.random_bool(0.05) {
                    producer.epoch += 1;
                    producer.next_sequence = 0;
                }
            }
            options.producer_id = producer_id;
            options.producer_epoch = producer.epoch;
            options.base_sequence = producer.next_sequence;
            options.transactional = producer.in_transaction;
        }
        let count = self.random.random_range(1..7);
        let mut builder = BatchBuilder::new(options);
        let records: Vec<Record> = (0..count).map(|offset| self.record(offset)).collect();
        for record in &records {
            builder.push(record);
        }
        let codec = Codec::ALL[self.random.random_range(0..Codec::ALL.len())];
        let bytes = match codec {
            Codec::None => builder.build(),
            codec => {
                let packed = compress(codec, builder.payload()).unwrap().into_owned();
                builder.build_compressed(codec.id(), &packed)
            }
        };
        let origin = self.options(AppendOrigin::Client);
        let info = self.log.append_as_leader(&bytes, 0, &origin).unwrap();
        self.log.set_high_watermark(i64::MAX);
        if producer_id >= 0 {
            producer.next_sequence += count as i32;
            producer.known = true;
            self.producers.insert(producer_id, producer);
        }
        for mut record in records {
            record.offset += info.first_offset;
            if info.log_append_time_ms >= 0 {
                record.timestamp = info.log_append_time_ms;
            }
            let transaction = producer.in_transaction.then_some(producer_id);
            let fate = match transaction {
                Some(_) => Fate::Open,
                None => Fate::Committed,
            };
            let first_cleaned_ms = None;
            self.appended.insert(
                record.offset,
                Appended {
                    record,
                    fate,
                    transaction,
                    first_cleaned_ms,
                },
            );
        }
    }

    fn record(&mut self, offset: i64) -> Record {
        let key = format!("k{}", self.random.random_range(0..12));
        let value = (!self.random.random_bool(0.2)).then(|| {
            let size = self.random.random_range(0..80);
            vec![b'v'; size].into()
        });
        let mut headers = Vec::new();
        if self.random.random_bool(0.2) {
            headers.push(RecordHeader {
                key: "h".into(),
                value: None,
            });
        }
        Record {
            offset,
            timestamp: self.now_ms - self.random.random_range(0..5000),
            key: Some(key.into()),
            value,
            headers,
        }
    }

    fn end_transaction(&mut self) {
        let open: Vec<i64> = self
            .producers
            .iter()
            .filter(|p| p.1.in_transaction)
            .map(|p| *p.0)
            .collect();
        let Some(producer_id) = open.first().copied() else {
            return;
        };
        let commit = self.random.random_bool(0.5);
        let control_type = if commit {
            ControlType::Commit
        } else {
            ControlType::Abort
        };
        let marker = EndTransactionMarker {
            control_type,
            coordinator_epoch: 0,
        };
        let producer = self.producers.get_mut(&producer_id).unwrap();
        let bytes = marker_batch(marker, producer_id, producer.epoch, self.now_ms);
        producer.in_transaction = false;
        let options = self.options(AppendOrigin::Coordinator);
        self.log.append_as_leader(&bytes, 0, &options).unwrap();
        self.log.set_high_watermark(i64::MAX);
        let fate = if commit {
            Fate::Committed
        } else {
            Fate::Aborted
        };
        for appended in self.appended.values_mut() {
            if appended.transaction == Some(producer_id) && appended.fate == Fate::Open {
                appended.fate = fate;
            }
        }
    }

    fn clean(&mut self) {
        let facts = self.log.cleaning_facts().unwrap();
        let candidate = facts.candidate(self.checkpoint, self.now_ms);
        if candidate.cleanable_bytes == 0 {
            return;
        }
        let keys = self.random.random_range(2..40);
        let settings = CleanSettings {
            map_bytes: 24 * keys,
            load_factor: 0.9,
            read_bytes: self.random.random_range(100..5000),
        };
        let mut left = match self.random.random_bool(0.2) {
            true => self.random.random_range(0..60),
            false => usize::MAX,
        };
        let mut pace = |_| {
            left = left.saturating_sub(1);
            if left == 0 {
                Err(CleanError::Aborted)
            } else {
                Ok(())
            }
        };
        let cleaned = clean_log(&self.log, &candidate, &settings, self.now_ms, &mut pace);
        for entry in fs::read_dir(self.dir.path()).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(
                !name.ends_with(".cleaned") && !name.ends_with(".swap"),
                "{name} is left"
            );
        }
        let seen_until = match cleaned {
            Ok(stats) => {
                assert!(
                    stats.clean_until > candidate.first_dirty,
                    "{candidate:?} {stats:?}"
                );
                self.checkpoint = Some(stats.clean_until);
                self.passes += 1;
                // The last segment is copied to its end.
                let mut bases = facts.segments.iter().map(|segment| segment.base_offset);
                bases.find(|base| *base >= stats.clean_until).unwrap()
            }
            // Some of the segments may have been cleaned.
            Err(CleanError::Aborted) => {
                self.attempted = self.attempted.max(candidate.first_uncleanable);
                candidate.first_uncleanable
            }
            Err(error) => panic!("{error}"),
        };
        for (_, appended) in self.appended.range_mut(..seen_until) {
            appended.first_cleaned_ms.get_or_insert(self.now_ms);
        }
        self.check(self.checkpoint.unwrap_or(0));
    }

    /// Stops, or crashes, perhaps within the last steps of a compaction, and starts again.
    fn reopen(&mut self) {
        let clean = self.random.random_bool(0.5);
        if clean {
            self.log.close(self.now_ms).unwrap();
        }
        let without_snapshots = !clean && self.random.random_bool(0.5);
        for entry in fs::read_dir(self.dir.path()).unwrap() {
            let path = entry.unwrap().path();
            if without_snapshots && path.extension().is_some_and(|suffix| suffix == "snapshot") {
                fs::remove_file(path).unwrap();
            }
        }
        self.log = open(&self.dir, &self.config, clean, self.now_ms);
        self.log.set_high_watermark(i64::MAX);
        for (producer_id, producer) in &self.producers {
            let last = self.log.last_sequence(*producer_id);
            if producer.known {
                assert_eq!(
                    last,
                    Some(producer.next_sequence - 1),
                    "producer {producer_id}"
                );
            }
        }
        self.check(self.checkpoint.unwrap_or(0));
    }

    fn batches(&self) -> Vec<Found> {
        let mut found: Vec<Found> = Vec::new();
        for segment in self.log.segments.load().iter() {
            let mut scanner = Scanner::new(segment.file(), 0, segment.size());
            while let Some(entry) = scanner.next_entry().unwrap() {
                let EntryHeader::V2(header) = entry.header else {
                    panic!("an old message");
                };
                let view = BatchView::parse(scanner.bytes_of(&entry).unwrap()).unwrap();
                assert!(view.crc_ok(), "{header:?}");
                if let Some(last) = found.last() {
                    assert!(last.header.last_offset() < header.base_offset);
                }
                assert!(header.base_offset >= segment.base_offset());
                let plain = codec::decompress(&view).unwrap();
                let records = view
                    .records(&plain)
                    .map(|r| r.unwrap().to_owned_record())
                    .collect();
                found.push(Found { header, records });
            }
        }
        found
    }

    /// Compares the log with the model; below `clean_until` all superseded records must be gone.
    fn check(&self, clean_until: i64) {
        let batches = self.batches();
        let mut kept = BTreeMap::new();
        for batch in batches.iter().filter(|batch| !batch.header.is_control()) {
            for record in &batch.records {
                let original = &self.appended[&record.offset];
                assert_eq!(record, &original.record);
                let largest = batch.header.max_timestamp;
                assert!(record.timestamp <= largest, "{largest} {record:?}");
                kept.insert(record.offset, original);
            }
        }
        let mut newest: HashMap<&[u8], i64> = HashMap::new();
        for (offset, appended) in self.appended.range(..clean_until) {
            if appended.fate != Fate::Aborted {
                newest.insert(appended.record.key.as_deref().unwrap(), *offset);
            }
        }
        for (offset, appended) in &self.appended {
            let is_kept = kept.contains_key(offset);
            let key = appended.record.key.as_deref().unwrap();
            if *offset >= clean_until {
                // Aborted records go from whole segments; and a pass that was given up may have been there.
                let newer = self.appended.range(offset + 1..);
                let superseded = newer
                    .map(|a| a.1)
                    .any(|a| a.record.key.as_deref() == Some(key));
                let may_go = superseded || appended.record.value.is_none();
                assert!(
                    is_kept
                        || appended.fate == Fate::Aborted
                        || (may_go && appended.first_cleaned_ms.is_some()),
                    "{appended:?}"
                );
            } else if appended.fate == Fate::Aborted || newest[key] != *offset {
                assert!(
                    !is_kept,
                    "{offset} is kept, newest {:?}: {appended:?}",
                    newest.get(key)
                );
            } else if appended.record.value.is_some() {
                let newer = self
                    .appended
                    .range(offset + 1..self.attempted.max(offset + 1));
                let superseded = newer.map(|a| a.1).any(|newer| {
                    newer.record.key == appended.record.key && newer.fate != Fate::Aborted
                });
                assert!(is_kept || superseded, "{offset} is gone: {appended:?}");
            } else if !is_kept {
                let since = appended.first_cleaned_ms.unwrap();
                assert!(self.now_ms >= since + DELETE_RETENTION_MS, "{appended:?}");
            }
        }
        self.check_committed(&batches);
    }

    /// Reads as a consumer with read_committed does.
    fn check_committed(&self, batches: &[Found]) {
        let end = self.log.last_stable_offset();
        let mut aborted = self.log.aborted_between(0, end).unwrap();
        aborted.sort_by_key(|txn| txn.first_offset);
        let mut ahead = aborted.into_iter().peekable();
        let mut ongoing = std::collections::HashSet::new();
        for batch in batches
            .iter()
            .filter(|batch| batch.header.base_offset < end)
        {
            let header = &batch.header;
            while let Some(txn) = ahead.next_if(|txn| txn.first_offset <= header.last_offset()) {
                ongoing.insert(txn.producer_id);
            }
            if header.is_control() {
                let marker = batch
                    .records
                    .first()
                    .map(|r| parse_key(r.key.as_deref()).unwrap());
                if marker == Some(ControlType::Abort) {
                    ongoing.remove(&header.producer_id);
                }
                continue;
            }
            let skipped = header.is_transactional() && ongoing.contains(&header.producer_id);
            for record in &batch.records {
                let fate = self.appended[&record.offset].fate;
                assert_eq!(skipped, fate == Fate::Aborted, "{record:?} of {header:?}");
                assert_ne!(fate, Fate::Open);
            }
        }
    }
}

fn open(dir: &TempDir, config: &Arc<LogConfig>, clean: bool, now_ms: i64) -> PartitionLog {
    let options = LoadOptions {
        clean,
        recovery_point: 0,
        log_start_offset: 0,
        producer_expiration_ms: i64::MAX,
        now_ms,
    };
    let partition_dir = PartitionDir::new(dir.path().to_owned());
    open_log(
        partition_dir,
        TopicPartition::new("t", 0),
        config.clone(),
        &options,
    )
    .unwrap()
}

fn run(seed: u64) -> usize {
    let mut sim = Sim::new(seed);
    for _ in 0..300 {
        sim.step();
    }
    sim.passes
}

#[test]
fn random_logs_keep_what_they_must_and_nothing_else() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let rounds = number("TANDEM_ROUNDS").unwrap_or(6);
    let seeds = match number("TANDEM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..rounds,
    };
    let mut passes = 0;
    for seed in seeds {
        let result = catch_unwind(AssertUnwindSafe(|| run(seed)));
        assert!(result.is_ok(), "failed; run again with TANDEM_SEED={seed}");
        passes += result.unwrap_or_default();
    }
    println!("{passes} passes");
}

/// Every state in which a crash can leave the directory while segments are replaced, as files.
#[test]
fn a_crash_within_a_replacement_leaves_the_old_or_the_new_segments() {
    let mut sim = Sim::new(4711);
    while sim.log.segment_count() < 6 {
        sim.now_ms += 10;
        sim.append();
        sim.end_transaction();
    }
    sim.log.flush(sim.now_ms).unwrap();
    let before = files(sim.dir.path());
    let candidate = sim
        .log
        .cleaning_facts()
        .unwrap()
        .candidate(None, sim.now_ms);
    let settings = CleanSettings {
        map_bytes: 1 << 20,
        load_factor: 0.9,
        read_bytes: 1000,
    };
    // Everything becomes one segment.
    let wide =
        LogConfig::from_entries([("cleanup.policy", "compact"), ("file.delete.delay.ms", "0")]);
    sim.log.update_config(Arc::new(wide.unwrap()));
    let old_contents = contents(&sim);
    clean_log(&sim.log, &candidate, &settings, sim.now_ms, &mut |_| Ok(())).unwrap();
    let new_contents = contents(&sim);
    assert!(new_contents.len() < old_contents.len());
    let after = files(sim.dir.path());

    // The names that the files of each step have, in the order of `replace_segments`.
    let in_new = |name: &String| name.starts_with("00000000000000000000.");
    let new: Vec<&String> = after
        .keys()
        .filter(|name| in_new(name) && !name.ends_with(".deleted"))
        .collect();
    let old: Vec<String> = after
        .keys()
        .filter_map(|name| name.strip_suffix(".deleted"))
        .map(str::to_owned)
        .collect();
    let mut state = before.clone();
    for name in &new {
        state.insert(format!("{name}.cleaned"), after[*name].clone());
    }
    let mut steps: Vec<(String, String)> = Vec::new();
    steps.extend(
        new.iter()
            .map(|name| (format!("{name}.cleaned"), format!("{name}.swap"))),
    );
    steps.extend(
        old.iter()
            .map(|name| (name.clone(), format!("{name}.deleted"))),
    );
    steps.extend(
        new.iter()
            .map(|name| (format!("{name}.swap"), (*name).clone())),
    );
    let mut seen = [0, 0];
    for step in 0..=steps.len() {
        if let Some((from, to)) = step.checked_sub(1).map(|step| &steps[step]) {
            let bytes = state.remove(from).unwrap();
            state.insert(to.clone(), bytes);
        }
        let dir = TempDir::new().unwrap();
        for (name, bytes) in &state {
            fs::write(dir.path().join(name), bytes).unwrap();
        }
        sim.log = open(&dir, &sim.config, false, sim.now_ms);
        let found = contents(&sim);
        let is_new = found == new_contents;
        assert!(is_new || found == old_contents, "step {step}: {found:?}");
        seen[usize::from(is_new)] += 1;
    }
    assert_eq!(
        seen[0],
        new.len(),
        "once all files are named .swap the new segment wins"
    );
}

fn files(dir: &std::path::Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let name = |path: &std::path::Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    entries
        .map(|path| (name(&path), fs::read(&path).unwrap()))
        .collect()
}

fn contents(sim: &Sim) -> Vec<(BatchHeader, Vec<Record>)> {
    sim.batches()
        .into_iter()
        .map(|found| (found.header, found.records))
        .collect()
}
