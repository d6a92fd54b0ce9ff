//! Pure: what goes into a group and what comes out of it, as values.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;

use crate::coordinator::group::offsets::OffsetAndMetadata;
use crate::coordinator::group::records::offset_append_error;
use crate::coordinator::internal_log::VerificationGuard;
use crate::coordinator::topic_partition::TopicPartition;
use crate::coordinator::waiting::Ticket;

/// The member id of somebody who has none yet.
pub const UNKNOWN_MEMBER_ID: &str = "";

/// The generation in answers that carry none.
pub const NO_GENERATION: i32 = -1;

/// Both clocks, read once per input: records and expiry use the wall, timers use the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since the epoch.
    pub wall_ms: i64,
    /// Milliseconds of a clock that never goes back.
    pub mono_ms: i64,
}

/// The limits of the group protocol, from the broker's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// `group.min.session.timeout.ms`
    pub min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`
    pub max_session_timeout_ms: i32,
    /// `group.max.size`, members.
    pub max_size: usize,
    /// `group.initial.rebalance.delay.ms`
    pub initial_rebalance_delay_ms: i32,
    /// `offset.metadata.max.bytes`, compared with UTF-16 units as Kafka does.
    pub max_offset_metadata_size: usize,
    /// `offsets.retention.minutes` in milliseconds.
    pub offsets_retention_ms: i64,
}

impl GroupSettings {
    /// A session timeout that a member may ask for.
    pub fn allows_session_timeout(&self, timeout_ms: i32) -> bool {
        (self.min_session_timeout_ms..=self.max_session_timeout_ms).contains(&timeout_ms)
    }
}

/// One way of assigning that a member supports, with what it says to the leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// Name of the assignor.
    pub name: ByteString,
    /// The member's subscription, opaque to the broker.
    pub metadata: Bytes,
}

/// A JoinGroup request, any version.
#[derive(Clone, Debug)]
pub struct JoinRequest {
    /// The member's id, or [`UNKNOWN_MEMBER_ID`].
    pub member_id: ByteString,
    /// `group.instance.id` of a static member (KIP-345).
    pub group_instance_id: Option<ByteString>,
    /// From the request header.
    pub client_id: ByteString,
    /// As Java prints an address: `/127.0.0.1`.
    pub client_host: ByteString,
    /// Silence longer than this loses the membership.
    pub session_timeout_ms: i32,
    /// How long a rebalance waits for this member.
    pub rebalance_timeout_ms: i32,
    /// `consumer`, `connect` and the like.
    pub protocol_type: ByteString,
    /// In the member's order of preference.
    pub protocols: Vec<Protocol>,
    /// A dynamic member must come back with the id it is given first (KIP-394, version 4).
    pub require_known_member_id: bool,
    /// The member understands `SkipAssignment` (KIP-814, version 9).
    pub can_skip_assignment: bool,
    /// Why, in the client's words (KIP-800).
    pub reason: Option<ByteString>,
    /// A random UUID's text: becomes part of the member id if one is needed.
    pub fresh_uuid: ByteString,
}

/// What the leader learns about one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// Member id.
    pub member_id: ByteString,
    /// Instance id of a static member.
    pub group_instance_id: Option<ByteString>,
    /// Subscription for the chosen protocol.
    pub metadata: Bytes,
}

/// The answer to a join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinResult {
    /// Outcome.
    pub error: ErrorCode,
    /// Generation joined, or [`NO_GENERATION`].
    pub generation: i32,
    /// Protocol type of the group.
    pub protocol_type: Option<ByteString>,
    /// Chosen protocol.
    pub protocol_name: Option<ByteString>,
    /// Member id of the leader.
    pub leader: ByteString,
    /// The leader must not run the assignor (KIP-814).
    pub skip_assignment: bool,
    /// The member's own id.
    pub member_id: ByteString,
    /// Everybody, for the leader only.
    pub members: Vec<JoinedMember>,
}

impl JoinResult {
    /// An answer that only says what went wrong.
    pub fn failed(member_id: ByteString, error: ErrorCode) -> JoinResult {
        JoinResult {
            error,
            generation: NO_GENERATION,
            protocol_type: None,
            protocol_name: None,
            leader: ByteString::new(),
            skip_assignment: false,
            member_id,
            members: Vec::new(),
        }
    }
}

/// A SyncGroup request, any version.
#[derive(Clone, Debug)]
pub struct SyncRequest {
    /// The member's id.
    pub member_id: ByteString,
    /// Instance id of a static member.
    pub group_instance_id: Option<ByteString>,
    /// Generation that the member joined.
    pub generation: i32,
    /// Must be the group's if given (version 5).
    pub protocol_type: Option<ByteString>,
    /// Must be the group's if given (version 5).
    pub protocol_name: Option<ByteString>,
    /// Member id to assignment; from the leader only.
    pub assignments: BTreeMap<ByteString, Bytes>,
}

/// The answer to a sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncResult {
    /// Outcome.
    pub error: ErrorCode,
    /// Protocol type of the group.
    pub protocol_type: Option<ByteString>,
    /// Chosen protocol.
    pub protocol_name: Option<ByteString>,
    /// What the leader gave this member.
    pub assignment: Bytes,
}

impl SyncResult {
    /// An answer that only says what went wrong.
    pub fn failed(error: ErrorCode) -> SyncResult {
        SyncResult {
            error,
            protocol_type: None,
            protocol_name: None,
            assignment: Bytes::new(),
        }
    }
}

/// Who leaves.
#[derive(Clone, Debug)]
pub struct Leaver {
    /// Member id, or [`UNKNOWN_MEMBER_ID`] when an administrator removes an instance.
    pub member_id: ByteString,
    /// Instance id of a static member.
    pub group_instance_id: Option<ByteString>,
    /// Why, in the client's words.
    pub reason: Option<ByteString>,
}

/// An offset commit, transactional or not.
#[derive(Clone, Debug)]
pub struct CommitRequest {
    /// Member id, or [`UNKNOWN_MEMBER_ID`] without group management.
    pub member_id: ByteString,
    /// Instance id of a static member.
    pub group_instance_id: Option<ByteString>,
    /// Generation, or -1 without group management.
    pub generation: i32,
    /// Producer id and epoch of a transactional commit.
    pub producer: Option<Producer>,
    /// What to commit.
    pub offsets: Vec<(TopicPartition, OffsetAndMetadata)>,
}

impl CommitRequest {
    /// If a partition is named twice, the last word counts, and it is answered once.
    pub fn keep_last_of_each(&mut self) {
        let mut seen = HashSet::new();
        self.offsets.reverse();
        self.offsets.retain(|(at, _)| seen.insert(at.clone()));
        self.offsets.reverse();
    }

    /// The answer if nothing can be committed.
    pub fn failed(&self, error: ErrorCode) -> CommitResults {
        let partitions = self.offsets.iter();
        partitions.map(|(at, _)| (at.clone(), error)).collect()
    }
}

/// What became of each partition of a commit.
pub type CommitResults = Vec<(TopicPartition, ErrorCode)>;

/// A transactional producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Producer {
    /// Producer id.
    pub id: i64,
    /// Producer epoch.
    pub epoch: i16,
    /// What the log gave when the transaction was verified.
    pub guard: VerificationGuard,
}

/// A late answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To JoinGroup.
    Join(JoinResult),
    /// To SyncGroup.
    Sync(SyncResult),
    /// To OffsetCommit and TxnOffsetCommit, in the order of the request.
    Commit(CommitResults),
}

/// A record of `__consumer_offsets`; no value is a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRecord {
    /// Version-prefixed key.
    pub key: Bytes,
    /// Version-prefixed value.
    pub value: Option<Bytes>,
}

/// What the shell has to do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Answer a waiting request.
    Reply(Ticket, Reply),
    /// Append one batch; once it is replicated (or failed) come back with `then`.
    Append {
        /// Records of the batch.
        records: Vec<GroupRecord>,
        /// Set if the batch is transactional.
        producer: Option<Producer>,
        /// What to do with the outcome.
        then: Stored,
    },
    /// Append one batch without waiting for replicas: losing it costs nothing but repeating it.
    Tombstones(Vec<GroupRecord>),
    /// Call `tick` with this time of the monotonic clock when it has come.
    Arm(i64),
    /// A leader's assignment was accepted for storing: one more completed rebalance.
    RebalanceCompleted,
}

/// What waits for an append.
#[derive(Clone, Debug, PartialEq)]
pub enum Stored {
    /// The leader's assignment of a generation.
    Assignment {
        /// Generation that was stored.
        generation: i32,
        /// Every member's part.
        assignment: BTreeMap<ByteString, Bytes>,
    },
    /// A static member's new id in a stable group.
    StaticMember(Box<StaticRejoin>),
    /// A generation without members.
    EmptyGeneration,
    /// Committed offsets.
    Offsets(OffsetAppend),
}

/// What is needed to answer a static member, or to undo its return.
#[derive(Clone, Debug, PartialEq)]
pub struct StaticRejoin {
    /// The waiting join.
    pub ticket: Ticket,
    /// The instance.
    pub group_instance_id: ByteString,
    /// Member id before.
    pub old_member_id: ByteString,
    /// Member id now.
    pub new_member_id: ByteString,
    /// Leader before the return.
    pub old_leader: ByteString,
    /// Protocols before.
    pub old_protocols: Vec<Protocol>,
    /// Rebalance timeout before.
    pub old_rebalance_timeout_ms: i32,
    /// Session timeout before.
    pub old_session_timeout_ms: i32,
    /// The member understands `SkipAssignment`.
    pub can_skip_assignment: bool,
}

/// An offset commit on its way to the log.
#[derive(Clone, Debug, PartialEq)]
pub struct OffsetAppend {
    /// The waiting commit.
    pub ticket: Ticket,
    /// Answers; `None` is decided by the append.
    pub results: Vec<(TopicPartition, Option<ErrorCode>)>,
    /// What was appended.
    pub offsets: Vec<(TopicPartition, OffsetAndMetadata)>,
    /// Set if transactional.
    pub producer: Option<Producer>,
}

impl OffsetAppend {
    /// The answer if the group is gone meanwhile.
    pub fn orphaned(self, outcome: Result<i64, ErrorCode>) -> Effect {
        self.reply(outcome.err().map_or(ErrorCode::None, offset_append_error))
    }

    /// The answer, once the append's outcome is known.
    pub fn reply(self, outcome: ErrorCode) -> Effect {
        let results = self
            .results
            .into_iter()
            .map(|(tp, e)| (tp, e.unwrap_or(outcome)))
            .collect::<Vec<_>>();
        Effect::Reply(self.ticket, Reply::Commit(results))
    }
}

/// Collects effects in order.
#[derive(Debug, Default)]
pub struct Effects(pub Vec<Effect>);

impl Effects {
    /// Nothing yet.
    pub fn new() -> Effects {
        Effects::default()
    }

    /// Answers a join.
    pub fn join(&mut self, ticket: Ticket, result: JoinResult) {
        self.0.push(Effect::Reply(ticket, Reply::Join(result)));
    }

    /// Answers a sync.
    pub fn sync(&mut self, ticket: Ticket, result: SyncResult) {
        self.0.push(Effect::Reply(ticket, Reply::Sync(result)));
    }

    /// Answers a commit with one error for every partition.
    pub fn commit_failed(
        &mut self,
        ticket: Ticket,
        offsets: Vec<(TopicPartition, OffsetAndMetadata)>,
        error: ErrorCode,
    ) {
        let results = offsets.into_iter().map(|(tp, _)| (tp, error)).collect();
        self.0.push(Effect::Reply(ticket, Reply::Commit(results)));
    }
}

/// A member as DescribeGroups shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberSummary {
    /// Member id.
    pub member_id: ByteString,
    /// Instance id of a static member.
    pub group_instance_id: Option<ByteString>,
    /// Client id.
    pub client_id: ByteString,
    /// Client address.
    pub client_host: ByteString,
    /// Subscription; empty unless the group is stable.
    pub metadata: Bytes,
    /// Assignment; empty unless the group is stable.
    pub assignment: Bytes,
}

/// A group as DescribeGroups shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSummary {
    /// Name of the state.
    pub state: &'static str,
    /// Protocol type, or empty.
    pub protocol_type: ByteString,
    /// Chosen protocol; empty unless the group is stable.
    pub protocol: ByteString,
    /// Everybody.
    pub members: Vec<MemberSummary>,
}

impl GroupSummary {
    /// What an unknown group looks like.
    pub fn dead() -> GroupSummary {
        GroupSummary {
            state: "Dead",
            ..GroupSummary::none()
        }
    }

    /// What a group looks like that may not be described.
    pub fn none() -> GroupSummary {
        GroupSummary {
            state: "",
            protocol_type: ByteString::new(),
            protocol: ByteString::new(),
            members: Vec::new(),
        }
    }
}
