//! Shell: where each leader's records start in a log, in memory and in `leader-epoch-checkpoint` (`LeaderEpochFileCache.java`, KIP-101).

use std::sync::Arc;

use crate::log::checkpoint::{
    LEADER_EPOCH_FILE, epochs_text, read_epochs, write_atomically, write_unsynced,
};
use crate::log::error::StorageResult;
use crate::log::partition_dir::PartitionDir;

/// An epoch and the offset of its first record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEntry {
    /// Leader epoch.
    pub epoch: i32,
    /// Offset at which it starts.
    pub start_offset: i64,
}

/// Where an epoch ends in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEnd {
    /// The largest epoch not above the one asked for.
    pub epoch: i32,
    /// Offset after its last record.
    pub end_offset: i64,
}

/// The epochs of one log; both columns rise.
#[derive(Debug)]
pub struct LeaderEpochs {
    dir: Arc<PartitionDir>,
    entries: Vec<EpochEntry>,
    /// What the file says, while loading has left that behind. The next leader of an empty log brings it back as a rule: two
    /// writes less for each.
    in_file: Option<Vec<EpochEntry>>,
}

impl LeaderEpochs {
    /// Reads the checkpoint of a partition directory.
    ///
    /// # Errors
    /// [`crate::log::error::StorageError`] if it cannot be read or is malformed.
    pub fn open(dir: &Arc<PartitionDir>) -> StorageResult<Self> {
        let mut epochs = LeaderEpochs {
            dir: Arc::clone(dir),
            entries: Vec::new(),
            in_file: None,
        };
        for (epoch, start_offset) in read_epochs(&dir.path().join(LEADER_EPOCH_FILE))? {
            epochs.insert(EpochEntry {
                epoch,
                start_offset,
            });
        }
        Ok(epochs)
    }

    /// All entries, oldest first.
    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    /// The newest entry.
    pub fn latest(&self) -> Option<EpochEntry> {
        self.entries.last().copied()
    }

    /// The oldest entry.
    pub fn earliest(&self) -> Option<EpochEntry> {
        self.entries.first().copied()
    }

    /// Notes that `epoch` starts at `start_offset`; entries that contradict it go. True if that was news.
    ///
    /// # Errors
    /// [`crate::log::error::StorageError`] if the checkpoint cannot be replaced.
    pub fn assign(&mut self, epoch: i32, start_offset: i64) -> StorageResult<bool> {
        if epoch < 0
            || start_offset < 0
            || !self.insert(EpochEntry {
                epoch,
                start_offset,
            })
        {
            return self.settle().map(|()| false);
        }
        if self.in_file.as_ref() == Some(&self.entries) {
            self.in_file = None;
        } else {
            self.write(true)?;
        }
        Ok(true)
    }

    /// True while the file says something else.
    pub fn is_unsettled(&self) -> bool {
        self.in_file.is_some()
    }

    /// Writes what [`LeaderEpochs::trim_loaded`] left unwritten.
    ///
    /// # Errors
    /// [`crate::log::error::StorageError`] if the checkpoint cannot be replaced.
    pub fn settle(&mut self) -> StorageResult<()> {
        match self.is_unsettled() {
            true => self.write(false),
            false => Ok(()),
        }
    }

    /// Drops what lies outside of a log that was just loaded. Until the next [`LeaderEpochs::assign`] or
    /// [`LeaderEpochs::settle`] the file stays as it is: who loads it again drops the same again.
    pub fn trim_loaded(&mut self, start_offset: i64, end_offset: i64) {
        let before = self.entries.clone();
        self.cut_end(end_offset);
        self.cut_start(start_offset);
        if self.entries != before && self.in_file.is_none() {
            self.in_file = Some(before);
        }
    }

    fn insert(&mut self, entry: EpochEntry) -> bool {
        let known = self.entries.last().is_some_and(|last| {
            last.epoch == entry.epoch && last.start_offset <= entry.start_offset
        });
        if known {
            return false;
        }
        while self.entries.last().is_some_and(|last| {
            last.epoch >= entry.epoch || last.start_offset >= entry.start_offset
        }) {
            self.entries.pop();
        }
        self.entries.push(entry);
        true
    }

    /// Where `epoch` ends, given the log's end. `None` if it is undefined (-1) or newer than any here.
    pub fn end_offset_for(&self, epoch: i32, log_end_offset: i64) -> Option<EpochEnd> {
        let latest = self.latest()?;
        if epoch == latest.epoch {
            return Some(EpochEnd {
                epoch,
                end_offset: log_end_offset,
            });
        }
        if epoch < 0 {
            return None;
        }
        let higher = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let next = self.entries.get(higher)?;
        let epoch = match higher.checked_sub(1) {
            Some(floor) => self.entries[floor].epoch,
            None => epoch, // Older than any here: whatever it wrote ended before the first one.
        };
        Some(EpochEnd {
            epoch,
            end_offset: next.start_offset,
        })
    }

    /// Drops epochs that start at or after a new end of the log.
    ///
    /// # Errors
    /// [`crate::log::error::StorageError`] if the checkpoint cannot be replaced.
    pub fn truncate_from_end(&mut self, end_offset: i64) -> StorageResult<()> {
        match self.cut_end(end_offset) {
            true => self.write(false),
            false => Ok(()),
        }
    }

