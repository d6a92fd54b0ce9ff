//! Tests that batches appended together leave the same answers and the same files as batches appended one by one. A failure
//! prints the seed; `TANDEM_SEED=<n>` runs that one alone, `TANDEM_ROUNDS=<n>` that many.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use kafka_wire::records::batch_builder::{BatchBuilder, BatchBuilderOptions};
use kafka_wire::records::control::{ControlType, EndTransactionMarker, marker_batch};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;

use crate::log::append::{AppendError, AppendInfo, AppendOptions, AppendOrigin};
use crate::log::config::LogConfig;
use crate::log::leader_append::LeaderBatch;
use crate::log::names::TopicPartition;
use crate::log::partition_dir::PartitionDir;
use crate::log::partition_log::PartitionLog;
use crate::log::recovery::{LoadOptions, open_log};
use crate::log::verification::Verification;

const NOW: i64 = 1_700_000_000_000;

struct Sim {
    random: StdRng,
    /// What was sent of each producer: the next sequence number, and the last batches.
    sequences: [i32; 3],
    last: Vec<Bytes>,
    now_ms: i64,
}

impl Sim {
    fn config(&mut self) -> Arc<LogConfig> {
        let kind = ["CreateTime", "LogAppendTime"][usize::from(self.random.random_bool(0.3))];
        let entries = [
            ("segment.bytes", self.random.random_range(600..9000)),
            ("segment.index.bytes", self.random.random_range(24..200)),
            ("segment.ms", self.random.random_range(50..2000)),
            ("index.interval.bytes", self.random.random_range(0..900)),
            ("max.message.bytes", 700),
        ];
        let entries = entries.map(|(key, value): (_, u32)| (key, value.to_string()));
        let entries = entries.iter().map(|(key, value)| (*key, value.as_str()));
        let all = entries.chain([("message.timestamp.type", kind)]);
        Arc::new(LogConfig::from_entries(all).unwrap())
    }

    fn batch(&mut self) -> Bytes {
        if !self.last.is_empty() && self.random.random_bool(0.1) {
            let which = self.random.random_range(0..self.last.len());
            return self.last[which].clone();
        }
        let mut options = BatchBuilderOptions::default();
        let count = self.random.random_range(1..4);
        if self.random.random_bool(0.6) {
            let producer = self.random.random_range(0..3);
            let gap = i32::from(self.random.random_bool(0.05));
            options.producer_id = producer as i64;
            options.producer_epoch = 0;
            options.base_sequence = self.sequences[producer] + gap;
            options.transactional = producer == 2;
            self.sequences[producer] += count;
        }
        let mut builder = BatchBuilder::new(options);
        for _ in 0..count {
            let time = NOW + self.random.random_range(-20..400);
            let value = vec![b'v'; self.random.random_range(0..300)];
            builder.append(time, Some(b"k"), Some(&value));
        }
        let batch = builder.build();
        if self.random.random_bool(0.05) {
            let mut bad = batch.to_vec();
            let place = self.random.random_range(0..bad.len());
            bad[place] ^= 1 << self.random.random_range(0..8);
            return bad.into();
        }
        self.last.push(batch.clone());
        if self.last.len() > 6 {
            self.last.remove(0);
        }
        batch
    }
}

fn open(dir: &TempDir, config: &Arc<LogConfig>) -> PartitionLog {
    let options = LoadOptions {
        clean: true,
        recovery_point: 0,
        log_start_offset: 0,
        producer_expiration_ms: 86_400_000,
        now_ms: NOW,
    };
    let place = PartitionDir::new(dir.path().to_owned());
    open_log(place, TopicPartition::new("t", 0), config.clone(), &options).unwrap()
}

fn files(dir: &TempDir) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir.path()).unwrap();
    let files = entries.map(|entry| {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        (name, std::fs::read(entry.path()).unwrap())
    });
    files.collect()
}

fn told(result: &Result<AppendInfo, AppendError>) -> String {
    format!("{result:?}")
}

