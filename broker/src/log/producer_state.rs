//! Pure: what a log knows of its producers: sequences, epochs, duplicates, open transactions (`ProducerStateManager.java`, KIP-98).
//!
//! Snapshot layout, big endian:
//!
//! ```text
//! i16 version 1 | u32 CRC-32C of the rest | i32 count | per producer:
//! i64 id | i16 epoch | i32 last sequence | i64 last offset | i32 offset delta | i64 timestamp | i32 coordinator epoch | i64 first offset
//! of its open transaction, -1 if none
//! ```

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::BufMut;
use kafka_wire::records::batch::{
    BatchHeader, NO_PRODUCER_EPOCH, NO_SEQUENCE, crc32c, increment_sequence,
};
use kafka_wire::records::control::{ControlType, EndTransactionMarker};

/// Batches kept per producer, among which a repeated one is recognised.
const BATCHES_KEPT: usize = 5;
/// Bytes of a producer in a snapshot.
const ENTRY_BYTES: usize = 46;
/// Bytes of a snapshot before its producers.
const HEADER_BYTES: usize = 10;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// What is known of one producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerEntry {
    /// Newest epoch, -1 if none.
    pub epoch: i16,
    /// The last batches of that epoch, oldest first.
    pub batches: VecDeque<AppendedBatch>,
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
            batches: VecDeque::new(),
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
        self.batches.iter().find(same).copied()
    }

    fn move_to_epoch(&mut self, epoch: i16) {
        if self.epoch != epoch {
            self.batches.clear();
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

/// What appending some batches will change; made by [`ProducerStates::check`], applied after the write.
#[derive(Debug, Default)]
pub struct ProducerChanges {
    updated: HashMap<i64, ProducerEntry>,
    started: Vec<(i64, i64)>,
    completed: Vec<CompletedTxn>,
    duplicate: Option<AppendedBatch>,
}

impl ProducerChanges {
    /// The batch that the appended one repeats; it must not be written again.
    pub fn duplicate(&self) -> Option<AppendedBatch> {
        self.duplicate
    }

    /// True if no producer is concerned.
    pub fn is_empty(&self) -> bool {
        self.updated.is_empty()
    }
}

/// The producers of one log.
#[derive(Debug, Default)]
pub struct ProducerStates {
    producers: HashMap<i64, ProducerEntry>,
    /// Open transactions: first offset to producer.
    ongoing: BTreeMap<i64, i64>,
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

    /// Checks batches in order against what is known and against each other.
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
            let header = &batch.header;
            if !header.has_producer_id() {
                continue;
            }
            if origin == AppendOrigin::Client
                && let Some(known) = self.producers.get(&header.producer_id)
            {
                let (first, last) = (header.base_sequence, header.last_sequence());
                changes.duplicate = known.find_duplicate(header.producer_epoch, first, last);
                if changes.duplicate.is_some() {
                    return Ok(changes);
                }
            }
            self.check_batch(&batch, origin, &mut changes)?;
        }
        Ok(changes)
    }

    fn check_batch(
        &self,
        batch: &ProducerBatch,
        origin: AppendOrigin,
        changes: &mut ProducerChanges,
    ) -> Result<(), ProducerError> {
        let header = &batch.header;
        let producer_id = header.producer_id;
        let known = self.producers.get(&producer_id);
        let entry = changes
            .updated
            .entry(producer_id)
            .or_insert_with(|| known.cloned().unwrap_or_default());
        if header.is_control() {
            // A control batch without a marker is what compaction left of a whole transaction.
            let Some(marker) = batch.marker else {
                return Ok(());
            };
            check_epoch(entry, header, origin)?;
            if entry.coordinator_epoch > marker.coordinator_epoch
                && origin != AppendOrigin::Replication
            {
                return Err(ProducerError::CoordinatorFenced {
                    producer_id,
                    epoch: marker.coordinator_epoch,
                    current: entry.coordinator_epoch,
                });
            }
            if let Some(first_offset) = entry.txn_first_offset.take() {
                changes.completed.push(CompletedTxn {
                    producer_id,
                    first_offset,
                    last_offset: header.base_offset,
                    aborted: marker.control_type == ControlType::Abort,
                });
            }
            entry.move_to_epoch(header.producer_epoch);
            entry.coordinator_epoch = marker.coordinator_epoch;
            entry.last_timestamp = header.max_timestamp;
            return Ok(());
        }
        check_epoch(entry, header, origin)?;
        if origin == AppendOrigin::Client {
            check_sequence(entry, header, known.is_some())?;
        }
        entry.move_to_epoch(header.producer_epoch);
        if entry.batches.len() == BATCHES_KEPT {
            entry.batches.pop_front();
        }
        entry.batches.push_back(AppendedBatch {
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

    /// Takes the changes of batches that have been written; `end_offset` is the log's new end.
    /// Answers the ended transactions, each with the last stable offset that holds once it is ended.
    pub fn apply(&mut self, changes: ProducerChanges, end_offset: i64) -> Vec<(CompletedTxn, i64)> {
        self.producers.extend(changes.updated);
        self.ongoing.extend(changes.started);
        let mut completed = Vec::with_capacity(changes.completed.len());
        for txn in changes.completed {
            let next = self
                .ongoing
                .iter()
                .find(|(_, producer)| **producer != txn.producer_id);
            let last_stable = next.map_or(txn.last_offset + 1, |(first, _)| *first);
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

    /// Encodes the snapshot.
    pub fn to_snapshot(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + ENTRY_BYTES * self.producers.len());
        bytes.put_i16(1);
        bytes.put_u32(0);
        bytes.put_i32(self.producers.len() as i32);
        // In order of id, so that equal states make equal files.
        let mut producers: Vec<_> = self.producers.iter().collect();
        producers.sort_unstable_by_key(|(producer_id, _)| **producer_id);
        for (producer_id, entry) in producers {
            let last = entry.batches.back();
            bytes.put_i64(*producer_id);
            bytes.put_i16(entry.epoch);
            bytes.put_i32(last.map_or(NO_SEQUENCE, |batch| batch.last_sequence));
            bytes.put_i64(last.map_or(-1, |batch| batch.last_offset));
            bytes.put_i32(last.map_or(0, |batch| batch.offset_delta));
            bytes.put_i64(entry.last_timestamp);
            bytes.put_i32(entry.coordinator_epoch);
            bytes.put_i64(entry.txn_first_offset.unwrap_or(-1));
        }
        let crc = crc32c(&bytes[6..]);
        bytes[2..6].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// Decodes a snapshot taken at `end_offset`, without the producers that have expired since.
    ///
    /// # Errors
    /// A text that says what is wrong with the bytes.
    pub fn from_snapshot(
        bytes: &[u8],
        end_offset: i64,
        now_ms: i64,
        expiration_ms: i64,
    ) -> Result<Self, String> {
        let header = bytes
            .first_chunk::<HEADER_BYTES>()
            .ok_or("shorter than its header")?;
        if header[..2] != [0, 1] {
            return Err("unknown version".to_owned());
        }
        let stored = u32::from_be_bytes([header[2], header[3], header[4], header[5]]);
        let computed = crc32c(&bytes[6..]);
        if stored != computed {
            return Err(format!("stored checksum {stored}, computed {computed}"));
        }
        let count = i32::from_be_bytes([header[6], header[7], header[8], header[9]]);
        let entries = &bytes[HEADER_BYTES..];
        if usize::try_from(count)
            .ok()
            .and_then(|count| count.checked_mul(ENTRY_BYTES))
            != Some(entries.len())
        {
            return Err(format!(
                "{count} producers do not fit {} bytes",
                entries.len()
            ));
        }
        let mut states = ProducerStates::new(end_offset);
        for entry in entries.chunks_exact(ENTRY_BYTES) {
            let (producer_id, entry) = decode_entry(entry);
            if expired(&entry, now_ms, expiration_ms) {
                continue;
            }
            if let Some(first_offset) = entry.txn_first_offset {
                states.ongoing.insert(first_offset, producer_id);
            }
            states.producers.insert(producer_id, entry);
        }
        Ok(states)
    }
}

fn expired(entry: &ProducerEntry, now_ms: i64, expiration_ms: i64) -> bool {
    entry.txn_first_offset.is_none() && now_ms.saturating_sub(entry.last_timestamp) >= expiration_ms
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
    header: &BatchHeader,
    producer_known: bool,
) -> Result<(), ProducerError> {
    let incoming = header.base_sequence;
    let last = entry.last_sequence();
    let in_order = if header.producer_epoch != entry.epoch {
        incoming == 0 || entry.epoch == NO_PRODUCER_EPOCH
    } else {
        // Its records may all have been deleted: then any sequence number is a fresh start.
        !producer_known && last == NO_SEQUENCE || incoming == increment_sequence(last, 1)
    };
    if in_order {
        return Ok(());
    }
    Err(ProducerError::OutOfOrderSequence {
        producer_id: header.producer_id,
        incoming,
        last,
    })
}

fn decode_entry(bytes: &[u8]) -> (i64, ProducerEntry) {
    let mut long = [0; 8];
    let mut i64_at = |at: usize| {
        long.copy_from_slice(&bytes[at..at + 8]);
        i64::from_be_bytes(long)
    };
    let i32_at =
        |at: usize| i32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let producer_id = i64_at(0);
    let last_offset = i64_at(14);
    let last_timestamp = i64_at(26);
    let txn_first_offset = i64_at(38);
    let mut batches = VecDeque::new();
    if last_offset >= 0 {
        batches.push_back(AppendedBatch {
            last_sequence: i32_at(10),
            last_offset,
            offset_delta: i32_at(22),
            timestamp: last_timestamp,
        });
    }
    let entry = ProducerEntry {
        epoch: i16::from_be_bytes([bytes[8], bytes[9]]),
        batches,
        coordinator_epoch: i32_at(34),
        last_timestamp,
        txn_first_offset: (txn_first_offset >= 0).then_some(txn_first_offset),
    };
    (producer_id, entry)
}

#[cfg(test)]
#[path = "producer_state_test.rs"]
mod tests;
