//! Pure: what goes into the controller's machine and what comes out of it.

use std::collections::{BTreeMap, BTreeSet};

use kafka_wire::messages::alter_partition::{AlterPartitionRequest, AlterPartitionResponse};
use kafka_wire::messages::leader_and_isr::{LeaderAndIsrRequest, LeaderAndIsrResponse};
use kafka_wire::messages::stop_replica::{StopReplicaRequest, StopReplicaResponse};
use kafka_wire::messages::update_metadata::UpdateMetadataRequest;

use crate::controller::context::LiveBroker;
use crate::zk::znodes::{
    LeaderAndIsr, PartitionState, StateWrite, TopicAssignment, TopicPartition,
};

/// Names the caller that waits for a reply.
pub type Token = u64;

/// The cluster as a new controller finds it in `ZooKeeper`.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Registered brokers.
    pub brokers: Vec<LiveBroker>,
    /// Topics with ids and assignments.
    pub topics: BTreeMap<String, TopicAssignment>,
    /// Leader and ISR of the partitions that have them.
    pub states: Vec<(TopicPartition, PartitionState)>,
    /// Topics under `/admin/delete_topics`.
    pub deletions: Vec<String>,
    /// Partitions in `/admin/preferred_replica_election`, if there is one.
    pub preferred_election: Option<Vec<TopicPartition>>,
}

/// What kind of leader an administrator asks for (`ElectionType.java`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElectionKind {
    /// The head of the assignment.
    Preferred,
    /// Any live replica.
    Unclean,
}

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// This broker was elected.
    Elected(Box<Found>),
    /// The registered brokers, after a change of their number.
    Brokers(Vec<LiveBroker>),
    /// A broker changed what it registered.
    BrokerModified(LiveBroker),
    /// The topics that exist, after a change of their number, and the assignments of those that
    /// the machine does not know.
    Topics {
        /// Names of all topics.
        all: BTreeSet<String>,
        /// Assignments of the new ones.
        added: BTreeMap<String, TopicAssignment>,
    },
    /// A topic's assignment changed.
    AssignmentModified {
        /// The topic.
        topic: String,
        /// Its assignment now.
        assignment: TopicAssignment,
    },
    /// The topics under `/admin/delete_topics`, after a change.
    Deletions(Vec<String>),
    /// Brokers that reported a failed log directory.
    LogDirFailures(Vec<i32>),
    /// Partitions whose state somebody else changed.
    StatesChanged(Vec<(TopicPartition, PartitionState)>),
    /// Somebody wrote `/admin/preferred_replica_election`.
    PreferredElectionRequested(Vec<TopicPartition>),
    /// A broker asks to shut down.
    ControlledShutdown {
        /// The broker.
        broker: i32,
        /// Its epoch, -1 when unknown.
        epoch: i64,
        /// Who waits.
        token: Token,
    },
    /// A leader asks to change its ISR.
    AlterPartition {
        /// The request.
        request: Box<AlterPartitionRequest>,
        /// Its version.
        version: i16,
        /// Who waits.
        token: Token,
    },
    /// An administrator asks for elections; `None` means all partitions.
    ElectLeaders {
        /// The partitions.
        partitions: Option<Vec<TopicPartition>>,
        /// What kind of leader.
        kind: ElectionKind,
        /// Who waits.
        token: Token,
    },
    /// Time to look for leaders that are not the preferred ones.
    Rebalance,
    /// Unclean elections were allowed, for one topic or by default.
    UncleanAllowed(Option<String>),
    /// A broker answered `LeaderAndIsr`.
    LeaderAndIsrAnswered {
        /// The broker.
        broker: i32,
        /// The broker epoch in the request.
        epoch: i64,
        /// Its answer.
        response: LeaderAndIsrResponse,
    },
    /// A broker answered `UpdateMetadata`.
    UpdateMetadataAnswered {
        /// The broker.
        broker: i32,
        /// The error code of its answer.
        error_code: i16,
    },
    /// A broker answered `StopReplica`.
    StopReplicaAnswered {
        /// The broker.
        broker: i32,
        /// The broker epoch in the request.
        epoch: i64,
        /// The partitions that it was told to delete.
        deleted: BTreeSet<TopicPartition>,
        /// Its answer.
        response: StopReplicaResponse,
    },
}

/// A request to a broker.
#[derive(Debug, Clone, PartialEq)]
pub enum ControlRequest {
    /// Become leader or follower; version 7.
    LeaderAndIsr(LeaderAndIsrRequest),
    /// This is the cluster; version 8.
    UpdateMetadata(UpdateMetadataRequest),
    /// Stop, and maybe delete, replicas; version 4.
    StopReplica(StopReplicaRequest),
}

/// What the machine wants done.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Open a channel to a broker.
    OpenChannel(LiveBroker),
    /// Close the channel to a broker and forget what waits in it.
    CloseChannel(i32),
    /// Send a request, after all others to that broker.
    Send {
        /// The broker.
        broker: i32,
        /// The request.
        request: ControlRequest,
    },
    /// Answer a caller.
    Reply {
        /// Who waits.
        token: Token,
        /// The answer.
        reply: Reply,
    },
    /// Do or read something in `ZooKeeper`; the machine waits for the answer. Always the last
    /// effect.
    Ask(Question),
}

/// Work in `ZooKeeper`; every write is conditional on the controller epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Create state nodes and their parents; answered by [`Answer::States`].
    CreateStates(Vec<(TopicPartition, PartitionState)>),
    /// Replace states if their version is the partition epoch given; answered by
    /// [`Answer::States`].
    UpdateStates(Vec<(TopicPartition, LeaderAndIsr)>),
    /// Which of the topics allow unclean elections; answered by [`Answer::UncleanTopics`].
    UncleanTopics(BTreeSet<String>),
    /// Delete a topic's nodes; answered by [`Answer::Done`].
    DeleteTopic(String),
    /// Remove deletion requests; answered by [`Answer::Done`].
    DropDeletions(Vec<String>),
    /// Write a topic's assignment; answered by [`Answer::Done`].
    WriteAssignment(String, TopicAssignment),
    /// Remove `/admin/preferred_replica_election`; answered by [`Answer::Done`].
    RemovePreferredElection,
}

/// The answer to a [`Question`].
#[derive(Debug, Clone)]
pub enum Answer {
    /// One result for each state, in the order of the question.
    States(Vec<StateWrite>),
    /// Topics that allow unclean elections.
    UncleanTopics(BTreeSet<String>),
    /// It is done.
    Done,
}

/// Why one partition got no new leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ElectionFailure {
    /// Nobody may lead.
    NoEligibleLeader(String),
    /// The leader is the right one already.
    NotNeeded,
    /// The topic is being deleted.
    TopicDeleted,
    /// There is no such partition.
    UnknownPartition,
    /// `ZooKeeper` refused.
    Store(String),
}

/// An answer to a caller.
#[derive(Debug, Clone)]
pub enum Reply {
    /// To a controlled shutdown: the partitions that the broker still leads, or an error code.
    ControlledShutdown(Result<Vec<TopicPartition>, i16>),
    /// To an `AlterPartition`.
    AlterPartition(AlterPartitionResponse),
    /// To an election request: the new leader of each partition, or why there is none.
    Elections(BTreeMap<TopicPartition, Result<i32, ElectionFailure>>),
}
