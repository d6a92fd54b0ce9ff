//! Pure: random steps from a seed, over a few topics whose configuration changes under them.

use integration_tests::requests::Random;

use super::steps::{Batch, Configs, Step, configs};

const HOUR_MS: i64 = 3_600_000;
const TOPICS: [&str; 5] = ["r-0", "r-1", "r-2", "r-3", "r-4"];
/// Keys and the values that they get; an empty value takes the key back.
const KEYS: &[(&str, &[&str])] = &[
    ("segment.bytes", &["600", "1500", "4000", "100000", ""]),
    ("segment.ms", &["1000000", "10000000", ""]),
    ("segment.index.bytes", &["24", "120", ""]),
    ("index.interval.bytes", &["0", "300", ""]),
    (
        "cleanup.policy",
        &["compact", "compact,delete", "delete", "", ""],
    ),
    ("preallocate", &["true", "false", ""]),
    ("flush.messages", &["1", "5", ""]),
    ("flush.ms", &["100", ""]),
    ("max.message.bytes", &["300", "1000000", ""]),
    ("message.timestamp.before.max.ms", &["1800000", "", ""]),
    ("message.timestamp.after.max.ms", &["1800000", "", ""]),
    ("file.delete.delay.ms", &["0", "100", ""]),
    ("delete.retention.ms", &["0", ""]),
    ("min.insync.replicas", &["1", "2", "1", ""]),
];

/// Writes steps without end.
pub struct Writer {
    random: Random,
    now_ms: i64,
    /// Which topics are there, and the next sequence number of their producer.
    topics: [Option<i32>; TOPICS.len()],
}

impl Writer {
    /// Steps of a seed; `now_ms` is about the time at which they are played.
    pub fn new(seed: u64, now_ms: i64) -> Self {
        Writer {
            random: Random::new(seed),
            now_ms,
            topics: [None; TOPICS.len()],
        }
    }

    /// The next steps; the last one compares. Where retention is asked for, which takes its time, nothing else is done until it
    /// has come to rest.
    pub fn steps(&mut self, count: u64, retention: bool) -> Vec<Step> {
        let mut steps = Vec::new();
        for _ in 0..count {
            steps.push(self.step());
            if retention && self.random.below(50) == 0 {
                self.retain(&mut steps);
            }
        }
        steps.push(Step::Settle("random steps"));
        steps
    }

    /// What is done before a restart: Apache's broker cannot open an index that has become smaller than what is in it.
    pub fn before_a_restart(&self) -> Vec<Step> {
        let there = TOPICS.iter().zip(&self.topics);
        let there = there.filter(|(_, sequence)| sequence.is_some());
        let unset = || vec![("segment.index.bytes".to_owned(), None)];
        there
            .map(|(topic, _)| Step::Configure((*topic).to_owned(), unset()))
            .collect()
    }

    fn retain(&mut self, steps: &mut Vec<Step>) {
        let there = (0..TOPICS.len()).filter(|number| self.topics[*number].is_some());
        let there: Vec<usize> = there.collect();
        if there.is_empty() {
            return;
        }
        let topic = TOPICS[self.random.pick(&there)].to_owned();
        let (key, value) = self.random.pick(&[
            ("retention.ms", "1800000"),
            ("retention.ms", "5400000"),
            ("retention.bytes", "0"),
            ("retention.bytes", "2000"),
        ]);
        let set = configs(&[(key, value), ("cleanup.policy", "delete")]);
        steps.push(Step::Configure(topic.clone(), set));
        steps.push(Step::Settle("retention"));
        steps.push(Step::Configure(topic, vec![(key.to_owned(), None)]));
    }

    fn step(&mut self) -> Step {
        let number = self.random.below(TOPICS.len() as u64) as usize;
        let topic = TOPICS[number].to_owned();
        let Some(sequence) = self.topics[number] else {
            self.topics[number] = Some(0);
            let mut settings = self.settings(4);
            settings.retain(|(_, value)| value.is_some());
            return Step::Create(topic, settings);
        };
        match self.random.below(100) {
            0..75 => Step::Produce(topic, self.batch(number, sequence)),
            75..88 => Step::Configure(topic, self.settings(2)),
            88..95 => Step::DeleteSome(topic, self.random.below(1000) as i64),
            95..97 => {
                self.topics[number] = None;
                Step::Delete(topic)
            }
            97..99 => Step::Pause(self.random.below(300)),
            _ => Step::Settle("in between"),
        }
    }

    fn settings(&mut self, most: u64) -> Configs {
        let count = 1 + self.random.below(most);
        let mut settings = Configs::new();
        for _ in 0..count {
            let (key, values) = self.random.pick(KEYS);
            let value = self.random.pick(values);
            settings.retain(|(known, _)| known != key);
            settings.push((
                key.to_owned(),
                (!value.is_empty()).then(|| value.to_owned()),
            ));
        }
        settings
    }

    fn batch(&mut self, number: usize, sequence: i32) -> Batch {
        let count = 1 + self.random.below(5) as i32;
        let near = self.random.below(1000) as i64;
        let timestamp = match self.random.below(10) {
            0 => -1,
            1 => self.now_ms - 2 * HOUR_MS + near,
            2 => self.now_ms - HOUR_MS + near,
            3 => self.now_ms + HOUR_MS + near,
            _ => self.now_ms + near,
        };
        let producer = (self.random.below(3) == 0).then(|| {
            let next = sequence + count;
            self.topics[number] = Some(next);
            (8000 + number as i64, sequence)
        });
        // Recovery by Apache's broker forgets a producer whose last batch is that old, ours the next time that it looks for such.
        let timestamp = match producer {
            Some(_) => timestamp.max(self.now_ms - 2 * HOUR_MS),
            None => timestamp,
        };
        Batch {
            count,
            value_bytes: self.random.below(250) as usize,
            timestamp,
            key: (self.random.below(5) > 0).then_some("key"),
            producer,
        }
    }
}
