//! Shell: what one client says to one broker about transactions, and what it is told.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use integration_tests::requests::Random;
use integration_tests::stack::Broker;
use integration_tests::talk::Talk;
use kafka_wire::message::Request;
use kafka_wire::messages::add_offsets_to_txn::AddOffsetsToTxnRequest;
use kafka_wire::messages::add_partitions_to_txn::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use kafka_wire::messages::describe_transactions::DescribeTransactionsRequest;
use kafka_wire::messages::end_txn::EndTxnRequest;
use kafka_wire::messages::find_coordinator::FindCoordinatorRequest;
use kafka_wire::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use kafka_wire::messages::list_transactions::ListTransactionsRequest;
use kafka_wire::messages::metadata::{MetadataRequest, MetadataRequestTopic};

/// How long anything may take that a script waits for.
const PATIENCE: Duration = Duration::from_secs(60);
/// A timeout that never comes.
pub const LONG_MS: i32 = 500_000;

/// What one client says to one broker, and what it is told.
pub struct Script {
    talk: Talk,
    pub random: Random,
    /// The producer ids and epochs that were given out, by transactional id.
    pub known: BTreeMap<String, Vec<(i64, i16)>>,
    pub text: String,
}

impl Script {
    pub fn start(broker: &Broker, seed: u64) -> Result<Self> {
        let mut script = Self {
            talk: Talk::with(broker.address())?.named("transactions"),
            random: Random::new(seed),
            known: BTreeMap::new(),
            text: String::new(),
        };
        script.await_coordinators()?;
        Ok(script)
    }

    /// Goes on with a broker that was started again.
    pub fn reconnect(&mut self, broker: &Broker) -> Result<()> {
        self.talk = Talk::with(broker.address())?.named("transactions");
        self.await_coordinators()
    }

    pub fn say<A: Debug>(&mut self, what: &str, answer: &A) {
        self.text.push_str(&format!("{what}: {answer:?}\n"));
    }

    pub fn ask<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response> {
        self.talk
            .ask(version, request)?
            .with_context(|| format!("{} v{version} closed the connection", R::NAME))
    }

    /// Sends a request and waits for nothing.
    pub fn send<R: Request>(&mut self, version: i16, request: &R) -> Result<()> {
        self.talk.send(version, request)
    }

    /// Makes all topics, and waits for all that may be busy after a start.
    pub fn await_coordinators(&mut self) -> Result<()> {
        let topics = ["a", "b"].map(|name| MetadataRequestTopic {
            name: Some(name.into()),
            ..MetadataRequestTopic::default()
        });
        let metadata = MetadataRequest {
            topics: Some(topics.to_vec()),
            allow_auto_topic_creation: true,
            ..MetadataRequest::default()
        };
        self.until("topics", |script| {
            let answer = script.ask(9, &metadata)?;
            Ok(answer.topics.iter().all(|topic| topic.error_code == 0))
        })?;
        for key_type in [0, 1] {
            for key in 0..8 {
                let request = FindCoordinatorRequest {
                    key: format!("key-{key}").into(),
                    key_type,
                    ..FindCoordinatorRequest::default()
                };
                self.until("coordinator", |script| {
                    Ok(script.ask(2, &request)?.error_code == 0)
                })?;
            }
        }
        for id in ["x0", "x1", "x2", "x3", "x4", "x5", "x6"] {
            // Each partition is asked for an id that is not there, until it is loaded.
            let request = EndTxnRequest {
                transactional_id: id.into(),
                ..EndTxnRequest::default()
            };
            self.until("loading", |script| {
                Ok(script.ask(3, &request)?.error_code == 49)
            })?;
        }
        let request = InitProducerIdRequest {
            transactional_id: None,
            producer_id: -1,
            producer_epoch: -1,
            ..InitProducerIdRequest::default()
        };
        self.until("producer ids", |script| {
            Ok(script.ask(4, &request)?.error_code == 0)
        })
    }

