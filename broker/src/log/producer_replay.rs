//! Shell: the producers' state brought to an offset of the log: from the newest snapshot, then from the records behind it.

use std::sync::Arc;

use kafka_wire::records::batch::BatchHeader;
use kafka_wire::records::control::EndTransactionMarker;

use crate::log::append::AppendOrigin;
use crate::log::codec::read_marker;
use crate::log::entry::EntryHeader;
use crate::log::error::StorageResult;
use crate::log::producer_state::{CompletedTxn, ProducerBatch, ProducerStates};
use crate::log::scan::Scanner;
use crate::log::segment::Segment;
use crate::log::snapshots::Snapshots;
use crate::log::txn_index::AbortedTxn;

/// Bytes read at once.
const CHUNK: usize = 256 * 1024;

/// Sets `producers` back to `end_offset` after truncation.
///
/// # Errors
/// [`crate::log::error::StorageError`] if segments or snapshots cannot be read.
pub(super) fn rebuild_producers(
    producers: &mut ProducerStates,
    snapshots: &mut Snapshots,
    segments: &[Arc<Segment>],
    log_start: i64,
    end_offset: i64,
    now_ms: i64,
    expiration_ms: i64,
) -> StorageResult<()> {
    // Without producers before, there are none after: nothing to read.
    let none_before = producers.is_empty() && producers.end_offset() >= end_offset;
    snapshots.delete_where(|offset| offset > end_offset || offset <= log_start)?;
    *producers = match none_before {
        true => ProducerStates::new(end_offset),
        false => load_producers(
            snapshots,
            segments,
            log_start,
            end_offset,
            now_ms,
            expiration_ms,
        )?,
    };
    producers.set_end_offset(end_offset);
    snapshots.take(producers, log_start, true)?;
    Ok(())
}

/// The newest snapshot not above `end_offset`, brought forward by reading the records behind it.
///
/// # Errors
/// [`crate::log::error::StorageError`] if segments or snapshots cannot be read.
pub(super) fn load_producers(
    snapshots: &mut Snapshots,
    segments: &[Arc<Segment>],
    log_start: i64,
    end_offset: i64,
    now_ms: i64,
    expiration_ms: i64,
) -> StorageResult<ProducerStates> {
    let snapshot = snapshots.load(log_start, end_offset, now_ms, expiration_ms)?;
    let mut states = snapshot.unwrap_or_else(|| ProducerStates::new(log_start));
    if states.end_offset() >= end_offset {
        return Ok(states);
    }
    let from = states.end_offset();
    for (index, segment) in segments.iter().enumerate() {
        let next = segments
            .get(index + 1)
            .map_or(i64::MAX, |next| next.base_offset());
        if next <= from || segment.base_offset() >= end_offset {
            continue;
        }
        let start = segment.position_of(from)?;
        let size = segment.size();
        let mut scanner = Scanner::with_chunk(segment.file(), start, size, CHUNK);
        while let Some(entry) = scanner
            .next_entry()
            .map_err(|error| segment.scan_error(error))?
        {
            if entry.header.base_offset() >= end_offset {
                break;
            }
            if let EntryHeader::V2(header) = entry.header
                && header.has_producer_id()
            {
                let marker = match header.is_control() {
                    true => {
                        let bytes = scanner.bytes_of(&entry);
                        let bytes = bytes.map_err(|error| segment.scan_error(error.into()))?;
                        read_marker(bytes).ok().flatten()
                    }
                    false => None,
                };
                apply_batch(&mut states, &header, marker);
            }
        }
    }
    states.set_end_offset(end_offset);
    Ok(states)
}

/// Brings one batch into the producers' state. Answers the transactions it ended.
fn apply_batch(
    states: &mut ProducerStates,
    header: &BatchHeader,
    marker: Option<EndTransactionMarker>,
) -> Vec<(CompletedTxn, i64)> {
    let batch = ProducerBatch {
        header: *header,
        marker,
    };
    match states.check([batch], AppendOrigin::Replication) {
        Ok(changes) => states.apply(changes, header.next_offset()),
        Err(error) => {
            tracing::warn!(%error, offset = header.base_offset, "ignoring a producer's batch");
            Vec::new()
        }
    }
}

/// As [`apply_batch`] during recovery, with the transaction index.
///
/// # Errors
/// [`crate::log::error::StorageError`] if the transaction index cannot be written.
pub(super) fn note_batch(
    segment: &Segment,
    producers: &mut ProducerStates,
    header: &BatchHeader,
    marker: Option<EndTransactionMarker>,
) -> StorageResult<()> {
    for (txn, last_stable_offset) in apply_batch(producers, header, marker) {
        if txn.aborted {
            segment.txn_index().append(AbortedTxn {
                producer_id: txn.producer_id,
                first_offset: txn.first_offset,
                last_offset: txn.last_offset,
                last_stable_offset,
            })?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "producer_replay_test.rs"]
mod tests;
