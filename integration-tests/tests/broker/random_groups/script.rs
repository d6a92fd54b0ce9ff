//! Pure: who takes part in a random script, and what they ask next, once for each broker.

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;
use integration_tests::requests::Random;
use kafka_wire::messages::heartbeat::HeartbeatRequest;
use kafka_wire::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use kafka_wire::messages::leave_group::{LeaveGroupRequest, MemberIdentity};
use kafka_wire::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_wire::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_wire::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_wire::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use kafka_wire::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_wire::messages::write_txn_markers::{
    WritableTxnMarker, WritableTxnMarkerTopic, WriteTxnMarkersRequest,
};

/// The same thing as each of the two brokers names it.
pub type Pair<T> = [T; 2];

/// Partitions of `__consumer_offsets`.
pub const OFFSETS_PARTITIONS: i32 = 4;

/// Longer than any script, so that no clock decides anything.
const SESSION_MS: i32 = 1_800_000;
const REBALANCE_MS: i32 = 3_000_000;

/// A group, as far as the script has to know it.
#[derive(Debug, Default)]
pub struct Group {
    /// Its id.
    pub name: ByteString,
    /// Who leads, by the name that both brokers' ids have in common.
    pub leader: Option<ByteString>,
    /// All member ids ever handed out.
    pub known: Vec<Pair<ByteString>>,
}

/// What is not answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// JoinGroup of this version.
    Join(i16),
    /// SyncGroup of this version.
    Sync(i16),
}

/// One client.
#[derive(Debug, Default)]
pub struct Actor {
    /// Index of its group.
    pub group: usize,
    /// Set for a static member.
    pub instance: Option<ByteString>,
    /// Its member id.
    pub member: Pair<ByteString>,
    /// The generation it joined.
    pub generation: i32,
    /// The protocol it was told.
    pub protocol: Option<ByteString>,
    /// It was told that it leads, over these.
    pub crew: Vec<Pair<ByteString>>,
    /// It has joined and not synced.
    pub needs_sync: bool,
    /// What it supports, as it said last.
    pub protocols: Vec<JoinGroupRequestProtocol>,
    /// What it waits for.
    pub waiting: Option<Waiting>,
}

/// Makes requests.
#[derive(Debug)]
pub struct Script {
    /// What decides.
    pub random: Random,
    /// Everybody.
    pub actors: Vec<Actor>,
    /// The groups; the last one is used for nothing but offsets.
    pub groups: Vec<Group>,
}

fn both<T>(make: impl Fn(usize) -> T) -> Pair<T> {
    std::array::from_fn(make)
}

fn consumer_bytes(version: i16, topics: &[&str], partitions: Option<&[i32]>) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(version);
    bytes.put_i32(topics.len() as i32);
    for topic in topics {
        bytes.put_i16(topic.len() as i16);
        bytes.put_slice(topic.as_bytes());
        if let Some(partitions) = partitions {
            bytes.put_i32(partitions.len() as i32);
            for partition in partitions {
                bytes.put_i32(*partition);
            }
        }
    }
    bytes.put_i32(-1);
    bytes.freeze()
}

impl Script {
    /// Two groups of four clients, two of them static, and a group without members.
    pub fn new(seed: u64) -> Script {
        let mut actors = Vec::new();
        for group in 0..2 {
            for number in 0..4 {
                actors.push(Actor {
                    group,
                    instance: (number >= 2).then(|| format!("i{number}").into()),
                    ..Actor::default()
                });
            }
        }
        let group = |name: &str| Group {
            name: name.into(),
            ..Group::default()
        };
        Script {
            random: Random::new(seed),
            actors,
            groups: vec![group("g-0"), group("h-0"), group("simple")],
        }
    }

