//! Shell: cleans one log: reads its dirty part for the newest offset of each key, then copies what stays, segment by segment
//! (`Cleaner` in `LogCleaner.scala`).

use std::collections::HashMap;
use std::sync::Arc;

use crate::log::cleaner::candidates::{
    Candidate, LogFacts, SegmentFacts, SegmentSizes, groups, touched,
};
use crate::log::cleaner::cleaned_segment::{CleanedSegment, remove_files};
use crate::log::cleaner::filter::{BatchFilter, Counts, LastRecord, Pass, index_keys};
use crate::log::cleaner::offset_map::OffsetMap;
use crate::log::cleaner::transactions::CleanedTransactions;
use crate::log::error::{IoContext, StorageError, StorageResult};
use crate::log::names::LOG_SUFFIX;
use crate::log::partition_log::PartitionLog;
use crate::log::scan::Scanner;
use crate::log::segment::Segment;
use crate::log::txn_index::AbortedTxn;

/// Why the cleaning of a log ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum CleanError {
    /// Somebody asked for it, or the log has changed meanwhile.
    #[error("cleaning was aborted")]
    Aborted,
    /// A file cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// How a log is cleaned.
#[derive(Debug, Clone, Copy)]
pub struct CleanSettings {
    /// Bytes of the offset map.
    pub map_bytes: u64,
    /// How full it may become.
    pub load_factor: f64,
    /// Bytes read at once.
    pub read_bytes: usize,
}

/// What a cleaning did.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CleanStats {
    /// What was read and kept.
    pub counts: Counts,
    /// Bytes read for the offset map.
    pub map_bytes_read: u64,
    /// How full the offset map became, 1 being full.
    pub map_used: f64,
    /// First offset that is not clean.
    pub clean_until: i64,
}

/// Called with the bytes just read or written: pauses if there were too many, and says whether to stop.
pub type Pace<'a> = dyn FnMut(usize) -> Result<(), CleanError> + 'a;

impl PartitionLog {
    /// What the cleaner decides by.
    ///
    /// # Errors
    /// [`StorageError`] if a file cannot be read.
    pub fn cleaning_facts(&self) -> StorageResult<LogFacts> {
        let config = self.config();
        let last_stable_offset = self.last_stable_offset();
        let segments = self.segments.load_full();
        let mut facts = Vec::with_capacity(segments.len());
        for segment in segments.iter() {
            facts.push(SegmentFacts {
                base_offset: segment.base_offset(),
                bytes: segment.size(),
                largest_timestamp_ms: match config.min_compaction_lag_ms > 0 {
                    true => segment.largest_timestamp_ms()?,
                    false => -1,
                },
                first_timestamp_ms: match config.max_compaction_lag_ms < i64::MAX {
                    true => segment.first_timestamp_ms()?,
                    false => -1,
                },
            });
        }
        Ok(LogFacts {
            segments: facts,
            log_start_offset: self.log_start_offset(),
            log_end_offset: self.log_end_offset(),
            last_stable_offset,
            min_lag_ms: config.min_compaction_lag_ms,
            max_lag_ms: config.max_compaction_lag_ms,
            min_dirty_ratio: config.min_cleanable_dirty_ratio,
        })
    }

    /// The segments that a range of offsets touches.
    fn segments_between(&self, from: i64, to: i64) -> Vec<Arc<Segment>> {
        let segments = self.segments.load();
        segments[touched(&segments, |segment| segment.base_offset(), from..to)].to_vec()
    }

    /// The aborted transactions with records in a range of offsets.
    fn aborted_between(&self, from: i64, to: i64) -> StorageResult<Vec<AbortedTxn>> {
        let mut aborted = Vec::new();
        for segment in self.segments_between(from, i64::MAX) {
            if segment.txn_index().collect(from, to, &mut aborted)? {
                break;
            }
        }
        Ok(aborted)
    }

