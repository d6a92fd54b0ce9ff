//! Shell: the transaction coordinator, request by request in every version, from a seed and on states of every kind
//! that are found in the log: ours answers and stores as Apache's does.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use integration_tests::compare;
use integration_tests::normalise::Normaliser;
use integration_tests::requests::Random;
use integration_tests::stack::{Broker, Maker, ZooKeeper};
use integration_tests::stock_tools::{self, class};
use integration_tests::talk::Talk;
use integration_tests::transcript::Transcript;
use kafka_wire::message::{Request, encode_versioned};
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
use kafka_wire::messages::transaction_log_record::{
    PartitionsSchema, TransactionLogKey, TransactionLogValue,
};
use kafka_wire::records::batch::{BatchBuilder, BatchBuilderOptions, Batches};

/// Few partitions, so that each holds several ids; nothing times out but where a script waits for it.
const CONFIG: &str = "transaction.state.log.num.partitions=3\noffsets.topic.num.partitions=3\nnum.partitions=3\n\
                      transaction.max.timeout.ms=600000\ntransaction.abort.timed.out.transaction.cleanup.interval.ms=300\n\
                      transaction.remove.expired.transaction.cleanup.interval.ms=3600000\n";
const PARTITIONS: i32 = 3;
/// How long anything may take that a script waits for.
const PATIENCE: Duration = Duration::from_secs(60);
/// A timeout that never comes.
const LONG_MS: i32 = 500_000;

/// What one client says to one broker, and what it is told.
struct Script {
    talk: Talk,
    random: Random,
    /// The producer ids and epochs that were given out, by transactional id.
    known: BTreeMap<String, Vec<(i64, i16)>>,
    text: String,
}

impl Script {
    fn start(broker: &Broker, seed: u64) -> Result<Self> {
        let mut script = Self {
            talk: Talk::with(broker.address())?.named("transactions"),
            random: Random::new(seed),
            known: BTreeMap::new(),
            text: String::new(),
        };
        script.await_coordinators()?;
        Ok(script)
    }

    fn say<A: Debug>(&mut self, what: &str, answer: &A) {
        self.text.push_str(&format!("{what}: {answer:?}\n"));
    }

    fn ask<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response> {
        self.talk
            .ask(version, request)?
            .with_context(|| format!("{} v{version} closed the connection", R::NAME))
    }

