//! Shell: what keeps a partition log in shape: flushing, retention, truncation, deletion, closing.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use kafka_wire::wire::Uuid;

use crate::log::checkpoint::sync_dir;
use crate::log::config::LogConfig;
use crate::log::error::{IoContext, StorageError, StorageResult};
use crate::log::names::{DELETED_SUFFIX, DirKind, SNAPSHOT_SUFFIX, renamed_dir};
use crate::log::partition_log::{Inner, PartitionLog};
use crate::log::producer_replay::rebuild_producers;
use crate::log::segment::{SEGMENT_SUFFIXES, Segment};

/// Why records cannot be deleted up to an offset.
#[derive(Debug, thiserror::Error)]
pub enum DeleteRecordsError {
    /// The offset is above the high watermark.
    #[error(
        "cannot increment the log start offset to {requested} of partition {partition} since it is larger \
         than the high watermark {high_watermark}"
    )]
    OffsetOutOfRange {
        /// Topic and partition.
        partition: String,
        /// Offset asked for.
        requested: i64,
        /// High watermark.
        high_watermark: i64,
    },
    /// The disk failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl PartitionLog {
    /// Offset below which all records are on disk.
    pub fn recovery_point(&self) -> i64 {
        self.recovery_point.load(Ordering::Acquire)
    }

    /// True if the log starts above its first segment's start, which only a checkpoint remembers.
    pub fn starts_within_segment(&self) -> bool {
        self.log_start_offset() > self.segments.load()[0].base_offset()
    }

    /// When the log was last flushed, in milliseconds since the epoch.
    pub fn last_flush_ms(&self) -> i64 {
        self.last_flush_ms.load(Ordering::Acquire)
    }

    /// Brings all records to disk and moves the recovery point.
    ///
    /// # Errors
    /// [`StorageError`] if syncing fails.
    pub fn flush(&self, now_ms: i64) -> StorageResult<()> {
        self.flush_below(self.log_end_offset(), false, now_ms)
    }

    /// Brings finished segments to disk after a roll; the active one is left to the system.
    ///
    /// # Errors
    /// [`StorageError`] if syncing fails.
    pub fn flush_rolled(&self, now_ms: i64) -> StorageResult<()> {
        let base_offset = self.active_segment().base_offset();
        if self.recovery_point() >= base_offset {
            return Ok(());
        }
        let snapshot = self.dir.file(base_offset, SNAPSHOT_SUFFIX);
        match fs::File::open(&snapshot)
            .and_then(|file| file.sync_all())
            .context("sync", &snapshot)
        {
            Err(error) if !error.is_not_found() => Err(error),
            _ => self.flush_below(base_offset, false, now_ms),
        }
    }

    fn flush_below(&self, offset: i64, even_empty: bool, now_ms: i64) -> StorageResult<()> {
        let from = self.recovery_point();
        if from >= offset && !even_empty {
            return Ok(());
        }
        let segments = self.segments.load_full();
        let mut new_files = false;
        for (index, segment) in segments.iter().enumerate() {
            let next = segments
                .get(index + 1)
                .map_or(i64::MAX, |next| next.base_offset());
            let starts_below =
                segment.base_offset() < offset || (even_empty && segment.base_offset() == offset);
            if next > from && starts_below {
                segment.sync()?;
                new_files |= segment.base_offset() >= from;
            }
        }
        if new_files {
            match sync_dir(&self.dir.path()) {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
        self.recovery_point.fetch_max(offset, Ordering::AcqRel);
        self.last_flush_ms.store(now_ms, Ordering::Release);
        Ok(())
    }

    /// Moves the log's start up to `offset` (DeleteRecords, or a leader's start on a follower). True if it moved.
    /// Whole segments below it go with the next retention pass.
    ///
    /// # Errors
    /// [`DeleteRecordsError::OffsetOutOfRange`] above the high watermark.
    pub fn delete_records_before(&self, offset: i64) -> Result<bool, DeleteRecordsError> {
        let mut inner = self.inner.lock();
        match self.raise_log_start(&mut inner, offset)? {
            Some(moved) => Ok(moved),
            None => Err(DeleteRecordsError::OffsetOutOfRange {
                partition: self.name.clone(),
                requested: offset,
                high_watermark: self.high_watermark(),
            }),
        }
    }

    /// `None` if the offset is above the high watermark.
    fn raise_log_start(&self, inner: &mut Inner, offset: i64) -> StorageResult<Option<bool>> {
        if offset > self.high_watermark() {
            return Ok(None);
        }
        if offset <= self.log_start_offset() {
            return Ok(Some(false));
        }
        self.log_start.store(offset, Ordering::Release);
        self.epochs.write().truncate_from_start(offset)?;
        inner.producers.on_log_start(offset);
        self.publish_first_unstable(&inner.producers);
        tracing::info!(partition = %self.name, offset, "incremented log start offset");
        Ok(Some(true))
    }

    /// Deletes old segments: below the log's start, and, unless the topic is only compacted, above `retention.bytes`
    /// and older than `retention.ms`. Their files are renamed now and removed by [`PartitionLog::remove_doomed_files`].
    /// Answers how many segments went.
    ///
    /// # Errors
    /// [`StorageError`] if a file cannot be inspected or renamed.
    pub fn retention_pass(&self, now_ms: i64) -> StorageResult<usize> {
        let config = self.config.load_full();
        let mut inner = self.inner.lock();
        let mut deleted = self.delete_below_start(&mut inner, &config, now_ms)?;
        if config.delete {
            deleted += self.delete_above_size(&mut inner, &config, now_ms)?;
            deleted += self.delete_expired(&mut inner, &config, now_ms)?;
        }
        Ok(deleted)
    }

    fn delete_below_start(
        &self,
        inner: &mut Inner,
        config: &LogConfig,
        now_ms: i64,
    ) -> StorageResult<usize> {
        let log_start = self.log_start_offset();
        self.delete_while(
            inner,
            config,
            now_ms,
            "log start offset breach",
            |_, next| Ok(next.is_some_and(|next| next.base_offset() <= log_start)),
        )
    }

    fn delete_above_size(
        &self,
        inner: &mut Inner,
        config: &LogConfig,
        now_ms: i64,
    ) -> StorageResult<usize> {
        if config.retention_bytes < 0 {
            return Ok(0);
        }
        let mut excess = self.size_bytes() as i64 - config.retention_bytes;
        self.delete_while(
            inner,
            config,
            now_ms,
            "retention size breach",
            |segment, _| {
                let size = segment.size() as i64;
                let goes = excess >= size && excess > 0;
                if goes {
                    excess -= size;
                }
                Ok(goes)
            },
        )
    }

    fn delete_expired(
        &self,
        inner: &mut Inner,
        config: &LogConfig,
        now_ms: i64,
    ) -> StorageResult<usize> {
        if config.retention_ms < 0 {
            return Ok(0);
        }
        self.delete_while(
            inner,
            config,
            now_ms,
            "retention time breach",
            |segment, _| {
                Ok(now_ms.saturating_sub(segment.largest_timestamp_ms()?) > config.retention_ms)
            },
        )
    }

    /// Deletes segments from the oldest on while `goes` says so. Only segments wholly below the high watermark can go;
    /// if all do, a new one is rolled first, and an empty active segment always stays.
    fn delete_while(
        &self,
        inner: &mut Inner,
        config: &LogConfig,
        now_ms: i64,
        reason: &str,
        mut goes: impl FnMut(&Segment, Option<&Segment>) -> StorageResult<bool>,
    ) -> StorageResult<usize> {
        let segments = self.segments.load_full();
        let high_watermark = self.high_watermark();
        let mut count = 0;
        for (index, segment) in segments.iter().enumerate() {
            let next = segments.get(index + 1).map(|next| &**next);
            let end = next.map_or(self.log_end_offset(), Segment::base_offset);
            let empty_active = next.is_none() && segment.size() == 0;
            if empty_active || high_watermark < end || !goes(segment, next)? {
                break;
            }
            count += 1;
        }
        if count == 0 {
            return Ok(0);
        }
        if count == segments.len() {
            self.roll(inner, config, self.log_end_offset(), now_ms)?;
        }
        let segments = self.segments.load_full();
        let (gone, kept) = segments.split_at(count);
        let Some(first_kept) = kept.first() else {
            return Ok(0); // The active segment could not be replaced; it stays.
        };
        self.raise_log_start(inner, first_kept.base_offset())?;
        self.segments.store(Arc::new(kept.to_vec()));
        for segment in gone {
            tracing::info!(
                partition = %self.name, base_offset = segment.base_offset(), bytes = segment.size(), reason,
                "deleting segment"
            );
            self.doom(inner, segment, true, config, now_ms)?;
        }
        Ok(count)
    }

    /// Renames a segment's files, and its snapshot if that goes too, for deletion after `file.delete.delay.ms`.
    pub(super) fn doom(
        &self,
        inner: &mut Inner,
        segment: &Segment,
        snapshot_goes: bool,
        config: &LogConfig,
        now_ms: i64,
    ) -> StorageResult<()> {
        let due = now_ms.saturating_add(config.file_delete_delay_ms);
        let base_offset = segment.base_offset();
        segment.rename_files(DELETED_SUFFIX)?;
        for suffix in SEGMENT_SUFFIXES {
            inner
                .doomed_files
                .push((format!("{base_offset:020}{suffix}{DELETED_SUFFIX}"), due));
        }
        if snapshot_goes && inner.snapshots.mark_deleted(base_offset)? {
            let name = format!("{base_offset:020}{SNAPSHOT_SUFFIX}{DELETED_SUFFIX}");
            inner.doomed_files.push((name, due));
        }
        Ok(())
    }

    /// Removes the files whose time has come.
    ///
    /// # Errors
    /// [`StorageError`] if a file cannot be removed.
    pub fn remove_doomed_files(&self, now_ms: i64) -> StorageResult<()> {
        let due: Vec<String> = {
            let mut inner = self.inner.lock();
            let (due, later) = std::mem::take(&mut inner.doomed_files)
                .into_iter()
                .partition(|f| f.1 <= now_ms);
            inner.doomed_files = later;
            let due: Vec<(String, i64)> = due;
            due.into_iter().map(|(name, _)| name).collect()
        };
        let dir = self.dir.path();
        for name in due {
            let path = dir.join(name);
            match fs::remove_file(&path).context("delete", &path) {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Drops all records at and above `offset`, as a follower that must follow another leader. True if any were there.
    ///
    /// # Errors
    /// [`StorageError`] if a file cannot be read, cut or renamed.
    pub fn truncate_to(&self, offset: i64, now_ms: i64) -> StorageResult<bool> {
        let config = self.config.load_full();
        let mut inner = self.inner.lock();
        if offset >= self.log_end_offset() {
            // An epoch may have been noted whose records never came.
            self.epochs
                .write()
                .truncate_from_end(self.log_end_offset())?;
            return Ok(false);
        }
        tracing::info!(partition = %self.name, offset, "truncating");
        let segments = self.segments.load_full();
        if segments[0].base_offset() > offset {
            self.restart_at(&mut inner, offset, &config, now_ms)?;
            return Ok(true);
        }
        let keep = segments.partition_point(|segment| segment.base_offset() <= offset);
        self.segments.store(Arc::new(segments[..keep].to_vec()));
        self.log_end.fetch_min(offset, Ordering::AcqRel);
        self.high_watermark.fetch_min(offset, Ordering::AcqRel);
        for segment in &segments[keep..] {
            self.doom(&mut inner, segment, true, &config, now_ms)?;
        }
        let active = &segments[keep - 1];
        active.truncate_to(offset, now_ms)?;
        active.activate(&config, offset)?;
        self.epochs.write().truncate_from_end(offset)?;
        self.log_start.fetch_min(offset, Ordering::AcqRel);
        self.recovery_point.fetch_min(offset, Ordering::AcqRel);
        let kept = self.segments.load_full();
        let Inner {
            producers,
            snapshots,
            ..
        } = &mut *inner;
        let log_start = self.log_start_offset();
        rebuild_producers(
            producers,
            snapshots,
            &kept,
            log_start,
            offset,
            now_ms,
            self.producer_expiration_ms,
        )?;
        // Read again, the ends of transactions count as new; but those below the high watermark are replicated.
        producers.on_high_watermark(self.high_watermark());
        self.publish_first_unstable(producers);
        Ok(true)
    }

    /// Drops all records; the next one gets `offset`.
    fn restart_at(
        &self,
        inner: &mut Inner,
        offset: i64,
        config: &LogConfig,
        now_ms: i64,
    ) -> StorageResult<()> {
        let old = self.segments.load_full();
        for segment in old.iter() {
            self.doom(inner, segment, true, config, now_ms)?;
        }
        let segment = self.new_segment(config, offset, now_ms)?;
        self.segments.store(Arc::new(vec![segment]));
        self.log_end.store(offset, Ordering::Release);
        self.log_start.store(offset, Ordering::Release);
        self.high_watermark.store(offset, Ordering::Release);
        self.recovery_point.fetch_min(offset, Ordering::AcqRel);
        self.epochs.write().clear()?;
        inner.snapshots.delete_where(|_| true)?;
        inner.producers = crate::log::producer_state::ProducerStates::new(offset);
        self.publish_first_unstable(&inner.producers);
        Ok(())
    }

    /// Renames the partition's directory, for deletion or otherwise; `unique` is 32 hexadecimal digits.
    pub(super) fn rename_dir(&self, kind: DirKind, unique: &str) -> StorageResult<()> {
        let old = self.dir.path();
        let name = match kind {
            DirKind::Current => self.name.clone(),
            kind => renamed_dir(&self.partition, kind, unique),
        };
        let new = old.with_file_name(name);
        fs::rename(&**old, &new).context("rename", &old)?;
        sync_dir(new.parent().unwrap_or(Path::new(".")))?;
        self.dir.set_path(new);
        Ok(())
    }

    /// Flushes, leaves a producer snapshot and trims the files, as a clean stop must. Further calls do nothing.
    ///
    /// # Errors
    /// [`StorageError`] if anything cannot be written.
    pub fn close(&self, now_ms: i64) -> StorageResult<()> {
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let mut inner = self.inner.lock();
        let active = self.active_segment();
        active.deactivate()?;
        // Even an empty segment's file must be durable, once.
        let new_files = self.new_files.load(Ordering::Acquire);
        self.flush_below(self.log_end_offset(), new_files, now_ms)?;
        let Inner {
            producers,
            snapshots,
            ..
        } = &mut *inner;
        snapshots.take(producers, self.log_start_offset(), true)?;
        self.epochs.write().settle()
    }

    /// Ties the log to a topic's id, or checks that it is tied to this one.
    ///
    /// # Errors
    /// The id in the log's `partition.metadata`, if it is another, inside `Ok`.
    pub fn ensure_topic_id(&self, topic_id: Uuid) -> StorageResult<Result<(), Uuid>> {
        if topic_id.is_zero() {
            return Ok(Ok(()));
        }
        self.assign_topic_id(topic_id)?;
        Ok(match self.topic_id() {
            Some(known) if known != topic_id => Err(known),
            _ => Ok(()),
        })
    }
}