    fn cut_end(&mut self, end_offset: i64) -> bool {
        let keep = self
            .entries
            .partition_point(|entry| entry.start_offset < end_offset);
        if end_offset < 0 || keep == self.entries.len() {
            return false;
        }
        self.entries.truncate(keep);
        true
    }

    /// Drops epochs that end before a new start of the log; the one that spans it then starts there.
    ///
    /// # Errors
    /// [`crate::log::error::StorageError`] if the checkpoint cannot be replaced.
    pub fn truncate_from_start(&mut self, start_offset: i64) -> StorageResult<()> {
        match self.cut_start(start_offset) {
            true => self.write(false),
            false => Ok(()),
        }
    }

    fn cut_start(&mut self, start_offset: i64) -> bool {
        let after = self
            .entries
            .partition_point(|entry| entry.start_offset <= start_offset);
        let Some(spanning) = after.checked_sub(1) else {
            return false;
        };
        if spanning == 0 && self.entries[0].start_offset == start_offset {
            return false;
        }
        self.entries.drain(..spanning);
        self.entries[0].start_offset = start_offset;
        true
    }

    /// Drops all epochs.
    ///
    /// # Errors
    /// [`crate::log::error::StorageError`] if the checkpoint cannot be replaced.
    pub fn clear(&mut self) -> StorageResult<()> {
        self.entries.clear();
        self.write(true)
    }

    fn write(&mut self, sync: bool) -> StorageResult<()> {
        let entries = self
            .entries
            .iter()
            .map(|entry| (entry.epoch, entry.start_offset));
        let text = epochs_text(entries);
        let path = self.dir.path().join(LEADER_EPOCH_FILE);
        if sync {
            write_atomically(&path, text.as_bytes())?;
        } else {
            write_unsynced(&path, text.as_bytes())?;
        }
        self.in_file = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(entries: &[(i32, i64)]) -> (tempfile::TempDir, LeaderEpochs) {
        let temp = tempfile::tempdir().unwrap();
        let mut epochs = LeaderEpochs::open(&PartitionDir::new(temp.path().to_owned())).unwrap();
        for (epoch, start) in entries {
            epochs.assign(*epoch, *start).unwrap();
        }
        (temp, epochs)
    }

    fn pairs(epochs: &LeaderEpochs) -> Vec<(i32, i64)> {
        epochs
            .entries()
            .iter()
            .map(|entry| (entry.epoch, entry.start_offset))
            .collect()
    }

    #[test]
    fn end_offsets() {
        let (_temp, epochs) = cache(&[(2, 10), (4, 20), (7, 30)]);
        let end = |epoch| {
            epochs
                .end_offset_for(epoch, 40)
                .map(|end| (end.epoch, end.end_offset))
        };
        assert_eq!(end(7), Some((7, 40)));
        assert_eq!(end(8), None);
        assert_eq!(end(-1), None);
        assert_eq!(end(6), Some((4, 30)));
        assert_eq!(end(4), Some((4, 30)));
        assert_eq!(end(3), Some((2, 20)));
        assert_eq!(end(1), Some((1, 10)));
    }

    #[test]
    fn what_loading_drops_is_written_only_when_it_lasts() {
        let (temp, mut epochs) = cache(&[(2, 10), (4, 20)]);
        let path = temp.path().join(LEADER_EPOCH_FILE);
        let text = || std::fs::read_to_string(&path).unwrap();
        epochs.trim_loaded(10, 20);
        assert_eq!(pairs(&epochs), [(2, 10)]);
        assert_eq!(text(), "0\n2\n2 10\n4 20\n");
        std::fs::remove_file(&path).unwrap();
        assert!(epochs.assign(4, 20).unwrap());
        assert!(!path.exists() && !epochs.is_unsettled());
        epochs.trim_loaded(10, 20);
        assert!(epochs.assign(5, 20).unwrap());
        assert_eq!(text(), "0\n2\n2 10\n5 20\n");
        epochs.trim_loaded(10, 20);
        assert!(!epochs.assign(2, 30).unwrap());
        assert_eq!(text(), "0\n1\n2 10\n");
        epochs.trim_loaded(15, 20);
        epochs.settle().unwrap();
        assert_eq!(text(), "0\n1\n2 15\n");
    }

    #[test]
    fn conflicting_entries_go_and_the_file_follows() {
        let (temp, mut epochs) = cache(&[(2, 10), (4, 20), (7, 30)]);
        assert!(!epochs.assign(7, 35).unwrap());
        assert!(epochs.assign(5, 30).unwrap());
        assert_eq!(pairs(&epochs), [(2, 10), (4, 20), (5, 30)]);
        epochs.truncate_from_start(25).unwrap();
        assert_eq!(pairs(&epochs), [(4, 25), (5, 30)]);
        epochs.truncate_from_end(30).unwrap();
        let again = LeaderEpochs::open(&PartitionDir::new(temp.path().to_owned())).unwrap();
        assert_eq!(pairs(&again), [(4, 25)]);
        let text = std::fs::read_to_string(temp.path().join(LEADER_EPOCH_FILE)).unwrap();
        assert_eq!(text, "0\n1\n4 25\n");
    }
}
