//! Shell: reads of a partition log: file ranges of batches, aborted transactions, offsets by timestamp.

use std::sync::Arc;

use kafka_wire::records::batch::{BatchView, NO_TIMESTAMP};
use kafka_wire::records::legacy::MessageView;
use kafka_wire::records::record::{RecordSource as _, SkippedRecord};
use kafka_wire::wire::Records;

use crate::log::append::AppendError;
use crate::log::codec::{self, MAX_DECOMPRESSED_BYTES, MAX_WHOLE_BYTES};
use crate::log::entry::EntryHeader;
use crate::log::error::{StorageError, StorageResult};
use crate::log::partition_log::PartitionLog;
use crate::log::segment::Segment;
use crate::log::segment_read::FileRange;
use crate::log::txn_index::AbortedTxn;

/// How far a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchBound {
    /// Replicas: to the log's end.
    LogEnd,
    /// Consumers: what all in-sync replicas have.
    HighWatermark,
    /// Consumers with `read_committed`: what no open transaction follows.
    LastStable,
}

/// What a read found.
#[derive(Debug)]
pub struct ReadResult {
    /// Batches; the first may start below the offset asked for, the last may be cut. Empty if there is nothing (yet).
    pub records: Records,
    /// High watermark when the read started.
    pub high_watermark: i64,
    /// Last stable offset when the read started.
    pub last_stable_offset: i64,
    /// First offset of the log.
    pub log_start_offset: i64,
    /// End of the log when the read started.
    pub log_end_offset: i64,
    /// For [`FetchBound::LastStable`]: the aborted transactions among the records, as (producer id, first offset).
    pub aborted: Option<Vec<(i64, i64)>>,
    /// Where the reader's bound was when the read started.
    pub upper_bound: i64,
    /// Whether newer segments hold more within the bound than the one that was read.
    pub ends_segment: bool,
}

/// Why a read was refused.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The offset is before the log's start or behind its end.
    #[error(
        "received request for offset {requested}, but the log has offsets {log_start_offset} to {log_end_offset}"
    )]
    OffsetOutOfRange {
        /// Offset asked for.
        requested: i64,
        /// First offset of the log.
        log_start_offset: i64,
        /// End of the log.
        log_end_offset: i64,
    },
    /// The disk failed; the log directory is to be taken out of service.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a record was not looked up.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// A batch that cannot be taken apart.
    #[error("batch at offset {base_offset} cannot be read: {error}")]
    BadBatch {
        /// Its offset.
        base_offset: i64,
        /// What is wrong with it.
        error: AppendError,
    },
    /// The disk failed; the log directory is to be taken out of service.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A record found by its timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundOffset {
    /// Timestamp in milliseconds, -1 where none was asked for.
    pub timestamp: i64,
    /// Offset.
    pub offset: i64,
    /// Leader epoch of the record, if known.
    pub leader_epoch: Option<i32>,
}

impl PartitionLog {
    /// Finds batches from `from` on, up to `max_bytes`, where the last may be cut, but not the first; with
    /// `min_one_batch`, the first even if it is longer.
    ///
    /// # Errors
    /// [`ReadError::OffsetOutOfRange`] outside the log; beyond the bound but within the log is an empty answer.
    pub fn read(
        &self,
        from: i64,
        max_bytes: usize,
        bound: FetchBound,
        min_one_batch: bool,
    ) -> Result<ReadResult, ReadError> {
        // The bounds are read before the segments, so that all that lies below them is in the segments.
        let high_watermark = self.high_watermark();
        let last_stable_offset = self.last_stable_offset();
        let log_end_offset = self.log_end_offset();
        let log_start_offset = self.log_start_offset();
        let upper_bound = match bound {
            FetchBound::LogEnd => log_end_offset,
            FetchBound::HighWatermark => high_watermark,
            FetchBound::LastStable => last_stable_offset,
        };
        if from < log_start_offset || from > log_end_offset {
            return Err(ReadError::OffsetOutOfRange {
                requested: from,
                log_start_offset,
                log_end_offset,
            });
        }
        let mut result = ReadResult {
            records: Records::Memory(bytes::Bytes::new()),
            high_watermark,
            last_stable_offset,
            log_start_offset,
            log_end_offset,
            aborted: (bound == FetchBound::LastStable).then(Vec::new),
            upper_bound,
            ends_segment: false,
        };
        if from < upper_bound {
            self.read_segments(from, max_bytes, min_one_batch, &mut result)?;
        }
        Ok(result)
    }