    pub fn until(
        &mut self,
        what: &str,
        mut look: impl FnMut(&mut Self) -> Result<bool>,
    ) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !look(self)? {
            ensure!(
                Instant::now() < deadline,
                "{what} did not come in {PATIENCE:?}"
            );
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Waits until the markers of a transaction are written.
    pub fn settle(&mut self, id: &str) -> Result<()> {
        let request = DescribeTransactionsRequest {
            transactional_ids: vec![id.into()],
        };
        self.until("the end of a transaction", |script| {
            let answer = script.ask(0, &request)?;
            let state = answer.transaction_states.first().context("no state")?;
            Ok(!matches!(
                &*state.transaction_state,
                "PrepareCommit" | "PrepareAbort"
            ))
        })
    }

    pub fn init(
        &mut self,
        id: &str,
        version: i16,
        timeout_ms: i32,
        expected: (i64, i16),
    ) -> Result<InitProducerIdResponse> {
        let (producer_id, producer_epoch) = if version < 3 { (-1, -1) } else { expected };
        let request = InitProducerIdRequest {
            transactional_id: Some(id.into()),
            transaction_timeout_ms: timeout_ms,
            producer_id,
            producer_epoch,
        };
        let answer = self.ask(version, &request)?;
        let what = format!("init v{version} {id} {timeout_ms} {producer_id} {producer_epoch}");
        self.say(&what, &answer);
        if answer.error_code == 0 {
            let producer = (answer.producer_id, answer.producer_epoch);
            self.known.entry(id.to_owned()).or_default().push(producer);
        }
        self.settle(id)?;
        Ok(answer)
    }

    pub fn add(
        &mut self,
        id: &str,
        version: i16,
        producer: (i64, i16),
        verify: bool,
    ) -> Result<()> {
        let topics = self.topics();
        let request = if version < 4 {
            AddPartitionsToTxnRequest {
                v3_and_below_transactional_id: id.into(),
                v3_and_below_producer_id: producer.0,
                v3_and_below_producer_epoch: producer.1,
                v3_and_below_topics: topics,
                ..AddPartitionsToTxnRequest::default()
            }
        } else {
            AddPartitionsToTxnRequest {
                transactions: vec![transaction(id, producer, verify, topics)],
                ..AddPartitionsToTxnRequest::default()
            }
        };
        let mut answer = self.ask(version, &request)?;
        for topic in &mut answer.results_by_topic_v3_and_below {
            topic
                .results_by_partition
                .sort_by_key(|partition| partition.partition_index);
        }
        answer
            .results_by_topic_v3_and_below
            .sort_by(|a, b| a.name.cmp(&b.name));
        for result in &mut answer.results_by_transaction {
            for topic in &mut result.topic_results {
                topic
                    .results_by_partition
                    .sort_by_key(|partition| partition.partition_index);
            }
            result.topic_results.sort_by(|a, b| a.name.cmp(&b.name));
        }
        self.say(&format!("add v{version} {producer:?} {request:?}"), &answer);
        Ok(())
    }

    pub fn add_offsets(
        &mut self,
        id: &str,
        version: i16,
        producer: (i64, i16),
        group: &str,
    ) -> Result<()> {
        let request = AddOffsetsToTxnRequest {
            transactional_id: id.into(),
            producer_id: producer.0,
            producer_epoch: producer.1,
            group_id: group.into(),
        };
        let answer = self.ask(version, &request)?;
        self.say(
            &format!("offsets v{version} {id} {producer:?} {group}"),
            &answer,
        );
        Ok(())
    }

    pub fn end(
        &mut self,
        id: &str,
        version: i16,
        producer: (i64, i16),
        commit: bool,
    ) -> Result<()> {
        self.decide(id, version, producer, commit)?;
        self.settle(id)
    }

    /// Commits or aborts, and waits for no marker.
    pub fn decide(
        &mut self,
        id: &str,
        version: i16,
        producer: (i64, i16),
        commit: bool,
    ) -> Result<()> {
        let request = EndTxnRequest {
            transactional_id: id.into(),
            producer_id: producer.0,
            producer_epoch: producer.1,
            committed: commit,
        };
        let answer = self.ask(version, &request)?;
        self.say(
            &format!("end v{version} {id} {producer:?} {commit}"),
            &answer,
        );
        Ok(())
    }

    pub fn describe(&mut self, ids: &[&str]) -> Result<()> {
        let request = DescribeTransactionsRequest {
            transactional_ids: ids.iter().map(|id| (*id).into()).collect(),
        };
        let mut answer = self.ask(0, &request)?;
        for state in &mut answer.transaction_states {
            for topic in &mut state.topics {
                topic.partitions.sort_unstable();
            }
            state.topics.sort_by(|a, b| a.topic.cmp(&b.topic));
        }
        self.say(&format!("describe {ids:?}"), &answer);
        Ok(())
    }

    pub fn list(&mut self, states: &[&str], producers: &[i64]) -> Result<()> {
        let request = ListTransactionsRequest {
            state_filters: states.iter().map(|state| (*state).into()).collect(),
            producer_id_filters: producers.to_vec(),
        };
        let mut answer = self.ask(0, &request)?;
        answer.unknown_state_filters.sort();
        answer
            .transaction_states
            .sort_by(|a, b| a.transactional_id.cmp(&b.transactional_id));
        self.say(&format!("list {states:?} {producers:?}"), &answer);
        Ok(())
    }

    /// Mostly partitions that exist, and mostly few.
    pub fn topics(&mut self) -> Vec<AddPartitionsToTxnTopic> {
        let mut topics: Vec<AddPartitionsToTxnTopic> = Vec::new();
        for _ in 0..self.random.pick(&[0, 1, 1, 1, 2, 2, 4]) {
            let name = match self.random.below(25) {
                0 => "nothere",
                1 => "__consumer_offsets",
                _ => self.random.pick(&["a", "b"]),
            };
            let partition = match self.random.below(25) {
                0 => 7,
                _ => self.random.pick(&[0, 1, 2]),
            };
            match topics.iter_mut().find(|topic| *topic.name == *name) {
                Some(topic) => topic.partitions.push(partition),
                None => topics.push(AddPartitionsToTxnTopic {
                    name: name.into(),
                    partitions: vec![partition],
                }),
            }
        }
        topics
    }

    /// Mostly the newest producer of an id, sometimes an older one or none that ever was.
    pub fn producer(&mut self, id: &str) -> (i64, i16) {
        let known = self.known.get(id).cloned().unwrap_or_default();
        let newest = known.last().copied().unwrap_or((0, 0));
        match self.random.below(12) {
            0 => (newest.0 + 1000, newest.1),
            1 => (newest.0, newest.1 + 1),
            2 => (newest.0, newest.1 - 1),
            3 if !known.is_empty() => self.random.pick(&known),
            4 if self.random.below(4) == 0 => (-1, -1),
            _ => newest,
        }
    }

    pub fn random_steps(&mut self, steps: usize) -> Result<()> {
        const IDS: [&str; 6] = ["r0", "r1", "r2", "r3", "r\u{e9}\u{1f600}", ""];
        for _ in 0..steps {
            let id = match self.random.below(40) {
                0 => "",
                _ => self.random.pick(&IDS[..5]),
            };
            let producer = self.producer(id);
            match self.random.below(20) {
                0..=3 => {
                    let version = self.random.pick(&[0, 1, 2, 3, 4, 4]);
                    let timeout = self
                        .random
                        .pick(&[LONG_MS, LONG_MS, LONG_MS, 600_000, 600_001, 0, -1]);
                    let expected = match self.random.below(3) {
                        0 => (-1, -1),
                        1 => producer,
                        _ => self.random.pick(&[(-1, 0), (5, -1), producer, (-1, -1)]),
                    };
                    self.init(id, version, timeout, expected)?;
                }
                4..=9 => {
                    let version = self.random.pick(&[0, 1, 2, 3, 4]);
                    self.add(id, version, producer, false)?;
                }
                10 => self.add(id, 4, producer, true)?,
                11 | 12 => {
                    let version = self.random.pick(&[0, 1, 2, 3]);
                    let group = self.random.pick(&["g0", "g1", "g2", ""]);
                    self.add_offsets(id, version, producer, group)?;
                }
                13..=17 => {
                    let version = self.random.pick(&[0, 1, 2, 3]);
                    let commit = self.random.pick(&[true, false]);
                    self.end(id, version, producer, commit)?;
                }
                18 => self.describe(&[id, "r0", "nobody"])?,
                _ => self.random_list(producer.0)?,
            }
        }
        Ok(())
    }

    pub fn random_list(&mut self, producer: i64) -> Result<()> {
        match self.random.below(6) {
            0 => self.list(&[], &[]),
            1 => self.list(&["Ongoing", "ongoing", "Nonsense", "Nonsense"], &[]),
            2 => self.list(&["Nonsense"], &[]),
            3 => self.list(&["CompleteCommit", "CompleteAbort", "Dead"], &[]),
            4 => self.list(&[], &[producer, 0]),
            _ => self.list(&["Empty", "PrepareEpochFence"], &[producer, 1, 2, 3]),
        }
    }

    /// Several transactions in one request, as brokers ask.
    pub fn batched(&mut self) -> Result<()> {
        let all = || {
            vec![AddPartitionsToTxnTopic {
                name: "a".into(),
                partitions: vec![0, 1, 2],
            }]
        };
        let one = || {
            vec![AddPartitionsToTxnTopic {
                name: "a".into(),
                partitions: vec![1],
            }]
        };
        let gone = vec![
            AddPartitionsToTxnTopic {
                name: "a".into(),
                partitions: vec![1, 9],
            },
            AddPartitionsToTxnTopic {
                name: "nothere".into(),
                partitions: vec![0],
            },
        ];
        let first = self.init("m0", 4, LONG_MS, (-1, -1))?;
        let second = self.init("m1", 4, LONG_MS, (-1, -1))?;
        let first = (first.producer_id, first.producer_epoch);
        let second = (second.producer_id, second.producer_epoch);
        let stale = (second.0, second.1 + 1);
        for transactions in [
            vec![
                transaction("m0", first, false, one()),
                transaction("m1", second, true, all()),
            ],
            vec![
                transaction("m0", first, true, all()),
                transaction("m1", stale, true, all()),
            ],
            vec![
                transaction("m0", first, false, gone),
                transaction("m2", first, true, one()),
            ],
            vec![
                transaction("", first, true, one()),
                transaction("m1", second, false, all()),
            ],
            vec![
                transaction("m0", first, true, all()),
                transaction("m1", second, true, all()),
            ],
        ] {
            let request = AddPartitionsToTxnRequest {
                transactions,
                ..AddPartitionsToTxnRequest::default()
            };
            let mut answer = self.ask(4, &request)?;
            answer
                .results_by_transaction
                .sort_by(|a, b| a.transactional_id.cmp(&b.transactional_id));
            for result in &mut answer.results_by_transaction {
                result.topic_results.sort_by(|a, b| a.name.cmp(&b.name));
                for topic in &mut result.topic_results {
                    topic
                        .results_by_partition
                        .sort_by_key(|p| p.partition_index);
                }
            }
            self.say("batched", &answer);
        }
        self.describe(&["m0", "m1", "m2"])
    }

    /// Adds partitions of one topic, as a client does.
    pub fn add_to(
        &mut self,
        id: &str,
        producer: (i64, i16),
        topic: &str,
        partitions: &[i32],
    ) -> Result<()> {
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: id.into(),
            v3_and_below_producer_id: producer.0,
            v3_and_below_producer_epoch: producer.1,
            v3_and_below_topics: vec![AddPartitionsToTxnTopic {
                name: topic.into(),
                partitions: partitions.to_vec(),
            }],
            ..AddPartitionsToTxnRequest::default()
        };
        let answer = self.ask(3, &request)?;
        self.say(&format!("add {topic} {partitions:?} to {id}"), &answer);
        Ok(())
    }

