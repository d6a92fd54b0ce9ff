//! A server's state over a disk that crashes: whatever was acknowledged is there afterwards, and
//! what is there is exactly what the server had in memory after some transaction.
//!
//! Every run follows from its seed; `SIM_SEED=n` repeats one, `SIM_RUNS=n` makes more of them.

#![allow(clippy::unwrap_used, reason = "this is a test")]

mod disk;
mod dump;
mod pipelining;
mod random;
mod writes;

use std::collections::BTreeMap;

use common::zk::txn::TxnEntry;
use zk_server::state::apply::apply;
use zk_server::state::database::{Database, DatabaseOptions};
use zk_server::state::tree::TreeOptions;
use zk_server::storage::compression::Compression;
use zk_server::storage::error::StorageError;
use zk_server::storage::recovery::{RecoveryOptions, recover};

use disk::Disk;
use dump::dump;
use random::Random;
use writes::Writes;
use zk_server::state::znode::ExtendedTypes;

const DATABASE: DatabaseOptions = DatabaseOptions {
    tree: TreeOptions {
        digests: true,
        extended_types: ExtendedTypes::On,
    },
    skip_acl: false,
    enforce_quota: false,
    reconfig_enabled: false,
    close_session_txn: true,
};

fn options() -> RecoveryOptions {
    RecoveryOptions {
        database: DATABASE,
        trust_empty: false,
        may_begin: true,
        tick_ms: 2000,
        first_session_id: 0x0100_0000_0000_0001,
        now_ms: 0,
        compression: Compression::Plain,
        read_only: false,
    }
}

fn seeds() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match number("SIM_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("SIM_RUNS").unwrap_or(40)).collect(),
    }
}

/// The state of a server that starts on nothing.
fn empty_database() -> Database {
    let home = tempfile::tempdir().unwrap();
    let disk = Disk::open(home.path());
    recover(&disk.directories, &options()).unwrap().database
}

/// One life of a server, up to a crash.
struct Life<'r> {
    random: &'r mut Random,
    writes: Writes,
    db: Database,
    disk: Disk,
    /// What the state was after each transaction that was acknowledged.
    acknowledged: BTreeMap<i64, String>,
}

impl Life<'_> {
    fn run(&mut self, batches: u64) {
        for _ in 0..batches {
            let batch = self.decide();
            self.disk.append(&batch);
            self.disk.sync();
            self.apply(&batch);
            self.acknowledged = BTreeMap::from([(self.db.applied_zxid, dump(&self.db))]);
            self.snapshot_now_and_then();
        }
    }

    fn decide(&mut self) -> Vec<TxnEntry> {
        let count = 1 + self.random.below(6);
        (0..count)
            .map(|_| self.writes.next(&mut self.db, self.random))
            .collect()
    }

    fn apply(&mut self, batch: &[TxnEntry]) {
        for entry in batch {
            apply(&mut self.db, entry, 0, &mut Vec::new());
            if let Some(digest) = entry.digest {
                // Decided in advance, and true when the time comes.
                let zxid = entry.header.zxid;
                let expected = digest.tree_digest as u64;
                if self.db.pending.is_empty() {
                    assert_eq!(self.db.tree.digest(), expected, "digest of 0x{zxid:x}");
                }
            }
        }
    }

    /// Snapshots are written in parts between batches, over a tree that changes.
    fn snapshot_now_and_then(&mut self) {
        if !self.disk.is_writing_snapshot() && self.random.one_in(8) {
            let state = dump(&self.db);
            self.disk.start_snapshot(&mut self.db, state);
            if self.random.one_in(2) {
                self.disk.roll();
            }
        } else if self.random.one_in(2) {
            let nodes = self.random.below(30);
            self.disk.continue_snapshot(&mut self.db, nodes);
        }
    }
}

/// The states that recovery may find after a crash in the middle of `batch`: the last
/// acknowledged one, or that with some of the batch.
fn possible_states(life: &mut Life<'_>, batch: &[TxnEntry]) -> BTreeMap<i64, String> {
    let mut possible = life.acknowledged.clone();
    for entry in batch {
        apply(&mut life.db, entry, 0, &mut Vec::new());
        possible.insert(entry.header.zxid, dump(&life.db));
    }
    possible
}

#[test]
fn a_crash_loses_nothing_that_was_acknowledged() {
    for seed in seeds() {
        let mut random = Random::new(seed);
        let home = tempfile::tempdir().unwrap();
        let mut acknowledged = BTreeMap::new();
        for life_number in 0..6 {
            let mut disk = Disk::open(home.path());
            let recovered = recover(&disk.directories, &options()).unwrap();
            let db = recovered.database;
            if !acknowledged.is_empty() {
                let zxid = db.applied_zxid;
                let expected = acknowledged.get(&zxid);
                assert_eq!(
                    Some(&dump(&db)),
                    expected,
                    "life {life_number}, zxid 0x{zxid:x}; SIM_SEED={seed} repeats it"
                );
            }
            disk.start_log(db.applied_zxid + 1);
            let writes = Writes::new(&db);
            let now = BTreeMap::from([(db.applied_zxid, dump(&db))]);
            let mut life = Life {
                random: &mut random,
                writes,
                db,
                disk,
                acknowledged: now,
            };
            let batches = life.random.below(40);
            life.run(batches);
            let last = life.decide();
            life.disk.append(&last);
            acknowledged = possible_states(&mut life, &last);
            let Life { disk, random, .. } = life;
            disk.crash(random);
        }
    }
}

#[test]
fn a_flipped_bit_is_told_or_harmless() {
    for seed in seeds() {
        let mut random = Random::new(seed);
        let home = tempfile::tempdir().unwrap();
        let mut disk = Disk::open(home.path());
        let db = recover(&disk.directories, &options()).unwrap().database;
        disk.start_log(1);
        let writes = Writes::new(&db);
        let none = BTreeMap::new();
        let mut life = Life {
            random: &mut random,
            writes,
            db,
            disk,
            acknowledged: none,
        };
        life.run(30);
        let Life {
            disk, acknowledged, ..
        } = life;
        let last_entry = disk.last_entry();
        disk.stop();
        let (log, offset) = disk.flip_a_bit(&mut random);
        match recover(&disk.directories, &options()) {
            Ok(recovered) => {
                let same = acknowledged.get(&recovered.database.applied_zxid)
                    == Some(&dump(&recovered.database));
                // The very last entry cannot be told from one that was never finished.
                let was_last = last_entry.0 == log && offset >= last_entry.1;
                assert!(
                    same || was_last,
                    "{} at {offset}; SIM_SEED={seed}",
                    log.display()
                );
            }
            Err(StorageError::Corrupt {
                path, offset: told, ..
            }) => {
                assert_eq!(path, log, "SIM_SEED={seed}");
                assert!(
                    told <= offset,
                    "told {told}, flipped {offset}; SIM_SEED={seed}"
                );
            }
            Err(other) => panic!("{other}; SIM_SEED={seed}"),
        }
    }
}
