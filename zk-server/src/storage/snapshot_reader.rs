//! Shell: reads a snapshot from front to end with little memory, and fills a tree with it.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use bytestring::ByteString;
use common::zk::data::{Acl, Id, StatPersisted};
use common::zk::jute::{Record, lossy_as_java};
use simd_adler32::Adler32;

use crate::state::digest;
use crate::state::tree::{Tree, TreeOptions};
use crate::storage::compression::{self, Compression};
use crate::storage::error::StorageError;
use crate::storage::snapshot::{HEADER, SEAL_END};

/// How much is read at once, in bytes.
const BLOCK_BYTES: usize = 256 << 10;

/// A string or buffer in a snapshot is at most this long, in bytes.
const MAX_VALUE_BYTES: usize = 1 << 30;

/// A znode's ACL number and Stat.
const FIXED_BYTES: usize = 8 + StatPersisted::MIN_BYTES;

/// What stands behind the first seal, in bytes: digest and seal, and the last zxid and seal.
const DIGEST_BYTES: usize = 20 + 13;
const LAST_ZXID_BYTES: usize = 8 + 13;

const TOO_EARLY: &str = "the file ends too early";

/// A znode as it stands in the file.
#[derive(Debug)]
pub struct StoredNode<'a> {
    /// Its path; the root's is empty.
    pub path: Cow<'a, str>,
    /// Its data; null and empty differ.
    pub data: Option<&'a [u8]>,
    /// Number of its ACL.
    pub acl: i64,
    /// Its Stat.
    pub stat: StatPersisted,
}

/// What stands behind the znodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trailer {
    /// The digest's zxid, version and value (3.6 and later).
    pub digest: Option<(i64, i32, u64)>,
    /// The last zxid that was applied when the snapshot was complete (3.9 and later).
    pub last_zxid: Option<i64>,
}

/// Reads one snapshot. The parts must be asked for in the order of the methods.
pub struct SnapshotReader {
    path: PathBuf,
    source: Box<dyn Read>,
    /// Bytes in the file if it is plain: what a length may claim.
    limit: Option<u64>,
    buffer: Vec<u8>,
    start: usize,
    /// Up to here the checksum has been taken.
    summed: usize,
    /// Offset of the buffer's front in the plain bytes.
    base: u64,
    checksum: Adler32,
}

impl SnapshotReader {
    /// Opens a snapshot, whose name tells its form, and reads its header.
    pub fn open(path: &Path) -> Result<Self, StorageError> {
        let io = |e| StorageError::io("open", path, e);
        let file = File::open(path).map_err(io)?;
        let method = Compression::of_file(path);
        let limit = match method {
            Compression::Plain => Some(file.metadata().map_err(io)?.len()),
            _ => None,
        };
        let mut reader = Self {
            path: path.to_owned(),
            source: compression::decoder(file, method),
            limit,
            buffer: Vec::with_capacity(BLOCK_BYTES),
            start: 0,
            summed: 0,
            base: 0,
            checksum: Adler32::new(),
        };
        if reader.take(HEADER.len())?[..4] != HEADER[..4] {
            return Err(StorageError::corrupt(path, 0, "this is no snapshot"));
        }
        Ok(reader)
    }

    /// Where the next value begins in the plain bytes.
    pub fn offset(&self) -> u64 {
        self.base + self.start as u64
    }

    /// The sessions and their timeouts in milliseconds.
    pub fn sessions(&mut self) -> Result<Vec<(i64, i32)>, StorageError> {
        let mut sessions = Vec::new();
        for _ in 0..self.int()? {
            sessions.push((self.long()?, self.int()?));
        }
        Ok(sessions)
    }

    /// The distinct ACLs by number.
    pub fn acls(&mut self) -> Result<Vec<(i64, Vec<Acl>)>, StorageError> {
        let mut acls = Vec::new();
        for _ in 0..self.int()? {
            let number = self.long()?;
            let mut acl: Vec<Acl> = Vec::new();
            for _ in 0..self.int()? {
                let perms = self.int()?;
                let (scheme, id) = (self.text()?, self.text()?);
                acl.push(Acl::new(perms, Id { scheme, id }));
            }
            acls.push((number, acl));
        }
        Ok(acls)
    }

