//! Shell: lookups in a segment: by offset, by size, by timestamp.

use crate::log::error::{IoContext, StorageError, StorageResult};
use crate::log::names::LOG_SUFFIX;
use crate::log::scan::{Located, ScanError, Scanner};
use crate::log::segment::Segment;

/// A range of a segment's file that begins with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileRange {
    /// Position in bytes.
    pub position: u64,
    /// Bytes.
    pub len: u32,
}

impl Segment {
    /// Finds the first batch that ends at or above `offset`.
    ///
    /// # Errors
    /// [`StorageError`] if log or index cannot be read.
    pub fn find(&self, offset: i64) -> StorageResult<Option<FileRange>> {
        let size = self.size();
        if let Some(range) = self.find_recent(offset) {
            return Ok(Some(range));
        }
        let (reader, near) = self.state.lock().readers.before(offset);
        let (slot, found) = self.offset_index.lookup_near(offset, near)?;
        self.state.lock().readers.note(reader, offset, slot);
        let start = u64::from(found.position);
        let start = if start > size { 0 } else { start };
        let mut scanner = Scanner::new(&self.log, start, size);
        loop {
            match scanner
                .next_entry()
                .map_err(|error| self.scan_error(error))?
            {
                None => return Ok(None),
                Some(entry) if entry.header.last_offset() >= offset => {
                    return Ok(Some(FileRange {
                        position: entry.position,
                        len: entry.header.size() as u32,
                    }));
                }
                Some(_) => {}
            }
        }
    }

    fn find_recent(&self, offset: i64) -> Option<FileRange> {
        let state = self.state.lock();
        if state.recent.front()?.base_offset > offset {
            return None;
        }
        let index = state
            .recent
            .partition_point(|append| append.last_offset < offset);
        let found = state.recent.get(index)?;
        Some(FileRange {
            position: found.position,
            len: (found.end - found.position) as u32,
        })
    }

    /// Finds what follows from the batch that holds `offset` on, up to position `limit` and `max_bytes`, where the last
    /// batch may be cut, but not the first. With `at_least_one`, the first batch is answered even if it is longer.
    /// `None` if nothing at or above `offset` is here.
    ///
    /// # Errors
    /// [`StorageError`] if log or index cannot be read.
    pub fn read(
        &self,
        offset: i64,
        max_bytes: usize,
        limit: u64,
        at_least_one: bool,
    ) -> StorageResult<Option<FileRange>> {
        let Some(first) = self.find(offset)? else {
            return Ok(None);
        };
        let available = limit.min(self.size()).saturating_sub(first.position);
        let first_len = u64::from(first.len);
        let wanted = match max_bytes as u64 {
            max if at_least_one => max.max(first_len),
            max => max,
        };
        let is_first_whole = first_len <= available.min(wanted);
        Ok(Some(FileRange {
            len: if is_first_whole {
                available.min(wanted) as u32
            } else {
                0
            },
            ..first
        }))
    }

    /// Position up to which a reader that may see offsets below `upper_bound` may read this, the segment of appends.
    ///
    /// # Errors
    /// [`StorageError`] if log or index cannot be read.
    pub fn limit_for(&self, upper_bound: i64) -> StorageResult<u64> {
        {
            let state = self.state.lock();
            if upper_bound >= state.next_offset {
                return Ok(self.size());
            }
        }
        self.position_of(upper_bound)
    }

    /// Position at which the batch that holds `offset` starts; the end if all are below.
    ///
    /// # Errors
    /// [`StorageError`] if log or index cannot be read.
    pub fn position_of(&self, offset: i64) -> StorageResult<u64> {
        let size = self.size();
        Ok(self.find(offset)?.map_or(size, |range| range.position))
    }

    /// Offset after the last record, found from the last index entry on.
    ///
    /// # Errors
    /// [`StorageError`] if log or index cannot be read.
    pub fn next_offset(&self) -> StorageResult<i64> {
        let size = self.size();
        let start = u64::from(self.offset_index.last()?.position);
        let start = if start > size { 0 } else { start };
        let mut scanner = Scanner::new(&self.log, start, size);
        let mut next = self.base_offset;
        while let Some(entry) = scanner
            .next_entry()
            .map_err(|error| self.scan_error(error))?
        {
            next = entry.header.last_offset().saturating_add(1);
        }
        Ok(next)
    }

    /// Whether the last entry of the offset index leads to a batch that starts at its offset or below.
    ///
    /// # Errors
    /// [`StorageError::Io`] if log or index cannot be read.
    pub fn offset_index_fits(&self) -> StorageResult<bool> {
        let (last, size) = (self.offset_index.last()?, self.size());
        let position = u64::from(last.position);
        if self.offset_index.file().is_empty() {
            return Ok(true);
        }
        if position == 0 || position >= size {
            return Ok(false);
        }
        match Scanner::new(&self.log, position, size).next_entry() {
            Ok(Some(entry)) => {
                Ok(entry.header.base_offset() <= last.offset && last.offset > self.base_offset)
            }
            Ok(None) | Err(ScanError::Corrupt { .. }) => Ok(false),
            Err(error) => Err(self.scan_error(error)),
        }
    }

    /// Walks the batches from the one that may first have a timestamp at or above `timestamp`, at or after `from`.
    /// Answers the first whose largest timestamp is at least `timestamp`, with its bytes.
    ///
    /// # Errors
    /// [`StorageError`] if a file cannot be read.
    pub fn find_timestamp(
        &self,
        timestamp: i64,
        from: i64,
        mut visit: impl FnMut(&Located, &[u8]) -> bool,
    ) -> StorageResult<()> {
        let size = self.size();
        let indexed = self.time_index.lookup(timestamp)?;
        let start = u64::from(self.offset_index.lookup(indexed.offset.max(from))?.position);
        let start = if start > size { 0 } else { start };
        let mut scanner = Scanner::new(&self.log, start, size);
        while let Some(entry) = scanner
            .next_entry()
            .map_err(|error| self.scan_error(error))?
        {
            if entry.header.max_timestamp() < timestamp {
                continue;
            }
            let bytes = scanner
                .bytes_of(&entry)
                .context("read", &self.dir.file(self.base_offset, LOG_SUFFIX))?;
            if visit(&entry, bytes) {
                break;
            }
        }
        Ok(())
    }

    /// The error for an offset that is too far from the base offset for the indexes.
    pub fn overflow(&self, offset: i64) -> StorageError {
        StorageError::Overflow {
            path: self.dir.file(self.base_offset, LOG_SUFFIX),
            offset,
        }
    }

    /// Turns a scanning failure into a storage error with the file's path.
    pub fn scan_error(&self, error: ScanError) -> StorageError {
        let path = self.dir.file(self.base_offset, LOG_SUFFIX);
        match error {
            ScanError::Io(source) => StorageError::Io {
                action: "read",
                path,
                source,
            },
            ScanError::Corrupt { .. } => StorageError::Corrupt {
                path,
                reason: error.to_string(),
            },
        }
    }
}
