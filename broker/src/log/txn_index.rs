//! Shell: the `.txnindex` file of a segment: the transactions that were aborted in it (`TransactionIndex.java`, `AbortedTxn.java`).
//!
//! ```text
//! i16 version 0 | i64 producer id | i64 first offset | i64 last offset (of the marker) | i64 last stable offset
//! ```
//!
//! The file is made with the first aborted transaction; most segments have none.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::log::error::{IoContext, StorageError, StorageResult};
use crate::log::names::TXN_INDEX_SUFFIX;
use crate::log::partition_dir::PartitionDir;

/// Bytes of an entry.
const ENTRY_BYTES: usize = 34;

/// A transaction that was aborted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTxn {
    /// Its producer.
    pub producer_id: i64,
    /// Offset of its first record.
    pub first_offset: i64,
    /// Offset of its abort marker.
    pub last_offset: i64,
    /// Last stable offset once the marker was appended.
    pub last_stable_offset: i64,
}

/// The aborted transactions of one segment.
#[derive(Debug)]
pub struct TxnIndex {
    dir: Arc<PartitionDir>,
    base_offset: i64,
    /// What the file holds; `None` until it is looked at.
    entries: Mutex<Option<Vec<AbortedTxn>>>,
}

impl TxnIndex {
    /// The index of the segment at `base_offset`; reads nothing yet.
    pub fn new(dir: &Arc<PartitionDir>, base_offset: i64) -> Self {
        TxnIndex {
            dir: Arc::clone(dir),
            base_offset,
            entries: Mutex::new(None),
        }
    }

    /// Reads and checks the file.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] if an entry is malformed or before the segment.
    pub fn check(&self) -> StorageResult<()> {
        self.with(|_| ())
    }

    /// Adds a transaction.
    ///
    /// # Errors
    /// [`StorageError`] if the file cannot be written.
    pub fn append(&self, aborted: AbortedTxn) -> StorageResult<()> {
        self.check()?;
        let path = self.dir.file(self.base_offset, TXN_INDEX_SUFFIX);
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .context("open", &path)?;
        file.write_all(&encode(&aborted)).context("write", &path)?;
        self.with(|entries| entries.push(aborted))
    }

    /// Collects the transactions that have records in `from..upper_bound`. True if no later segment can hold more of them.
    ///
    /// # Errors
    /// [`StorageError`] if the file cannot be read.
    pub fn collect(
        &self,
        from: i64,
        upper_bound: i64,
        out: &mut Vec<AbortedTxn>,
    ) -> StorageResult<bool> {
        self.with(|entries| {
            for aborted in entries.iter() {
                if aborted.last_offset >= from && aborted.first_offset < upper_bound {
                    out.push(*aborted);
                }
                if aborted.last_stable_offset >= upper_bound {
                    return true;
                }
            }
            false
        })
    }

    /// Drops the transactions whose marker is at or above `offset`.
    ///
    /// # Errors
    /// [`StorageError`] if the file cannot be replaced.
    pub fn truncate_to(&self, offset: i64) -> StorageResult<()> {
        let path = self.dir.file(self.base_offset, TXN_INDEX_SUFFIX);
        let (before, after) = self.with(|entries| {
            let before = entries.len();
            entries.retain(|aborted| aborted.last_offset < offset);
            (before, entries.len())
        })?;
        if after == before {
            return Ok(());
        }
        let file = OpenOptions::new()
            .write(true)
            .open(&path)
            .context("open", &path)?;
        file.set_len((after * ENTRY_BYTES) as u64)
            .context("resize", &path)
    }