    /// A transaction that takes too long is aborted, and its producer fenced.
    pub fn timed_out(&mut self) -> Result<()> {
        let late = self.init("late", 4, 1, (-1, -1))?;
        let producer = (late.producer_id, late.producer_epoch);
        self.add_to("late", producer, "a", &[0, 2])?;
        let describe = DescribeTransactionsRequest {
            transactional_ids: vec!["late".into()],
        };
        self.until("the abort", |script| {
            let answer = script.ask(0, &describe)?;
            Ok(&*answer.transaction_states[0].transaction_state == "CompleteAbort")
        })?;
        for version in 0..=3 {
            self.end("late", version, producer, true)?;
            self.end("late", version, (producer.0, producer.1 + 1), true)?;
            self.end("late", version, (producer.0, producer.1 + 1), false)?;
        }
        self.describe(&["late"])?;
        self.init("late", 4, LONG_MS, producer)?;
        self.init("late", 4, LONG_MS, (producer.0, producer.1 + 1))?;
        self.describe(&["late"])
    }
}

fn transaction(
    id: &str,
    producer: (i64, i16),
    verify_only: bool,
    topics: Vec<AddPartitionsToTxnTopic>,
) -> AddPartitionsToTxnTransaction {
    AddPartitionsToTxnTransaction {
        transactional_id: id.into(),
        producer_id: producer.0,
        producer_epoch: producer.1,
        verify_only,
        topics,
    }
}
