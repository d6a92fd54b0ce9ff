//! Shell: groups of clients of every kind that are killed, joined and left while their broker is restarted.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use bytestring::ByteString;
use integration_tests::new_topics::{self, NewTopic};
use integration_tests::process::Process;
use integration_tests::stack::{Broker, Maker, ZooKeeper};
use integration_tests::stock_tools::{self, class};
use integration_tests::talk::Talk;
use integration_tests::workspace::{self, Scratch};
use kafka_wire::messages::describe_groups::DescribeGroupsRequest;
use kafka_wire::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestTopic};
use kafka_wire::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use kafka_wire::records::batch_builder::{BatchBuilder, BatchBuilderOptions};
use kafka_wire::wire::Records;

const TOPIC: &str = "shared";
const PARTITIONS: i32 = 6;
const LIMIT: Duration = Duration::from_secs(120);

/// A client and what it has read, also in lives before this one.
struct Member {
    name: &'static str,
    process: Process,
    _scratch: Scratch,
}

struct Group {
    name: ByteString,
    members: Vec<Member>,
    /// What members read that are gone.
    past: Vec<String>,
}

/// Runs a client of a kind in a group.
fn command(kind: &str, bootstrap: &str, group: &str) -> Result<Command> {
    if kind == "java" {
        let words = [
            "--topic",
            TOPIC,
            "--group",
            group,
            "--from-beginning",
            "--bootstrap-server",
            bootstrap,
            "--consumer-property",
            "session.timeout.ms=6000",
            "--consumer-property",
            "auto.commit.interval.ms=200",
            "--consumer-property",
            "partition.assignment.strategy=org.apache.kafka.clients.consumer.CooperativeStickyAssignor",
        ];
        return stock_tools::own_process(class::CONSOLE_CONSUMER, &words);
    }
    if kind == "kcat" {
        let mut command = Command::new("kcat");
        command.args([
            "-b",
            bootstrap,
            "-u",
            "-q",
            "-X",
            "broker.address.family=v4",
        ]);
        command.args([
            "-X",
            "auto.offset.reset=earliest",
            "-X",
            "session.timeout.ms=6000",
        ]);
        command.args(["-X", "auto.commit.interval.ms=200"]);
        command.args([
            "-X",
            "partition.assignment.strategy=range",
            "-G",
            group,
            TOPIC,
        ]);
        return Ok(command);
    }
    // A Python of one's own may have further clients.
    let python = std::env::var_os("TANDEM_PYTHON").map(Into::into);
    let mut command = Command::new(python.map_or_else(workspace::python, Ok)?);
    command.arg(workspace::own_file("peers/python/group_member.py"));
    let (client, strategy) = kind.split_once('/').unwrap_or((kind, "range"));
    command.args([client, bootstrap, group, TOPIC, strategy]);
    Ok(command)
}

impl Group {
    fn join(&mut self, kind: &'static str, bootstrap: &str) -> Result<()> {
        let scratch = Scratch::new("member")?;
        let mut command = command(kind, bootstrap, &self.name)?;
        self.members.push(Member {
            name: kind,
            process: Process::spawn("member", &mut command, scratch.path())?,
            _scratch: scratch,
        });
        Ok(())
    }

    /// The first member of a kind goes, by its own will or by SIGKILL.
    fn part(&mut self, kind: &str, is_killed: bool) -> Result<()> {
        let place = self.members.iter().position(|member| member.name == kind);
        let mut member = self.members.remove(place.context("nobody of this kind")?);
        if is_killed {
            member.process.kill()?;
        } else {
            member.process.terminate(Duration::from_secs(60))?;
        }
        let read = member.process.stdout();
        self.past.extend(read.lines().map(str::to_owned));
        Ok(())
    }

    fn read(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        let now: Vec<String> = self.members.iter().map(|m| m.process.stdout()).collect();
        let lines = now.iter().flat_map(|text| text.lines());
        for line in lines.chain(self.past.iter().map(String::as_str)) {
            *counts.entry(line.to_owned()).or_default() += 1;
        }
        counts
    }
}

struct Play {
    broker: Broker,
    groups: Vec<Group>,
    written: BTreeSet<String>,
}

