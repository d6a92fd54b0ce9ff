//! Shell: the `.timeindex` file of a segment: from timestamps to offsets, sparse (`TimeIndex.java`).
//!
//! ```text
//! i64 largest timestamp so far | i32 offset of its batch - base offset
//! ```

use std::sync::Arc;

use crate::log::error::StorageResult;
use crate::log::index_file::IndexFile;
use crate::log::names::TIME_INDEX_SUFFIX;
use crate::log::partition_dir::PartitionDir;

/// Bytes of an entry.
pub const ENTRY_BYTES: u32 = 12;

/// A timestamp and the offset of the batch that carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampOffset {
    /// Milliseconds since the epoch, -1 if there is none.
    pub timestamp: i64,
    /// Absolute offset.
    pub offset: i64,
}

/// The time index of one segment.
#[derive(Debug)]
pub struct TimeIndex {
    file: IndexFile,
    base_offset: i64,
}

impl TimeIndex {
    /// Opens the index of the segment at `base_offset`.
    ///
    /// # Errors
    /// [`crate::log::error::StorageError`] if the file cannot be looked at.
    pub fn open(dir: &Arc<PartitionDir>, base_offset: i64) -> StorageResult<Self> {
        let file = IndexFile::open(dir, base_offset, TIME_INDEX_SUFFIX, ENTRY_BYTES)?;
        Ok(TimeIndex { file, base_offset })
    }

    /// The entries as a file.
    pub fn file(&self) -> &IndexFile {
        &self.file
    }

    /// True if only the entry that closing the segment adds would still fit.
    pub fn is_full(&self) -> bool {
        self.file.len() + 1 >= self.file.max_entries()
    }

    /// The last entry; timestamp -1 at the segment's start if there is none.
    ///
    /// # Errors
    /// [`crate::log::error::StorageError`] if it cannot be read.
    pub fn last(&self) -> StorageResult<TimestampOffset> {
        match self.file.len().checked_sub(1) {
            None => Ok(self.start()),
            Some(slot) => Ok(self.parse(&self.file.entry(slot)?)),
        }
    }

    /// Adds an entry if its timestamp is above the last one's.
    ///
    /// # Errors
    /// [`crate::log::error::StorageError`] if it cannot be written.
    pub fn append_if_newer(&self, entry: TimestampOffset) -> StorageResult<()> {
        if entry.timestamp <= self.last()?.timestamp {
            return Ok(());
        }
        match self.encode(entry) {
            Some(bytes) => self.file.append(&bytes),
            None => Ok(()),
        }
    }

    /// The bytes of an entry; `None` if the offset is not of this segment.
    pub fn encode(&self, entry: TimestampOffset) -> Option<[u8; ENTRY_BYTES as usize]> {
        let relative = i32::try_from(entry.offset.checked_sub(self.base_offset)?).ok()?;
        let mut bytes = [0; ENTRY_BYTES as usize];
        bytes[..8].copy_from_slice(&entry.timestamp.to_be_bytes());
        bytes[8..].copy_from_slice(&relative.to_be_bytes());
        Some(bytes)
    }

    /// The last entry whose timestamp is not above `timestamp`; the segment's start if there is none.
    ///
    /// # Errors
    /// [`crate::log::error::StorageError`] if the file cannot be read.
    pub fn lookup(&self, timestamp: i64) -> StorageResult<TimestampOffset> {
        let found = self
            .file
            .last_where(0, |entry| self.parse(entry).timestamp <= timestamp)?;
        Ok(found.map_or(self.start(), |(_, entry)| self.parse(&entry)))
    }

    /// Drops the entries at and above `offset`.
    ///
    /// # Errors
    /// [`crate::log::error::StorageError`] if the file cannot be cut.
    pub fn truncate_to(&self, offset: i64) -> StorageResult<()> {
        let below = self
            .file
            .last_where(0, |entry| self.parse(entry).offset < offset)?;
        self.file.truncate(below.map_or(0, |(slot, _)| slot + 1))
    }

    fn start(&self) -> TimestampOffset {
        TimestampOffset {
            timestamp: -1,
            offset: self.base_offset,
        }
    }

    fn parse(&self, entry: &[u8]) -> TimestampOffset {
        let mut timestamp = [0; 8];
        timestamp.copy_from_slice(&entry[..8]);
        let mut relative = [0; 4];
        relative.copy_from_slice(&entry[8..12]);
        TimestampOffset {
            timestamp: i64::from_be_bytes(timestamp),
            // A spoiled entry may say anything.
            offset: self
                .base_offset
                .saturating_add(i64::from(i32::from_be_bytes(relative))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_beyond_all_offsets_are_cut_to_the_last_one() {
        let temp = tempfile::tempdir().unwrap();
        let dir = PartitionDir::new(temp.path().to_owned());
        let base = i64::MAX - 10;
        std::fs::write(dir.file(base, TIME_INDEX_SUFFIX), [0x7f; 12]).unwrap();
        let index = TimeIndex::open(&dir, base).unwrap();
        let last = index.last().unwrap();
        assert_eq!(last.offset, i64::MAX);
        assert_eq!(index.lookup(last.timestamp).unwrap(), last);
    }
}
