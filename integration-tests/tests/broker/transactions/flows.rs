//! Shell: whole transactions from a seed: records of several producers, verified, offsets of groups, and readers of
//! both kinds. `TANDEM_SEED` and `TANDEM_ROUNDS` choose other and longer scripts, `TANDEM_KILLS` more restarts,
//! `TANDEM_VERIFY=0` brokers that do not verify.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use integration_tests::compare;
use integration_tests::normalise::Normaliser;
use integration_tests::stack::{Broker, Maker, ZooKeeper};
use integration_tests::stock_tools::{self, class};
use integration_tests::transcript::Transcript;
use kafka_wire::messages::describe_producers::{DescribeProducersRequest, TopicRequest};
use kafka_wire::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use kafka_wire::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use kafka_wire::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use kafka_wire::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestTopic};
use kafka_wire::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use kafka_wire::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_wire::records::batch_builder::{BatchBuilder, BatchBuilderOptions};
use kafka_wire::records::record::Record;
use kafka_wire::wire::Records;

use super::script::{LONG_MS, Script};
use super::{cut_off, short};
use crate::exactly_once::files;
use crate::exactly_once::view::{self, Since};

/// Nothing times out, nothing expires, and transactions are verified, which is the default.
const CONFIG: &str = "transaction.state.log.num.partitions=3\noffsets.topic.num.partitions=3\nnum.partitions=3\n\
                      transaction.max.timeout.ms=600000\nzookeeper.session.timeout.ms=4000\n\
                      log.segment.bytes=4000\nlog.retention.ms=-1\n";
const IDS: [&str; 4] = ["f0", "f1", "f2", "f3"];
const GROUPS: [&str; 3] = ["g0", "g1", "g2"];
pub const TOPIC: &str = "a";
const PARTITIONS: i32 = 3;
const UNSTABLE_OFFSET_COMMIT: i16 = 88;

/// Where a producer's next batch belongs: producer id, epoch, partition.
type Place = (i64, i16, i32);

/// What the script believes of its producers.
pub struct Flow {
    pub since: Since,
    base_time: i64,
    clock: i64,
    next: BTreeMap<Place, i32>,
    /// The batch that was sent last to each place.
    sent: BTreeMap<Place, (i32, Bytes)>,
}

impl Flow {
    pub fn new(base_time: i64) -> Self {
        Self {
            since: Since(base_time + 1_800_000),
            base_time,
            clock: 0,
            next: BTreeMap::new(),
            sent: BTreeMap::new(),
        }
    }

    pub fn batch(
        &mut self,
        random: u64,
        place: Place,
        sequence: i32,
        transactional: bool,
    ) -> Bytes {
        let mut builder = BatchBuilder::new(BatchBuilderOptions {
            producer_id: place.0,
            producer_epoch: place.1,
            base_sequence: sequence,
            transactional,
            ..BatchBuilderOptions::default()
        });
        for offset in 0..=random as i64 {
            self.clock += 1;
            builder.push(&Record {
                offset,
                timestamp: self.base_time + self.clock,
                key: Some(Bytes::from(self.clock.to_string())),
                value: Some(Bytes::from(vec![b'v'; 40 * random as usize])),
                headers: Vec::new(),
            });
        }
        builder.build()
    }
}

