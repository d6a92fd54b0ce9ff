//! Producers, last stable offset, transaction indexes and snapshots of a log on real files against a plain model, from
//! seeds: appends right and wrong, markers, high watermarks, deleted records, expiry, truncation, clean and unclean
//! restarts, torn tails, broken snapshots. A failure prints the seed; `TANDEM_SEED=<n>` runs that one alone,
//! `TANDEM_ROUNDS=<n>` that many.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::PathBuf;

use kafka_wire::records::batch::Batches;
use kafka_wire::records::batch_builder::{BatchBuilder, BatchBuilderOptions};
use kafka_wire::records::control::{ControlType, marker_batch};
use kafka_wire::wire::Records;
use std::os::unix::fs::FileExt;
use tempfile::TempDir;

use super::*;
use crate::log::append::{AppendError, AppendOptions};
use crate::log::config::LogConfig;
use crate::log::names::TopicPartition;
use crate::log::partition_dir::PartitionDir;
use crate::log::partition_log::PartitionLog;
use crate::log::partition_read::FetchBound;
use crate::log::producer_state::{ProducerEntry, ProducerError};
use crate::log::recovery::{LoadOptions, open_log};

const NOW: i64 = 1_700_000_000_000;
const EXPIRATION_MS: i64 = 300;
const STEPS: usize = 120;

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit.max(1)
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1).max(1) as usize) as i64
    }
}

/// A batch that was appended.
#[derive(Debug, Clone, Copy)]
struct Written {
    base: i64,
    last: i64,
    id: i64,
    epoch: i16,
    sequence: i32,
    timestamp: i64,
    kind: Kind,
    bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Data { transactional: bool },
    Marker { commit: bool, coordinator: i32 },
}

/// A producer, told plainly.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    epoch: i16,
    /// First and last sequence number, first offset; oldest first.
    recent: Vec<(i32, i32, i64)>,
    coordinator: i32,
    timestamp: i64,
    open: Option<i64>,
}

/// Epoch, last batch, coordinator epoch, time, first offset of the open transaction.
type Gist = (i16, Option<(i32, i32, i64)>, i32, i64, Option<i64>);

impl Known {
    fn nobody() -> Known {
        Known {
            epoch: -1,
            recent: Vec::new(),
            coordinator: -1,
            timestamp: -1,
            open: None,
        }
    }

    fn of(entry: &ProducerEntry) -> Known {
        let batches = entry.batches.as_slice().iter();
        Known {
            epoch: entry.epoch,
            recent: batches
                .map(|b| (b.first_sequence(), b.last_sequence, b.first_offset()))
                .collect(),
            coordinator: entry.coordinator_epoch,
            timestamp: entry.last_timestamp,
            open: entry.txn_first_offset,
        }
    }

    /// All but which of the earlier batches are remembered.
    fn gist(&self) -> Gist {
        let last = self.recent.last().copied();
        (
            self.epoch,
            last,
            self.coordinator,
            self.timestamp,
            self.open,
        )
    }

    /// Takes a batch; answers the transaction that it ends.
    fn take(&mut self, batch: &Written) -> Option<i64> {
        if self.epoch != batch.epoch {
            self.recent.clear();
            self.epoch = batch.epoch;
        }
        self.timestamp = batch.timestamp;
        match batch.kind {
            Kind::Data { transactional } => {
                let last = batch.last_sequence();
                self.recent.push((batch.sequence, last, batch.base));
                if self.recent.len() > 5 {
                    self.recent.remove(0);
                }
                if transactional && self.open.is_none() {
                    self.open = Some(batch.base);
                }
                None
            }
            Kind::Marker { coordinator, .. } => {
                self.coordinator = coordinator;
                self.open.take()
            }
        }
    }
}

impl Written {
    fn last_sequence(&self) -> i32 {
        let last = i64::from(self.sequence) + self.last - self.base;
        (last % (1 << 31)) as i32
    }
}

#[derive(Debug, Clone, Copy)]
struct Ended {
    id: i64,
    first: i64,
    marker: i64,
    aborted: bool,
}

