//! Pure: which transactions the cleaner is in the middle of, so that aborted records go and markers stay until they say nothing
//! any more (`CleanedTransactionMetadata` in `LogCleaner.scala`).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use kafka_wire::records::batch::BatchHeader;
use kafka_wire::records::control::ControlType;

use crate::log::txn_index::AbortedTxn;

/// The transactions at the place in the log that the cleaner has reached.
#[derive(Debug, Default)]
pub struct CleanedTransactions {
    /// Producers with records that belong to no aborted transaction since their last marker.
    committed: HashSet<i64>,
    /// Aborted transactions that have begun, by producer, and whether a batch of theirs was met.
    aborted: HashMap<i64, (AbortedTxn, bool)>,
    /// Aborted transactions that have not begun, the next one first.
    ahead: BinaryHeap<Reverse<(i64, i64, i64, i64)>>,
}

impl CleanedTransactions {
    /// Adds what the transaction indexes say of the part of the log that comes next. The same may be added again.
    pub fn add_aborted(&mut self, transactions: &[AbortedTxn]) {
        for txn in transactions {
            let AbortedTxn {
                producer_id,
                first_offset,
                last_offset,
                last_stable_offset,
            } = *txn;
            let entry = (first_offset, producer_id, last_offset, last_stable_offset);
            self.ahead.push(Reverse(entry));
        }
    }

    /// Takes note of a batch that is no control batch. True if it belongs to an aborted transaction.
    pub fn on_batch(&mut self, header: &BatchHeader) -> bool {
        self.begin_up_to(header.last_offset());
        if !header.is_transactional() {
            return false;
        }
        match self.aborted.get_mut(&header.producer_id) {
            Some((_, met)) => {
                *met = true;
                true
            }
            None => {
                self.committed.insert(header.producer_id);
                false
            }
        }
    }

    /// Takes note of a control batch; `says` is what its record says, `None` if compaction has emptied it. True if
    /// nothing of its transaction is left, so that it may go. With an abort marker that stays comes the transaction that
    /// the index must go on naming.
    pub fn on_control_batch(
        &mut self,
        header: &BatchHeader,
        says: Option<ControlType>,
    ) -> (bool, Option<AbortedTxn>) {
        self.begin_up_to(header.last_offset());
        match says {
            None => (true, None),
            Some(ControlType::Abort) => match self.aborted.remove(&header.producer_id) {
                Some((txn, true)) => (false, Some(txn)),
                _ => (true, None),
            },
            Some(ControlType::Commit) => (!self.committed.remove(&header.producer_id), None),
            Some(ControlType::Other(_)) => (false, None),
        }
    }

    fn begin_up_to(&mut self, offset: i64) {
        while let Some(Reverse(entry)) = self.ahead.peek() {
            let (first_offset, producer_id, last_offset, last_stable_offset) = *entry;
            if first_offset > offset {
                return;
            }
            self.ahead.pop();
            let txn = AbortedTxn {
                producer_id,
                first_offset,
                last_offset,
                last_stable_offset,
            };
            self.aborted.entry(producer_id).or_insert((txn, false));
        }
    }
}
