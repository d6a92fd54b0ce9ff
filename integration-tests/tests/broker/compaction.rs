//! Shell: the same log directory compacted by Apache's cleaner and by ours, again and again, what each leaves read by the
//! other. `TANDEM_SEED=<n>` makes other logs, `TANDEM_ROUNDS=<n>` goes on for longer.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use integration_tests::environment;
use integration_tests::new_topics::{self, NewTopic};
use integration_tests::normalise::Normaliser;
use integration_tests::requests::Random;
use integration_tests::stack::{Broker, Maker, ZooKeeper};
use integration_tests::stock_tools::{self, class};
use integration_tests::talk::Talk;
use kafka_wire::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use kafka_wire::messages::find_coordinator::FindCoordinatorRequest;
use kafka_wire::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use kafka_wire::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_wire::messages::offset_fetch::OffsetFetchRequest;
use kafka_wire::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use kafka_wire::messages::write_txn_markers::{
    WritableTxnMarker, WritableTxnMarkerTopic, WriteTxnMarkersRequest,
};
use kafka_wire::records::batch_builder::{BatchBuilder, BatchBuilderOptions};
use kafka_wire::records::compression::{Codec, compress};
use kafka_wire::records::record::{Record, RecordHeader};
use kafka_wire::wire::Records;

const LIMIT: Duration = Duration::from_secs(180);
/// The time of all records.
const TIME_MS: i64 = 1_700_000_000_000;
/// Both formats of old can only be made by a broker of before 3.0, or one that poses as one.
const COMMON: &str = "offsets.topic.num.partitions=1\noffsets.topic.segment.bytes=1500\nlog.cleaner.min.cleanable.ratio=0.001\n\
    transaction.partition.verification.enable=false\nzookeeper.session.timeout.ms=6000\n";
const WRITING: &str = "log.cleaner.enable=false\ninter.broker.protocol.version=2.8\n";
const CLEANING: &str = "log.cleaner.backoff.ms=100\nlog.cleaner.dedupe.buffer.size=2000000\n";

/// A topic and how it is written.
#[derive(Debug, Clone, Copy)]
struct Kind {
    topic: &'static str,
    codecs: &'static [Codec],
    headers: bool,
    producers: i64,
    transactions: bool,
    settings: &'static [(&'static str, &'static str)],
}

const PLAIN: Kind = Kind {
    topic: "plain",
    codecs: &Codec::ALL,
    headers: true,
    producers: 0,
    transactions: false,
    settings: &[],
};

const STRETCHED: &str = "stretched";

fn kinds() -> Vec<Kind> {
    const OLD: &[Codec] = &[Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4];
    vec![
        PLAIN,
        // Sizes and positions are compared where nothing is compressed. Tombstones go with the next pass.
        Kind {
            topic: "bare",
            codecs: &[Codec::None],
            settings: &[("delete.retention.ms", "1")],
            ..PLAIN
        },
        // Its offsets are made to overflow.
        Kind {
            topic: STRETCHED,
            ..PLAIN
        },
        Kind {
            topic: "stamped",
            settings: &[("message.timestamp.type", "LogAppendTime")],
            ..PLAIN
        },
        Kind {
            topic: "idempotent",
            producers: 4,
            ..PLAIN
        },
        Kind {
            topic: "transactions",
            producers: 3,
            transactions: true,
            settings: &[("delete.retention.ms", "1")],
            ..PLAIN
        },
        Kind {
            topic: "transactions-kept",
            codecs: &[Codec::None],
            producers: 3,
            transactions: true,
            ..PLAIN
        },
        Kind {
            topic: "magic-1",
            codecs: OLD,
            headers: false,
            settings: &[
                ("message.format.version", "0.10.2"),
                ("delete.retention.ms", "1"),
            ],
            ..PLAIN
        },
        Kind {
            topic: "magic-0",
            codecs: OLD,
            headers: false,
            settings: &[
                ("message.format.version", "0.9.0"),
                ("delete.retention.ms", "1"),
            ],
            ..PLAIN
        },
    ]
}

