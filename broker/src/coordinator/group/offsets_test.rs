//! A group's offsets against a plain model: what clients see, and that the log says the same when it
//! is read again. A failure prints the seed; `TANDEM_SEED=<n>` runs that one alone,
//! `TANDEM_ROUNDS=<n>` that many.

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::coordinator::group::commit::Cleanup;
use crate::coordinator::group::group::Group;
use crate::coordinator::group::load::{Loader, Placed};
use crate::coordinator::group::message::{
    CommitRequest, Effect, Effects, GroupRecord, GroupSettings, Now, Producer, Reply, Stored,
};
use crate::coordinator::waiting::Ticket;

const RETENTION_MS: i64 = 1000;

enum Logged {
    Batch(Option<i64>, Vec<GroupRecord>),
    Marker(i64, bool),
}

/// What anybody would expect: the last word of the log on each partition.
#[derive(Clone, Default)]
struct Model {
    committed: BTreeMap<TopicPartition, (i64, OffsetAndMetadata)>,
    open: BTreeMap<i64, BTreeMap<TopicPartition, (i64, OffsetAndMetadata)>>,
}

struct Simulation {
    rng: StdRng,
    settings: Arc<GroupSettings>,
    now: Now,
    group: Group,
    log: Vec<Logged>,
    /// In the log, and not acknowledged by the replicas.
    unacknowledged: Vec<(i64, Stored)>,
    model: Model,
    next_ticket: u64,
}

fn settings() -> Arc<GroupSettings> {
    Arc::new(GroupSettings {
        min_session_timeout_ms: 0,
        max_session_timeout_ms: 1000,
        max_size: 10,
        initial_rebalance_delay_ms: 0,
        max_offset_metadata_size: 10,
        offsets_retention_ms: RETENTION_MS,
    })
}

fn partition(n: i32) -> TopicPartition {
    TopicPartition {
        topic: "t".into(),
        partition: n,
    }
}

impl Simulation {
    fn new(seed: u64) -> Simulation {
        let now = Now {
            wall_ms: 1_000_000,
            mono_ms: 0,
        };
        Simulation {
            rng: StdRng::seed_from_u64(seed),
            group: Group::empty("g".into(), settings(), now),
            settings: settings(),
            now,
            log: Vec::new(),
            unacknowledged: Vec::new(),
            model: Model::default(),
            next_ticket: 0,
        }
    }

    fn step(&mut self) {
        self.now.wall_ms += self.rng.random_range(0..40);
        match self.rng.random_range(0..12) {
            0..=3 => self.commit(None),
            4..=6 => {
                let producer = self.rng.random_range(1..4);
                self.commit(Some(producer));
            }
            7 | 8 => self.acknowledge(),
            9 => self.marker(),
            10 => self.delete(),
            _ => self.expire(),
        }
        self.check(&self.group.clone(), &self.model.clone());
    }

