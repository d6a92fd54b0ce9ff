//! Shell: the `.index` file of a segment: from offsets to file positions, sparse (`OffsetIndex.java`).
//!
//! ```text
//! i32 offset - base offset | i32 position in the .log file
//! ```
//!
//! The offset is the last one of what was appended at the position, so a lookup leads to where a scan for any later offset may start.

use std::sync::Arc;

use crate::log::error::{StorageError, StorageResult};
use crate::log::index_file::IndexFile;
use crate::log::names::INDEX_SUFFIX;
use crate::log::partition_dir::PartitionDir;

/// Bytes of an entry.
pub const ENTRY_BYTES: u32 = 8;

/// An entry of the index, or its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetPosition {
    /// Absolute offset.
    pub offset: i64,
    /// Position in the .log file in bytes.
    pub position: u32,
}

/// The offset index of one segment.
#[derive(Debug)]
pub struct OffsetIndex {
    file: IndexFile,
    base_offset: i64,
}

impl OffsetIndex {
    /// Opens the index of the segment at `base_offset`.
    ///
    /// # Errors
    /// [`StorageError`] if the file cannot be looked at.
    pub fn open(dir: &Arc<PartitionDir>, base_offset: i64) -> StorageResult<Self> {
        let file = IndexFile::open(dir, base_offset, INDEX_SUFFIX, ENTRY_BYTES)?;
        Ok(OffsetIndex { file, base_offset })
    }

    /// The entries as a file.
    pub fn file(&self) -> &IndexFile {
        &self.file
    }

    /// True if no further entry fits.
    pub fn is_full(&self) -> bool {
        self.file.len() >= self.file.max_entries()
    }

    /// The last entry; the segment's start if there is none.
    ///
    /// # Errors
    /// [`StorageError`] if it cannot be read.
    pub fn last(&self) -> StorageResult<OffsetPosition> {
        match self.file.len().checked_sub(1) {
            None => Ok(self.start()),
            Some(slot) => Ok(self.parse(&self.file.entry(slot)?)),
        }
    }

    /// Adds an entry, whose offset is above that of the last one.
    ///
    /// # Errors
    /// [`StorageError`] if it cannot be written or the offset is not of this segment.
    pub fn append(&self, offset: i64, position: u32) -> StorageResult<()> {
        self.file.append(&self.encode(offset, position)?)
    }

    /// The bytes of an entry.
    ///
    /// # Errors
    /// [`StorageError`] if the offset is not of this segment.
    pub fn encode(&self, offset: i64, position: u32) -> StorageResult<[u8; ENTRY_BYTES as usize]> {
        let relative = i32::try_from(offset.wrapping_sub(self.base_offset)).map_err(|_| {
            let reason = format!(
                "offset {offset} is too far from base offset {}",
                self.base_offset
            );
            StorageError::corrupt(std::path::Path::new(INDEX_SUFFIX), reason)
        })?;
        let mut entry = [0; ENTRY_BYTES as usize];
        entry[..4].copy_from_slice(&relative.to_be_bytes());
        entry[4..].copy_from_slice(&position.to_be_bytes());
        Ok(entry)
    }

    /// The last entry not above `offset`; the segment's start if there is none.
    ///
    /// # Errors
    /// [`StorageError`] if the file cannot be read.
    pub fn lookup(&self, offset: i64) -> StorageResult<OffsetPosition> {
        Ok(self.lookup_near(offset, 0)?.1)
    }

    /// The same with the entry's number (0 for the start); `near` is the number of an entry somewhat before it, if one is known, else 0.
    ///
    /// # Errors
    /// [`StorageError`] if the file cannot be read.
    pub fn lookup_near(&self, offset: i64, near: u32) -> StorageResult<(u32, OffsetPosition)> {
        let found = self
            .file
            .last_where(near, |entry| self.parse(entry).offset <= offset)?;
        Ok(found.map_or((0, self.start()), |(slot, entry)| {
            (slot, self.parse(&entry))
        }))
    }

