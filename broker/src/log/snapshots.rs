//! Shell: the `.snapshot` files of a partition, by the offset up to which they reflect the log.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::sync::Arc;

use crate::log::error::{IoContext, StorageResult};
use crate::log::names::{DELETED_SUFFIX, SNAPSHOT_SUFFIX, parse_file};
use crate::log::partition_dir::PartitionDir;
use crate::log::producer_state::ProducerStates;

/// The snapshot files of one partition.
#[derive(Debug)]
pub struct Snapshots {
    dir: Arc<PartitionDir>,
    offsets: BTreeSet<i64>,
}

impl Snapshots {
    /// The snapshots among the names of all files of a directory.
    pub fn among(names: &[String], dir: &Arc<PartitionDir>) -> Self {
        let offset = |name: &String| match parse_file(name) {
            Some((offset, SNAPSHOT_SUFFIX)) => Some(offset),
            _ => None,
        };
        Snapshots {
            dir: Arc::clone(dir),
            offsets: names.iter().filter_map(offset).collect(),
        }
    }

    /// Offset of the newest snapshot.
    pub fn latest(&self) -> Option<i64> {
        self.offsets.last().copied()
    }

    /// Writes a snapshot of `states` unless one of that offset or a later one is there, or the log holds nothing
    /// below that offset. True if written.
    ///
    /// # Errors
    /// [`crate::log::error::StorageError`] if the file cannot be written.
    pub fn take(
        &mut self,
        states: &ProducerStates,
        log_start_offset: i64,
        sync: bool,
    ) -> StorageResult<bool> {
        let offset = states.end_offset();
        if offset <= self.latest().unwrap_or(log_start_offset) {
            return Ok(false);
        }
        let path = self.dir.file(offset, SNAPSHOT_SUFFIX);
        let mut file = File::create(&path).context("create", &path)?;
        file.write_all(&states.to_snapshot())
            .context("write", &path)?;
        if sync {
            file.sync_all().context("sync", &path)?;
        }
        self.offsets.insert(offset);
        Ok(true)
    }

    /// Reads the newest snapshot in `above..=up_to`; unreadable ones are deleted and passed over.
    ///
    /// # Errors
    /// [`crate::log::error::StorageError`] if a file cannot be read or deleted.
    pub fn load(
        &mut self,
        above: i64,
        up_to: i64,
        now_ms: i64,
        expiration_ms: i64,
    ) -> StorageResult<Option<ProducerStates>> {
        while let Some(offset) = self.offsets.range(..=up_to).next_back().copied() {
            if offset <= above {
                break;
            }
            let path = self.dir.file(offset, SNAPSHOT_SUFFIX);
            let bytes = fs::read(&path).context("read", &path)?;
            match ProducerStates::from_snapshot(&bytes, offset, now_ms, expiration_ms) {
                Ok(states) => return Ok(Some(states)),
                Err(reason) => {
                    tracing::warn!(path = %path.display(), reason, "dropping unreadable producer snapshot");
                    self.delete(offset)?;
                }
            }
        }
        Ok(None)
    }

    /// Deletes the snapshots whose offsets `doomed` names.
    ///
    /// # Errors
    /// [`crate::log::error::StorageError`] if a file cannot be deleted.
    pub fn delete_where(&mut self, doomed: impl Fn(i64) -> bool) -> StorageResult<()> {
        let offsets: Vec<i64> = self
            .offsets
            .iter()
            .copied()
            .filter(|o| doomed(*o))
            .collect();
        offsets
            .into_iter()
            .try_for_each(|offset| self.delete(offset))
    }

    /// Deletes what has no segment, except a newest snapshot above all segments, which a clean stop leaves.
    ///
    /// # Errors
    /// [`crate::log::error::StorageError`] if a file cannot be deleted.
    pub fn delete_strays(&mut self, base_offsets: &[i64]) -> StorageResult<()> {
        let last_base = base_offsets.last().copied().unwrap_or(i64::MIN);
        let newest = self.latest();
        self.delete_where(|offset| {
            let kept = base_offsets.binary_search(&offset).is_ok()
                || (Some(offset) == newest && offset > last_base);
            !kept
        })
    }

    /// Renames the snapshot of a segment that is being deleted. Answers true if there was one.
    ///
    /// # Errors
    /// [`crate::log::error::StorageError`] if it cannot be renamed.
    pub fn mark_deleted(&mut self, offset: i64) -> StorageResult<bool> {
        if !self.offsets.remove(&offset) {
            return Ok(false);
        }
        let from = self.dir.file(offset, SNAPSHOT_SUFFIX);
        let to = self
            .dir
            .file(offset, &format!("{SNAPSHOT_SUFFIX}{DELETED_SUFFIX}"));
        match fs::rename(&from, &to).context("rename", &from) {
            Err(error) if error.is_not_found() => Ok(false),
            other => other.map(|()| true),
        }
    }

    fn delete(&mut self, offset: i64) -> StorageResult<()> {
        self.offsets.remove(&offset);
        let path = self.dir.file(offset, SNAPSHOT_SUFFIX);
        match fs::remove_file(&path).context("delete", &path) {
            Err(error) if error.is_not_found() => Ok(()),
            other => other,
        }
    }
}
