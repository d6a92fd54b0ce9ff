//! Files that Apache ZooKeeper 3.8.4 wrote: a first snapshot, a log of some hundred writes of
//! all kinds, and the snapshot that the server took when it started again after them.

#![allow(clippy::unwrap_used, reason = "this is a test")]

use std::fs;
use std::path::PathBuf;

use bytes::BytesMut;
use common::zk::data::Acl;
use zk_server::state::database::{Database, DatabaseOptions};
use zk_server::state::sessions::password;
use zk_server::state::tree::{NewNode, Tree, TreeOptions};
use zk_server::state::znode::ExtendedTypes;
use zk_server::storage::compression::Compression;
use zk_server::storage::files::Directories;
use zk_server::storage::log_file::{HEADER, LogFile, put_entry};
use zk_server::storage::recovery::{RecoveryOptions, recover};
use zk_server::storage::snapshot_reader;
use zk_server::storage::snapshot_writer::write_whole;

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

fn golden() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The snapshot that is not the first one.
fn last_snapshot() -> (PathBuf, i64) {
    let names = fs::read_dir(golden())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let zxid = |path: &PathBuf| {
        let name = path.file_name()?.to_str()?.strip_prefix("snapshot.")?;
        i64::from_str_radix(name, 16).ok()
    };
    names
        .filter_map(|path| zxid(&path).map(|zxid| (path, zxid)))
        .max_by_key(|(_, z)| *z)
        .unwrap()
}

fn nodes(tree: &Tree) -> Vec<String> {
    let mut nodes = Vec::new();
    tree.each(|path, node| {
        nodes.push(format!(
            "{path} {:?} {:?} {:?}",
            node.data,
            tree.acls().get(node.acl),
            node.stat
        ));
    });
    nodes
}

fn recover_from(files: &[&str]) -> (tempfile::TempDir, Directories, Database) {
    let home = tempfile::tempdir().unwrap();
    let directories = Directories::open(home.path(), home.path(), true).unwrap();
    for name in files {
        fs::copy(golden().join(name), directories.snapshots.join(name)).unwrap();
    }
    let options = RecoveryOptions {
        database: DATABASE,
        trust_empty: false,
        may_begin: true,
        tick_ms: 2000,
        first_session_id: 1,
        now_ms: 0,
        compression: Compression::Plain,
        read_only: false,
    };
    let database = recover(&directories, &options).unwrap().database;
    (home, directories, database)
}

#[test]
fn a_log_is_read_and_written_byte_for_byte() {
    let path = golden().join("log.1");
    let original = fs::read(&path).unwrap();
    let mut log = LogFile::open(&path).unwrap();
    let mut written = BytesMut::from(&HEADER[..]);
    let mut entries = 0;
    while let Some(entry) = log.next_entry().unwrap() {
        put_entry(&entry, &mut written);
        entries += 1;
    }
    assert!(entries > 60, "{entries} entries");
    assert_eq!(original[..written.len()], written[..]);
    assert!(original[written.len()..].iter().all(|byte| *byte == 0));
}

#[test]
fn replaying_the_log_gives_what_apache_had() {
    let (snapshot_path, zxid) = last_snapshot();
    let (_home, _, replayed) = recover_from(&["snapshot.0", "log.1"]);
    let expected = snapshot_reader::load(&snapshot_path, DATABASE.tree).unwrap();
    assert_eq!(replayed.applied_zxid, zxid);
    assert_eq!(nodes(&replayed.tree), nodes(&expected.tree));
    assert_eq!(expected.digest, Some((zxid, replayed.tree.digest())));
    let mut sessions = expected.sessions;
    sessions.sort_unstable();
    assert_eq!(replayed.sessions.committed(), sessions);
}

#[test]
fn a_first_snapshot_is_byte_for_byte_apaches() {
    let home = tempfile::tempdir().unwrap();
    let directories = Directories::open(home.path(), home.path(), true).unwrap();
    write_whole(
        &directories,
        &Tree::new(DATABASE.tree),
        &[],
        0,
        Compression::Plain,
    )
    .unwrap();
    let ours = fs::read(directories.snapshot(0, Compression::Plain)).unwrap();
    assert_eq!(ours, fs::read(golden().join("snapshot.0")).unwrap());
}

