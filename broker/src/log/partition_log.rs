//! Shell: the log of one partition: its state, appends to it, and rolling to a new segment (`UnifiedLog.scala`, `LocalLog.scala`).
//!
//! One mutex orders appends, rolls, truncation and deletion; it is held for a write to the page cache. Readers take a snapshot of the
//! segment list and atomics and never wait for it. See `partition_read.rs` for reads and `partition_care.rs` for the rest.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use arc_swap::ArcSwap;
use kafka_wire::wire::Uuid;
use parking_lot::{Mutex, RwLock};

use crate::log::append::AppendError;
use crate::log::config::LogConfig;
use crate::log::entry::SegmentAppend;
use crate::log::error::{IoContext, StorageResult};
use crate::log::leader_epochs::{EpochEnd, EpochEntry, LeaderEpochs};
use crate::log::names::TopicPartition;
use crate::log::partition_dir::PartitionDir;
use crate::log::partition_metadata;
use crate::log::producer_state::{ProducerChanges, ProducerStates};
use crate::log::segment::{SEGMENT_SUFFIXES, Segment};
use crate::log::snapshots::Snapshots;
use crate::log::txn_index::AbortedTxn;
use crate::log::verification::Verifications;

/// Value of an atomic offset that stands for "none".
pub(super) const NO_OFFSET: i64 = i64::MAX;

/// The log of one partition.
#[derive(Debug)]
pub struct PartitionLog {
    pub(super) partition: TopicPartition,
    pub(super) name: String,
    pub(super) dir: Arc<PartitionDir>,
    pub(super) config: ArcSwap<LogConfig>,
    pub(super) topic_id: RwLock<Option<Uuid>>,
    /// In rising order of base offset; never empty.
    pub(super) segments: ArcSwap<Vec<Arc<Segment>>>,
    pub(super) epochs: RwLock<LeaderEpochs>,
    pub(super) log_start: AtomicI64,
    pub(super) log_end: AtomicI64,
    pub(super) high_watermark: AtomicI64,
    /// First offset of the oldest open transaction, or [`NO_OFFSET`].
    pub(super) first_unstable: AtomicI64,
    pub(super) recovery_point: AtomicI64,
    pub(super) last_flush_ms: AtomicI64,
    pub(super) closed: AtomicBool,
    /// True if segment files may have been made that no sync has made durable.
    pub(super) new_files: AtomicBool,
    pub(super) producer_expiration_ms: i64,
    pub(super) inner: Mutex<Inner>,
}

/// What only the holder of the append lock may touch.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) producers: ProducerStates,
    pub(super) verifications: Verifications,
    pub(super) snapshots: Snapshots,
    /// Files to be removed, and when (milliseconds since the epoch).
    pub(super) doomed_files: Vec<(String, i64)>,
}

/// A log as loading found it; see `recovery.rs`.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) segments: Vec<Arc<Segment>>,
    pub(super) epochs: LeaderEpochs,
    pub(super) producers: ProducerStates,
    pub(super) snapshots: Snapshots,
    pub(super) log_start: i64,
    pub(super) log_end: i64,
    pub(super) recovery_point: i64,
    pub(super) topic_id: Option<Uuid>,
    pub(super) doomed_files: Vec<(String, i64)>,
    /// True if files were made or rewritten.
    pub(super) new_files: bool,
}

impl PartitionLog {
    pub(super) fn from_loaded(
        partition: TopicPartition,
        dir: Arc<PartitionDir>,
        config: Arc<LogConfig>,
        producer_expiration_ms: i64,
        now_ms: i64,
        loaded: Loaded,
    ) -> Self {
        let first_unstable = loaded
            .producers
            .first_unstable_offset()
            .map_or(NO_OFFSET, |first| first.max(loaded.log_start));
        PartitionLog {
            name: partition.to_string(),
            partition,
            dir,
            config: ArcSwap::new(config),
            topic_id: RwLock::new(loaded.topic_id),
            segments: ArcSwap::from_pointee(loaded.segments),
            epochs: RwLock::new(loaded.epochs),
            log_start: AtomicI64::new(loaded.log_start),
            log_end: AtomicI64::new(loaded.log_end),
            high_watermark: AtomicI64::new(loaded.log_start),
            first_unstable: AtomicI64::new(first_unstable),
            recovery_point: AtomicI64::new(loaded.recovery_point),
            last_flush_ms: AtomicI64::new(now_ms),
            closed: AtomicBool::new(false),
            new_files: AtomicBool::new(loaded.new_files),
            producer_expiration_ms,
            inner: Mutex::new(Inner {
                producers: loaded.producers,
                verifications: Verifications::default(),
                snapshots: loaded.snapshots,
                doomed_files: loaded.doomed_files,
            }),
        }
    }

