//! Shell: a directory with logs and snapshots as the server writes them, and its crash: of what
//! was not synced any part may be there.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::BytesMut;
use common::zk::txn::TxnEntry;
use zk_server::state::database::Database;
use zk_server::storage::compression::Compression;
use zk_server::storage::files::Directories;
use zk_server::storage::log_file::{HEADER, put_entry};
use zk_server::storage::snapshot;
use zk_server::storage::snapshot_reader;
use zk_server::storage::snapshot_writer::SnapshotWriter;

use crate::random::Random;

const PREALLOCATED: usize = 8192;
const PAGE_BYTES: usize = 4096;

struct Snapshotting {
    writer: SnapshotWriter,
    part: BytesMut,
    digest: u64,
    expected: String,
}

/// The directory.
pub struct Disk {
    /// Where it is.
    pub directories: Directories,
    log: PathBuf,
    content: Vec<u8>,
    synced: usize,
    last_entry: usize,
    roll: bool,
    snapshot: Option<Snapshotting>,
}

impl Disk {
    /// Opens it.
    pub fn open(home: &Path) -> Self {
        let directories = Directories::open(home, home, true).unwrap();
        Self {
            directories,
            log: PathBuf::new(),
            content: Vec::new(),
            synced: 0,
            last_entry: 0,
            roll: false,
            snapshot: None,
        }
    }

    /// Begins a log.
    pub fn start_log(&mut self, first_zxid: i64) {
        self.log = self.directories.log(first_zxid);
        self.content = HEADER.to_vec();
        self.synced = self.content.len();
        self.roll = false;
    }

    /// The next batch goes to a new log.
    pub fn roll(&mut self) {
        self.roll = true;
    }

    /// Writes a batch.
    pub fn append(&mut self, batch: &[TxnEntry]) {
        if self.roll {
            self.store(&self.content[..self.synced]);
            self.start_log(batch[0].header.zxid);
        }
        for entry in batch {
            self.last_entry = self.content.len();
            let mut bytes = BytesMut::new();
            put_entry(entry, &mut bytes);
            self.content.extend_from_slice(&bytes);
        }
    }

    /// What was written is safe.
    pub fn sync(&mut self) {
        self.synced = self.content.len();
    }

    /// The last log, and where its last entry begins.
    pub fn last_entry(&self) -> (PathBuf, u64) {
        (self.log.clone(), self.last_entry as u64)
    }

    /// Whether a snapshot is being written.
    pub fn is_writing_snapshot(&self) -> bool {
        self.snapshot.is_some()
    }

    /// Begins a snapshot; the state is what must be in it.
    pub fn start_snapshot(&mut self, db: &mut Database, expected: String) {
        let writer =
            SnapshotWriter::create(&self.directories, db.applied_zxid, Compression::Plain).unwrap();
        let mut part = BytesMut::new();
        snapshot::put_head(&db.sessions.committed(), &db.tree, &mut part);
        db.tree.start_checkpoint();
        let digest = db.tree.digest();
        self.snapshot = Some(Snapshotting {
            writer,
            part,
            digest,
            expected,
        });
    }

    /// Writes some more znodes.
    pub fn continue_snapshot(&mut self, db: &mut Database, nodes: u64) {
        let Some(current) = &mut self.snapshot else {
            return;
        };
        for _ in 0..nodes {
            let part = &mut current.part;
            if !db
                .tree
                .next_of_checkpoint(|path, node| snapshot::put_node(path, node, part))
            {
                snapshot::put_end_of_nodes(part);
                db.tree.end_checkpoint();
                let mut done = self.snapshot.take().unwrap();
                done.writer.write(&done.part).unwrap();
                done.writer.finish(Some(done.digest)).unwrap();
                self.check_snapshot(&done.expected);
                return;
            }
        }
    }

    /// The newest snapshot holds exactly the state of the moment when it was begun.
    fn check_snapshot(&self, expected: &str) {
        let newest = self.directories.snapshot_files().unwrap().pop().unwrap();
        let read = snapshot_reader::load(&newest.path, crate::DATABASE.tree).unwrap();
        let options = crate::options();
        let sessions = zk_server::state::sessions::Sessions::new(options.tick_ms, 1);
        let mut db = Database::new(read.tree, sessions, newest.zxid, crate::DATABASE);
        for (id, timeout_ms) in read.sessions {
            db.sessions.commit(id, timeout_ms, 0);
        }
        assert_eq!(crate::dump::dump(&db), expected);
    }

    /// Stops in order.
    pub fn stop(&self) {
        self.store(&self.content);
    }

    /// Loses some of what was not synced: the end of it, or some pages.
    pub fn crash(self, random: &mut Random) {
        let mut content = self.content.clone();
        match random.below(3) {
            0 => content.truncate(self.synced + self.unsynced(random)),
            1 => {
                let cut = self.synced + self.unsynced(random);
                content[cut..].fill(0);
            }
            _ => {
                // The first page was there before, up to what was synced then.
                let mut from = self.synced;
                while from < content.len() {
                    let end = content.len().min((from / PAGE_BYTES + 1) * PAGE_BYTES);
                    if random.one_in(2) {
                        content[from..end].fill(0);
                    }
                    from = end;
                }
            }
        }
        if random.one_in(2) {
            content.resize(content.len().next_multiple_of(PREALLOCATED), 0);
        }
        self.store(&content);
    }

    fn unsynced(&self, random: &mut Random) -> usize {
        random.below((self.content.len() - self.synced) as u64 + 1) as usize
    }

    fn store(&self, content: &[u8]) {
        fs::write(&self.log, content).unwrap();
    }

    /// Flips one bit of one log; tells which log and where.
    pub fn flip_a_bit(&self, random: &mut Random) -> (PathBuf, u64) {
        let logs = self.directories.log_files().unwrap();
        let path = random.pick(&logs).path.clone();
        let mut content = fs::read(&path).unwrap();
        // The header's version and dbid mean nothing to anybody.
        let at = 16 + random.below(content.len() as u64 - 16);
        content[at as usize] ^= 1 << random.below(8);
        fs::write(&path, content).unwrap();
        // Snapshots would hide the damage.
        for snapshot in self.directories.snapshot_files().unwrap() {
            if snapshot.zxid > 0 {
                fs::remove_file(snapshot.path).unwrap();
            }
        }
        (path, at)
    }
}