/// One step of a flow.
fn step(script: &mut Script, flow: &mut Flow) -> Result<()> {
    let id = script.random.pick(&IDS);
    // Mostly the right producer, so that most transactions come to something.
    let producer = match (script.random.below(12), script.known.get(id)) {
        (0, _) | (_, None) => script.producer(id),
        (_, Some(known)) => known.last().copied().unwrap_or_default(),
    };
    match script.random.below(100) {
        0..=3 => {
            let version = script.random.pick(&[0, 1, 2, 3, 4]);
            let expected = script.random.pick(&[(-1, -1), (-1, -1), producer]);
            script.init(id, version, LONG_MS, expected)?;
            await_offsets(script, id)
        }
        4..=7 => {
            let version = script.random.pick(&[0, 1, 2, 3]);
            script.add(id, version, producer, false)
        }
        8..=20 => {
            let partitions: &[i32] = script.random.pick(&[&[0, 1, 2], &[0], &[1], &[2, 0]]);
            script.add_to(id, producer, TOPIC, partitions)
        }
        21..=54 => produce(script, flow, id, producer),
        55..=61 => {
            let version = script.random.pick(&[0, 1, 2, 3]);
            let group = group_of(script, id);
            script.add_offsets(id, version, producer, group)
        }
        62..=69 => commit_offsets(script, id, producer),
        70..=80 => {
            let version = script.random.pick(&[0, 1, 2, 3]);
            let commit = script.random.pick(&[true, true, false]);
            script.end(id, version, producer, commit)?;
            await_offsets(script, id)
        }
        81..=88 => fetch(script, flow),
        89..=91 => list(script, flow),
        92..=94 => {
            let (group, stable) = (
                script.random.pick(&GROUPS),
                script.random.pick(&[true, false]),
            );
            let answer = offsets(script, group, stable)?;
            script.say(&format!("offsets of {group} {stable}"), &answer);
            Ok(())
        }
        95 => script.add(id, 4, producer, true),
        96 | 97 => describe_producers(script, flow, TOPIC),
        _ => script.describe(&IDS),
    }
}

fn produce(script: &mut Script, flow: &mut Flow, id: &str, producer: (i64, i16)) -> Result<()> {
    // A partition that has seen an epoch to come refuses the markers of the present one, and the transaction never ends.
    let newest = script.known.get(id).and_then(|known| known.last());
    let newest = newest.map_or(producer.1, |newest| newest.1);
    let producer = (producer.0, producer.1.min(newest));
    let partition = script.random.below(PARTITIONS as u64) as i32;
    let place = (producer.0, producer.1, partition);
    let next = flow.next.get(&place).copied().unwrap_or(0);
    let last = flow.sent.get(&place).cloned();
    let count = script.random.below(4);
    let transactional = script.random.below(25) != 0;
    let (sequence, batch) = match (script.random.below(20), last) {
        (0 | 1, Some((sequence, batch))) => (sequence, batch),
        (2, _) => (next + 1, flow.batch(count, place, next + 1, transactional)),
        (3, _) if next > 0 => (0, flow.batch(count, place, 0, transactional)),
        _ => (next, flow.batch(count, place, next, transactional)),
    };
    let whose = match script.random.below(30) {
        0 => None,
        1 => Some(script.random.pick(&IDS)),
        _ => Some(id),
    };
    let version = script.random.pick(&[3, 5, 7, 8, 9, 10]);
    let acks = script.random.pick(&[1, -1, -1]);
    let request = ProduceRequest {
        transactional_id: whose.map(Into::into),
        acks,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: TOPIC.into(),
            partition_data: vec![PartitionProduceData {
                index: partition,
                records: Some(Records::Memory(batch.clone())),
            }],
        }],
    };
    let answer = script.ask(version, &request)?;
    let outcome = &answer
        .responses
        .first()
        .context("no topic")?
        .partition_responses;
    if outcome
        .first()
        .is_some_and(|partition| partition.error_code == 0)
        && sequence == next
    {
        flow.next.insert(place, next + count as i32 + 1);
        flow.sent.insert(place, (sequence, batch));
    }
    let what = format!(
        "produce v{version} acks {acks} as {whose:?} {place:?} sequence {sequence} + {count} {transactional}"
    );
    let answer = view::produced(&answer);
    script.say(&what, &answer);
    Ok(())
}

/// Each id commits a partition of its own, so that only its own transaction makes its offset unstable.
fn own_partition(id: &str) -> i32 {
    IDS.iter().position(|known| *known == id).unwrap_or(0) as i32
}

/// Mostly the same group for an id.
fn group_of(script: &mut Script, id: &str) -> &'static str {
    match script.random.below(8) {
        0 => script.random.pick(&GROUPS),
        _ => GROUPS[own_partition(id) as usize % GROUPS.len()],
    }
}

