//! Shell: what the disk holds: the newest good snapshot and the transactions after it.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::Instant;

use bytes::BytesMut;
use common::zk::txn::TxnEntry;

use crate::state::apply::apply;
use crate::state::database::{Database, DatabaseOptions};
use crate::state::digest;
use crate::state::sessions::Sessions;
use crate::state::tree::Tree;
use crate::storage::error::StorageError;
use crate::storage::files::{Directories, ZxidFile};
use crate::storage::log_file::{End, LogFile};
use crate::storage::snapshot::{self, Snapshot, SnapshotWriter};

/// How many snapshots are tried, the newest first (FileSnap.deserialize).
const SNAPSHOTS_TRIED: usize = 100;

/// How to recover.
#[derive(Clone, Copy, Debug)]
pub struct RecoveryOptions {
    /// Settings of the database.
    pub database: DatabaseOptions,
    /// `snapshot.trust.empty`: logs without a snapshot are applied to an empty tree.
    pub trust_empty: bool,
    /// `tickTime`, the width of a bucket of sessions.
    pub tick_ms: i64,
    /// The first session id to give out.
    pub first_session_id: i64,
    /// Monotonic clock: every session has its full timeout from now on.
    pub now_ms: i64,
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
}

/// Reads the newest good snapshot and applies the logs after it. An empty directory gets its
/// first snapshot.
pub fn recover(
    directories: &Directories,
    options: &RecoveryOptions,
) -> Result<Recovered, StorageError> {
    directories.remove_unfinished()?;
    let started = Instant::now();
    let sessions = Sessions::new(options.tick_ms, options.first_session_id);
    let (snapshot, snapshot_zxid) = match newest_snapshot(directories, options)? {
        Some(found) => found,
        None => {
            if has_entries(directories)? && !options.trust_empty {
                return Err(StorageError::NoSnapshot {
                    path: directories.snapshots.clone(),
                });
            }
            let tree = Tree::new(options.database.tree);
            write_whole(directories, &tree, &[], 0)?;
            (
                Snapshot {
                    tree,
                    sessions: Vec::new(),
                    digest: None,
                },
                0,
            )
        }
    };
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
        mismatch_told: false,
        trust_empty: options.trust_empty,
        now_ms: options.now_ms,
    };
    replay.check_snapshot_digest(snapshot_zxid);
    let logs = directories.logs_after(snapshot_zxid)?;
    for (i, file) in logs.iter().enumerate() {
        replay.log(file, i + 1 == logs.len())?;
    }
    replay.database.sessions.touch_all(options.now_ms);
    tracing::info!(
        "{} txns loaded in {} ms",
        replay.replayed,
        started.elapsed().as_millis()
    );
    let Replay {
        database,
        replayed,
        torn,
        ..
    } = replay;
    Ok(Recovered {
        database,
        replayed,
        snapshot_zxid,
        torn,
    })
}

fn newest_snapshot(
    directories: &Directories,
    options: &RecoveryOptions,
) -> Result<Option<(Snapshot, i64)>, StorageError> {
    let files = directories.snapshot_files()?;
    let mut bad = 0;
    for file in files.iter().rev().take(SNAPSHOTS_TRIED) {
        tracing::info!("Reading snapshot {}", file.path.display());
        match snapshot::read(&file.path, options.database.tree) {
            Ok(snapshot) => return Ok(Some((snapshot, file.zxid))),
            Err(error) => {
                bad += 1;
                tracing::warn!("problem reading snap file: {error}; trying the one before it");
            }
        }
    }
    if bad > 0 {
        return Err(StorageError::NoSnapshot {
            path: directories.snapshots.clone(),
        });
    }
    Ok(None)
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

/// Writes a snapshot of a tree that does not change.
pub fn write_whole(
    directories: &Directories,
    tree: &Tree,
    sessions: &[(i64, i32)],
    zxid: i64,
) -> Result<(), StorageError> {
    tracing::info!(
        "Snapshotting: 0x{zxid:x} to {}",
        directories.snapshot(zxid).display()
    );
    let mut writer = SnapshotWriter::create(directories, zxid)?;
    let mut part = BytesMut::new();
    snapshot::put_head(sessions, tree, &mut part);
    let mut walk = crate::state::checkpoint::Checkpoint::new(i64::MAX);
    while tree.next_frozen(&mut walk, |path, node| {
        snapshot::put_node(path, node, &mut part)
    }) {
        if part.len() > 1 << 16 {
            writer.write(&part)?;
            part.clear();
        }
    }
    snapshot::put_end_of_nodes(&mut part);
    writer.write(&part)?;
    writer.finish(tree.options().digests.then(|| tree.digest()))
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
    mismatch_told: bool,
    trust_empty: bool,
    now_ms: i64,
}

impl Replay {
    fn log(&mut self, file: &ZxidFile, last: bool) -> Result<(), StorageError> {
        let mut log = LogFile::open(&file.path)?;
        let mut entries = 0_u64;
        while let Some(entry) = log.next_entry()? {
            entries += 1;
            self.entry(file, &entry)?;
        }
        match log.end() {
            Some(End::Torn { offset }) => {
                tracing::warn!(
                    "{}: the last entry, at offset {offset}, was not written completely and is dropped",
                    file.path.display()
                );
                // The rest goes, so that no other server stumbles over it.
                if last {
                    truncate(&file.path, *offset)?;
                    self.torn = true;
                }
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
        if last && entries == 0 {
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
        let begins = last == 0 && self.trust_empty;
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
        apply(&mut self.database, entry, self.now_ms, &mut Vec::new());
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
        if self.snapshot_digest.is_none() && self.database.options.tree.digests {
            self.compare(entry.header.zxid, logged.tree_digest as u64);
        }
    }

    fn compare(&mut self, zxid: i64, expected: u64) {
        let found = self.database.tree.digest();
        if found != expected && !self.mismatch_told {
            self.mismatch_told = true;
            tracing::error!(
                "First digest mismatch on txn 0x{zxid:x}: expected digest is {expected}, actual digest is {found}"
            );
        }
    }
}
