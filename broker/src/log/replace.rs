//! Shell: puts a segment that compaction has written in the place of those that it was made from (`LocalLog.replaceSegments`).
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
use crate::log::partition_log::{PartitionLog, segment_jitter};
use crate::log::segment::{SEGMENT_SUFFIXES, Segment};

impl PartitionLog {
    /// Replaces `old`, neighbours in this log and not the last one, by the `.cleaned` files of the first one's base offset,
    /// which must be on disk. False if the log has changed meanwhile: nothing is done then.
    ///
    /// # Errors
    /// [`crate::log::error::StorageError`] if a file cannot be renamed or opened.
    pub fn replace_segments(&self, old: &[Arc<Segment>], now_ms: i64) -> StorageResult<bool> {
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
        let base_offset = first.base_offset();
        self.rename_all(base_offset, CLEANED_SUFFIX, SWAP_SUFFIX)?;
        for segment in old {
            // What readers have not looked at yet they would open by name, and find the new files.
            segment.offset_index().file().create()?;
            segment.time_index().file().create()?;
            segment.txn_index().check()?;
            let snapshot_goes = segment.base_offset() != base_offset;
            self.doom(&mut inner, segment, snapshot_goes, &config, now_ms)?;
        }
        self.rename_all(base_offset, SWAP_SUFFIX, "")?;
        sync_dir(&self.dir.path())?;
        let cleaned = Segment::open(&self.dir, base_offset, now_ms, segment_jitter(&config))?;
        let mut replaced = Vec::with_capacity(segments.len());
        replaced.extend_from_slice(&segments[..at]);
        replaced.push(Arc::new(cleaned));
        replaced.extend_from_slice(&segments[end..]);
        self.segments.store(Arc::new(replaced));
        Ok(true)
    }

    /// Changes the last suffix of all files of a segment that have it.
    fn rename_all(&self, base_offset: i64, from: &str, to: &str) -> StorageResult<()> {
        for kind in SEGMENT_SUFFIXES {
            let old = self.dir.file(base_offset, &format!("{kind}{from}"));
            let new = self.dir.file(base_offset, &format!("{kind}{to}"));
            rename_if_there(&old, &new)?;
        }
        Ok(())
    }
}

fn rename_if_there(from: &Path, to: &Path) -> StorageResult<()> {
    match fs::rename(from, to).context("rename", from) {
        Err(error) if error.is_not_found() => Ok(()),
        other => other,
    }
}
