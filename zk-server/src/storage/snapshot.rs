//! Shell: the format of a snapshot, writing one in parts, and reading one (FileSnap.java,
//! SnapStream.java).
//!
//! ```text
//! file     = "ZKSN" int 2  long -1 (dbid)  sessions  acls  nodes  seal  [digest  seal]
//! sessions = int n  (long id  int timeout)*
//! acls     = int n  (long number  ACL vector)*
//! nodes    = (string path  buffer data  long acl number  StatPersisted)*   string "/"
//! seal     = long Adler32 of everything before it   string "/"
//! digest   = long zxid  int 2  long digest
//! ```

use std::fs::{self, File};
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};

use bytes::{BufMut, Bytes, BytesMut};
use common::zk::data::{Acl, StatPersisted};
use common::zk::jute::{Reader, Record, encode_str};
use simd_adler32::Adler32;

use crate::state::checkpoint::Frozen;
use crate::state::digest;
use crate::state::tree::{Tree, TreeOptions};
use crate::state::znode::Znode;
use crate::storage::error::StorageError;
use crate::storage::files::{Directories, sync_directory};

const HEADER: [u8; 16] = [
    b'Z', b'K', b'S', b'N', 0, 0, 0, 2, 255, 255, 255, 255, 255, 255, 255, 255,
];

/// The end of every complete snapshot: the string "/".
const SEAL_END: [u8; 5] = [0, 0, 0, 1, b'/'];

/// A string or buffer in a snapshot is at most this long, in bytes.
const MAX_VALUE_BYTES: usize = 1 << 30;

/// Puts what stands before the znodes.
pub fn put_head(sessions: &[(i64, i32)], tree: &Tree, out: &mut BytesMut) {
    out.put_slice(&HEADER);
    out.put_i32(i32::try_from(sessions.len()).unwrap_or(i32::MAX));
    for (id, timeout_ms) in sessions {
        out.put_i64(*id);
        out.put_i32(*timeout_ms);
    }
    out.put_i32(i32::try_from(tree.acls().len()).unwrap_or(i32::MAX));
    for (number, acl) in tree.acls().entries() {
        out.put_i64(number);
        out.put_i32(i32::try_from(acl.len()).unwrap_or(i32::MAX));
        acl.iter().for_each(|entry| entry.encode(out));
    }
}

/// Puts one znode.
pub fn put_node(path: &str, node: &Frozen, out: &mut BytesMut) {
    encode_str(path, out);
    node.data.encode(out);
    out.put_i64(node.acl);
    node.stat.encode(out);
}

/// Puts what ends the znodes.
pub fn put_end_of_nodes(out: &mut BytesMut) {
    out.put_slice(&SEAL_END);
}

/// A snapshot that is being written, under a name that nobody takes for one.
pub struct SnapshotWriter {
    directories: Directories,
    zxid: i64,
    path: PathBuf,
    file: File,
    checksum: Adler32,
}

impl SnapshotWriter {
    /// Begins the snapshot that ends with `zxid`.
    pub fn create(directories: &Directories, zxid: i64) -> Result<Self, StorageError> {
        let path = directories.unfinished_snapshot(zxid);
        let file = File::create(&path).map_err(|e| StorageError::io("create", &path, e))?;
        let directories = directories.clone();
        Ok(Self {
            directories,
            zxid,
            path,
            file,
            checksum: Adler32::new(),
        })
    }

    /// Writes the next part.
    pub fn write(&mut self, part: &[u8]) -> Result<(), StorageError> {
        self.checksum.write(part);
        self.file
            .write_all(part)
            .map_err(|e| StorageError::io("write to", &self.path, e))
    }

    /// Seals the snapshot, with the tree's digest if digests are on, and gives it its name.
    pub fn finish(mut self, digest: Option<u64>) -> Result<(), StorageError> {
        self.seal()?;
        if let Some(digest) = digest {
            // Before the first transaction the real server has not looked at the digest yet.
            let digest = if self.zxid == 0 { 0 } else { digest };
            let mut part = BytesMut::with_capacity(20);
            part.put_i64(self.zxid);
            part.put_i32(digest::VERSION);
            part.put_u64(digest);
            self.write(&part)?;
            self.seal()?;
        }
        self.file
            .sync_data()
            .map_err(|e| StorageError::io("sync", &self.path, e))?;
        let path = self.directories.snapshot(self.zxid);
        fs::rename(&self.path, &path).map_err(|e| StorageError::io("rename", &self.path, e))?;
        sync_directory(&self.directories.snapshots)
    }

    fn seal(&mut self) -> Result<(), StorageError> {
        let mut seal = BytesMut::with_capacity(13);
        seal.put_u64(u64::from(self.checksum.finish()));
        seal.put_slice(&SEAL_END);
        self.write(&seal)
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

/// Whether the file ends as a complete snapshot does; the checksum is not looked at.
pub fn looks_complete(path: &Path) -> bool {
    use std::io::{Seek, SeekFrom};
    let mut end = [0; SEAL_END.len()];
    let read = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::End(-(SEAL_END.len() as i64)))?;
        file.read_exact(&mut end)
    });
    read.is_ok() && end == SEAL_END
}