    /// Topic and partition.
    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// Directory of the partition; changes when the log is deleted.
    pub fn dir(&self) -> Arc<std::path::PathBuf> {
        self.dir.path()
    }

    /// The log directory in which it lies.
    pub fn log_dir(&self) -> std::path::PathBuf {
        self.dir.parent()
    }

    /// Configuration in force.
    pub fn config(&self) -> Arc<LogConfig> {
        self.config.load_full()
    }

    /// Replaces the configuration; it counts from the next append or pass on.
    pub fn update_config(&self, config: Arc<LogConfig>) {
        self.config.store(config);
    }

    /// Id of the topic, if known.
    pub fn topic_id(&self) -> Option<Uuid> {
        *self.topic_id.read()
    }

    /// Ties the log to a topic's id and writes `partition.metadata`. Does nothing if an id is set already.
    ///
    /// # Errors
    /// [`crate::log::error::StorageError`] if the file cannot be written.
    pub fn assign_topic_id(&self, topic_id: Uuid) -> StorageResult<()> {
        let mut current = self.topic_id.write();
        if current.is_none() && !topic_id.is_zero() {
            partition_metadata::write(&self.dir.path(), topic_id)?;
            *current = Some(topic_id);
        }
        Ok(())
    }

    /// First offset that may be read.
    pub fn log_start_offset(&self) -> i64 {
        self.log_start.load(Ordering::Acquire)
    }

    /// Offset that the next record gets.
    pub fn log_end_offset(&self) -> i64 {
        self.log_end.load(Ordering::Acquire)
    }

    /// Offset below which all in-sync replicas have the records.
    pub fn high_watermark(&self) -> i64 {
        self.high_watermark.load(Ordering::Acquire)
    }

    /// Sets the high watermark, kept between log start and log end. Answers the value set.
    pub fn set_high_watermark(&self, offset: i64) -> i64 {
        let bounded = offset
            .min(self.log_end_offset())
            .max(self.log_start_offset());
        self.high_watermark.store(bounded, Ordering::Release);
        self.settle_transactions(bounded);
        bounded
    }

    /// Raises the high watermark; `None` if it is there already. Never lowers it.
    pub fn raise_high_watermark(&self, offset: i64) -> Option<i64> {
        let bounded = offset.min(self.log_end_offset());
        let old = self.high_watermark.fetch_max(bounded, Ordering::AcqRel);
        if bounded <= old {
            return None;
        }
        self.settle_transactions(bounded);
        Some(bounded)
    }

    /// Transactions whose marker is below the high watermark are settled, which may move the last stable offset.
    fn settle_transactions(&self, high_watermark: i64) {
        if self.first_unstable.load(Ordering::Acquire) == NO_OFFSET {
            return;
        }
        let mut inner = self.inner.lock();
        if inner.producers.on_high_watermark(high_watermark) {
            self.publish_first_unstable(&inner.producers);
        }
    }

    pub(super) fn publish_first_unstable(&self, producers: &ProducerStates) {
        let first = producers.first_unstable_offset();
        let first = first.map_or(NO_OFFSET, |first| first.max(self.log_start_offset()));
        self.first_unstable.store(first, Ordering::Release);
    }

    /// Offset below which no transaction is open.
    pub fn last_stable_offset(&self) -> i64 {
        self.high_watermark()
            .min(self.first_unstable.load(Ordering::Acquire))
    }

    /// Bytes of records in all segments.
    pub fn size_bytes(&self) -> u64 {
        self.segments
            .load()
            .iter()
            .map(|segment| segment.size())
            .sum()
    }

    /// Number of segments.
    pub fn segment_count(&self) -> usize {
        self.segments.load().len()
    }

    /// Newest leader epoch with records, or noted by [`PartitionLog::assign_epoch_start_offset`].
    pub fn latest_epoch(&self) -> Option<i32> {
        self.epochs.read().latest().map(|entry| entry.epoch)
    }

    /// Where a leader epoch ends here; `None` if it is unknown and newer than all that are known.
    pub fn end_offset_for_epoch(&self, epoch: i32) -> Option<EpochEnd> {
        self.epochs
            .read()
            .end_offset_for(epoch, self.log_end_offset())
    }

