//! Shell: several log directories of which one fails, at work or at the start: the others go on, as with Apache's broker.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use integration_tests::new_topics::{self, NewTopic};
use integration_tests::partition_view::list;
use integration_tests::stack::{Broker, Maker, ZooKeeper};
use integration_tests::talk::Talk;
use integration_tests::wait::until;
use kafka_wire::messages::describe_log_dirs::DescribeLogDirsRequest;
use kafka_wire::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use kafka_wire::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use kafka_wire::records::batch_builder::{BatchBuilder, BatchBuilderOptions};
use kafka_wire::wire::{Records, Uuid};

const TOPIC: &str = "spread";
const PARTITIONS: i32 = 4;
const LIMIT: Duration = Duration::from_secs(90);
const KAFKA_STORAGE_ERROR: i16 = 56;
const LEADER_NOT_AVAILABLE: i16 = 5;

struct Disks {
    broker: Broker,
    zookeeper: ZooKeeper,
    directories: [PathBuf; 2],
}

impl Disks {
    fn start(maker: Maker) -> Result<Self> {
        let zookeeper = ZooKeeper::start(Maker::Ours)?;
        let mut broker = Broker::prepare(maker, &zookeeper.connect(), "")?;
        let directories = ["a", "b"].map(|name| broker.directory().join(name));
        broker.add_config(&format!(
            "log.dirs={},{}\nlog.cleaner.enable=false\nlog.segment.bytes=3000\n\
             replica.high.watermark.checkpoint.interval.ms=500",
            directories[0].display(),
            directories[1].display()
        ));
        broker.start_again()?;
        let mut disks = Self {
            broker,
            zookeeper,
            directories,
        };
        disks.create_topic()?;
        Ok(disks)
    }

    fn talk(&self) -> Result<Talk> {
        Talk::with(self.broker.address())
    }

    fn create_topic(&mut self) -> Result<()> {
        let mut talk = self.talk()?;
        new_topics::create(&mut talk, &[NewTopic::new(TOPIC, PARTITIONS)])
    }

    /// The partitions in one of the directories.
    fn inside(&self, number: usize) -> Result<Vec<i32>> {
        let mut found = Vec::new();
        for partition in 0..PARTITIONS {
            let path = self.directories[number].join(format!("{TOPIC}-{partition}"));
            if path.is_dir() {
                found.push(partition);
            }
        }
        ensure!(found.len() == 2, "not spread evenly: {found:?}");
        Ok(found)
    }

    /// The error code of each configured directory, by its last name.
    fn described(&self, talk: &mut Talk) -> Result<BTreeMap<String, i16>> {
        let answer = talk.ask(4, &DescribeLogDirsRequest { topics: None })?;
        let results = answer.context("closed")?.results;
        let name = |path: &str| {
            Path::new(path)
                .file_name()
                .map(|n| n.to_string_lossy().into_owned())
        };
        Ok(results
            .iter()
            .map(|result| (name(&result.log_dir).unwrap_or_default(), result.error_code))
            .collect())
    }

    /// Waits until the partitions of directory b are offline and those of a are served, and says what clients see.
    fn with_b_offline(&self, lost: &[i32]) -> Result<()> {
        let mut talk = self.talk()?;
        until("partitions without leaders", || {
            let seen = leaders(&mut talk)?;
            Ok(seen
                .iter()
                .all(|(partition, error)| match lost.contains(partition) {
                    true => *error == LEADER_NOT_AVAILABLE,
                    false => *error == 0,
                }))
        })?;
        for (partition, error) in errors(&mut talk)? {
            let expected = if lost.contains(&partition) {
                KAFKA_STORAGE_ERROR
            } else {
                0
            };
            ensure!(error == expected, "partition {partition} answers {error}");
            ensure!(
                produce(&mut talk, partition)? == expected,
                "partition {partition} is written"
            );
        }
        let described = self.described(&mut talk)?;
        let expected = BTreeMap::from([("a".to_owned(), 0), ("b".to_owned(), KAFKA_STORAGE_ERROR)]);
        ensure!(described == expected, "described: {described:?}");
        Ok(())
    }
}