struct Sim {
    random: Random,
    dir: TempDir,
    log: Option<PartitionLog>,
    clock: i64,
    batches: Vec<Written>,
    known: BTreeMap<i64, Known>,
    ended: Vec<Ended>,
    /// First offset and marker of those whose marker is above the high watermark.
    unreplicated: Vec<(i64, i64)>,
    /// Producers that were forgotten once: the log may bring them back.
    expired: HashSet<i64>,
    /// Snapshots of which a bit was flipped.
    spoilt: HashSet<i64>,
    start: i64,
    end: i64,
    high_watermark: i64,
    trace: Vec<String>,
}

impl Sim {
    fn new(seed: u64) -> Sim {
        let mut sim = Sim {
            random: Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            dir: TempDir::new().unwrap(),
            log: None,
            clock: 0,
            batches: Vec::new(),
            known: BTreeMap::new(),
            ended: Vec::new(),
            unreplicated: Vec::new(),
            expired: HashSet::new(),
            spoilt: HashSet::new(),
            start: 0,
            end: 0,
            high_watermark: 0,
            trace: Vec::new(),
        };
        sim.open(true, 0);
        sim
    }

    fn now(&self) -> i64 {
        NOW + self.clock
    }

    fn log(&self) -> &PartitionLog {
        self.log.as_ref().unwrap()
    }

    fn open(&mut self, clean: bool, recovery_point: i64) {
        let options = LoadOptions {
            clean,
            recovery_point,
            log_start_offset: self.start,
            producer_expiration_ms: EXPIRATION_MS,
            now_ms: self.now(),
        };
        let entries = [("segment.bytes", "900"), ("index.interval.bytes", "200")];
        let config = LogConfig::from_entries(entries).unwrap();
        let dir = PartitionDir::new(self.dir.path().to_owned());
        let log = open_log(dir, TopicPartition::new("t", 0), config.into(), &options).unwrap();
        self.log = Some(log);
    }

    fn step(&mut self) {
        self.clock += 1;
        match self.random.below(100) {
            0..=54 => self.produce(),
            55..=72 => self.mark(),
            73..=82 => self.raise_high_watermark(),
            83..=85 => self.delete_records(),
            86 => self.expire(),
            87..=89 => self.truncate(),
            90..=92 => self.log().flush(NOW).unwrap(),
            93..=95 => self.restart_cleanly(),
            _ => self.restart_uncleanly(),
        }
        self.check();
    }

    fn produce(&mut self) {
        let id = 1 + self.random.below(4) as i64;
        let known = self.known.get(&id).cloned().unwrap_or_else(Known::nobody);
        let epoch = match self.random.below(25) {
            0 => known.epoch - 1,
            1 => known.epoch + 1,
            _ => known.epoch,
        };
        let last = known.recent.last().map_or(-1, |batch| batch.1);
        let first_ever = if id == 1 { i32::MAX - 3 } else { 0 };
        let again = self.random.below(known.recent.len());
        let (sequence, count) = match (self.random.below(14), known.recent.get(again)) {
            (0, _) => (last.wrapping_add(2).max(0), 1),
            (1, _) => (0, 2),
            (2 | 3, Some((first, last, _))) => (
                *first,
                (i64::from(*last) - i64::from(*first)).rem_euclid(1 << 31) as usize + 1,
            ),
            _ if known.epoch < 0 => (first_ever, 1 + self.random.below(4)),
            _ if epoch != known.epoch => (0, 1 + self.random.below(4)),
            _ => (increment(last), 1 + self.random.below(4)),
        };
        let transactional = match id {
            1 => false,
            _ => known.open.is_some() && !self.random.chance(4) || self.random.chance(70),
        };
        let batch = Written {
            base: self.end,
            last: self.end + count as i64 - 1,
            id,
            epoch: epoch.max(0),
            sequence,
            timestamp: self.now(),
            kind: Kind::Data { transactional },
            bytes: 0,
        };
        let mut builder = BatchBuilder::new(BatchBuilderOptions {
            producer_id: id,
            producer_epoch: batch.epoch,
            base_sequence: sequence,
            transactional,
            ..BatchBuilderOptions::default()
        });
        for _ in 0..count {
            builder.append(batch.timestamp, Some(b"k"), Some(&[b'v'; 20]));
        }
        let expected = self.expect(&batch);
        self.append(batch, &builder.build(), AppendOrigin::Client, &expected);
    }

