//! Shell: one partition on this broker: its replication state, its log, and those who wait for it.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;
use parking_lot::RwLock;

use crate::log::partition_log::PartitionLog;
use crate::replica::clock::now_ms;
use crate::replica::partition::{Limits, PartitionState};
use crate::replica::purgatory::{Waiters, Watched};

/// A partition that this broker leads or follows.
///
/// `state` is held for reading while records are appended or read, so that a change of leadership (which holds it for
/// writing) falls between two appends, never into one. Lock order: `state`, then the log's own lock.
#[derive(Debug)]
pub struct Partition {
    /// The topic's name.
    pub topic: ByteString,
    /// The partition's number.
    pub partition: i32,
    /// Who leads, who is in sync.
    pub state: RwLock<PartitionState>,
    log: ArcSwapOption<PartitionLog>,
    waiters: Waiters,
}

impl Watched for Partition {
    fn waiters(&self) -> &Waiters {
        &self.waiters
    }
}

/// What a broker knows besides the partition itself and its log.
pub struct Surroundings<'a> {
    /// `replica.lag.time.max.ms`.
    pub max_lag_ms: i64,
    /// The brokers alive, by the metadata cache.
    pub is_alive: &'a dyn Fn(i32) -> bool,
}

impl Partition {
    /// A partition of which nothing is known yet.
    pub fn new(topic: ByteString, partition: i32, broker_id: i32) -> Self {
        Self {
            topic,
            partition,
            state: RwLock::new(PartitionState::new(broker_id)),
            log: ArcSwapOption::empty(),
            waiters: Waiters::default(),
        }
    }

    /// The log, once this broker became a replica.
    pub fn log(&self) -> Option<Arc<PartitionLog>> {
        self.log.load_full()
    }

    /// Gives the partition its log.
    pub fn set_log(&self, log: Arc<PartitionLog>) {
        self.log.store(Some(log));
    }

    /// Takes the log away: the partition is deleted, or its directory failed. Whoever waits finds out.
    pub fn clear(&self, broker_id: i32) {
        *self.state.write() = PartitionState::new(broker_id);
        self.log.store(None);
        self.waiters.wake();
    }

    /// Those who wait for this partition.
    pub fn waiters(&self) -> &Waiters {
        &self.waiters
    }

    /// Whether this broker leads the partition.
    pub fn is_leader(&self) -> bool {
        self.state.read().is_leader()
    }

    /// The current leader epoch, -1 before the first.
    pub fn leader_epoch(&self) -> i32 {
        self.state.read().leader_epoch()
    }

    /// The log, if this broker may answer a request that carries `requested_epoch` (-1 for none).
    ///
    /// # Errors
    /// The code to answer with.
    pub fn local_log(
        &self,
        requested_epoch: i32,
        needs_leader: bool,
    ) -> Result<Arc<PartitionLog>, ErrorCode> {
        self.state
            .read()
            .check_epoch(requested_epoch, needs_leader)?;
        self.log().ok_or(ErrorCode::NotLeaderOrFollower)
    }

    /// Whether enough replicas have all before `required`: `None` while they have not.
    pub fn acks_reached(&self, required: i64) -> Option<ErrorCode> {
        let Some(log) = self.log() else {
            return Some(ErrorCode::NotLeaderOrFollower);
        };
        let min_isr = min_insync_replicas(&log);
        self.state
            .read()
            .acks_reached(required, log.high_watermark(), min_isr)
    }

    /// Moves a leader's high watermark as far as it may go, and wakes those who wait if it moved.
    pub fn advance(&self, around: &Surroundings<'_>) {
        let Some(log) = self.log() else { return };
        if self.advance_quietly(&self.state.read(), &log, around) {
            self.waiters.wake();
        }
    }

    /// As `advance`, for whoever holds the state already and wakes later.
    pub fn advance_quietly(
        &self,
        state: &PartitionState,
        log: &PartitionLog,
        around: &Surroundings<'_>,
    ) -> bool {
        let limits = Limits {
            min_insync_replicas: min_insync_replicas(log),
            max_lag_ms: around.max_lag_ms,
            is_alive: around.is_alive,
        };
        let target = state.high_watermark(log.log_end_offset(), now_ms(), limits);
        target.is_some_and(|target| log.raise_high_watermark(target).is_some())
    }
}

/// `min.insync.replicas` of the topic.
pub fn min_insync_replicas(log: &PartitionLog) -> usize {
    usize::try_from(log.config().min_insync_replicas).unwrap_or(1)
}
