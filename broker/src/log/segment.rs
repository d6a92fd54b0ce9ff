//! Shell: one segment: a `.log` file, its indexes, appends to its end (`LogSegment.java`). Lookups are in `segment_read.rs`.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::IoSlice;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use kafka_wire::records::batch::NO_TIMESTAMP;
use parking_lot::Mutex;
use rustix::fs::FallocateFlags;

use crate::log::config::LogConfig;
use crate::log::entry::SegmentAppend;
use crate::log::error::{IoContext, StorageError, StorageResult};
use crate::log::index_file::IndexFile;
use crate::log::names::{INDEX_SUFFIX, LOG_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX};
use crate::log::offset_index::OffsetIndex;
use crate::log::partition_dir::PartitionDir;
use crate::log::scan::Scanner;
use crate::log::time_index::{TimeIndex, TimestampOffset};
use crate::log::txn_index::TxnIndex;

/// Appends whose position is remembered, so that consumers at the end of a log cost no lookup.
const RECENT_APPENDS: usize = 64;

/// From this size on disk space is set aside ahead of a segment's end, as much again as it has, but at most
/// [`MAX_RESERVE_BYTES`].
const MIN_RESERVE_BYTES: u64 = 512 * 1024;
const MAX_RESERVE_BYTES: u64 = 4 * 1024 * 1024;

/// Suffixes of the files that a segment may have.
pub const SEGMENT_SUFFIXES: [&str; 4] = [
    LOG_SUFFIX,
    INDEX_SUFFIX,
    TIME_INDEX_SUFFIX,
    TXN_INDEX_SUFFIX,
];

/// One segment of a partition log.
#[derive(Debug)]
pub struct Segment {
    pub(super) base_offset: i64,
    pub(super) dir: Arc<PartitionDir>,
    pub(super) log: Arc<File>,
    size: AtomicU64,
    /// Up to where disk space was asked for; see [`Segment::reserve`].
    reserved: AtomicU64,
    pub(super) offset_index: OffsetIndex,
    pub(super) time_index: TimeIndex,
    txn_index: TxnIndex,
    pub(super) state: Mutex<SegmentState>,
}

/// What changes with appends; held for microseconds, never while another lock of the log is waited for.
#[derive(Debug)]
pub(super) struct SegmentState {
    /// Largest timestamp and its batch; `None` until the time index is looked at.
    max_timestamp: Option<TimestampOffset>,
    /// Largest timestamp of the first append, from which `segment.ms` counts; `None` until it is looked at.
    first_timestamp: Option<i64>,
    created_ms: i64,
    bytes_since_index_entry: u64,
    /// `index.interval.bytes` as it was when the segment became the active one: a change counts from the next one on.
    index_interval_bytes: u64,
    roll_jitter_ms: i64,
    /// Offset after the last record; known for the segment that is appended to.
    pub(super) next_offset: i64,
    pub(super) recent: VecDeque<RecentAppend>,
    pub(super) readers: Readers,
}

/// Where one of the last batches lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecentAppend {
    pub(super) base_offset: i64,
    pub(super) last_offset: i64,
    pub(super) position: u64,
    pub(super) end: u64,
}

/// Readers that are remembered: consumers of one partition are few.
const READERS: usize = 4;

/// Where readers were in the offset index, so that whoever reads on finds its place near there.
#[derive(Debug, Default)]
pub(super) struct Readers {
    /// The offsets they asked for, and the numbers of the entries that led there.
    seen: [(i64, u32); READERS],
    next: usize,
}

impl Readers {
    /// The reader that was last before `offset` and its entry; the reader to be forgotten and 0 if there is none.
    pub(super) fn before(&mut self, offset: i64) -> (usize, u32) {
        let before = |(_, seen): &(usize, &(i64, u32))| seen.1 > 0 && seen.0 <= offset;
        let seen = self.seen.iter().enumerate();
        match seen.filter(before).max_by_key(|(_, seen)| seen.0) {
            Some((reader, seen)) => (reader, seen.1),
            None => {
                self.next = (self.next + 1) % READERS;
                (self.next, 0)
            }
        }
    }

    /// Notes where a reader is now.
    pub(super) fn note(&mut self, reader: usize, offset: i64, slot: u32) {
        self.seen[reader] = (offset, slot);
    }
}

