//! Pure: what a log knows of its producers: sequences, epochs, duplicates, open transactions (`ProducerStateManager.java`, KIP-98).
//!
//! Its form on disk is in `producer_snapshot.rs`.

use std::collections::{BTreeMap, HashMap};

use kafka_wire::records::batch::{BatchHeader, NO_PRODUCER_EPOCH, NO_SEQUENCE, increment_sequence};
use kafka_wire::records::control::{ControlType, EndTransactionMarker};

use crate::log::verification::{OpenVerification, Verification};

/// Batches kept per producer, among which a repeated one is recognised.
const BATCHES_KEPT: usize = 5;

/// Who appends; decides how much is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendOrigin {
    /// A produce request: everything is checked.
    Client,
    /// A group or transaction coordinator: sequences are not checked.
    Coordinator,
    /// A leader's records on a follower, or recovery: taken as they are.
    Replication,
}

/// Why a producer's batch is not appended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProducerError {
    /// Its epoch is below the newest one seen.
    #[error(
        "epoch of producer {producer_id} is {epoch}, which is smaller than the last seen epoch {current}"
    )]
    InvalidEpoch {
        /// Producer id.
        producer_id: i64,
        /// Epoch of the batch.
        epoch: i16,
        /// Newest epoch seen.
        current: i16,
    },
    /// Its first sequence number does not follow the last one.
    #[error(
        "out of order sequence number for producer {producer_id}: {incoming} (incoming seq. number), \
         {last} (current end sequence number)"
    )]
    OutOfOrderSequence {
        /// Producer id.
        producer_id: i64,
        /// First sequence number of the batch.
        incoming: i32,
        /// Last sequence number seen.
        last: i32,
    },
    /// A batch outside a transaction while the producer has one open.
    #[error("expected transactional write from producer {producer_id}")]
    NotTransactional {
        /// Producer id.
        producer_id: i64,
    },
    /// A batch would begin a transaction of which the coordinator was not asked, or that has ended since it was.
    #[error("record of producer {producer_id} was not part of an ongoing transaction")]
    NotVerified {
        /// Producer id.
        producer_id: i64,
    },
    /// A batch with a lower sequence number is still to come: its transaction could not be verified yet.
    #[error(
        "out of order sequence number for producer {producer_id}: {incoming} (incoming seq. number), \
         {lowest} (earliest seen sequence)"
    )]
    AboveUnverified {
        /// Producer id.
        producer_id: i64,
        /// First sequence number of the batch.
        incoming: i32,
        /// Lowest sequence number that awaits verification.
        lowest: i32,
    },
    /// A marker of a coordinator that has been replaced.
    #[error(
        "invalid coordinator epoch for producer {producer_id}: {epoch} (zombie), {current} (current)"
    )]
    CoordinatorFenced {
        /// Producer id.
        producer_id: i64,
        /// Coordinator epoch of the marker.
        epoch: i32,
        /// Newest coordinator epoch seen.
        current: i32,
    },
}

/// A batch that was appended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AppendedBatch {
    /// Last sequence number.
    pub last_sequence: i32,
    /// Last offset.
    pub last_offset: i64,
    /// Last offset less first offset.
    pub offset_delta: i32,
    /// Largest timestamp in milliseconds.
    pub timestamp: i64,
}

impl AppendedBatch {
    /// First sequence number.
    pub fn first_sequence(&self) -> i32 {
        // Counts back from the last one, through zero if need be.
        let first = i64::from(self.last_sequence) - i64::from(self.offset_delta);
        (if first < 0 {
            first + i64::from(i32::MAX) + 1
        } else {
            first
        }) as i32
    }

    /// First offset.
    pub fn first_offset(&self) -> i64 {
        self.last_offset - i64::from(self.offset_delta)
    }
}

/// The last few batches of a producer, in place: no producer has memory of its own.
#[derive(Debug, Clone, Copy, Default)]
pub struct RecentBatches {
    /// Oldest first; what follows the first `count` means nothing.
    slots: [AppendedBatch; BATCHES_KEPT],
    count: u8,
}

impl RecentBatches {
    /// The batches, oldest first.
    pub fn as_slice(&self) -> &[AppendedBatch] {
        &self.slots[..usize::from(self.count).min(BATCHES_KEPT)]
    }

    /// The newest batch.
    pub fn back(&self) -> Option<&AppendedBatch> {
        self.as_slice().last()
    }

    /// Adds the newest batch, in the place of the oldest one if there are enough.
    pub fn push(&mut self, batch: AppendedBatch) {
        let count = self.as_slice().len();
        if count == BATCHES_KEPT {
            self.slots.copy_within(1.., 0);
            self.slots[BATCHES_KEPT - 1] = batch;
        } else {
            self.slots[count] = batch;
            self.count = count as u8 + 1;
        }
    }
}

