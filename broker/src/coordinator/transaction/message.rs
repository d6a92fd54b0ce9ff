//! Pure: what goes into the transactions of a partition and what comes out of them, as values.

use std::collections::BTreeSet;

use bytes::Bytes;
use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;

use crate::coordinator::topic_partition::TopicPartition;
use crate::coordinator::transaction::transaction::{ProducerIdentity, Transit};
use crate::coordinator::waiting::Ticket;

/// Limits, from the broker's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionSettings {
    /// `transaction.max.timeout.ms`
    pub max_timeout_ms: i32,
    /// `transactional.id.expiration.ms`
    pub id_expiration_ms: i64,
}

/// InitProducerId with a transactional id, any version.
#[derive(Clone, Debug)]
pub struct InitRequest {
    /// The transactional id.
    pub transactional_id: ByteString,
    /// How long a transaction may stay open.
    pub timeout_ms: i32,
    /// What the producer had, if it says so (KIP-360, version 3).
    pub expected: Option<ProducerIdentity>,
}

/// AddPartitionsToTxn or AddOffsetsToTxn, any version; or the question whether they are in.
#[derive(Clone, Debug)]
pub struct AddRequest {
    /// The transactional id.
    pub transactional_id: ByteString,
    /// Who asks.
    pub producer: ProducerIdentity,
    /// The partitions to write to.
    pub partitions: BTreeSet<TopicPartition>,
}

/// EndTxn, any version.
#[derive(Clone, Debug)]
pub struct EndRequest {
    /// The transactional id.
    pub transactional_id: ByteString,
    /// Who asks.
    pub producer: ProducerIdentity,
    /// Commit or abort.
    pub commit: bool,
}

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To InitProducerId.
    Init(Result<ProducerIdentity, ErrorCode>),
    /// To everything else.
    Done(ErrorCode),
}

/// A record of `__transaction_state`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// Key.
    pub key: Bytes,
    /// Value; none is a tombstone.
    pub value: Option<Bytes>,
}

/// The markers of one transaction on their way to its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Markers {
    /// The partition of `__transaction_state` that the transaction belongs to.
    pub shard: i32,
    /// The leader epoch in which that partition's coordinator decided.
    pub coordinator_epoch: i32,
    /// The transactional id.
    pub transactional_id: ByteString,
    /// Whose transaction.
    pub producer: ProducerIdentity,
    /// Commit or abort.
    pub commit: bool,
    /// Where markers are missing.
    pub partitions: Vec<TopicPartition>,
}

/// Why an append was made: what is to be done once it has succeeded or failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// A transaction's new state.
    Transit {
        /// The transactional id.
        transactional_id: ByteString,
        /// The state.
        transit: Transit,
        /// What follows.
        then: Then,
    },
    /// Tombstones of ids that expired, with the epochs they had.
    Tombstones(Vec<(ByteString, i16)>),
}

/// What follows the append of a transaction's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// The producer is told its id and epoch.
    Init(Ticket),
    /// The producer is told that the partitions are in.
    Added(Ticket),
    /// The markers go out.
    Ended {
        /// Commit or abort.
        commit: bool,
        /// Whether the epoch was taken from the producer with it.
        is_fence: bool,
        /// Who waits.
        asked: Asked,
    },
    /// The transaction is over.
    Completed,
}

/// Who wanted a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Its producer.
    ByProducer(Ticket),
    /// Its producer's successor, which has to ask again for an epoch.
    BySuccessor(Ticket),
    /// Nobody: it took too long.
    ByTimeout,
}

/// Something to be done, in the order of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Answer a request.
    Reply(Ticket, Reply),
    /// Write to the log, then say how it went.
    Append {
        /// The records of one batch.
        records: Vec<LogRecord>,
        /// How long replicas may take; none is `request.timeout.ms`.
        timeout_ms: Option<i32>,
        /// What to say then.
        then: Stored,
    },
    /// Send markers; later, if they were sent before in vain.
    SendMarkers {
        /// What to send.
        markers: Markers,
        /// Whether they were sent before.
        again: bool,
    },
    /// Ask again, after a pause, for the end of a transaction whose markers are all written.
    RetryCompletion(ByteString),
}

/// Things to be done.
pub type Effects = Vec<Effect>;

/// What DescribeTransactions shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionDescription {
    /// Name of the state.
    pub state: &'static str,
    /// The producer.
    pub producer: ProducerIdentity,
    /// The timeout.
    pub timeout_ms: i32,
    /// When it began, -1 if none is open.
    pub start_ms: i64,
    /// Its partitions.
    pub partitions: Vec<TopicPartition>,
}

/// What ListTransactions shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionListing {
    /// The transactional id.
    pub transactional_id: ByteString,
    /// Its producer's id.
    pub producer_id: i64,
    /// Name of the state.
    pub state: &'static str,
}

/// What a client is told when the log could not take a transaction's state.
pub fn append_error(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::UnknownTopicOrPartition
        | ErrorCode::NotEnoughReplicas
        | ErrorCode::NotEnoughReplicasAfterAppend
        | ErrorCode::RequestTimedOut => ErrorCode::CoordinatorNotAvailable,
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => ErrorCode::UnknownServerError,
        other => other,
    }
}
