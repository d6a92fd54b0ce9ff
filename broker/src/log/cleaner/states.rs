//! Pure: which partitions are being cleaned, and which must not be (`LogCleanerManager.scala`).
//!
//! ```text
//! idle -> in progress -> idle
//!             |  pause
//!             v
//!         aborting -> paused(n) -> ... -> paused(1) -> idle
//! ```

use std::collections::HashMap;

use crate::log::names::TopicPartition;

/// What a partition that is not idle is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// One thread cleans it, or deletes its old segments.
    InProgress,
    /// As before, and so many callers wait for the thread to stop.
    Aborting(u32),
    /// So many callers keep the cleaner away.
    Paused(u32),
}

/// How a piece of work on a partition ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Nobody asked for it to stop.
    Undisturbed,
    /// Somebody waits for it to stop; what it found out about the log must not be noted.
    Aborted,
}

/// The partitions that are not idle.
#[derive(Debug, Default)]
pub struct CleaningStates {
    busy: HashMap<TopicPartition, State>,
}

impl CleaningStates {
    /// True if neither work nor a pause is noted for the partition.
    pub fn is_idle(&self, partition: &TopicPartition) -> bool {
        !self.busy.contains_key(partition)
    }

    /// Starts work on an idle partition; false if it is not idle.
    pub fn begin(&mut self, partition: &TopicPartition) -> bool {
        let idle = self.is_idle(partition);
        if idle {
            self.busy.insert(partition.clone(), State::InProgress);
        }
        idle
    }

    /// Ends work that [`CleaningStates::begin`] started.
    pub fn done(&mut self, partition: &TopicPartition) -> Ending {
        match self.busy.remove(partition) {
            Some(State::Aborting(waiting)) => {
                self.busy.insert(partition.clone(), State::Paused(waiting));
                Ending::Aborted
            }
            // A pause while no work is on has nothing to end.
            Some(paused @ State::Paused(_)) => {
                self.busy.insert(partition.clone(), paused);
                Ending::Aborted
            }
            Some(State::InProgress) | None => Ending::Undisturbed,
        }
    }

    /// Asks for the cleaner to stay away. Each call needs a [`CleaningStates::resume`].
    pub fn pause(&mut self, partition: &TopicPartition) {
        let state = match self.busy.get(partition) {
            None => State::Paused(1),
            Some(State::InProgress) => State::Aborting(1),
            Some(State::Aborting(waiting)) => State::Aborting(waiting + 1),
            Some(State::Paused(count)) => State::Paused(count + 1),
        };
        self.busy.insert(partition.clone(), state);
    }

    /// Takes one pause back.
    pub fn resume(&mut self, partition: &TopicPartition) {
        match self.busy.get(partition) {
            Some(State::Paused(count)) if *count > 1 => {
                let fewer = State::Paused(count - 1);
                self.busy.insert(partition.clone(), fewer);
            }
            Some(State::Paused(_)) => {
                self.busy.remove(partition);
            }
            _ => {}
        }
    }

    /// True once a pause holds: no thread works on the partition.
    pub fn is_paused(&self, partition: &TopicPartition) -> bool {
        matches!(self.busy.get(partition), Some(State::Paused(_)))
    }

    /// True if the thread that works on the partition is to stop.
    pub fn must_abort(&self, partition: &TopicPartition) -> bool {
        matches!(self.busy.get(partition), Some(State::Aborting(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_nest_and_wait_for_work_to_stop() {
        let (t, mut states) = (TopicPartition::new("t", 0), CleaningStates::default());
        assert!(states.begin(&t) && !states.begin(&t));
        states.pause(&t);
        states.pause(&t);
        assert!(states.must_abort(&t) && !states.is_paused(&t));
        assert_eq!(states.done(&t), Ending::Aborted);
        assert!(states.is_paused(&t) && !states.begin(&t));
        states.resume(&t);
        assert!(states.is_paused(&t));
        states.resume(&t);
        assert!(states.begin(&t));
        assert_eq!(states.done(&t), Ending::Undisturbed);
        assert!(states.is_idle(&t));
    }
}