    /// Adds to a result the batches from `from` on, which is within its bounds, and what belongs to them.
    fn read_segments(
        &self,
        from: i64,
        max_bytes: usize,
        min_one_batch: bool,
        result: &mut ReadResult,
    ) -> Result<(), ReadError> {
        let ReadResult {
            upper_bound,
            log_end_offset,
            ..
        } = *result;
        let segments = self.segments.load_full();
        let first = segments
            .partition_point(|s| s.base_offset() <= from)
            .saturating_sub(1);
        if segments[first].base_offset() > from {
            // Retention has just deleted the segment.
            return Err(ReadError::OffsetOutOfRange {
                requested: from,
                log_start_offset: self.log_start_offset(),
                log_end_offset,
            });
        }
        for index in first..segments.len() {
            let segment = &segments[index];
            if segment.base_offset() >= upper_bound {
                break;
            }
            let next = segments.get(index + 1);
            let limit = match next {
                Some(next) if next.base_offset() <= upper_bound => segment.size(),
                Some(_) => segment.position_of(upper_bound)?,
                None => segment.limit_for(upper_bound)?,
            };
            let Some(range) = segment.read(from, max_bytes, limit, min_one_batch)? else {
                continue;
            };
            if range.len == 0 && max_bytes > 0 {
                // As Apache's: where not even one batch fits, nothing is said of transactions.
                result.aborted = None;
            } else if let Some(aborted) = &mut result.aborted {
                let end = next.map_or(log_end_offset, |next| next.base_offset());
                *aborted = aborted_in(&segments[index..], from, &range, end)?;
            }
            result.ends_segment = next.is_some_and(|next| next.base_offset() < upper_bound);
            if range.len > 0 {
                let file = Arc::clone(segment.file());
                result.records = Records::File {
                    file,
                    position: range.position,
                    len: range.len,
                };
            }
            break;
        }
        Ok(())
    }

    /// The first record at or after the log's start whose timestamp is at least `timestamp`; `None` if there is none.
    ///
    /// # Errors
    /// [`LookupError`] if a segment cannot be read, or a batch that may hold the record.
    pub fn offset_for_timestamp(&self, timestamp: i64) -> Result<Option<FoundOffset>, LookupError> {
        let from = self.log_start_offset();
        let segments = self.segments.load_full();
        for segment in segments.iter() {
            if segment.largest_timestamp_ms()? < timestamp {
                continue;
            }
            let mut found = Ok(None);
            segment.find_timestamp(timestamp, from, |entry, bytes| {
                found = first_record_at(&entry.header, bytes, timestamp, from);
                !matches!(found, Ok(None))
            })?;
            // As Apache's: only the first segment that may hold it is looked at.
            return found;
        }
        Ok(None)
    }

    /// The largest timestamp of the log and the last offset of the batch that has it.
    ///
    /// # Errors
    /// [`StorageError`] if an index cannot be read.
    pub fn max_timestamp_offset(&self) -> StorageResult<FoundOffset> {
        let segments = self.segments.load_full();
        let mut best = None;
        for segment in segments.iter() {
            let max = segment.max_timestamp()?;
            // The last of equals, as Scala's maxBy does not promise more than one of them.
            if best.is_none_or(|best: crate::log::time_index::TimestampOffset| {
                max.timestamp > best.timestamp
            }) {
                best = Some(max);
            }
        }
        let (timestamp, offset) = best.map_or((NO_TIMESTAMP, -1), |b| (b.timestamp, b.offset));
        Ok(FoundOffset {
            timestamp,
            offset,
            leader_epoch: self.latest_epoch(),
        })
    }

    /// The log's start, with its leader epoch, as ListOffsets asks for with timestamp -2.
    pub fn earliest_offset(&self) -> FoundOffset {
        let offset = self.log_start_offset();
        let first = self.epochs.read().earliest();
        let leader_epoch = first.filter(|e| e.start_offset <= offset).map(|e| e.epoch);
        FoundOffset {
            timestamp: NO_TIMESTAMP,
            offset,
            leader_epoch,
        }
    }

    /// The log's end, with the newest leader epoch, as ListOffsets asks for with timestamp -1.
    pub fn latest_offset(&self) -> FoundOffset {
        FoundOffset {
            timestamp: NO_TIMESTAMP,
            offset: self.log_end_offset(),
            leader_epoch: self.latest_epoch(),
        }
    }