impl Play {
    fn wait(&self, what: &str, mut is_done: impl FnMut(&Self) -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        while !is_done(self)? {
            if Instant::now() > deadline {
                let tails = self.groups.iter().flat_map(|g| &g.members);
                let tails: Vec<String> = tails.map(|m| m.process.tail()).collect();
                anyhow::bail!("no {what} in {LIMIT:?}\n{}", tails.join("\n"));
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Until each group is stable with as many members as are running.
    fn settle(&self) -> Result<()> {
        self.wait("stable groups", |play| {
            let mut talk = Talk::with(play.broker.address())?;
            for group in &play.groups {
                let request = DescribeGroupsRequest {
                    groups: vec![group.name.clone()],
                    include_authorized_operations: false,
                };
                let Some(answer) = talk.ask(0, &request)? else {
                    return Ok(false);
                };
                let described = answer.groups.first().context("no group")?;
                let assigned = described
                    .members
                    .iter()
                    .all(|m| !m.member_assignment.is_empty());
                let is_stable = *described.group_state == *"Stable";
                if !is_stable || described.members.len() != group.members.len() || !assigned {
                    return Ok(false);
                }
            }
            Ok(true)
        })
    }

    /// Ten records in each partition, which all groups read.
    fn write(&mut self, chapter: &str) -> Result<()> {
        let mut talk = Talk::with(self.broker.address())?;
        for partition in 0..PARTITIONS {
            let mut batch = BatchBuilder::new(BatchBuilderOptions::default());
            for number in 0..10 {
                let value = format!("{chapter} {partition} {number}");
                batch.append(0, None, Some(value.as_bytes()));
                self.written.insert(value);
            }
            let bytes: Bytes = batch.build();
            self.wait("leader", |_| {
                let request = ProduceRequest {
                    acks: 1,
                    timeout_ms: 30_000,
                    topic_data: vec![TopicProduceData {
                        name: TOPIC.into(),
                        partition_data: vec![PartitionProduceData {
                            index: partition,
                            records: Some(Records::Memory(bytes.clone())),
                        }],
                    }],
                    ..ProduceRequest::default()
                };
                let answer = talk.ask(8, &request)?.context("closed")?;
                let mut partitions = answer.responses.iter().flat_map(|t| &t.partition_responses);
                Ok(partitions.all(|p| p.error_code == 0))
            })?;
        }
        self.wait(&format!("end of chapter {chapter}"), |play| {
            let is_read = |group: &Group| {
                let read = group.read();
                play.written.iter().all(|value| read.contains_key(value))
            };
            Ok(play.groups.iter().all(is_read))
        })
    }

    /// How many records each group has read more than once.
    fn doubled(&self) -> Vec<usize> {
        let twice = |group: &Group| group.read().values().filter(|count| **count > 1).count();
        self.groups.iter().map(twice).collect()
    }

    fn committed(&self) -> Result<i64> {
        let mut talk = Talk::with(self.broker.address())?;
        let mut sum = 0;
        for group in &self.groups {
            let request = OffsetFetchRequest {
                group_id: group.name.clone(),
                topics: Some(vec![OffsetFetchRequestTopic {
                    name: TOPIC.into(),
                    partition_indexes: (0..PARTITIONS).collect(),
                }]),
                ..OffsetFetchRequest::default()
            };
            let answer = talk.ask(5, &request)?.context("closed")?;
            let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
            sum += partitions
                .map(|partition| partition.committed_offset)
                .sum::<i64>();
        }
        Ok(sum)
    }
}

fn begin(maker: Maker, zookeeper: &ZooKeeper) -> Result<Play> {
    let mut broker = Broker::prepare(
        maker,
        &zookeeper.connect(),
        "offsets.topic.num.partitions=4\n",
    )?;
    broker.start_again()?;
    new_topics::create(
        &mut Talk::with(broker.address())?,
        &[NewTopic::new(TOPIC, PARTITIONS)],
    )?;
    let group = |name: &str| Group {
        name: name.into(),
        members: Vec::new(),
        past: Vec::new(),
    };
    Ok(Play {
        broker,
        groups: vec![group("java"), group("native"), group("cooperative")],
        written: BTreeSet::new(),
    })
}

fn play(maker: Maker) -> Result<()> {
    let zookeeper = ZooKeeper::start(Maker::Ours)?;
    let mut play = begin(maker, &zookeeper)?;
    let bootstrap = play.broker.bootstrap();
    let third = std::env::var_os("TANDEM_PYTHON").map_or("confluent/range", |_| "kafka-python");
    for kind in ["java", "java", "java"] {
        play.groups[0].join(kind, &bootstrap)?;
    }
    for kind in ["confluent/range", "kcat", third] {
        play.groups[1].join(kind, &bootstrap)?;
    }
    for _ in 0..3 {
        play.groups[2].join("confluent/cooperative-sticky", &bootstrap)?;
    }
    play.settle().context("at the start")?;
    play.write("first")?;
    println!(
        "{maker:?}: read more than once at first: {:?}",
        play.doubled()
    );
    play.groups[0].part("java", true)?;
    play.groups[1].part("kcat", true)?;
    play.groups[2].part("confluent/cooperative-sticky", true)?;
    play.write("after deaths")?;
    play.settle().context("after deaths")?;
    play.broker.stop()?;
    play.broker.start_again()?;
    play.write("after a stop")?;
    play.settle().context("after a stop")?;
    play.broker.kill()?;
    zookeeper.wait_for_no_broker()?;
    play.broker.start_again()?;
    play.write("after a kill")?;
    play.groups[0].join("java", &bootstrap)?;
    play.groups[1].join("kcat", &bootstrap)?;
    play.groups[2].join("confluent/cooperative-sticky", &bootstrap)?;
    play.settle().context("with new members")?;
    play.groups[0].part("java", false)?;
    play.groups[1].part(third, false)?;
    play.groups[2].part("confluent/cooperative-sticky", false)?;
    play.settle().context("with fewer members")?;
    play.write("last")?;
    let all = play.written.len() as i64 * play.groups.len() as i64;
    play.wait("last commit", |play| Ok(play.committed()? == all))?;
    println!(
        "{maker:?}: read more than once in all: {:?}",
        play.doubled()
    );
    for group in &play.groups {
        let read = group.read();
        let strange = read.keys().filter(|value| !play.written.contains(*value));
        let strange: Vec<_> = strange.collect();
        ensure!(strange.is_empty(), "{} read {strange:?}", group.name);
    }
    Ok(())
}

#[test]
#[ignore = "long; for a soak"]
fn clients_of_every_kind_share_what_they_read_whoever_is_killed() -> Result<()> {
    play(Maker::Ours)
}

#[test]
#[ignore = "checks the test itself"]
fn clients_of_every_kind_share_what_they_read_from_apaches_broker() -> Result<()> {
    play(Maker::Apache)
}
