//! Shell: what many groups cost both brokers: a long `__consumer_offsets` to load, and a thousand groups that rebalance.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use bytestring::ByteString;
use integration_tests::environment;
use integration_tests::new_topics::{self, NewTopic};
use integration_tests::stack::{Broker, Maker, ZooKeeper};
use integration_tests::talk::Talk;
use kafka_wire::message::{Request, encode_versioned};
use kafka_wire::messages::describe_groups::DescribeGroupsRequest;
use kafka_wire::messages::find_coordinator::FindCoordinatorRequest;
use kafka_wire::messages::heartbeat::HeartbeatRequest;
use kafka_wire::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use kafka_wire::messages::leave_group::LeaveGroupRequest;
use kafka_wire::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_wire::messages::offset_commit_record::{OffsetCommitKey, OffsetCommitValue};
use kafka_wire::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestTopic};
use kafka_wire::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use kafka_wire::records::batch_builder::{BatchBuilder, BatchBuilderOptions};

const MEMBERS: usize = 5;
const THREADS: usize = 8;
const SESSION_MS: i32 = 1_500_000;

fn described(talk: &mut Talk, group: &ByteString) -> Result<i16> {
    let request = DescribeGroupsRequest {
        groups: vec![group.clone()],
        include_authorized_operations: false,
    };
    let answer = talk.ask(0, &request)?.context("closed")?;
    Ok(answer.groups.first().context("no group")?.error_code)
}

/// Until the coordinator knows all groups; the first question makes the topic.
fn ready(talk: &mut Talk, groups: &[ByteString]) -> Result<()> {
    let find = FindCoordinatorRequest {
        key: "g".into(),
        ..FindCoordinatorRequest::default()
    };
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let found = talk.ask(0, &find)?.context("closed")?.error_code == 0;
        let mut errors = 0;
        for group in groups {
            errors += i32::from(described(talk, group)? != 0);
        }
        if found && errors == 0 {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "no coordinator");
        thread::sleep(Duration::from_millis(20));
    }
}

fn commit(group: &ByteString, partition: i32, offset: i64) -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: group.clone(),
        topics: vec![OffsetCommitRequestTopic {
            name: "t".into(),
            partitions: vec![OffsetCommitRequestPartition {
                partition_index: partition,
                committed_offset: offset,
                ..OffsetCommitRequestPartition::default()
            }],
        }],
        ..OffsetCommitRequest::default()
    }
}

fn start(maker: Maker, config: &str) -> Result<(Broker, ZooKeeper)> {
    let zookeeper = ZooKeeper::start(Maker::Ours)?;
    let mut broker = Broker::prepare(maker, &zookeeper.connect(), config)?;
    broker.start_again()?;
    let mut talk = Talk::with(broker.address())?;
    new_topics::create(&mut talk, &[NewTopic::new("t", 50)])?;
    ready(
        &mut talk,
        &(0..40)
            .map(|n| format!("probe-{n}").into())
            .collect::<Vec<_>>(),
    )?;
    Ok((broker, zookeeper))
}

/// Commits of 2,000 groups to 50 partitions, again and again, ten in a batch.
fn plant(broker: &Broker, records: usize) -> Result<()> {
    let directory = broker.log_directory();
    let path = directory.join("__consumer_offsets-0/00000000000000000000.log");
    let file: File = OpenOptions::new().append(true).open(path)?;
    let mut file = BufWriter::with_capacity(1 << 20, file);
    let mut next = 0;
    while next < records {
        let mut batch = BatchBuilder::new(BatchBuilderOptions {
            base_offset: next as i64,
            partition_leader_epoch: 0,
            ..BatchBuilderOptions::default()
        });
        for number in next..next + 10 {
            let key = OffsetCommitKey {
                group: format!("group-{}", number / 10 % 2000).into(),
                topic: "t".into(),
                partition: (number / 20_000 * 10 + number % 10) as i32 % 50,
            };
            let value = OffsetCommitValue {
                offset: number as i64,
                commit_timestamp: 4_000_000_000_000,
                ..OffsetCommitValue::default()
            };
            let (key, value) = (encode_versioned(&key, 1)?, encode_versioned(&value, 3)?);
            batch.append(1_700_000_000_000, Some(&key), Some(&value));
        }
        next += 10;
        file.write_all(&batch.build())?;
    }
    file.flush()?;
    std::fs::remove_file(directory.join(".kafka_cleanshutdown"))?;
    Ok(())
}