/// One script; answers how many segments there were in the end.
fn run(seed: u64) -> usize {
    let mut sim = Sim {
        random: StdRng::seed_from_u64(seed),
        sequences: [0; 3],
        last: Vec::new(),
        now_ms: NOW,
    };
    let config = sim.config();
    let (one_dir, all_dir) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (one, all) = (open(&one_dir, &config), open(&all_dir, &config));
    for epoch in 0..60 {
        sim.now_ms += sim.random.random_range(0..200);
        let is_marker = sim.random.random_bool(0.2);
        let batches: Vec<Bytes> = match is_marker {
            true => {
                let marker = EndTransactionMarker {
                    control_type: ControlType::Abort,
                    coordinator_epoch: 0,
                };
                vec![marker_batch(marker, 2, 0, sim.now_ms); 2]
            }
            false => (0..sim.random.random_range(1..12))
                .map(|_| sim.batch())
                .collect(),
        };
        let options = AppendOptions {
            origin: match is_marker {
                true => AppendOrigin::Coordinator,
                false => AppendOrigin::Client,
            },
            now_ms: sim.now_ms,
        };
        let batches: Vec<_> = batches
            .iter()
            .map(|records| LeaderBatch {
                records,
                verification: Verification::Off,
            })
            .collect();
        let single: Vec<String> = batches
            .iter()
            .flat_map(|batch| one.append_each(&[*batch], epoch / 20, &options))
            .map(|result| told(&result))
            .collect();
        let together = all.append_each(&batches, epoch / 20, &options);
        let together: Vec<String> = together.iter().map(told).collect();
        assert_eq!(single, together);
        let end = sim.random.random_range(0..=one.log_end_offset());
        for log in [&one, &all] {
            log.set_high_watermark(end);
        }
        assert_eq!(one.last_stable_offset(), all.last_stable_offset());
    }
    let segments = one.segment_count();
    for log in [one, all] {
        log.close(sim.now_ms).unwrap();
    }
    let (one, all) = (files(&one_dir), files(&all_dir));
    assert_eq!(
        one.keys().collect::<Vec<_>>(),
        all.keys().collect::<Vec<_>>()
    );
    for (name, bytes) in &one {
        assert!(all[name] == *bytes, "{name} differs");
    }
    segments
}

#[test]
fn batches_appended_together_leave_what_single_ones_leave() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let rounds = number("TANDEM_ROUNDS").unwrap_or(5);
    let seeds = match number("TANDEM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..rounds,
    };
    let mut segments = 0;
    for seed in seeds {
        let result = catch_unwind(AssertUnwindSafe(|| run(seed)));
        assert!(result.is_ok(), "failed; run again with TANDEM_SEED={seed}");
        segments += result.unwrap_or_default();
    }
    println!("{segments} segments");
}

/// What is set aside ahead of a growing segment is not part of the file, and goes when the log is closed.
#[test]
fn reserved_space_is_given_back() {
    use std::os::unix::fs::MetadataExt;
    let dir = TempDir::new().unwrap();
    let config = Arc::new(LogConfig::from_entries(std::iter::empty::<(&str, &str)>()).unwrap());
    let log = open(&dir, &config);
    let mut builder = BatchBuilder::new(BatchBuilderOptions::default());
    builder.append(NOW, None, Some(&vec![b'v'; 300_000]));
    let batch = builder.build();
    let options = AppendOptions {
        origin: AppendOrigin::Client,
        now_ms: NOW,
    };
    for _ in 0..10 {
        log.append_as_leader(&batch, 0, &options).unwrap();
    }
    let path = dir.path().join("00000000000000000000.log");
    let size = 10 * batch.len() as u64;
    assert_eq!(path.metadata().unwrap().len(), size);
    log.close(NOW).unwrap();
    drop(log);
    let closed = std::fs::File::open(&path).unwrap();
    closed.sync_all().unwrap();
    let closed = closed.metadata().unwrap();
    assert_eq!(closed.len(), size);
    assert!(closed.blocks() * 512 < size + 64 * 1024, "{closed:?}");
}
