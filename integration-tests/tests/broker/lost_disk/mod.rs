//! Shell: one of two log directories fails under groups and transactions: what every API says of partitions and coordinators
//! that are on it, and of the others, and what becomes of all when it is back, as with Apache's broker.

mod questions;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use bytestring::ByteString;
use integration_tests::compare;
use integration_tests::new_topics::{self, NewTopic};
use integration_tests::partition_view::wait_for_leaders;
use integration_tests::stack::{Broker, Maker, ZooKeeper};
use integration_tests::talk::Talk;
use integration_tests::transcript::{Step, Transcript};
use integration_tests::wait::until;
use kafka_wire::message::Request;
use kafka_wire::messages::add_offsets_to_txn::AddOffsetsToTxnRequest;
use kafka_wire::messages::add_partitions_to_txn::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic,
};
use kafka_wire::messages::describe_groups::DescribeGroupsRequest;
use kafka_wire::messages::end_txn::EndTxnRequest;
use kafka_wire::messages::find_coordinator::FindCoordinatorRequest;
use kafka_wire::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use kafka_wire::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use kafka_wire::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_wire::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup};
use kafka_wire::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use kafka_wire::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_wire::records::batch_builder::BatchBuilderOptions;
use kafka_wire::wire::Uuid;
use regex_lite::Regex;

use questions::{describe_producers, fetch, init_request, produce};

const PARTITIONS: i32 = 4;
const SPREAD: &str = "spread";
const OFFSETS: &str = "__consumer_offsets";
const TRANSACTIONS: &str = "__transaction_state";
const CONFIG: &str = "log.segment.bytes=3000\noffsets.topic.num.partitions=4\n\
    transaction.state.log.num.partitions=4\nreplica.high.watermark.checkpoint.interval.ms=500\n\
    group.min.session.timeout.ms=1000\nzookeeper.session.timeout.ms=6000\nlog.cleaner.enable=false\nlog.retention.ms=-1";
const LEADER_NOT_AVAILABLE: i16 = 5;
const LONG_MS: i32 = 600_000;

/// Which of the directories something is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Kept,
    Lost,
}

const BOTH: [Fate; 2] = [Fate::Kept, Fate::Lost];

/// What clients hold of one fate: coordinators there, and where they write.
struct Clients {
    partition: i32,
    group: String,
    member: ByteString,
    /// A transaction that is open when the directory fails.
    open: (String, i64, i16),
    /// An id that has committed before.
    ended: (String, i64, i16),
}

/// A broker and what was asked of it.
struct Play {
    broker: Broker,
    zookeeper: ZooKeeper,
    directories: [PathBuf; 2],
    talk: Talk,
    clients: BTreeMap<Fate, Clients>,
    steps: Vec<Step>,
    plain: Vec<(Regex, &'static str)>,
}

fn owned(text: &str) -> ByteString {
    ByteString::from(text)
}

/// `Utils.abs(id.hashCode) % partitions`
fn partition_of(id: &str) -> i32 {
    let hash = id.encode_utf16().fold(0_i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(unit.into())
    });
    hash.checked_abs().unwrap_or(0) % PARTITIONS
}

