//! Shell: the small text files that remember offsets across restarts, replaced atomically (`CheckpointFile.java`).
//!
//! ```text
//! 0                         version
//! 2                         number of entries
//! topic 0 4711              offset checkpoints: topic, partition, offset
//! 3 4711                    leader-epoch-checkpoint: epoch, start offset
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::log::error::{IoContext, StorageError, StorageResult};
use crate::log::names::TopicPartition;

/// Offset up to which each log is known to be on disk.
pub const RECOVERY_POINT_FILE: &str = "recovery-point-offset-checkpoint";
/// First offset of each log whose start was moved within a segment.
pub const LOG_START_FILE: &str = "log-start-offset-checkpoint";
/// High watermark of each partition.
pub const HIGH_WATERMARK_FILE: &str = "replication-offset-checkpoint";
/// First offset that the cleaner has not seen.
pub const CLEANER_FILE: &str = "cleaner-offset-checkpoint";
/// Leader epochs of one partition.
pub const LEADER_EPOCH_FILE: &str = "leader-epoch-checkpoint";

const VERSION: i32 = 0;

/// Offsets by partition.
pub type Offsets = BTreeMap<TopicPartition, i64>;

/// Replaces a file so that after a crash it has either the old or the new contents.
///
/// # Errors
/// [`StorageError::Io`] if writing, syncing or renaming fails.
pub fn write_atomically(path: &Path, contents: &[u8]) -> StorageResult<()> {
    replace(path, contents, true)
}

/// As [`write_atomically`] without waiting for the disk; for contents that recovery can find again.
///
/// # Errors
/// [`StorageError::Io`] if writing or renaming fails.
pub fn write_unsynced(path: &Path, contents: &[u8]) -> StorageResult<()> {
    replace(path, contents, false)
}

fn replace(path: &Path, contents: &[u8], sync: bool) -> StorageResult<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    let temporary = PathBuf::from(name);
    let mut file = File::create(&temporary).context("create", &temporary)?;
    file.write_all(contents).context("write", &temporary)?;
    if sync {
        file.sync_all().context("sync", &temporary)?;
    }
    fs::rename(&temporary, path).context("rename onto", path)?;
    match path.parent() {
        Some(parent) if sync => sync_dir(parent),
        _ => Ok(()),
    }
}

/// Makes renames and new files in a directory durable.
///
/// # Errors
/// [`StorageError::Io`] if the directory cannot be opened or synced.
pub fn sync_dir(dir: &Path) -> StorageResult<()> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .context("sync directory", dir)
}

/// Reads an offset checkpoint; a file that is not there counts as empty.
///
/// # Errors
/// [`StorageError::Corrupt`] with the line if it is malformed.
pub fn read_offsets(path: &Path) -> StorageResult<Offsets> {
    let mut offsets = Offsets::new();
    let mut bad_number = None;
    let counted = read_entries(path, |fields| {
        let [topic, partition, offset] = fields else {
            return None;
        };
        match (partition.parse(), offset.parse()) {
            (Ok(partition), Ok(offset)) => {
                offsets.insert(TopicPartition::new(*topic, partition), offset);
            }
            _ => bad_number = Some(fields.join(" ")),
        }
        Some(())
    })?;
    if !counted {
        bad_number = Some("a negative number of entries".to_owned());
    }
    if let Some(entry) = bad_number {
        // Kafka goes on with nothing then, which costs time but no records.
        tracing::warn!(path = %path.display(), entry, "ignoring a checkpoint with a bad number");
        offsets.clear();
    }
    Ok(offsets)
}

/// Writes an offset checkpoint.
///
/// # Errors
/// [`StorageError::Io`] if it cannot be replaced.
pub fn write_offsets<'a>(
    path: &Path,
    offsets: impl ExactSizeIterator<Item = (&'a TopicPartition, i64)>,
) -> StorageResult<()> {
    let mut text = format!("{VERSION}\n{}\n", offsets.len());
    for (partition, offset) in offsets {
        let _ = writeln!(text, "{} {} {offset}", partition.topic, partition.partition);
    }
    write_atomically(path, text.as_bytes())
}