    /// What must stay of each producer that the log knows.
    fn last_records(&self) -> HashMap<i64, LastRecord> {
        let inner = self.inner.lock();
        let producers = inner.producers.producers().iter();
        let last = producers.map(|(producer_id, entry)| {
            let last_data_offset = entry.batches.back().map(|batch| batch.last_offset);
            let epoch = entry.epoch;
            (
                *producer_id,
                LastRecord {
                    last_data_offset,
                    epoch,
                },
            )
        });
        last.collect()
    }
}

/// Cleans the part of a log that `candidate` names.
///
/// # Errors
/// [`CleanError`]; what was finished up to then stays.
pub fn clean_log(
    log: &PartitionLog,
    candidate: &Candidate,
    settings: &CleanSettings,
    now_ms: i64,
    pace: &mut Pace<'_>,
) -> Result<CleanStats, CleanError> {
    let config = log.config();
    let mut stats = CleanStats::default();
    let clean = log.segments_between(i64::MIN, candidate.first_dirty);
    // When tombstones of old formats go, which have no delete horizon of their own.
    let legacy_horizon_ms = match clean.last() {
        Some(segment) => segment.modified_ms()? - config.delete_retention_ms,
        None => 0,
    };
    let map = build_map(log, candidate, settings, &mut stats, pace)?;
    let end_offset = map.latest_offset().saturating_add(1);
    let segments = log.segments_between(0, end_offset);
    let sizes: Vec<SegmentSizes> = segments.iter().map(|segment| sizes(segment)).collect();
    let groups = groups(
        &sizes,
        u64::from(config.segment_bytes),
        u64::from(config.segment_index_bytes),
        candidate.first_uncleanable,
    );
    let mut filter = BatchFilter::new(Pass {
        map: &map,
        now_ms,
        delete_retention_ms: config.delete_retention_ms,
    });
    for group in groups {
        let group = &segments[group];
        clean_group(
            log,
            group,
            &mut filter,
            settings,
            legacy_horizon_ms,
            now_ms,
            pace,
        )?;
    }
    stats.counts = filter.counts();
    stats.clean_until = end_offset;
    Ok(stats)
}

fn sizes(segment: &Segment) -> SegmentSizes {
    use crate::log::{offset_index, time_index};
    let index = u64::from(segment.offset_index().file().len());
    let time_index = u64::from(segment.time_index().file().len());
    SegmentSizes {
        base_offset: segment.base_offset(),
        log: segment.size(),
        index: index * u64::from(offset_index::ENTRY_BYTES),
        time_index: time_index * u64::from(time_index::ENTRY_BYTES),
    }
}

/// Reads the dirty part until its end or until the map is full.
fn build_map(
    log: &PartitionLog,
    candidate: &Candidate,
    settings: &CleanSettings,
    stats: &mut CleanStats,
    pace: &mut Pace<'_>,
) -> Result<OffsetMap, CleanError> {
    let (start, end) = (candidate.first_dirty, candidate.first_uncleanable);
    let expected = end.saturating_sub(start).max(0) as u64;
    let mut map = OffsetMap::new(settings.map_bytes, settings.load_factor, expected);
    let mut transactions = CleanedTransactions::default();
    transactions.add_aborted(&log.aborted_between(start, end)?);
    let dirty = log.segments_between(start, end);
    for (index, segment) in dirty.iter().enumerate() {
        let next = dirty.get(index + 1).map_or(end, |next| next.base_offset());
        let position = u64::from(segment.offset_index().lookup(start)?.position);
        let room = read_segment(
            segment,
            position,
            settings.read_bytes,
            pace,
            |entry, bytes| {
                stats.map_bytes_read += bytes.len() as u64;
                index_keys(&mut map, &mut transactions, &entry.header, bytes, start)
                    .map_err(|bad| bad_batch(log, segment, entry.position, &bad).into())
            },
        )?;
        if !room {
            tracing::debug!(
                partition = %log.partition(), base_offset = segment.base_offset(),
                "the offset map is full before the end of a segment"
            );
            break;
        }
        // Offsets at the end of a segment may be missing.
        map.set_latest_offset(next - 1);
    }
    let capacity = super::offset_map::capacity(settings.map_bytes, settings.load_factor);
    stats.map_used = map.len() as f64 / capacity.max(1) as f64;
    Ok(map)
}