/// Reads a snapshot. It is good if every record is, and the seal holds.
pub fn read(path: &Path, options: TreeOptions) -> Result<Snapshot, StorageError> {
    let file = File::open(path).map_err(|e| StorageError::io("open", path, e))?;
    let length = file
        .metadata()
        .map_err(|e| StorageError::io("open", path, e))?
        .len();
    let mut input = Input {
        path,
        file: BufReader::with_capacity(1 << 16, file),
        offset: 0,
        length,
        checksum: Adler32::new(),
    };
    if input.bytes(HEADER.len())?[..4] != HEADER[..4] {
        return Err(StorageError::corrupt(path, 0, "this is no snapshot"));
    }
    let mut sessions = Vec::new();
    for _ in 0..input.int()? {
        sessions.push((input.long()?, input.int()?));
    }
    let mut tree = Tree::empty(options);
    read_acls(&mut input, &mut tree)?;
    read_nodes(&mut input, &mut tree)?;
    input.check_seal()?;
    let mut found_digest = None;
    if input.offset < input.length {
        let (zxid, version, value) = (input.long()?, input.int()?, input.long()?);
        input.check_seal()?;
        if version == digest::VERSION && zxid > 0 {
            found_digest = Some((zxid, value as u64));
        }
    }
    tree.finish_restore();
    Ok(Snapshot {
        tree,
        sessions,
        digest: found_digest,
    })
}

fn read_acls(input: &mut Input<'_>, tree: &mut Tree) -> Result<(), StorageError> {
    for _ in 0..input.int()? {
        let number = input.long()?;
        let mut acl: Vec<Acl> = Vec::new();
        for _ in 0..input.int()? {
            let at = input.offset;
            let mut raw = BytesMut::new();
            raw.put_slice(&input.bytes(4)?);
            for _ in 0..2 {
                let value = input.sized()?;
                value.encode(&mut raw);
            }
            let entry = Reader::new(raw.freeze()).read();
            acl.push(entry.map_err(|e| StorageError::record(input.path, at, e))?);
        }
        tree.acls_mut().insert(number, acl);
    }
    Ok(())
}

fn read_nodes(input: &mut Input<'_>, tree: &mut Tree) -> Result<(), StorageError> {
    loop {
        let at = input.offset;
        let path = input.sized()?.unwrap_or_default();
        let path = String::from_utf8_lossy(&path).into_owned();
        if path == "/" {
            return Ok(());
        }
        let data = input.sized()?;
        let acl = input.long()?;
        let mut stat = Reader::new(input.bytes(StatPersisted::MIN_BYTES)?);
        let stat = stat
            .read()
            .map_err(|e| StorageError::record(input.path, at, e))?;
        tree.restore(&path, Znode::new(data, acl, stat))
            .map_err(|_| {
                StorageError::corrupt(
                    input.path,
                    at,
                    format!("znode {path} comes before its parent"),
                )
            })?;
    }
}

/// A file that is read from front to end, with its checksum so far.
struct Input<'p> {
    path: &'p Path,
    file: BufReader<File>,
    offset: u64,
    length: u64,
    checksum: Adler32,
}

impl Input<'_> {
    fn bytes(&mut self, count: usize) -> Result<Bytes, StorageError> {
        // Asked before anything is set aside.
        self.need(count)?;
        let mut bytes = vec![0; count];
        self.fill(&mut bytes)?;
        Ok(Bytes::from(bytes))
    }

    fn need(&self, count: usize) -> Result<(), StorageError> {
        if count as u64 <= self.length - self.offset {
            return Ok(());
        }
        let reason = "the file ends too early";
        Err(StorageError::corrupt(self.path, self.offset, reason))
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), StorageError> {
        self.need(buffer.len())?;
        self.file
            .read_exact(buffer)
            .map_err(|e| StorageError::io("read", self.path, e))?;
        self.offset += buffer.len() as u64;
        self.checksum.write(buffer);
        Ok(())
    }

    fn int(&mut self) -> Result<i32, StorageError> {
        let mut bytes = [0; 4];
        self.fill(&mut bytes)?;
        Ok(i32::from_be_bytes(bytes))
    }

    fn long(&mut self) -> Result<i64, StorageError> {
        let mut bytes = [0; 8];
        self.fill(&mut bytes)?;
        Ok(i64::from_be_bytes(bytes))
    }

    /// A string or buffer.
    fn sized(&mut self) -> Result<Option<Bytes>, StorageError> {
        let at = self.offset;
        match self.int()? {
            -1 => Ok(None),
            length => match usize::try_from(length) {
                Ok(count) if count <= MAX_VALUE_BYTES => self.bytes(count).map(Some),
                _ => Err(StorageError::corrupt(
                    self.path,
                    at,
                    format!("unreasonable length {length}"),
                )),
            },
        }
    }

    fn check_seal(&mut self) -> Result<(), StorageError> {
        let at = self.offset;
        let expected = u64::from(self.checksum.finish());
        let found = self.long()? as u64;
        let end = self.bytes(SEAL_END.len())?;
        if found != expected || end.as_ref() != SEAL_END {
            return Err(StorageError::corrupt(
                self.path,
                at,
                "the checksum of the snapshot is wrong",
            ));
        }
        Ok(())
    }
}
