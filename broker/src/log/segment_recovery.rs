//! Shell: one segment re-read after an unclean stop: its batches verified and its indexes rebuilt, which needs nothing but the segment
//! and is done for several at once; then epochs and producers noted, in the order of the log (`LogSegment.recover`).

use kafka_wire::records::batch::{BatchHeader, NO_TIMESTAMP};
use kafka_wire::records::control::EndTransactionMarker;
use rustix::fs::{Advice, fadvise};

use crate::log::codec::read_marker;
use crate::log::entry::EntryHeader;
use crate::log::error::{StorageError, StorageResult};
use crate::log::leader_epochs::LeaderEpochs;
use crate::log::producer_replay::note_batch;
use crate::log::producer_state::ProducerStates;
use crate::log::scan::{Located, ScanError, Scanner};
use crate::log::segment::Segment;
use crate::log::time_index::TimestampOffset;

/// Bytes read at once: as much as stays in a core's cache until it has been summed up.
const CHUNK: usize = 512 * 1024;
/// Batches of producers that are remembered of one segment; what is behind them is looked up again.
const MOST_REMEMBERED: usize = 100_000;

/// What a walk over a segment found.
pub(super) struct Verified {
    /// Position behind the last good batch; less than the segment's size if one is bad.
    end: u64,
    /// Offset after the last good record.
    next_offset: i64,
    offsets: Vec<u8>,
    times: Vec<u8>,
    max: TimestampOffset,
    /// Where leader epochs begin, as far as they rise.
    epochs: Vec<(i32, i64)>,
    producers: Vec<(BatchHeader, Option<EndTransactionMarker>)>,
    /// Position from which on batches of producers are not in `producers`.
    remembered_to: Option<u64>,
}

/// Walks all batches of a segment, up to the first bad one.
///
/// # Errors
/// [`StorageError::Io`] if the file cannot be read, [`StorageError::Overflow`] if a sound batch has an offset so high that the segment
/// must be split, [`StorageError::Corrupt`] if it has one below the segment: Kafka would not start either.
pub(super) fn verify(segment: &Segment, interval: u32, name: &str) -> StorageResult<Verified> {
    let (base_offset, size) = (segment.base_offset(), segment.size());
    let mut found = Verified {
        end: 0,
        next_offset: base_offset,
        offsets: Vec::new(),
        times: Vec::new(),
        max: TimestampOffset {
            timestamp: NO_TIMESTAMP,
            offset: base_offset,
        },
        epochs: Vec::new(),
        producers: Vec::new(),
        remembered_to: None,
    };
    // Only speed depends on it.
    let _ = fadvise(&**segment.file(), 0, None, Advice::Sequential);
    let mut indexes = Indexes {
        interval: u64::from(interval),
        indexed: 0,
        last_time: NO_TIMESTAMP,
    };
    let mut scanner = Scanner::with_chunk(segment.file(), 0, size, CHUNK);
    loop {
        let entry = match scanner.next_entry() {
            Ok(Some(entry)) => entry,
            Ok(None) => break,
            Err(ScanError::Corrupt { position, reason }) => {
                tracing::warn!(partition = %name, base_offset, position, reason, "invalid batch");
                break;
            }
            Err(error) => return Err(segment.scan_error(error)),
        };
        let header = &entry.header;
        let bytes = scanner
            .bytes_of(&entry)
            .map_err(|error| segment.scan_error(error.into()))?;
        if !header.crc_ok(bytes) {
            tracing::warn!(
                partition = %name, base_offset, position = entry.position,
                "invalid batch: wrong checksum"
            );
            break;
        }
        let last_offset = header.last_offset();
        if !segment.can_hold(last_offset) {
            if last_offset > base_offset {
                return Err(segment.overflow(last_offset));
            }
            return Err(segment.scan_error(ScanError::Corrupt {
                position: entry.position,
                reason: format!("offset {last_offset} cannot be in the segment of {base_offset}"),
            }));
        }
        if last_offset < found.next_offset {
            tracing::warn!(
                partition = %name, base_offset, position = entry.position, last_offset,
                "invalid batch: its offset is below the one before"
            );
            break;
        }
        found.remember(&entry, bytes);
        found.add(segment, &entry, &mut indexes)?;
    }
    let _ = fadvise(&**segment.file(), 0, None, Advice::Normal);
    Ok(found)
}