    /// Notes that `epoch` starts at `start_offset`.
    ///
    /// # Errors
    /// [`crate::log::error::StorageError`] if the checkpoint cannot be written.
    pub fn assign_epoch_start_offset(&self, epoch: i32, start_offset: i64) -> StorageResult<()> {
        let epochs = self.epochs.read();
        let is_known = |last: EpochEntry| last.epoch == epoch && last.start_offset <= start_offset;
        // The common case of each append: nothing new.
        if epochs.latest().is_some_and(is_known) && !epochs.is_unsettled() {
            return Ok(());
        }
        drop(epochs);
        self.epochs.write().assign(epoch, start_offset).map(|_| ())
    }

    /// The segment for an append of `size` bytes: the active one, or a new one if that is due.
    pub(super) fn segment_for(
        &self,
        inner: &mut Inner,
        config: &LogConfig,
        size: usize,
        append: &SegmentAppend,
        now_ms: i64,
    ) -> StorageResult<Arc<Segment>> {
        let active = self.active_segment();
        match active.should_roll(config, size, append, now_ms)? {
            true => self.roll(inner, config, append.base_offset, now_ms),
            false => Ok(active),
        }
    }

    /// Makes the state of the producers that of a log that ends at `end`.
    pub(super) fn settle(
        &self,
        inner: &mut Inner,
        segment: &Segment,
        changes: ProducerChanges,
        end: i64,
    ) -> Result<(), AppendError> {
        let transactions = !changes.is_stable();
        for (txn, last_stable_offset) in inner.producers.apply(changes, end) {
            if txn.aborted {
                segment.txn_index().append(AbortedTxn {
                    producer_id: txn.producer_id,
                    first_offset: txn.first_offset,
                    last_offset: txn.last_offset,
                    last_stable_offset,
                })?;
            }
        }
        if transactions {
            self.publish_first_unstable(&inner.producers);
        }
        Ok(())
    }

    pub(super) fn active_segment(&self) -> Arc<Segment> {
        let segments = self.segments.load();
        Arc::clone(&segments[segments.len() - 1])
    }

    /// Starts a new segment at `base_offset` (at least the log's end) and leaves a producer snapshot there.
    pub(super) fn roll(
        &self,
        inner: &mut Inner,
        config: &LogConfig,
        base_offset: i64,
        now_ms: i64,
    ) -> StorageResult<Arc<Segment>> {
        let base_offset = base_offset.max(self.log_end_offset());
        let active = self.active_segment();
        if active.base_offset() == base_offset {
            // An empty segment whose indexes are too small for even one entry: nothing to gain from another.
            return Ok(active);
        }
        for suffix in SEGMENT_SUFFIXES {
            let path = self.dir.file(base_offset, suffix);
            match fs::remove_file(&path).context("delete", &path) {
                Ok(()) => {
                    tracing::warn!(path = %path.display(), "deleted a file in the way of a new segment")
                }
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        active.deactivate()?;
        let segment = self.new_segment(config, base_offset, now_ms)?;
        let mut segments = Vec::clone(&self.segments.load());
        segments.push(Arc::clone(&segment));
        self.segments.store(Arc::new(segments));
        inner.producers.set_end_offset(base_offset);
        inner
            .snapshots
            .take(&inner.producers, self.log_start_offset(), false)?;
        tracing::info!(partition = %self.name, base_offset, "rolled new log segment");
        Ok(segment)
    }

    pub(super) fn new_segment(
        &self,
        config: &LogConfig,
        base_offset: i64,
        now_ms: i64,
    ) -> StorageResult<Arc<Segment>> {
        let jitter = segment_jitter(config);
        let segment = Segment::open(&self.dir, base_offset, now_ms, jitter)?;
        segment.preallocate(config)?;
        segment.activate(config, base_offset)?;
        self.new_files.store(true, Ordering::Release);
        Ok(Arc::new(segment))
    }

    /// `flush.messages` counts here; `flush.ms` is looked at by the timer.
    pub(super) fn flush_if_due(&self, config: &LogConfig, now_ms: i64) -> StorageResult<()> {
        let unflushed = self.log_end_offset() - self.recovery_point.load(Ordering::Acquire);
        if unflushed >= config.flush_messages {
            self.flush(now_ms)
        } else {
            Ok(())
        }
    }
}

/// A random part of `segment.jitter.ms`, so that the segments of many partitions do not all roll at once.
pub(super) fn segment_jitter(config: &LogConfig) -> i64 {
    match config.segment_jitter_ms.min(config.segment_ms) {
        0 => 0,
        limit => rand::random_range(0..limit),
    }
}

#[cfg(test)]
#[path = "partition_log_test.rs"]
mod tests;