#[test]
fn our_snapshot_of_apaches_tree_has_the_same_contents() {
    let (snapshot_path, zxid) = last_snapshot();
    let name = snapshot_path.file_name().unwrap().to_str().unwrap();
    let (_home, directories, database) = recover_from(&[name]);
    let sessions = database.sessions.committed();
    write_whole(
        &directories,
        &database.tree,
        &sessions,
        zxid,
        Compression::Plain,
    )
    .unwrap();
    let again = snapshot_reader::load(
        &directories.snapshot(zxid, Compression::Plain),
        DATABASE.tree,
    )
    .unwrap();
    assert_eq!(nodes(&again.tree), nodes(&database.tree));
    // The order of znodes is free; their number and size is not.
    let length = |path: PathBuf| fs::metadata(path).unwrap().len();
    assert_eq!(
        length(directories.snapshot(zxid, Compression::Plain)),
        length(snapshot_path)
    );
}

#[test]
fn passwords_are_java_randoms() {
    // What `new Random(id ^ 0xB3415C00L).nextBytes(new byte[16])` gives.
    for (session, expected) in PASSWORDS {
        assert_eq!(password(session), expected, "0x{session:x}");
    }
}

const PASSWORDS: [(i64, [u8; 16]); 5] = [
    (
        0x1_u64 as i64,
        [
            0x05, 0x4c, 0xc7, 0x4a, 0x37, 0x32, 0x7d, 0xb2, 0x15, 0xe7, 0x02, 0xe2, 0x0c, 0x73,
            0xf0, 0x05,
        ],
    ),
    (
        0x100000000000001_u64 as i64,
        [
            0x05, 0x4c, 0xc7, 0x4a, 0x37, 0x32, 0x7d, 0xb2, 0x15, 0xe7, 0x02, 0xe2, 0x0c, 0x73,
            0xf0, 0x05,
        ],
    ),
    (
        0x7fffffffffffffff_u64 as i64,
        [
            0x20, 0xf6, 0x2c, 0xb5, 0x64, 0x8d, 0xc2, 0xd7, 0x71, 0x47, 0x1c, 0x8a, 0x24, 0x86,
            0xa9, 0xee,
        ],
    ),
    (
        0xffffffffffffffff_u64 as i64,
        [
            0x20, 0xf6, 0x2c, 0xb5, 0x64, 0x8d, 0xc2, 0xd7, 0x71, 0x47, 0x1c, 0x8a, 0x24, 0x86,
            0xa9, 0xee,
        ],
    ),
    (
        0x1a208a240650000_u64 as i64,
        [
            0x71, 0x38, 0x28, 0xcd, 0xaa, 0xbf, 0x96, 0x4f, 0x37, 0x23, 0x1b, 0x18, 0x03, 0xb1,
            0x87, 0x63,
        ],
    ),
];

/// ZooKeeper deletes them when it has loaded its data, and so that nothing later is replayed
/// over them a new snapshot is there at once.
#[test]
fn ephemerals_of_sessions_that_are_gone_are_deleted() {
    let home = tempfile::tempdir().unwrap();
    let directories = Directories::open(home.path(), home.path(), true).unwrap();
    let mut tree = Tree::new(DATABASE.tree);
    for (path, owner) in [("/lives", 5), ("/orphan", 6), ("/stays", 0)] {
        let new = NewNode {
            path,
            data: None,
            acl: &Acl::open(),
            owner,
            parent_cversion: -1,
        };
        tree.create(new, 3, 0).unwrap();
    }
    let sessions = [(5, 30_000)];
    write_whole(&directories, &tree, &sessions, 3, Compression::Gzip).unwrap();
    let options = RecoveryOptions {
        database: DATABASE,
        read_only: false,
        ..RecoveryOptions::read_only()
    };
    let recovered = recover(&directories, &options).unwrap();
    assert_eq!(recovered.orphans, 1);
    assert!(recovered.database.tree.get("/orphan").is_none());
    assert!(recovered.database.tree.get("/lives").is_some());
    let files = directories.snapshot_files().unwrap();
    assert_eq!(files.len(), 1, "{files:?}");
    let again = snapshot_reader::load(&files[0].path, DATABASE.tree).unwrap();
    assert_eq!(nodes(&again.tree), nodes(&recovered.database.tree));
    assert_eq!(again.digest, Some((3, again.tree.digest())));
}
