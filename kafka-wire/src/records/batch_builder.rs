//! Pure: builds record batches of magic 2 (the layout is drawn in `batch.rs`).

use bytes::{BufMut, Bytes, BytesMut};

use crate::records::batch::{
    BATCH_HEADER_LEN, BatchHeader, CODEC_MASK, CONTROL, LOG_OVERHEAD, NO_LEADER_EPOCH,
    NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, NO_TIMESTAMP, TRANSACTIONAL, TimestampType,
};
use crate::records::record::{Record, RecordParts, encode_record};

/// What a [`BatchBuilder`] writes into the header.
#[derive(Debug, Clone, Copy)]
pub struct BatchBuilderOptions {
    /// Offset of the first record; 0 for batches sent to a leader.
    pub base_offset: i64,
    /// Leader epoch, or -1.
    pub partition_leader_epoch: i32,
    /// Producer id, or -1.
    pub producer_id: i64,
    /// Producer epoch, or -1.
    pub producer_epoch: i16,
    /// Sequence number of the first record, or -1.
    pub base_sequence: i32,
    /// The batch belongs to a transaction.
    pub transactional: bool,
    /// The batch holds control records.
    pub control: bool,
    /// If set, the timestamps are the broker's and the largest is this one, in milliseconds.
    pub log_append_time: Option<i64>,
}

impl Default for BatchBuilderOptions {
    fn default() -> Self {
        BatchBuilderOptions {
            base_offset: 0,
            partition_leader_epoch: NO_LEADER_EPOCH,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            base_sequence: NO_SEQUENCE,
            transactional: false,
            control: false,
            log_append_time: None,
        }
    }
}

/// Builds one v2 batch. Records are given in rising order of offset.
#[derive(Debug)]
pub struct BatchBuilder {
    options: BatchBuilderOptions,
    payload: BytesMut,
    count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
    last_offset_delta: i32,
}

impl BatchBuilder {
    /// Starts an empty batch.
    pub fn new(options: BatchBuilderOptions) -> Self {
        BatchBuilder {
            options,
            payload: BytesMut::new(),
            count: 0,
            base_timestamp: NO_TIMESTAMP,
            max_timestamp: NO_TIMESTAMP,
            last_offset_delta: -1,
        }
    }

    /// Adds a record at the offset it carries, which must not be below the base offset.
    pub fn push(&mut self, record: &Record) {
        let headers = record
            .headers
            .iter()
            .map(|h| (&h.key[..], h.value.as_deref()));
        let delta = record.offset.wrapping_sub(self.options.base_offset) as i32;
        self.push_parts(
            delta,
            record.timestamp,
            record.key.as_deref(),
            record.value.as_deref(),
            headers,
        );
    }

    /// Adds a record at the next offset, without headers.
    pub fn append(&mut self, timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>) {
        let next = self.last_offset_delta + 1;
        self.push_parts(next, timestamp, key, value, std::iter::empty());
    }

    /// Adds a record from its parts; `offset_delta` is counted from the base offset.
    pub fn push_parts<'h>(
        &mut self,
        offset_delta: i32,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl ExactSizeIterator<Item = (&'h [u8], Option<&'h [u8]>)> + Clone,
    ) {
        if self.count == 0 {
            self.base_timestamp = timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        self.last_offset_delta = offset_delta;
        self.count += 1;
        let timestamp_delta = timestamp.wrapping_sub(self.base_timestamp);
        encode_record(
            &mut self.payload,
            &RecordParts {
                offset_delta,
                timestamp_delta,
                key,
                value,
            },
            headers,
        );
    }

    /// Records so far.
    pub fn len(&self) -> usize {
        self.count.max(0) as usize
    }

    /// True before the first record.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the batch if it were built now without compression.
    pub fn size_bytes(&self) -> usize {
        BATCH_HEADER_LEN + self.payload.len()
    }

    /// The encoded records, uncompressed, as input for a codec.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Finishes the batch without compression.
    pub fn build(self) -> Bytes {
        let header = self.header(0, &self.payload);
        join(&header, &self.payload)
    }

    /// Finishes the batch with `compressed` in place of [`BatchBuilder::payload`]; `codec_id` is that of its codec.
    pub fn build_compressed(self, codec_id: u8, compressed: &[u8]) -> Bytes {
        let header = self.header(codec_id, compressed);
        join(&header, compressed)
    }

    fn header(&self, codec_id: u8, payload: &[u8]) -> BatchHeader {
        let options = &self.options;
        let mut attributes = i16::from(codec_id) & CODEC_MASK;
        if options.transactional {
            attributes |= TRANSACTIONAL;
        }
        if options.control {
            attributes |= CONTROL;
        }
        let mut header = BatchHeader {
            base_offset: options.base_offset,
            length: (BATCH_HEADER_LEN - LOG_OVERHEAD + payload.len()) as i32,
            partition_leader_epoch: options.partition_leader_epoch,
            crc: 0,
            attributes,
            last_offset_delta: self.last_offset_delta,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: options.producer_id,
            producer_epoch: options.producer_epoch,
            base_sequence: options.base_sequence,
            record_count: self.count,
        };
        if let Some(time) = options.log_append_time {
            header.set_timestamp(TimestampType::LogAppendTime, time);
        }
        header.crc = header.compute_crc(payload);
        header
    }
}

fn join(header: &BatchHeader, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(BATCH_HEADER_LEN + payload.len());
    out.put_slice(&header.encode());
    out.put_slice(payload);
    out.freeze()
}
