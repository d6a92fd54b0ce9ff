//! Shell: a `__consumer_offsets` as clusters of all ages left it, loaded and expired by both brokers.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use bytestring::ByteString;
use integration_tests::compare;
use integration_tests::new_topics::{self, NewTopic};
use integration_tests::normalise::Normaliser;
use integration_tests::saved::Saved;
use integration_tests::stack::{Broker, Maker, Stack, ZooKeeper};
use integration_tests::stock_tools::{self, class};
use integration_tests::talk::Talk;
use integration_tests::transcript::Transcript;
use kafka_wire::message::{Request, encode_versioned};
use kafka_wire::messages::delete_groups::DeleteGroupsRequest;
use kafka_wire::messages::describe_groups::DescribeGroupsRequest;
use kafka_wire::messages::find_coordinator::FindCoordinatorRequest;
use kafka_wire::messages::group_metadata_record::{
    GroupMetadataKey, GroupMetadataValue, MemberMetadata,
};
use kafka_wire::messages::heartbeat::HeartbeatRequest;
use kafka_wire::messages::list_groups::ListGroupsRequest;
use kafka_wire::messages::offset_commit_record::{OffsetCommitKey, OffsetCommitValue};
use kafka_wire::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_wire::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup};
use kafka_wire::records::batch::{Batches, patch_base_offset, patch_partition_leader_epoch};
use kafka_wire::records::batch_builder::{BatchBuilder, BatchBuilderOptions};
use kafka_wire::records::compression::Codec;
use kafka_wire::records::control::{ControlType, EndTransactionMarker, marker_batch};
use kafka_wire::records::legacy::{MessageSetBuilder, MessageSetOptions};

use super::random_groups::answers::{Ids, Tidy};

/// One partition, so that all is in one file; a retention of a minute, from which the planted times keep away.
const CONFIG: &str = "offsets.topic.num.partitions=1\noffsets.retention.minutes=1\n";
const DAY_MS: i64 = 86_400_000;
const LIMIT: Duration = Duration::from_secs(60);
/// A consumer's subscription to the topic `t`: version 0, one topic, no user data.
const TO_T: &[u8] = &[0, 0, 0, 0, 0, 1, 0, 1, b't', 0xff, 0xff, 0xff, 0xff];

/// A record of `__consumer_offsets`.
type Planted = (Bytes, Option<Bytes>);

/// The records to plant, and the groups that they name.
struct Garden {
    now_ms: i64,
    groups: Vec<ByteString>,
}

impl Garden {
    fn name(&mut self, group: &str) -> ByteString {
        let group = ByteString::from(group);
        if !self.groups.contains(&group) {
            self.groups.push(group.clone());
        }
        group
    }

    fn key(&mut self, version: i16, group: &str, at: (&str, i32)) -> Result<Bytes> {
        let key = OffsetCommitKey {
            group: self.name(group),
            topic: at.0.into(),
            partition: at.1,
        };
        Ok(encode_versioned(&key, version)?)
    }

    /// An offset committed so many days from now; `expires` likewise.
    fn offset(
        &mut self,
        group: &str,
        at: (&str, i32),
        version: i16,
        days: i64,
        expires: Option<i64>,
    ) -> Result<Planted> {
        let key = self.key(i16::from(version > 0), group, at)?;
        let value = OffsetCommitValue {
            offset: 100 * i64::from(at.1) + i64::from(version),
            leader_epoch: if version >= 3 { 4 } else { -1 },
            metadata: format!("note {version}").into(),
            commit_timestamp: self.now_ms + days * DAY_MS,
            expire_timestamp: expires.map_or(-1, |days| self.now_ms + days * DAY_MS),
        };
        Ok((key, Some(encode_versioned(&value, version)?)))
    }