impl Segment {
    /// Opens the segment at `base_offset`, making its file if it is not there. Indexes are opened when used.
    ///
    /// # Errors
    /// [`StorageError`] if a file cannot be opened.
    pub fn open(
        dir: &Arc<PartitionDir>,
        base_offset: i64,
        now_ms: i64,
        roll_jitter_ms: i64,
    ) -> StorageResult<Self> {
        let path = dir.file(base_offset, LOG_SUFFIX);
        let log = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .context("open", &path)?;
        let size = log.metadata().context("inspect", &path)?.len();
        if size > i32::MAX as u64 {
            return Err(StorageError::corrupt(&path, "longer than 2147483647 bytes"));
        }
        Ok(Segment {
            base_offset,
            dir: Arc::clone(dir),
            log: Arc::new(log),
            size: AtomicU64::new(size),
            reserved: AtomicU64::new(0),
            offset_index: OffsetIndex::open(dir, base_offset)?,
            time_index: TimeIndex::open(dir, base_offset)?,
            txn_index: TxnIndex::new(dir, base_offset),
            state: Mutex::new(SegmentState {
                max_timestamp: None,
                first_timestamp: None,
                created_ms: now_ms,
                bytes_since_index_entry: 0,
                index_interval_bytes: 0,
                roll_jitter_ms,
                next_offset: base_offset,
                recent: VecDeque::new(),
                readers: Readers::default(),
            }),
        })
    }

