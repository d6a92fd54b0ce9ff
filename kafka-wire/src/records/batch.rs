//! Pure: record batches of magic 2: header, borrowed view, in-place patches. `batch_builder.rs` makes new ones.
//!
//! Layout, big endian (`DefaultRecordBatch.java`, KIP-98):
//!
//! ```text
//!  0 i64 base offset           21 i16 attributes            43 i64 producer id
//!  8 i32 length from byte 12   23 i32 last offset delta     51 i16 producer epoch
//! 12 i32 leader epoch          27 i64 base timestamp        53 i32 base sequence
//! 16 i8  magic                 35 i64 max timestamp         57 i32 record count
//! 17 u32 CRC-32C of [21..]                                  61 records, compressed or not
//! ```
//!
//! Attributes: bits 0-2 codec, 3 log append time, 4 transactional, 5 control, 6 the base timestamp is a delete horizon.
//! Base offset, length, leader epoch and magic lie outside the checksum, so a broker can assign them without reading the payload.

use crc_fast::{CrcAlgorithm, Digest};

use crate::records::record::{RecordBase, RecordError, RecordReader, RecordView};

/// Bytes of base offset and length, which open an entry of any magic.
pub const LOG_OVERHEAD: usize = 12;
/// Bytes of a v2 batch before its records.
pub const BATCH_HEADER_LEN: usize = 61;
/// Position of the magic byte in a batch or message of any version.
pub const MAGIC_POSITION: usize = 16;
/// The batch version described here.
pub const MAGIC_V2: i8 = 2;
/// Producer id of batches without idempotence.
pub const NO_PRODUCER_ID: i64 = -1;
/// Producer epoch of batches without idempotence.
pub const NO_PRODUCER_EPOCH: i16 = -1;
/// Sequence number of batches without one.
pub const NO_SEQUENCE: i32 = -1;
/// Leader epoch of batches that no leader has appended yet.
pub const NO_LEADER_EPOCH: i32 = -1;
/// Timestamp of records without one.
pub const NO_TIMESTAMP: i64 = -1;

const ATTRIBUTES_POSITION: usize = 21;
pub(super) const CODEC_MASK: i16 = 0x07;
const LOG_APPEND_TIME: i16 = 0x08;
pub(super) const TRANSACTIONAL: i16 = 0x10;
pub(super) const CONTROL: i16 = 0x20;
const DELETE_HORIZON: i16 = 0x40;

/// Why bytes are not a v2 batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Fewer bytes than the batch declares.
    #[error("batch needs {needed} bytes, {available} are there")]
    Truncated {
        /// Bytes of the whole batch, or of its header.
        needed: usize,
        /// Bytes at hand.
        available: usize,
    },
    /// The declared length is below the header's.
    #[error("batch at offset {base_offset} declares a length of {length}, below its header's")]
    BadLength {
        /// Base offset as written.
        base_offset: i64,
        /// Length field as written.
        length: i32,
    },
    /// Another magic than 2.
    #[error("batch at offset {base_offset} has magic {magic}, expected 2")]
    BadMagic {
        /// Base offset as written.
        base_offset: i64,
        /// Magic as written.
        magic: i8,
    },
}

/// Kind of a batch's timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampType {
    /// Set by the producer.
    CreateTime,
    /// Set by the broker on append.
    LogAppendTime,
}

/// The 61 bytes in front of the records, decoded. Fields may be changed and written back with [`BatchHeader::encode`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record (of the batch as first written; compaction keeps it).
    pub base_offset: i64,
    /// Bytes after this field, that is, of the batch less 12.
    pub length: i32,
    /// Epoch of the leader that appended it, or -1.
    pub partition_leader_epoch: i32,
    /// CRC-32C of everything from the attributes on.
    pub crc: u32,
    /// Codec and flags; see the module's drawing.
    pub attributes: i16,
    /// Last offset less base offset.
    pub last_offset_delta: i32,
    /// Milliseconds to which record deltas are added, or a delete horizon.
    pub base_timestamp: i64,
    /// Largest timestamp of the records, in milliseconds.
    pub max_timestamp: i64,
    /// Producer id, or -1.
    pub producer_id: i64,
    /// Producer epoch, or -1.
    pub producer_epoch: i16,
    /// Sequence number of the first record, or -1.
    pub base_sequence: i32,
    /// Number of records that are there (compaction lowers it).
    pub record_count: i32,
}