impl PartialEq for RecentBatches {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for RecentBatches {}

/// What is known of one producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerEntry {
    /// Newest epoch, -1 if none.
    pub epoch: i16,
    /// The last batches of that epoch.
    pub batches: RecentBatches,
    /// Epoch of the coordinator that wrote the last marker, -1 if none.
    pub coordinator_epoch: i32,
    /// Timestamp of the last batch or marker in milliseconds, -1 if none.
    pub last_timestamp: i64,
    /// First offset of the open transaction.
    pub txn_first_offset: Option<i64>,
}

impl Default for ProducerEntry {
    fn default() -> Self {
        ProducerEntry {
            epoch: NO_PRODUCER_EPOCH,
            batches: RecentBatches::default(),
            coordinator_epoch: -1,
            last_timestamp: -1,
            txn_first_offset: None,
        }
    }
}

impl ProducerEntry {
    /// Last sequence number, -1 if none.
    pub fn last_sequence(&self) -> i32 {
        self.batches
            .back()
            .map_or(NO_SEQUENCE, |batch| batch.last_sequence)
    }

    /// The kept batch with exactly these sequence numbers.
    pub fn find_duplicate(&self, epoch: i16, first: i32, last: i32) -> Option<AppendedBatch> {
        if epoch != self.epoch {
            return None;
        }
        let same =
            |batch: &&AppendedBatch| batch.first_sequence() == first && batch.last_sequence == last;
        self.batches.as_slice().iter().find(same).copied()
    }

    fn move_to_epoch(&mut self, epoch: i16) {
        if self.epoch != epoch {
            self.batches = RecentBatches::default();
            self.epoch = epoch;
        }
    }
}

/// A batch of a producer about to be appended, offsets assigned.
#[derive(Debug, Clone, Copy)]
pub struct ProducerBatch {
    /// Its header.
    pub header: BatchHeader,
    /// What it says, if it is a control batch that still holds a transaction marker.
    pub marker: Option<EndTransactionMarker>,
}

/// A transaction that a marker has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompletedTxn {
    /// Its producer.
    pub producer_id: i64,
    /// Offset of its first record.
    pub first_offset: i64,
    /// Offset of the marker.
    pub last_offset: i64,
    /// True if it was rolled back.
    pub aborted: bool,
}

/// What appending some batches will change; made by [`ProducerStates::check`] and
/// [`ProducerStates::check_append`], applied after the write.
#[derive(Debug, Default)]
pub struct ProducerChanges {
    updated: Updated,
    started: Vec<(i64, i64)>,
    completed: Vec<CompletedTxn>,
    duplicate: Option<AppendedBatch>,
}

/// Producers with what they become. A leader appends one batch at a time, so one is what must be quick.
#[derive(Debug, Default)]
struct Updated {
    one: Option<(i64, ProducerEntry)>,
    /// All of them, if there are several.
    many: HashMap<i64, ProducerEntry>,
}

impl Updated {
    /// The entry of a producer, which is `known` if it was not updated so far.
    fn entry(&mut self, producer_id: i64, known: Option<&ProducerEntry>) -> &mut ProducerEntry {
        let fresh = || known.copied().unwrap_or_default();
        let is_only = |one: &(i64, ProducerEntry)| one.0 == producer_id;
        if self.many.is_empty() && self.one.as_ref().is_none_or(is_only) {
            return &mut self.one.get_or_insert_with(|| (producer_id, fresh())).1;
        }
        self.many.extend(self.one.take());
        self.many.entry(producer_id).or_insert_with(fresh)
    }
}

impl ProducerChanges {
    /// The batch that the appended one repeats; it must not be written again.
    pub fn duplicate(&self) -> Option<AppendedBatch> {
        self.duplicate
    }

    /// True if no transaction begins or ends.
    pub fn is_stable(&self) -> bool {
        self.started.is_empty() && self.completed.is_empty()
    }
}

/// The producers of one log.
#[derive(Debug, Default)]
pub struct ProducerStates {
    pub(super) producers: HashMap<i64, ProducerEntry>,
    /// Open transactions: first offset to producer.
    pub(super) ongoing: BTreeMap<i64, i64>,
    /// Ended transactions whose marker is above the high watermark: first offset to marker offset.
    unreplicated: BTreeMap<i64, i64>,
    end_offset: i64,
}

impl ProducerStates {
    /// No producers; reflects the log up to `end_offset`.
    pub fn new(end_offset: i64) -> Self {
        ProducerStates {
            end_offset,
            ..ProducerStates::default()
        }
    }

