//! Pure: random scripts, from a seed, of producers, transactions' markers and readers of one topic.

use bytes::Bytes;
use integration_tests::requests::Random;
use kafka_wire::records::batch_builder::{BatchBuilder, BatchBuilderOptions};
use kafka_wire::records::record::Record;

/// Partitions of the topic.
pub const PARTITIONS: i32 = 2;
/// A partition that the topic has not.
const NO_PARTITION: i32 = 9;

/// One step.
#[derive(Debug, Clone)]
pub enum Step {
    /// Produce: a batch for each of some partitions.
    Produce {
        version: i16,
        acks: i16,
        transactional_id: bool,
        batches: Vec<(i32, Bytes)>,
        text: String,
    },
    /// WriteTxnMarkers: one marker.
    Mark {
        version: i16,
        producer_id: i64,
        epoch: i16,
        coordinator_epoch: i32,
        commit: bool,
        partitions: Vec<i32>,
    },
    /// Fetch from one partition.
    Fetch {
        version: i16,
        committed: bool,
        partition: i32,
        offset: i64,
        max_bytes: i32,
    },
    /// ListOffsets of one partition.
    List {
        version: i16,
        committed: bool,
        partition: i32,
        timestamp: i64,
    },
    /// DeleteRecords up to an offset.
    Delete { partition: i32, offset: i64 },
    /// Retention by size takes the segments at the start.
    Retain,
    /// DescribeProducers of all partitions and some that are not there.
    Describe,
    /// The broker is stopped, or killed, and started again.
    Restart { cleanly: bool },
}

/// A producer as the script believes it to be.
#[derive(Debug, Clone)]
struct Producer {
    id: i64,
    epoch: i16,
    transactional: bool,
    /// Per partition: the next sequence number, and whether it believes that its transaction is open there.
    next: Vec<(i32, bool)>,
    /// Batches that it sent lately, to be sent again.
    sent: Vec<(i32, Bytes, String)>,
}

/// Writes a script.
pub struct Writer {
    random: Random,
    base_time: i64,
    clock: i64,
    producers: Vec<Producer>,
    /// Roughly how many records each partition has.
    ends: Vec<i64>,
}

impl Writer {
    /// The script of a seed; all records are of times after `base_time`.
    pub fn new(seed: u64, base_time: i64) -> Self {
        let producer = |number: i64| {
            let first = match number {
                1 => i32::MAX - 4,
                _ => 0,
            };
            Producer {
                id: 1000 + number,
                epoch: i16::try_from(number).unwrap_or(0),
                transactional: number != 0,
                next: vec![(first, false); PARTITIONS as usize],
                sent: Vec::new(),
            }
        };
        Self {
            random: Random::new(seed),
            base_time,
            clock: 0,
            producers: (0..4).map(producer).collect(),
            ends: vec![0; PARTITIONS as usize],
        }
    }

    /// The next step.
    pub fn step(&mut self) -> Step {
        match self.random.below(100) {
            0..=44 => self.produce(),
            45..=61 => self.mark(),
            62..=81 => self.fetch(),
            82..=91 => self.list(),
            92..=93 => self.delete(),
            _ => Step::Describe,
        }
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.random.below(100) < percent
    }

    fn partition(&mut self) -> i32 {
        self.random.below(PARTITIONS as u64) as i32
    }

    fn produce(&mut self) -> Step {
        let version = self.random.pick(&[3, 4, 5, 6, 7, 8, 9, 10]);
        let acks = self.random.pick(&[1, -1, -1]);
        if self.chance(8) {
            return self.produce_plain(version, acks);
        }
        let who = self.random.below(self.producers.len() as u64) as usize;
        let transactional_id = self.producers[who].transactional && !self.chance(2);
        let resend = self.producers[who].sent.len() as u64;
        if resend > 0 && self.chance(15) {
            let which = self.random.below(resend) as usize;
            let (partition, batch, text) = self.producers[who].sent[which].clone();
            return Step::Produce {
                version,
                acks,
                transactional_id,
                batches: vec![(partition, batch)],
                text: format!("again {text}"),
            };
        }
        let mut batches = Vec::new();
        let mut texts = Vec::new();
        let first = self.partition();
        let both = self.chance(20);
        for partition in 0..PARTITIONS {
            if partition == first || both {
                let (batch, text) = self.batch(who, partition);
                batches.push((partition, batch));
                texts.push(text);
            }
        }
        Step::Produce {
            version,
            acks,
            transactional_id,
            batches,
            text: texts.join(" and "),
        }
    }

    fn produce_plain(&mut self, version: i16, acks: i16) -> Step {
        let partition = self.partition();
        let count = 1 + self.random.below(3) as i32;
        self.ends[partition as usize] += i64::from(count);
        let batch = self.build(BatchBuilderOptions::default(), count);
        Step::Produce {
            version,
            acks,
            transactional_id: self.chance(20),
            batches: vec![(partition, batch)],
            text: format!("plain batch of {count} to {partition}"),
        }
    }

