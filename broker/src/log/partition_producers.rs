//! Shell: what a partition log tells of its producers, and the verification of their transactions.

use crate::log::partition_log::PartitionLog;
use crate::log::producer_state::ProducerEntry;
use crate::log::verification::VerificationGuard;

impl PartitionLog {
    /// Number of producers that are remembered.
    pub fn producer_count(&self) -> usize {
        self.inner.lock().producers.producers().len()
    }

    /// The producers that are remembered, in the order of their ids.
    pub fn producers(&self) -> Vec<(i64, ProducerEntry)> {
        let inner = self.inner.lock();
        let known = inner.producers.producers();
        let mut producers: Vec<_> = known.iter().map(|(id, entry)| (*id, *entry)).collect();
        drop(inner);
        producers.sort_unstable_by_key(|(id, _)| *id);
        producers
    }

    /// Begins to verify a producer's transaction because of a batch; answers the guard to append the batch with, or
    /// `None` if the transaction has records here already.
    pub fn begin_verification(
        &self,
        producer_id: i64,
        sequence: i32,
        epoch: i16,
        now_ms: i64,
    ) -> Option<VerificationGuard> {
        let mut inner = self.inner.lock();
        let known = inner.producers.producers().get(&producer_id);
        if known.is_some_and(|entry| entry.txn_first_offset.is_some()) {
            return None;
        }
        Some(
            inner
                .verifications
                .begin(producer_id, sequence, epoch, now_ms),
        )
    }

    /// Last sequence number of a producer; `None` if it is not known or has none.
    pub fn last_sequence(&self, producer_id: i64) -> Option<i32> {
        let inner = self.inner.lock();
        let entry = inner.producers.producers().get(&producer_id)?;
        Some(entry.last_sequence()).filter(|sequence| *sequence >= 0)
    }

    /// Forgets producers that were silent for too long.
    pub fn expire_producers(&self, now_ms: i64) {
        let mut inner = self.inner.lock();
        let expiration_ms = self.producer_expiration_ms;
        inner.producers.remove_expired(now_ms, expiration_ms);
        inner.verifications.remove_expired(now_ms, expiration_ms);
    }
}
