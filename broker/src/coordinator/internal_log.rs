//! Shell: a coordinator's memory: the partitions of an internal topic, as far as this broker leads
//! them. The seam between coordinators and replication; tests put a list of batches here.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;

/// An append on its way to the other replicas.
pub type Replicating = Pin<Box<dyn Future<Output = Result<(), ErrorCode>> + Send>>;

/// What the log wants to see again with the batch whose transaction was verified; 0 if nothing had
/// to be verified.
pub type VerificationGuard = u64;

/// A question to the transaction coordinator.
pub type Verifying = Pin<Box<dyn Future<Output = Result<VerificationGuard, ErrorCode>> + Send>>;

/// A batch that this broker has written to its own log.
pub struct Appended {
    /// Offset of the batch's first record.
    pub base_offset: i64,
    /// Ends when enough replicas have it, or cannot be had in time.
    pub replicating: Replicating,
}

/// The outcome of an append if it is there already, as it is without other replicas.
pub fn outcome_at_once(replicating: &mut Replicating) -> Option<Result<(), ErrorCode>> {
    let mut nobody = Context::from_waker(Waker::noop());
    match replicating.as_mut().poll(&mut nobody) {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    }
}

/// Part of a partition, as it is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Whole batches; the first may begin before the offset that was asked for.
    pub batches: Bytes,
}

/// The partitions of one internal topic.
pub trait InternalLog: Send + Sync + 'static {
    /// Writes a batch to this broker's log at once, so that batches lie in the order of the calls,
    /// and to the other replicas as `acks` says.
    ///
    /// # Errors
    /// Kafka's code for why nothing was written.
    fn append(&self, partition: i32, batch: Bytes, acks: i16) -> Result<Appended, ErrorCode>;

    /// As [`InternalLog::append`], but the other replicas may take `limit` instead of the topic's
    /// usual time.
    ///
    /// # Errors
    /// Kafka's code for why nothing was written.
    fn append_within(
        &self,
        partition: i32,
        batch: Bytes,
        acks: i16,
        _limit: Duration,
    ) -> Result<Appended, ErrorCode> {
        self.append(partition, batch, acks)
    }

    /// The largest batch that a partition takes, in bytes, if this broker has its log.
    fn max_batch_bytes(&self, partition: i32) -> Option<usize>;

    /// Asks whether the producer's transaction is open and includes the partition (KIP-890); to be
    /// done before a transactional batch is appended. Fails with the code that a producer is told.
    fn verify(
        &self,
        _partition: i32,
        _transactional_id: &ByteString,
        _producer_id: i64,
        _producer_epoch: i16,
    ) -> Verifying {
        Box::pin(std::future::ready(Ok(0)))
    }

    /// As [`InternalLog::append`], for a transactional batch and what [`InternalLog::verify`] gave.
    ///
    /// # Errors
    /// Kafka's code for why nothing was written.
    fn append_verified(
        &self,
        partition: i32,
        batch: Bytes,
        acks: i16,
        _guard: VerificationGuard,
    ) -> Result<Appended, ErrorCode> {
        self.append(partition, batch, acks)
    }

    /// The first offset of a partition, if this broker has its log.
    fn start_offset(&self, partition: i32) -> Option<i64>;

    /// Whole batches from an offset up to the log's end: at most `max_bytes`, but at least one.
    /// `None` at the end, or if this broker has no such log.
    ///
    /// # Errors
    /// What is wrong with the log.
    fn read(&self, partition: i32, from: i64, max_bytes: usize) -> Result<Option<Chunk>, String>;
}
