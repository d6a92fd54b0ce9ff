//! Shell: when the cleaner comes: `min.compaction.lag.ms`, `max.compaction.lag.ms`, `min.cleanable.dirty.ratio`, `delete.retention.ms` and the
//! throttle, with Apache's broker and ours at the same time. Nothing may come too early; how late it comes is printed.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use integration_tests::at_once::both;
use integration_tests::new_topics::{self, NewTopic};
use integration_tests::stack::{Broker, Maker, ZooKeeper};
use integration_tests::talk::Talk;
use kafka_wire::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use kafka_wire::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use kafka_wire::records::batch::Batches;
use kafka_wire::records::batch_builder::{BatchBuilder, BatchBuilderOptions};
use kafka_wire::wire::Records;

const LIMIT: Duration = Duration::from_secs(120);
const LAG: Duration = Duration::from_millis(4000);
const HOUR_MS: i64 = 3_600_000;

/// A topic, its configuration, how old its records are when they are written, and how long at least until it is compacted: never if
/// there is nothing.
type Case = (
    &'static str,
    &'static [(&'static str, &'static str)],
    i64,
    Option<Duration>,
);

const CASES: &[Case] = &[
    ("prompt", &[], 0, Some(Duration::ZERO)),
    (
        "min-lag",
        &[("min.compaction.lag.ms", "4000")],
        0,
        Some(LAG),
    ),
    (
        "min-lag-of-old",
        &[("min.compaction.lag.ms", "4000")],
        HOUR_MS,
        Some(Duration::ZERO),
    ),
    (
        "max-lag",
        &[
            ("max.compaction.lag.ms", "4000"),
            ("min.cleanable.dirty.ratio", "1"),
        ],
        0,
        Some(LAG),
    ),
    (
        "max-lag-of-old",
        &[
            ("max.compaction.lag.ms", "4000"),
            ("min.cleanable.dirty.ratio", "1"),
        ],
        HOUR_MS,
        Some(Duration::ZERO),
    ),
    ("ratio", &[("min.cleanable.dirty.ratio", "1")], 0, None),
    (
        "min-lag-of-a-day",
        &[("min.compaction.lag.ms", "86400000")],
        0,
        None,
    ),
    ("deleted", &[("delete.retention.ms", "4000")], 0, Some(LAG)),
    (
        "deleted-at-once",
        &[("delete.retention.ms", "0")],
        0,
        Some(Duration::ZERO),
    ),
];

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(0))
}

fn send(talk: &mut Talk, topic: &str, records: bytes::Bytes) -> Result<()> {
    let request = ProduceRequest {
        transactional_id: None,
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: topic.into(),
            partition_data: vec![PartitionProduceData {
                index: 0,
                records: Some(Records::Memory(records)),
            }],
        }],
    };
    let answer = talk.ask(9, &request)?.context("closed")?;
    let code = answer.responses[0].partition_responses[0].error_code;
    ensure!(code == 0, "{topic}: {code}");
    Ok(())
}

/// Records of 400 bytes, each a batch; without a value for the keys that begin with "x".
fn fill(talk: &mut Talk, topic: &str, keys: &[&str], age_ms: i64) -> Result<()> {
    for key in keys {
        let mut builder = BatchBuilder::new(BatchBuilderOptions::default());
        let value = (!key.starts_with('x')).then_some(&[b'v'; 400][..]);
        builder.append(now_ms() - age_ms, Some(key.as_bytes()), value);
        send(talk, topic, builder.build())?;
    }
    Ok(())
}

/// Offsets and keys of all records, those without a value marked.
fn look(talk: &mut Talk, topic: &str) -> Result<Vec<String>> {
    let (mut seen, mut offset) = (Vec::new(), 0);
    loop {
        let request = FetchRequest {
            replica_id: -1,
            max_bytes: i32::MAX,
            session_epoch: -1,
            topics: vec![FetchTopic {
                topic: topic.into(),
                partitions: vec![FetchPartition {
                    current_leader_epoch: -1,
                    fetch_offset: offset,
                    partition_max_bytes: 1 << 20,
                    ..FetchPartition::default()
                }],
                ..FetchTopic::default()
            }],
            ..FetchRequest::default()
        };
        let answer = talk.ask(11, &request)?.context("closed")?;
        let partition = &answer.responses[0].partitions[0];
        ensure!(partition.error_code == 0, "{topic}: {partition:?}");
        let Some(Records::Memory(bytes)) = &partition.records else {
            bail!("no records");
        };
        if bytes.is_empty() {
            return Ok(seen);
        }
        for batch in Batches::new(bytes) {
            let Ok(batch) = batch else { break };
            offset = batch.header.next_offset();
            for record in batch.records(batch.payload()) {
                let record = record?;
                let key = String::from_utf8_lossy(record.key.unwrap_or_default());
                let mark = if record.value.is_none() { "!" } else { "" };
                seen.push(format!("{} {key}{mark}", record.offset));
            }
        }
    }
}

/// Two of three records are superseded; a key is deleted. What is compacted does not change any more.
const KEYS: [&str; 7] = ["a", "x", "b", "a", "a", "b", "c"];

