//! Shell: two requests that meet at one transactional id: whichever comes first, both are answered as Apache's broker
//! may answer them, and what is stored is what was answered.

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use integration_tests::new_topics::NewTopic;
use integration_tests::partition_view::wait_for_leaders;
use integration_tests::requests::Random;
use integration_tests::stack::{Broker, Maker};
use integration_tests::talk::Talk;
use integration_tests::wait::until;
use kafka_wire::messages::add_partitions_to_txn::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic,
};
use kafka_wire::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use kafka_wire::messages::delete_topics::DeleteTopicsRequest;
use kafka_wire::messages::describe_producers::{DescribeProducersRequest, TopicRequest};
use kafka_wire::messages::describe_transactions::DescribeTransactionsRequest;
use kafka_wire::messages::end_txn::EndTxnRequest;
use kafka_wire::messages::init_producer_id::InitProducerIdRequest;
use kafka_wire::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use kafka_wire::wire::Records;

use super::cut_off;
use super::flows::Flow;
use super::script::{LONG_MS, Script};

/// Who asks, and what is told: how often each outcome came.
type Outcomes = BTreeMap<String, u32>;
/// Where records meet the end of their transaction.
const TOPIC: &str = "raced";

type Producer = (i64, i16);

/// What may come of each meeting. Only the order in which a coordinator takes them decides, and nothing else can come.
const ALLOWED: [(&str, &[&str]); 9] = [
    (
        "commit and time-out",
        &["commit 0 CompleteCommit", "commit 90 CompleteAbort"],
    ),
    (
        "two new producers",
        &["init 0 +1 init 0 +2 Empty", "init 0 +1 init 51 +0 Empty"],
    ),
    (
        // Whoever asks again is told the same.
        "two of one producer",
        &["init 0 +1 init 0 +1 Empty", "init 0 +1 init 51 +0 Empty"],
    ),
    (
        "two new producers on an open transaction",
        &[
            "init 51 +0 init 51 +0 CompleteAbort",
            "init 0 +2 init 51 +0 Empty",
        ],
    ),
    (
        "commit and a new producer",
        &[
            "commit 0 init 0 +1 Empty",
            "commit 0 init 51 +0 CompleteCommit",
            "commit 90 init 51 +0 CompleteAbort",
        ],
    ),
    (
        "commit and abort",
        &[
            "abort 0 commit 48 CompleteAbort",
            "abort 0 commit 51 CompleteAbort",
            "abort 48 commit 0 CompleteCommit",
            "abort 51 commit 0 CompleteCommit",
        ],
    ),
    (
        "commit and another partition",
        &[
            "add 0 commit 0 CompleteCommit",
            "add 0 commit 0 Ongoing",
            "add 0 commit 51 Ongoing",
            "add 51 commit 0 CompleteCommit",
        ],
    ),
    (
        "a topic that is deleted",
        &[
            "add 0 commit 0 CompleteCommit",
            "add 3 commit 0 CompleteCommit",
        ],
    ),
    (
        // What comes after the marker belongs to no transaction.
        "commit and a record",
        &[
            "commit 0 produce 0 CompleteCommit",
            "commit 0 produce 19 CompleteCommit",
            "commit 0 produce 48 CompleteCommit",
        ],
    ),
];

/// What Apache's broker tells whoever commits between its taking the epoch away and its decision to abort: it breaks off
/// with an exception. Ours does both in one step.
const BROKEN_OFF: &str = "commit -1";

/// Two connections that ask at about the same time.
struct Race {
    left: Talk,
    right: Talk,
    script: Script,
    random: Random,
    base_time: i64,
    outcomes: BTreeMap<&'static str, Outcomes>,
}

