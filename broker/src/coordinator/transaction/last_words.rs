//! Pure: what is said at the end of things: answers to those who asked for the end of a transaction, and tombstones of
//! ids that expired.

use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;

use crate::coordinator::transaction::message::{
    Asked, Effect, Effects, LogRecord, Reply, Stored, Then, append_error,
};
use crate::coordinator::waiting::Ticket;

/// A batch without records, and the most that a record adds to its key: lengths, attributes,
/// offset and timestamp deltas, no value, no headers.
pub(super) const BATCH_OVERHEAD_BYTES: usize = 61;
const RECORD_OVERHEAD_BYTES: usize = 21;

/// Tombstones on their way into batches.
pub(super) struct TombstoneBatches {
    pub(super) max_bytes: usize,
    pub(super) bytes: usize,
    pub(super) records: Vec<LogRecord>,
    pub(super) expired: Vec<(ByteString, i16)>,
}

impl TombstoneBatches {
    pub(super) fn add(
        &mut self,
        id: &ByteString,
        epoch: i16,
        key: bytes::Bytes,
        effects: &mut Effects,
    ) {
        let bytes = key.len() + RECORD_OVERHEAD_BYTES;
        if !self.records.is_empty() && self.bytes + bytes > self.max_bytes {
            self.flush(effects);
        }
        self.bytes += bytes;
        self.records.push(LogRecord { key, value: None });
        self.expired.push((id.clone(), epoch));
    }

    pub(super) fn flush(&mut self, effects: &mut Effects) {
        if self.records.is_empty() {
            return;
        }
        self.bytes = BATCH_OVERHEAD_BYTES;
        effects.push(Effect::Append {
            records: std::mem::take(&mut self.records),
            timeout_ms: None,
            then: Stored::Tombstones(std::mem::take(&mut self.expired)),
        });
    }
}

/// What is still to be said of an append when the transactions it was for are gone: another broker
/// coordinates them now, or this one does in another epoch.
pub fn orphaned(
    stored: &Stored,
    outcome: Result<(), ErrorCode>,
    present: ErrorCode,
    effects: &mut Effects,
) {
    let Stored::Transit {
        transactional_id: id,
        then,
        ..
    } = stored
    else {
        return;
    };
    let error = outcome.map_or_else(append_error, |()| present);
    match then {
        Then::Init(ticket) => effects.push(Effect::Reply(*ticket, Reply::Init(Err(error)))),
        Then::Added(ticket) => effects.push(done(*ticket, error)),
        Then::Ended { asked, .. } => answer_end(id, *asked, error, effects),
        Then::Completed => {}
    }
}

pub(super) fn done(ticket: Ticket, error: ErrorCode) -> Effect {
    Effect::Reply(ticket, Reply::Done(error))
}

pub(super) fn answer_end(id: &ByteString, asked: Asked, error: ErrorCode, effects: &mut Effects) {
    match asked {
        Asked::ByProducer(ticket) => effects.push(done(ticket, error)),
        Asked::BySuccessor(ticket) => {
            // The successor comes back when the transaction is over, and gets an epoch then.
            let error = match error {
                ErrorCode::None => ErrorCode::ConcurrentTransactions,
                error => error,
            };
            effects.push(Effect::Reply(ticket, Reply::Init(Err(error))));
        }
        Asked::ByTimeout => rolled_back(id, error),
    }
}

pub(super) fn rolled_back(id: &ByteString, error: ErrorCode) {
    match error {
        ErrorCode::None => {
            tracing::info!(transactional_id = %id, "rolled back a transaction that timed out");
        }
        error => {
            tracing::warn!(transactional_id = %id, %error,
                "a transaction that timed out was not rolled back");
        }
    }
}
