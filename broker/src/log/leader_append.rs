//! Shell: appends to a log as its leader: producers' batches get offsets and are written, those that come together in one call.
//!
//! What a write costs depends on its size: the system takes pages of a file one by one for small writes, many at once for large
//! ones. So batches of several requests that were received together are numbered one by one and written by one call.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use kafka_wire::records::batch::{BATCH_HEADER_LEN, BatchHeader, NO_TIMESTAMP, TimestampType};
use kafka_wire::records::control::EndTransactionMarker;

use crate::log::append::{AppendError, AppendInfo, AppendOptions};
use crate::log::codec::read_marker;
use crate::log::config::LogConfig;
use crate::log::entry::SegmentAppend;
use crate::log::error::{StorageError, StorageResult};
use crate::log::partition_log::{Inner, PartitionLog};
use crate::log::producer_state::{ProducerBatch, ProducerChanges};
use crate::log::segment::Segment;
use crate::log::validator::{ValidBatch, validate};
use crate::log::verification::Verification;

/// One of the batches that are appended together.
#[derive(Debug, Clone, Copy)]
pub struct LeaderBatch<'a> {
    /// As the producer sent it.
    pub records: &'a Bytes,
    /// What a batch that begins a transaction shows.
    pub verification: Verification,
}

/// What may be appended as far as can be told without the log.
struct Checked {
    valid: ValidBatch,
    marker: Option<EndTransactionMarker>,
}

/// A batch that has its offsets, but is not written yet.
struct Staged {
    header: [u8; BATCH_HEADER_LEN],
    payload: Bytes,
    append: SegmentAppend,
    /// Whose answer this is.
    place: usize,
}

impl PartitionLog {
    /// Appends one batch as the partition's leader: checks it, assigns offsets and epoch, writes.
    ///
    /// # Errors
    /// [`AppendError`] with the code for the producer; nothing is written then.
    pub fn append_as_leader(
        &self,
        records: &Bytes,
        leader_epoch: i32,
        options: &AppendOptions,
    ) -> Result<AppendInfo, AppendError> {
        let batch = LeaderBatch {
            records,
            verification: Verification::Off,
        };
        let mut results = self.append_each(&[batch], leader_epoch, options);
        results
            .pop()
            .unwrap_or_else(|| Ok(AppendInfo::nothing(self.log_start_offset())))
    }

    /// As [`PartitionLog::append_as_leader`] for several batches in order: the answers are the same as if each came alone,
    /// but if the disk fails they may all fail. A batch that begins a transaction must show that it was verified.
    pub fn append_each(
        &self,
        batches: &[LeaderBatch<'_>],
        leader_epoch: i32,
        options: &AppendOptions,
    ) -> Vec<Result<AppendInfo, AppendError>> {
        let config = self.config.load();
        let checked: Vec<_> = batches
            .iter()
            .map(|batch| self.checked(batch.records, &config, options))
            .collect();
        let mut run = Run {
            log: self,
            config: &config,
            leader_epoch,
            options,
            staged: Vec::with_capacity(batches.len()),
            staged_bytes: 0,
            results: Vec::with_capacity(batches.len()),
        };
        {
            let mut inner = self.inner.lock();
            for (batch, checked) in batches.iter().zip(checked) {
                let result = match checked {
                    Ok(Some(checked)) => run.add(&mut inner, checked, batch.verification),
                    Ok(None) => Ok(AppendInfo::nothing(self.log_start_offset())),
                    Err(error) => Err(error),
                };
                run.results.push(result);
            }
            run.write();
        }
        let mut results = run.results;
        if let Err(error) = self.flush_if_due(&config, options.now_ms) {
            fail(&mut results, 0, &error);
        }
        results
    }

    fn checked(
        &self,
        records: &Bytes,
        config: &LogConfig,
        options: &AppendOptions,
    ) -> Result<Option<Checked>, AppendError> {
        let Some(valid) = validate(records, config, options, &self.name)? else {
            return Ok(None);
        };
        let (size, limit) = (valid.size_bytes(), config.segment_bytes as usize);
        if size > limit {
            return Err(AppendError::RecordListTooLarge {
                partition: self.name.clone(),
                size,
                limit,
            });
        }
        let marker = match valid.header.is_control() {
            true => read_marker(records)?,
            false => None,
        };
        Ok(Some(Checked { valid, marker }))
    }

    fn leader_info(&self, header: &BatchHeader, bytes: usize) -> AppendInfo {
        AppendInfo {
            first_offset: header.base_offset,
            last_offset: header.last_offset(),
            max_timestamp: header.max_timestamp,
            log_append_time_ms: match header.timestamp_type() {
                TimestampType::LogAppendTime => header.max_timestamp,
                TimestampType::CreateTime => NO_TIMESTAMP,
            },
            log_start_offset: self.log_start_offset(),
            last_leader_epoch: header.partition_leader_epoch,
            duplicate: false,
            records: i64::from(header.last_offset_delta) + 1,
            bytes,
        }
    }
}

/// Batches on their way into one log, whose lock is held.
struct Run<'a> {
    log: &'a PartitionLog,
    config: &'a LogConfig,
    leader_epoch: i32,
    options: &'a AppendOptions,
    /// In order, all for the active segment.
    staged: Vec<Staged>,
    staged_bytes: usize,
    /// Of the batches so far; what is staged counts as appended.
    results: Vec<Result<AppendInfo, AppendError>>,
}