    /// What ListOffsets v0 asks for: up to `max` segment starts that were written at or before `timestamp` (-1: the
    /// end, -2: the start), newest first.
    ///
    /// # Errors
    /// [`StorageError`] if a file cannot be inspected.
    pub fn legacy_offsets_before(
        &self,
        timestamp: i64,
        max: usize,
        now_ms: i64,
    ) -> StorageResult<Vec<i64>> {
        let segments = self.segments.load_full();
        let start = self.log_start_offset();
        let mut times = Vec::with_capacity(segments.len() + 1);
        for segment in segments.iter() {
            times.push((segment.base_offset().max(start), segment.modified_ms()?));
        }
        if segments.last().is_some_and(|segment| segment.size() > 0) {
            times.push((self.log_end_offset(), now_ms));
        }
        let count = match timestamp {
            -1 => times.len(),
            -2 => times.len().min(1),
            _ => times
                .iter()
                .rposition(|(_, time)| *time <= timestamp)
                .map_or(0, |at| at + 1),
        };
        let mut offsets: Vec<i64> = times[..count]
            .iter()
            .rev()
            .take(max)
            .map(|(offset, _)| *offset)
            .collect();
        offsets.sort_unstable_by(|a, b| b.cmp(a));
        Ok(offsets)
    }
}

/// The first record of a batch at or above timestamp and offset. A packed batch must be sound as a whole.
fn first_record_at(
    header: &EntryHeader,
    bytes: &[u8],
    timestamp: i64,
    from: i64,
) -> Result<Option<FoundOffset>, LookupError> {
    let base_offset = bytes
        .first_chunk()
        .map_or(-1, |base| i64::from_be_bytes(*base));
    let bad = |error| LookupError::BadBatch { base_offset, error };
    if let EntryHeader::Legacy { .. } = header {
        let records =
            MessageView::parse(bytes).and_then(|message| message.records(MAX_DECOMPRESSED_BYTES));
        let records = records.map_err(|error| bad(AppendError::invalid(error.to_string())))?;
        let found = records
            .iter()
            .find(|record| record.timestamp >= timestamp && record.offset >= from);
        return Ok(found.map(|found| FoundOffset {
            timestamp: found.timestamp,
            offset: found.offset,
            leader_epoch: None,
        }));
    }
    let view =
        BatchView::parse(bytes).map_err(|error| bad(AppendError::Corrupt(error.to_string())))?;
    let epoch = view.header.partition_leader_epoch;
    let plain = codec::unpack_within(&view, MAX_WHOLE_BYTES).map_err(bad)?;
    if plain.too_large {
        let found = streamed_record_at(&view, timestamp, from).map_err(bad)?;
        return Ok(found.map(|record| FoundOffset {
            timestamp: record.timestamp,
            offset: record.offset,
            leader_epoch: (epoch >= 0).then_some(epoch),
        }));
    }
    if let Some(error) = plain.broken {
        return Err(bad(error));
    }
    let mut found = None;
    for record in view.records(&plain.bytes) {
        let record = record.map_err(|error| bad(AppendError::invalid(error.to_string())))?;
        if found.is_none() && record.timestamp >= timestamp && record.offset >= from {
            found = Some(FoundOffset {
                timestamp: record.timestamp,
                offset: record.offset,
                leader_epoch: (epoch >= 0).then_some(epoch),
            });
            if view.header.codec_id() == codec::NO_CODEC {
                break;
            }
        }
    }
    Ok(found)
}

/// The same of a batch that unpacks to much.
fn streamed_record_at(
    view: &BatchView<'_>,
    timestamp: i64,
    from: i64,
) -> Result<Option<SkippedRecord>, AppendError> {
    let base = view.header.record_base();
    let mut stream = codec::stream(view, false)?;
    let mut found = None;
    for _ in 0..view.header.record_count {
        let record = stream.skip_record(&base);
        let record = record.map_err(|error| AppendError::invalid(error.to_string()))?;
        if found.is_none() && record.timestamp >= timestamp && record.offset >= from {
            found = Some(record);
        }
    }
    Ok(found)
}

/// The aborted transactions that a reader of `range` in the first of `segments` must know of.
fn aborted_in(
    segments: &[Arc<Segment>],
    from: i64,
    range: &FileRange,
    segment_end: i64,
) -> StorageResult<Vec<(i64, i64)>> {
    let Some(first) = segments.first() else {
        return Ok(Vec::new());
    };
    let end_position = range.position + u64::from(range.len);
    let upper_bound = first
        .offset_index()
        .first_offset_from(end_position as u32)?
        .unwrap_or(segment_end);
    let mut aborted: Vec<AbortedTxn> = Vec::new();
    for segment in segments {
        if segment
            .txn_index()
            .collect(from, upper_bound, &mut aborted)?
        {
            break;
        }
    }
    Ok(aborted
        .into_iter()
        .map(|txn| (txn.producer_id, txn.first_offset))
        .collect())
}