    /// True so many times in a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.random.below(100) < percent
    }

    fn version(&mut self, lowest: i16, highest: i16) -> i16 {
        lowest + self.random.below((highest - lowest + 1) as u64) as i16
    }

    /// A member id: mostly the actor's own.
    fn member(&mut self, actor: usize) -> Pair<ByteString> {
        let own = self.actors[actor].member.clone();
        match self.random.below(20) {
            0 => both(|_| "nobody".into()),
            1 => both(|_| ByteString::new()),
            2 => {
                let known = &self.groups[self.actors[actor].group].known;
                match known.len() as u64 {
                    0 => own,
                    count => known[self.random.below(count) as usize].clone(),
                }
            }
            _ => own,
        }
    }

    fn instance(&mut self, actor: usize) -> Option<ByteString> {
        match self.random.below(25) {
            0 => Some("i2".into()),
            1 => Some("stranger".into()),
            2 => None,
            _ => self.actors[actor].instance.clone(),
        }
    }

    fn generation(&mut self, actor: usize) -> i32 {
        let own = self.actors[actor].generation;
        match self.random.below(20) {
            0 => own - 1,
            1 => own + 1,
            2 => -1,
            _ => own,
        }
    }

    /// What a client supports: in any order, with subscriptions, now and then nonsense.
    fn protocols(&mut self, actor: usize) -> Vec<JoinGroupRequestProtocol> {
        if !self.actors[actor].protocols.is_empty() && self.chance(60) {
            return self.actors[actor].protocols.clone();
        }
        let mut names = vec!["range", "roundrobin", "sticky", "cooperative-sticky", "own"];
        let count = 2 + self.random.below(4);
        let mut protocols = Vec::new();
        for _ in 0..count.min(names.len() as u64) {
            let name = names.remove(self.random.below(names.len() as u64) as usize);
            let metadata = match self.random.below(15) {
                0 => Bytes::from_static(b"\0\x01\0\0"),
                1..=5 => consumer_bytes(0, &["t", "u"], None),
                _ => consumer_bytes(3, &["t"], None),
            };
            protocols.push(JoinGroupRequestProtocol {
                name: name.into(),
                metadata,
            });
        }
        if self.random.below(60) == 0 {
            protocols.clear();
        }
        self.actors[actor].protocols = protocols.clone();
        protocols
    }

    /// JoinGroup.
    pub fn join(&mut self, actor: usize) -> (i16, Pair<JoinGroupRequest>) {
        let member = self.member(actor);
        let instance = self.instance(actor);
        let lowest = if instance.is_some() { 5 } else { 0 };
        let version = self.version(lowest, 9);
        let protocols = self.protocols(actor);
        let protocol_type = match self.random.below(40) {
            0 => "connect",
            1 => "",
            _ => "consumer",
        };
        let session_timeout_ms = match self.random.below(40) {
            0 => 5,
            _ => SESSION_MS,
        };
        let group_id = self.groups[self.actors[actor].group].name.clone();
        let requests = both(|side| JoinGroupRequest {
            group_id: group_id.clone(),
            session_timeout_ms,
            rebalance_timeout_ms: if version > 0 { REBALANCE_MS } else { -1 },
            member_id: member[side].clone(),
            group_instance_id: instance.clone(),
            protocol_type: protocol_type.into(),
            protocols: protocols.clone(),
            reason: (version >= 8).then(|| "a reason".into()),
        });
        (version, requests)
    }

    /// SyncGroup; the leader brings something for most.
    pub fn sync(&mut self, actor: usize) -> (i16, Pair<SyncGroupRequest>) {
        let member = self.member(actor);
        let instance = self.instance(actor);
        let generation_id = self.generation(actor);
        let version = self.version(if instance.is_some() { 3 } else { 0 }, 5);
        let mut parts: Vec<(Pair<ByteString>, Bytes)> = Vec::new();
        for (place, id) in (0..).zip(self.actors[actor].crew.clone()) {
            if self.chance(98) {
                parts.push((id, consumer_bytes(1, &["t"], Some(&[place]))));
            }
        }
        if self.chance(10) {
            parts.push((both(|_| "ghost".into()), Bytes::from_static(b"boo")));
        }
        let own = self.actors[actor].protocol.clone();
        let protocol_name = match self.random.below(25) {
            0 => Some("other".into()),
            1 => None,
            _ => own.or(Some("range".into())),
        };
        let protocol_type = match self.random.below(25) {
            0 => Some("connect".into()),
            1 => None,
            _ => Some("consumer".into()),
        };
        let group_id = self.groups[self.actors[actor].group].name.clone();
        let requests = both(|side| SyncGroupRequest {
            group_id: group_id.clone(),
            generation_id,
            member_id: member[side].clone(),
            group_instance_id: instance.clone(),
            protocol_type: protocol_type.clone().filter(|_| version >= 5),
            protocol_name: protocol_name.clone().filter(|_| version >= 5),
            assignments: parts
                .iter()
                .map(|(id, assignment)| SyncGroupRequestAssignment {
                    member_id: id[side].clone(),
                    assignment: assignment.clone(),
                })
                .collect(),
        });
        (version, requests)
    }

    /// Heartbeat.
    pub fn heartbeat(&mut self, actor: usize) -> (i16, Pair<HeartbeatRequest>) {
        let member = self.member(actor);
        let instance = self.instance(actor);
        let generation_id = self.generation(actor);
        let version = self.version(if instance.is_some() { 3 } else { 0 }, 4);
        let group_id = self.groups[self.actors[actor].group].name.clone();
        let requests = both(|side| HeartbeatRequest {
            group_id: group_id.clone(),
            generation_id,
            member_id: member[side].clone(),
            group_instance_id: instance.clone(),
        });
        (version, requests)
    }

    /// LeaveGroup, of anybody who ever was a member.
    pub fn leave(&mut self, actor: usize) -> (i16, Pair<LeaveGroupRequest>) {
        let version = self.version(0, 5);
        let group = self.actors[actor].group;
        let group_id = self.groups[group].name.clone();
        let count = if version < 3 {
            1
        } else {
            1 + self.random.below(3)
        };
        let mut leavers = Vec::new();
        for _ in 0..count {
            let known = self.groups[group].known.clone();
            let id = match known.len() as u64 {
                0 => self.member(actor),
                length if self.chance(60) => known[self.random.below(length) as usize].clone(),
                _ => self.member(actor),
            };
            let instance = match self.random.below(4) {
                0 => self.instance(actor),
                _ => None,
            };
            leavers.push((id, instance));
        }
        let requests = both(|side| LeaveGroupRequest {
            group_id: group_id.clone(),
            member_id: match version {
                0..=2 => leavers[0].0[side].clone(),
                _ => ByteString::new(),
            },
            members: match version {
                0..=2 => Vec::new(),
                _ => leavers
                    .iter()
                    .map(|(id, instance)| MemberIdentity {
                        member_id: id[side].clone(),
                        group_instance_id: instance.clone(),
                        reason: None,
                    })
                    .collect(),
            },
        });
        (version, requests)
    }

    /// Any of the groups, mostly the actor's own.
    pub fn any_group(&mut self, actor: usize) -> ByteString {
        match self.random.below(10) {
            0..=2 => self.groups[self.groups.len() - 1].name.clone(),
            3 => "never".into(),
            4 => ByteString::new(),
            _ => self.groups[self.actors[actor].group].name.clone(),
        }
    }

    /// Some partitions, some of which are not there, some of them twice.
    fn partitions(&mut self) -> Vec<(ByteString, i32)> {
        let count = 1 + self.random.below(4);
        let random = &mut self.random;
        (0..count)
            .map(|_| {
                let topic = random.pick(&["t", "t", "u", "u", "nosuch"]);
                (topic.into(), random.pick(&[0, 1, 2, 2, 7]))
            })
            .collect()
    }

    fn note(&mut self) -> Option<ByteString> {
        match self.random.below(12) {
            0 => None,
            1 => Some("x".repeat(4097).into()),
            2 => Some("\u{1f600}".repeat(2048).into()),
            _ => Some(format!("note {}", self.random.below(9)).into()),
        }
    }

    /// OffsetCommit as a member, or as nobody.
    pub fn commit(&mut self, actor: usize) -> (i16, Pair<OffsetCommitRequest>) {
        let is_simple = self.chance(40);
        let group_id = match is_simple {
            true => self.any_group(actor),
            false => self.groups[self.actors[actor].group].name.clone(),
        };
        let member = match is_simple {
            true => both(|_| ByteString::new()),
            false => self.member(actor),
        };
        let instance = match is_simple {
            true => None,
            false => self.instance(actor),
        };
        let generation = match is_simple {
            true => -1,
            false => self.generation(actor),
        };
        let version = self.version(if instance.is_some() { 7 } else { 1 }, 9);
        let mut topics: Vec<OffsetCommitRequestTopic> = Vec::new();
        for (name, partition_index) in self.partitions() {
            let partition = OffsetCommitRequestPartition {
                partition_index,
                committed_offset: self.random.below(1000) as i64,
                committed_leader_epoch: match version {
                    6.. => self.random.pick(&[-1, 0, 5]),
                    _ => -1,
                },
                commit_timestamp: match version {
                    1 => self.random.pick(&[-1, 1_700_000_000_000]),
                    _ => -1,
                },
                committed_metadata: self.note(),
            };
            topics.push(OffsetCommitRequestTopic {
                name,
                partitions: vec![partition],
            });
        }
        let retention_time_ms = match version {
            2..=4 => self.random.pick(&[-1, 3_600_000]),
            _ => -1,
        };
        let requests = both(|side| OffsetCommitRequest {
            group_id: group_id.clone(),
            generation_id_or_member_epoch: generation,
            member_id: member[side].clone(),
            group_instance_id: instance.clone(),
            retention_time_ms,
            topics: topics.clone(),
        });
        (version, requests)
    }

    /// TxnOffsetCommit of one of two producers, as a member or not.
    pub fn commit_in_transaction(&mut self, actor: usize) -> (i16, Pair<TxnOffsetCommitRequest>) {
        let version = self.version(0, 3);
        let is_member = version == 3 && self.chance(50);
        let member = match is_member {
            true => self.member(actor),
            false => both(|_| ByteString::new()),
        };
        let group_instance_id = match is_member {
            true => self.instance(actor),
            false => None,
        };
        let generation_id = match is_member {
            true => self.generation(actor),
            false => -1,
        };
        let group_id = self.any_group(actor);
        let mut topics: Vec<TxnOffsetCommitRequestTopic> = Vec::new();
        for (name, partition_index) in self.partitions() {
            let partition = TxnOffsetCommitRequestPartition {
                partition_index,
                committed_offset: 1000 + self.random.below(1000) as i64,
                committed_leader_epoch: match version {
                    2.. => self.random.pick(&[-1, 3]),
                    _ => -1,
                },
                committed_metadata: self.note(),
            };
            topics.push(TxnOffsetCommitRequestTopic {
                name,
                partitions: vec![partition],
            });
        }
        // The third is fenced by its first marker. (What fails takes away from Apache's memory what
        // was stored before, so no producer does both.)
        let producer_id = self.random.pick(&[7000, 7000, 7001, 7001, 7002]);
        let producer_epoch = if producer_id == 7002 { 0 } else { 1 };
        let requests = both(|side| TxnOffsetCommitRequest {
            transactional_id: "tx".into(),
            group_id: group_id.clone(),
            producer_id,
            producer_epoch,
            generation_id,
            member_id: member[side].clone(),
            group_instance_id: group_instance_id.clone(),
            topics: topics.clone(),
        });
        (version, requests)
    }

    /// The end of a producer's transaction, in every partition of `__consumer_offsets` or in some.
    pub fn marker(&mut self) -> (i16, Pair<WriteTxnMarkersRequest>) {
        let version = self.version(0, 1);
        let partition_indexes = match self.chance(70) {
            true => (0..OFFSETS_PARTITIONS).collect(),
            false => vec![self.random.pick(&[0, 1, 2, 3])],
        };
        let marker = WritableTxnMarker {
            producer_id: self.random.pick(&[7000, 7001, 7002]),
            producer_epoch: self.random.pick(&[1, 1, 1, 1, 0]),
            transaction_result: self.chance(60),
            topics: vec![WritableTxnMarkerTopic {
                name: "__consumer_offsets".into(),
                partition_indexes,
            }],
            coordinator_epoch: 0,
        };
        let request = WriteTxnMarkersRequest {
            markers: vec![marker],
        };
        (version, both(|_| request.clone()))
    }

    /// OffsetFetch: some partitions or all.
    pub fn fetch(&mut self, actor: usize) -> (i16, Pair<OffsetFetchRequest>) {
        let version = self.version(1, 9);
        let wants_all = version >= 2 && self.chance(50);
        let partitions = self.partitions();
        let groups = [self.any_group(actor), self.any_group(actor)];
        let require_stable = version >= 7 && self.chance(50);
        let request = if version < 8 {
            let topic = |(name, index): &(ByteString, i32)| OffsetFetchRequestTopic {
                name: name.clone(),
                partition_indexes: vec![*index],
            };
            OffsetFetchRequest {
                group_id: groups[0].clone(),
                topics: (!wants_all).then(|| partitions.iter().map(topic).collect()),
                require_stable,
                ..OffsetFetchRequest::default()
            }
        } else {
            let topic = |(name, index): &(ByteString, i32)| OffsetFetchRequestTopics {
                name: name.clone(),
                partition_indexes: vec![*index],
            };
            let group = |group_id: &ByteString| OffsetFetchRequestGroup {
                group_id: group_id.clone(),
                topics: (!wants_all).then(|| partitions.iter().map(topic).collect()),
                ..OffsetFetchRequestGroup::default()
            };
            OffsetFetchRequest {
                groups: groups.iter().map(group).collect(),
                require_stable,
                ..OffsetFetchRequest::default()
            }
        };
        (version, both(|_| request.clone()))
    }

    /// OffsetDelete.
    pub fn forget(&mut self, actor: usize) -> Pair<OffsetDeleteRequest> {
        let group_id = self.any_group(actor);
        let mut topics: Vec<OffsetDeleteRequestTopic> = Vec::new();
        for (name, partition_index) in self.partitions() {
            // Topics are a set in this request.
            if topics.iter().all(|t| t.name != name) {
                topics.push(OffsetDeleteRequestTopic {
                    name,
                    partitions: vec![OffsetDeleteRequestPartition { partition_index }],
                });
            }
        }
        both(|_| OffsetDeleteRequest {
            group_id: group_id.clone(),
            topics: topics.clone(),
        })
    }
}