/// Lets requests meet, each pair so often; what came of them, by kind of meeting.
pub fn run(
    script: Script,
    (broker, maker): (&Broker, Maker),
    (times, base_time): (u64, i64),
) -> Result<BTreeMap<&'static str, Outcomes>> {
    let mut race = Race {
        left: Talk::with(broker.address())?.named("left"),
        right: Talk::with(broker.address())?.named("right"),
        script,
        random: Random::new(times),
        base_time,
        outcomes: BTreeMap::new(),
    };
    race.commit_and_time_out(times)?;
    for number in 0..times {
        let [first, second, third, fourth, fifth] =
            ["new", "again", "open", "fence", "end"].map(|kind| format!("{kind}-{number}"));
        race.two_new(&first)?;
        race.two_again(&second)?;
        race.two_on_open(&third)?;
        race.commit_and_init(&fourth)?;
        race.commit_and_abort(&fifth)?;
        race.commit_and_add(&fifth)?;
    }
    race.commits_and_records(times)?;
    race.deleted_topics(times.div_ceil(8))?;
    for (kind, outcomes) in &race.outcomes {
        let allowed = ALLOWED.iter().find(|(name, _)| name == kind);
        let allowed = allowed.context(*kind)?.1;
        for outcome in outcomes.keys() {
            let is_broken_off = maker == Maker::Apache && outcome.starts_with(BROKEN_OFF);
            ensure!(
                is_broken_off || allowed.contains(&&**outcome),
                "{kind}: {outcome} is none of {allowed:?}"
            );
        }
    }
    Ok(race.outcomes)
}

impl Race {
    /// Asks on both connections at once, each after a moment of its own.
    fn meet(
        &mut self,
        left: impl FnOnce(&mut Talk) -> Result<String> + Send,
        right: impl FnOnce(&mut Talk) -> Result<String>,
    ) -> Result<[String; 2]> {
        let start = Barrier::new(2);
        let most = self.random.pick(&[1, 300, 3000]);
        let pauses = [self.random.below(most), self.random.below(most)];
        let wait = |pause| {
            start.wait();
            thread::sleep(Duration::from_micros(pause));
        };
        let (one, other) = (&mut self.left, &mut self.right);
        thread::scope(|scope| {
            let left = scope.spawn(move || {
                wait(pauses[0]);
                left(one)
            });
            wait(pauses[1]);
            let right = right(other);
            let left = left.join().map_err(|_| anyhow!("it panicked"))?;
            Ok([left?, right?])
        })
    }

    /// Notes what two were told, in no order, and how it ended.
    fn note(&mut self, kind: &'static str, id: &str, mut told: [String; 2]) -> Result<()> {
        told.sort();
        self.note_end(kind, id, &told.join(" "))
    }

    /// Notes what was told, and how it ended.
    fn note_end(&mut self, kind: &'static str, id: &str, told: &str) -> Result<()> {
        // Apache's refuses who is fenced a little before it decides to abort.
        if told.contains("commit 90") || told.contains(BROKEN_OFF) {
            until("the abort", || Ok(self.state(id)? != "Ongoing"))?;
        }
        self.script.settle(id)?;
        let outcome = format!("{told} {}", self.state(id)?);
        let outcomes = self.outcomes.entry(kind).or_default();
        *outcomes.entry(outcome).or_default() += 1;
        Ok(())
    }

    fn state(&mut self, id: &str) -> Result<String> {
        let request = DescribeTransactionsRequest {
            transactional_ids: vec![id.into()],
        };
        let answer = self.script.ask(0, &request)?;
        let state = answer.transaction_states.first().context("no state")?;
        Ok(state.transaction_state.to_string())
    }

    fn given(&mut self, id: &str, timeout_ms: i32) -> Result<Producer> {
        let answer = self.script.init(id, 4, timeout_ms, (-1, -1))?;
        ensure!(answer.error_code == 0, "{id}: {answer:?}");
        Ok((answer.producer_id, answer.producer_epoch))
    }

    fn open(&mut self, id: &str, timeout_ms: i32) -> Result<Producer> {
        let producer = self.given(id, timeout_ms)?;
        self.script.add_to(id, producer, "a", &[0, 1])?;
        Ok(producer)
    }