/// What has been written, and what writes more of it.
struct Script {
    random: Random,
    /// Next sequence number by topic and producer.
    sequences: BTreeMap<(&'static str, i64), i32>,
    commits: BTreeMap<String, i64>,
}

impl Script {
    fn create_topics(&self, talk: &mut Talk) -> Result<()> {
        let common = [
            ("cleanup.policy", "compact"),
            ("segment.bytes", "3000"),
            ("index.interval.bytes", "200"),
            ("min.cleanable.dirty.ratio", "0.001"),
        ];
        let topics: Vec<NewTopic> = kinds()
            .iter()
            .map(|kind| {
                NewTopic::new(kind.topic, 1)
                    .with(&common)
                    .with(kind.settings)
            })
            .collect();
        new_topics::create(talk, &topics)
    }

    /// Writes some more to all topics.
    fn write(&mut self, talk: &mut Talk) -> Result<()> {
        for kind in kinds() {
            for _ in 0..60 {
                self.write_batch(talk, &kind)?;
            }
            for producer_id in 0..kind.producers {
                self.end_transaction(talk, &kind, producer_id)?;
            }
            // So that what was written is not in the last segment, which is not cleaned.
            let filler = batch(
                &mut self.random,
                &kind,
                BatchBuilderOptions::default(),
                24,
                Codec::None,
            )?;
            produce(talk, kind.topic, None, filler)?;
        }
        for _ in 0..120 {
            self.commit(talk)?;
        }
        Ok(())
    }

    fn write_batch(&mut self, talk: &mut Talk, kind: &Kind) -> Result<()> {
        let count = 1 + self.random.below(6) as i64;
        let codec = self.random.pick(kind.codecs);
        let mut options = BatchBuilderOptions::default();
        let mut transactional_id = None;
        if kind.producers > 0 && self.random.below(8) > 0 {
            let producer_id = self.random.below(kind.producers as u64) as i64;
            if kind.transactions && self.random.below(3) == 0 {
                self.end_transaction(talk, kind, producer_id)?;
            }
            let next = self.sequences.entry((kind.topic, producer_id)).or_default();
            options.producer_id = producer_id;
            options.producer_epoch = 0;
            options.base_sequence = *next;
            options.transactional = kind.transactions;
            transactional_id = kind.transactions.then(|| format!("writer-{producer_id}"));
            *next += count as i32;
        }
        let records = batch(&mut self.random, kind, options, count, codec)?;
        produce(talk, kind.topic, transactional_id, records)
    }

    fn end_transaction(&mut self, talk: &mut Talk, kind: &Kind, producer_id: i64) -> Result<()> {
        if !kind.transactions {
            return Ok(());
        }
        let request = WriteTxnMarkersRequest {
            markers: vec![WritableTxnMarker {
                producer_id,
                producer_epoch: 0,
                transaction_result: self.random.below(2) == 0,
                topics: vec![WritableTxnMarkerTopic {
                    name: kind.topic.into(),
                    partition_indexes: vec![0],
                }],
                coordinator_epoch: 0,
            }],
        };
        let answer = talk.ask(1, &request)?.context("closed")?;
        let codes: Vec<i16> = answer
            .markers
            .iter()
            .flat_map(|marker| &marker.topics)
            .flat_map(|topic| &topic.partitions)
            .map(|partition| partition.error_code)
            .collect();
        ensure!(codes == [0], "{answer:?}");
        Ok(())
    }

