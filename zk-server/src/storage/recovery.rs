//! Shell: what the disk holds: the newest good snapshot and the transactions after it.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::zk::txn::TxnEntry;

use crate::state::apply::apply;
use crate::state::database::{Database, DatabaseOptions};
use crate::state::digest;
use crate::state::sessions::Sessions;
use crate::state::tree::Tree;
use crate::storage::compression::Compression;
use crate::storage::error::StorageError;
use crate::storage::files::{Directories, ZxidFile};
use crate::storage::log_file::{End, LogFile};
use crate::storage::snapshot_reader::{self, Snapshot};
use crate::storage::snapshot_writer::write_whole;

/// How many snapshots are tried, the newest first (FileSnap.deserialize).
const SNAPSHOTS_TRIED: usize = 100;

/// How to recover.
#[derive(Clone, Copy, Debug)]
pub struct RecoveryOptions {
    /// Settings of the database.
    pub database: DatabaseOptions,
    /// `snapshot.trust.empty`: logs without a snapshot are applied to an empty tree.
    pub trust_empty: bool,
    /// `db.autocreate`, or there was a file `initialize`: an empty directory is one to begin in,
    /// and not one whose data are missing.
    pub may_begin: bool,
    /// `tickTime`, the width of a bucket of sessions.
    pub tick_ms: i64,
    /// The first session id to give out.
    pub first_session_id: i64,
    /// Monotonic clock: every session has its full timeout from now on.
    pub now_ms: i64,
    /// How snapshots are written.
    pub compression: Compression,
    /// Nothing on disk is changed: no torn end is cut off and no snapshot written.
    pub read_only: bool,
}

impl RecoveryOptions {
    /// Reads only, with defaults for everything else.
    pub fn read_only() -> Self {
        Self {
            database: DatabaseOptions::default(),
            trust_empty: false,
            may_begin: true,
            tick_ms: 2000,
            first_session_id: 1,
            now_ms: 0,
            compression: Compression::Plain,
            read_only: true,
        }
    }
}

/// What recovery found.
#[derive(Debug)]
pub struct Recovered {
    /// The state after the last transaction.
    pub database: Database,
    /// Transactions applied on top of the snapshot.
    pub replayed: u64,
    /// The snapshot's zxid.
    pub snapshot_zxid: i64,
    /// Whether the last log ends within an entry.
    pub torn: bool,
    /// Ephemeral znodes of sessions that are not there, which were deleted.
    pub orphans: usize,
    /// The first transaction after which the tree has not the digest that was logged with it.
    pub mismatch: Option<Mismatch>,
    /// How long reading the snapshot took; `None` if there was none.
    pub snapshot_took: Option<Duration>,
    /// How long reading and applying the logs took.
    pub logs_took: Duration,
}

/// A digest that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// After which transaction.
    pub zxid: i64,
    /// What was logged.
    pub expected: u64,
    /// What the tree has.
    pub found: u64,
}

