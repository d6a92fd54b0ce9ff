//! Shell: a file of fixed-size entries in rising order, the ground of both indexes (`AbstractIndex.java`).
//!
//! The active segment's file is extended to its full size with a hole and cut to its entries on roll and close, so that an Apache
//! broker can map it. The newest entries of the segment that is appended to are kept in memory and written some at a time; all others are
//! only in the file, which is in the page cache. What a killed process had not written, recovery makes again from the log.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::log::error::{IoContext, StorageError, StorageResult};
use crate::log::names::DELETED_SUFFIX;
use crate::log::partition_dir::PartitionDir;

/// Entries that a lookup reads at once when it has come close: half a page.
const BLOCK_ENTRIES: u32 = 256;
/// Largest entry of any index, in bytes.
const MAX_ENTRY_BYTES: usize = 12;

/// Entries that are kept in memory before they are written with one system call.
const TAIL_ENTRIES: usize = 64;

/// Entries that are not written yet.
#[derive(Debug, Default)]
struct Tail {
    /// Number of the first of them.
    first: u32,
    bytes: Vec<u8>,
}

/// A file of `entry_bytes` long entries.
#[derive(Debug)]
pub struct IndexFile {
    dir: Arc<PartitionDir>,
    base_offset: i64,
    suffix: &'static str,
    entry_bytes: u32,
    file: OnceLock<File>,
    entries: AtomicU32,
    max_entries: AtomicU32,
    tail: Mutex<Tail>,
}

impl IndexFile {
    /// Opens the index of the segment at `base_offset`. A file that is not there has no entries and is made when needed.
    ///
    /// # Errors
    /// [`StorageError`] if the file cannot be looked at, or is not a whole number of entries.
    pub fn open(
        dir: &Arc<PartitionDir>,
        base_offset: i64,
        suffix: &'static str,
        entry_bytes: u32,
    ) -> StorageResult<Self> {
        let path = dir.file(base_offset, suffix);
        let bytes = match fs::metadata(&path).context("inspect", &path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.is_not_found() => 0,
            Err(error) => return Err(error),
        };
        let entries = u32::try_from(bytes / u64::from(entry_bytes))
            .map_err(|_| StorageError::corrupt(&path, "longer than an index can be"))?;
        if bytes % u64::from(entry_bytes) != 0 {
            tracing::warn!(path = %path.display(), bytes, "index ends within an entry, cutting that off");
            let file = OpenOptions::new().write(true).open(&path);
            file.and_then(|file| file.set_len(bytes - bytes % u64::from(entry_bytes)))
                .context("resize", &path)?;
        }
        Ok(IndexFile {
            dir: Arc::clone(dir),
            base_offset,
            suffix,
            entry_bytes,
            file: OnceLock::new(),
            entries: AtomicU32::new(entries),
            max_entries: AtomicU32::new(entries),
            tail: Mutex::default(),
        })
    }

    /// Number of entries.
    pub fn len(&self) -> u32 {
        self.entries.load(Ordering::Acquire)
    }

    /// True without entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of entries that fit.
    pub fn max_entries(&self) -> u32 {
        self.max_entries.load(Ordering::Relaxed)
    }

    /// Makes room for `max_bytes` (rounded down to whole entries) without using disk for what is not written.
    ///
    /// # Errors
    /// [`StorageError`] if the file cannot be extended.
    pub fn preallocate(&self, max_bytes: u32) -> StorageResult<()> {
        let max = (max_bytes / self.entry_bytes).max(self.len());
        self.set_len(u64::from(max) * u64::from(self.entry_bytes))?;
        self.max_entries.store(max, Ordering::Relaxed);
        Ok(())
    }

    /// Cuts the file to its entries.
    ///
    /// # Errors
    /// [`StorageError`] if the file cannot be cut.
    pub fn trim(&self) -> StorageResult<()> {
        self.write_tail()?;
        *self.tail.lock() = Tail::default();
        let entries = self.len();
        self.set_len(u64::from(entries) * u64::from(self.entry_bytes))?;
        self.max_entries.store(entries, Ordering::Relaxed);
        Ok(())
    }

    /// Adds an entry; there may be only one writer at a time.
    ///
    /// # Errors
    /// [`StorageError`] if it cannot be written.
    pub fn append(&self, entry: &[u8]) -> StorageResult<()> {
        let entries = self.len();
        let is_full = {
            let mut tail = self.tail.lock();
            if tail.bytes.is_empty() {
                tail.first = entries;
            }
            tail.bytes.extend_from_slice(entry);
            tail.bytes.len() >= TAIL_ENTRIES * self.entry_bytes as usize
        };
        self.entries.store(entries + 1, Ordering::Release);
        self.max_entries.fetch_max(entries + 1, Ordering::Relaxed);
        if is_full { self.write_tail() } else { Ok(()) }
    }

    /// Writes the entries that are only in memory.
    fn write_tail(&self) -> StorageResult<()> {
        let mut tail = self.tail.lock();
        if tail.bytes.is_empty() {
            return Ok(());
        }
        let position = u64::from(tail.first) * u64::from(self.entry_bytes);
        self.done("write", self.file()?.write_all_at(&tail.bytes, position))?;
        tail.bytes.clear();
        Ok(())
    }

    /// Puts these entries, whole ones, in the place of all that are there, whatever the file's length was.
    ///
    /// # Errors
    /// [`StorageError`] if the file cannot be written.
    pub fn replace(&self, entries: &[u8]) -> StorageResult<()> {
        self.entries.store(0, Ordering::Release);
        self.set_len(0)?;
        self.file()?
            .write_all_at(entries, 0)
            .context("write", &self.dir.file(self.base_offset, self.suffix))?;
        let count = entries.len() as u32 / self.entry_bytes;
        self.entries.store(count, Ordering::Release);
        self.max_entries.store(count, Ordering::Relaxed);
        Ok(())
    }