    fn mark(&mut self) {
        let id = 2 + self.random.below(3) as i64;
        let known = self.known.get(&id).cloned().unwrap_or_else(Known::nobody);
        let epoch = match self.random.below(12) {
            0 => known.epoch - 1,
            1 | 2 => known.epoch + 1,
            _ => known.epoch,
        };
        let coordinator = match self.random.below(15) {
            0 => known.coordinator - 1,
            1 => known.coordinator + 1,
            _ => known.coordinator,
        };
        let (coordinator, commit) = (coordinator.max(0), self.random.chance(50));
        let batch = Written {
            base: self.end,
            last: self.end,
            id,
            epoch: epoch.max(0),
            sequence: -1,
            timestamp: self.now(),
            kind: Kind::Marker {
                commit,
                coordinator,
            },
            bytes: 0,
        };
        let marker = EndTransactionMarker {
            control_type: if commit {
                ControlType::Commit
            } else {
                ControlType::Abort
            },
            coordinator_epoch: coordinator,
        };
        let bytes = marker_batch(marker, id, batch.epoch, batch.timestamp);
        let expected = self.expect(&batch);
        self.append(batch, &bytes, AppendOrigin::Coordinator, &expected);
    }

    /// What is to become of a batch.
    fn expect(&self, batch: &Written) -> String {
        let known = self
            .known
            .get(&batch.id)
            .cloned()
            .unwrap_or_else(Known::nobody);
        let refused = str::to_owned;
        match batch.kind {
            Kind::Marker { coordinator, .. } => {
                if batch.epoch < known.epoch {
                    return refused("epoch");
                }
                if coordinator < known.coordinator {
                    return refused("coordinator");
                }
            }
            Kind::Data { transactional } => {
                let same = |old: &&(i32, i32, i64)| {
                    (old.0, old.1) == (batch.sequence, batch.last_sequence())
                };
                if let Some(old) = known.recent.iter().find(same)
                    && known.epoch == batch.epoch
                {
                    return refused(&format!("duplicate of {}", old.2));
                }
                if batch.epoch < known.epoch {
                    return refused("epoch");
                }
                let last = known.recent.last().map_or(-1, |old| old.1);
                let in_order = match batch.epoch == known.epoch {
                    true => batch.sequence == increment(last),
                    false => batch.sequence == 0,
                };
                if known.epoch >= 0 && !in_order {
                    return refused("sequence");
                }
                if known.open.is_some() && !transactional {
                    return refused("transactional");
                }
            }
        }
        refused("written")
    }

    fn append(
        &mut self,
        mut batch: Written,
        bytes: &bytes::Bytes,
        origin: AppendOrigin,
        expected: &str,
    ) {
        let options = AppendOptions {
            origin,
            now_ms: self.now(),
        };
        let outcome = match self.log().append_as_leader(bytes, 0, &options) {
            Ok(info) if info.duplicate => format!("duplicate of {}", info.first_offset),
            Ok(info) => {
                assert_eq!(
                    (info.first_offset, info.last_offset),
                    (batch.base, batch.last)
                );
                "written".to_owned()
            }
            Err(AppendError::Producer(error)) => match error {
                ProducerError::InvalidEpoch { .. } => "epoch",
                ProducerError::OutOfOrderSequence { .. } => "sequence",
                ProducerError::NotTransactional { .. } => "transactional",
                ProducerError::CoordinatorFenced { .. } => "coordinator",
                _ => "verification",
            }
            .to_owned(),
            Err(error) => panic!("{error}"),
        };
        self.trace.push(format!("{batch:?}: {outcome}"));
        assert_eq!(outcome, expected);
        if outcome != "written" {
            return;
        }
        batch.bytes = bytes.len();
        self.batches.push(batch);
        self.end = batch.last + 1;
        let known = self.known.entry(batch.id).or_insert_with(Known::nobody);
        if let Some(first) = known.take(&batch) {
            let commit = matches!(batch.kind, Kind::Marker { commit: true, .. });
            self.ended.push(Ended {
                id: batch.id,
                first,
                marker: batch.base,
                aborted: !commit,
            });
            self.unreplicated.push((first, batch.base));
        }
    }

