//! Shell: reads everything in a data directory as a server would when it starts, changes nothing,
//! and tells what it found.

use std::io::{self, Write};
use std::path::Path;

use crate::offline::run::OfflineError;
use crate::state::database::DatabaseOptions;
use crate::state::digest;
use crate::state::tree::TreeOptions;
use crate::state::znode::ExtendedTypes;
use crate::storage::error::StorageError;
use crate::storage::files::{Directories, ZxidFile};
use crate::storage::log_file::{End, LogFile};
use crate::storage::recovery::{RecoveryOptions, recover};
use crate::storage::snapshot_reader::{self, SnapshotReader};

/// Verifies the directories of `dataDir` and `dataLogDir`; true if nothing is wrong with any file
/// and a server would start with all that was ever acknowledged.
pub fn verify(
    data_dir: &Path,
    data_log_dir: &Path,
    out: &mut impl Write,
) -> Result<bool, OfflineError> {
    let directories = Directories::existing(data_dir, data_log_dir)?;
    if let Err(StorageError::InUse { .. }) = directories.lock() {
        writeln!(
            out,
            "# a server is at work there; what it is writing may look unfinished"
        )?;
    }
    let mut good = true;
    for file in directories.snapshot_files()? {
        good &= snapshot(&file, out)?;
    }
    let mut last = None;
    for file in directories.log_files()? {
        good &= log(&file, &mut last, out)?;
    }
    good &= start(&directories, out)?;
    Ok(good)
}

fn bad(path: &Path, error: &StorageError, out: &mut impl Write) -> io::Result<bool> {
    writeln!(out, "BAD  {}: {error}", path.display())?;
    Ok(false)
}

fn snapshot(file: &ZxidFile, out: &mut impl Write) -> io::Result<bool> {
    match read_snapshot(&file.path) {
        Ok(told) => {
            writeln!(out, "good {}: {told}", file.path.display())?;
            Ok(true)
        }
        Err(_) if !snapshot_reader::looks_complete(&file.path) => {
            // A server that is killed while it writes one leaves this, and no other minds.
            writeln!(
                out,
                "part {}: it was never written to its end; a server takes the one before it",
                file.path.display()
            )?;
            Ok(true)
        }
        Err(error) => bad(&file.path, &error, out),
    }
}

fn read_snapshot(path: &Path) -> Result<String, StorageError> {
    let mut reader = SnapshotReader::open(path)?;
    let sessions = reader.sessions()?.len();
    reader.acls()?;
    let (mut nodes, mut sum) = (0_u64, 0_u64);
    while let Some(node) = reader.next_node()? {
        nodes += 1;
        let share = digest::of_node(&node.path, node.data, &node.stat);
        sum = sum.wrapping_add(u64::from(share));
    }
    let digest = match reader.finish()?.digest {
        None => "no digest",
        Some((_, digest::VERSION, value)) if value == sum => "the digest holds",
        Some((0, ..)) => "the digest of a first snapshot, which is 0",
        Some((_, digest::VERSION, _)) => {
            "the digest is another's: it was written while the tree changed"
        }
        Some(_) => "a digest of another version",
    };
    Ok(format!("{nodes} znodes, {sessions} sessions, {digest}"))
}

/// Reads one log; `last` is the zxid with which the one before ended.
fn log(file: &ZxidFile, last: &mut Option<i64>, out: &mut impl Write) -> io::Result<bool> {
    let read = || -> Result<_, StorageError> {
        let mut log = LogFile::open(&file.path)?;
        let (mut count, mut first, mut end) = (0_u64, None, *last);
        while let Some(entry) = log.next_entry()? {
            let zxid = entry.header.zxid;
            if let Some(before) = end
                && zxid >> 32 == before >> 32
                && zxid > before + 1
            {
                return Err(StorageError::Gap {
                    path: file.path.clone(),
                    found: zxid,
                    last: before,
                });
            }
            first.get_or_insert(zxid);
            end = Some(zxid);
            count += 1;
        }
        Ok((count, first, end, log.end().cloned()))
    };
    match read() {
        Ok((count, first, end, how)) => {
            *last = end;
            let range = match (first, end) {
                (Some(first), Some(end)) => format!(" from zxid 0x{first:x} to 0x{end:x}"),
                _ => String::new(),
            };
            let tail = match how {
                Some(End::Torn { offset }) => format!(
                    "; the entry at offset {offset} was never written completely, and never acknowledged"
                ),
                Some(End::Empty) => "; the file has no header: the log never began".to_owned(),
                _ => String::new(),
            };
            writeln!(
                out,
                "good {}: {count} transactions{range}{tail}",
                file.path.display()
            )?;
            Ok(true)
        }
        Err(error) => {
            *last = None;
            bad(&file.path, &error, out)
        }
    }
}

/// Starts as a server would.
fn start(directories: &Directories, out: &mut impl Write) -> io::Result<bool> {
    let tree = TreeOptions {
        digests: true,
        // Without them TTL znodes would be taken for ephemeral ones.
        extended_types: ExtendedTypes::On,
    };
    let options = RecoveryOptions {
        database: DatabaseOptions {
            tree,
            ..DatabaseOptions::default()
        },
        ..RecoveryOptions::read_only()
    };
    let recovered = match recover(directories, &options) {
        Ok(recovered) => recovered,
        Err(error) => {
            writeln!(out, "BAD  a server would not start: {error}")?;
            return Ok(false);
        }
    };
    let db = &recovered.database;
    writeln!(
        out,
        "data: snapshot.{:x} and {} transactions make {} znodes, {} sessions, last zxid 0x{:x}, digest 0x{:x}",
        recovered.snapshot_zxid,
        recovered.replayed,
        // The root counts twice, as in the four-letter words.
        db.tree.node_count() - 1,
        db.sessions.committed().len(),
        db.applied_zxid,
        db.tree.digest()
    )?;
    if recovered.orphans > 0 {
        let orphans = recovered.orphans;
        writeln!(
            out,
            "data: {orphans} ephemeral znodes of sessions that have ended would be deleted"
        )?;
    }
    match recovered.mismatch {
        None => Ok(true),
        Some(found) => {
            writeln!(
                out,
                "BAD  after zxid 0x{:x} the tree has digest 0x{:x}, but 0x{:x} was logged",
                found.zxid, found.found, found.expected
            )?;
            Ok(false)
        }
    }
}