    /// The next znode; `None` after the last.
    pub fn next_node(&mut self) -> Result<Option<StoredNode<'_>>, StorageError> {
        let Some(path_len) = self.length_at(0)? else {
            return Err(self.corrupt("a path is null"));
        };
        let data_at = 4 + path_len;
        self.need(data_at)?;
        if self.buffer[self.start + 4..self.start + data_at] == *b"/" {
            self.start += data_at;
            return Ok(None);
        }
        let data_len = self.length_at(data_at)?;
        let fixed_at = data_at + 4 + data_len.unwrap_or(0);
        let record = self.take(fixed_at + FIXED_BYTES)?;
        let (acl, stat) = record[fixed_at..].split_at(8);
        Ok(Some(StoredNode {
            path: text_of(&record[4..data_at]),
            data: data_len.map(|_| &record[data_at + 4..fixed_at]),
            acl: long_of(acl),
            stat: stat_of(stat),
        }))
    }

    /// Checks the seals and reads what stands between them.
    pub fn finish(&mut self) -> Result<Trailer, StorageError> {
        self.check_seal()?;
        let rest = self.rest()?;
        let mut trailer = Trailer::default();
        if rest >= DIGEST_BYTES {
            trailer.digest = Some((self.long()?, self.int()?, self.long()? as u64));
            self.check_seal()?;
        }
        if rest == LAST_ZXID_BYTES || rest == DIGEST_BYTES + LAST_ZXID_BYTES {
            trailer.last_zxid = Some(self.long()?);
            self.check_seal()?;
        }
        Ok(trailer)
    }

    /// How much is left, as far as it matters.
    fn rest(&mut self) -> Result<usize, StorageError> {
        let most = DIGEST_BYTES + LAST_ZXID_BYTES + 1;
        while self.buffer.len() - self.start < most && self.read_more()? {}
        Ok(self.buffer.len() - self.start)
    }

    fn check_seal(&mut self) -> Result<(), StorageError> {
        self.sum();
        let expected = u64::from(self.checksum.finish());
        self.need(8 + SEAL_END.len())?;
        let seal = &self.buffer[self.start..self.start + 8 + SEAL_END.len()];
        if long_of(seal) as u64 != expected || seal[8..] != SEAL_END {
            return Err(self.corrupt("the checksum of the snapshot is wrong"));
        }
        self.start += 8 + SEAL_END.len();
        Ok(())
    }

    fn corrupt(&self, reason: &str) -> StorageError {
        StorageError::corrupt(&self.path, self.offset(), reason)
    }

    /// Takes into the checksum what has been read since the last time.
    fn sum(&mut self) {
        self.checksum.write(&self.buffer[self.summed..self.start]);
        self.summed = self.start;
    }

    /// Makes sure that `count` bytes are in the buffer.
    fn need(&mut self, count: usize) -> Result<(), StorageError> {
        if self.buffer.len() - self.start >= count {
            return Ok(());
        }
        if self
            .limit
            .is_some_and(|limit| self.offset() + count as u64 > limit)
        {
            return Err(self.corrupt(TOO_EARLY));
        }
        self.sum();
        self.buffer.drain(..self.start);
        self.base += self.start as u64;
        (self.start, self.summed) = (0, 0);
        while self.buffer.len() < count {
            if !self.read_more()? {
                return Err(self.corrupt(TOO_EARLY));
            }
        }
        Ok(())
    }

    /// Reads another block; false at the end. The buffer grows only with what is there.
    fn read_more(&mut self) -> Result<bool, StorageError> {
        let filled = self.buffer.len();
        self.buffer.resize(filled + BLOCK_BYTES, 0);
        let read = loop {
            match self.source.read(&mut self.buffer[filled..]) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        self.buffer.truncate(filled + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(count) => Ok(count > 0),
            Err(error) => Err(self.unreadable(error)),
        }
    }

    fn unreadable(&self, error: io::Error) -> StorageError {
        use io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
        match error.kind() {
            UnexpectedEof => self.corrupt(TOO_EARLY),
            // These come from the decompressors.
            InvalidData | InvalidInput | Other => {
                self.corrupt(&format!("the compressed data is damaged: {error}"))
            }
            _ => StorageError::io("read", &self.path, error),
        }
    }

    fn take(&mut self, count: usize) -> Result<&[u8], StorageError> {
        self.need(count)?;
        let start = self.start;
        self.start += count;
        Ok(&self.buffer[start..start + count])
    }

    /// The length of a string or buffer that begins `at` bytes ahead; `None` for null.
    fn length_at(&mut self, at: usize) -> Result<Option<usize>, StorageError> {
        self.need(at + 4)?;
        match int_of(&self.buffer[self.start + at..]) {
            -1 => Ok(None),
            length => match usize::try_from(length) {
                Ok(count) if count <= MAX_VALUE_BYTES => Ok(Some(count)),
                _ => Err(self.corrupt(&format!("unreasonable length {length}"))),
            },
        }
    }

    fn int(&mut self) -> Result<i32, StorageError> {
        self.take(4).map(int_of)
    }

    fn long(&mut self) -> Result<i64, StorageError> {
        self.take(8).map(long_of)
    }

    fn text(&mut self) -> Result<ByteString, StorageError> {
        let length = self.length_at(0)?.unwrap_or(0);
        let text = self.take(4 + length)?;
        Ok(text_of(&text[4..]).into_owned().into())
    }
}