    fn raise_high_watermark(&mut self) {
        let to = self.some_end(self.high_watermark);
        self.raise_to(to);
    }

    /// An offset at which a batch ends, the log's end if there is none above `low`.
    fn some_end(&mut self, low: i64) -> i64 {
        let ends = self.batches.iter().map(|batch| batch.last + 1);
        let ends: Vec<i64> = ends.filter(|end| *end >= low).collect();
        let end = ends.get(self.random.below(ends.len())).copied();
        end.unwrap_or(self.end)
    }

    fn raise_to(&mut self, to: i64) {
        self.trace.push(format!("high watermark {to}"));
        self.log().raise_high_watermark(to);
        self.high_watermark = self.high_watermark.max(to);
        self.unreplicated.retain(|(_, marker)| *marker >= to);
    }

    fn delete_records(&mut self) {
        let most = self.high_watermark.min(self.start + 12);
        let to = self.random.between(self.start, most.max(self.start));
        self.trace.push(format!("delete up to {to}"));
        self.log().delete_records_before(to).unwrap();
        if to > self.start {
            self.start = to;
            self.unreplicated.retain(|(_, marker)| *marker >= to);
        }
        if self.random.chance(70) {
            self.log().retention_pass(NOW).unwrap();
            self.log().remove_doomed_files(i64::MAX).unwrap();
        }
    }

    fn expire(&mut self) {
        self.clock += self.random.below(EXPIRATION_MS as usize * 2) as i64;
        let now = self.now();
        self.trace.push(format!("expire at {}", self.clock));
        self.log().expire_producers(now);
        let expired = &mut self.expired;
        self.known.retain(|id, known| {
            let stays = known.open.is_some() || now - known.timestamp < EXPIRATION_MS;
            if !stays {
                expired.insert(*id);
            }
            stays
        });
    }

    fn truncate(&mut self) {
        let low = self.start.max(self.end - 30);
        let to = self.some_end(low);
        self.trace.push(format!("truncate to {to}"));
        let was_end = self.end;
        self.log().truncate_to(to, self.now()).unwrap();
        if to >= was_end {
            return;
        }
        self.lose(to);
        self.high_watermark = self.high_watermark.min(to);
        assert_eq!(self.log().log_end_offset(), self.end);
        self.adopt();
        if self.high_watermark == self.end {
            self.check();
        }
        let end = self.end;
        self.raise_to(end);
    }

    /// The log ends at `offset` now.
    fn lose(&mut self, offset: i64) {
        self.batches.retain(|batch| batch.last < offset);
        self.ended.retain(|ended| ended.marker < offset);
        self.end = offset;
    }

    fn restart_cleanly(&mut self) {
        self.trace.push("clean restart".to_owned());
        self.log().close(self.now()).unwrap();
        let recovery_point = self.log().recovery_point();
        assert_eq!(recovery_point, self.end);
        if self.random.chance(20) {
            self.spoil_snapshot(false);
        }
        self.log = None;
        self.open(true, recovery_point);
        self.after_restart();
    }

    fn restart_uncleanly(&mut self) {
        let mut recovery_point = self.log().recovery_point();
        self.log = None;
        if self.random.chance(30) {
            let removed = self.random.chance(50);
            self.spoil_snapshot(removed);
        }
        if self.random.chance(50) {
            self.tear();
            recovery_point = recovery_point.min(self.end);
        }
        self.trace.push(format!(
            "unclean restart, recovery point {recovery_point}, end {}",
            self.end
        ));
        self.open(false, recovery_point);
        self.after_restart();
    }