    fn commit(&mut self, talk: &mut Talk) -> Result<()> {
        let group = format!("group-{}", self.random.below(6));
        let offset = self.random.below(1_000_000) as i64;
        let request = OffsetCommitRequest {
            group_id: group.as_str().into(),
            generation_id_or_member_epoch: -1,
            retention_time_ms: -1,
            topics: vec![OffsetCommitRequestTopic {
                name: "plain".into(),
                partitions: vec![OffsetCommitRequestPartition {
                    partition_index: 0,
                    committed_offset: offset,
                    committed_leader_epoch: -1,
                    committed_metadata: Some("m".into()),
                    ..OffsetCommitRequestPartition::default()
                }],
            }],
            ..OffsetCommitRequest::default()
        };
        let deadline = Instant::now() + LIMIT;
        loop {
            let answer = talk.ask(7, &request)?.context("closed")?;
            match answer.topics[0].partitions[0].error_code {
                0 => break,
                // Not the coordinator yet, or still loading: asking makes the topic.
                14..=16 if Instant::now() < deadline => {
                    let find = FindCoordinatorRequest {
                        key: group.as_str().into(),
                        ..FindCoordinatorRequest::default()
                    };
                    talk.ask(2, &find)?;
                    thread::sleep(Duration::from_millis(100));
                }
                code => bail!("commit: {code}"),
            }
        }
        self.commits.insert(group, offset);
        Ok(())
    }

    /// What the groups have committed is known, whoever has compacted it.
    fn check_commits(&self, talk: &mut Talk) -> Result<()> {
        for (group, offset) in &self.commits {
            let request = OffsetFetchRequest {
                group_id: group.as_str().into(),
                topics: None,
                ..OffsetFetchRequest::default()
            };
            let deadline = Instant::now() + LIMIT;
            let answer = loop {
                let answer = talk.ask(5, &request)?.context("closed")?;
                if !(14..=16).contains(&answer.error_code) || Instant::now() > deadline {
                    break answer;
                }
                thread::sleep(Duration::from_millis(50));
            };
            let found = answer
                .topics
                .first()
                .map(|topic| topic.partitions[0].committed_offset);
            ensure!(
                found == Some(*offset),
                "{group}: {offset} was committed, {answer:?}"
            );
        }
        Ok(())
    }
}

fn batch(
    random: &mut Random,
    kind: &Kind,
    options: BatchBuilderOptions,
    count: i64,
    codec: Codec,
) -> Result<Bytes> {
    let mut builder = BatchBuilder::new(options);
    for offset in 0..count {
        let key = format!("key-{}", random.below(25));
        let value = (random.below(5) > 0).then(|| {
            let size = random.below(90) as usize;
            Bytes::from(vec![b'a' + random.below(26) as u8; size])
        });
        let mut headers = Vec::new();
        if kind.headers && random.below(5) == 0 {
            headers.push(RecordHeader {
                key: "header".into(),
                value: Some("x".into()),
            });
        }
        builder.push(&Record {
            offset,
            timestamp: TIME_MS + random.below(1_000_000) as i64,
            key: Some(key.into()),
            value,
            headers,
        });
    }
    if codec == Codec::None {
        return Ok(builder.build());
    }
    let packed = compress(codec, builder.payload())?.into_owned();
    Ok(builder.build_compressed(codec.id(), &packed))
}

fn produce(
    talk: &mut Talk,
    topic: &str,
    transactional_id: Option<String>,
    records: Bytes,
) -> Result<()> {
    let request = ProduceRequest {
        transactional_id: transactional_id.map(|id| id.as_str().into()),
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
    let deadline = Instant::now() + LIMIT;
    loop {
        let answer = talk.ask(9, &request)?.context("closed")?;
        match answer.responses[0].partition_responses[0].error_code {
            0 => return Ok(()),
            // Right after its creation the topic has no leader yet.
            3 | 6 if Instant::now() < deadline => thread::sleep(Duration::from_millis(50)),
            code => bail!("{topic}: {code} {answer:?}"),
        }
    }
}

/// Runs the broker on its directory as it is, and waits until all is clean. Answers what it then reads.
fn clean(broker: &mut Broker, maker: Maker, script: &Script) -> Result<Vec<String>> {
    broker.configure(&format!("{COMMON}{CLEANING}"));
    broker.hand_over_to(maker);
    broker.start_again()?;
    let deadline = Instant::now() + LIMIT;
    loop {
        let dirty = dirty(&broker.log_directory())?;
        if dirty.is_empty() {
            break;
        }
        ensure!(
            Instant::now() < deadline,
            "{maker:?} has not cleaned {dirty:?}\n{}",
            broker.process()?.tail()
        );
        thread::sleep(Duration::from_millis(50));
    }
    let mut talk = Talk::with(broker.address())?;
    script.check_commits(&mut talk)?;
    let mut reads = Vec::new();
    for kind in kinds() {
        let end = list_offset(&mut talk, kind.topic, -1)?.1;
        for offset in (0..end.min(3000)).step_by(3) {
            let front = first_offset(&mut talk, kind.topic, offset)?;
            reads.push(format!("{} at {offset}: {front:?}", kind.topic));
        }
        for timestamp in [-2, -3].into_iter().chain((0..1_000_000).step_by(90_001)) {
            let time = if timestamp < 0 {
                timestamp
            } else {
                TIME_MS + timestamp
            };
            let found = list_offset(&mut talk, kind.topic, time)?;
            reads.push(format!("{} at time {time}: {found:?}", kind.topic));
        }
    }
    broker.stop()?;
    Ok(reads)
}

/// Timestamp and offset that ListOffsets answers.
fn list_offset(talk: &mut Talk, topic: &str, timestamp: i64) -> Result<(i64, i64)> {
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: topic.into(),
            partitions: vec![ListOffsetsPartition {
                current_leader_epoch: -1,
                timestamp,
                ..ListOffsetsPartition::default()
            }],
        }],
        ..ListOffsetsRequest::default()
    };
    let answer = talk.ask(7, &request)?.context("closed")?;
    let partition = &answer.topics[0].partitions[0];
    ensure!(
        partition.error_code == 0,
        "{topic} at time {timestamp}: {partition:?}"
    );
    Ok((partition.timestamp, partition.offset))
}

