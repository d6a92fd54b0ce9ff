//! Shell: what a server with too much to do puts off or refuses (RequestThrottler.java,
//! ZooKeeperServer.checkRequestSizeWhenReceivingMessage).

use common::zk::code::{ErrorCode, OpCode};

use crate::pipeline::commit::Commit;
use crate::pipeline::run::Pipeline;
use crate::pipeline::token_bucket::BucketOptions;
use crate::state::odd::OddAnswer;
use crate::state::watches::ConnectionId;

/// Bytes of a request's header, which do not count for its size.
const HEADER_BYTES: usize = 8;

/// Settings of the throttles.
#[derive(Clone, Copy, Debug)]
pub struct ThrottleOptions {
    /// Clients that may connect in a while.
    pub connections: BucketOptions,
    /// `request_throttle_max_requests`: requests in process beyond which others wait; 0: no limit.
    pub max_requests: usize,
    /// `throttled_op_wait_time`: a request that waited for longer is refused, in milliseconds;
    /// 0: never.
    pub refuse_after_ms: i64,
    /// `request_stale_latency_check`, with `request_throttle_drop_stale`: a request that waited
    /// for longer than its session's timeout is dropped with its connection.
    pub drop_stale: bool,
    /// `largeRequestThreshold`: requests of more bytes are large; none if it is not set.
    pub large_bytes: Option<usize>,
    /// `largeRequestMaxBytes`: what large requests in process may take together.
    pub large_total_bytes: usize,
}

impl ThrottleOptions {
    /// Whether requests in process, or their bytes, are limited.
    pub fn limit_requests(&self) -> bool {
        self.max_requests > 0 || self.large_bytes.is_some()
    }
}

impl Default for ThrottleOptions {
    fn default() -> Self {
        Self {
            connections: BucketOptions::default(),
            max_requests: 0,
            refuse_after_ms: 0,
            drop_stale: false,
            large_bytes: None,
            large_total_bytes: 100 << 20,
        }
    }
}

impl<C: Commit> Pipeline<C> {
    /// Whether so much is in process that nothing more is taken from this client; it is woken when
    /// there is room.
    pub fn stalls(&mut self, id: ConnectionId) -> bool {
        let max = self.options.throttles.max_requests;
        if max == 0 || self.commit.outstanding() < max {
            return false;
        }
        let now = self.clock.mono_ms();
        self.stats.requests.throttle_waits += 1;
        if let Some(client) = self.clients.get_mut(id) {
            client.stalled_ms.get_or_insert(now);
        }
        self.wait_for_room(id);
        true
    }

    /// Refuses a request that has waited for too long; true if it is done with, one way or the
    /// other.
    pub(super) fn refuses(
        &mut self,
        id: ConnectionId,
        xid: i32,
        op: Option<OpCode>,
        now: i64,
    ) -> Result<bool, String> {
        let Some(client) = self.clients.get(id) else {
            return Ok(false);
        };
        let Some(stalled_ms) = client.stalled_ms else {
            return Ok(false);
        };
        let (waited_ms, timeout_ms) = (now - stalled_ms, i64::from(client.timeout_ms));
        self.stats
            .requests
            .throttle_queue_ms
            .observe_signed(waited_ms);
        let may_wait = matches!(
            op,
            Some(OpCode::Ping | OpCode::CloseSession | OpCode::CreateSession)
        );
        let options = self.options.throttles;
        if waited_ms > timeout_ms && op != Some(OpCode::CloseSession) {
            self.stats.requests.stale += 1;
            if options.drop_stale {
                self.stats.requests.stale_dropped += 1;
                return Err(format!("a request waited for {waited_ms} ms"));
            }
        }
        if may_wait || options.refuse_after_ms <= 0 || waited_ms <= options.refuse_after_ms {
            return Ok(false);
        }
        self.stats.requests.throttled_ops += 1;
        let answer = Box::new(OddAnswer {
            error: ErrorCode::ThrottledOp,
            ..OddAnswer::MALFORMED
        });
        self.enqueue_read(id, xid, OpCode::Error, Err(answer), now);
        Ok(true)
    }

    /// Takes a frame of this length in, or says why not. Only large ones are counted.
    pub fn admit_bytes(&mut self, id: ConnectionId, length: usize) -> Result<(), String> {
        let Some(large) = self.options.throttles.large_bytes else {
            return Ok(());
        };
        let length = length.saturating_sub(HEADER_BYTES);
        if length <= large {
            return Ok(());
        }
        self.may_take(length)?;
        self.large_bytes += length;
        if let Some(client) = self.clients.get_mut(id) {
            client.large_bytes += length;
        }
        Ok(())
    }

    /// Whether a frame whose length was announced may come.
    pub fn may_announce(&mut self, length: usize) -> Result<(), String> {
        match self.options.throttles.large_bytes {
            Some(large) if length > large => self.may_take(length),
            _ => Ok(()),
        }
    }

    fn may_take(&mut self, length: usize) -> Result<(), String> {
        if self.large_bytes + length > self.options.throttles.large_total_bytes {
            self.stats.requests.large_rejected += 1;
            return Err("Rejecting large request".to_owned());
        }
        Ok(())
    }

    /// Gives back what a client's large requests took, once it has nothing in process.
    pub(super) fn release_bytes(&mut self, id: ConnectionId) {
        if self
            .clients
            .get(id)
            .is_some_and(|client| client.queue.is_empty())
        {
            self.release_all_bytes(id);
        }
    }

    /// Gives back what a client's large requests took.
    pub(super) fn release_all_bytes(&mut self, id: ConnectionId) {
        if let Some(client) = self.clients.get_mut(id) {
            self.large_bytes -= std::mem::take(&mut client.large_bytes);
        }
    }

    /// Whether a client that asks for a session may have one now, or for its old one if `renewed`.
    pub(super) fn admits_session(&mut self, renewed: bool, now: i64) -> Result<(), String> {
        // Xorshift: nobody gains anything by guessing it.
        self.luck ^= self.luck << 13;
        self.luck ^= self.luck >> 7;
        self.luck ^= self.luck << 17;
        let chance = (self.luck >> 11) as f64 / (1_u64 << 53) as f64;
        if !self.bucket.admit(renewed, now, chance) {
            self.stats.connections.rejected += 1;
            return Err("too many connections in a short while".to_owned());
        }
        self.stats
            .connections
            .token_deficit
            .observe_signed(self.bucket.deficit());
        Ok(())
    }
}