    fn after_restart(&mut self) {
        assert_eq!(self.log().log_end_offset(), self.end);
        assert_eq!(self.log().log_start_offset(), self.start);
        self.adopt();
        self.high_watermark = self.start;
        self.raise_to(self.end);
    }

    /// Cuts the newest segment within a batch that is not deleted.
    fn tear(&mut self) {
        let (base, path) = self.files(".log").pop().unwrap();
        let held: Vec<Written> = self
            .batches
            .iter()
            .filter(|b| b.base >= base)
            .copied()
            .collect();
        let size: usize = held.iter().map(|batch| batch.bytes).sum();
        let keep = self.random.below(size + 1);
        let mut position = 0;
        for batch in held {
            position += batch.bytes;
            if position > keep {
                if batch.base < self.start {
                    return;
                }
                let file = fs::OpenOptions::new().write(true).open(path).unwrap();
                file.set_len(keep as u64).unwrap();
                self.trace.push(format!("torn at {}", batch.base));
                // What is left ends where the batch before the lost one ends.
                let before = self.batches.iter().filter(|b| b.base < batch.base);
                let end = before.map(|b| b.last + 1).max().unwrap_or(0).max(base);
                self.lose(batch.base);
                self.end = end;
                return;
            }
        }
    }

    fn spoil_snapshot(&mut self, remove: bool) {
        let Some((offset, path)) = self.files(".snapshot").pop() else {
            return;
        };
        self.trace
            .push(format!("spoilt snapshot {offset}, removed {remove}"));
        if remove {
            return fs::remove_file(path).unwrap();
        }
        self.spoilt.insert(offset);
        let mut bytes = fs::read(&path).unwrap();
        let at = self.random.below(bytes.len());
        bytes[at] ^= 1 << self.random.below(8);
        fs::write(path, bytes).unwrap();
    }

    fn files(&self, suffix: &str) -> Vec<(i64, PathBuf)> {
        let entries = fs::read_dir(self.dir.path()).unwrap();
        let mut files: Vec<(i64, PathBuf)> = entries
            .map(|entry| entry.unwrap().path())
            .filter_map(|path| {
                let name = path.file_name()?.to_str()?;
                let offset = name.strip_suffix(suffix)?.parse().ok()?;
                Some((offset, path))
            })
            .collect();
        files.sort();
        files
    }

    /// The producers as all batches below an offset make them.
    fn replayed(&self, below: i64) -> BTreeMap<i64, Known> {
        let mut known: BTreeMap<i64, Known> = BTreeMap::new();
        for batch in self.batches.iter().filter(|batch| batch.base < below) {
            let entry = known.entry(batch.id).or_insert_with(Known::nobody);
            entry.take(batch);
        }
        known
    }

    /// Nothing of a producer was deleted or forgotten, and no snapshot had a reason to leave it out: what is known of
    /// it after a restart is certain.
    fn is_certain(&self, id: i64) -> bool {
        let now = self.now();
        let mut own = self.batches.iter().filter(|batch| batch.id == id);
        let is_there =
            |batch: &Written| batch.base >= self.start && now - batch.timestamp < EXPIRATION_MS;
        !self.expired.contains(&id) && own.all(is_there)
    }

    /// After state was read from files: what is certain must be there; the rest may be, and then counts.
    fn adopt(&mut self) {
        let found: BTreeMap<i64, ProducerEntry> = self.log().producers().into_iter().collect();
        let replayed = self.replayed(self.end);
        for id in found.keys() {
            assert!(replayed.contains_key(id), "producer {id} came from nowhere");
        }
        let mut adopted = BTreeMap::new();
        for (id, expected) in replayed {
            let found = found.get(&id).map(Known::of);
            if self.is_certain(id) {
                let found = found.as_ref().map(Known::gist);
                assert_eq!(found, Some(expected.gist()), "producer {id}");
            }
            if let Some(found) = found {
                let is_suffix = expected.recent.ends_with(&found.recent);
                assert!(is_suffix, "producer {id}: {found:?} is not of {expected:?}");
                adopted.insert(id, found);
            } else {
                self.expired.insert(id);
            }
        }
        self.known = adopted;
        self.unreplicated.clear();
    }