    /// A group that entered its state so many days from now.
    fn group(
        &mut self,
        group: &str,
        version: i16,
        kind: (&str, i32),
        days: Option<i64>,
        members: Vec<MemberMetadata>,
    ) -> Result<Planted> {
        let key = GroupMetadataKey {
            group: self.name(group),
        };
        let is_empty = members.is_empty();
        let value = GroupMetadataValue {
            protocol_type: kind.0.into(),
            generation: kind.1,
            protocol: (!is_empty).then(|| "range".into()),
            leader: members.first().map(|member| member.member_id.clone()),
            current_state_timestamp: days.map_or(-1, |days| self.now_ms + days * DAY_MS),
            members,
        };
        Ok((
            encode_versioned(&key, 2)?,
            Some(encode_versioned(&value, version)?),
        ))
    }
}

fn member(name: &str, session_ms: i32, subscription: &'static [u8]) -> MemberMetadata {
    MemberMetadata {
        member_id: name.into(),
        group_instance_id: name.starts_with("static").then(|| name.into()),
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
        rebalance_timeout: 300_000,
        session_timeout: session_ms,
        subscription: Bytes::from_static(subscription),
        assignment: Bytes::from_static(b"assigned"),
    }
}

const LONG_MS: i32 = 1_800_000;

/// Offsets without a group: each version of the value, before and after the retention.
fn simple(garden: &mut Garden) -> Result<Vec<Planted>> {
    let mut all = Vec::new();
    for version in 0..=4 {
        let name = format!("simple-{version}");
        all.push(garden.offset(&name, ("t", 0), version, -1, None)?);
        all.push(garden.offset(&name, ("t", 1), version, 1, None)?);
        all.push(garden.offset(&format!("past-{version}"), ("t", 2), version, -1, None)?);
    }
    // With a retention of their own, old times count or do not.
    all.push(garden.offset("own", ("t", 0), 1, -1, Some(-1))?);
    all.push(garden.offset("own", ("t", 1), 1, -1, Some(1))?);
    all.push(garden.offset("own", ("t", 2), 1, 1, Some(-1))?);
    all.push(garden.offset("gone", ("nosuch", 7), 3, 1, None)?);
    all.push(garden.offset("taken-back", ("t", 0), 3, 1, None)?);
    let key = garden.key(0, "taken-back", ("t", 0))?;
    all.push((key, None));
    all.push((
        Bytes::from_static(&[0, 9, 1, 2]),
        Some(Bytes::from_static(&[0, 0])),
    ));
    Ok(all)
}

/// Groups with and without members, in each version.
fn managed(garden: &mut Garden) -> Result<Vec<Planted>> {
    let mut all = Vec::new();
    for version in 0..=4 {
        for (days, word) in [(-1, "old"), (1, "new")] {
            let name = format!("empty-{word}-{version}");
            let kind = ("consumer", i32::from(version) + 1);
            all.push(garden.group(&name, version, kind, Some(days), Vec::new())?);
            all.push(garden.offset(&name, ("t", 0), 3, -1, None)?);
            all.push(garden.offset(&name, ("t", 1), 3, 1, None)?);
        }
        let name = format!("stable-{version}");
        let members = vec![
            member("plain", LONG_MS, TO_T),
            member("static", LONG_MS, TO_T),
        ];
        all.push(garden.group(&name, version, ("consumer", 3), Some(-1), members)?);
        all.push(garden.offset(&name, ("t", 0), 3, -1, None)?);
        all.push(garden.offset(&name, ("unread", 0), 3, -1, None)?);
        all.push(garden.offset(&name, ("unread", 1), 3, 1, None)?);
    }
    for (name, kind, members) in [
        (
            "connect",
            "connect",
            vec![member("worker", LONG_MS, b"odd")],
        ),
        (
            "unreadable",
            "consumer",
            vec![member("odd", LONG_MS, b"\0")],
        ),
        ("left", "consumer", vec![member("short", 2000, TO_T)]),
        ("connect-empty", "connect", Vec::new()),
        ("no-type", "", Vec::new()),
    ] {
        all.push(garden.group(name, 3, (kind, 9), Some(-1), members)?);
        all.push(garden.offset(name, ("t", 0), 3, -1, None)?);
        all.push(garden.offset(name, ("unread", 0), 3, -1, None)?);
    }
    all.push(garden.group("nothing", 3, ("consumer", 5), Some(1), Vec::new())?);
    all.push(garden.group("never", 3, ("consumer", 0), Some(1), Vec::new())?);
    all.push(garden.group("deleted", 3, ("consumer", 5), Some(1), Vec::new())?);
    let key = GroupMetadataKey {
        group: garden.name("deleted"),
    };
    all.push((encode_versioned(&key, 2)?, None));
    Ok(all)
}