    /// The offset of the first entry whose position is `position` or above.
    ///
    /// # Errors
    /// [`StorageError`] if the file cannot be read.
    pub fn first_offset_from(&self, position: u32) -> StorageResult<Option<i64>> {
        let below = self
            .file
            .last_where(0, |entry| self.parse(entry).position < position)?;
        let slot = below.map_or(0, |(slot, _)| slot + 1);
        if slot >= self.file.len() {
            return Ok(None);
        }
        Ok(Some(self.parse(&self.file.entry(slot)?).offset))
    }

    /// Drops the entries at and above `offset`.
    ///
    /// # Errors
    /// [`StorageError`] if the file cannot be cut.
    pub fn truncate_to(&self, offset: i64) -> StorageResult<()> {
        let below = self
            .file
            .last_where(0, |entry| self.parse(entry).offset < offset)?;
        self.file.truncate(below.map_or(0, |(slot, _)| slot + 1))
    }

    fn start(&self) -> OffsetPosition {
        OffsetPosition {
            offset: self.base_offset,
            position: 0,
        }
    }

    fn parse(&self, entry: &[u8]) -> OffsetPosition {
        let mut relative = [0; 4];
        relative.copy_from_slice(&entry[..4]);
        let mut position = [0; 4];
        position.copy_from_slice(&entry[4..8]);
        OffsetPosition {
            // A spoiled entry may say anything.
            offset: self
                .base_offset
                .saturating_add(i64::from(i32::from_be_bytes(relative))),
            position: u32::from_be_bytes(position),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookups_over_several_blocks() {
        let temp = tempfile::tempdir().unwrap();
        let dir = PartitionDir::new(temp.path().to_owned());
        let index = OffsetIndex::open(&dir, 1_000).unwrap();
        index.file().preallocate(100_000).unwrap();
        assert_eq!(index.file().max_entries(), 12_500);
        assert_eq!(
            index.lookup(5_000).unwrap(),
            OffsetPosition {
                offset: 1_000,
                position: 0
            }
        );
        for i in 0..2_000u32 {
            index
                .append(1_010 + i64::from(i) * 10, (i + 1) * 100)
                .unwrap();
        }
        for offset in [1_000, 1_009, 1_010, 1_019, 1_020, 12_345, 21_000, 99_999] {
            let expected = ((offset - 1_000) / 10).min(2_000);
            let found = index.lookup(offset).unwrap();
            assert_eq!(
                found,
                OffsetPosition {
                    offset: 1_000 + expected * 10,
                    position: expected as u32 * 100
                }
            );
        }
        for near in 0..130 {
            let (slot, found) = index.lookup_near(2_239, near).unwrap();
            assert_eq!((slot, found.position), (122, 12_300), "near {near}");
        }
        assert_eq!(
            index.first_offset_from(12_301).unwrap(),
            Some(1_000 + 1_240)
        );
        assert_eq!(index.first_offset_from(200_001).unwrap(), None);
        index.truncate_to(1_500).unwrap();
        assert_eq!(index.last().unwrap().offset, 1_490);
        index.file().trim().unwrap();
        let path = dir.file(1_000, INDEX_SUFFIX);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 49 * 8);
        assert_eq!(
            OffsetIndex::open(&dir, 1_000)
                .unwrap()
                .last()
                .unwrap()
                .offset,
            1_490
        );
    }

    #[test]
    fn entries_beyond_all_offsets_are_cut_to_the_last_one() {
        let temp = tempfile::tempdir().unwrap();
        let dir = PartitionDir::new(temp.path().to_owned());
        let base = i64::MAX - 10;
        std::fs::write(dir.file(base, INDEX_SUFFIX), [0x7f; 8]).unwrap();
        let index = OffsetIndex::open(&dir, base).unwrap();
        assert_eq!(index.last().unwrap().offset, i64::MAX);
        assert_eq!(index.lookup(i64::MAX - 1).unwrap().offset, base);
    }
}
