//! Shell: the segment that a compaction writes: `.log`, `.index`, `.timeindex` and `.txnindex` with `.cleaned` behind their names.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::BytesMut;

use crate::log::cleaner::filter::Kept;
use crate::log::error::{IoContext, StorageError, StorageResult};
use crate::log::names::{
    CLEANED_SUFFIX, INDEX_SUFFIX, LOG_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX,
};
use crate::log::partition_dir::PartitionDir;
use crate::log::segment::SEGMENT_SUFFIXES;
use crate::log::txn_index::{self, AbortedTxn};
use crate::log::{offset_index, time_index};

/// Bytes gathered before they are written.
const WRITE_BYTES: usize = 256 * 1024;

/// A segment in the making; what is not finished is removed when it is dropped.
#[derive(Debug)]
pub struct CleanedSegment {
    dir: Arc<PartitionDir>,
    base_offset: i64,
    file: File,
    /// Batches not written yet.
    pending: BytesMut,
    written: u64,
    index_interval_bytes: u64,
    max_index_bytes: usize,
    /// Bytes up to which the indexes know the log.
    indexed: u64,
    index: Vec<u8>,
    time_index: Vec<u8>,
    /// Largest timestamp so far and the last offset of its batch.
    max_timestamp: (i64, i64),
    last_indexed_timestamp: i64,
    aborted: Vec<u8>,
    finished: bool,
}

impl CleanedSegment {
    /// Starts an empty one, in the place of any that was left unfinished.
    ///
    /// # Errors
    /// [`StorageError`] if a file cannot be made or removed.
    pub fn create(
        dir: &Arc<PartitionDir>,
        base_offset: i64,
        index_interval_bytes: u32,
        max_index_bytes: u32,
    ) -> StorageResult<Self> {
        remove_files(dir, base_offset)?;
        let path = dir.file(base_offset, &cleaned(LOG_SUFFIX));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .context("create", &path)?;
        Ok(CleanedSegment {
            dir: Arc::clone(dir),
            base_offset,
            file,
            pending: BytesMut::with_capacity(WRITE_BYTES),
            written: 0,
            index_interval_bytes: u64::from(index_interval_bytes),
            max_index_bytes: max_index_bytes as usize,
            indexed: 0,
            index: Vec::new(),
            time_index: Vec::new(),
            max_timestamp: (-1, base_offset),
            last_indexed_timestamp: -1,
            aborted: Vec::new(),
            finished: false,
        })
    }

    /// Where the next batch is to be written to; tell [`CleanedSegment::added`] of it.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.pending
    }

    /// Takes note of the batch that was put at the end of the buffer.
    ///
    /// # Errors
    /// [`StorageError`] if it is too far from the base offset, the file would be too long, or it cannot be written.
    pub fn added(&mut self, kept: &Kept) -> StorageResult<()> {
        let path = || self.dir.file(self.base_offset, &cleaned(LOG_SUFFIX));
        let end = self.written + self.pending.len() as u64;
        let position = end - kept.bytes as u64;
        if i32::try_from(end).is_err() {
            return Err(StorageError::corrupt(
                &path(),
                "would be longer than 2147483647 bytes",
            ));
        }
        let relative = kept.last_offset.checked_sub(self.base_offset);
        let Some(relative) = relative.and_then(|relative| i32::try_from(relative).ok()) else {
            return Err(StorageError::Overflow {
                path: path(),
                offset: kept.last_offset,
            });
        };
        if kept.max_timestamp > self.max_timestamp.0 {
            self.max_timestamp = (kept.max_timestamp, kept.last_offset);
        }
        let room = self.index.len() + (offset_index::ENTRY_BYTES as usize) <= self.max_index_bytes;
        if position - self.indexed > self.index_interval_bytes && room {
            self.index.extend_from_slice(&relative.to_be_bytes());
            self.index
                .extend_from_slice(&(position as i32).to_be_bytes());
            self.index_timestamp();
            self.indexed = position;
        }
        if self.pending.len() >= WRITE_BYTES {
            self.write_pending()?;
        }
        Ok(())
    }

    fn index_timestamp(&mut self) {
        let (timestamp, offset) = self.max_timestamp;
        let room =
            self.time_index.len() + (time_index::ENTRY_BYTES as usize) <= self.max_index_bytes;
        if timestamp > self.last_indexed_timestamp && room {
            let relative = (offset - self.base_offset) as i32;
            self.time_index.extend_from_slice(&timestamp.to_be_bytes());
            self.time_index.extend_from_slice(&relative.to_be_bytes());
            self.last_indexed_timestamp = timestamp;
        }
    }

    /// Names an aborted transaction in the index.
    pub fn add_aborted(&mut self, aborted: &AbortedTxn) {
        self.aborted.extend_from_slice(&txn_index::encode(aborted));
    }

    /// Bytes of records so far.
    pub fn bytes(&self) -> u64 {
        self.written + self.pending.len() as u64
    }

    fn write_pending(&mut self) -> StorageResult<()> {
        let path = self.dir.file(self.base_offset, &cleaned(LOG_SUFFIX));
        self.file.write_all(&self.pending).context("write", &path)?;
        self.written += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    /// Adds bytes as they are, which the indexes do not know of.
    ///
    /// # Errors
    /// [`StorageError`] if they cannot be written.
    pub fn add_unread(&mut self, bytes: &[u8]) -> StorageResult<()> {
        self.pending.extend_from_slice(bytes);
        self.write_pending()
    }

    /// Brings everything to disk, last written at `modified_ms` as far as readers are told; the indexes, too, unless a recovery is
    /// to make them. The files keep their `.cleaned`.
    ///
    /// # Errors
    /// [`StorageError`] if a file cannot be written.
    pub fn finish(mut self, modified_ms: i64, indexes: bool) -> StorageResult<()> {
        self.write_pending()?;
        self.index_timestamp();
        let path = self.dir.file(self.base_offset, &cleaned(LOG_SUFFIX));
        let modified = UNIX_EPOCH + Duration::from_millis(modified_ms.max(0) as u64);
        self.file.set_modified(modified).context("date", &path)?;
        self.file.sync_all().context("sync", &path)?;
        if indexes {
            self.write_index(INDEX_SUFFIX, &self.index)?;
            self.write_index(TIME_INDEX_SUFFIX, &self.time_index)?;
            if !self.aborted.is_empty() {
                self.write_index(TXN_INDEX_SUFFIX, &self.aborted)?;
            }
        }
        self.finished = true;
        Ok(())
    }

    fn write_index(&self, suffix: &str, bytes: &[u8]) -> StorageResult<()> {
        let path = self.dir.file(self.base_offset, &cleaned(suffix));
        let mut file = File::create(&path).context("create", &path)?;
        file.write_all(bytes).context("write", &path)?;
        file.sync_all().context("sync", &path)
    }
}

impl Drop for CleanedSegment {
    fn drop(&mut self) {
        if !self.finished
            && let Err(error) = remove_files(&self.dir, self.base_offset)
        {
            tracing::warn!(%error, "unfinished compaction was not removed; the next start does it");
        }
    }
}

/// Removes what compaction left of the segment at `base_offset`.
///
/// # Errors
/// [`StorageError`] if a file that is there cannot be removed.
pub fn remove_files(dir: &PartitionDir, base_offset: i64) -> StorageResult<()> {
    for suffix in SEGMENT_SUFFIXES {
        let path = dir.file(base_offset, &cleaned(suffix));
        match fs::remove_file(&path).context("delete", &path) {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn cleaned(suffix: &str) -> String {
    format!("{suffix}{CLEANED_SUFFIX}")
}
