//! Shell: records on their way to one partition, and the batch that they become.

use bytes::Bytes;
use kafka_wire::records::batch_builder::{BatchBuilder, BatchBuilderOptions};
use kafka_wire::records::compression::{self, Codec};
use kafka_wire::records::record::Record;
use tokio::time::Instant;

use crate::client::error::ClientError;

/// Bytes of a batch's header.
pub const BATCH_OVERHEAD: usize = 61;

/// What is called when a record has been written or has failed.
pub type Callback = Box<dyn FnOnce(Result<(), ClientError>) + Send + Sync>;

/// A record that waits.
pub struct Pending {
    /// The record; its offset is not set.
    pub record: Record,
    /// The most bytes that it takes in a batch.
    pub size: usize,
    /// Called once, at the end.
    pub callback: Callback,
}

/// Producer id and epoch, and the sequence number of a batch's first record.
#[derive(Debug, Clone, Copy)]
pub struct Sequence {
    /// Producer id.
    pub producer_id: i64,
    /// Producer epoch.
    pub producer_epoch: i16,
    /// Number of the first record.
    pub first: i32,
}

/// Records that are sent together.
pub struct Batch {
    /// The records.
    pub records: Vec<Pending>,
    /// The most bytes that the batch takes, not compressed.
    pub bytes: usize,
    /// When the first record came.
    pub created: Instant,
    /// How often it was sent.
    pub attempts: u32,
    /// Its numbers, once it has some.
    pub sequence: Option<Sequence>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        let created = Instant::now();
        Self {
            records: Vec::new(),
            bytes: BATCH_OVERHEAD,
            created,
            attempts: 0,
            sequence: None,
        }
    }

    /// The batch as it is sent.
    ///
    /// # Errors
    /// [`ClientError::Illegal`] when the codec fails.
    pub fn encode(&self, codec: Codec) -> Result<Bytes, ClientError> {
        let mut options = BatchBuilderOptions::default();
        if let Some(sequence) = self.sequence {
            options.producer_id = sequence.producer_id;
            options.producer_epoch = sequence.producer_epoch;
            options.base_sequence = sequence.first;
        }
        let mut builder = BatchBuilder::new(options);
        for (index, pending) in self.records.iter().enumerate() {
            builder.push(&Record {
                offset: index as i64,
                ..pending.record.clone()
            });
        }
        if codec == Codec::None {
            return Ok(builder.build());
        }
        let compressed = compression::compress(codec, builder.payload())
            .map_err(|error| ClientError::Illegal(error.to_string()))?
            .into_owned();
        Ok(builder.build_compressed(codec.id(), &compressed))
    }
}
