//! Pure: requests as bytes, made once and sent often, and what a light client needs of the answers.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use kafka_wire::api_key::ApiKey;
use kafka_wire::header::RequestHeader;
use kafka_wire::message::Request;
use kafka_wire::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use kafka_wire::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use kafka_wire::records::batch_builder::{BatchBuilder, BatchBuilderOptions};
use kafka_wire::records::compression::{Codec, compress};
use kafka_wire::wire::Records;
use kafka_wire::writer::Writer;

/// Versions whose answers are easy to read by hand: the last ones before tagged fields.
const PRODUCE_VERSION: i16 = 8;
const FETCH_VERSION: i16 = 11;
/// Size and correlation id.
pub const ANSWER_HEADER: usize = 8;
/// Bytes of a fetch answer in front of the records, without the topic's name.
const FETCH_ANSWER_FIXED: usize =
    ANSWER_HEADER + 4 + 2 + 4 + 4 + 2 + 4 + 4 + 2 + 8 + 8 + 8 + 4 + 4 + 4;

/// Batches to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// Records in it.
    pub records: usize,
    /// Bytes of each record's value.
    pub value_bytes: usize,
    /// How they are compressed.
    pub codec: Codec,
}

impl Batch {
    /// Bytes of all its values.
    pub fn value_bytes(self) -> usize {
        self.records * self.value_bytes
    }

    /// The batch itself. The values are words of a small vocabulary, which compress about as well as log lines do.
    pub fn build(self, now_ms: i64) -> Result<Bytes> {
        let mut builder = BatchBuilder::new(BatchBuilderOptions::default());
        let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
        for _ in 0..self.records {
            let mut value = Vec::with_capacity(self.value_bytes + 16);
            while value.len() < self.value_bytes {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                let word = (seed >> 20) % 4096;
                value.extend_from_slice(format!("{:x} ", word.wrapping_mul(0x2_9E37)).as_bytes());
            }
            value.truncate(self.value_bytes);
            builder.append(now_ms, None, Some(&value));
        }
        Ok(match self.codec {
            Codec::None => builder.build(),
            codec => {
                let compressed = compress(codec, builder.payload())?.into_owned();
                builder.build_compressed(codec.id(), &compressed)
            }
        })
    }
}

/// A whole request with its size in front.
pub fn frame<R: Request>(request: &R, version: i16) -> Result<Vec<u8>> {
    let mut writer = Writer::new();
    let header = RequestHeader {
        api_key: ApiKey::from_code(R::API_KEY).context("no such API")?,
        api_version: version,
        correlation_id: 7,
        client_id: Some("bench".into()),
    };
    header.encode(&mut writer)?;
    request.encode(&mut writer, version)?;
    let body = writer.into_bytes()?;
    let mut frame = i32::try_from(body.len())?.to_be_bytes().to_vec();
    frame.extend_from_slice(&body);
    Ok(frame)
}

/// A produce request of one batch.
pub fn produce(topic: &str, partition: i32, acks: i16, batch: Bytes) -> Result<Vec<u8>> {
    let request = ProduceRequest {
        acks,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: topic.into(),
            partition_data: vec![PartitionProduceData {
                index: partition,
                records: Some(Records::Memory(batch)),
            }],
        }],
        ..ProduceRequest::default()
    };
    frame(&request, PRODUCE_VERSION)
}

/// Checks the answer to [`produce`], given with its size, and says the offset of the first record.
pub fn check_produced(answer: &[u8], topic: &str) -> Result<i64> {
    let at = ANSWER_HEADER + 4 + 2 + topic.len() + 4 + 4;
    let error = answer.get(at..).and_then(|rest| rest.first_chunk());
    let error = i16::from_be_bytes(*error.context("a short answer to a produce request")?);
    ensure!(error == 0, "produce failed with error {error}");
    let offset = answer.get(at + 2..).and_then(|rest| rest.first_chunk());
    Ok(i64::from_be_bytes(*offset.context("no offset")?))
}

/// How to fetch.
#[derive(Debug, Clone, Copy)]
pub struct FetchTerms {
    /// The longest wait for records.
    pub max_wait_ms: i32,
    /// The most of a partition, in bytes.
    pub max_bytes: i32,
}

/// A fetch request of one partition, as a consumer without a session sends it. The offset is put in by [`set_offset`].
pub fn fetch(topic: &str, partition: i32, terms: FetchTerms) -> Result<Vec<u8>> {
    let request = FetchRequest {
        max_wait_ms: terms.max_wait_ms,
        min_bytes: 1,
        max_bytes: 50 << 20,
        topics: vec![FetchTopic {
            topic: topic.into(),
            partitions: vec![FetchPartition {
                partition,
                partition_max_bytes: terms.max_bytes,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    };
    frame(&request, FETCH_VERSION)
}

/// Sets the offset of a request made by [`fetch`].
pub fn set_offset(frame: &mut [u8], offset: i64) {
    // Behind it: log start offset, size, no forgotten topics, no rack.
    let at = frame.len() - (8 + 8 + 4 + 4 + 2);
    frame[at..at + 8].copy_from_slice(&offset.to_be_bytes());
}

/// Bytes of an answer to [`fetch`] in front of the records.
pub fn fetch_answer_head(topic: &str) -> usize {
    FETCH_ANSWER_FIXED + topic.len()
}

/// What the head of a fetch's answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetched {
    /// Bytes of the whole answer without its size.
    pub size: usize,
    /// Bytes of records.
    pub record_bytes: usize,
    /// The offset up to which there is something to read.
    pub high_watermark: i64,
}

/// Reads the head of an answer to [`fetch`], which begins with its size.
pub fn fetched(head: &[u8], topic: &str) -> Result<Fetched> {
    let int = |at: usize| head.get(at..).and_then(|rest| rest.first_chunk());
    let short = "a short answer to a fetch";
    let size = i32::from_be_bytes(*int(0).context(short)?);
    let at = ANSWER_HEADER + 4 + 2 + 4 + 4 + 2 + topic.len() + 4 + 4;
    let error = head.get(at..).and_then(|rest| rest.first_chunk());
    let error = i16::from_be_bytes(*error.context(short)?);
    ensure!(error == 0, "fetch failed with error {error}");
    let high_watermark = head.get(at + 2..).and_then(|rest| rest.first_chunk());
    let records = i32::from_be_bytes(*int(fetch_answer_head(topic) - 4).context(short)?);
    Ok(Fetched {
        size: usize::try_from(size)?,
        record_bytes: usize::try_from(records)?,
        high_watermark: i64::from_be_bytes(*high_watermark.context(short)?),
    })
}

#[cfg(test)]
mod tests {
    use kafka_wire::message::decode_exact;

    use super::*;

    #[test]
    fn an_offset_goes_where_the_codec_looks_for_it() {
        let terms = FetchTerms {
            max_wait_ms: 5,
            max_bytes: 6,
        };
        let mut bytes = fetch("topic", 3, terms).unwrap();
        set_offset(&mut bytes, 1 << 40);
        let header = 4 + 2 + 2 + 4 + 2 + "bench".len();
        let body = Bytes::from(bytes).slice(header..);
        let request: FetchRequest = decode_exact(body, FETCH_VERSION).unwrap();
        let partition = &request.topics[0].partitions[0];
        assert_eq!(partition.fetch_offset, 1 << 40);
        assert_eq!((partition.partition, partition.partition_max_bytes), (3, 6));
    }
}
