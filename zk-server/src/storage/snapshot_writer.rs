//! Shell: writes a snapshot in parts, under a name that nobody takes for one until it is whole.

use std::fs::{self, File};
use std::path::PathBuf;

use bytes::{BufMut, BytesMut};
use simd_adler32::Adler32;

use crate::state::digest;
use crate::state::tree::Tree;
use crate::storage::compression::{Compression, Encoder};
use crate::storage::error::StorageError;
use crate::storage::files::{Directories, sync_directory};
use crate::storage::snapshot::{self, SEAL_END};

/// Parts of a snapshot that nobody waits for, in bytes.
const PART_BYTES: usize = 64 << 10;

/// So much goes to the disk at once, in bytes: a sync of the log behind it does not wait long.
const SYNC_BYTES: usize = 2 << 20;

/// A snapshot that is being written. Dropped before it is whole, it leaves nothing behind.
pub struct SnapshotWriter {
    directories: Directories,
    zxid: i64,
    compression: Compression,
    path: PathBuf,
    output: Option<Encoder>,
    checksum: Adler32,
    unsynced: usize,
}

impl SnapshotWriter {
    /// Begins the snapshot that ends with `zxid`.
    pub fn create(
        directories: &Directories,
        zxid: i64,
        compression: Compression,
    ) -> Result<Self, StorageError> {
        let path = directories.unfinished_snapshot(zxid);
        let output = File::create(&path).and_then(|file| Encoder::new(file, compression));
        let output = output.map_err(|e| StorageError::io("create", &path, e))?;
        Ok(Self {
            directories: directories.clone(),
            zxid,
            compression,
            path,
            output: Some(output),
            checksum: Adler32::new(),
            unsynced: 0,
        })
    }

    /// Writes the next part.
    pub fn write(&mut self, part: &[u8]) -> Result<(), StorageError> {
        self.checksum.write(part);
        let Some(output) = &mut self.output else {
            return Ok(());
        };
        output
            .write_all(part)
            .map_err(|e| StorageError::io("write to", &self.path, e))?;
        self.unsynced += part.len();
        if self.unsynced >= SYNC_BYTES {
            self.unsynced = 0;
            output
                .sync()
                .map_err(|e| StorageError::io("sync", &self.path, e))?;
        }
        Ok(())
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
        if let Some(output) = self.output.take()
            && let Err(error) = output.finish().and_then(|file| file.sync_data())
        {
            // Only what is not yet whole is removed when this is dropped.
            let _ = fs::remove_file(&self.path);
            return Err(StorageError::io("sync", &self.path, error));
        }
        let path = self.directories.snapshot(self.zxid, self.compression);
        fs::rename(&self.path, &path).map_err(|e| StorageError::io("rename", &self.path, e))?;
        self.remove_other_forms();
        sync_directory(&self.directories.snapshots)
    }

    /// A snapshot of the same zxid may be there in another form: of the two the new one counts.
    fn remove_other_forms(&self) {
        for other in [Compression::Plain, Compression::Gzip, Compression::Snappy] {
            if other != self.compression {
                let _ = fs::remove_file(self.directories.snapshot(self.zxid, other));
            }
        }
    }

    fn seal(&mut self) -> Result<(), StorageError> {
        let mut seal = BytesMut::with_capacity(13);
        seal.put_u64(u64::from(self.checksum.finish()));
        seal.put_slice(&SEAL_END);
        self.write(&seal)
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        if self.output.take().is_some() {
            // On a full disk its room is needed.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Writes a snapshot of a tree that does not change meanwhile.
pub fn write_whole(
    directories: &Directories,
    tree: &Tree,
    sessions: &[(i64, i32)],
    zxid: i64,
    compression: Compression,
) -> Result<(), StorageError> {
    let path = directories.snapshot(zxid, compression);
    tracing::info!("Snapshotting: 0x{zxid:x} to {}", path.display());
    let mut writer = SnapshotWriter::create(directories, zxid, compression)?;
    let mut part = BytesMut::with_capacity(2 * PART_BYTES);
    snapshot::put_head(sessions, tree, &mut part);
    let mut written = Ok(());
    tree.each(|path, node| {
        snapshot::put_node(path, node, &mut part);
        if part.len() > PART_BYTES && written.is_ok() {
            written = writer.write(&part);
            part.clear();
        }
    });
    written?;
    snapshot::put_end_of_nodes(&mut part);
    writer.write(&part)?;
    writer.finish(tree.options().digests.then(|| tree.digest()))
}
