//! Pure: the states of a transaction, and which may follow which (`TransactionMetadata.scala`).

/// A state; its number stands in the log, its name is told to operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransactionState {
    /// The id is known, nothing is open.
    Empty,
    /// Partitions were added.
    Ongoing,
    /// The decision to commit is in the log, markers are on their way.
    PrepareCommit,
    /// The decision to abort is in the log, markers are on their way.
    PrepareAbort,
    /// All partitions have their commit marker.
    CompleteCommit,
    /// All partitions have their abort marker.
    CompleteAbort,
    /// The id expired and is about to be forgotten.
    Dead,
    /// The producer's epoch is being taken from it, to abort what it left open.
    PrepareEpochFence,
}

use TransactionState::{
    CompleteAbort, CompleteCommit, Dead, Empty, Ongoing, PrepareAbort, PrepareCommit,
    PrepareEpochFence,
};

/// All states, by number.
const ALL: [TransactionState; 8] = [
    Empty,
    Ongoing,
    PrepareCommit,
    PrepareAbort,
    CompleteCommit,
    CompleteAbort,
    Dead,
    PrepareEpochFence,
];

impl TransactionState {
    /// The state with a number, if there is one.
    pub fn from_id(id: i8) -> Option<TransactionState> {
        ALL.get(usize::try_from(id).ok()?).copied()
    }

    /// The state with a name, if there is one; case matters.
    pub fn from_name(name: &str) -> Option<TransactionState> {
        ALL.into_iter().find(|state| state.name() == name)
    }

    /// Its number in the log.
    pub fn id(self) -> i8 {
        self as i8
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Empty => "Empty",
            Ongoing => "Ongoing",
            PrepareCommit => "PrepareCommit",
            PrepareAbort => "PrepareAbort",
            CompleteCommit => "CompleteCommit",
            CompleteAbort => "CompleteAbort",
            Dead => "Dead",
            PrepareEpochFence => "PrepareEpochFence",
        }
    }

    /// Whether the decision is made and markers are being written.
    pub fn is_prepared(self) -> bool {
        matches!(self, PrepareCommit | PrepareAbort)
    }

    /// Whether an id that is idle in this state may be forgotten.
    pub fn may_expire(self) -> bool {
        matches!(self, Empty | CompleteCommit | CompleteAbort)
    }

    /// Whether this state may come after `previous`.
    pub fn may_follow(self, previous: TransactionState) -> bool {
        match self {
            Empty => matches!(previous, Empty | CompleteCommit | CompleteAbort),
            Ongoing => matches!(previous, Ongoing | Empty | CompleteCommit | CompleteAbort),
            PrepareCommit | PrepareEpochFence => previous == Ongoing,
            PrepareAbort => matches!(previous, Ongoing | PrepareEpochFence),
            CompleteCommit => previous == PrepareCommit,
            CompleteAbort => previous == PrepareAbort,
            Dead => previous.may_expire(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_lead_back_to_the_state() {
        for (number, state) in (0_i8..).zip(ALL) {
            assert_eq!(state.id(), number);
            assert_eq!(TransactionState::from_id(number), Some(state));
            assert_eq!(TransactionState::from_name(state.name()), Some(state));
        }
        assert_eq!(TransactionState::from_id(8), None);
        assert_eq!(TransactionState::from_id(-1), None);
        assert_eq!(TransactionState::from_name("ongoing"), None);
    }
}
