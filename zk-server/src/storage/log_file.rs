//! Shell: the format of a log, and reading one (FileTxnLog.java).
//!
//! ```text
//! file   = "ZKLG" int 2  long 0 (dbid)  entry*  zeros (preallocated)
//! entry  = long Adler32 of the body   int length   body   0x42
//! body   = TxnHeader  record of its type  [TxnDigest]
//! ```
//! All numbers are big-endian. A length of 0, or the end of the file, ends the log.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use common::zk::jute::{Reader, Record};
use common::zk::txn::TxnEntry;

use crate::storage::error::StorageError;

/// The file header: magic, version, dbid.
pub const HEADER: [u8; 16] = [b'Z', b'K', b'L', b'G', 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0];

const END_MARK: u8 = 0x42;

/// Checksum and length before the body.
const PREFIX_BYTES: usize = 12;

/// Entries that go to disk with one sync are at most so many; the default of ZooKeeper's own
/// `zookeeper.maxBatchSize`.
pub const MAX_BATCH_ENTRIES: i64 = 1000;

/// How far behind damage valid entries are looked for, in bytes.
const LOOK_BYTES: usize = 256 << 10;

/// How much is read at once, in bytes.
const BLOCK_BYTES: usize = 256 << 10;

/// What a system writes out at once, in bytes.
const PAGE_BYTES: usize = 4096;

/// Appends one entry in the form that goes to disk.
pub fn put_entry(entry: &TxnEntry, out: &mut BytesMut) {
    let start = out.len();
    out.put_bytes(0, PREFIX_BYTES);
    entry.encode(out);
    let body = &out[start + PREFIX_BYTES..];
    let checksum = u64::from(simd_adler32::adler32(&body));
    // A frame is far below 2 GiB, and so is what is made of it.
    let length = i32::try_from(body.len()).unwrap_or(i32::MAX);
    out[start..start + 8].copy_from_slice(&checksum.to_be_bytes());
    out[start + 8..start + PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
    out.put_u8(END_MARK);
}

/// How a log ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// After a whole entry.
    Clean,
    /// In an entry that was being written when the server died; it was never acknowledged.
    Torn {
        /// Where that entry begins.
        offset: u64,
    },
    /// There is not even a whole header.
    Empty,
}

/// Reads the entries of one log in order. What entries hold are slices of the blocks read.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: File,
    length: u64,
    /// Where `block` begins in the file.
    offset: u64,
    block: Bytes,
    last_zxid: i64,
    entries: u64,
    end: Option<End>,
}

impl LogFile {
    /// Opens a log and reads its header.
    pub fn open(path: &Path) -> Result<Self, StorageError> {
        let io = |e| StorageError::io("open", path, e);
        let file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let mut log = Self {
            path: path.to_owned(),
            file,
            length,
            offset: 0,
            block: Bytes::new(),
            last_zxid: 0,
            entries: 0,
            end: None,
        };
        if !log.fill(HEADER.len())? {
            log.end = Some(End::Empty);
            return Ok(log);
        }
        let header = log.block.split_to(HEADER.len());
        log.offset = HEADER.len() as u64;
        if *header == [0; HEADER.len()] {
            log.end = Some(End::Empty);
        } else if header[..4] != HEADER[..4] {
            return Err(StorageError::corrupt(path, 0, "this is no transaction log"));
        }
        Ok(log)
    }

    /// How the log ends, once [`LogFile::next_entry`] has returned `None`.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Valid entries so far, those that were passed over included.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Where the next entry begins.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next entry; `None` at the end.
    ///
    /// A damaged entry is the torn end of the log if nothing valid follows it, or if a part of
    /// it was never written at all; else it is an error that names the place.
    pub fn next_entry(&mut self) -> Result<Option<TxnEntry>, StorageError> {
        self.next_entry_after(i64::MIN)
    }

