//! Pure: settings of a producer and the records that it takes.

use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use kafka_wire::records::compression::Codec;

use crate::client::error::ClientError;
use crate::client::settings::Settings;

/// The most bytes that a record adds to its parts in a batch (`DefaultRecord.java`).
const RECORD_OVERHEAD: usize = 21;

/// A record to be sent.
#[derive(Debug, Clone, Default)]
pub struct ProducerRecord {
    /// Topic.
    pub topic: ByteString,
    /// Key, or null.
    pub key: Option<Bytes>,
    /// Value, or null.
    pub value: Option<Bytes>,
    /// Headers: key and value, or null.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

impl ProducerRecord {
    /// The most bytes that the record takes in a batch.
    #[must_use]
    pub fn size(&self) -> usize {
        let part = |bytes: &Option<Bytes>| {
            bytes
                .as_ref()
                .map_or(1, |bytes| varint_bytes(bytes.len()) + bytes.len())
        };
        let header = |(key, value): &(Bytes, Option<Bytes>)| {
            varint_bytes(key.len()) + key.len() + part(value)
        };
        let headers: usize = self.headers.iter().map(header).sum();
        let count = varint_bytes(self.headers.len());
        RECORD_OVERHEAD + part(&self.key) + part(&self.value) + count + headers
    }
}

fn varint_bytes(length: usize) -> usize {
    let bits = usize::BITS - (length << 1 | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// Settings of a producer.
#[derive(Debug, Clone)]
pub struct ProducerOptions {
    /// Acknowledgements to wait for: -1 all replicas in sync, 1 the leader, 0 none.
    pub acks: i16,
    /// Bytes at which a batch is full.
    pub batch_bytes: usize,
    /// How long a batch may wait for more records.
    pub linger: Duration,
    /// Codec of batches.
    pub codec: Codec,
    /// How often a batch is tried again.
    pub retries: u32,
    /// Age at which a batch is given up.
    pub delivery_timeout: Duration,
    /// The largest record.
    pub max_request_bytes: usize,
    /// How long a record may wait for metadata.
    pub max_block: Duration,
    /// Bytes of records that may wait.
    pub buffer_bytes: usize,
    /// Whether batches are numbered so that the broker drops repetitions.
    pub idempotent: bool,
}

impl ProducerOptions {
    /// Reads and checks them.
    ///
    /// # Errors
    /// [`ClientError::Config`].
    pub fn read(settings: &Settings) -> Result<Self, ClientError> {
        let acks = settings.word("acks", &["all", "-1", "0", "1"], "all")?;
        let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
        let codec = settings.word("compression.type", &codecs, "none")?;
        let all = acks == "all" || acks == "-1";
        if settings.get("transactional.id").is_some() {
            let message = "transactional.id is not supported by this tool".to_owned();
            return Err(ClientError::Config(message));
        }
        let retries = settings.number("retries", i32::MAX, 0)?;
        let explicit = settings.get("enable.idempotence").is_some();
        let mut idempotent = settings.flag("enable.idempotence", true)?;
        for (bad, what) in [
            (!all, "set acks to all"),
            (retries == 0, "set retries to non-zero"),
        ] {
            if idempotent && bad && explicit {
                let message = format!("Must {what} in order to use the idempotent producer.");
                return Err(ClientError::Config(message));
            }
            idempotent &= !bad;
        }
        Ok(Self {
            acks: if all { -1 } else { acks.parse().unwrap_or(1) },
            batch_bytes: usize_of(settings.number("batch.size", 16_384, 0)?),
            linger: settings.millis("linger.ms", 0)?,
            codec: Codec::from_name(&codec).unwrap_or_default(),
            retries: retries.unsigned_abs(),
            delivery_timeout: settings.millis("delivery.timeout.ms", 120_000)?,
            max_request_bytes: usize_of(settings.number("max.request.size", 1_048_576, 0)?),
            max_block: settings.millis("max.block.ms", 60_000)?,
            buffer_bytes: settings.number("buffer.memory", 33_554_432u64, 0)? as usize,
            idempotent,
        })
    }
}

fn usize_of(number: i32) -> usize {
    number.unsigned_abs() as usize
}
