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