/// Adds to the log of a stopped broker what clusters of all ages may have left there.
fn plant(logs: &Path, garden: &mut Garden) -> Result<()> {
    let path = logs.join("__consumer_offsets-0/00000000000000000000.log");
    let mut log = fs::read(&path).with_context(|| path.display().to_string())?;
    let mut next = 0;
    for batch in Batches::new(&log) {
        next = batch?.header.next_offset();
    }
    for (magic, codec) in [
        (0, Codec::None),
        (1, Codec::None),
        (0, Codec::Gzip),
        (1, Codec::Snappy),
    ] {
        let mut set = MessageSetBuilder::new(MessageSetOptions {
            magic,
            codec,
            base_offset: next,
            log_append_time: None,
        });
        let name = format!("magic-{magic}-{codec:?}");
        for (version, days) in [(0, 1), (1, -1)] {
            let (key, value) = garden.offset(&name, ("t", version.into()), version, days, None)?;
            set.push(next, garden.now_ms, Some(&key), value.as_deref());
            next += 1;
        }
        let members = vec![member("ancient", LONG_MS, TO_T)];
        let kind = ("consumer", 2);
        let (key, value) =
            garden.group(&format!("{name}-group"), magic.into(), kind, None, members)?;
        set.push(next, garden.now_ms, Some(&key), value.as_deref());
        next += 1;
        log.extend_from_slice(&set.finish()?);
    }
    let mut add = |records: &[Planted], producer: Option<i64>, now_ms: i64| {
        let mut builder = BatchBuilder::new(BatchBuilderOptions {
            base_offset: next,
            partition_leader_epoch: 0,
            producer_id: producer.unwrap_or(-1),
            producer_epoch: if producer.is_some() { 0 } else { -1 },
            base_sequence: if producer.is_some() { 0 } else { -1 },
            transactional: producer.is_some(),
            ..BatchBuilderOptions::default()
        });
        for (key, value) in records {
            builder.append(now_ms, Some(key), value.as_deref());
        }
        next += records.len() as i64;
        log.extend_from_slice(&builder.build());
        next
    };
    let now_ms = garden.now_ms;
    add(&simple(garden)?, None, now_ms);
    add(&managed(garden)?, None, now_ms);
    for (number, word) in ["open", "committed", "aborted"].into_iter().enumerate() {
        let name = format!("transaction-{word}");
        let before = [garden.offset(&name, ("t", 0), 3, -1, None)?];
        add(&before, None, now_ms);
        let inside = [
            garden.offset(&name, ("t", 0), 2, -1, None)?,
            garden.offset(&name, ("t", 1), 2, -1, None)?,
        ];
        add(&inside, Some(77 + number as i64), now_ms);
    }
    for (producer, control_type) in [(78, ControlType::Commit), (79, ControlType::Abort)] {
        let marker = EndTransactionMarker {
            control_type,
            coordinator_epoch: 0,
        };
        let mut marker = marker_batch(marker, producer, 0, now_ms).to_vec();
        patch_base_offset(&mut marker, next);
        patch_partition_leader_epoch(&mut marker, 0);
        next += 1;
        log.extend_from_slice(&marker);
    }
    fs::write(&path, log)?;
    // So that both brokers look at what was added.
    fs::remove_file(logs.join(".kafka_cleanshutdown"))?;
    Ok(())
}