/// Reads a leader epoch checkpoint as (epoch, start offset); a file that is not there counts as empty.
///
/// # Errors
/// [`StorageError::Corrupt`] with the line if it is malformed.
pub fn read_epochs(path: &Path) -> StorageResult<Vec<(i32, i64)>> {
    let mut epochs = Vec::new();
    let counted = read_entries(path, |fields| {
        let [epoch, start] = fields else {
            return None;
        };
        let (epoch, start) = (epoch.parse().ok()?, start.parse().ok()?);
        epochs.push((epoch, start));
        (epoch >= 0 && start >= 0).then_some(())
    })?;
    match counted {
        true => Ok(epochs),
        false => Err(StorageError::corrupt(
            path,
            "line 2: a negative number of entries; delete the file to start anew",
        )),
    }
}

/// Text of a leader epoch checkpoint.
pub fn epochs_text(epochs: impl ExactSizeIterator<Item = (i32, i64)>) -> String {
    let mut text = format!("{VERSION}\n{}\n", epochs.len());
    for (epoch, start) in epochs {
        let _ = writeln!(text, "{epoch} {start}");
    }
    text
}

/// Calls `entry` with the blank-separated fields of each entry line; `None` from it means malformed. Answers false if the number of
/// entries is negative, which Kafka trips over in another way than over what is no number.
fn read_entries(path: &Path, mut entry: impl FnMut(&[&str]) -> Option<()>) -> StorageResult<bool> {
    let text = match fs::read_to_string(path).context("read", path) {
        Ok(text) => text,
        Err(error) if error.is_not_found() => return Ok(true),
        Err(error) => return Err(error),
    };
    let malformed = |line: usize, what: &str| {
        StorageError::corrupt(
            path,
            format!("line {line}: {what}; delete the file to start anew"),
        )
    };
    // Java ends lines with a lone carriage return, too.
    let text = match text.contains('\r') {
        true => text.replace("\r\n", "\n").replace('\r', "\n"),
        false => text,
    };
    let mut lines = text.lines();
    let Some(version) = lines.next() else {
        return Ok(true); // Created but never written: the same as absent.
    };
    if version.parse() != Ok(VERSION) {
        return Err(malformed(1, "expected version 0"));
    }
    let Some(count) = lines.next() else {
        return Ok(true); // Kafka takes it for empty.
    };
    let count: Result<i32, _> = count.parse();
    let count = count.map_err(|_| malformed(2, "expected the number of entries"))?;
    let Ok(count) = usize::try_from(count) else {
        return Ok(false);
    };
    let mut found = 0;
    for line in lines {
        found += 1;
        // Blanks at the front are a field of their own, at the end they are none.
        let indented = line.starts_with(|first: char| first.is_ascii_whitespace());
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let read = if indented { None } else { entry(&fields) };
        read.ok_or_else(|| malformed(found + 2, "malformed entry"))?;
    }
    if found != count {
        return Err(malformed(
            2,
            &format!("{count} entries announced, {found} found"),
        ));
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_as_kafka_writes_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(RECOVERY_POINT_FILE);
        assert_eq!(read_offsets(&path).unwrap(), Offsets::new());
        let offsets = Offsets::from([
            (TopicPartition::new("a", 1), 7),
            (TopicPartition::new("__consumer_offsets", 49), 0),
        ]);
        write_offsets(&path, offsets.iter().map(|(tp, offset)| (tp, *offset))).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "0\n2\n__consumer_offsets 49 0\na 1 7\n");
        assert_eq!(read_offsets(&path).unwrap(), offsets);
        for bad in [
            "1\n0\n",
            "0\n1\n",
            "0\n1\na 1\n",
            "0\n1\na 1 1\n\n",
            "0\n1\n a 1 1\n",
            "0 \n1\na 1 1\n",
            "0\n0\na 1 1\n",
        ] {
            fs::write(&path, bad).unwrap();
            assert!(
                matches!(read_offsets(&path), Err(StorageError::Corrupt { .. })),
                "{bad:?}"
            );
        }
        for nothing in [
            "",
            "0\n",
            "0\n-1\n",
            "0\n1\na x 1\n",
            "0\n1\na 1 99999999999999999999\n",
        ] {
            fs::write(&path, nothing).unwrap();
            assert_eq!(read_offsets(&path).unwrap(), Offsets::new(), "{nothing:?}");
        }
        fs::write(&path, "0\r+1\r\na \t1  7 \r").unwrap();
        let one = Offsets::from([(TopicPartition::new("a", 1), 7)]);
        assert_eq!(read_offsets(&path).unwrap(), one);
    }
}
