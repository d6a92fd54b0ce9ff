//! Shell: puts segments that compaction or a split has written in the place of those that they were made from
//! (`LocalLog.replaceSegments`).
//!
//! A crash leaves one of three things, and each start knows what to do: `.cleaned` files are thrown away; once all are named
//! `.swap` they win over what they replace; `.deleted` files are thrown away. Readers that hold the old segments go on reading
//! their files, which stay open.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use crate::log::checkpoint::sync_dir;
use crate::log::error::{IoContext, StorageResult};
use crate::log::names::{CLEANED_SUFFIX, SWAP_SUFFIX};
use crate::log::partition_dir::PartitionDir;
use crate::log::partition_log::{PartitionLog, segment_jitter};
use crate::log::segment::{SEGMENT_SUFFIXES, Segment};

impl PartitionLog {
    /// Replaces `old`, neighbours in this log and not the last one, by the `.cleaned` files of the segments at `bases`, in rising order,
    /// which must be on disk. False if the log has changed meanwhile: nothing is done then.
    ///
    /// # Errors
    /// [`crate::log::error::StorageError`] if a file cannot be renamed or opened.
    pub fn replace_segments(
        &self,
        old: &[Arc<Segment>],
        bases: &[i64],
        now_ms: i64,
    ) -> StorageResult<bool> {
        let Some(first) = old.first() else {
            return Ok(false);
        };
        let config = self.config.load_full();
        let mut inner = self.inner.lock();
        let segments = self.segments.load_full();
        let at = segments.partition_point(|segment| segment.base_offset() < first.base_offset());
        let end = at + old.len();
        let unchanged = segments.get(at..end).is_some_and(|now| {
            end < segments.len() && now.iter().zip(old).all(|(now, old)| Arc::ptr_eq(now, old))
        });
        if !unchanged {
            return Ok(false);
        }
        finish_files(&self.dir, bases)?;
        for segment in old {
            // What readers have not looked at yet they would open by name, and find the new files.
            segment.offset_index().file().create()?;
            segment.time_index().file().create()?;
            segment.txn_index().check()?;
            let snapshot_goes = !bases.contains(&segment.base_offset());
            self.doom(&mut inner, segment, snapshot_goes, &config, now_ms)?;
        }
        put_in_place(&self.dir, bases)?;
        let mut replaced = Vec::with_capacity(segments.len() + bases.len());
        replaced.extend_from_slice(&segments[..at]);
        for base_offset in bases {
            let jitter = segment_jitter(&config);
            let segment = Segment::open(&self.dir, *base_offset, now_ms, jitter)?;
            replaced.push(Arc::new(segment));
        }
        replaced.extend_from_slice(&segments[end..]);
        self.segments.store(Arc::new(replaced));
        Ok(true)
    }
}

/// Names the `.cleaned` files of new segments `.swap`, from which moment on they win over what they replace. The highest goes first:
/// as long as one is unfinished, the finished ones above it do not count either.
///
/// # Errors
/// [`crate::log::error::StorageError`] if a file cannot be renamed.
pub(super) fn finish_files(dir: &PartitionDir, bases: &[i64]) -> StorageResult<()> {
    bases
        .iter()
        .rev()
        .try_for_each(|base_offset| rename_all(dir, *base_offset, CLEANED_SUFFIX, SWAP_SUFFIX))
}

/// Gives `.swap` files their names, once what they replace is out of the way.
///
/// # Errors
/// [`crate::log::error::StorageError`] if a file cannot be renamed.
pub(super) fn put_in_place(dir: &PartitionDir, bases: &[i64]) -> StorageResult<()> {
    for base_offset in bases {
        rename_all(dir, *base_offset, SWAP_SUFFIX, "")?;
    }
    sync_dir(&dir.path())
}

/// Changes the last suffix of all files of a segment that have it.
fn rename_all(dir: &PartitionDir, base_offset: i64, from: &str, to: &str) -> StorageResult<()> {
    for kind in SEGMENT_SUFFIXES {
        let old = dir.file(base_offset, &format!("{kind}{from}"));
        let new = dir.file(base_offset, &format!("{kind}{to}"));
        rename_if_there(&old, &new)?;
    }
    Ok(())
}

fn rename_if_there(from: &Path, to: &Path) -> StorageResult<()> {
    match fs::rename(from, to).context("rename", from) {
        Err(error) if error.is_not_found() => Ok(()),
        other => other,
    }
}
