//! Pure: which producers' transactions in a log are being verified: what keeps a batch out of a log after its transaction
//! has ended (KIP-890, `VerificationStateEntry.java`).
//!
//! Before the first batch of a transaction is appended, the coordinator is asked whether the partition is part of it.
//! The log hands out a guard for the question and wants the same guard with the append. A marker that comes in between
//! takes the guard away, so that an answer from before it opens nothing after it.

use std::collections::HashMap;

/// Names one question about one producer's transaction; see [`NO_GUARD`].
pub type VerificationGuard = u64;

/// Stands for no guard: fits no question.
pub const NO_GUARD: VerificationGuard = 0;

/// What an append must show before a transactional batch may begin a transaction in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// Nothing: `transaction.partition.verification.enable` is off.
    Off,
    /// The guard of an answered question.
    Required(VerificationGuard),
}

/// A question that no append has settled yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenVerification {
    /// Its guard.
    pub guard: VerificationGuard,
    /// The lowest sequence number asked with, in the newest epoch.
    ///
    /// A batch above it must not be appended: the one with this number was refused and will be sent again, and would
    /// then be out of order for ever.
    pub lowest_sequence: i32,
    /// The newest epoch asked with.
    epoch: i16,
    /// When it was asked first, in milliseconds since the epoch.
    since_ms: i64,
}

/// The open questions of one log, by producer.
#[derive(Debug, Default)]
pub struct Verifications {
    open: HashMap<i64, OpenVerification>,
    last_guard: VerificationGuard,
}

impl Verifications {
    /// Notes that a producer's transaction is to be verified because of a batch; answers the guard of the question,
    /// which is the same until it is settled.
    pub fn begin(
        &mut self,
        producer_id: i64,
        sequence: i32,
        epoch: i16,
        now_ms: i64,
    ) -> VerificationGuard {
        let last_guard = &mut self.last_guard;
        let open = self.open.entry(producer_id).or_insert_with(|| {
            *last_guard += 1;
            OpenVerification {
                guard: *last_guard,
                lowest_sequence: sequence,
                epoch,
                since_ms: now_ms,
            }
        });
        if epoch > open.epoch || (epoch == open.epoch && sequence < open.lowest_sequence) {
            open.epoch = epoch;
            open.lowest_sequence = sequence;
        }
        open.guard
    }

    /// The open question about a producer.
    pub fn get(&self, producer_id: i64) -> Option<OpenVerification> {
        self.open.get(&producer_id).copied()
    }

    /// Settles a question: the producer's transaction has records in the log now, or has ended.
    pub fn settle(&mut self, producer_id: i64) {
        if !self.open.is_empty() {
            self.open.remove(&producer_id);
        }
    }

    /// Forgets questions that nothing settled in time.
    pub fn remove_expired(&mut self, now_ms: i64, expiration_ms: i64) {
        self.open
            .retain(|_, open| now_ms.saturating_sub(open.since_ms) < expiration_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_stays_until_settled_and_never_comes_back() {
        let mut open = Verifications::default();
        let first = open.begin(7, 5, 0, 100);
        assert_ne!(first, NO_GUARD);
        assert_eq!(open.begin(7, 9, 0, 200), first);
        assert_ne!(open.begin(8, 0, 0, 200), first);
        open.settle(7);
        assert_eq!(open.get(7), None);
        assert_ne!(open.begin(7, 5, 0, 300), first);
    }

    #[test]
    fn the_lowest_sequence_of_the_newest_epoch_counts() {
        let mut open = Verifications::default();
        let lowest = |open: &Verifications| open.get(7).unwrap().lowest_sequence;
        open.begin(7, 5, 1, 0);
        open.begin(7, 6, 1, 0);
        assert_eq!(lowest(&open), 5);
        open.begin(7, 3, 1, 0);
        assert_eq!(lowest(&open), 3);
        open.begin(7, 1, 0, 0);
        assert_eq!(lowest(&open), 3);
        open.begin(7, 8, 2, 0);
        assert_eq!(lowest(&open), 8);
        open.remove_expired(10, 10);
        assert_eq!(open.get(7), None);
    }
}
