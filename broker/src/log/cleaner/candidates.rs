//! Pure: which logs need cleaning, which part of them, and which segments become one (`LogCleanerManager.scala`, `LogCleaner.scala`).

use std::ops::Range;

/// What counts of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentFacts {
    /// Its base offset.
    pub base_offset: i64,
    /// Bytes of records.
    pub bytes: u64,
    /// Its largest timestamp, or when it was last written, in milliseconds. Needed with `min.compaction.lag.ms` only.
    pub largest_timestamp_ms: i64,
    /// Largest timestamp of its first batch, -1 if unknown. Needed with `max.compaction.lag.ms` only.
    pub first_timestamp_ms: i64,
}

/// What counts of a log.
#[derive(Debug, Clone, PartialEq)]
pub struct LogFacts {
    /// All segments; the last one is appended to.
    pub segments: Vec<SegmentFacts>,
    /// First offset that may be read.
    pub log_start_offset: i64,
    /// Offset that the next record gets.
    pub log_end_offset: i64,
    /// Offset below which no transaction is open.
    pub last_stable_offset: i64,
    /// `min.compaction.lag.ms`.
    pub min_lag_ms: i64,
    /// `max.compaction.lag.ms`.
    pub max_lag_ms: i64,
    /// `min.cleanable.dirty.ratio`.
    pub min_dirty_ratio: f64,
}

/// The part of a log that may be cleaned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// First offset that is not clean.
    pub first_dirty: i64,
    /// Base offset of the first segment that must be left alone.
    pub first_uncleanable: i64,
    /// Bytes before the first dirty offset.
    pub clean_bytes: u64,
    /// Bytes that may be cleaned.
    pub cleanable_bytes: u64,
    /// By how much the oldest dirty record is older than `max.compaction.lag.ms`, in milliseconds.
    pub delay_ms: i64,
    /// True if the checkpoint was of no use: the first dirty offset is the log's start, and to be noted.
    pub reset: bool,
}

impl Candidate {
    /// Part of the log's bytes that is dirty.
    pub fn dirty_ratio(&self) -> f64 {
        self.cleanable_bytes as f64 / (self.clean_bytes + self.cleanable_bytes) as f64
    }

    /// True if it is worth while, or overdue.
    pub fn is_due(&self, min_dirty_ratio: f64) -> bool {
        self.cleanable_bytes > 0 && (self.delay_ms > 0 || self.dirty_ratio() > min_dirty_ratio)
    }
}

impl LogFacts {
    /// The segments that a range of offsets touches.
    fn touched(&self, range: Range<i64>) -> &[SegmentFacts] {
        &self.segments[touched(&self.segments, |segment| segment.base_offset, range)]
    }

    fn active_base(&self) -> i64 {
        self.segments.last().map_or(0, |active| active.base_offset)
    }

    /// Those from `offset` on that are not appended to any more.
    fn closed_from(&self, offset: i64) -> &[SegmentFacts] {
        self.touched(offset..self.active_base())
    }

    /// What may be cleaned, if the log is clean below `checkpoint`.
    pub fn candidate(&self, checkpoint: Option<i64>, now_ms: i64) -> Candidate {
        let start = self.log_start_offset;
        let (first_dirty, reset) = match checkpoint {
            None => (start, false),
            Some(offset) if offset < start || offset > self.log_end_offset => (start, true),
            Some(offset) => (offset, false),
        };
        let fresh = (self.min_lag_ms > 0).then(|| {
            let horizon = now_ms.saturating_sub(self.min_lag_ms);
            let mut dirty = self.closed_from(first_dirty).iter();
            dirty.find(|segment| segment.largest_timestamp_ms > horizon)
        });
        let limit = self
            .last_stable_offset
            .min(self.active_base())
            .min(fresh.flatten().map_or(i64::MAX, |s| s.base_offset))
            .max(first_dirty);
        let first_uncleanable = self
            .closed_from(limit)
            .first()
            .map_or(self.active_base(), |segment| segment.base_offset);
        let bytes = |segments: &[SegmentFacts]| segments.iter().map(|s| s.bytes).sum();
        Candidate {
            first_dirty,
            first_uncleanable,
            clean_bytes: bytes(self.touched(i64::MIN..first_dirty)),
            cleanable_bytes: bytes(
                self.touched(first_dirty.min(first_uncleanable)..first_uncleanable),
            ),
            delay_ms: self.delay_ms(first_dirty, now_ms),
            reset,
        }
    }

    fn delay_ms(&self, first_dirty: i64, now_ms: i64) -> i64 {
        let oldest = self
            .closed_from(first_dirty)
            .iter()
            .map(|segment| segment.first_timestamp_ms)
            .filter(|timestamp| *timestamp > 0)
            .min();
        let clean_until = now_ms.saturating_sub(self.max_lag_ms.max(0));
        oldest.map_or(0, |oldest| clean_until.saturating_sub(oldest).max(0))
    }
}

