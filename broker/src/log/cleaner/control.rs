//! Shell: what the cleaner's threads and the rest of the log manager tell each other: who works on which partition, how far each
//! log is clean (`cleaner-offset-checkpoint`), which logs the cleaner has given up.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::log::checkpoint::{CLEANER_FILE, Offsets, read_offsets, write_offsets};
use crate::log::cleaner::states::{CleaningStates, Ending};
use crate::log::error::StorageResult;
use crate::log::names::TopicPartition;

/// What threads share.
#[derive(Debug, Default)]
pub struct CleanerControl {
    states: Mutex<CleaningStates>,
    /// Signalled when work has stopped because a pause asked for it.
    stopped: Condvar,
    /// First offset that is not clean, by log directory, as the checkpoints say.
    offsets: Mutex<BTreeMap<PathBuf, Offsets>>,
    /// Logs on which the cleaner failed, by log directory.
    uncleanable: Mutex<BTreeMap<PathBuf, BTreeSet<TopicPartition>>>,
    /// True if the cleaner's threads are to end.
    stopping: AtomicBool,
}

impl CleanerControl {
    /// Reads the checkpoint of a log directory; one that cannot be read counts as empty, which only costs time.
    pub fn load(&self, dir: &Path) {
        let offsets = read_offsets(&dir.join(CLEANER_FILE)).unwrap_or_else(|error| {
            tracing::warn!(%error, "ignoring unreadable checkpoint");
            Offsets::new()
        });
        self.offsets.lock().insert(dir.to_owned(), offsets);
    }

    /// Keeps the cleaner away from a partition, and waits until it has left it. Each call needs a
    /// [`CleanerControl::resume`].
    pub fn pause(&self, partition: &TopicPartition) {
        let mut states = self.states.lock();
        states.pause(partition);
        while !states.is_paused(partition) {
            self.stopped.wait(&mut states);
        }
    }

    /// Lets the cleaner at a partition again.
    pub fn resume(&self, partition: &TopicPartition) {
        self.states.lock().resume(partition);
    }

    /// Starts work on a partition; false if another thread works on it or it is paused.
    pub fn begin(&self, partition: &TopicPartition) -> bool {
        self.states.lock().begin(partition)
    }

    /// True if no thread works on the partition and nothing keeps the cleaner away.
    pub fn is_idle(&self, partition: &TopicPartition) -> bool {
        self.states.lock().is_idle(partition)
    }

    /// Ends work on a partition.
    pub fn done(&self, partition: &TopicPartition) -> Ending {
        let ending = self.states.lock().done(partition);
        if ending == Ending::Aborted {
            self.stopped.notify_all();
        }
        ending
    }

    /// True if work on the partition is to stop, or all work.
    pub fn must_stop(&self, partition: &TopicPartition) -> bool {
        self.is_stopping() || self.states.lock().must_abort(partition)
    }

    /// True if the cleaner's threads are to end.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Asks the cleaner's threads to end.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        // Under the lock, so that a thread about to sleep hears it.
        let _states = self.states.lock();
        self.stopped.notify_all();
    }

    /// Sleeps until the time has passed or the threads are to end.
    pub fn sleep(&self, duration: Duration) {
        let mut states = self.states.lock();
        if !self.is_stopping() {
            self.stopped.wait_for(&mut states, duration);
        }
    }

    /// First offset of a log that is not clean, if it was ever cleaned.
    pub fn clean_offset(&self, dir: &Path, partition: &TopicPartition) -> Option<i64> {
        self.offsets.lock().get(dir)?.get(partition).copied()
    }

    /// Notes up to where a log is clean.
    ///
    /// # Errors
    /// [`crate::log::error::StorageError`] if the checkpoint cannot be written.
    pub fn set_clean_offset(
        &self,
        dir: &Path,
        partition: &TopicPartition,
        offset: i64,
    ) -> StorageResult<()> {
        self.change(dir, |offsets| {
            offsets.insert(partition.clone(), offset) != Some(offset)
        })
    }

    /// Lowers the noted offset of a log that was truncated.
    ///
    /// # Errors
    /// [`crate::log::error::StorageError`] if the checkpoint cannot be written.
    pub fn lower_clean_offset(
        &self,
        dir: &Path,
        partition: &TopicPartition,
        offset: i64,
    ) -> StorageResult<()> {
        self.change(dir, |offsets| match offsets.get_mut(partition) {
            Some(known) if *known > offset => {
                *known = offset;
                true
            }
            _ => false,
        })
    }

    /// Forgets the logs of a directory that are not among `present`.
    ///
    /// # Errors
    /// [`crate::log::error::StorageError`] if the checkpoint cannot be written.
    pub fn forget_absent(
        &self,
        dir: &Path,
        present: &HashSet<TopicPartition>,
    ) -> StorageResult<()> {
        if let Some(given_up) = self.uncleanable.lock().get_mut(dir) {
            given_up.retain(|partition| present.contains(partition));
        }
        self.change(dir, |offsets| {
            let before = offsets.len();
            offsets.retain(|partition, _| present.contains(partition));
            offsets.len() != before
        })
    }

    /// Changes the offsets of a directory, and writes the checkpoint if that made a difference.
    fn change(&self, dir: &Path, work: impl FnOnce(&mut Offsets) -> bool) -> StorageResult<()> {
        let mut all = self.offsets.lock();
        let offsets = all.entry(dir.to_owned()).or_default();
        if !work(offsets) {
            return Ok(());
        }
        let entries = offsets
            .iter()
            .map(|(partition, offset)| (partition, *offset));
        write_offsets(&dir.join(CLEANER_FILE), entries)
    }

    /// Gives up a log: it is not cleaned again before the next start.
    pub fn give_up(&self, dir: &Path, partition: &TopicPartition) {
        let mut all = self.uncleanable.lock();
        all.entry(dir.to_owned())
            .or_default()
            .insert(partition.clone());
    }

    /// True if the cleaner has given up the log.
    pub fn is_given_up(&self, dir: &Path, partition: &TopicPartition) -> bool {
        let all = self.uncleanable.lock();
        all.get(dir).is_some_and(|logs| logs.contains(partition))
    }
}