/// Text is UTF-8 as a rule, and that is quickly seen.
fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(lossy_as_java(bytes)),
    }
}

/// The number at the front of `bytes`; 0 where there are fewer.
fn int_of(bytes: &[u8]) -> i32 {
    bytes.first_chunk().map_or(0, |b| i32::from_be_bytes(*b))
}

fn long_of(bytes: &[u8]) -> i64 {
    bytes.first_chunk().map_or(0, |b| i64::from_be_bytes(*b))
}

fn stat_of(bytes: &[u8]) -> StatPersisted {
    let (int, long) = (
        |at: usize| int_of(&bytes[at..]),
        |at: usize| long_of(&bytes[at..]),
    );
    StatPersisted {
        czxid: long(0),
        mzxid: long(8),
        ctime: long(16),
        mtime: long(24),
        version: int(32),
        cversion: int(36),
        aversion: int(40),
        ephemeral_owner: long(44),
        pzxid: long(52),
    }
}

/// What a snapshot holds.
#[derive(Debug)]
pub struct Snapshot {
    /// The znodes.
    pub tree: Tree,
    /// Sessions and their timeouts in milliseconds.
    pub sessions: Vec<(i64, i32)>,
    /// The digest and the zxid after which the tree has it, if that was written.
    pub digest: Option<(i64, u64)>,
}

/// Reads a whole snapshot. It is good if every record is, and the seal holds.
pub fn load(path: &Path, options: TreeOptions) -> Result<Snapshot, StorageError> {
    let mut reader = SnapshotReader::open(path)?;
    let sessions = reader.sessions()?;
    let mut tree = Tree::empty(options);
    for (number, acl) in reader.acls()? {
        tree.acls_mut().insert(number, acl);
    }
    loop {
        let at = reader.offset();
        let Some(node) = reader.next_node()? else {
            break;
        };
        if tree
            .restore(&node.path, node.data, node.acl, node.stat)
            .is_err()
        {
            let reason = format!("znode {} comes before its parent", node.path);
            return Err(StorageError::corrupt(path, at, reason));
        }
    }
    let trailer = reader.finish()?;
    tree.finish_restore();
    let digest = trailer
        .digest
        .filter(|(zxid, version, _)| *version == digest::VERSION && *zxid > 0)
        .map(|(zxid, _, value)| (zxid, value));
    Ok(Snapshot {
        tree,
        sessions,
        digest,
    })
}

/// Whether the file ends as a complete snapshot does; the checksum is not looked at.
pub fn looks_complete(path: &Path) -> bool {
    match Compression::of_file(path) {
        Compression::Plain => plain_end(path),
        method => packed_end(path, method),
    }
    .is_ok_and(|end| end == SEAL_END)
}

fn plain_end(path: &Path) -> io::Result<[u8; SEAL_END.len()]> {
    let mut end = [0; SEAL_END.len()];
    let mut file = File::open(path)?;
    file.seek(SeekFrom::End(-(SEAL_END.len() as i64)))?;
    file.read_exact(&mut end)?;
    Ok(end)
}

/// The last bytes of a compressed file: only decompressing it tells them.
fn packed_end(path: &Path, method: Compression) -> io::Result<[u8; SEAL_END.len()]> {
    let mut source = compression::decoder(File::open(path)?, method);
    let mut block = vec![0; BLOCK_BYTES];
    let mut end = Vec::new();
    loop {
        let count = source.read(&mut block)?;
        if count == 0 {
            let end = end.last_chunk();
            return end.copied().ok_or(io::ErrorKind::UnexpectedEof.into());
        }
        end.extend_from_slice(&block[count.saturating_sub(SEAL_END.len())..count]);
        let old = end.len().saturating_sub(SEAL_END.len());
        end.drain(..old);
    }
}