    /// The next entry with a zxid beyond this one. Those before it are not decoded, only checked.
    pub fn next_entry_after(&mut self, zxid: i64) -> Result<Option<TxnEntry>, StorageError> {
        while self.end.is_none() {
            let start = self.offset;
            let Some(whole) = self.check_next(start)? else {
                break;
            };
            self.entries += 1;
            let found = zxid_at(&self.block[PREFIX_BYTES..whole - 1]);
            if found.is_some_and(|found| found <= zxid) {
                self.last_zxid = found.unwrap_or_default();
                self.block.advance(whole);
                self.offset = start + whole as u64;
                continue;
            }
            let entry = self.block.split_to(whole);
            self.offset = start + whole as u64;
            let mut reader = Reader::new(entry.slice(PREFIX_BYTES..whole - 1));
            let entry: TxnEntry = reader
                .read()
                .map_err(|e| StorageError::record(&self.path, start, e))?;
            self.last_zxid = entry.header.zxid;
            return Ok(Some(entry));
        }
        Ok(None)
    }

    /// Checks the entry that comes, without taking it; returns its length with all around it.
    /// `None` at the end.
    fn check_next(&mut self, start: u64) -> Result<Option<usize>, StorageError> {
        let Some((checksum, length)) = self.prefix()? else {
            self.end.get_or_insert(End::Clean);
            return Ok(None);
        };
        let left = self.length.saturating_sub(start + PREFIX_BYTES as u64);
        let Some(length) = usize::try_from(length).ok().filter(|n| (*n as u64) < left) else {
            return self.damaged(start, "an entry has an impossible length");
        };
        let whole = PREFIX_BYTES + length + 1;
        if !self.fill(whole)? {
            return self.damaged(start, "the file ends within an entry");
        }
        let sum = simd_adler32::adler32(&&self.block[PREFIX_BYTES..whole - 1]);
        let ends = self.block[whole - 1] == END_MARK;
        if !ends || u64::from(sum) != checksum {
            // The search behind it begins where it ends.
            self.offset = start + whole as u64;
            self.block.advance(whole);
            let reason = match ends {
                false => "an entry has no end mark",
                true => "the checksum of an entry is wrong",
            };
            return self.damaged(start, reason);
        }
        Ok(Some(whole))
    }