/// Indexes of the segments that a range of offsets touches: from the one that holds its start on.
pub fn touched<T>(
    segments: &[T],
    base_offset: impl Fn(&T) -> i64,
    range: Range<i64>,
) -> Range<usize> {
    if range.start >= range.end {
        return 0..0;
    }
    let start = segments
        .partition_point(|segment| base_offset(segment) <= range.start)
        .saturating_sub(1);
    let end = segments.partition_point(|segment| base_offset(segment) < range.end);
    start..end.max(start)
}

/// Sizes of a segment to be cleaned, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentSizes {
    /// Its base offset.
    pub base_offset: i64,
    /// Of its records.
    pub log: u64,
    /// Of its offset index.
    pub index: u64,
    /// Of its time index.
    pub time_index: u64,
}

/// Groups of neighbours that become one segment each: as many as fit `segment.bytes`, `segment.index.bytes` and the
/// 32 bits of relative offsets. Offsets from `first_uncleanable` on are in none of them.
pub fn groups(
    segments: &[SegmentSizes],
    max_bytes: u64,
    max_index_bytes: u64,
    first_uncleanable: i64,
) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let mut start = 0;
    while start < segments.len() {
        let mut end = start + 1;
        let mut sum = segments[start];
        while let Some(next) = segments.get(end) {
            let last_offset = segments
                .get(end + 1)
                .map_or(first_uncleanable, |after| after.base_offset)
                - 1;
            sum.log += next.log;
            sum.index += next.index;
            sum.time_index += next.time_index;
            let fits = sum.log <= max_bytes
                && sum.index <= max_index_bytes
                && sum.time_index <= max_index_bytes
                && (next.log == 0 || last_offset - sum.base_offset <= i64::from(i32::MAX));
            if !fits {
                break;
            }
            end += 1;
        }
        groups.push(start..end);
        start = end;
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> LogFacts {
        let segment = |base_offset, largest_timestamp_ms| SegmentFacts {
            base_offset,
            bytes: 100,
            largest_timestamp_ms,
            first_timestamp_ms: largest_timestamp_ms - 5,
        };
        LogFacts {
            segments: vec![
                segment(0, 1000),
                segment(10, 2000),
                segment(20, 3000),
                segment(30, 4000),
            ],
            log_start_offset: 0,
            log_end_offset: 40,
            last_stable_offset: 40,
            min_lag_ms: 0,
            max_lag_ms: i64::MAX,
            min_dirty_ratio: 0.5,
        }
    }

    #[test]
    fn the_cleanable_range() {
        let found = facts().candidate(None, 5000);
        assert_eq!((found.first_dirty, found.first_uncleanable), (0, 30));
        assert_eq!(
            (found.clean_bytes, found.cleanable_bytes, found.delay_ms),
            (0, 300, 0)
        );
        // The segment that holds the first dirty offset counts on both sides.
        let found = facts().candidate(Some(15), 5000);
        assert_eq!((found.clean_bytes, found.cleanable_bytes), (200, 200));
        assert!(!found.is_due(0.5) && found.is_due(0.4));
        let open_transaction = LogFacts {
            last_stable_offset: 25,
            ..facts()
        };
        assert_eq!(open_transaction.candidate(None, 5000).first_uncleanable, 20);
        let lag = LogFacts {
            min_lag_ms: 3500,
            ..facts()
        };
        assert_eq!(lag.candidate(None, 5000).first_uncleanable, 10);
        let overdue = LogFacts {
            max_lag_ms: 1000,
            ..facts()
        }
        .candidate(Some(10), 5000);
        assert_eq!((overdue.delay_ms, overdue.is_due(1.0)), (2005, true));
        for useless in [-1, 41] {
            let found = LogFacts {
                log_start_offset: 5,
                ..facts()
            }
            .candidate(Some(useless), 5000);
            assert_eq!((found.first_dirty, found.reset), (5, true));
        }
        // Clean up to the active segment: nothing to do.
        let found = facts().candidate(Some(30), 5000);
        assert_eq!((found.clean_bytes, found.cleanable_bytes), (300, 0));
    }

    #[test]
    fn segments_are_joined_while_they_fit() {
        let sizes = |base_offset, log| SegmentSizes {
            base_offset,
            log,
            index: 8,
            time_index: 12,
        };
        let far = i64::from(i32::MAX) + 5;
        let all = [
            sizes(0, 40),
            sizes(10, 40),
            sizes(20, 40),
            sizes(30, 90),
            sizes(far, 10),
            sizes(far + 10, 10),
        ];
        assert_eq!(groups(&all, 100, 1000, far + 20), [0..2, 2..3, 3..5, 5..6]);
        assert_eq!(groups(&all, 1000, 1000, far + 20), [0..3, 3..6]);
        assert_eq!(groups(&all, 1000, 24, far + 20), [0..2, 2..4, 4..6]);
    }
}