/// State of the walk that only the indexes need.
struct Indexes {
    interval: u64,
    /// Position of the last entry.
    indexed: u64,
    last_time: i64,
}

impl Verified {
    fn remember(&mut self, entry: &Located, bytes: &[u8]) {
        let EntryHeader::V2(header) = &entry.header else {
            return;
        };
        let epoch = header.partition_leader_epoch;
        if epoch >= 0 && self.epochs.last().is_none_or(|(latest, _)| epoch > *latest) {
            self.epochs.push((epoch, header.base_offset));
        }
        if !header.has_producer_id() || self.remembered_to.is_some() {
            return;
        }
        if self.producers.len() == MOST_REMEMBERED {
            self.remembered_to = Some(entry.position);
            return;
        }
        self.producers.push((*header, marker(header, bytes)));
    }

    fn add(
        &mut self,
        segment: &Segment,
        entry: &Located,
        indexes: &mut Indexes,
    ) -> StorageResult<()> {
        let last_offset = entry.header.last_offset();
        if entry.header.max_timestamp() > self.max.timestamp {
            self.max = TimestampOffset {
                timestamp: entry.header.max_timestamp(),
                offset: last_offset,
            };
        }
        if self.end - indexes.indexed > indexes.interval {
            let position = self.end as u32;
            self.offsets
                .extend(segment.offset_index().encode(last_offset, position)?);
            if self.max.timestamp > indexes.last_time
                && let Some(bytes) = segment.time_index().encode(self.max)
            {
                self.times.extend(bytes);
                indexes.last_time = self.max.timestamp;
            }
            indexes.indexed = self.end;
        }
        self.end = entry.end();
        self.next_offset = last_offset.saturating_add(1);
        Ok(())
    }

    /// Notes epochs and producers, writes the indexes, and cuts the segment where it is bad. Answers the bytes cut.
    ///
    /// # Errors
    /// [`StorageError`] if a file cannot be read or written.
    pub(super) fn apply(
        &self,
        segment: &Segment,
        epochs: &mut LeaderEpochs,
        producers: &mut ProducerStates,
    ) -> StorageResult<u64> {
        let size = segment.size();
        segment.txn_index().reset()?;
        for (epoch, start_offset) in &self.epochs {
            if epochs.latest().is_none_or(|latest| *epoch > latest.epoch) {
                epochs.assign(*epoch, *start_offset)?;
            }
        }
        for (header, marker) in &self.producers {
            note_batch(segment, producers, header, *marker)?;
        }
        if let Some(position) = self.remembered_to {
            self.look_again(segment, position, producers)?;
        }
        if self.end > 0 {
            producers.set_end_offset(self.next_offset);
        }
        segment.offset_index().file().replace(&self.offsets)?;
        segment.time_index().file().replace(&self.times)?;
        segment.recovered(self.end, self.max)?;
        segment.deactivate()?;
        Ok(size - self.end)
    }

    /// Notes the producers of the batches from `position` on, all of which are sound.
    fn look_again(
        &self,
        segment: &Segment,
        position: u64,
        producers: &mut ProducerStates,
    ) -> StorageResult<()> {
        let failed = |error: ScanError| -> StorageError { segment.scan_error(error) };
        let mut scanner = Scanner::new(segment.file(), position, self.end);
        while let Some(entry) = scanner.next_entry().map_err(failed)? {
            let EntryHeader::V2(header) = &entry.header else {
                continue;
            };
            if !header.has_producer_id() {
                continue;
            }
            let marker = match header.is_control() {
                true => {
                    let bytes = scanner.bytes_of(&entry);
                    marker(header, bytes.map_err(|error| failed(error.into()))?)
                }
                false => None,
            };
            note_batch(segment, producers, header, marker)?;
        }
        Ok(())
    }
}

fn marker(header: &BatchHeader, bytes: &[u8]) -> Option<EndTransactionMarker> {
    match header.is_control() {
        true => read_marker(bytes).ok().flatten(),
        false => None,
    }
}