fn load(maker: Maker, records: usize) -> Result<()> {
    let (mut broker, _zookeeper) = start(maker, "offsets.topic.num.partitions=1\n")?;
    broker.stop()?;
    plant(&broker, records)?;
    // Once to have the log recovered, once to measure.
    broker.start_again()?;
    let last: ByteString = format!("group-{}", (records - 10) / 10 % 2000).into();
    ready(
        &mut Talk::with(broker.address())?,
        std::slice::from_ref(&last),
    )?;
    let before = broker.process()?.resident_bytes()?;
    broker.stop()?;
    broker.start_again()?;
    let started = Instant::now();
    let mut talk = Talk::with(broker.address())?;
    ready(&mut talk, std::slice::from_ref(&last))?;
    let waited = started.elapsed();
    let request = OffsetFetchRequest {
        group_id: last,
        topics: Some(vec![OffsetFetchRequestTopic {
            name: "t".into(),
            partition_indexes: (0..50).collect(),
        }]),
        ..OffsetFetchRequest::default()
    };
    let fetched = talk.ask(5, &request)?.context("closed")?;
    let offsets = fetched.topics.iter().flat_map(|topic| &topic.partitions);
    let newest = offsets.map(|p| p.committed_offset).max();
    let process = broker.process()?;
    let lines = process.stdout() + &process.stderr();
    let lines = lines
        .lines()
        .filter(|line| line.contains("Finished loading offsets") || line.contains("loaded groups"));
    println!(
        "{maker:?}: {records} records, served {waited:?} after the port opened, {:.2} s of CPU since the start, \
         {} MiB then, {} MiB after the recovery, newest offset {newest:?}\n  {}",
        process.cpu_seconds()?,
        process.resident_bytes()? >> 20,
        before >> 20,
        lines.collect::<Vec<_>>().join("\n  ")
    );
    ensure!(
        newest == Some(records as i64 - 1),
        "the newest is {newest:?}"
    );
    Ok(())
}

#[test]
#[ignore = "a measurement"]
fn a_long_log_of_offsets_is_loaded() -> Result<()> {
    let records = environment::number("TANDEM_RECORDS", 1_000_000)?;
    load(Maker::Ours, records)?;
    load(Maker::Apache, records)
}

/// A member of a group and its connection.
struct Member {
    talk: Talk,
    id: ByteString,
}

struct Group {
    id: ByteString,
    generation: i32,
    members: Vec<Member>,
}

fn answer<R: Request>(talk: &mut Talk, version: i16) -> Result<R::Response> {
    talk.answer::<R>(version)?.context("closed")
}

impl Group {
    fn new(number: usize, address: SocketAddr) -> Result<Group> {
        let member = |_| {
            Ok(Member {
                talk: Talk::with(address)?,
                id: ByteString::new(),
            })
        };
        Ok(Group {
            id: format!("group-{number}").into(),
            generation: -1,
            members: (0..MEMBERS).map(member).collect::<Result<_>>()?,
        })
    }