    /// Drops all entries from number `entries` on, keeping the room that was made.
    ///
    /// # Errors
    /// [`StorageError`] if the file cannot be cut.
    pub fn truncate(&self, entries: u32) -> StorageResult<()> {
        if entries >= self.len() {
            return Ok(());
        }
        self.write_tail()?;
        self.entries.store(entries, Ordering::Release);
        // Cut first so that the dropped entries read as zeros, as in a new file.
        self.set_len(u64::from(entries) * u64::from(self.entry_bytes))?;
        self.set_len(u64::from(self.max_entries()) * u64::from(self.entry_bytes))
    }

    /// Reads entry `slot` into the front of an array.
    ///
    /// # Errors
    /// [`StorageError`] if it cannot be read.
    pub fn entry(&self, slot: u32) -> StorageResult<[u8; MAX_ENTRY_BYTES]> {
        let mut entry = [0; MAX_ENTRY_BYTES];
        self.read(slot, &mut entry[..self.entry_bytes as usize])?;
        Ok(entry)
    }

    /// Finds the last entry for which `not_above` holds; it must hold for a front part of the entries. `near` is where it may
    /// well be, or somewhat later: then it takes one read.
    ///
    /// # Errors
    /// [`StorageError`] if the file cannot be read.
    pub fn last_where(
        &self,
        near: u32,
        not_above: impl Fn(&[u8]) -> bool,
    ) -> StorageResult<Option<(u32, [u8; MAX_ENTRY_BYTES])>> {
        let len = self.len();
        if near > 0 && near < len {
            let high = len.min(near + BLOCK_ENTRIES);
            if let Some((slot, entry)) = self.last_within(near, high, &not_above)?
                && (slot + 1 < high || high == len)
            {
                return Ok(Some((slot, entry)));
            }
        }
        let (mut low, mut high) = (0, len); // the first entry above is in low..=high
        while high - low > BLOCK_ENTRIES {
            let middle = low + (high - low) / 2;
            if not_above(&self.entry(middle)?) {
                low = middle;
            } else {
                high = middle;
            }
        }
        self.last_within(low, high, &not_above)
    }

    /// The last of the entries `low..high`, of which there are at most [`BLOCK_ENTRIES`], for which `not_above` holds.
    fn last_within(
        &self,
        low: u32,
        high: u32,
        not_above: &impl Fn(&[u8]) -> bool,
    ) -> StorageResult<Option<(u32, [u8; MAX_ENTRY_BYTES])>> {
        let width = self.entry_bytes as usize;
        let mut block = [0; BLOCK_ENTRIES as usize * MAX_ENTRY_BYTES];
        let block = &mut block[..(high - low) as usize * width];
        self.read(low, block)?;
        let below = block
            .chunks_exact(width)
            .take_while(|entry| not_above(entry))
            .count();
        let Some(last) = below.checked_sub(1) else {
            return Ok(None);
        };
        let mut entry = [0; MAX_ENTRY_BYTES];
        entry[..width].copy_from_slice(&block[last * width..(last + 1) * width]);
        Ok(Some((low + last as u32, entry)))
    }

    /// Waits until the entries are on disk.
    ///
    /// # Errors
    /// [`StorageError`] if syncing fails.
    pub fn sync(&self) -> StorageResult<()> {
        self.write_tail()?;
        self.done("sync", self.file()?.sync_all())
    }

    /// Makes the file if it is not there.
    ///
    /// # Errors
    /// [`StorageError`] if it cannot be made.
    pub fn create(&self) -> StorageResult<()> {
        self.file().map(|_| ())
    }

    fn set_len(&self, bytes: u64) -> StorageResult<()> {
        self.done("resize", self.file()?.set_len(bytes))
    }

    /// Names the file in a failure; its path is put together only then.
    fn done<T>(&self, action: &'static str, result: io::Result<T>) -> StorageResult<T> {
        match result {
            Ok(value) => Ok(value),
            failed => failed.context(action, &self.dir.file(self.base_offset, self.suffix)),
        }
    }

    fn read(&self, slot: u32, out: &mut [u8]) -> StorageResult<()> {
        let width = self.entry_bytes as usize;
        let in_file = {
            let tail = self.tail.lock();
            let first = tail.first as usize * width;
            let start = slot as usize * width;
            if tail.bytes.is_empty() || start + out.len() <= first {
                out.len()
            } else {
                let in_file = first.saturating_sub(start);
                let from = start.saturating_sub(first);
                match tail.bytes.get(from..from + out.len() - in_file) {
                    Some(held) => {
                        out[in_file..].copy_from_slice(held);
                        in_file
                    }
                    // Not entries that are there: the file will say so.
                    None => out.len(),
                }
            }
        };
        if in_file == 0 {
            return Ok(());
        }
        let position = u64::from(slot) * u64::from(self.entry_bytes);
        let read = self.file()?.read_exact_at(&mut out[..in_file], position);
        self.done("read", read)
    }

    /// The open file; opened on first use, since most indexes are never looked at.
    fn file(&self) -> StorageResult<&File> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let path = self.dir.file(self.base_offset, self.suffix);
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        let opened = match options.open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                // A reader may still hold a segment whose files are waiting for their deletion.
                let deleted = format!("{}{DELETED_SUFFIX}", self.suffix);
                match options.open(self.dir.file(self.base_offset, &deleted)) {
                    Ok(file) => Ok(file),
                    Err(_) => options.create(true).truncate(false).open(&path),
                }
            }
            other => other,
        };
        let file = opened.context("open", &path)?;
        Ok(self.file.get_or_init(|| file))
    }
}