/// Asks until the answer is taken, and tidies it.
fn ask<R>(talk: &mut Talk, version: i16, request: &R) -> Result<R::Response>
where
    R: Request,
    R::Response: Tidy,
{
    let mut answer = talk.ask(version, request)?.context("closed")?;
    answer.tidy(&Ids::default());
    Ok(answer)
}

fn wait(what: &str, mut is_done: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    while !is_done()? {
        ensure!(Instant::now() < deadline, "no {what} in {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// Until the groups are loaded.
fn ready(talk: &mut Talk) -> Result<()> {
    let find = FindCoordinatorRequest {
        key: "g".into(),
        ..FindCoordinatorRequest::default()
    };
    wait("coordinator", || {
        let found = talk.ask(0, &find)?.context("closed")?;
        let group = described(talk, vec!["g".into()])?.groups.remove(0);
        Ok(found.error_code == 0 && group.error_code == 0)
    })
}

fn described(
    talk: &mut Talk,
    groups: Vec<ByteString>,
) -> Result<kafka_wire::messages::describe_groups::DescribeGroupsResponse> {
    let request = DescribeGroupsRequest {
        groups,
        include_authorized_operations: false,
    };
    ask(talk, 5, &request)
}

/// Everything that clients can see of the groups now.
fn look(talk: &mut Talk, groups: &[ByteString], lines: &mut Vec<String>) -> Result<()> {
    for group in described(talk, groups.to_vec())?.groups {
        lines.push(format!("{group:?}"));
    }
    for group in ask(talk, 4, &ListGroupsRequest::default())?.groups {
        lines.push(format!("{group:?}"));
    }
    for require_stable in [false, true] {
        let group = |name: &ByteString| OffsetFetchRequestGroup {
            group_id: name.clone(),
            topics: None,
            ..OffsetFetchRequestGroup::default()
        };
        let request = OffsetFetchRequest {
            groups: groups.iter().map(group).collect(),
            require_stable,
            ..OffsetFetchRequest::default()
        };
        for group in ask(talk, 8, &request)?.groups {
            lines.push(format!("{require_stable} {group:?}"));
        }
    }
    Ok(())
}

/// What members and administrators do with what was loaded.
fn touch(talk: &mut Talk, lines: &mut Vec<String>) -> Result<()> {
    for (group, member_id, generation) in [
        ("stable-0", "plain", 3),
        ("stable-3", "static", 3),
        ("stable-4", "plain", 2),
        ("connect", "nobody", 9),
        ("magic-1-Snappy-group", "ancient", 2),
    ] {
        let request = HeartbeatRequest {
            group_id: group.into(),
            generation_id: generation,
            member_id: member_id.into(),
            ..HeartbeatRequest::default()
        };
        lines.push(format!("{group} {:?}", ask(talk, 3, &request)?));
    }
    for group in [
        "stable-1",
        "connect",
        "unreadable",
        "no-type",
        "own",
        "transaction-open",
    ] {
        let topic = |name: &str| OffsetDeleteRequestTopic {
            name: name.into(),
            partitions: vec![OffsetDeleteRequestPartition { partition_index: 0 }],
        };
        let request = OffsetDeleteRequest {
            group_id: group.into(),
            topics: vec![topic("t"), topic("unread")],
        };
        lines.push(format!("{group} {:?}", ask(talk, 0, &request)?));
    }
    let groups_names = [
        "stable-2",
        "connect",
        "simple-1",
        "deleted",
        "empty-new-2",
        "past-4",
    ]
    .map(ByteString::from)
    .to_vec();
    let answer = ask(talk, 2, &DeleteGroupsRequest { groups_names })?;
    lines.push(format!("{answer:?}"));
    Ok(())
}

/// What is left of the old, when it has expired.
fn expire(talk: &mut Talk) -> Result<()> {
    wait("expiry", || {
        let groups = [
            "left",
            "nothing",
            "simple-0",
            "past-0",
            "empty-old-4",
            "no-type",
        ];
        let described = described(talk, groups.map(ByteString::from).to_vec())?;
        let states: Vec<&str> = described.groups.iter().map(|g| &*g.group_state).collect();
        Ok(states == ["Empty", "Dead", "Empty", "Dead", "Dead", "Dead"])
    })
}

/// Keys of records that were added after the planted ones: tombstones, in the order of a hash table.
fn tombstones(broker: &Broker) -> Result<Vec<String>> {
    let file = broker
        .log_directory()
        .join("__consumer_offsets-0/00000000000000000000.log");
    let file = file.display().to_string();
    let dump = stock_tools::run(class::DUMP_LOG, &["--print-data-log", "--files", &file])?;
    let is_end = |line: &&str| line.contains("isControl: true");
    let after = dump.stdout.lines().rev().take_while(|line| !is_end(line));
    let mut keys: Vec<String> = after
        .filter(|line| line.contains("valueSize: -1"))
        .filter_map(|line| line.split_once(" key: "))
        .map(|(_, key)| key.split(" payload").next().unwrap_or_default().to_owned())
        .collect();
    keys.sort();
    ensure!(!keys.is_empty(), "{}{}", dump.stdout, dump.stderr);
    Ok(keys)
}

fn play(
    stack: &mut Stack,
    saved: &Saved,
    maker: Maker,
    groups: &[ByteString],
) -> Result<Transcript> {
    let mut transcript = Transcript::default();
    let mut note = |title: &str, lines: &[String]| {
        transcript.lines(title, &lines.join("\n"), &Normaliser::new());
    };
    for is_expiring in [false, true] {
        stack.zookeeper.stop()?;
        saved.restore(stack, maker)?;
        stack.zookeeper.start_again()?;
        let interval = if is_expiring { 500 } else { 600_000 };
        let line = format!("{CONFIG}offsets.retention.check.interval.ms={interval}\n");
        stack.broker.configure(&line);
        stack.broker.start_again()?;
        let mut talk = Talk::with(stack.broker.address())?;
        ready(&mut talk)?;
        if is_expiring {
            expire(&mut talk)?;
        }
        let mut lines = Vec::new();
        look(&mut talk, groups, &mut lines)?;
        note(if is_expiring { "expired" } else { "loaded" }, &lines);
        if !is_expiring {
            lines.clear();
            touch(&mut talk, &mut lines)?;
            look(&mut talk, groups, &mut lines)?;
            note("touched", &lines);
        }
        stack.broker.stop()?;
        note("tombstones", &tombstones(&stack.broker)?);
    }
    Ok(transcript)
}

#[test]
fn groups_of_all_ages_are_loaded_and_expire_as_by_apaches_broker() -> Result<()> {
    let zookeeper = ZooKeeper::start(Maker::Ours)?;
    let mut broker = Broker::prepare(Maker::Ours, &zookeeper.connect(), CONFIG)?;
    broker.start_again()?;
    let mut talk = Talk::with(broker.address())?;
    new_topics::create(&mut talk, &[NewTopic::new("t", 3)])?;
    ready(&mut talk)?;
    broker.stop()?;
    let mut garden = Garden {
        now_ms: i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?,
        groups: Vec::new(),
    };
    plant(&broker.log_directory(), &mut garden)?;
    let mut stack = Stack { broker, zookeeper };
    stack.zookeeper.stop()?;
    let saved = Saved::of(&stack, &[])?;
    stack.zookeeper.start_again()?;
    let ours = play(&mut stack, &saved, Maker::Ours, &garden.groups)?;
    let apaches = play(&mut stack, &saved, Maker::Apache, &garden.groups)?;
    if std::env::var_os("TANDEM_PROGRESS").is_some() {
        println!("{apaches}");
    }
    compare::ensure_same(&apaches, &ours)
}