    fn commit(&mut self, producer: Option<i64>) {
        let mut request = CommitRequest {
            member_id: ByteString::new(),
            group_instance_id: None,
            generation: -1,
            producer: producer.map(|id| Producer {
                id,
                epoch: 0,
                guard: 0,
            }),
            offsets: Vec::new(),
        };
        for _ in 0..self.rng.random_range(1..4) {
            let value = OffsetAndMetadata {
                offset: self.rng.random_range(0..5),
                leader_epoch: None,
                metadata: ByteString::new(),
                commit_timestamp_ms: self.now.wall_ms,
                expire_timestamp_ms: None,
            };
            let at = partition(self.rng.random_range(0..4));
            request.offsets.push((at, value));
        }
        request.keep_last_of_each();
        let mut effects = Effects::new();
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.group.commit(request, ticket, self.now, &mut effects);
        for effect in effects.0 {
            match effect {
                Effect::Append { records, then, .. } if self.rng.random_bool(0.15) => {
                    drop(records);
                    self.finish(then, Err(ErrorCode::InvalidProducerEpoch));
                }
                Effect::Append { records, then, .. } => {
                    let Stored::Offsets(append) = &then else {
                        panic!("only offsets are stored here");
                    };
                    let base = self.log.len() as i64;
                    for (at, value) in append.offsets.clone() {
                        let words = match producer {
                            None => &mut self.model.committed,
                            Some(id) => self.model.open.entry(id).or_default(),
                        };
                        words.insert(at, (base, value));
                    }
                    self.log.push(Logged::Batch(producer, records));
                    self.unacknowledged.push((base, then));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn finish(&mut self, then: Stored, outcome: Result<i64, ErrorCode>) {
        let mut effects = Effects::new();
        self.group.appended(then, outcome, self.now, &mut effects);
        let replies = |e: &Effect| matches!(e, Effect::Reply(_, Reply::Commit(_)));
        assert!(effects.0.len() == 1 && effects.0.iter().all(replies));
    }

    fn acknowledge(&mut self) {
        if self.unacknowledged.is_empty() {
            return;
        }
        // Mostly in order; tasks that wait for replicas may overtake each other.
        let place = match self.rng.random_bool(0.8) {
            true => 0,
            false => self.rng.random_range(0..self.unacknowledged.len()),
        };
        let (base, then) = self.unacknowledged.remove(place);
        self.finish(then, Ok(base));
    }

    fn settle(&mut self) {
        while !self.unacknowledged.is_empty() {
            self.acknowledge();
        }
    }

    fn marker(&mut self) {
        // A producer ends its transaction when all of it is acknowledged.
        self.settle();
        let producer = self.rng.random_range(1..4);
        let commit = self.rng.random_bool(0.6);
        self.log.push(Logged::Marker(producer, commit));
        self.group.complete_transaction(producer, commit);
        for (at, word) in self.model.open.remove(&producer).unwrap_or_default() {
            let committed = &mut self.model.committed;
            if commit && committed.get(&at).is_none_or(|(base, _)| *base < word.0) {
                committed.insert(at, word);
            }
        }
    }

    /// An administrator deletes what no transaction holds; all of it is acknowledged before.
    fn delete(&mut self) {
        self.settle();
        let at = partition(self.rng.random_range(0..4));
        if self.model.open.values().any(|open| open.contains_key(&at)) {
            return;
        }
        let deleted = self
            .group
            .delete_offsets(std::slice::from_ref(&at), self.now);
        let (results, cleanup) = deleted.unwrap();
        assert_eq!(results, [ErrorCode::None]);
        let was_there = self.model.committed.remove(&at).is_some();
        assert_eq!(cleanup.offsets, usize::from(was_there));
        self.clean_up(cleanup);
    }

    fn expire(&mut self) {
        self.settle();
        let now = self.now.wall_ms;
        let before = self.model.committed.len();
        self.model
            .committed
            .retain(|_, (_, value)| now - value.commit_timestamp_ms < RETENTION_MS);
        let cleanup = self.group.expire(self.now);
        assert_eq!(cleanup.offsets, before - self.model.committed.len());
        self.clean_up(cleanup);
    }

    fn clean_up(&mut self, cleanup: Cleanup) {
        if !cleanup.tombstones.is_empty() {
            self.log.push(Logged::Batch(None, cleanup.tombstones));
        }
        let is_used = !self.model.committed.is_empty() || !self.model.open.is_empty();
        assert_eq!(cleanup.is_dead, !is_used);
        if cleanup.is_dead {
            self.group = Group::empty("g".into(), self.settings.clone(), self.now);
        }
    }

    /// What clients see is the model's, as far as the replicas have acknowledged everything.
    fn check(&self, group: &Group, model: &Model) {
        if !self.unacknowledged.is_empty() {
            return;
        }
        for n in 0..4 {
            let at = partition(n);
            let expected = model
                .committed
                .get(&at)
                .map_or(-1, |(_, value)| value.offset);
            let is_open = model.open.values().any(|open| open.contains_key(&at));
            for stable in [false, true] {
                let fetched = group
                    .offsets()
                    .fetch(Some(std::slice::from_ref(&at)), stable);
                let seen = (fetched[0].1.offset, fetched[0].1.error);
                match stable && is_open {
                    true => assert_eq!(seen, (-1, ErrorCode::UnstableOffsetCommit)),
                    false => assert_eq!(seen, (expected, ErrorCode::None)),
                }
            }
        }
    }

    /// The broker dies; another one reads the log.
    fn crash(&mut self) {
        let mut loader = Loader::default();
        for (batch_offset, logged) in (0..).zip(&self.log) {
            match logged {
                Logged::Marker(producer, commit) => loader.marker(*producer, *commit),
                Logged::Batch(producer_id, records) => {
                    for record in records {
                        let placed = Placed {
                            batch_offset,
                            producer_id: *producer_id,
                        };
                        let (key, value) = (record.key.clone(), record.value.clone());
                        loader.record(placed, key, value).unwrap();
                    }
                }
            }
        }
        self.unacknowledged.clear();
        let mut groups = loader.finish(&self.settings, self.now);
        assert!(groups.len() <= 1);
        self.group = match groups.pop() {
            Some((group, _)) => group,
            None => Group::empty("g".into(), self.settings.clone(), self.now),
        };
        self.check(&self.group.clone(), &self.model.clone());
    }
}

fn simulate(seed: u64) {
    let mut simulation = Simulation::new(seed);
    for _ in 0..10 {
        for _ in 0..simulation.rng.random_range(1..60) {
            simulation.step();
        }
        simulation.crash();
    }
}

#[test]
fn offsets_are_what_the_log_says_whatever_happens() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seeds = match number("TANDEM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TANDEM_ROUNDS").unwrap_or(60),
    };
    for seed in seeds {
        let result = std::panic::catch_unwind(|| simulate(seed));
        assert!(result.is_ok(), "failed; run again with TANDEM_SEED={seed}");
    }
}