impl BatchHeader {
    /// Decodes the header at the start of `bytes`; the records need not be there.
    ///
    /// # Errors
    /// [`BatchError`] if fewer than 61 bytes, another magic, or an impossible length.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let Some(b) = bytes.first_chunk::<BATCH_HEADER_LEN>() else {
            let available = bytes.len();
            return Err(BatchError::Truncated {
                needed: BATCH_HEADER_LEN,
                available,
            });
        };
        let base_offset = i64_at(b, 0);
        let length = i32_at(b, 8);
        let magic = b[MAGIC_POSITION] as i8;
        if magic != MAGIC_V2 {
            return Err(BatchError::BadMagic { base_offset, magic });
        }
        if length < (BATCH_HEADER_LEN - LOG_OVERHEAD) as i32 {
            return Err(BatchError::BadLength {
                base_offset,
                length,
            });
        }
        Ok(BatchHeader {
            base_offset,
            length,
            partition_leader_epoch: i32_at(b, 12),
            crc: i32_at(b, 17) as u32,
            attributes: i16_at(b, 21),
            last_offset_delta: i32_at(b, 23),
            base_timestamp: i64_at(b, 27),
            max_timestamp: i64_at(b, 35),
            producer_id: i64_at(b, 43),
            producer_epoch: i16_at(b, 51),
            base_sequence: i32_at(b, 53),
            record_count: i32_at(b, 57),
        })
    }

    /// Encodes the header, with `crc` as it stands.
    pub fn encode(&self) -> [u8; BATCH_HEADER_LEN] {
        let mut b = [0u8; BATCH_HEADER_LEN];
        b[0..8].copy_from_slice(&self.base_offset.to_be_bytes());
        b[8..12].copy_from_slice(&self.length.to_be_bytes());
        b[12..16].copy_from_slice(&self.partition_leader_epoch.to_be_bytes());
        b[16] = MAGIC_V2 as u8;
        b[17..21].copy_from_slice(&self.crc.to_be_bytes());
        b[21..23].copy_from_slice(&self.attributes.to_be_bytes());
        b[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        b[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        b[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        b[43..51].copy_from_slice(&self.producer_id.to_be_bytes());
        b[51..53].copy_from_slice(&self.producer_epoch.to_be_bytes());
        b[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        b[57..61].copy_from_slice(&self.record_count.to_be_bytes());
        b
    }

    /// Computes the checksum that belongs to these fields and `payload` (the bytes after the header, as stored).
    pub fn compute_crc(&self, payload: &[u8]) -> u32 {
        let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
        digest.update(&self.encode()[ATTRIBUTES_POSITION..]);
        digest.update(payload);
        digest.finalize() as u32
    }

    /// Bytes of the whole batch.
    pub fn size_bytes(&self) -> usize {
        LOG_OVERHEAD + self.length.max(0) as usize
    }

    /// Offset of the last record; wraps only for corrupt headers.
    pub fn last_offset(&self) -> i64 {
        self.base_offset
            .wrapping_add(i64::from(self.last_offset_delta))
    }

    /// Offset after the last record.
    pub fn next_offset(&self) -> i64 {
        self.last_offset().wrapping_add(1)
    }

    /// Codec number: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd; 5 to 7 are undefined.
    pub fn codec_id(&self) -> u8 {
        (self.attributes & CODEC_MASK) as u8
    }

    /// Kind of the timestamps.
    pub fn timestamp_type(&self) -> TimestampType {
        if self.attributes & LOG_APPEND_TIME == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// Sets the kind of the timestamps and the largest of them; the checksum becomes stale.
    pub fn set_timestamp(&mut self, kind: TimestampType, max_timestamp: i64) {
        match kind {
            TimestampType::CreateTime => self.attributes &= !LOG_APPEND_TIME,
            TimestampType::LogAppendTime => self.attributes |= LOG_APPEND_TIME,
        }
        self.max_timestamp = max_timestamp;
    }

    /// True if the batch belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// True if the batch holds control records.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// True if a producer id is set.
    pub fn has_producer_id(&self) -> bool {
        self.producer_id > NO_PRODUCER_ID
    }

    /// When tombstones and markers of this batch may be dropped, in milliseconds.
    pub fn delete_horizon_ms(&self) -> Option<i64> {
        (self.attributes & DELETE_HORIZON != 0).then_some(self.base_timestamp)
    }

    /// Sets when tombstones and markers of this batch may be dropped, in milliseconds. The timestamps of the records,
    /// which count from there then, and the checksum become stale.
    pub fn set_delete_horizon_ms(&mut self, horizon_ms: i64) {
        self.attributes |= DELETE_HORIZON;
        self.base_timestamp = horizon_ms;
    }

    /// Makes of this the header of a batch without records, as compaction leaves it to remember a producer's last
    /// sequence number by; the checksum is right.
    pub fn set_empty(&mut self) {
        self.attributes &= !(CODEC_MASK | DELETE_HORIZON);
        self.base_timestamp = NO_TIMESTAMP;
        self.length = (BATCH_HEADER_LEN - LOG_OVERHEAD) as i32;
        self.record_count = 0;
        self.crc = self.compute_crc(&[]);
    }

    /// Sequence number of the last record, or -1; wraps from 2147483647 to 0.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence == NO_SEQUENCE {
            return NO_SEQUENCE;
        }
        increment_sequence(self.base_sequence, self.last_offset_delta)
    }

    /// What the deltas of the records are added to.
    pub fn record_base(&self) -> RecordBase {
        RecordBase {
            offset: self.base_offset,
            timestamp: self.base_timestamp,
            log_append_time: (self.timestamp_type() == TimestampType::LogAppendTime)
                .then_some(self.max_timestamp),
        }
    }
}

/// Adds to a sequence number, which goes from 2147483647 on to 0.
pub fn increment_sequence(sequence: i32, increment: i32) -> i32 {
    ((i64::from(sequence) + i64::from(increment)) & 0x7fff_ffff) as i32
}

/// One whole v2 batch, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct BatchView<'a> {
    /// The decoded header.
    pub header: BatchHeader,
    bytes: &'a [u8],
}

impl<'a> BatchView<'a> {
    /// Views the batch at the start of `bytes`; what follows it is ignored.
    ///
    /// # Errors
    /// [`BatchError`] if the batch is not whole or not magic 2. The checksum is not looked at.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(bytes)?;
        let needed = header.size_bytes();
        match bytes.get(..needed) {
            Some(bytes) => Ok(BatchView { header, bytes }),
            None => Err(BatchError::Truncated {
                needed,
                available: bytes.len(),
            }),
        }
    }

    /// The whole batch.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The records as stored, compressed or not.
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[BATCH_HEADER_LEN..]
    }

    /// CRC-32C of the bytes that are there.
    pub fn computed_crc(&self) -> u32 {
        crc32c(&self.bytes[ATTRIBUTES_POSITION..])
    }

    /// True if the stored checksum fits the bytes.
    pub fn crc_ok(&self) -> bool {
        self.header.crc == self.computed_crc()
    }

    /// Iterates over the records in `payload`, which is [`BatchView::payload`] after decompression.
    /// Ends after the first error, and with an error if count and bytes disagree.
    pub fn records<'p>(&self, payload: &'p [u8]) -> Records<'p> {
        Records {
            reader: RecordReader::new(payload),
            base: self.header.record_base(),
            declared: self.header.record_count,
            left: self.header.record_count.max(0),
            done: self.header.record_count == 0,
        }
    }
}