    fn join(&self, member_id: &ByteString) -> JoinGroupRequest {
        JoinGroupRequest {
            group_id: self.id.clone(),
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: SESSION_MS,
            member_id: member_id.clone(),
            protocol_type: "consumer".into(),
            protocols: vec![JoinGroupRequestProtocol {
                name: "range".into(),
                metadata: Bytes::from_static(b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff"),
            }],
            ..JoinGroupRequest::default()
        }
    }

    /// Whoever is new asks for an id: a generation then waits for it, in whatever order they join.
    fn announce(&mut self) -> Result<()> {
        for place in 0..self.members.len() {
            let request = self.join(&ByteString::new());
            let member = &mut self.members[place];
            if member.id.is_empty() {
                let told = member.talk.ask(5, &request)?.context("closed")?;
                ensure!(told.error_code == 79, "a new member: {told:?}");
                member.id = told.member_id;
            }
        }
        Ok(())
    }

    fn send_joins(&mut self) -> Result<()> {
        for place in 0..self.members.len() {
            let request = self.join(&self.members[place].id);
            self.members[place].talk.send(5, &request)?;
        }
        Ok(())
    }

    fn finish_joins(&mut self) -> Result<()> {
        for member in &mut self.members {
            let joined = answer::<JoinGroupRequest>(&mut member.talk, 5)?;
            ensure!(joined.error_code == 0, "join: {joined:?}");
            ensure!(
                joined.members.is_empty() || joined.members.len() == MEMBERS,
                "{} members",
                joined.members.len()
            );
            member.id = joined.member_id;
            self.generation = joined.generation_id;
        }
        Ok(())
    }

    fn send_syncs(&mut self) -> Result<()> {
        let ids: Vec<_> = self
            .members
            .iter()
            .map(|member| member.id.clone())
            .collect();
        for member in &mut self.members {
            let assignments = ids.iter().map(|id| SyncGroupRequestAssignment {
                member_id: id.clone(),
                assignment: Bytes::from_static(b"\0\0\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\0"),
            });
            let request = SyncGroupRequest {
                group_id: self.id.clone(),
                generation_id: self.generation,
                member_id: member.id.clone(),
                assignments: assignments.collect(),
                ..SyncGroupRequest::default()
            };
            member.talk.send(2, &request)?;
        }
        Ok(())
    }

    /// Then each commits, and shows that it is alive.
    fn finish_syncs(&mut self) -> Result<()> {
        for (number, member) in self.members.iter_mut().enumerate() {
            let synced = answer::<SyncGroupRequest>(&mut member.talk, 2)?;
            ensure!(synced.error_code == 0, "sync: {synced:?}");
            let commit = OffsetCommitRequest {
                generation_id_or_member_epoch: self.generation,
                member_id: member.id.clone(),
                ..commit(&self.id, number as i32, self.generation.into())
            };
            member.talk.send(6, &commit)?;
            let beat = HeartbeatRequest {
                group_id: self.id.clone(),
                generation_id: self.generation,
                member_id: member.id.clone(),
                ..HeartbeatRequest::default()
            };
            for _ in 0..3 {
                member.talk.send(2, &beat)?;
            }
        }
        Ok(())
    }

    fn finish_round(&mut self) -> Result<()> {
        for member in &mut self.members {
            let committed = answer::<OffsetCommitRequest>(&mut member.talk, 6)?;
            ensure!(
                committed
                    .topics
                    .iter()
                    .all(|t| t.partitions.iter().all(|p| p.error_code == 0)),
                "commit: {committed:?}"
            );
            for _ in 0..3 {
                let beaten = answer::<HeartbeatRequest>(&mut member.talk, 2)?;
                ensure!(beaten.error_code == 0, "heartbeat: {beaten:?}");
            }
        }
        Ok(())
    }

    /// The last one leaves and comes back as the first: all have to join again.
    fn change(&mut self) -> Result<()> {
        let mut member = self.leave()?;
        member.id = ByteString::new();
        self.members.insert(0, member);
        Ok(())
    }

    fn leave(&mut self) -> Result<Member> {
        let mut member = self.members.pop().context("no members")?;
        let request = LeaveGroupRequest {
            group_id: self.id.clone(),
            member_id: member.id.clone(),
            ..LeaveGroupRequest::default()
        };
        let left = member.talk.ask(2, &request)?.context("closed")?;
        ensure!(left.error_code == 0, "leave: {left:?}");
        Ok(member)
    }
}

/// Some of the groups, for some rounds.
fn drive(address: SocketAddr, numbers: std::ops::Range<usize>, rounds: usize) -> Result<()> {
    let mut groups = numbers
        .map(|n| Group::new(n, address))
        .collect::<Result<Vec<_>>>()?;
    for round in 0..rounds {
        if round > 0 {
            groups.iter_mut().try_for_each(Group::change)?;
        }
        groups.iter_mut().try_for_each(Group::announce)?;
        groups.iter_mut().try_for_each(Group::send_joins)?;
        groups.iter_mut().try_for_each(Group::finish_joins)?;
        groups.iter_mut().try_for_each(Group::send_syncs)?;
        groups.iter_mut().try_for_each(Group::finish_syncs)?;
        groups.iter_mut().try_for_each(Group::finish_round)?;
    }
    for group in &mut groups {
        while !group.members.is_empty() {
            group.leave()?;
        }
    }
    Ok(())
}

fn churn(maker: Maker, groups: usize, rounds: usize) -> Result<()> {
    // So that all of a group come in time for its first generation.
    let config = "offsets.topic.num.partitions=50\ngroup.initial.rebalance.delay.ms=5000\n";
    let (mut broker, _zookeeper) = start(maker, config)?;
    let address = broker.address();
    // The first rounds are for Java's compiler.
    for (what, rounds) in [("first", 3), ("then", rounds)] {
        let (cpu, started) = (broker.process()?.cpu_seconds()?, Instant::now());
        thread::scope(|scope| {
            let share = groups.div_ceil(THREADS);
            let threads: Vec<_> = (0..THREADS)
                .map(|n| n * share..((n + 1) * share).min(groups))
                .map(|numbers| scope.spawn(move || drive(address, numbers, rounds)))
                .collect();
            threads.into_iter().try_for_each(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|_| Err(anyhow!("a driver panicked")))
            })
        })?;
        let cpu = broker.process()?.cpu_seconds()? - cpu;
        println!(
            "{maker:?}, {what}: {groups} groups of {MEMBERS}, {rounds} rebalances each in {:?}: {cpu:.2} s of CPU, \
             {:.3} ms a rebalance, {} MiB",
            started.elapsed(),
            cpu * 1000.0 / (groups * rounds) as f64,
            broker.process()?.resident_bytes()? >> 20
        );
    }
    Ok(())
}

#[test]
#[ignore = "a measurement"]
fn a_thousand_groups_rebalance_again_and_again() -> Result<()> {
    let groups = environment::number("TANDEM_GROUPS", 1000)?;
    let rounds = environment::number("TANDEM_ROUNDS", 20)?;
    churn(Maker::Apache, groups, rounds)?;
    churn(Maker::Ours, groups, rounds)
}