/// The newest of each key.
const KEPT: usize = 4;

fn play(maker: Maker) -> Result<BTreeMap<&'static str, Vec<String>>> {
    let zookeeper = ZooKeeper::start(Maker::Ours)?;
    let mut broker = Broker::prepare(
        maker,
        &zookeeper.connect(),
        "log.cleaner.backoff.ms=100\nlog.cleaner.dedupe.buffer.size=2000000\n",
    )?;
    broker.start_again()?;
    let mut talk = Talk::with(broker.address())?;
    let topics: Vec<NewTopic> = CASES
        .iter()
        .map(|(topic, configs, ..)| {
            let common = [("cleanup.policy", "compact"), ("segment.bytes", "1000")];
            let ratio = [("min.cleanable.dirty.ratio", "0")];
            let has_ratio = configs.iter().any(|(key, _)| *key == ratio[0].0);
            let topic = NewTopic::new(topic, 1).with(&common).with(configs);
            if has_ratio { topic } else { topic.with(&ratio) }
        })
        .collect();
    new_topics::create(&mut talk, &topics)?;
    let mut started = BTreeMap::new();
    for (topic, _, age_ms, _) in CASES {
        // The lag counts from the first record's time on.
        started.insert(*topic, Instant::now());
        fill(&mut talk, topic, &KEYS, *age_ms)?;
    }
    let deadline = Instant::now() + LIMIT;
    let mut waiting: Vec<&Case> = CASES.iter().filter(|case| case.3.is_some()).collect();
    let mut views = BTreeMap::new();
    while !waiting.is_empty() {
        ensure!(Instant::now() < deadline, "not compacted: {waiting:?}");
        thread::sleep(Duration::from_millis(50));
        let mut left = Vec::new();
        for case in waiting {
            let (topic, _, _, at_least) = *case;
            let deleted = topic.starts_with("deleted");
            if deleted {
                // Only what is dirty is looked at again.
                fill(&mut talk, topic, &["d", "d", "d"], 0)?;
            }
            let seen = look(&mut talk, topic)?;
            let done = match deleted {
                true => !seen.iter().any(|record| record.ends_with('!')),
                false => seen.len() == KEPT,
            };
            if !done {
                left.push(case);
                continue;
            }
            let after = started[topic].elapsed();
            println!("{maker:?}: {topic} after {after:?}");
            let at_least = at_least.unwrap_or_default();
            ensure!(after >= at_least, "{maker:?}: {topic} after only {after:?}");
            // How often it was filled depends on the time.
            let own = seen.into_iter().filter(|record| !record.ends_with('d'));
            views.insert(topic, own.collect());
        }
        waiting = left;
    }
    for (topic, ..) in CASES.iter().filter(|case| case.3.is_none()) {
        views.insert(topic, look(&mut talk, topic)?);
    }
    broker.stop()?;
    Ok(views)
}

#[test]
fn the_cleaner_comes_when_apaches_comes() -> Result<()> {
    let (apache, ours) = both(play)?;
    ensure!(apache == ours, "{apache:#?}\n{ours:#?}");
    Ok(())
}

/// What is written for the throttle, in batches of 100 kB.
const BATCHES: usize = 2000;
const BYTES_PER_SECOND: u32 = 50_000_000;

fn throttled(maker: Maker) -> Result<f64> {
    let zookeeper = ZooKeeper::start(Maker::Ours)?;
    // All is written before the cleaner looks for the first time.
    let config = format!(
        "log.cleaner.backoff.ms=15000\nlog.cleaner.io.max.bytes.per.second={BYTES_PER_SECOND}\n"
    );
    let mut broker = Broker::prepare(maker, &zookeeper.connect(), &config)?;
    broker.start_again()?;
    let mut talk = Talk::with(broker.address())?;
    let configs = [("cleanup.policy", "compact"), ("segment.bytes", "50000000")];
    new_topics::create(&mut talk, &[NewTopic::new("throttled", 1).with(&configs)])?;
    let started = Instant::now();
    for number in 0..BATCHES {
        let mut builder = BatchBuilder::new(BatchBuilderOptions::default());
        let key = (number % 200).to_string();
        builder.append(now_ms(), Some(key.as_bytes()), Some(&vec![b'v'; 100_000]));
        send(&mut talk, "throttled", builder.build())?;
    }
    let checkpoint = broker.log_directory().join("cleaner-offset-checkpoint");
    // Each segment has 499 batches.
    let clean = format!("throttled 0 {}", BATCHES / 499 * 499);
    while !std::fs::read_to_string(&checkpoint)?.contains(&clean) {
        ensure!(started.elapsed() < LIMIT, "not compacted");
        thread::sleep(Duration::from_millis(50));
    }
    let seconds = started.elapsed().as_secs_f64();
    broker.stop()?;
    Ok(seconds)
}

#[test]
#[ignore = "prints how long a throttled cleaning takes with each broker"]
fn the_throttle_holds_both_cleaners_back_alike() -> Result<()> {
    for maker in [Maker::Apache, Maker::Ours] {
        println!("{maker:?}: {:.1} s", throttled(maker)?);
    }
    Ok(())
}
