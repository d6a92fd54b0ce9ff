//! Shell: reads a partition of an internal topic from its start to its end.

use crate::coordinator::internal_log::InternalLog;
use crate::coordinator::replay::{Entry, replay};

/// Hands every record and marker to `visit`, while `is_wanted`. What cannot be read is logged and
/// passed over; a log that cannot be read any further ends there.
pub fn read_partition(
    log: &dyn InternalLog,
    partition: i32,
    chunk_bytes: usize,
    is_wanted: impl Fn() -> bool,
    visit: &mut dyn FnMut(Entry<'_>),
) {
    let Some(mut from) = log.start_offset(partition) else {
        tracing::warn!(partition, "there is no log to load a coordinator from");
        return;
    };
    let mut report = |offset: i64, error: String| {
        tracing::error!(partition, offset, error, "skipping a batch");
    };
    while is_wanted() {
        let chunk = match log.read(partition, from, chunk_bytes) {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return,
            Err(error) => {
                tracing::error!(partition, from, error, "a coordinator's log ends early");
                return;
            }
        };
        match replay(&chunk.batches, visit, &mut report) {
            Some(next) if next > from => from = next,
            _ => return,
        }
    }
}
