//! Pure: what is done to both brokers.

use bytes::Bytes;
use kafka_wire::records::batch_builder::{BatchBuilder, BatchBuilderOptions};

/// One batch of records, the same bytes for both brokers.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Records in it.
    pub count: i32,
    /// Bytes of each value.
    pub value_bytes: usize,
    /// Timestamp of the first record; each next one is a millisecond later, unless it is -1.
    pub timestamp: i64,
    /// Key of all records.
    pub key: Option<&'static str>,
    /// Producer id and sequence number of the first record.
    pub producer: Option<(i64, i32)>,
}

impl Batch {
    /// One record without a key.
    pub fn one(value_bytes: usize, timestamp: i64) -> Self {
        Batch {
            count: 1,
            value_bytes,
            timestamp,
            key: None,
            producer: None,
        }
    }

    /// As it is sent.
    pub fn bytes(&self) -> Bytes {
        let mut options = BatchBuilderOptions::default();
        if let Some((producer_id, sequence)) = self.producer {
            options.producer_id = producer_id;
            options.producer_epoch = 0;
            options.base_sequence = sequence;
        }
        let mut builder = BatchBuilder::new(options);
        let value = vec![b'v'; self.value_bytes];
        for number in 0..self.count {
            let timestamp = match self.timestamp {
                -1 => -1,
                first => first + i64::from(number),
            };
            builder.append(timestamp, self.key.map(str::as_bytes), Some(&value));
        }
        builder.build()
    }
}

/// A configuration of a topic, or a change of it; no value takes a key back.
pub type Configs = Vec<(String, Option<String>)>;

/// One thing that is done.
#[derive(Debug, Clone)]
pub enum Step {
    /// Makes a topic of one partition.
    Create(String, Configs),
    /// Sends a batch.
    Produce(String, Batch),
    /// Changes some keys of a topic and waits until they count.
    Configure(String, Configs),
    /// Moves the start of a log.
    DeleteRecords(String, i64),
    /// The same, but not up to the end, which would race with the next append.
    DeleteSome(String, i64),
    /// Deletes a topic.
    Delete(String),
    /// Lets so many milliseconds pass.
    Pause(u64),
    /// Waits until both have the same files, and compares what clients see.
    Settle(&'static str),
    /// Waits until the log of a topic starts here with both.
    StartsAt(String, i64),
    /// Waits until the directory of a topic has so many segments with both.
    Segments(String, usize),
}

/// The keys of a topic, all set.
pub fn configs(keys: &[(&str, &str)]) -> Configs {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), Some((*value).to_owned()));
    keys.iter().map(owned).collect()
}