    /// Each transaction is to be committed at about the time at which it is to be aborted.
    fn commit_and_time_out(&mut self, times: u64) -> Result<()> {
        for number in 0..times {
            let id = format!("late-{number}");
            let timeout_ms = 20 + self.random.below(30);
            let producer = self.open(&id, timeout_ms as i32)?;
            let late_us = self.random.below(20_000);
            thread::sleep(Duration::from_micros(1000 * timeout_ms - 10_000 + late_us));
            let told = end(&mut self.left, &id, producer, true)?;
            self.note_end("commit and time-out", &id, &told)?;
        }
        Ok(())
    }

    fn two_new(&mut self, id: &str) -> Result<()> {
        let before = self.open(id, LONG_MS)?;
        end(&mut self.left, id, before, true)?;
        self.script.settle(id)?;
        let told = self.meet(
            |talk| init(talk, id, (-1, -1), before),
            |talk| init(talk, id, (-1, -1), before),
        )?;
        self.note("two new producers", id, told)
    }

    fn two_again(&mut self, id: &str) -> Result<()> {
        let before = self.given(id, LONG_MS)?;
        let told = self.meet(
            |talk| init(talk, id, before, before),
            |talk| init(talk, id, before, before),
        )?;
        self.note("two of one producer", id, told)
    }

    fn two_on_open(&mut self, id: &str) -> Result<()> {
        let before = self.open(id, LONG_MS)?;
        let told = self.meet(
            |talk| init(talk, id, (-1, -1), before),
            |talk| init(talk, id, (-1, -1), before),
        )?;
        self.note("two new producers on an open transaction", id, told)
    }

    fn commit_and_init(&mut self, id: &str) -> Result<()> {
        let before = self.open(id, LONG_MS)?;
        let told = self.meet(
            |talk| end(talk, id, before, true),
            |talk| init(talk, id, (-1, -1), before),
        )?;
        self.note("commit and a new producer", id, told)
    }

    fn commit_and_abort(&mut self, id: &str) -> Result<()> {
        let before = self.open(id, LONG_MS)?;
        let told = self.meet(
            |talk| end(talk, id, before, true),
            |talk| end(talk, id, before, false),
        )?;
        self.note("commit and abort", id, told)
    }

    fn commit_and_add(&mut self, id: &str) -> Result<()> {
        let before = self.open(id, LONG_MS)?;
        let told = self.meet(
            |talk| end(talk, id, before, true),
            |talk| add(talk, id, before, "a", 2),
        )?;
        self.note("commit and another partition", id, told)?;
        end(&mut self.left, id, before, false)?;
        self.script.settle(id)
    }

    /// Of a transaction's second record and its end, either may come first; no transaction begins with a record that is
    /// too late.
    fn commits_and_records(&mut self, times: u64) -> Result<()> {
        make_again(&mut self.left, TOPIC)?;
        let mut flow = Flow::new(self.base_time);
        let mut written = 0;
        for number in 0..times {
            let id = format!("record-{number}");
            let before = self.given(&id, LONG_MS)?;
            self.script.add_to(&id, before, TOPIC, &[0])?;
            let [first, second] =
                [0, 1].map(|sequence| flow.batch(0, (before.0, before.1, 0), sequence, true));
            let told = produce(&mut self.right, &id, first)?;
            ensure!(told == "produce 0", "{id}: {told}");
            let told = self.meet(
                |talk| end(talk, &id, before, true),
                |talk| produce(talk, &id, second),
            )?;
            written += 1 + i64::from(told[1] == "produce 0");
            self.note("commit and a record", &id, told)?;
        }
        until("the last marker", || {
            Ok(cut_off::visible(&mut self.script, TOPIC, 0)? == Some(written))
        })?;
        let request = DescribeProducersRequest {
            topics: vec![TopicRequest {
                name: TOPIC.into(),
                partition_indexes: vec![0],
            }],
        };
        let answer = self.script.ask(0, &request)?;
        let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        for producer in partitions.flat_map(|partition| &partition.active_producers) {
            ensure!(
                producer.current_txn_start_offset < 0,
                "hanging: {producer:?}"
            );
        }
        Ok(())
    }

