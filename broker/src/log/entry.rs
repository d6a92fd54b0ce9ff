//! Pure: entries of a `.log` file: the front of a batch of any magic, and what an append adds.

use kafka_wire::records::batch::{
    BATCH_HEADER_LEN, BatchError, BatchHeader, LOG_OVERHEAD, MAGIC_POSITION, MAGIC_V2,
    NO_TIMESTAMP, crc32, crc32c,
};

/// Smallest size field of a message of magic 0: checksum, magic, attributes and two lengths.
const MIN_LEGACY_SIZE: i32 = 14;
/// Where in a batch of magic 2 that begins what its checksum covers: at the attributes.
const CRC_FROM: usize = 21;
/// Bytes needed to know a legacy message's timestamp.
const LEGACY_HEADER_LEN: usize = 26;

/// The front of a batch, or of a message of the old formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryHeader {
    /// A batch of magic 2.
    V2(BatchHeader),
    /// A message of magic 0 or 1, perhaps one that wraps others.
    Legacy {
        /// Its offset; of the last message if it wraps others.
        offset: i64,
        /// Bytes of the whole entry.
        size: usize,
        /// 0 or 1.
        magic: i8,
        /// Milliseconds, -1 for magic 0.
        timestamp: i64,
    },
}

impl EntryHeader {
    /// Reads the front of an entry; `Err` names what makes it impossible. `available` is how long an entry may be.
    ///
    /// # Errors
    /// A text for the log.
    pub fn parse(bytes: &[u8], available: u64) -> Result<Option<Self>, String> {
        let Some(head) = bytes.first_chunk::<{ MAGIC_POSITION + 1 }>() else {
            return Ok(None);
        };
        let mut offset = [0; 8];
        offset.copy_from_slice(&head[..8]);
        let offset = i64::from_be_bytes(offset);
        let size = i32::from_be_bytes([head[8], head[9], head[10], head[11]]);
        if size < MIN_LEGACY_SIZE {
            return Err(format!(
                "entry at offset {offset} declares a size of {size} bytes"
            ));
        }
        let magic = head[MAGIC_POSITION] as i8;
        let whole = LOG_OVERHEAD + size as usize;
        if whole as u64 > available {
            return Ok(None);
        }
        match magic {
            MAGIC_V2.. => match parse_v2(bytes) {
                Ok(header) => Ok(Some(EntryHeader::V2(header))),
                Err(error) => Err(error.to_string()),
            },
            0 => Ok(Some(EntryHeader::Legacy {
                offset,
                size: whole,
                magic,
                timestamp: NO_TIMESTAMP,
            })),
            1 => {
                let Some(field) = bytes.get(LEGACY_HEADER_LEN - 8..LEGACY_HEADER_LEN) else {
                    return Err(format!(
                        "message at offset {offset} has no room for a timestamp"
                    ));
                };
                let mut timestamp = [0; 8];
                timestamp.copy_from_slice(field);
                let timestamp = i64::from_be_bytes(timestamp);
                Ok(Some(EntryHeader::Legacy {
                    offset,
                    size: whole,
                    magic,
                    timestamp,
                }))
            }
            _ => Err(format!(
                "entry at offset {offset} has unknown magic {magic}"
            )),
        }
    }

    /// Bytes of the whole entry.
    pub fn size(&self) -> usize {
        match self {
            EntryHeader::V2(header) => header.size_bytes(),
            EntryHeader::Legacy { size, .. } => *size,
        }
    }

    /// Offset of the first record; for old wrapping messages that of the last, since the first is inside.
    pub fn base_offset(&self) -> i64 {
        match self {
            EntryHeader::V2(header) => header.base_offset,
            EntryHeader::Legacy { offset, .. } => *offset,
        }
    }

    /// Offset of the last record.
    pub fn last_offset(&self) -> i64 {
        match self {
            EntryHeader::V2(header) => header.last_offset(),
            EntryHeader::Legacy { offset, .. } => *offset,
        }
    }

    /// Largest timestamp in milliseconds, -1 if there is none.
    pub fn max_timestamp(&self) -> i64 {
        match self {
            EntryHeader::V2(header) => header.max_timestamp,
            EntryHeader::Legacy { timestamp, .. } => *timestamp,
        }
    }

    /// True if the checksum of the entry, which starts `bytes`, is right.
    pub fn crc_ok(&self, bytes: &[u8]) -> bool {
        match self {
            EntryHeader::V2(header) => bytes
                .get(CRC_FROM..header.size_bytes())
                .is_some_and(|covered| crc32c(covered) == header.crc),
            // The old checksum is CRC-32 (IEEE) over everything behind itself.
            EntryHeader::Legacy { size, .. } => match bytes.get(12..*size) {
                Some([a, b, c, d, rest @ ..]) => {
                    u32::from_be_bytes([*a, *b, *c, *d]) == crc32(rest)
                }
                _ => false,
            },
        }
    }
}

/// The header of a batch of magic 2. Kafka takes a higher magic for the same form, keeps such a batch and hands it out; the
/// checksum does not cover the magic.
fn parse_v2(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
    match bytes.first_chunk::<BATCH_HEADER_LEN>() {
        Some(head) if head[MAGIC_POSITION] as i8 != MAGIC_V2 => {
            let mut head = *head;
            head[MAGIC_POSITION] = MAGIC_V2 as u8;
            BatchHeader::parse(&head)
        }
        _ => BatchHeader::parse(bytes),
    }
}

/// What is appended to a segment: one batch of a producer, or a leader's batches that were fetched together.
#[derive(Debug, Clone, Copy)]
pub struct SegmentAppend {
    /// Offset of the first record.
    pub base_offset: i64,
    /// Offset of the last record.
    pub last_offset: i64,
    /// Largest timestamp in milliseconds, -1 for none.
    pub max_timestamp: i64,
    /// Last offset of the batch that has it.
    pub offset_of_max_timestamp: i64,
    /// True if it is exactly one batch, whose position may be remembered.
    pub single_batch: bool,
    /// Bytes of it all.
    pub bytes: u64,
}