/// Iterator over the records of one batch; see [`BatchView::records`].
#[derive(Debug, Clone)]
pub struct Records<'p> {
    reader: RecordReader<'p>,
    base: RecordBase,
    declared: i32,
    left: i32,
    done: bool,
}

impl<'p> Iterator for Records<'p> {
    type Item = Result<RecordView<'p>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        if self.left == 0 {
            self.done = true;
            let bad = self.declared < 0 || !self.reader.is_empty();
            return bad.then_some(Err(RecordError::BadCount {
                declared: self.declared,
            }));
        }
        self.left -= 1;
        let record = self.reader.next_record(&self.base);
        self.done = record.is_err();
        Some(record)
    }
}

/// Iterates over the v2 batches of a buffer; an incomplete one at the end (fetch answers cut them) is left out.
#[derive(Debug, Clone)]
pub struct Batches<'a> {
    rest: &'a [u8],
}

impl<'a> Batches<'a> {
    /// Starts at the first byte of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Batches { rest: bytes }
    }

    /// The bytes that are not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<BatchView<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        match BatchView::parse(self.rest) {
            Ok(batch) => {
                self.rest = &self.rest[batch.bytes.len()..];
                Some(Ok(batch))
            }
            Err(BatchError::Truncated { .. }) => None,
            Err(error) => {
                self.rest = &[];
                Some(Err(error))
            }
        }
    }
}

/// Overwrites the base offset of the batch or message at the start of `bytes`; the checksum does not cover it.
pub fn patch_base_offset(bytes: &mut [u8], base_offset: i64) {
    if let Some(field) = bytes.get_mut(0..8) {
        field.copy_from_slice(&base_offset.to_be_bytes());
    }
}

