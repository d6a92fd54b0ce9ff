//! Shell: the seam between the run loop and what makes a write durable.

use common::zk::code::OpCode;
use common::zk::txn::TxnEntry;

use crate::state::database::Database;
use crate::state::request::Write;
use crate::state::watches::ConnectionId;
use crate::storage::error::StorageError;
use crate::storage::log_writer::Written;

/// Who waits for what comes out.
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    /// The connection; none for the server's own writes.
    pub connection: Option<ConnectionId>,
    /// The client's number of the request.
    pub xid: i32,
    /// What was asked for.
    pub op: OpCode,
    /// Monotonic time when it came, in milliseconds.
    pub received_ms: i64,
}

/// A write that is durable, or a barrier that all writes before it have passed.
#[derive(Debug)]
pub struct Committed {
    /// Who waits.
    pub ticket: Ticket,
    /// The transaction; none for a barrier.
    pub entry: Option<TxnEntry>,
}

/// Takes writes, decides on them with the state it is lent, makes them durable, and gives them
/// back in order. A standalone server does it with its log, a member of an ensemble with a
/// quorum.
pub trait Commit {
    /// Takes a write at wall clock `wall_ms`.
    fn submit(&mut self, db: &mut Database, write: &Write, ticket: Ticket, wall_ms: i64);

    /// Takes a barrier: it comes out after everything that went in before it.
    fn barrier(&mut self, ticket: Ticket);

    /// Begins to make durable what waits, if nothing else is under way.
    fn flush(&mut self);

    /// The log has written a batch.
    fn written(&mut self, written: Written) -> Result<(), StorageError>;

    /// What is durable now and was not given out before, in order.
    fn take_committed(&mut self) -> Vec<Committed>;

    /// How many have gone in and not come out.
    fn outstanding(&self) -> usize;

    /// Bytes that have gone to the log since the last call.
    fn take_logged_bytes(&mut self) -> u64;

    /// A new log file begins with the next batch.
    fn roll(&mut self);
}