impl Play {
    fn start(maker: Maker) -> Result<Self> {
        let zookeeper = ZooKeeper::start(Maker::Ours)?;
        let mut broker = Broker::prepare(maker, &zookeeper.connect(), CONFIG)?;
        let directories = ["a", "b"].map(|name| broker.directory().join(name));
        let [a, b] = directories.each_ref().map(|path| path.display());
        broker.add_config(&format!("log.dirs={a},{b}"));
        broker.start_again()?;
        let talk = Talk::with(broker.address())?;
        let plain = [
            (r"(partition(_index|_id)?|index): \d+", "$1: P"),
            (r"(partitions(_indexes)?): \[[\d, ]*\]", "$1: []"),
            (r"\w*port: \d+", "port: P"),
            (r"(timestamp|time_ms|throttle_time_ms): \d+", "$1: T"),
            (r#""[\w-]+-[0-9a-f]{8}-[0-9a-f-]{27}""#, "\"a member\""),
            (
                r#"(client_id|client_host|error_message): [^,}]*"#,
                "$1: some",
            ),
        ];
        let plain = plain.map(|(pattern, with)| Ok((Regex::new(pattern)?, with)));
        Ok(Self {
            broker,
            zookeeper,
            directories,
            talk,
            clients: BTreeMap::new(),
            steps: Vec::new(),
            plain: plain.into_iter().collect::<Result<_>>()?,
        })
    }

    /// Asks, and notes the answer without what differs from run to run.
    fn note<R: Request>(
        &mut self,
        title: &str,
        version: i16,
        request: &R,
    ) -> Result<Option<R::Response>>
    where
        R::Response: std::fmt::Debug + Clone,
    {
        let answer = self.talk.ask(version, request)?;
        let mut text = format!("{answer:?}");
        for (fate, clients) in &self.clients {
            for (name, id) in [
                ("group", &clients.group),
                ("open", &clients.open.0),
                ("ended", &clients.ended.0),
            ] {
                text = text.replace(&format!("\"{id}\""), &format!("\"{name} {fate:?}\""));
            }
        }
        for (pattern, with) in &self.plain {
            text = pattern.replace_all(&text, *with).into_owned();
        }
        self.steps.push(Step {
            title: format!("{} v{version} {title}", R::NAME),
            lines: vec![text],
        });
        Ok(answer)
    }

    fn say(&mut self, title: &str, what: &impl std::fmt::Debug) {
        self.steps.push(Step {
            title: title.to_owned(),
            lines: vec![format!("{what:?}")],
        });
    }

    /// The partitions of a topic in one of the directories.
    fn inside(&self, topic: &str, fate: Fate) -> Vec<i32> {
        let directory = &self.directories[fate as usize];
        let inside = |partition: &i32| directory.join(format!("{topic}-{partition}")).is_dir();
        (0..PARTITIONS).filter(inside).collect()
    }

    /// The first of some names whose coordinator is there.
    fn name(&self, topic: &str, fate: Fate, front: &str) -> Result<String> {
        let inside = self.inside(topic, fate);
        let mut names = (0..1000).map(|number| format!("{front}{number}"));
        names
            .find(|name| inside.contains(&partition_of(name)))
            .with_context(|| format!("no partition of {topic} is {fate:?}"))
    }

    fn find(&mut self, key: &str, key_type: i8, title: &str) -> Result<()> {
        let request = FindCoordinatorRequest {
            key: owned(key),
            key_type,
            ..FindCoordinatorRequest::default()
        };
        self.note(title, 2, &request).map(drop)
    }

    /// Topics, and a group and transactions at each fate.
    fn prepare(&mut self) -> Result<()> {
        new_topics::create(&mut self.talk, &[NewTopic::new(SPREAD, PARTITIONS)])?;
        for (key_type, topic) in [(0, OFFSETS), (1, TRANSACTIONS)] {
            let request = FindCoordinatorRequest {
                key: owned("x"),
                key_type,
                ..FindCoordinatorRequest::default()
            };
            until("a coordinator", || {
                let answer = self.talk.ask(2, &request)?.context("closed")?;
                Ok(answer.error_code == 0)
            })?;
            wait_for_leaders(&mut self.talk, topic, PARTITIONS)?;
        }
        for fate in BOTH {
            let group = self.name(OFFSETS, fate, "g")?;
            let clients = Clients {
                partition: *self.inside(SPREAD, fate).first().context("none")?,
                member: self.join(&group)?,
                open: self.init(&self.name(TRANSACTIONS, fate, "open")?)?,
                ended: self.init(&self.name(TRANSACTIONS, fate, "ended")?)?,
                group,
            };
            self.clients.insert(fate, clients);
        }
        for fate in BOTH {
            self.commit(fate, 5)?;
            let ended = self.clients[&fate].ended.clone();
            self.work(fate, &ended, 0)?;
            self.end(fate, &ended)?;
            self.wait_for_markers(ended.1)?;
            let open = self.clients[&fate].open.clone();
            self.work(fate, &open, 0)?;
        }
        Ok(())
    }

    /// Markers come when they like, but before the next transaction begins.
    fn wait_for_markers(&mut self, producer_id: i64) -> Result<()> {
        for fate in BOTH {
            let request = describe_producers(self.clients[&fate].partition);
            until("a marker", || {
                let answer = self.talk.ask(0, &request)?.context("closed")?;
                let mut producers = answer.topics[0].partitions[0].active_producers.iter();
                let found = producers.find(|producer| producer.producer_id == producer_id);
                Ok(found.is_some_and(|producer| producer.current_txn_start_offset < 0))
            })?;
        }
        Ok(())
    }

    fn join(&mut self, group: &str) -> Result<ByteString> {
        let request = JoinGroupRequest {
            group_id: owned(group),
            session_timeout_ms: 300_000,
            rebalance_timeout_ms: 300_000,
            protocol_type: owned("consumer"),
            protocols: vec![JoinGroupRequestProtocol {
                name: owned("range"),
                metadata: Bytes::from_static(b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff"),
            }],
            ..JoinGroupRequest::default()
        };
        // A coordinator may still be loading.
        let mut member = ByteString::new();
        until("a member", || {
            let answer = self.talk.ask(3, &request)?.context("closed")?;
            member = answer.member_id;
            Ok(answer.error_code == 0)
        })?;
        let request = self.sync(group, &member);
        let answer = self.talk.ask(3, &request)?.context("closed")?;
        ensure!(answer.error_code == 0, "{answer:?}");
        Ok(member)
    }

    fn sync(&self, group: &str, member: &ByteString) -> SyncGroupRequest {
        SyncGroupRequest {
            group_id: owned(group),
            generation_id: 1,
            member_id: member.clone(),
            assignments: vec![SyncGroupRequestAssignment {
                member_id: member.clone(),
                assignment: Bytes::from_static(b"x"),
            }],
            ..SyncGroupRequest::default()
        }
    }

    fn init(&mut self, id: &str) -> Result<(String, i64, i16)> {
        let request = init_request(id);
        let mut given = None;
        until("a producer id", || {
            let answer = self.talk.ask(4, &request)?.context("closed")?;
            given = Some((id.to_owned(), answer.producer_id, answer.producer_epoch));
            Ok(answer.error_code == 0)
        })?;
        given.context("none")
    }

    fn commit(&mut self, fate: Fate, offset: i64) -> Result<()> {
        let clients = &self.clients[&fate];
        let request = OffsetCommitRequest {
            group_id: owned(&clients.group),
            generation_id_or_member_epoch: 1,
            member_id: clients.member.clone(),
            topics: vec![OffsetCommitRequestTopic {
                name: owned(SPREAD),
                partitions: vec![OffsetCommitRequestPartition {
                    partition_index: 0,
                    committed_offset: offset,
                    committed_leader_epoch: -1,
                    ..OffsetCommitRequestPartition::default()
                }],
            }],
            ..OffsetCommitRequest::default()
        };
        self.note(&format!("{fate:?}"), 7, &request).map(drop)
    }

    /// Writes to a partition of either fate within a transaction, and commits offsets of its group.
    fn work(&mut self, fate: Fate, id: &(String, i64, i16), sequence: i32) -> Result<()> {
        let title = format!("of a transaction, {fate:?}");
        for to in BOTH {
            let partition = self.clients[&to].partition;
            let request = AddPartitionsToTxnRequest {
                v3_and_below_transactional_id: owned(&id.0),
                v3_and_below_producer_id: id.1,
                v3_and_below_producer_epoch: id.2,
                v3_and_below_topics: vec![AddPartitionsToTxnTopic {
                    name: owned(SPREAD),
                    partitions: vec![partition],
                }],
                ..AddPartitionsToTxnRequest::default()
            };
            // The markers of the one before may be on their way.
            until("its end", || {
                let answer = self.talk.ask(3, &request)?.context("closed")?;
                let topics = &answer.results_by_topic_v3_and_below;
                Ok(topics
                    .iter()
                    .all(|topic| topic.results_by_partition[0].partition_error_code != 51))
            })?;
            self.note(&format!("{title}, to {to:?}"), 3, &request)?;
            let options = BatchBuilderOptions {
                producer_id: id.1,
                producer_epoch: id.2,
                base_sequence: sequence,
                transactional: true,
                ..BatchBuilderOptions::default()
            };
            let request = produce(partition, Some(&id.0), options);
            self.note(&format!("{title}, to {to:?}"), 9, &request)?;
        }
        let group = owned(&self.clients[&fate].group);
        let request = AddOffsetsToTxnRequest {
            transactional_id: owned(&id.0),
            producer_id: id.1,
            producer_epoch: id.2,
            group_id: group.clone(),
        };
        self.note(&title, 3, &request)?;
        let request = TxnOffsetCommitRequest {
            transactional_id: owned(&id.0),
            group_id: group,
            producer_id: id.1,
            producer_epoch: id.2,
            generation_id: -1,
            topics: vec![TxnOffsetCommitRequestTopic {
                name: owned(SPREAD),
                partitions: vec![TxnOffsetCommitRequestPartition {
                    partition_index: 1,
                    committed_offset: 40 + i64::from(sequence),
                    committed_leader_epoch: -1,
                    committed_metadata: Some(owned("")),
                }],
            }],
            ..TxnOffsetCommitRequest::default()
        };
        self.note(&title, 3, &request).map(drop)
    }

    fn end(&mut self, fate: Fate, id: &(String, i64, i16)) -> Result<()> {
        let request = EndTxnRequest {
            transactional_id: owned(&id.0),
            producer_id: id.1,
            producer_epoch: id.2,
            committed: true,
        };
        self.note(&format!("{fate:?}"), 3, &request).map(drop)
    }

    /// Takes the second directory away, and waits until nothing in it has a leader.
    fn lose(&mut self) -> Result<()> {
        let topics = [SPREAD, OFFSETS, TRANSACTIONS];
        let lost: BTreeSet<(&str, i32)> = topics
            .iter()
            .flat_map(|topic| {
                let inside = self.inside(topic, Fate::Lost).into_iter();
                inside.map(|partition| (*topic, partition))
            })
            .collect();
        ensure!(lost.len() == 6, "not spread evenly: {lost:?}");
        let away = self.broker.directory().join("away");
        fs::rename(&self.directories[1], away)?;
        let names = topics.iter().map(|topic| MetadataRequestTopic {
            topic_id: Uuid::ZERO,
            name: Some(owned(topic)),
        });
        let request = MetadataRequest {
            topics: Some(names.collect()),
            ..MetadataRequest::default()
        };
        until("the failure", || {
            let answer = self.talk.ask(4, &request)?.context("closed")?;
            Ok(answer.topics.iter().all(|topic| {
                let name = topic.name.as_deref().unwrap_or_default();
                topic.partitions.iter().all(|partition| {
                    let gone = partition.error_code == LEADER_NOT_AVAILABLE;
                    gone == lost.contains(&(name, partition.partition_index))
                })
            }))
        })
    }

    /// Puts the directory back, starts anew, and waits until no transaction is open any more.
    fn repair(&mut self) -> Result<()> {
        let code = self.broker.stop()?;
        // A JVM that ends by a signal says so.
        ensure!(matches!(code, 0 | 143), "exit code {code}");
        let away = self.broker.directory().join("away");
        fs::rename(away, &self.directories[1])?;
        self.broker.start_again()?;
        self.talk = Talk::with(self.broker.address())?;
        for topic in [OFFSETS, TRANSACTIONS, "fresh"] {
            let partitions = if topic == "fresh" { 2 } else { PARTITIONS };
            wait_for_leaders(&mut self.talk, topic, partitions)?;
        }
        wait_for_leaders(&mut self.talk, SPREAD, PARTITIONS + 1)
    }

    /// What is there when the directory is back: the same groups, and nothing of the topic that was deleted meanwhile.
    fn ask_afterwards(&mut self) -> Result<()> {
        for fate in BOTH {
            let group = self.clients[&fate].group.clone();
            let request = OffsetFetchRequest {
                groups: vec![OffsetFetchRequestGroup {
                    group_id: owned(&group),
                    ..OffsetFetchRequestGroup::default()
                }],
                ..OffsetFetchRequest::default()
            };
            self.note(&format!("{fate:?}, afterwards"), 8, &request)?;
            let request = DescribeGroupsRequest {
                groups: vec![owned(&group)],
                include_authorized_operations: false,
            };
            self.note(&format!("{fate:?}, afterwards"), 4, &request)?;
        }
        let request = MetadataRequest {
            topics: None,
            ..MetadataRequest::default()
        };
        until("the deletion", || {
            let answer = self.talk.ask(4, &request)?.context("closed")?;
            let mut topics = answer.topics.iter();
            Ok(!topics.any(|topic| topic.name.as_deref() == Some("doomed")))
        })
    }

    /// What was decided is finished, and what was not is aborted.
    fn all_transactions_end(&mut self) -> Result<()> {
        for clients in self.clients.values() {
            for id in [&clients.open.0, &clients.ended.0] {
                let request = init_request(id);
                until("the end of its transaction", || {
                    let answer = self.talk.ask(4, &request)?.context("closed")?;
                    Ok(answer.error_code == 0)
                })?;
            }
        }
        for clients in self.clients.values() {
            let request = fetch(clients.partition);
            until("a stable end", || {
                let answer = self.talk.ask(11, &request)?.context("closed")?;
                let data = &answer.responses[0].partitions[0];
                Ok(data.error_code == 0 && data.last_stable_offset == data.high_watermark)
            })?;
        }
        Ok(())
    }
}

fn play(maker: Maker) -> Result<Transcript> {
    let mut play = Play::start(maker)?;
    play.prepare()?;
    new_topics::create(&mut play.talk, &[NewTopic::new("doomed", 2)])?;
    play.lose()?;
    play.ask_meanwhile()?;
    play.repair()?;
    play.ask_afterwards()?;
    play.all_transactions_end()?;
    play.broker.stop()?;
    play.zookeeper.stop()?;
    Ok(Transcript { steps: play.steps })
}

#[test]
fn what_is_on_a_failed_disk_is_answered_for_and_comes_back() -> Result<()> {
    let reference = play(Maker::Apache).context("Apache's")?;
    let ours = play(Maker::Ours).context("ours")?;
    println!("{} steps", reference.steps.len());
    compare::ensure_same(&reference, &ours)
}