/// Reads the newest good snapshot and applies the logs after it. An empty directory gets its
/// first snapshot.
pub fn recover(
    directories: &Directories,
    options: &RecoveryOptions,
) -> Result<Recovered, StorageError> {
    if !options.read_only {
        directories.remove_unfinished()?;
    }
    let started = Instant::now();
    let sessions = Sessions::new(options.tick_ms, options.first_session_id);
    let found = newest_snapshot(directories, options)?;
    let snapshot_took = found.as_ref().map(|_| started.elapsed());
    let (snapshot, snapshot_zxid) = match found {
        Some(found) => found,
        None => (first_snapshot(directories, options)?, 0),
    };
    let logs_started = Instant::now();
    let mut database = Database::new(snapshot.tree, sessions, snapshot_zxid, options.database);
    for (id, timeout_ms) in snapshot.sessions {
        database.sessions.commit(id, timeout_ms, options.now_ms);
    }
    let mut replay = Replay {
        database,
        replayed: 0,
        torn: false,
        damage: None,
        snapshot_digest: snapshot.digest.filter(|(zxid, _)| *zxid >= snapshot_zxid),
        mismatch: None,
        options: *options,
    };
    replay.check_snapshot_digest(snapshot_zxid);
    let logs = directories.logs_after(snapshot_zxid)?;
    for (i, file) in logs.iter().enumerate() {
        replay.log(file, i + 1 == logs.len())?;
    }
    let logs_took = logs_started.elapsed();
    replay.database.sessions.touch_all(options.now_ms);
    tracing::info!(
        "{} txns loaded in {} ms",
        replay.replayed,
        started.elapsed().as_millis()
    );
    if let Some((zxid, _)) = replay.snapshot_digest {
        tracing::warn!(
            "the snapshot was complete only at zxid 0x{zxid:x}, but the logs end with 0x{:x}: the data may be inconsistent",
            replay.database.applied_zxid
        );
    }
    let orphans = remove_orphans(&mut replay.database);
    if orphans > 0 && !options.read_only {
        // No transaction says that they went: what follows must not be replayed over them.
        let (db, zxid) = (&replay.database, replay.database.applied_zxid);
        let sessions = db.sessions.committed();
        write_whole(directories, &db.tree, &sessions, zxid, options.compression)?;
    }
    Ok(Recovered {
        database: replay.database,
        replayed: replay.replayed,
        snapshot_zxid,
        torn: replay.torn,
        orphans,
        mismatch: replay.mismatch,
        snapshot_took,
        logs_took,
    })
}

/// Deletes ephemeral znodes whose sessions are neither in the snapshot nor in the logs, as
/// ZooKeeper does when it has loaded its data; returns how many.
fn remove_orphans(db: &mut Database) -> usize {
    let dead: Vec<i64> = db
        .tree
        .ephemeral_sessions()
        .map(|(session, _)| session)
        .filter(|session| db.sessions.get(*session).is_none())
        .collect();
    let mut removed = 0;
    for session in dead {
        for path in db.tree.take_ephemerals(session) {
            let zxid = db.applied_zxid;
            removed += usize::from(db.tree.delete(&path, zxid).is_ok());
        }
    }
    if removed > 0 {
        tracing::warn!("{removed} ephemeral znodes of sessions that have ended were deleted");
    }
    removed
}

/// The newest good snapshot. One without an end is none, and nothing is said of it.
fn newest_snapshot(
    directories: &Directories,
    options: &RecoveryOptions,
) -> Result<Option<(Snapshot, i64)>, StorageError> {
    let files = directories.snapshot_files()?;
    let mut damaged = None;
    for file in files.iter().rev().take(SNAPSHOTS_TRIED) {
        tracing::info!("Reading snapshot {}", file.path.display());
        match snapshot_reader::load(&file.path, options.database.tree) {
            Ok(snapshot) => return Ok(Some((snapshot, file.zxid))),
            Err(error) => {
                tracing::warn!("problem reading snap file: {error}; trying the one before it");
                if snapshot_reader::looks_complete(&file.path) {
                    damaged.get_or_insert(error);
                }
            }
        }
    }
    match damaged {
        Some(error) => Err(error),
        None => Ok(None),
    }
}

/// What a server begins with that has never written a snapshot.
fn first_snapshot(
    directories: &Directories,
    options: &RecoveryOptions,
) -> Result<Snapshot, StorageError> {
    let path = || directories.snapshots.clone();
    match has_entries(directories)? {
        true if !options.trust_empty => return Err(StorageError::NoSnapshot { path: path() }),
        false if !options.may_begin => return Err(StorageError::Empty { path: path() }),
        _ => {}
    }
    let tree = Tree::new(options.database.tree);
    if !options.read_only {
        write_whole(directories, &tree, &[], 0, options.compression)?;
    }
    Ok(Snapshot {
        tree,
        sessions: Vec::new(),
        digest: None,
    })
}

