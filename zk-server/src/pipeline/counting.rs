//! Shell: what the run loop counts of requests, replies and batches.
//!
//! Nothing here costs more than a few additions for each request.

use common::zk::code::OpCode;

use crate::pipeline::commit::{Commit, Ticket};
use crate::pipeline::reply;
use crate::pipeline::run::Pipeline;
use crate::state::watches::ConnectionId;
use crate::storage::log_writer::Written;

/// Bytes of a packet before its content: its length, or the four letters of a word.
const LENGTH_BYTES: usize = 4;

/// The clocks as they were when a turn of the loop began to apply what is durable.
#[derive(Clone, Copy, Debug, Default)]
pub struct Turn {
    /// Wall clock in milliseconds.
    wall_ms: i64,
    /// Monotonic clock in milliseconds when the last batch began to be written.
    batch_began_ms: i64,
}

impl<C: Commit> Pipeline<C> {
    /// Counts a packet of so many bytes that came, without its length.
    pub fn count_received(&mut self, id: ConnectionId, bytes: usize) {
        self.stats.packets_received += 1;
        self.stats.bytes_received += (LENGTH_BYTES + bytes) as u64;
        if let Some(client) = self.clients.get_mut(id) {
            client.stats.received += 1;
        }
    }

    /// Counts the reply to a request.
    pub(super) fn count_reply(
        &mut self,
        id: ConnectionId,
        xid: i32,
        op: OpCode,
        bytes: u64,
        received_ms: i64,
    ) {
        if op == OpCode::Ping {
            // As the real server counts: `response_bytes` is without pings.
            self.stats.sent(bytes);
        } else {
            self.stats.replied(bytes);
        }
        self.count_latency(id, xid, op, received_ms);
    }

    /// Counts how long a request took, and its reply among those of its connection.
    pub(super) fn count_latency(
        &mut self,
        id: ConnectionId,
        xid: i32,
        op: OpCode,
        received_ms: i64,
    ) {
        let now = self.now_ms;
        let latency_ms = now.saturating_sub(received_ms).max(0).unsigned_abs();
        let zxid = self.db.applied_zxid;
        if op.is_write() {
            self.stats.update_latency.observe(latency_ms);
        } else {
            self.stats.read_latency.observe(latency_ms);
        }
        if let Some(client) = self.clients.get_mut(id) {
            client.stats.sent += 1;
            client
                .stats
                .replied(xid, zxid, reply::operation_name(op), now, latency_ms);
        }
    }

    /// Counts a batch that the log has written.
    pub fn count_batch(&mut self, written: &Written) {
        let took_ms = millis(written.took);
        let disk = &mut self.stats.disk;
        disk.slow_syncs += u64::from(written.slow);
        if let Some(sync) = written.sync {
            disk.sync_ms.observe(millis(sync));
        }
        disk.batch_sizes.observe(written.entries);
        disk.flush_ms.observe(took_ms);
        disk.append_ms.observe(took_ms);
        let waiting = (self.commit.outstanding() as u64).saturating_sub(written.entries);
        disk.queue_sizes.observe(waiting);
        self.turn.batch_began_ms = self.clock.mono_ms() - took_ms.cast_signed();
    }

    /// Looks at the clock once for the requests or transactions that follow: they are handled in
    /// far less than a millisecond each.
    pub fn look_at_clock(&mut self) {
        self.now_ms = self.clock.mono_ms();
    }

    /// A turn begins to apply what is durable.
    pub(super) fn begin_turn(&mut self) {
        self.turn.wall_ms = self.clock.wall_ms();
    }

    /// Counts a write that is durable and was decided at wall clock `decided_ms`.
    pub(super) fn count_committed(&mut self, ticket: &Ticket, decided_ms: i64, now_ms: i64) {
        let (turn, disk) = (self.turn, &mut self.stats.disk);
        let waited_ms = turn.batch_began_ms - ticket.received_ms;
        disk.queue_ms.observe(waited_ms.max(0).unsigned_abs());
        disk.queue_and_flush_ms
            .observe_signed(now_ms - ticket.received_ms);
        let propagation = &mut self.stats.requests.propagation_ms;
        propagation.observe_signed(turn.wall_ms - decided_ms);
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