fn commit_offsets(script: &mut Script, id: &str, producer: (i64, i16)) -> Result<()> {
    let group = group_of(script, id);
    let version = script.random.pick(&[0, 1, 2, 3]);
    let offset = script.random.below(1000) as i64;
    let is_member = version == 3 && script.random.below(10) == 0;
    let request = TxnOffsetCommitRequest {
        transactional_id: id.into(),
        group_id: group.into(),
        producer_id: producer.0,
        producer_epoch: producer.1,
        generation_id: if is_member { 3 } else { -1 },
        member_id: if is_member {
            "nobody".into()
        } else {
            "".into()
        },
        topics: vec![TxnOffsetCommitRequestTopic {
            name: "b".into(),
            partitions: vec![TxnOffsetCommitRequestPartition {
                partition_index: own_partition(id),
                committed_offset: offset,
                committed_leader_epoch: -1,
                committed_metadata: Some("m".into()),
            }],
        }],
        ..TxnOffsetCommitRequest::default()
    };
    let answer = script.ask(version, &request)?;
    let what =
        format!("commit v{version} {id} {producer:?} {group} {offset} as a member {is_member}");
    script.say(&what, &answer);
    Ok(())
}

/// The offsets of a group: error, and per partition offset and error.
pub fn offsets(script: &mut Script, group: &str, stable: bool) -> Result<(i16, String)> {
    let request = OffsetFetchRequest {
        group_id: group.into(),
        topics: Some(vec![OffsetFetchRequestTopic {
            name: "b".into(),
            partition_indexes: (0..IDS.len() as i32).collect(),
        }]),
        require_stable: stable,
        ..OffsetFetchRequest::default()
    };
    let answer = script.ask(7, &request)?;
    let mut text = String::new();
    for partition in answer.topics.iter().flat_map(|topic| &topic.partitions) {
        let _ = write!(
            text,
            "{}: {} {:?} {}; ",
            partition.partition_index,
            partition.committed_offset,
            partition.metadata,
            partition.error_code
        );
    }
    Ok((answer.error_code, text))
}

/// Groups hear a little after the transaction has ended; until then its offsets are unstable.
fn await_offsets(script: &mut Script, id: &str) -> Result<()> {
    let state = script.ask(
        0,
        &kafka_wire::messages::describe_transactions::DescribeTransactionsRequest {
            transactional_ids: vec![id.into()],
        },
    )?;
    let is_open = |state: &str| state == "Ongoing";
    if state
        .transaction_states
        .iter()
        .any(|state| is_open(&state.transaction_state))
    {
        return Ok(());
    }
    let unstable = format!(" {UNSTABLE_OFFSET_COMMIT}; ");
    let own = own_partition(id);
    let deadline = Instant::now() + Duration::from_secs(1);
    script.until("stable offsets", |script| {
        if !verifies() && Instant::now() > deadline {
            // Whoever commits without a transaction leaves its offsets unstable for ever.
            return Ok(true);
        }
        for group in GROUPS {
            let (_, text) = offsets(script, group, true)?;
            let mine = text
                .split("; ")
                .find(|part| part.starts_with(&format!("{own}:")));
            if mine.is_some_and(|mine| format!("{mine}; ").ends_with(&unstable)) {
                return Ok(false);
            }
        }
        Ok(true)
    })
}

fn fetch(script: &mut Script, flow: &Flow) -> Result<()> {
    let partition = script.random.below(PARTITIONS as u64) as i32;
    let version = script.random.pick(&[4, 5, 7, 9, 11, 12]);
    let committed = script.random.below(4) != 0;
    let fetch_offset = script.random.below(30) as i64 * script.random.pick(&[0, 1, 1]);
    let partition_max_bytes = script.random.pick(&[300, 1500, 1 << 20]);
    let what =
        format!("fetch v{version} {partition} {committed} {fetch_offset} {partition_max_bytes}");
    let text = read(
        script,
        flow,
        version,
        (partition, fetch_offset),
        committed,
        partition_max_bytes,
    )?;
    script.say(&what, &text);
    Ok(())
}