    /// A topic goes while a partition of it is added to a transaction that ends then.
    fn deleted_topics(&mut self, times: u64) -> Result<()> {
        for number in 0..times {
            let id = format!("gone-{number}");
            // The same name again: the markers of the topic before are none of the new one's.
            make_again(&mut self.left, "gone")?;
            let before = self.open(&id, LONG_MS)?;
            self.script.add_to(&id, before, "gone", &[0])?;
            let told = self.meet(
                |talk| {
                    let added = add(talk, &id, before, "gone", 1)?;
                    let ended = end(talk, &id, before, true)?;
                    Ok(format!("{added} {ended}"))
                },
                |talk| {
                    let request = DeleteTopicsRequest {
                        topic_names: vec!["gone".into()],
                        timeout_ms: 30_000,
                        ..DeleteTopicsRequest::default()
                    };
                    let answer = talk.ask(5, &request)?.context("closed")?;
                    ensure!(
                        answer.responses.iter().all(|topic| topic.error_code == 0),
                        "{answer:?}"
                    );
                    Ok(String::new())
                },
            )?;
            self.note_end("a topic that is deleted", &id, &told[0])?;
        }
        Ok(())
    }
}

/// Makes a topic that may have just been deleted, which is answered before the name is free.
fn make_again(talk: &mut Talk, name: &'static str) -> Result<()> {
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic::from(&NewTopic::new(name, 2))],
        timeout_ms: 30_000,
        validate_only: false,
    };
    until("the topic", || {
        let answer = talk.ask(5, &request)?.context("closed")?;
        Ok(answer.topics.iter().all(|topic| topic.error_code == 0))
    })?;
    wait_for_leaders(talk, name, 2)
}

fn init(talk: &mut Talk, id: &str, expected: Producer, before: Producer) -> Result<String> {
    let request = InitProducerIdRequest {
        transactional_id: Some(id.into()),
        transaction_timeout_ms: LONG_MS,
        producer_id: expected.0,
        producer_epoch: expected.1,
    };
    let answer = talk.ask(4, &request)?.context("closed")?;
    let ahead = match answer.error_code {
        0 => {
            ensure!(answer.producer_id == before.0, "{answer:?}");
            answer.producer_epoch - before.1
        }
        _ => 0,
    };
    Ok(format!("init {} +{ahead}", answer.error_code))
}

fn end(talk: &mut Talk, id: &str, producer: Producer, committed: bool) -> Result<String> {
    let request = EndTxnRequest {
        transactional_id: id.into(),
        producer_id: producer.0,
        producer_epoch: producer.1,
        committed,
    };
    let answer = talk.ask(3, &request)?.context("closed")?;
    let wish = if committed { "commit" } else { "abort" };
    Ok(format!("{wish} {}", answer.error_code))
}

fn produce(talk: &mut Talk, id: &str, batch: Bytes) -> Result<String> {
    let request = ProduceRequest {
        transactional_id: Some(id.into()),
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: TOPIC.into(),
            partition_data: vec![PartitionProduceData {
                index: 0,
                records: Some(Records::Memory(batch)),
            }],
        }],
    };
    let answer = talk.ask(9, &request)?.context("closed")?;
    let topics = answer.responses.iter();
    let mut partitions = topics.flat_map(|topic| &topic.partition_responses);
    let error = partitions.next().context("no partition")?.error_code;
    Ok(format!("produce {error}"))
}

fn add(
    talk: &mut Talk,
    id: &str,
    producer: Producer,
    topic: &'static str,
    partition: i32,
) -> Result<String> {
    let request = AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: id.into(),
        v3_and_below_producer_id: producer.0,
        v3_and_below_producer_epoch: producer.1,
        v3_and_below_topics: vec![AddPartitionsToTxnTopic {
            name: topic.into(),
            partitions: vec![partition],
        }],
        ..AddPartitionsToTxnRequest::default()
    };
    let answer = talk.ask(3, &request)?.context("closed")?;
    let topics = answer.results_by_topic_v3_and_below.iter();
    let mut results = topics.flat_map(|topic| &topic.results_by_partition);
    let error = results.next().context("no result")?.partition_error_code;
    Ok(format!("add {error}"))
}
