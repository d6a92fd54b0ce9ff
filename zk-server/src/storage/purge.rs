//! Shell: removes snapshots and logs that are no longer needed (PurgeTxnLog.java).

use std::fs;

use crate::storage::error::StorageError;
use crate::storage::files::Directories;
use crate::storage::snapshot_reader;

/// Keeps the newest `retain` complete snapshots and every log that is needed to go on from the
/// oldest of them; returns how many files went.
pub fn purge(directories: &Directories, retain: usize) -> Result<usize, StorageError> {
    let snapshots = directories.snapshot_files()?;
    let complete: Vec<i64> = snapshots
        .iter()
        .rev()
        .filter(|file| snapshot_reader::looks_complete(&file.path))
        .map(|file| file.zxid)
        .take(retain)
        .collect();
    let Some(oldest_kept) = complete.last().copied() else {
        return Ok(0);
    };
    let needed = directories.logs_after(oldest_kept)?;
    let logs = directories.log_files()?;
    let old = snapshots
        .iter()
        .chain(logs.iter().filter(|file| !needed.contains(file)))
        .filter(|file| file.zxid < oldest_kept);
    let mut removed = 0;
    for file in old {
        tracing::info!("Removing file: {}", file.path.display());
        fs::remove_file(&file.path).map_err(|e| StorageError::io("remove", &file.path, e))?;
        removed += 1;
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names that ZooKeeper's own PurgeTxnLog left of these with `-n 3`.
    #[test]
    fn the_same_files_stay_as_with_zookeeper() {
        let home = tempfile::tempdir().unwrap();
        let directories = Directories::open(home.path(), home.path(), true).unwrap();
        let put = |name: &str, bytes: &[u8]| fs::write(directories.logs.join(name), bytes).unwrap();
        let whole = [&[0; 100][..], &crate::storage::snapshot::SEAL_END].concat();
        for zxid in ["10", "20", "30", "50"] {
            put(&format!("snapshot.{zxid}"), &whole);
        }
        put("snapshot.40", b"ZKSN");
        for zxid in ["1", "11", "15", "21", "31", "45", "51", "14.bak"] {
            put(&format!("log.{zxid}"), b"");
        }
        put("other", b"");
        assert_eq!(purge(&directories, 3).unwrap(), 4);
        let mut left: Vec<String> = fs::read_dir(&directories.logs)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        let expected = [
            "log.15",
            "log.21",
            "log.31",
            "log.45",
            "log.51",
            "other",
            "snapshot.20",
            "snapshot.30",
            "snapshot.40",
            "snapshot.50",
        ];
        assert_eq!(left, expected);
    }
}