fn read(
    script: &mut Script,
    flow: &Flow,
    version: i16,
    (partition, fetch_offset): (i32, i64),
    committed: bool,
    partition_max_bytes: i32,
) -> Result<String> {
    let request = FetchRequest {
        isolation_level: i8::from(committed),
        topics: vec![FetchTopic {
            topic: TOPIC.into(),
            partitions: vec![FetchPartition {
                partition,
                fetch_offset,
                partition_max_bytes,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    };
    let answer = script.ask(version, &request)?;
    view::fetched(&answer, flow.since)
}

fn list(script: &mut Script, flow: &Flow) -> Result<()> {
    let version = script.random.pick(&[2, 4, 7, 8]);
    let committed = script.random.pick(&[true, false]);
    let partition_index = script.random.below(PARTITIONS as u64) as i32;
    let timestamp = script.random.pick(&[-1, -1, -2]);
    let request = ListOffsetsRequest {
        replica_id: -1,
        isolation_level: i8::from(committed),
        topics: vec![ListOffsetsTopic {
            name: TOPIC.into(),
            partitions: vec![ListOffsetsPartition {
                partition_index,
                timestamp,
                ..ListOffsetsPartition::default()
            }],
        }],
    };
    let answer = script.ask(version, &request)?;
    let what = format!("list v{version} {partition_index} {committed} {timestamp}");
    let text = view::listed(&answer, flow.since);
    script.say(&what, &text);
    Ok(())
}

pub fn describe_producers(script: &mut Script, flow: &Flow, topic: &'static str) -> Result<()> {
    let request = producers_of(topic);
    let answer = script.ask(0, &request)?;
    let text = view::described(&answer, flow.since);
    script.say("producers", &text);
    Ok(())
}

fn producers_of(topic: &'static str) -> DescribeProducersRequest {
    DescribeProducersRequest {
        topics: vec![TopicRequest {
            name: topic.into(),
            partition_indexes: (0..PARTITIONS).collect(),
        }],
    }
}

/// Waits for what a broker makes ready after it has started: leaders of the topics, and the groups.
pub fn await_all(script: &mut Script) -> Result<()> {
    let topics = [TOPIC, "b"].map(|name| MetadataRequestTopic {
        name: Some(name.into()),
        ..MetadataRequestTopic::default()
    });
    let request = MetadataRequest {
        topics: Some(topics.to_vec()),
        ..MetadataRequest::default()
    };
    script.until("leaders", |script| {
        let answer = script.ask(9, &request)?;
        let mut partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        Ok(answer.topics.len() == 2 && partitions.all(|partition| partition.error_code == 0))
    })?;
    for topic in [TOPIC, "b"] {
        script.until("leading", |script| {
            let answer = script.ask(0, &producers_of(topic))?;
            let mut partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
            Ok(partitions.all(|partition| partition.error_code == 0))
        })?;
    }
    for group in GROUPS {
        script.until("groups", |script| Ok(offsets(script, group, false)?.0 == 0))?;
    }
    IDS.iter().try_for_each(|id| script.settle(id))
}

/// Whatever there is at the end.
fn at_last(script: &mut Script, flow: &Flow) -> Result<()> {
    for partition in 0..PARTITIONS {
        for committed in [false, true] {
            let text = read(script, flow, 12, (partition, 0), committed, 1 << 20)?;
            script.say(&format!("all of {partition} {committed}"), &text);
        }
    }
    describe_producers(script, flow, TOPIC)?;
    for group in GROUPS {
        let answer = offsets(script, group, true)?;
        script.say(&format!("at last {group}"), &answer);
    }
    script.describe(&IDS)
}

fn environment(name: &str, default: u64) -> u64 {
    let set = std::env::var(name).ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn verifies() -> bool {
    environment("TANDEM_VERIFY", 1) != 0
}

/// Groups' offsets as Apache's tool reads them.
fn dump_offsets(logs: &Path, transcript: &mut Transcript) -> Result<()> {
    let normaliser = Normaliser::new()
        .pattern(r"(CreateTime|Timestamp)([:=] ?)[0-9]+", "$1$2<ms>")
        .pattern(r#"("(commit|expire)Timestamp": ?"?)[0-9]+"#, "$1<ms>")
        .pattern(r"^\| offset: [0-9]+ ", "");
    for partition in 0..3 {
        let name = format!("__consumer_offsets-{partition}/00000000000000000000.log");
        let path = logs.join(&name).display().to_string();
        let options = ["--offsets-decoder", "--files", &path];
        let finished = stock_tools::run(class::DUMP_LOG, &options)?;
        ensure!(finished.code == 0, "{finished:?}");
        let records = finished.stdout.lines().filter(|line| line.starts_with('|'));
        let is_told = |line: &&str| !cut_off::is_of_one(line) && !line.contains("endTxnMarker");
        let text = records.filter(is_told).collect::<Vec<_>>().join("\n");
        transcript.lines(&format!("dump {name}"), &text, &normaliser);
    }
    Ok(())
}

struct Run {
    broker: Broker,
    zookeeper: ZooKeeper,
    script: Script,
    flow: Flow,
}

impl Run {
    fn restart(&mut self, cleanly: bool) -> Result<()> {
        if cleanly {
            self.broker.stop()?;
        } else {
            self.broker.kill()?;
        }
        self.zookeeper.wait_for_no_broker()?;
        self.broker.start_again()?;
        // Apache's broker remembers only the last batch of each producer, ours what the log has as well.
        self.flow.sent.clear();
        self.script.reconnect(&self.broker)?;
        await_all(&mut self.script)?;
        self.script.say("restart cleanly", &cleanly);
        Ok(())
    }

    fn play(&mut self, seed: u64) -> Result<()> {
        await_all(&mut self.script)?;
        for id in IDS {
            self.script.init(id, 4, LONG_MS, (-1, -1))?;
        }
        let restarts = environment("TANDEM_KILLS", 1);
        let steps = environment("TANDEM_ROUNDS", 300) / (restarts + 1);
        for part in 0..=restarts {
            for _ in 0..steps {
                step(&mut self.script, &mut self.flow)?;
            }
            if part == 0 && restarts > 0 {
                cut_off::begin(&mut self.script, &mut self.flow)?;
                self.restart(false)?;
                cut_off::look(&mut self.script, &self.broker)?;
            } else if part < restarts {
                self.restart((part + seed).is_multiple_of(2))?;
            }
        }
        at_last(&mut self.script, &self.flow)
    }
}

fn play(maker: Maker, seed: u64, base_time: i64) -> Result<Transcript> {
    let zookeeper = ZooKeeper::start(Maker::Ours)?;
    let verifies = verifies();
    let config = format!("{CONFIG}transaction.partition.verification.enable={verifies}\n");
    let mut broker = Broker::prepare(maker, &zookeeper.connect(), &config)?;
    broker.start_again()?;
    let script = Script::start(&broker, seed)?;
    let flow = Flow::new(base_time);
    let mut run = Run {
        broker,
        zookeeper,
        script,
        flow,
    };
    if let Err(error) = run.play(seed) {
        let tail = run.broker.running().map(|process| process.tail());
        bail!(
            "{maker:?} {error:?}\n{}\n{}",
            run.script.text,
            tail.unwrap_or_default()
        );
    }
    let normaliser = Normaliser::new().pattern(
        r"transaction_start_time_ms: [0-9]+",
        "transaction_start_time_ms: <ms>",
    );
    let mut transcript = Transcript::default();
    transcript.lines("whole transactions", &run.script.text, &normaliser);
    run.broker.stop()?;
    let logs = run.broker.log_directory();
    let partitions: Vec<String> = (0..PARTITIONS).map(|n| format!("{TOPIC}-{n}")).collect();
    files(&mut transcript, &logs, &partitions)?;
    super::dump(&logs, &mut transcript)?;
    dump_offsets(&logs, &mut transcript)?;
    short::play(&mut run.broker, &mut transcript, base_time)?;
    Ok(transcript)
}

#[test]
fn whole_transactions_leave_what_apaches_broker_leaves() -> Result<()> {
    let seed = environment("TANDEM_SEED", 1);
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    // Long enough ago that no time of the script is the broker's, and not so long that producers expire.
    let base_time = i64::try_from(now)? - Duration::from_secs(3600).as_millis() as i64;
    let theirs = play(Maker::Apache, seed, base_time)?;
    let ours = play(Maker::Ours, seed, base_time)?;
    if let Ok(path) = std::env::var("TANDEM_TRANSCRIPT") {
        std::fs::write(path, theirs.to_string())?;
    }
    compare::ensure_same(&theirs, &ours).with_context(|| format!("TANDEM_SEED={seed}"))
}
