//! Crashes of a partition log, simulated: appends from a seed, then damage to the unflushed part of its files, then recovery, compared
//! with a model. `LOG_CRASH_SEEDS=from..to` runs other seeds than the smoke run's; a failure names its seed.

#![allow(clippy::unwrap_used, reason = "this is a test")]

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use broker::log::append::{AppendOptions, AppendOrigin};
use broker::log::config::LogConfig;
use broker::log::names::{INDEX_SUFFIX, LOG_SUFFIX, TIME_INDEX_SUFFIX, TopicPartition};
use broker::log::offset_index::OffsetIndex;
use broker::log::partition_dir::PartitionDir;
use broker::log::partition_log::PartitionLog;
use broker::log::partition_read::FetchBound;
use broker::log::recovery::{LoadOptions, open_log};
use broker::log::time_index::TimeIndex;
use kafka_wire::records::batch::Batches;
use kafka_wire::records::batch_builder::{BatchBuilder, BatchBuilderOptions};
use kafka_wire::wire::Records;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use tempfile::TempDir;

const NOW: i64 = 1_700_000_000_000;
const SMOKE_SEEDS: std::ops::Range<u64> = 0..40;
const PRODUCERS: i64 = 3;

/// A batch as it must be read again.
#[derive(Debug, Clone)]
struct Batch {
    base_offset: i64,
    last_offset: i64,
    segment: i64,
    position: u64,
    bytes: Vec<u8>,
}