    /// The producers by id.
    pub fn producers(&self) -> &HashMap<i64, ProducerEntry> {
        &self.producers
    }

    /// True without producers and transactions.
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty() && self.unreplicated.is_empty()
    }

    /// Offset up to which the log is reflected.
    pub fn end_offset(&self) -> i64 {
        self.end_offset
    }

    /// Notes that the log is reflected up to `offset`.
    pub fn set_end_offset(&mut self, offset: i64) {
        self.end_offset = offset;
    }

    /// Checks one batch that a leader is about to append. `open` is the producer's open verification, if it has one.
    ///
    /// # Errors
    /// [`ProducerError`] if it may not be appended.
    pub fn check_append(
        &self,
        batch: &ProducerBatch,
        origin: AppendOrigin,
        verification: Verification,
        open: Option<OpenVerification>,
    ) -> Result<ProducerChanges, ProducerError> {
        let header = &batch.header;
        let producer_id = header.producer_id;
        let mut changes = ProducerChanges::default();
        let known = self.producers.get(&producer_id);
        if origin == AppendOrigin::Client {
            let (first, last) = (header.base_sequence, header.last_sequence());
            changes.duplicate =
                known.and_then(|known| known.find_duplicate(header.producer_epoch, first, last));
            if changes.duplicate.is_some() {
                return Ok(changes);
            }
        }
        let is_open = known.is_some_and(|known| known.txn_first_offset.is_some());
        if let Verification::Required(guard) = verification
            && header.is_transactional()
            && !header.is_control()
            && !is_open
            && open.is_none_or(|open| open.guard != guard)
        {
            return Err(ProducerError::NotVerified { producer_id });
        }
        let lowest = open.map(|open| open.lowest_sequence);
        check_batch(known, batch, origin, lowest, &mut changes)?;
        Ok(changes)
    }

    /// Checks batches in order against what is known and against each other, for appends that are taken as they are.
    ///
    /// # Errors
    /// [`ProducerError`] for the first that may not be appended.
    pub fn check(
        &self,
        batches: impl IntoIterator<Item = ProducerBatch>,
        origin: AppendOrigin,
    ) -> Result<ProducerChanges, ProducerError> {
        let mut changes = ProducerChanges::default();
        for batch in batches {
            if batch.header.has_producer_id() {
                let known = self.producers.get(&batch.header.producer_id);
                check_batch(known, &batch, origin, None, &mut changes)?;
            }
        }
        Ok(changes)
    }

    /// Takes the changes of batches that have been written; `end_offset` is the log's new end.
    /// Answers the ended transactions, each with the last stable offset that holds once it is ended.
    pub fn apply(&mut self, changes: ProducerChanges, end_offset: i64) -> Vec<(CompletedTxn, i64)> {
        self.producers.extend(changes.updated.one);
        self.producers.extend(changes.updated.many);
        self.ongoing.extend(changes.started);
        let mut completed = Vec::with_capacity(changes.completed.len());
        for txn in changes.completed {
            let next = self
                .ongoing
                .iter()
                .find(|(_, producer)| **producer != txn.producer_id);
            let last_stable = next.map_or(txn.last_offset.saturating_add(1), |(first, _)| *first);
            self.ongoing.remove(&txn.first_offset);
            self.unreplicated.insert(txn.first_offset, txn.last_offset);
            completed.push((txn, last_stable));
        }
        self.end_offset = end_offset;
        completed
    }

    /// First offset whose transaction is open, or ended above the high watermark.
    pub fn first_unstable_offset(&self) -> Option<i64> {
        let first = |map: &BTreeMap<i64, i64>| map.first_key_value().map(|(first, _)| *first);
        match (first(&self.ongoing), first(&self.unreplicated)) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Forgets ended transactions whose marker is below the high watermark. True if there were any.
    pub fn on_high_watermark(&mut self, high_watermark: i64) -> bool {
        if self.unreplicated.is_empty() {
            return false;
        }
        let before = self.unreplicated.len();
        self.unreplicated
            .retain(|_, marker| *marker >= high_watermark);
        self.unreplicated.len() != before
    }

    /// Takes note that records below `log_start_offset` are gone.
    pub fn on_log_start(&mut self, log_start_offset: i64) {
        self.unreplicated
            .retain(|_, marker| *marker >= log_start_offset);
        self.end_offset = self.end_offset.max(log_start_offset);
    }

    /// Forgets producers that were silent for `expiration_ms`, except those with an open transaction.
    pub fn remove_expired(&mut self, now_ms: i64, expiration_ms: i64) {
        self.producers
            .retain(|_, entry| !expired(entry, now_ms, expiration_ms));
    }
}

