//! Shell: what keeps the log manager's other work and the cleaner apart: pauses, and the checkpoint of what is clean.

use std::collections::HashSet;

use crate::log::checkpoint::CLEANER_FILE;
use crate::log::cleaner::control::CleanerControl;
use crate::log::error::StorageResult;
use crate::log::log_dir::{LogDir, make_empty};
use crate::log::manager::LogManager;
use crate::log::names::TopicPartition;
use crate::log::partition_log::PartitionLog;

impl LogManager {
    /// What the cleaner's threads share with this manager.
    pub fn cleaner_control(&self) -> &CleanerControl {
        &self.cleaning
    }

    /// Stops the cleaning of a partition, waits until it has stopped, and keeps the cleaner away until
    /// [`LogManager::resume_cleaning`] is called as often.
    pub fn pause_cleaning(&self, partition: &TopicPartition) {
        self.cleaning.pause(partition);
    }

    /// Takes one [`LogManager::pause_cleaning`] back.
    pub fn resume_cleaning(&self, partition: &TopicPartition) {
        self.cleaning.resume(partition);
    }

    /// [`PartitionLog::truncate_to`] with the cleaner kept away. True if records were there.
    ///
    /// # Errors
    /// [`crate::log::error::StorageError`] if a file cannot be read, cut or renamed.
    pub fn truncate(&self, log: &PartitionLog, offset: i64, now_ms: i64) -> StorageResult<bool> {
        self.pause_cleaning(log.partition());
        let truncated = log.truncate_to(offset, now_ms).and_then(|truncated| {
            let clean = log.active_segment().base_offset();
            self.cleaning
                .lower_clean_offset(&log.log_dir(), log.partition(), clean)?;
            Ok(truncated)
        });
        self.resume_cleaning(log.partition());
        truncated
    }

    /// Makes the cleaner's checkpoints that are not there, empty as Kafka does.
    pub fn prepare_cleaner_checkpoints(&self) {
        for dir in self.online_dirs() {
            if let Err(error) = make_empty(&dir.path().join(CLEANER_FILE)) {
                self.report(dir, &error);
            }
        }
    }

    /// Takes the logs that are gone out of a directory's cleaner checkpoint.
    pub(super) fn checkpoint_cleaner(&self, dir: &LogDir) -> StorageResult<()> {
        let present: HashSet<TopicPartition> = self
            .logs_in(dir)
            .iter()
            .map(|log| log.partition().clone())
            .collect();
        self.cleaning.forget_absent(dir.path(), &present)
    }
}