/// Overwrites the leader epoch of the v2 batch at the start of `bytes`; the checksum does not cover it.
pub fn patch_partition_leader_epoch(bytes: &mut [u8], epoch: i32) {
    if let Some(field) = bytes.get_mut(12..16) {
        field.copy_from_slice(&epoch.to_be_bytes());
    }
}

/// Overwrites timestamp kind and maximum of the whole v2 batch in `bytes`, and its checksum.
///
/// # Errors
/// [`BatchError`] if `bytes` is not one whole batch.
pub fn patch_timestamp(
    bytes: &mut [u8],
    kind: TimestampType,
    max_timestamp: i64,
) -> Result<(), BatchError> {
    let mut header = BatchView::parse(bytes)?.header;
    header.set_timestamp(kind, max_timestamp);
    header.crc = header.compute_crc(&bytes[BATCH_HEADER_LEN..header.size_bytes()]);
    bytes[..BATCH_HEADER_LEN].copy_from_slice(&header.encode());
    Ok(())
}

/// CRC-32C (Castagnoli), the checksum of v2 batches and producer snapshots.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// CRC-32 (IEEE), the checksum of messages of magic 0 and 1.
pub fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

fn i64_at(bytes: &[u8; BATCH_HEADER_LEN], at: usize) -> i64 {
    let mut field = [0; 8];
    field.copy_from_slice(&bytes[at..at + 8]);
    i64::from_be_bytes(field)
}

fn i32_at(bytes: &[u8; BATCH_HEADER_LEN], at: usize) -> i32 {
    let mut field = [0; 4];
    field.copy_from_slice(&bytes[at..at + 4]);
    i32::from_be_bytes(field)
}

fn i16_at(bytes: &[u8; BATCH_HEADER_LEN], at: usize) -> i16 {
    i16::from_be_bytes([bytes[at], bytes[at + 1]])
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};

    use super::*;
    use crate::records::batch_builder::{BatchBuilder, BatchBuilderOptions};

    fn sample() -> Bytes {
        let options = BatchBuilderOptions {
            base_offset: 5,
            partition_leader_epoch: 2,
            producer_id: 9,
            producer_epoch: 1,
            base_sequence: i32::MAX,
            ..BatchBuilderOptions::default()
        };
        let mut builder = BatchBuilder::new(options);
        builder.append(1_000, Some(b"k"), Some(b"v1"));
        builder.append(900, None, Some(b"v2"));
        builder.build()
    }

    #[test]
    fn built_batch_reads_back() {
        let bytes = sample();
        let batch = BatchView::parse(&bytes).unwrap();
        assert!(batch.crc_ok());
        assert_eq!(batch.header.last_offset(), 6);
        assert_eq!(
            (batch.header.base_timestamp, batch.header.max_timestamp),
            (1_000, 1_000)
        );
        assert_eq!(batch.header.last_sequence(), 0);
        let records: Vec<_> = batch
            .records(batch.payload())
            .collect::<Result<Vec<_>, _>>()
            .unwrap();
        assert_eq!((records[1].offset, records[1].timestamp), (6, 900));
        assert_eq!(batch.header.encode(), bytes[..BATCH_HEADER_LEN]);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn patches_keep_the_checksum_right() {
        let mut bytes = BytesMut::from(&sample()[..]);
        patch_base_offset(&mut bytes, 77);
        patch_partition_leader_epoch(&mut bytes, 4);
        assert!(BatchView::parse(&bytes).unwrap().crc_ok());
        patch_timestamp(&mut bytes, TimestampType::LogAppendTime, 5_000).unwrap();
        let batch = BatchView::parse(&bytes).unwrap();
        assert!(batch.crc_ok());
        assert_eq!(
            (
                batch.header.base_offset,
                batch.header.partition_leader_epoch
            ),
            (77, 4)
        );
        assert!(
            batch
                .records(batch.payload())
                .all(|r| r.unwrap().timestamp == 5_000)
        );
    }

    #[test]
    fn damage_is_an_error_not_a_panic() {
        let bytes = sample();
        for cut in 0..bytes.len() {
            assert!(matches!(
                BatchView::parse(&bytes[..cut]),
                Err(BatchError::Truncated { .. })
            ));
        }
        for at in 0..bytes.len() {
            let mut copy = bytes.to_vec();
            copy[at] ^= 0x81;
            if let Ok(batch) = BatchView::parse(&copy) {
                assert_eq!(
                    batch.crc_ok(),
                    !(17..bytes.len()).contains(&at),
                    "byte {at}"
                );
                for record in batch.records(batch.payload()) {
                    let _ = record;
                }
            }
        }
    }
}