/// Whether a producer was silent for too long. One with an open transaction never is.
pub(super) fn expired(entry: &ProducerEntry, now_ms: i64, expiration_ms: i64) -> bool {
    entry.txn_first_offset.is_none() && now_ms.saturating_sub(entry.last_timestamp) >= expiration_ms
}

/// Checks one batch against `known`, or against what earlier batches of the same append made of it.
fn check_batch(
    known: Option<&ProducerEntry>,
    batch: &ProducerBatch,
    origin: AppendOrigin,
    lowest_unverified: Option<i32>,
    changes: &mut ProducerChanges,
) -> Result<(), ProducerError> {
    let header = &batch.header;
    let producer_id = header.producer_id;
    let entry = changes.updated.entry(producer_id, known);
    if header.is_control() {
        // A control batch without a marker is what compaction left of a whole transaction.
        let Some(marker) = batch.marker else {
            return Ok(());
        };
        let ended = check_marker(entry, header, marker, origin)?;
        changes.completed.extend(ended);
        return Ok(());
    }
    check_epoch(entry, header, origin)?;
    if origin == AppendOrigin::Client {
        check_sequence(entry, known, header, lowest_unverified)?;
    }
    entry.move_to_epoch(header.producer_epoch);
    entry.batches.push(AppendedBatch {
        last_sequence: header.last_sequence(),
        last_offset: header.last_offset(),
        offset_delta: header.last_offset_delta,
        timestamp: header.max_timestamp,
    });
    entry.last_timestamp = header.max_timestamp;
    match (entry.txn_first_offset, header.is_transactional()) {
        (Some(_), false) if origin != AppendOrigin::Replication => {
            return Err(ProducerError::NotTransactional { producer_id });
        }
        (None, true) => {
            entry.txn_first_offset = Some(header.base_offset);
            changes.started.push((header.base_offset, producer_id));
        }
        _ => {}
    }
    Ok(())
}

/// Ends the producer's transaction, if one is open.
fn check_marker(
    entry: &mut ProducerEntry,
    header: &BatchHeader,
    marker: EndTransactionMarker,
    origin: AppendOrigin,
) -> Result<Option<CompletedTxn>, ProducerError> {
    let producer_id = header.producer_id;
    check_epoch(entry, header, origin)?;
    if entry.coordinator_epoch > marker.coordinator_epoch && origin != AppendOrigin::Replication {
        return Err(ProducerError::CoordinatorFenced {
            producer_id,
            epoch: marker.coordinator_epoch,
            current: entry.coordinator_epoch,
        });
    }
    let open = entry.txn_first_offset.take();
    entry.move_to_epoch(header.producer_epoch);
    entry.coordinator_epoch = marker.coordinator_epoch;
    entry.last_timestamp = header.max_timestamp;
    Ok(open.map(|first_offset| CompletedTxn {
        producer_id,
        first_offset,
        last_offset: header.base_offset,
        aborted: marker.control_type == ControlType::Abort,
    }))
}

fn check_epoch(
    entry: &ProducerEntry,
    header: &BatchHeader,
    origin: AppendOrigin,
) -> Result<(), ProducerError> {
    if header.producer_epoch >= entry.epoch || origin == AppendOrigin::Replication {
        return Ok(());
    }
    Err(ProducerError::InvalidEpoch {
        producer_id: header.producer_id,
        epoch: header.producer_epoch,
        current: entry.epoch,
    })
}

fn check_sequence(
    entry: &ProducerEntry,
    known: Option<&ProducerEntry>,
    header: &BatchHeader,
    lowest_unverified: Option<i32>,
) -> Result<(), ProducerError> {
    let producer_id = header.producer_id;
    let incoming = header.base_sequence;
    if let Some(lowest) = lowest_unverified.filter(|lowest| incoming > *lowest) {
        return Err(ProducerError::AboveUnverified {
            producer_id,
            incoming,
            lowest,
        });
    }
    let last = entry.last_sequence();
    let in_order = if header.producer_epoch != entry.epoch {
        incoming == 0 || entry.epoch == NO_PRODUCER_EPOCH
    } else {
        // Its records may all have been deleted: then any sequence number is a fresh start.
        let is_fresh = known.is_none_or(|known| known.epoch == NO_PRODUCER_EPOCH);
        is_fresh || incoming == increment_sequence(last, 1)
    };
    if in_order {
        return Ok(());
    }
    Err(ProducerError::OutOfOrderSequence {
        producer_id,
        incoming,
        last,
    })
}

#[cfg(test)]
#[path = "producer_state_test.rs"]
mod tests;
