//! Shell: a coordinator's memory: the partitions of an internal topic, as far as this broker leads
//! them. The seam between coordinators and replication; tests put a list of batches here.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use kafka_wire::error_code::ErrorCode;

/// An append on its way to the other replicas.
pub type Replicating = Pin<Box<dyn Future<Output = Result<(), ErrorCode>> + Send>>;

/// A batch that this broker has written to its own log.
pub struct Appended {
    /// Offset of the batch's first record.
    pub base_offset: i64,
    /// Ends when enough replicas have it, or cannot be had in time.
    pub replicating: Replicating,
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

    /// The first offset of a partition, if this broker has its log.
    fn start_offset(&self, partition: i32) -> Option<i64>;

    /// Whole batches from an offset up to the log's end: at most `max_bytes`, but at least one.
    /// `None` at the end, or if this broker has no such log.
    ///
    /// # Errors
    /// What is wrong with the log.
    fn read(&self, partition: i32, from: i64, max_bytes: usize) -> Result<Option<Chunk>, String>;
}