    fn check(&self) {
        let log = self.log();
        assert_eq!(log.log_end_offset(), self.end);
        let open = self.known.values().filter_map(|known| known.open);
        let unreplicated = self.unreplicated.iter().map(|(first, _)| *first);
        let unstable = open.chain(unreplicated).min();
        let expected = unstable.map_or(i64::MAX, |first| first.max(self.start));
        let last_stable = expected.min(self.high_watermark);
        assert_eq!(log.last_stable_offset(), last_stable, "last stable offset");
        let found: Vec<(i64, Known)> = log
            .producers()
            .iter()
            .map(|(id, e)| (*id, Known::of(e)))
            .collect();
        let gists = |all: &mut dyn Iterator<Item = (i64, Known)>| {
            all.map(|(id, known)| (id, known.gist()))
                .collect::<Vec<_>>()
        };
        let mut known = self.known.iter().map(|(id, known)| (*id, known.clone()));
        assert_eq!(gists(&mut found.into_iter()), gists(&mut known));
        self.check_snapshots();
        self.check_aborted(last_stable);
    }

    /// Each snapshot tells what the batches below it make of the producers that nothing was lost of.
    fn check_snapshots(&self) {
        for (offset, path) in self.files(".snapshot") {
            let bytes = fs::read(path).unwrap();
            let Ok(states) = ProducerStates::from_snapshot(&bytes, offset, NOW, i64::MAX) else {
                assert!(self.spoilt.contains(&offset), "snapshot {offset}");
                continue;
            };
            for (id, expected) in self.replayed(offset) {
                if self.is_certain(id) {
                    let found = states.producers().get(&id).map(Known::of);
                    let found = found.as_ref().map(Known::gist);
                    assert_eq!(found, Some(expected.gist()), "snapshot {offset} of {id}");
                }
            }
        }
    }

    /// A reader of stable records is told of those aborted transactions that have some among them, and of no others.
    fn check_aborted(&self, last_stable: i64) {
        for from in [self.start, (self.start + last_stable) / 2] {
            if from >= last_stable {
                continue;
            }
            let read = self
                .log()
                .read(from, 1 << 20, FetchBound::LastStable, true)
                .unwrap();
            let end = end_of(&read.records).min(last_stable);
            let mut told = read.aborted.unwrap_or_default();
            told.sort_unstable();
            let count = told.len();
            told.dedup();
            assert_eq!(count, told.len(), "told twice: {told:?}");
            let aborted = self
                .ended
                .iter()
                .filter(|ended| ended.aborted && ended.marker >= from);
            let aborted: Vec<&Ended> = aborted.collect();
            for ended in &aborted {
                let is_needed = ended.first >= self.start && ended.first < end;
                assert!(
                    !is_needed || told.contains(&(ended.id, ended.first)),
                    "{ended:?} is not in {told:?}"
                );
            }
            for (id, first) in told {
                let is_it = |ended: &&&Ended| {
                    ended.id == id && (ended.first == first || ended.first < self.start)
                };
                assert!(
                    aborted.iter().any(|ended| is_it(&ended)),
                    "{id} at {first} was not aborted"
                );
            }
        }
    }
}

/// Behind the last whole batch.
fn end_of(records: &Records) -> i64 {
    let bytes = match records {
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
    let last = Batches::new(&bytes).map_while(Result::ok).last();
    last.map_or(0, |batch| batch.header.last_offset() + 1)
}

fn increment(sequence: i32) -> i32 {
    if sequence == i32::MAX {
        0
    } else {
        sequence + 1
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn producers_of_a_simulated_log_are_those_of_a_plain_model() {
    let seeds = match number("TANDEM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TANDEM_ROUNDS").unwrap_or(15),
    };
    for seed in seeds {
        let mut sim = Sim::new(seed);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..STEPS {
                sim.step();
            }
        }));
        if result.is_err() {
            let from = sim.trace.len().saturating_sub(60);
            panic!(
                "{}\nfailed; run again with TANDEM_SEED={seed}",
                sim.trace[from..].join("\n")
            );
        }
    }
}