/// Writes what stays of some neighbours into one segment, and puts that into their place.
fn clean_group(
    log: &PartitionLog,
    group: &[Arc<Segment>],
    filter: &mut BatchFilter<'_>,
    settings: &CleanSettings,
    legacy_horizon_ms: i64,
    now_ms: i64,
    pace: &mut Pace<'_>,
) -> Result<(), CleanError> {
    let (Some(first), Some(last)) = (group.first(), group.last()) else {
        return Ok(());
    };
    let config = log.config();
    let base_offset = first.base_offset();
    let mut cleaned = CleanedSegment::create(
        &log.dir,
        base_offset,
        config.index_interval_bytes,
        config.segment_index_bytes,
    )?;
    filter.set_producers(log.last_records());
    for (index, segment) in group.iter().enumerate() {
        let start = segment.base_offset();
        let end = match group.get(index + 1) {
            Some(next) => next.base_offset(),
            None => segment.next_offset()?,
        };
        // Of the whole segment, since its part of the index is written anew.
        let aborted = log.aborted_between(start, end)?;
        filter.start_segment(&aborted, segment.modified_ms()? > legacy_horizon_ms);
        let mut paced = cleaned.bytes();
        let copied = read_segment(segment, 0, settings.read_bytes, pace, |entry, bytes| {
            let filtered = filter
                .filter(&entry.header, bytes, cleaned.buffer())
                .map_err(|bad| bad_batch(log, segment, entry.position, &bad))?;
            if let Some(aborted) = &filtered.aborted {
                cleaned.add_aborted(aborted);
            }
            if let Some(kept) = &filtered.kept {
                cleaned.added(kept)?;
            }
            Ok(true)
        });
        if let Err(CleanError::Storage(StorageError::Overflow { .. })) = copied {
            // Safest is to begin anew with what the split makes of it.
            drop(cleaned);
            log.split_segment(segment, now_ms)?;
            return Err(CleanError::Aborted);
        }
        copied?;
        paced = cleaned.bytes() - paced;
        pace(paced as usize)?;
    }
    cleaned.finish(last.modified_ms()?, true)?;
    if !log.replace_segments(group, &[base_offset], now_ms)? {
        remove_files(&log.dir, base_offset)?;
        return Err(CleanError::Aborted);
    }
    tracing::info!(
        partition = %log.partition(), base_offset, segments = group.len(),
        "swapped in cleaned segment"
    );
    Ok(())
}

/// Calls `work` for each batch from `position` on until it answers false. True if it never did.
fn read_segment(
    segment: &Segment,
    position: u64,
    read_bytes: usize,
    pace: &mut Pace<'_>,
    mut work: impl FnMut(&crate::log::scan::Located, &[u8]) -> Result<bool, CleanError>,
) -> Result<bool, CleanError> {
    let path = || segment.dir.file(segment.base_offset(), LOG_SUFFIX);
    let size = segment.size();
    let mut scanner = Scanner::with_chunk(segment.file(), position.min(size), size, read_bytes);
    let mut unpaced = 0;
    pace(0)?;
    while let Some(entry) = scanner
        .next_entry()
        .map_err(|error| segment.scan_error(error))?
    {
        let bytes = scanner.bytes_of(&entry).context("read", &path())?;
        if !work(&entry, bytes)? {
            return Ok(false);
        }
        unpaced += entry.header.size();
        if unpaced >= read_bytes {
            pace(unpaced)?;
            unpaced = 0;
        }
    }
    if scanner.position() < size {
        let reason = format!(
            "position {}: batch ends behind the file's end",
            scanner.position()
        );
        return Err(StorageError::corrupt(&path(), reason).into());
    }
    pace(unpaced)?;
    Ok(true)
}

fn bad_batch(
    log: &PartitionLog,
    segment: &Segment,
    position: u64,
    bad: &crate::log::cleaner::filter::BadBatch,
) -> StorageError {
    let path = log.dir.file(segment.base_offset(), LOG_SUFFIX);
    StorageError::corrupt(&path, format!("position {position}: {bad}"))
}

#[cfg(test)]
#[path = "clean_test.rs"]
mod tests;