    fn batch(&mut self, who: usize, partition: i32) -> (Bytes, String) {
        let place = partition as usize;
        let count = 1 + self.random.below(4) as i32;
        let producer = self.producers[who].clone();
        let (next, was_open) = producer.next[place];
        let epoch = match self.random.below(40) {
            0 => producer.epoch - 1,
            1 => producer.epoch + 1,
            2 => -1,
            _ => producer.epoch,
        };
        let sequence = if epoch == producer.epoch + 1 && self.chance(70) {
            0
        } else {
            match self.random.below(30) {
                0 => add(next, 1),
                1 => next.saturating_sub(1).max(0),
                2 => 0,
                3 => -1,
                _ => next,
            }
        };
        let transactional = match self.random.below(30) {
            0 => !producer.transactional,
            1..=3 if !was_open => false,
            _ => producer.transactional,
        };
        let options = BatchBuilderOptions {
            producer_id: producer.id,
            producer_epoch: epoch,
            base_sequence: sequence,
            transactional,
            ..BatchBuilderOptions::default()
        };
        let batch = self.build(options, count);
        let text = format!(
            "{} of producer {} epoch {epoch} sequence {sequence}+{count} to {partition}",
            if transactional { "txn" } else { "data" },
            producer.id
        );
        let producer = &mut self.producers[who];
        let fits = (epoch == producer.epoch && sequence == next)
            || (epoch == producer.epoch + 1 && sequence == 0);
        if fits && (transactional || !was_open) {
            if epoch != producer.epoch {
                producer.epoch = epoch;
                for (next, _) in &mut producer.next {
                    *next = 0;
                }
            }
            producer.next[place] = (add(sequence, count), was_open || transactional);
            producer.sent.push((partition, batch.clone(), text.clone()));
            if producer.sent.len() > 7 {
                producer.sent.remove(0);
            }
            self.ends[place] += i64::from(count);
        }
        (batch, text)
    }

    fn build(&mut self, options: BatchBuilderOptions, count: i32) -> Bytes {
        let mut builder = BatchBuilder::new(options);
        for offset in 0..i64::from(count) {
            self.clock += 1;
            let size = self.random.below(60) as usize;
            builder.push(&Record {
                offset,
                timestamp: self.base_time + self.clock,
                key: Some(Bytes::from(self.clock.to_string())),
                value: Some(Bytes::from(vec![b'v'; size])),
                headers: Vec::new(),
            });
        }
        builder.build()
    }

    fn mark(&mut self) -> Step {
        let who = self.random.below(self.producers.len() as u64) as usize;
        let producer = self.producers[who].clone();
        let epoch = match self.random.below(20) {
            0 => producer.epoch - 1,
            1..=3 => producer.epoch + 1,
            _ => producer.epoch,
        };
        let coordinator_epoch = self.random.pick(&[3, 3, 3, 3, 3, 3, 3, 3, 3, 2, 4]);
        let mut partitions: Vec<i32> = match self.random.below(4) {
            0 => vec![self.partition()],
            _ => (0..PARTITIONS)
                .filter(|partition| producer.next[*partition as usize].1)
                .collect(),
        };
        if partitions.is_empty() {
            partitions.push(self.partition());
        }
        if self.chance(5) {
            partitions.push(NO_PARTITION);
        }
        let believed = &mut self.producers[who];
        if epoch >= believed.epoch {
            for partition in &partitions {
                let Some((next, open)) = believed.next.get_mut(*partition as usize) else {
                    continue;
                };
                self.ends[*partition as usize] += 1;
                *open = false;
                if epoch > believed.epoch {
                    *next = 0;
                }
            }
            if epoch > believed.epoch && partitions.len() >= PARTITIONS as usize {
                believed.epoch = epoch;
            }
        }
        Step::Mark {
            version: self.random.pick(&[0, 1]),
            producer_id: producer.id,
            epoch,
            coordinator_epoch,
            commit: self.chance(50),
            partitions,
        }
    }

    fn fetch(&mut self) -> Step {
        let partition = self.partition();
        let end = self.ends[partition as usize].max(0) as u64;
        let offset = match self.random.below(4) {
            0 => 0,
            _ => self.random.below(end + 2) as i64,
        };
        Step::Fetch {
            version: self.random.pick(&[4, 5, 7, 9, 11, 12]),
            committed: self.chance(75),
            partition,
            offset,
            max_bytes: self.random.pick(&[0, 150, 400, 1000, 3000, 1 << 20]),
        }
    }

    fn list(&mut self) -> Step {
        let timestamp = match self.random.below(6) {
            0 | 1 => -1,
            2 => -2,
            3 => -3,
            _ => self.base_time + self.random.below(self.clock as u64 + 5) as i64,
        };
        let versions: &[i16] = if timestamp == -3 {
            &[7, 8]
        } else {
            &[2, 3, 4, 5, 6, 7, 8]
        };
        Step::List {
            version: self.random.pick(versions),
            committed: self.chance(60),
            partition: self.partition(),
            timestamp,
        }
    }

    fn delete(&mut self) -> Step {
        let partition = self.partition();
        let end = self.ends[partition as usize].max(0) as u64;
        Step::Delete {
            partition,
            offset: self.random.below(end / 2 + 2) as i64,
        }
    }
}

/// Adds to a sequence number, through zero if need be.
fn add(sequence: i32, increment: i32) -> i32 {
    let sum = i64::from(sequence) + i64::from(increment);
    (sum % (i64::from(i32::MAX) + 1)) as i32
}