    /// Drops everything, for a rebuild; keeps an existing file, empty, as Apache's does.
    ///
    /// # Errors
    /// [`StorageError`] if the file cannot be cut.
    pub fn reset(&self) -> StorageResult<()> {
        *self.entries.lock() = Some(Vec::new());
        let path = self.dir.file(self.base_offset, TXN_INDEX_SUFFIX);
        match OpenOptions::new()
            .write(true)
            .open(&path)
            .context("open", &path)
        {
            Ok(file) => file.set_len(0).context("resize", &path),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Waits until the file, if there is one, is on disk.
    ///
    /// # Errors
    /// [`StorageError`] if syncing fails.
    pub fn sync(&self) -> StorageResult<()> {
        let path = self.dir.file(self.base_offset, TXN_INDEX_SUFFIX);
        match OpenOptions::new()
            .read(true)
            .open(&path)
            .context("open", &path)
        {
            Ok(file) => file.sync_all().context("sync", &path),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Vec<AbortedTxn>) -> T) -> StorageResult<T> {
        let mut entries = self.entries.lock();
        if entries.is_none() {
            *entries = Some(self.load()?);
        }
        Ok(work(entries.get_or_insert_default()))
    }

    fn load(&self) -> StorageResult<Vec<AbortedTxn>> {
        let path = self.dir.file(self.base_offset, TXN_INDEX_SUFFIX);
        let bytes = match fs::read(&path).context("read", &path) {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut entries = Vec::with_capacity(bytes.len() / ENTRY_BYTES);
        for (number, entry) in bytes.chunks_exact(ENTRY_BYTES).enumerate() {
            let aborted = decode(entry)
                .filter(|aborted| aborted.last_offset >= self.base_offset)
                .ok_or_else(|| {
                    StorageError::corrupt(&path, format!("entry {number} is malformed"))
                })?;
            entries.push(aborted);
        }
        Ok(entries)
    }
}

/// An entry of the file.
pub fn encode(aborted: &AbortedTxn) -> [u8; ENTRY_BYTES] {
    let mut entry = [0; ENTRY_BYTES];
    entry[2..10].copy_from_slice(&aborted.producer_id.to_be_bytes());
    entry[10..18].copy_from_slice(&aborted.first_offset.to_be_bytes());
    entry[18..26].copy_from_slice(&aborted.last_offset.to_be_bytes());
    entry[26..34].copy_from_slice(&aborted.last_stable_offset.to_be_bytes());
    entry
}

fn decode(entry: &[u8]) -> Option<AbortedTxn> {
    let long = |at: usize| -> Option<i64> {
        Some(i64::from_be_bytes(entry.get(at..at + 8)?.try_into().ok()?))
    };
    if entry.get(..2)? != [0, 0] {
        return None;
    }
    Some(AbortedTxn {
        producer_id: long(2)?,
        first_offset: long(10)?,
        last_offset: long(18)?,
        last_stable_offset: long(26)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn append_collect_truncate() {
        let temp = tempfile::tempdir().unwrap();
        let dir = PartitionDir::new(temp.path().to_owned());
        let index = TxnIndex::new(&dir, 0);
        let aborted = |pid, first, last, stable| AbortedTxn {
            producer_id: pid,
            first_offset: first,
            last_offset: last,
            last_stable_offset: stable,
        };
        let all = [
            aborted(1, 0, 10, 11),
            aborted(2, 5, 20, 21),
            aborted(3, 30, 40, 41),
        ];
        for entry in all {
            index.append(entry).unwrap();
        }
        let index = TxnIndex::new(&dir, 0);
        let mut found = Vec::new();
        assert!(index.collect(12, 35, &mut found).unwrap());
        assert_eq!(found, all[1..]);
        found.clear();
        assert!(!index.collect(0, 100, &mut found).unwrap());
        assert_eq!(found, all);
        index.truncate_to(20).unwrap();
        let path = dir.file(0, TXN_INDEX_SUFFIX);
        assert_eq!(fs::metadata(&path).unwrap().len(), 34);
        fs::rename(&path, dir.file(100, TXN_INDEX_SUFFIX)).unwrap();
        assert!(TxnIndex::new(&dir, 100).check().is_err());
    }
}