/// Base offset of the first batch that a fetch from `offset` on answers.
fn first_offset(talk: &mut Talk, topic: &str, offset: i64) -> Result<Option<i64>> {
    let request = FetchRequest {
        max_bytes: 1,
        topics: vec![FetchTopic {
            topic: topic.into(),
            partitions: vec![FetchPartition {
                current_leader_epoch: -1,
                fetch_offset: offset,
                partition_max_bytes: 1,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        session_epoch: -1,
        ..FetchRequest::default()
    };
    let answer = talk.ask(11, &request)?.context("closed")?;
    let partition = &answer.responses[0].partitions[0];
    ensure!(
        partition.error_code == 0,
        "{topic} at {offset}: {partition:?}"
    );
    let Some(Records::Memory(bytes)) = &partition.records else {
        bail!("no records");
    };
    Ok(bytes.first_chunk().map(|front| i64::from_be_bytes(*front)))
}

/// The partitions whose checkpoint does not name their last segment.
fn dirty(directory: &Path) -> Result<BTreeSet<String>> {
    let text = fs::read_to_string(directory.join("cleaner-offset-checkpoint")).unwrap_or_default();
    let clean: BTreeSet<String> = text
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            let [topic, partition, offset] = fields[..] else {
                return None;
            };
            Some(format!("{topic}-{partition} {offset}"))
        })
        .collect();
    let mut dirty = BTreeSet::new();
    for partition in partitions(directory)? {
        let logs = files(&directory.join(&partition), ".log")?;
        let active = logs
            .last()
            .context("no segment")?
            .trim_end_matches(".log")
            .parse::<i64>()?;
        let wanted = format!("{partition} {active}");
        if !clean.contains(&wanted) {
            dirty.insert(wanted);
        }
    }
    Ok(dirty)
}

fn partitions(directory: &Path) -> Result<BTreeSet<String>> {
    let mut names: BTreeSet<String> = kinds()
        .iter()
        .map(|kind| format!("{}-0", kind.topic))
        .collect();
    names.insert("__consumer_offsets-0".to_owned());
    for name in &names {
        ensure!(directory.join(name).is_dir(), "{name} is not there");
    }
    Ok(names)
}

/// Names of the files with this suffix, in order.
fn files(directory: &Path, suffix: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(suffix) {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// What a cleaned directory holds, as Apache's tool reads it.
fn describe(directory: &Path) -> Result<BTreeMap<String, Vec<String>>> {
    let mut all = BTreeMap::new();
    for partition in partitions(directory)? {
        let path = directory.join(&partition);
        let mut lines = Vec::new();
        for suffix in [".log", ".txnindex", ".snapshot"] {
            let names = files(&path, suffix)?;
            let paths: Vec<String> = names
                .iter()
                .map(|name| path.join(name).display().to_string())
                .collect();
            for name in &names {
                let metadata = fs::metadata(path.join(name))?;
                let modified = metadata.modified()?.duration_since(UNIX_EPOCH)?.as_millis();
                // The last segment is closed again by each broker.
                let told = suffix == ".log" && names.last() != Some(name);
                lines.push(format!("{name} {}", if told { modified } else { 0 }));
            }
            if !paths.is_empty() {
                lines.extend(dump(&partition, &paths.join(","), directory)?);
            }
        }
        all.insert(partition, lines);
    }
    Ok(all)
}

fn dump(partition: &str, paths: &str, directory: &Path) -> Result<Vec<String>> {
    let finished = stock_tools::run(
        class::DUMP_LOG,
        &["--files", paths, "--deep-iteration", "--print-data-log"],
    )?;
    ensure!(finished.code == 0, "{}{}", finished.stdout, finished.stderr);
    let mut normaliser = Normaliser::new()
        .literal(&directory.display().to_string(), "<dir>")
        .pattern(r"OptionalLong\[[0-9]+\]", "OptionalLong[<time>]")
        // Of batches with a delete horizon, which depends on the time.
        .pattern(r"crc: [0-9]+", "crc: <crc>");
    if !["bare-0", "transactions-kept-0", "__consumer_offsets-0"].contains(&partition) {
        normaliser = normaliser.pattern(r"\b(size|position): [0-9]+", "$1: <n>");
    }
    ensure!(
        !finished.stdout.contains("isvalid: false"),
        "{}",
        finished.stdout
    );
    Ok(normaliser.lines(&finished.stdout))
}

/// Raises all offsets from the second batch of the last segment but one on so far that its indexes cannot tell them: the cleaner is to
/// split it, since it keeps its last record.
fn stretch(directory: &Path) -> Result<()> {
    const BY: i64 = 1 << 32;
    let logs = files(directory, ".log")?;
    ensure!(logs.len() > 3, "too few segments: {logs:?}");
    let split = logs.len() - 2;
    for (index, name) in logs.iter().enumerate().skip(split) {
        let path = directory.join(name);
        let mut bytes = fs::read(&path)?;
        let mut at = 0;
        let mut first = true;
        while let Some(head) = bytes.get(at..at + 12) {
            let offset = i64::from_be_bytes(head[..8].try_into()?);
            let length = u32::from_be_bytes(head[8..].try_into()?);
            if index > split || !first {
                bytes[at..at + 8].copy_from_slice(&(offset + BY).to_be_bytes());
            }
            first = false;
            at += usize::try_from(length)? + 12;
        }
        fs::write(&path, bytes)?;
        let base = name.trim_end_matches(".log");
        for suffix in ["log", "index", "timeindex", "snapshot"] {
            let path = directory.join(format!("{base}.{suffix}"));
            if index == split {
                if suffix.ends_with("index") {
                    fs::write(path, [])?;
                }
            } else if path.exists() {
                let raised = format!("{:020}.{suffix}", base.parse::<i64>()? + BY);
                fs::rename(path, directory.join(raised))?;
            }
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let _ = fs::remove_dir_all(to);
    // With the times of the files, which the cleaner goes by.
    let status = Command::new("cp").arg("-a").args([from, to]).status()?;
    ensure!(status.success(), "cp ended with {status}");
    Ok(())
}

#[test]
fn the_same_directory_is_compacted_as_by_apaches_cleaner() -> Result<()> {
    let seed = environment::number("TANDEM_SEED", 1)?;
    let rounds = environment::number("TANDEM_ROUNDS", 2)?;
    let zookeeper = ZooKeeper::start(Maker::Ours)?;
    let mut broker = Broker::prepare(Maker::Apache, &zookeeper.connect(), "")?;
    let mut script = Script {
        random: Random::new(seed),
        sequences: BTreeMap::new(),
        commits: BTreeMap::new(),
    };
    let logs = broker.log_directory();
    let aside = |name: &str| -> PathBuf { logs.with_file_name(name) };
    for round in 0..rounds {
        // Apache's poses as an old one to write old formats; it goes on with what one cleaner or the other has left.
        broker.configure(&format!("{COMMON}{WRITING}"));
        broker.hand_over_to(Maker::Apache);
        broker.start_again()?;
        let mut talk = Talk::with(broker.address())?;
        if round == 0 {
            script.create_topics(&mut talk)?;
        }
        script.check_commits(&mut talk)?;
        script.write(&mut talk)?;
        drop(talk);
        broker.stop()?;
        if round + 1 == rounds {
            stretch(&logs.join(format!("{STRETCHED}-0")))?;
        }
        copy(&logs, &aside("source"))?;
        let their_reads = clean(&mut broker, Maker::Apache, &script)?;
        copy(&logs, &aside("apaches"))?;
        copy(&aside("source"), &aside("kafka-logs"))?;
        let our_reads = clean(&mut broker, Maker::Ours, &script)?;
        for (theirs, ours) in their_reads.iter().zip(&our_reads) {
            ensure!(
                theirs == ours,
                "seed {seed}, round {round}: {ours}, not {theirs}"
            );
        }
        let (theirs, ours) = (describe(&aside("apaches"))?, describe(&logs)?);
        for (partition, expected) in &theirs {
            let found = &ours[partition];
            if expected != found {
                let at = expected
                    .iter()
                    .zip(found)
                    .take_while(|(a, b)| a == b)
                    .count();
                bail!(
                    "seed {seed}, round {round}, {partition}: of {} and {} lines the first {at} are the same, then\n{:#?}\nand not\n{:#?}",
                    found.len(),
                    expected.len(),
                    &found[at.saturating_sub(2)..found.len().min(at + 4)],
                    &expected[at.saturating_sub(2)..expected.len().min(at + 4)],
                );
            }
            if round + 1 == rounds && partition.starts_with(STRETCHED) {
                let far = files(&logs.join(partition), ".log")?;
                let far = far
                    .iter()
                    .filter(|name| name.as_str() > "00000000004294967296");
                ensure!(far.count() == 2, "nothing was split but the last segment");
            }
            println!("round {round}: {partition} {} lines", expected.len());
        }
        if round % 2 == 1 {
            // The next round goes on with what Apache's cleaner has left, this one went on with ours.
            copy(&aside("apaches"), &logs)?;
        }
    }
    Ok(())
}

/// Topic, codec, records of a batch, bytes of a value, batches, keys.
const LOADS: [(&str, Codec, i64, usize, usize, u64); 3] = [
    ("large-values", Codec::None, 16, 1000, 20_000, 100_000),
    ("small-values", Codec::None, 150, 80, 10_000, 500_000),
    ("packed", Codec::Lz4, 150, 80, 10_000, 500_000),
];

fn write_load(talk: &mut Talk, random: &mut Random) -> Result<()> {
    for (topic, codec, records, value_bytes, batches, keys) in LOADS {
        let configs = [("cleanup.policy", "compact"), ("segment.bytes", "67108864")];
        new_topics::create(talk, &[NewTopic::new(topic, 1).with(&configs)])?;
        for _ in 0..batches {
            let mut builder = BatchBuilder::new(BatchBuilderOptions::default());
            for offset in 0..records {
                let value: Vec<u8> = (0..value_bytes)
                    .map(|at| (at % 10) as u8 + random.below(4) as u8)
                    .collect();
                builder.push(&Record {
                    offset,
                    timestamp: TIME_MS,
                    key: Some(format!("key-{:010}", random.below(keys)).into()),
                    value: Some(value.into()),
                    headers: Vec::new(),
                });
            }
            let records = match codec {
                Codec::None => builder.build(),
                codec => {
                    let packed = compress(codec, builder.payload())?.into_owned();
                    builder.build_compressed(codec.id(), &packed)
                }
            };
            produce(talk, topic, None, records)?;
        }
    }
    Ok(())
}

/// Starts the broker on what was written and answers what its cleaner says of each log; `seen` times it was said before.
fn time_cleaning(broker: &mut Broker, maker: Maker, seen: usize) -> Result<Vec<String>> {
    broker.configure("log.cleaner.backoff.ms=100\nlog.cleaner.min.cleanable.ratio=0.001\n");
    broker.hand_over_to(maker);
    broker.start_again()?;
    let said = |text: &str| -> Vec<String> {
        let text = text.replace("\n\t", " ");
        let lines = text
            .lines()
            .filter(|line| line.contains("MB of log processed in"));
        lines.map(str::to_owned).collect()
    };
    broker
        .process()?
        .wait_for_output("the end of the cleaning", LIMIT, |text| {
            said(text).len() == seen + LOADS.len()
        })?;
    let process = broker.process()?;
    let mut lines = said(&process.stdout());
    // The output of the broker before is in the same file.
    lines.drain(..seen);
    let peak = fs::read_to_string(format!("/proc/{}/status", process.id()))?;
    lines.extend(
        peak.lines()
            .filter(|line| line.starts_with("VmHWM"))
            .map(str::to_owned),
    );
    let stat = fs::read_to_string(format!("/proc/{}/stat", broker.process()?.id()))?;
    let ticks: Vec<&str> = stat.split_whitespace().skip(13).take(2).collect();
    lines.push(format!(
        "CPU, user and system, of the whole process in ticks of 10 ms: {ticks:?}"
    ));
    broker.stop()?;
    Ok(lines)
}

#[test]
#[ignore = "prints how long each cleaner takes for some hundred megabytes"]
fn how_long_the_cleaners_take() -> Result<()> {
    let zookeeper = ZooKeeper::start(Maker::Ours)?;
    let mut broker = Broker::prepare(
        Maker::Ours,
        &zookeeper.connect(),
        "log.cleaner.enable=false\n",
    )?;
    broker.start_again()?;
    write_load(&mut Talk::with(broker.address())?, &mut Random::new(1))?;
    broker.stop()?;
    let told = broker.directory().join("log4j.properties");
    let pattern = "log4j.rootLogger=WARN, out\nlog4j.logger.kafka.log.LogCleaner=INFO\nlog4j.appender.out=org.apache.log4j.ConsoleAppender\n\
        log4j.appender.out.layout=org.apache.log4j.PatternLayout\nlog4j.appender.out.layout.ConversionPattern=%m%n\n";
    fs::write(&told, pattern)?;
    broker.use_java_options(&[format!("-Dlog4j.configuration=file:{}", told.display())]);
    broker.run_as_fast_as_it_can("1g");
    let (logs, source) = (
        broker.log_directory(),
        broker.log_directory().with_file_name("source"),
    );
    copy(&logs, &source)?;
    for (seen, maker) in [(0, Maker::Apache), (LOADS.len(), Maker::Ours)] {
        copy(&source, &logs)?;
        for line in time_cleaning(&mut broker, maker, seen)? {
            println!("{maker:?}: {line}");
        }
    }
    Ok(())
}