    /// Makes sure that `count` bytes are in the block; false if the file ends before.
    fn fill(&mut self, count: usize) -> Result<bool, StorageError> {
        if self.block.len() >= count {
            return Ok(true);
        }
        let mut next = Vec::with_capacity(count.max(BLOCK_BYTES));
        next.extend_from_slice(&self.block);
        let mut filled = next.len();
        next.resize(next.capacity(), 0);
        while filled < count {
            let at = self.offset + filled as u64;
            match self.file.read_at(&mut next[filled..], at) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(StorageError::io("read", &self.path, e)),
            }
        }
        next.truncate(filled);
        self.block = Bytes::from(next);
        Ok(filled >= count)
    }

    /// Checksum and length of the entry that comes; `None` at the end.
    fn prefix(&mut self) -> Result<Option<(u64, i32)>, StorageError> {
        let left = self.length.saturating_sub(self.offset);
        if left < PREFIX_BYTES as u64 || !self.fill(PREFIX_BYTES)? {
            return Ok(None);
        }
        let (checksum, length) = self.block[..PREFIX_BYTES].split_at(8);
        let checksum = u64::from_be_bytes(checksum.try_into().unwrap_or_default());
        let length = i32::from_be_bytes(length.try_into().unwrap_or_default());
        if length != 0 {
            return Ok(Some((checksum, length)));
        }
        let start = self.offset;
        if self.is_refused(start, start + PREFIX_BYTES as u64)? {
            let reason = "there is a gap in the log, with transactions after it";
            return Err(StorageError::corrupt(&self.path, start, reason));
        }
        if checksum != 0 {
            self.end = Some(End::Torn { offset: start });
        }
        Ok(None)
    }

    fn damaged<T>(&mut self, start: u64, reason: &str) -> Result<Option<T>, StorageError> {
        let end = self.offset.max(start + PREFIX_BYTES as u64);
        if self.is_refused(start, end)? {
            return Err(StorageError::corrupt(&self.path, start, reason));
        }
        self.end = Some(End::Torn { offset: start });
        Ok(None)
    }

    /// Whether damage between `start` and `end` cannot be the end of a log that was being written
    /// when the machine died, because transactions follow it.
    ///
    /// A batch that was being written may be there in parts, in any order, with zeros where whole
    /// pages are missing; but a later batch was begun only after it was complete.
    fn is_refused(&mut self, start: u64, end: u64) -> Result<bool, StorageError> {
        let in_parts = self.page_is_missing(start, end)?;
        let last = self.last_zxid;
        self.follows(start, |zxid| !in_parts || zxid - last > MAX_BATCH_ENTRIES)
    }

    /// Whether a page between `start` and `end` is all zero, as far as it is not before `start`.
    fn page_is_missing(&self, start: u64, end: u64) -> Result<bool, StorageError> {
        let mut page = [0; PAGE_BYTES];
        let mut from = start;
        while from < end {
            let wanted = PAGE_BYTES - (from % PAGE_BYTES as u64) as usize;
            let read = self.file.read_at(&mut page[..wanted], from);
            let count = read.map_err(|e| StorageError::io("read", &self.path, e))?;
            if count == 0 || page[..count] == [0; PAGE_BYTES][..count] {
                return Ok(true);
            }
            from += count as u64;
        }
        Ok(false)
    }

    /// Looks behind `start` for an entry whose checksum holds and whose zxid is `wanted`.
    fn follows(&self, start: u64, wanted: impl Fn(i64) -> bool) -> Result<bool, StorageError> {
        let io = |e| StorageError::io("read", &self.path, e);
        let zeros = vec![0; LOOK_BYTES];
        let mut rest = vec![0; LOOK_BYTES];
        let mut at = start + 1;
        loop {
            // What was never written is a hole that need not be read.
            match rustix::fs::seek(&self.file, rustix::fs::SeekFrom::Data(at)) {
                Ok(data) => at = data,
                Err(rustix::io::Errno::NXIO) => return Ok(false),
                // Without support for holes all of it is read.
                Err(_) => {}
            }
            let filled = self.file.read_at(&mut rest, at).map_err(io)?;
            if filled == 0 {
                return Ok(false);
            }
            at += filled as u64;
            if rest[..filled] == zeros[..filled] {
                continue;
            }
            let used = rest[..filled]
                .iter()
                .rposition(|byte| *byte != 0)
                .map_or(0, |last| last + 1);
            let rest = &rest[..used];
            let mut zxids = (0..used).filter_map(|at| zxid_of_entry(&rest[at..]));
            return Ok(zxids.any(wanted));
        }
    }
}

/// The zxid in the body of an entry: it stands behind session and cxid.
fn zxid_at(body: &[u8]) -> Option<i64> {
    let zxid = body.get(12..20)?.first_chunk()?;
    Some(i64::from_be_bytes(*zxid))
}

/// The zxid of the entry at the front of `bytes`, if there is a valid one.
fn zxid_of_entry(bytes: &[u8]) -> Option<i64> {
    let checksum = bytes.first_chunk::<8>()?;
    // An Adler32 has 32 bits: this turns away nearly all places at once.
    if checksum[..4] != [0; 4] {
        return None;
    }
    let length = i32::from_be_bytes(bytes.get(8..PREFIX_BYTES)?.try_into().ok()?);
    let length = usize::try_from(length).ok()?;
    let body = bytes.get(PREFIX_BYTES..PREFIX_BYTES.checked_add(length)?)?;
    let zxid = zxid_at(body)?;
    let valid = bytes.get(PREFIX_BYTES + length) == Some(&END_MARK)
        && u64::from(simd_adler32::adler32(&body)) == u64::from_be_bytes(*checksum);
    valid.then_some(zxid)
}