impl Run<'_> {
    fn add(
        &mut self,
        inner: &mut Inner,
        checked: Checked,
        verification: Verification,
    ) -> Result<AppendInfo, AppendError> {
        let Checked { valid, marker } = checked;
        let size = valid.size_bytes();
        let ValidBatch {
            mut header,
            payload,
            ..
        } = valid;
        header.partition_leader_epoch = self.leader_epoch;
        header.base_offset = self.next_offset();
        if !self.staged.is_empty() && self.must_write_first(&header, size)? {
            self.write();
            // If that failed the offsets are free again.
            header.base_offset = self.next_offset();
        }
        self.log
            .assign_epoch_start_offset(self.leader_epoch, header.base_offset)?;
        let append = leader_append(&header, size);
        // Even for a batch that its producer's state then refuses, as Apache's broker does: the files stay alike.
        let segment = match self.staged.is_empty() {
            true => {
                let now_ms = self.options.now_ms;
                self.log
                    .segment_for(inner, self.config, size, &append, now_ms)?
            }
            false => self.log.active_segment(),
        };
        let mut changes = ProducerChanges::default();
        if header.has_producer_id() {
            let open = inner.verifications.get(header.producer_id);
            let batch = ProducerBatch { header, marker };
            let origin = self.options.origin;
            changes = inner
                .producers
                .check_append(&batch, origin, verification, open)?;
        }
        if let Some(first) = changes.duplicate() {
            return Ok(AppendInfo {
                first_offset: first.first_offset(),
                last_offset: first.last_offset,
                max_timestamp: first.timestamp,
                log_append_time_ms: first.timestamp,
                duplicate: true,
                ..AppendInfo::nothing(self.log.log_start_offset())
            });
        }
        self.staged.push(Staged {
            header: header.encode(),
            payload,
            append,
            place: self.results.len(),
        });
        self.staged_bytes += size;
        // What ends a transaction is written at once: its entry in the transaction index tells of records that are there.
        // For the rest the next batch must know of this one; a write that fails puts the log out of service anyway.
        if header.is_control() {
            self.write_or_fail()?;
        }
        self.log
            .settle(inner, &segment, changes, append.last_offset + 1)?;
        if header.is_transactional() {
            inner.verifications.settle(header.producer_id);
        }
        Ok(self.log.leader_info(&header, size))
    }

    fn next_offset(&self) -> i64 {
        match self.staged.last() {
            Some(staged) => staged.append.last_offset + 1,
            None => self.log.log_end_offset(),
        }
    }

    /// Whether the segment must have what is staged before it can say where the next batch belongs.
    fn must_write_first(&self, header: &BatchHeader, size: usize) -> StorageResult<bool> {
        let (active, append) = (self.log.active_segment(), leader_append(header, size));
        if active.size() == 0 || !active.has_index_room(self.staged.len()) {
            return Ok(true);
        }
        let bytes = self.staged_bytes + size;
        active.should_roll(self.config, bytes, &append, self.options.now_ms)
    }

    /// Writes what is staged and publishes the new end. If that fails, none of it counts as appended.
    fn write(&mut self) {
        // Whoever is affected has the error as its answer.
        let _ = self.write_or_fail();
    }

    fn write_or_fail(&mut self) -> StorageResult<()> {
        let (Some(first), end) = (self.staged.first(), self.next_offset()) else {
            return Ok(());
        };
        let first = first.place;
        let parts: Vec<&[u8]> = self
            .staged
            .iter()
            .flat_map(|staged| [&staged.header[..], &staged.payload[..]])
            .collect();
        let appends: Vec<SegmentAppend> = self.staged.iter().map(|staged| staged.append).collect();
        let segment: Arc<Segment> = self.log.active_segment();
        let written = segment.append(&parts, &appends);
        self.staged.clear();
        self.staged_bytes = 0;
        match written {
            Ok(()) => {
                self.log.log_end.store(end, Ordering::Release);
                Ok(())
            }
            Err(error) => {
                fail(&mut self.results, first, &error);
                Err(error)
            }
        }
    }
}

/// What is said to have been appended from `first` on was not, among it what repeats such a batch.
fn fail(results: &mut [Result<AppendInfo, AppendError>], first: usize, error: &StorageError) {
    for result in results
        .iter_mut()
        .skip(first)
        .filter(|result| result.is_ok())
    {
        *result = Err(AppendError::Storage(error.again()));
    }
}

fn leader_append(header: &BatchHeader, size: usize) -> SegmentAppend {
    SegmentAppend {
        base_offset: header.base_offset,
        last_offset: header.last_offset(),
        max_timestamp: header.max_timestamp,
        offset_of_max_timestamp: header.last_offset(),
        single_batch: true,
        bytes: size as u64,
    }
}

#[cfg(test)]
#[path = "leader_append_test.rs"]
mod tests;