struct Simulation {
    dir: TempDir,
    config: Arc<LogConfig>,
    random: StdRng,
    batches: Vec<Batch>,
    recovery_point: i64,
    sequences: [i32; PRODUCERS as usize],
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let segment_bytes = random.random_range(500..6000).to_string();
        let interval = random.random_range(0..800).to_string();
        let settings = [
            ("segment.bytes", segment_bytes.as_str()),
            ("index.interval.bytes", interval.as_str()),
            ("segment.index.bytes", "400"),
            ("file.delete.delay.ms", "0"),
        ];
        Simulation {
            dir: TempDir::new().unwrap(),
            config: Arc::new(LogConfig::from_entries(settings).unwrap()),
            random,
            batches: Vec::new(),
            recovery_point: 0,
            sequences: [0; PRODUCERS as usize],
        }
    }

    fn open(&self, recovery_point: i64) -> PartitionLog {
        let options = LoadOptions {
            clean: false,
            recovery_point,
            log_start_offset: 0,
            producer_expiration_ms: i64::MAX,
            now_ms: NOW,
        };
        let partition = TopicPartition::new("t", 0);
        let dir = PartitionDir::new(self.dir.path().to_owned());
        open_log(dir, partition, Arc::clone(&self.config), &options).unwrap()
    }

    fn segment_bases(&self) -> Vec<i64> {
        let mut bases: Vec<i64> = fs::read_dir(self.dir.path())
            .unwrap()
            .filter_map(|entry| {
                let name = entry.unwrap().file_name().into_string().unwrap();
                name.strip_suffix(LOG_SUFFIX)?.parse().ok()
            })
            .collect();
        bases.sort_unstable();
        bases
    }

    fn file(&self, base_offset: i64, suffix: &str) -> PathBuf {
        self.dir.path().join(format!("{base_offset:020}{suffix}"))
    }

    /// Appends some batches, flushing now and then.
    fn fill(&mut self, log: &PartitionLog) {
        for _ in 0..self.random.random_range(1..60) {
            let producer = self.random.random_range(-1..PRODUCERS);
            let count = self.random.random_range(1..6);
            let sequence = match usize::try_from(producer) {
                Ok(index) => {
                    let first = self.sequences[index];
                    self.sequences[index] += count;
                    first
                }
                Err(_) => -1,
            };
            let mut builder = BatchBuilder::new(BatchBuilderOptions {
                producer_id: producer,
                producer_epoch: if producer < 0 { -1 } else { 0 },
                base_sequence: sequence,
                ..BatchBuilderOptions::default()
            });
            for _ in 0..count {
                let mut value = vec![0; self.random.random_range(0..60)];
                self.random.fill_bytes(&mut value);
                builder.append(NOW + self.random.random_range(0..1000), None, Some(&value));
            }
            let epoch = (self.batches.len() / 20) as i32;
            let options = AppendOptions {
                origin: AppendOrigin::Client,
                now_ms: NOW,
            };
            let info = log
                .append_as_leader(&builder.build(), epoch, &options)
                .unwrap();
            self.note(log, info.first_offset, info.last_offset);
            if self.random.random_ratio(1, 25) {
                log.flush(NOW).unwrap();
                self.recovery_point = log.recovery_point();
            }
        }
        log.set_high_watermark(i64::MAX);
    }

    fn note(&mut self, log: &PartitionLog, base_offset: i64, last_offset: i64) {
        let segment = *self.segment_bases().last().unwrap();
        let result = log.read(base_offset, 1, FetchBound::LogEnd, true).unwrap();
        let Records::File {
            file,
            position,
            len,
        } = result.records
        else {
            panic!("the batch appended at {base_offset} is not there");
        };
        let mut bytes = vec![0; len as usize];
        file.read_exact_at(&mut bytes, position).unwrap();
        self.batches.push(Batch {
            base_offset,
            last_offset,
            segment,
            position,
            bytes,
        });
    }

    /// Damages what was not flushed. Answers how many batches must survive.
    fn crash(&mut self) -> usize {
        let flushed = self
            .batches
            .iter()
            .filter(|b| b.last_offset < self.recovery_point)
            .count();
        self.damage_indexes();
        if flushed == self.batches.len() {
            return flushed;
        }
        let victim = self.random.random_range(flushed..self.batches.len());
        let batch = self.batches[victim].clone();
        let path = self.file(batch.segment, LOG_SUFFIX);
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        let kind = self.random.random_range(0..4);
        println!(
            "damage {kind} to batch {victim} at offset {}, recovery point {}",
            batch.base_offset, self.recovery_point
        );
        match kind {
            0 => {
                // A cut between batches of a segment that is not the last leaves no trace, in Apache's format neither.
                let last = self.segment_bases().last() == Some(&batch.segment);
                let least = if last { 0 } else { 1 };
                let cut = self.random.random_range(least..batch.bytes.len() as u64);
                file.set_len(batch.position + cut).unwrap();
            }
            1 => {
                // Base offset and leader epoch are outside the checksum: no format can tell.
                let covered: Vec<usize> = (0..batch.bytes.len())
                    .filter(|at| !matches!(at, 0..8 | 12..16))
                    .collect();
                let at = covered[self.random.random_range(0..covered.len())];
                println!("byte {at}");
                let bit = 1u8 << self.random.random_range(0..8);
                file.write_all_at(&[batch.bytes[at] ^ bit], batch.position + at as u64)
                    .unwrap();
            }
            2 => {
                // A page that never reached the disk: zeros in the middle.
                let zeros = vec![0; batch.bytes.len()];
                file.write_all_at(&zeros, batch.position).unwrap();
            }
            _ => {
                let mut garbage = vec![0; self.random.random_range(1..200)];
                self.random.fill_bytes(&mut garbage);
                garbage[0] |= 1; // never the first byte of an offset that could follow
                let end = batch.position + batch.bytes.len() as u64;
                file.set_len(end).unwrap();
                file.write_all_at(&garbage, end).unwrap();
                return victim + 1;
            }
        }
        victim
    }

    /// Indexes of unflushed segments may be in any state.
    fn damage_indexes(&mut self) {
        for base_offset in self.segment_bases() {
            let next = self
                .segment_bases()
                .into_iter()
                .find(|base| *base > base_offset);
            if next.is_some_and(|next| next <= self.recovery_point) {
                continue;
            }
            for suffix in [INDEX_SUFFIX, TIME_INDEX_SUFFIX] {
                let path = self.file(base_offset, suffix);
                match self.random.random_range(0..4) {
                    0 => {
                        let _ = fs::remove_file(path);
                    }
                    1 => {
                        let mut garbage = vec![0; self.random.random_range(0..300)];
                        self.random.fill_bytes(&mut garbage);
                        fs::write(path, garbage).unwrap();
                    }
                    _ => {}
                }
            }
        }
    }

    /// Everything before the damage is there, byte for byte, and nothing after it.
    fn check(&self, log: &PartitionLog) {
        let end = self.batches.last().map_or(0, |batch| batch.last_offset + 1);
        assert_eq!(log.log_end_offset(), end);
        for batch in &self.batches {
            for offset in [batch.base_offset, batch.last_offset] {
                let result = log.read(offset, 1, FetchBound::LogEnd, true).unwrap();
                let Records::File {
                    file,
                    position,
                    len,
                } = result.records
                else {
                    panic!("nothing at offset {offset}");
                };
                let mut bytes = vec![0; len as usize];
                file.read_exact_at(&mut bytes, position).unwrap();
                assert_eq!(bytes, batch.bytes, "batch at offset {}", batch.base_offset);
            }
        }
        for (producer, sequence) in self.sequences.iter().enumerate() {
            let expected = (*sequence > 0).then(|| sequence - 1);
            assert_eq!(
                log.last_sequence(producer as i64),
                expected,
                "producer {producer}"
            );
        }
        self.check_indexes();
    }

    /// Each index entry names a batch that is there.
    fn check_indexes(&self) {
        let dir = PartitionDir::new(self.dir.path().to_owned());
        for base_offset in self.segment_bases() {
            let bytes = fs::read(self.file(base_offset, LOG_SUFFIX)).unwrap();
            let mut position = 0;
            let mut known = Vec::new();
            for batch in Batches::new(&bytes) {
                let batch = batch.unwrap();
                known.push((
                    batch.header.last_offset(),
                    position,
                    batch.header.max_timestamp,
                ));
                position += batch.header.size_bytes();
            }
            assert_eq!(position, bytes.len());
            let index = OffsetIndex::open(&dir, base_offset).unwrap();
            let times = TimeIndex::open(&dir, base_offset).unwrap();
            for (last_offset, position, max_timestamp) in &known {
                let found = index.lookup(*last_offset).unwrap();
                assert!(found.position as usize <= *position);
                let exact = known.iter().any(|(offset, at, _)| {
                    *offset == found.offset && *at == found.position as usize
                });
                assert!(exact || (found.offset == base_offset && found.position == 0));
                let before = times.lookup(*max_timestamp).unwrap();
                assert!(before.timestamp <= *max_timestamp);
            }
        }
    }

    fn forget_after(&mut self, survivors: usize) {
        self.batches.truncate(survivors);
        self.sequences = [0; PRODUCERS as usize];
        for batch in &self.batches {
            let header = kafka_wire::records::batch::BatchHeader::parse(&batch.bytes).unwrap();
            if let Ok(producer) = usize::try_from(header.producer_id) {
                self.sequences[producer] = header.last_sequence() + 1;
            }
        }
        let end = self.batches.last().map_or(0, |batch| batch.last_offset + 1);
        self.recovery_point = self.recovery_point.min(end);
    }
}

#[test]
fn nothing_before_the_damage_is_lost() {
    let seeds = match std::env::var("LOG_CRASH_SEEDS") {
        Ok(range) => {
            let (from, to) = range.split_once("..").unwrap();
            from.parse().unwrap()..to.parse().unwrap()
        }
        Err(_) => SMOKE_SEEDS,
    };
    for seed in seeds {
        println!(
            "seed {seed}: LOG_CRASH_SEEDS={seed}..{} repeats it",
            seed + 1
        );
        let mut simulation = Simulation::new(seed);
        for _ in 0..3 {
            let log = simulation.open(simulation.recovery_point);
            simulation.check(&log);
            simulation.fill(&log);
            drop(log);
            let survivors = simulation.crash();
            simulation.forget_after(survivors);
            let log = simulation.open(simulation.recovery_point);
            simulation.check(&log);
            // A repeated batch of a producer is still known.
            drop(log);
        }
    }
}