    /// With `preallocate`, gives the file of a new segment its full size. One that was there before keeps its size, as with Kafka.
    ///
    /// # Errors
    /// [`StorageError`] if the file cannot be extended.
    pub fn preallocate(&self, config: &LogConfig) -> StorageResult<()> {
        if config.preallocate {
            self.set_file_len(u64::from(config.segment_bytes))?;
            self.reserved.store(u64::MAX, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Makes the segment ready for appends from `next_offset` on: full-size indexes.
    ///
    /// # Errors
    /// [`StorageError`] if a file cannot be extended.
    pub fn activate(&self, config: &LogConfig, next_offset: i64) -> StorageResult<()> {
        let mut state = self.state.lock();
        state.next_offset = next_offset;
        state.index_interval_bytes = u64::from(config.index_interval_bytes);
        drop(state);
        self.offset_index
            .file()
            .preallocate(config.segment_index_bytes)?;
        self.time_index
            .file()
            .preallocate(config.segment_index_bytes)
    }

    /// Ends appends: writes the last time index entry and cuts all files to their contents.
    ///
    /// # Errors
    /// [`StorageError`] if a file cannot be written or cut.
    pub fn deactivate(&self) -> StorageResult<()> {
        let max = self.max_timestamp()?;
        self.time_index.append_if_newer(max)?;
        self.offset_index.file().trim()?;
        self.time_index.file().trim()?;
        self.set_file_len(self.size())?;
        let mut state = self.state.lock();
        state.recent = VecDeque::new();
        Ok(())
    }

    /// Offset from which the segment starts.
    pub fn base_offset(&self) -> i64 {
        self.base_offset
    }

    /// Bytes of records.
    pub fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// The `.log` file.
    pub fn file(&self) -> &Arc<File> {
        &self.log
    }

    /// The `.index` file.
    pub fn offset_index(&self) -> &OffsetIndex {
        &self.offset_index
    }

    /// The `.timeindex` file.
    pub fn time_index(&self) -> &TimeIndex {
        &self.time_index
    }

    /// The `.txnindex` file.
    pub fn txn_index(&self) -> &TxnIndex {
        &self.txn_index
    }

    /// Largest timestamp so far and the last offset of its batch; -1 at the base offset if there is none.
    ///
    /// # Errors
    /// [`StorageError`] if the time index cannot be read.
    pub fn max_timestamp(&self) -> StorageResult<TimestampOffset> {
        let mut state = self.state.lock();
        self.max_timestamp_locked(&mut state)
    }

    fn max_timestamp_locked(&self, state: &mut SegmentState) -> StorageResult<TimestampOffset> {
        match state.max_timestamp {
            Some(max) => Ok(max),
            None => {
                let max = self.time_index.last()?;
                state.max_timestamp = Some(max);
                Ok(max)
            }
        }
    }

    /// Largest timestamp in milliseconds; the file's modification time if no record has one.
    ///
    /// # Errors
    /// [`StorageError`] if index or file cannot be read.
    pub fn largest_timestamp_ms(&self) -> StorageResult<i64> {
        let max = self.max_timestamp()?.timestamp;
        if max >= 0 {
            Ok(max)
        } else {
            self.modified_ms()
        }
    }

    /// When the file was last written, in milliseconds since the epoch.
    ///
    /// # Errors
    /// [`StorageError`] if the file cannot be inspected.
    pub fn modified_ms(&self) -> StorageResult<i64> {
        let modified = self.log.metadata().and_then(|metadata| metadata.modified());
        let modified = modified.context("inspect", &self.dir.file(self.base_offset, LOG_SUFFIX))?;
        let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(since.as_millis() as i64)
    }

    /// True if an append of this kind belongs into a new segment.
    ///
    /// # Errors
    /// [`StorageError`] if the first batch's header cannot be read.
    pub fn should_roll(
        &self,
        config: &LogConfig,
        append_bytes: usize,
        append: &SegmentAppend,
        now_ms: i64,
    ) -> StorageResult<bool> {
        let size = self.size();
        if size + append_bytes as u64 > u64::from(config.segment_bytes)
            || self.offset_index.is_full()
            || self.time_index.is_full()
            || !self.can_hold(append.last_offset)
        {
            return Ok(true);
        }
        if size == 0 {
            return Ok(false);
        }
        let mut state = self.state.lock();
        let waited = match self.first_timestamp_locked(&mut state)? {
            first if first >= 0 => append.max_timestamp.saturating_sub(first),
            _ => now_ms.saturating_sub(state.created_ms),
        };
        Ok(waited > config.max_segment_ms().saturating_sub(state.roll_jitter_ms))
    }

    /// True if the indexes would not be full with `entries` more.
    pub fn has_index_room(&self, entries: usize) -> bool {
        let room = |file: &IndexFile| (file.max_entries().saturating_sub(file.len())) as usize;
        // The time index keeps one for when the segment is closed.
        room(self.offset_index.file()) > entries && room(self.time_index.file()) > entries + 1
    }

    /// Largest timestamp of the first batch in milliseconds; -1 if it has none or there is no batch.
    ///
    /// # Errors
    /// [`StorageError`] if its header cannot be read.
    pub fn first_timestamp_ms(&self) -> StorageResult<i64> {
        self.first_timestamp_locked(&mut self.state.lock())
    }

    fn first_timestamp_locked(&self, state: &mut SegmentState) -> StorageResult<i64> {
        if state.first_timestamp.is_none() {
            let first = Scanner::new(&self.log, 0, self.size()).next_entry();
            let first = first.map_err(|error| self.scan_error(error))?;
            state.first_timestamp = first.map(|entry| entry.header.max_timestamp());
        }
        Ok(state.first_timestamp.unwrap_or(NO_TIMESTAMP))
    }

    /// True if an offset's distance from the base offset fits the indexes.
    pub fn can_hold(&self, offset: i64) -> bool {
        offset
            .checked_sub(self.base_offset)
            .is_some_and(|relative| (0..=i64::from(i32::MAX)).contains(&relative))
    }

    /// Writes `parts` behind what is there, in one system call, then the index entries that are due. The parts make up
    /// `appends`, however they are cut. Only one thread may append at a time. Readers see nothing until all is written.
    ///
    /// # Errors
    /// [`StorageError`] if a write fails; the segment's size is as before then.
    pub fn append(&self, parts: &[&[u8]], appends: &[SegmentAppend]) -> StorageResult<()> {
        let mut position = self.size();
        let end = position + self.write_all(parts, position)?;
        let mut state = self.state.lock();
        for append in appends {
            self.note(&mut state, append, position)?;
            position += append.bytes;
        }
        self.size.store(end, Ordering::Release);
        Ok(())
    }

    /// Takes what was written at `position` into indexes and state.
    fn note(
        &self,
        state: &mut SegmentState,
        append: &SegmentAppend,
        position: u64,
    ) -> StorageResult<()> {
        if position == 0 {
            state.first_timestamp = Some(append.max_timestamp);
        }
        if append.max_timestamp > self.max_timestamp_locked(state)?.timestamp {
            state.max_timestamp = Some(TimestampOffset {
                timestamp: append.max_timestamp,
                offset: append.offset_of_max_timestamp,
            });
        }
        if state.bytes_since_index_entry > state.index_interval_bytes {
            self.offset_index
                .append(append.last_offset, position as u32)?;
            let max = self.max_timestamp_locked(state)?;
            self.time_index.append_if_newer(max)?;
            state.bytes_since_index_entry = 0;
        }
        state.bytes_since_index_entry += append.bytes;
        state.next_offset = append.last_offset + 1;
        if append.single_batch {
            if state.recent.len() == RECENT_APPENDS {
                state.recent.pop_front();
            }
            state.recent.push_back(RecentAppend {
                base_offset: append.base_offset,
                last_offset: append.last_offset,
                position,
                end: position + append.bytes,
            });
        } else {
            state.recent.clear();
        }
        Ok(())
    }

    fn write_all(&self, parts: &[&[u8]], position: u64) -> StorageResult<u64> {
        let total: usize = parts.iter().map(|part| part.len()).sum();
        let path = || self.dir.file(self.base_offset, LOG_SUFFIX);
        if position >= MIN_RESERVE_BYTES {
            self.reserve(position + total as u64);
        }
        let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut written = loop {
            match rustix::io::pwritev(&*self.log, &slices, position) {
                Err(rustix::io::Errno::INTR) => {}
                Ok(written) => break written,
                failed => break failed.context("write", &path())?,
            }
        };
        // A short write is rare (a full disk, a signal); finish it part by part.
        let mut start = 0;
        for part in parts {
            let end = start + part.len();
            if written < end {
                let rest = &part[written - start..];
                self.log
                    .write_all_at(rest, position + written as u64)
                    .context("write", &path())?;
                written = end;
            }
            start = end;
        }
        Ok(total as u64)
    }

    /// Asks for disk space ahead of the end, which spares the file system work at each write and keeps what belongs together
    /// in one place. The file's size stays what was written; [`Segment::set_file_len`] gives back what is left over.
    fn reserve(&self, end: u64) {
        let reserved = self.reserved.load(Ordering::Relaxed);
        if end <= reserved {
            return;
        }
        let ahead = end.min(MAX_RESERVE_BYTES);
        let answer = rustix::fs::fallocate(&*self.log, FallocateFlags::KEEP_SIZE, end, ahead);
        let reserved = match answer {
            Ok(()) => end + ahead,
            // Only a help. A full disk may have room for what is to be written, so that later writes try again.
            Err(rustix::io::Errno::NOSPC | rustix::io::Errno::INTR) => end + MIN_RESERVE_BYTES,
            Err(_) => u64::MAX,
        };
        self.reserved.store(reserved, Ordering::Relaxed);
    }

    /// Drops everything from the batch that holds `offset` on. Answers the bytes dropped.
    ///
    /// # Errors
    /// [`StorageError`] if a file cannot be read or cut.
    pub fn truncate_to(&self, offset: i64, now_ms: i64) -> StorageResult<u64> {
        let position = self.position_of(offset)?;
        let dropped = self.size() - position;
        self.offset_index.truncate_to(offset)?;
        self.time_index.truncate_to(offset)?;
        self.txn_index.truncate_to(offset)?;
        self.size.store(position, Ordering::Release);
        self.set_file_len(position)?;
        let mut max = self.time_index.last()?;
        let start = u64::from(self.offset_index.lookup(max.offset)?.position);
        let mut scanner = Scanner::new(&self.log, start.min(position), position);
        while let Some(entry) = scanner
            .next_entry()
            .map_err(|error| self.scan_error(error))?
        {
            let timestamp = entry.header.max_timestamp();
            if timestamp > max.timestamp {
                max = TimestampOffset {
                    timestamp,
                    offset: entry.header.last_offset(),
                };
            }
        }
        let mut state = self.state.lock();
        state.max_timestamp = Some(max);
        state.recent.clear();
        state.readers = Readers::default();
        state.bytes_since_index_entry = 0;
        state.next_offset = offset;
        if position == 0 {
            state.first_timestamp = None;
            state.created_ms = now_ms;
        }
        Ok(dropped)
    }

    /// Sets size and largest timestamp as recovery found them, and cuts the file.
    ///
    /// # Errors
    /// [`StorageError`] if the file cannot be cut.
    pub fn recovered(&self, size: u64, max: TimestampOffset) -> StorageResult<()> {
        self.size.store(size, Ordering::Release);
        self.set_file_len(size)?;
        let mut state = self.state.lock();
        state.max_timestamp = Some(max);
        state.first_timestamp = None;
        state.recent.clear();
        state.readers = Readers::default();
        Ok(())
    }

    /// Waits until all of the segment's files are on disk.
    ///
    /// # Errors
    /// [`StorageError`] if syncing fails.
    pub fn sync(&self) -> StorageResult<()> {
        self.log
            .sync_data()
            .context("sync", &self.dir.file(self.base_offset, LOG_SUFFIX))?;
        self.offset_index.file().sync()?;
        self.time_index.file().sync()?;
        self.txn_index.sync()
    }

    /// Adds a suffix to the names of the segment's files.
    ///
    /// # Errors
    /// [`StorageError`] if a file that is there cannot be renamed.
    pub fn rename_files(&self, suffix: &str) -> StorageResult<()> {
        for kind in SEGMENT_SUFFIXES {
            let from = self.dir.file(self.base_offset, kind);
            let to = self.dir.file(self.base_offset, &format!("{kind}{suffix}"));
            match fs::rename(&from, &to).context("rename", &from) {
                Err(error) if error.is_not_found() => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Sets the file's size, and gives back disk space that was set aside beyond it.
    fn set_file_len(&self, bytes: u64) -> StorageResult<()> {
        let path = self.dir.file(self.base_offset, LOG_SUFFIX);
        let now = self.log.metadata().context("inspect", &path)?.len();
        let reserved = self.reserved.swap(0, Ordering::Relaxed);
        if now == bytes && reserved <= bytes {
            return Ok(());
        }
        self.log.set_len(bytes).context("resize", &path)
    }
}