/// Whether there is any transaction in the logs.
fn has_entries(directories: &Directories) -> Result<bool, StorageError> {
    for file in directories.log_files()? {
        if LogFile::open(&file.path)?.next_entry()?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn truncate(path: &Path, length: u64) -> Result<(), StorageError> {
    OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|file| file.set_len(length).and_then(|()| file.sync_all()))
        .map_err(|e| StorageError::io("truncate", path, e))
}

struct Replay {
    database: Database,
    replayed: u64,
    torn: bool,
    /// Where the log before ended within an entry.
    damage: Option<(PathBuf, u64)>,
    snapshot_digest: Option<(i64, u64)>,
    mismatch: Option<Mismatch>,
    options: RecoveryOptions,
}

impl Replay {
    fn log(&mut self, file: &ZxidFile, last: bool) -> Result<(), StorageError> {
        let mut log = LogFile::open(&file.path)?;
        // What the snapshot has is passed over.
        while let Some(entry) = log.next_entry_after(self.database.applied_zxid)? {
            self.entry(file, &entry)?;
        }
        match log.end() {
            Some(End::Torn { offset }) => {
                tracing::warn!(
                    "{}: the last entry, at offset {offset}, was not written completely and is dropped",
                    file.path.display()
                );
                // The rest goes, so that no other server stumbles over it.
                if last && !self.options.read_only {
                    truncate(&file.path, *offset)?;
                }
                self.torn |= last;
                self.damage = Some((file.path.clone(), *offset));
            }
            Some(End::Empty) => {
                tracing::warn!(
                    "{} holds no transactions and is dropped",
                    file.path.display()
                );
            }
            _ => {}
        }
        // The next log may want this name: its first zxid is the one that was lost here.
        if last && log.entries() == 0 && !self.options.read_only {
            fs::remove_file(&file.path).map_err(|e| StorageError::io("remove", &file.path, e))?;
        }
        Ok(())
    }

    fn entry(&mut self, file: &ZxidFile, entry: &TxnEntry) -> Result<(), StorageError> {
        let (zxid, last) = (entry.header.zxid, self.database.applied_zxid);
        if zxid <= last {
            return Ok(());
        }
        // Within an epoch zxids have no gaps; a new epoch begins anew in the upper half.
        let begins = last == 0 && self.options.trust_empty;
        if !begins && zxid >> 32 == last >> 32 && zxid != last + 1 {
            return Err(match self.damage.take() {
                Some((path, offset)) => {
                    let reason = format!(
                        "an entry is damaged, and {} goes on only with zxid 0x{zxid:x}",
                        file.path.display()
                    );
                    StorageError::corrupt(&path, offset, reason)
                }
                None => StorageError::Gap {
                    path: file.path.clone(),
                    found: zxid,
                    last,
                },
            });
        }
        apply(
            &mut self.database,
            entry,
            self.options.now_ms,
            &mut Vec::new(),
        );
        self.replayed += 1;
        self.check_snapshot_digest(zxid);
        self.check_digest(entry);
        Ok(())
    }

    fn check_snapshot_digest(&mut self, zxid: i64) {
        let Some((at, expected)) = self.snapshot_digest else {
            return;
        };
        if zxid >= at {
            self.snapshot_digest = None;
            if zxid == at && self.database.options.tree.digests {
                self.compare(zxid, expected);
            }
        }
    }

    fn check_digest(&mut self, entry: &TxnEntry) {
        let Some(logged) = entry
            .digest
            .filter(|digest| digest.version == digest::VERSION)
        else {
            return;
        };
        // Until the snapshot's own digest holds, the tree may be ahead of the log.
        if self.snapshot_digest.is_some() {
            self.database.digests.clear();
        } else if self.database.options.tree.digests {
            self.compare(entry.header.zxid, logged.tree_digest as u64);
        }
    }

    fn compare(&mut self, zxid: i64, expected: u64) {
        let found = self.database.tree.digest();
        if found != expected {
            self.database.stats.digest_mismatches += 1;
        }
        if found != expected && self.mismatch.is_none() {
            self.mismatch = Some(Mismatch {
                zxid,
                expected,
                found,
            });
            tracing::error!(
                "First digest mismatch on txn 0x{zxid:x}: expected digest is {expected}, actual digest is {found}"
            );
        }
    }
}
