//! Pure: the form of `.snapshot` files, which keep what a log knows of its producers (`ProducerStateManager.java`).
//!
//! Big endian:
//!
//! ```text
//! i16 version 1 | u32 CRC-32C of the rest | i32 count | per producer:
//! i64 id | i16 epoch | i32 last sequence | i64 last offset | i32 offset delta | i64 timestamp | i32 coordinator epoch | i64 first offset
//! of its open transaction, -1 if none
//! ```

use bytes::BufMut;
use kafka_wire::records::batch::{NO_SEQUENCE, crc32c};

use crate::log::producer_state::{
    AppendedBatch, ProducerEntry, ProducerStates, RecentBatches, expired,
};

/// Bytes of a producer.
const ENTRY_BYTES: usize = 46;
/// Bytes before the producers.
const HEADER_BYTES: usize = 10;

impl ProducerStates {
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
    let mut batches = RecentBatches::default();
    if last_offset >= 0 {
        batches.push(AppendedBatch {
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
