//! Pure: a leader's batches as a follower receives them: split, checked for corruption and order, not changed.

use bytes::Bytes;
use kafka_wire::records::batch::{NO_TIMESTAMP, crc32, crc32c};

use crate::log::append::AppendError;
use crate::log::codec::read_marker;
use crate::log::entry::EntryHeader;
use crate::log::entry::SegmentAppend;
use crate::log::producer_state::ProducerBatch;

/// Where in a v2 batch that begins what its checksum covers: at the attributes.
const CRC_FROM: usize = 21;

/// Whole batches in rising order of offset, and their bytes.
#[derive(Debug, Clone)]
pub struct FollowerBatches {
    bytes: Bytes,
    entries: Vec<(usize, EntryHeader)>,
}

/// Splits `records`; an incomplete batch at the end is dropped. `partition` is for messages.
///
/// # Errors
/// [`AppendError`] if a batch is corrupt or offsets do not rise.
pub fn split_batches(records: &Bytes, partition: &str) -> Result<FollowerBatches, AppendError> {
    let mut entries: Vec<(usize, EntryHeader)> = Vec::new();
    let mut position = 0;
    while position < records.len() {
        let rest = &records[position..];
        let parsed = EntryHeader::parse(rest, rest.len() as u64).map_err(|reason| {
            AppendError::Corrupt(format!("{reason} in topic partition {partition}"))
        })?;
        let Some(header) = parsed else {
            break;
        };
        check_crc(&header, rest, partition)?;
        let (first, last) = (header.base_offset(), header.last_offset());
        if first < 0 || last < first || last == i64::MAX {
            return Err(AppendError::Corrupt(format!(
                "record batch has an invalid offset range: [{first}, {last}] in topic partition {partition}"
            )));
        }
        if entries
            .last()
            .is_some_and(|(_, last)| last.last_offset() >= header.last_offset())
        {
            return Err(AppendError::OffsetsOutOfOrder(partition.to_owned()));
        }
        entries.push((position, header));
        position += header.size();
    }
    Ok(FollowerBatches {
        bytes: records.slice(..position),
        entries,
    })
}

fn check_crc(header: &EntryHeader, bytes: &[u8], partition: &str) -> Result<(), AppendError> {
    if entry_crc_ok(header, bytes) {
        return Ok(());
    }
    Err(AppendError::Corrupt(format!(
        "record batch at offset {} is corrupt (checksum) in topic partition {partition}",
        header.base_offset()
    )))
}

/// True if the checksum of the entry at the start of `bytes` is right.
pub fn entry_crc_ok(header: &EntryHeader, bytes: &[u8]) -> bool {
    match header {
        EntryHeader::V2(header) => bytes
            .get(CRC_FROM..header.size_bytes())
            .is_some_and(|covered| crc32c(covered) == header.crc),
        // The old checksum is CRC-32 (IEEE) over everything behind itself.
        EntryHeader::Legacy { size, .. } => match bytes.get(12..*size) {
            Some([a, b, c, d, rest @ ..]) => u32::from_be_bytes([*a, *b, *c, *d]) == crc32(rest),
            _ => false,
        },
    }
}

impl FollowerBatches {
    /// The batches' bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Offset of the first record; `None` if there is no batch.
    pub fn first_offset(&self) -> Option<i64> {
        self.entries.first().map(|(_, header)| header.base_offset())
    }

    /// Offset of the last record, -1 if there is no batch.
    pub fn last_offset(&self) -> i64 {
        self.entries
            .last()
            .map_or(-1, |(_, header)| header.last_offset())
    }

    /// Largest timestamp in milliseconds, -1 if none.
    pub fn max_timestamp(&self) -> i64 {
        self.entries
            .iter()
            .map(|(_, h)| h.max_timestamp())
            .max()
            .unwrap_or(NO_TIMESTAMP)
    }

    /// Leader epoch of the last batch.
    pub fn last_leader_epoch(&self) -> i32 {
        self.entries
            .last()
            .map_or(-1, |(_, header)| header.leader_epoch())
    }

    /// Leader epoch and base offset of each batch.
    pub fn epochs(&self) -> impl Iterator<Item = (i32, i64)> + '_ {
        self.entries
            .iter()
            .map(|(_, header)| (header.leader_epoch(), header.base_offset()))
    }

    /// Cuts into sets of at most `max_bytes`; a longer single batch is a set of its own.
    pub fn split(&self, max_bytes: usize) -> Vec<FollowerBatches> {
        if self.bytes.len() <= max_bytes {
            return vec![self.clone()];
        }
        let mut sets = Vec::new();
        let mut start = 0;
        let mut entries: Vec<(usize, EntryHeader)> = Vec::new();
        for (position, header) in &self.entries {
            let end = position + header.size();
            if end - start > max_bytes && !entries.is_empty() {
                let bytes = self.bytes.slice(start..*position);
                sets.push(FollowerBatches {
                    bytes,
                    entries: std::mem::take(&mut entries),
                });
                start = *position;
            }
            entries.push((position - start, *header));
        }
        sets.push(FollowerBatches {
            bytes: self.bytes.slice(start..),
            entries,
        });
        sets
    }

    /// The batches that have producers.
    ///
    /// # Errors
    /// [`AppendError`] if a marker is malformed.
    pub fn producer_batches(&self) -> Result<Vec<ProducerBatch>, AppendError> {
        let mut batches = Vec::new();
        for (position, header) in &self.entries {
            let EntryHeader::V2(header) = header else {
                continue;
            };
            if header.has_producer_id() {
                let marker = match header.is_control() {
                    true => read_marker(&self.bytes[*position..])?,
                    false => None,
                };
                batches.push(ProducerBatch {
                    header: *header,
                    marker,
                });
            }
        }
        Ok(batches)
    }

    /// The whole set as one append.
    pub fn segment_append(&self) -> SegmentAppend {
        let mut max_timestamp = NO_TIMESTAMP;
        let mut offset_of_max_timestamp = -1;
        for (_, header) in &self.entries {
            if header.max_timestamp() > max_timestamp {
                max_timestamp = header.max_timestamp();
                offset_of_max_timestamp = header.last_offset();
            }
        }
        SegmentAppend {
            base_offset: self.first_offset().unwrap_or(-1),
            last_offset: self.last_offset(),
            max_timestamp,
            offset_of_max_timestamp,
            single_batch: self.entries.len() == 1,
            bytes: self.bytes().len() as u64,
        }
    }
}