/// What Metadata says of each partition.
fn leaders(talk: &mut Talk) -> Result<BTreeMap<i32, i16>> {
    let request = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            topic_id: Uuid::ZERO,
            name: Some(TOPIC.into()),
        }]),
        ..MetadataRequest::default()
    };
    let answer = talk.ask(4, &request)?.context("closed")?;
    let partitions = &answer.topics[0].partitions;
    let found: BTreeMap<i32, i16> = partitions
        .iter()
        .map(|p| (p.partition_index, p.error_code))
        .collect();
    match found.len() {
        4 => Ok(found),
        _ => Ok(BTreeMap::from([(0, -1)])),
    }
}

/// What ListOffsets says of each partition.
fn errors(talk: &mut Talk) -> Result<BTreeMap<i32, i16>> {
    (0..PARTITIONS)
        .map(|partition| Ok((partition, list(talk, TOPIC, partition, -1)?.0)))
        .collect()
}

fn produce(talk: &mut Talk, partition: i32) -> Result<i16> {
    let mut builder = BatchBuilder::new(BatchBuilderOptions::default());
    builder.append(1_700_000_000_000, None, Some(&[b'x'; 1000]));
    let records: Bytes = builder.build();
    let request = ProduceRequest {
        transactional_id: None,
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: TOPIC.into(),
            partition_data: vec![PartitionProduceData {
                index: partition,
                records: Some(Records::Memory(records)),
            }],
        }],
    };
    let answer = talk.ask(9, &request)?.context("closed")?;
    Ok(answer.responses[0].partition_responses[0].error_code)
}

fn one_fails_at_work(maker: Maker) -> Result<()> {
    let mut disks = Disks::start(maker)?;
    let (kept, lost) = (disks.inside(0)?, disks.inside(1)?);
    let mut talk = disks.talk()?;
    for partition in 0..PARTITIONS {
        ensure!(produce(&mut talk, partition)? == 0, "{partition}");
    }
    let away = disks.broker.directory().join("away");
    fs::rename(&disks.directories[1], &away)?;
    until("the failure", || {
        Ok(produce(&mut talk, lost[0])? == KAFKA_STORAGE_ERROR)
    })?;
    disks.with_b_offline(&lost)?;
    // With the last one gone there is nothing left to serve.
    fs::rename(
        &disks.directories[0],
        disks.broker.directory().join("away-too"),
    )?;
    let deadline = Instant::now() + LIMIT;
    while disks.broker.process()?.ended()?.is_none() {
        ensure!(Instant::now() < deadline, "it goes on without disks");
        if let Ok(mut talk) = disks.talk() {
            let _ = produce(&mut talk, kept[0]);
        }
        thread::sleep(Duration::from_millis(100));
    }
    let code = disks.broker.process()?.wait_for_end(LIMIT)?;
    ensure!(code == 1, "exit code {code}");
    ensure!(
        !disks.broker.process()?.tail().contains("panicked"),
        "it panicked"
    );
    disks.zookeeper.stop()?;
    Ok(())
}

fn one_fails_at_the_start(maker: Maker) -> Result<()> {
    let mut disks = Disks::start(maker)?;
    let lost = disks.inside(1)?;
    disks.broker.stop()?;
    let away = disks.broker.directory().join("away");
    fs::rename(&disks.directories[1], &away)?;
    fs::write(&disks.directories[1], "no directory")?;
    disks.broker.start_again()?;
    disks.with_b_offline(&lost)?;
    // A new topic goes where there is room.
    disks.broker.stop()?;
    fs::remove_file(&disks.directories[1])?;
    fs::rename(&away, &disks.directories[1])?;
    disks.broker.start_again()?;
    let mut talk = disks.talk()?;
    until("all partitions", || {
        Ok(leaders(&mut talk)?.values().all(|error| *error == 0))
    })?;
    disks.broker.stop()?;
    Ok(())
}

#[test]
fn one_that_fails_at_work_leaves_the_other() -> Result<()> {
    one_fails_at_work(Maker::Ours)
}

#[test]
fn one_that_fails_at_the_start_leaves_the_other() -> Result<()> {
    one_fails_at_the_start(Maker::Ours)
}

#[test]
#[ignore = "checks the tests above: Apache's broker does the same"]
fn apaches_broker_does_the_same() -> Result<()> {
    one_fails_at_work(Maker::Apache)?;
    one_fails_at_the_start(Maker::Apache)
}