    /// Makes all topics, and waits for all that may be busy after a start.
    fn await_coordinators(&mut self) -> Result<()> {
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

    fn until(&mut self, what: &str, mut look: impl FnMut(&mut Self) -> Result<bool>) -> Result<()> {
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
    fn settle(&mut self, id: &str) -> Result<()> {
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

    fn init(
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

    fn add(&mut self, id: &str, version: i16, producer: (i64, i16), verify: bool) -> Result<()> {
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

    fn add_offsets(&mut self, id: &str, version: i16, producer: (i64, i16)) -> Result<()> {
        let group = self.random.pick(&["g0", "g1", "g2", ""]);
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

    fn end(&mut self, id: &str, version: i16, producer: (i64, i16), commit: bool) -> Result<()> {
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
        self.settle(id)
    }

    fn describe(&mut self, ids: &[&str]) -> Result<()> {
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

    fn list(&mut self, states: &[&str], producers: &[i64]) -> Result<()> {
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
    fn topics(&mut self) -> Vec<AddPartitionsToTxnTopic> {
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
    fn producer(&mut self, id: &str) -> (i64, i16) {
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

    fn random_steps(&mut self, steps: usize) -> Result<()> {
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
                    self.add_offsets(id, version, producer)?;
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

    fn random_list(&mut self, producer: i64) -> Result<()> {
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
    fn batched(&mut self) -> Result<()> {
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

    /// A transaction that takes too long is aborted, and its producer fenced.
    fn timed_out(&mut self) -> Result<()> {
        let late = self.init("late", 4, 1, (-1, -1))?;
        let producer = (late.producer_id, late.producer_epoch);
        let topics = vec![AddPartitionsToTxnTopic {
            name: "a".into(),
            partitions: vec![0, 2],
        }];
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: "late".into(),
            v3_and_below_producer_id: producer.0,
            v3_and_below_producer_epoch: producer.1,
            v3_and_below_topics: topics,
            ..AddPartitionsToTxnRequest::default()
        };
        let answer = self.ask(3, &request)?;
        self.say("add to late", &answer);
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

/// States that are found in the log: id, value, version of the value.
fn states() -> Vec<(&'static str, Option<(i16, TransactionLogValue)>)> {
    let topic = |name: &'static str, ids: &[i32]| PartitionsSchema {
        topic: name.into(),
        partition_ids: ids.to_vec(),
    };
    let value = |producer_id: i64, epoch: i16, status: i8, partitions| TransactionLogValue {
        producer_id,
        producer_epoch: epoch,
        transaction_timeout_ms: LONG_MS,
        transaction_status: status,
        transaction_partitions: partitions,
        // So that nothing times out, and nothing expires.
        transaction_last_update_timestamp_ms: 4_000_000_000_000,
        transaction_start_timestamp_ms: if status == 0 { -1 } else { 4_000_000_000_000 },
    };
    let here = || Some(vec![topic("a", &[0, 1]), topic("b", &[2])]);
    let gone = || Some(vec![topic("nothere", &[0]), topic("a", &[1, 9])]);
    vec![
        ("s-empty", Some((0, value(5001, 3, 0, None)))),
        ("s-empty-flexible", Some((1, value(5002, 3, 0, None)))),
        ("s-ongoing", Some((0, value(5003, 0, 1, here())))),
        ("s-ongoing-flexible", Some((1, value(5004, 0, 1, here())))),
        ("s-prepare-commit", Some((0, value(5005, 1, 2, here())))),
        ("s-prepare-abort", Some((0, value(5006, 2, 3, here())))),
        (
            "s-prepare-commit-gone",
            Some((0, value(5007, 1, 2, gone()))),
        ),
        (
            "s-prepare-nothing",
            Some((0, value(5008, 1, 3, Some(vec![])))),
        ),
        ("s-committed", Some((0, value(5009, 7, 4, Some(vec![]))))),
        ("s-aborted", Some((0, value(5010, 7, 5, Some(vec![]))))),
        (
            "s-nearly-exhausted",
            Some((0, value(5011, 32_764, 0, None))),
        ),
        (
            "s-exhausted",
            Some((0, value(5012, 32_766, 4, Some(vec![])))),
        ),
        (
            "s-exhausted-ongoing",
            Some((0, value(5013, 32_766, 1, here()))),
        ),
        ("s-replaced", Some((0, value(5014, 0, 1, here())))),
        ("s-replaced", Some((0, value(5014, 5, 0, None)))),
        ("s-deleted", Some((0, value(5015, 0, 0, None)))),
        ("s-deleted", None),
        ("s-dead", Some((0, value(5016, 0, 6, Some(vec![]))))),
        ("s-fencing", Some((0, value(5017, 0, 7, here())))),
    ]
}

/// Writes states into the logs of a broker that is stopped, each as the coordinator of its partition would have.
fn plant(logs: &Path) -> Result<()> {
    let mut batches: BTreeMap<i32, BatchBuilder> = BTreeMap::new();
    for (id, value) in states() {
        let partition = partition_of(id);
        let path = logs.join(format!(
            "__transaction_state-{partition}/00000000000000000000.log"
        ));
        let builder = match batches.get_mut(&partition) {
            Some(builder) => builder,
            None => {
                let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
                let mut next = 0;
                for batch in Batches::new(&bytes) {
                    next = batch?.header.next_offset();
                }
                let options = BatchBuilderOptions {
                    base_offset: next,
                    partition_leader_epoch: 0,
                    ..BatchBuilderOptions::default()
                };
                batches
                    .entry(partition)
                    .or_insert(BatchBuilder::new(options))
            }
        };
        let key = TransactionLogKey {
            transactional_id: id.into(),
        };
        let key = encode_versioned(&key, 0)?;
        let value = match value {
            Some((version, value)) => Some(encode_versioned(&value, version)?),
            None => None,
        };
        builder.append(1_700_000_000_000, Some(&key), value.as_deref());
    }
    for (partition, mut builder) in batches {
        // A key of a version that is not known is passed over.
        builder.append(1_700_000_000_000, Some(&[0, 9, 1, 2]), Some(&[0, 0]));
        let path = logs.join(format!(
            "__transaction_state-{partition}/00000000000000000000.log"
        ));
        let mut bytes = fs::read(&path)?;
        bytes.extend_from_slice(&builder.build());
        fs::write(&path, bytes)?;
    }
    // So that both brokers look at what was added.
    fs::remove_file(logs.join(".kafka_cleanshutdown"))?;
    Ok(())
}

/// `Utils.abs(id.hashCode) % partitions`
fn partition_of(id: &str) -> i32 {
    let hash = id.encode_utf16().fold(0_i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(unit.into())
    });
    if hash == i32::MIN {
        0
    } else {
        hash.abs() % PARTITIONS
    }
}

fn on_planted_states(script: &mut Script) -> Result<()> {
    let mut ids: Vec<&str> = states().iter().map(|(id, _)| *id).collect();
    ids.dedup();
    for id in &ids {
        script.settle(id)?;
    }
    script.describe(&ids)?;
    script.list(&[], &[])?;
    for (id, value) in states() {
        let Some((_, value)) = value else { continue };
        let stored = (value.producer_id, value.producer_epoch);
        if matches!(value.transaction_status, 6 | 7) {
            // No broker writes these; Apache's breaks off with an exception.
            continue;
        }
        script.add(id, 4, stored, true)?;
        script.end(id, 3, (stored.0, stored.1 - 1), true)?;
        script.end(id, 3, (stored.0, stored.1.wrapping_add(1)), true)?;
        script.end(id, 3, stored, value.producer_id % 2 == 0)?;
        script.end(id, 3, stored, value.producer_id % 2 == 1)?;
        script.describe(&[id])?;
        // Fences what is still open, then bumps; again with what was given out, and with what was before that.
        for _ in 0..2 {
            script.init(id, 4, LONG_MS, (-1, -1))?;
        }
        let newest = script.known.get(id).and_then(|known| known.last()).copied();
        let Some(newest) = newest else { continue };
        script.init(id, 4, LONG_MS, newest)?;
        script.init(id, 4, LONG_MS, newest)?;
        script.init(id, 4, LONG_MS, stored)?;
        script.init(id, 3, LONG_MS, stored)?;
        script.describe(&[id])?;
    }
    Ok(())
}

/// What the log holds in the words of Apache's tool; times and sizes differ between runs, partitions have no order.
fn dump(logs: &Path, transcript: &mut Transcript) -> Result<()> {
    let normaliser = Normaliser::new()
        .pattern(r"crc: [0-9]+", "crc: <crc>")
        .pattern(
            r"(CreateTime|Timestamp|LogAppendTime)([:=] ?)[0-9]+",
            "$1$2<ms>",
        );
    for partition in 0..PARTITIONS {
        let name = format!("__transaction_state-{partition}/00000000000000000000.log");
        let path = logs.join(&name).display().to_string();
        let options = ["--transaction-log-decoder", "--files", &path];
        let finished = stock_tools::run(class::DUMP_LOG, &options)?;
        ensure!(finished.code == 0, "{finished:?}");
        let text: String = finished
            .stdout
            .lines()
            .map(|line| sorted_partitions(line) + "\n")
            .collect();
        let text = text.replace(&logs.display().to_string(), "<logs>");
        transcript.lines(&format!("dump {name}"), &text, &normaliser);
    }
    Ok(())
}

fn sorted_partitions(line: &str) -> String {
    let Some((head, rest)) = line.split_once("partitions=[") else {
        return line.to_owned();
    };
    let Some((list, tail)) = rest.split_once(']') else {
        return line.to_owned();
    };
    let mut list: Vec<&str> = list.split(',').collect();
    list.sort_unstable();
    format!("{head}partitions=[{}]{tail}", list.join(","))
}

fn seed() -> u64 {
    std::env::var("TANDEM_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(11)
}

fn steps() -> usize {
    std::env::var("TANDEM_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(500)
}

fn play(maker: Maker) -> Result<Transcript> {
    let zookeeper = ZooKeeper::start(Maker::Ours)?;
    let mut broker = Broker::prepare(maker, &zookeeper.connect(), CONFIG)?;
    broker.start_again()?;
    let normaliser = Normaliser::new().pattern(
        r"transaction_start_time_ms: [0-9]+",
        "transaction_start_time_ms: <ms>",
    );
    let mut transcript = Transcript::default();
    let mut script = Script::start(&broker, seed())?;
    let played = script
        .batched()
        .and_then(|()| script.timed_out())
        .and_then(|()| script.random_steps(steps()));
    if let Err(error) = played {
        bail!("{error:?}\n{}\n{}", script.text, broker.process()?.tail());
    }
    transcript.lines("random requests", &script.text, &normaliser);
    ensure!(
        broker.stop()? == 0 || maker == Maker::Apache,
        "not a clean end"
    );
    plant(&broker.log_directory())?;
    broker.start_again()?;
    let mut script = Script::start(&broker, 1)?;
    if let Err(error) = on_planted_states(&mut script) {
        bail!("{error:?}\n{}\n{}", script.text, broker.process()?.tail());
    }
    transcript.lines("states from the log", &script.text, &normaliser);
    broker.stop()?;
    dump(&broker.log_directory(), &mut transcript)?;
    Ok(transcript)
}

#[test]
fn every_transactional_request_is_answered_and_stored_as_apaches_broker_does() -> Result<()> {
    let ours = play(Maker::Ours)?;
    let reference = play(Maker::Apache)?;
    compare::ensure_same(&reference, &ours)
}
