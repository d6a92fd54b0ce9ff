//! Pure: one partition as its replicas see it: who leads, who is in sync, how far the high watermark may go.
//!
//! Rules as in Kafka's `cluster/Partition.scala` and `cluster/Replica.scala`. The log itself is not here: its end
//! and its high watermark come in as numbers, and what should happen goes out as values.

use std::collections::BTreeMap;

use kafka_wire::error_code::ErrorCode;

/// The epoch of a leader that never was: below every real one.
pub const NO_LEADER_EPOCH: i32 = -1;

/// What the controller decided about a partition, from a LeaderAndIsr request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// The epoch of the controller that decided.
    pub controller_epoch: i32,
    /// The leader's broker id.
    pub leader: i32,
    /// The leader's epoch.
    pub leader_epoch: i32,
    /// The replicas in sync.
    pub isr: Vec<i32>,
    /// The version of the partition's znode.
    pub partition_epoch: i32,
    /// All replicas, the preferred leader first.
    pub replicas: Vec<i32>,
    /// Replicas that a reassignment adds.
    pub adding: Vec<i32>,
    /// Replicas that a reassignment removes.
    pub removing: Vec<i32>,
}

/// What a leader knows of one follower.
#[derive(Clone, Debug, PartialEq)]
pub struct Follower {
    /// The end of its log: the offset it fetched last. -1 while unknown.
    pub log_end: i64,
    /// The start of its log, -1 while unknown.
    pub log_start: i64,
    /// When it last had everything, in ms.
    pub caught_up_ms: i64,
    /// When it fetched last, in ms.
    last_fetch_ms: i64,
    /// The leader's log end at that fetch.
    last_fetch_leader_end: i64,
}

impl Follower {
    fn unknown() -> Self {
        Self {
            log_end: -1,
            log_start: -1,
            caught_up_ms: 0,
            last_fetch_ms: 0,
            last_fetch_leader_end: 0,
        }
    }

    fn is_caught_up(&self, leader_end: i64, now_ms: i64, max_lag_ms: i64) -> bool {
        leader_end == self.log_end || now_ms - self.caught_up_ms <= max_lag_ms
    }
}

/// A change of the in-sync replicas that the controller has not confirmed yet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PendingIsr {
    /// This replica wants in; until then it already holds back the high watermark.
    Expand(i32),
    /// Some replicas go out; until then they still hold back the high watermark.
    Shrink,
}

/// A change of the in-sync replicas to ask the controller for (AlterPartition).
#[derive(Clone, Debug, PartialEq)]
pub struct IsrChange {
    /// The in-sync replicas wanted.
    pub isr: Vec<i32>,
    /// The leader epoch in which this was decided.
    pub leader_epoch: i32,
    /// The version of the partition's state that this replaces.
    pub partition_epoch: i32,
}

/// What taking over a decision meant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Taken {
    /// The decision is older than what is known; nothing changed.
    Stale,
    /// The leader epoch was known already; replicas and ISR were adopted.
    SameEpoch,
    /// A new leader epoch. Says whether the role is new for this broker too.
    NewEpoch {
        /// Whether this broker was no leader before (when it leads now).
        new_role: bool,
    },
}

/// The limits that come from the configuration and from what else the broker knows.
#[derive(Clone, Copy)]
pub struct Limits<'a> {
    /// `min.insync.replicas` of the topic.
    pub min_insync_replicas: usize,
    /// `replica.lag.time.max.ms`.
    pub max_lag_ms: i64,
    /// The brokers alive, by the metadata cache.
    pub is_alive: &'a dyn Fn(i32) -> bool,
}

/// The state of one partition on one broker.
#[derive(Clone, Debug)]
pub struct PartitionState {
    local_id: i32,
    leader: Option<i32>,
    leader_epoch: i32,
    leader_epoch_start: Option<i64>,
    partition_epoch: i32,
    controller_epoch: i32,
    replicas: Vec<i32>,
    adding: Vec<i32>,
    isr: Vec<i32>,
    pending: Option<PendingIsr>,
    followers: BTreeMap<i32, Follower>,
}

impl PartitionState {
    /// A partition of which this broker knows nothing yet.
    pub fn new(local_id: i32) -> Self {
        Self {
            local_id,
            leader: None,
            leader_epoch: NO_LEADER_EPOCH,
            leader_epoch_start: None,
            partition_epoch: 0,
            controller_epoch: 0,
            replicas: Vec::new(),
            adding: Vec::new(),
            isr: Vec::new(),
            pending: None,
            followers: BTreeMap::new(),
        }
    }

    /// Whether this broker leads.
    pub fn is_leader(&self) -> bool {
        self.leader == Some(self.local_id)
    }

    /// The leader, if known.
    pub fn leader(&self) -> Option<i32> {
        self.leader
    }

    /// The current leader epoch, -1 before the first.
    pub fn leader_epoch(&self) -> i32 {
        self.leader_epoch
    }

    /// The version of the partition's state in ZooKeeper, as far as it is known here.
    pub fn partition_epoch(&self) -> i32 {
        self.partition_epoch
    }

    /// The epoch of the controller that decided last.
    pub fn controller_epoch(&self) -> i32 {
        self.controller_epoch
    }

    /// The confirmed in-sync replicas.
    pub fn isr(&self) -> &[i32] {
        &self.isr
    }

    /// All replicas, the preferred leader first.
    pub fn replicas(&self) -> &[i32] {
        &self.replicas
    }

    /// What is known of a follower, if this broker leads.
    pub fn follower(&self, id: i32) -> Option<&Follower> {
        self.followers.get(&id)
    }

    /// Takes the lead, or goes on with it. `log_end` is where a new epoch starts.
    pub fn become_leader(&mut self, decision: Decision, log_end: i64, now_ms: i64) -> Taken {
        if decision.partition_epoch < self.partition_epoch {
            return Taken::Stale;
        }
        let was_leader = self.is_leader();
        let is_new_epoch = decision.leader_epoch > self.leader_epoch;
        let local_id = self.local_id;
        self.followers
            .retain(|id, _| *id != local_id && decision.replicas.contains(id));
        for id in decision.replicas.iter().filter(|id| **id != local_id) {
            self.followers.entry(*id).or_insert_with(Follower::unknown);
        }
        if is_new_epoch {
            self.leader_epoch_start = Some(log_end);
            for (id, follower) in &mut self.followers {
                let in_sync = decision.isr.contains(id);
                reset(follower, in_sync, !was_leader, log_end, now_ms);
            }
        }
        self.leader = Some(local_id);
        self.adopt(decision, true);
        if is_new_epoch {
            Taken::NewEpoch {
                new_role: !was_leader,
            }
        } else {
            Taken::SameEpoch
        }
    }

    /// Follows the leader of the decision.
    pub fn become_follower(&mut self, decision: Decision) -> Taken {
        if decision.partition_epoch < self.partition_epoch {
            return Taken::Stale;
        }
        let was_leader = self.is_leader();
        let is_new_epoch = decision.leader_epoch > self.leader_epoch;
        self.leader = Some(decision.leader);
        self.leader_epoch_start = None;
        self.followers.clear();
        self.adopt(decision, false);
        if is_new_epoch {
            Taken::NewEpoch {
                new_role: was_leader,
            }
        } else {
            Taken::SameEpoch
        }
    }

    fn adopt(&mut self, decision: Decision, is_leader: bool) {
        self.controller_epoch = decision.controller_epoch;
        self.leader_epoch = self.leader_epoch.max(decision.leader_epoch);
        self.partition_epoch = decision.partition_epoch;
        self.replicas = decision.replicas;
        self.adding = decision.adding;
        self.isr = if is_leader { decision.isr } else { Vec::new() };
        self.pending = None;
    }

    /// Checks the leader epoch that a request carries (-1 for none), and whether this broker may answer it.
    ///
    /// # Errors
    /// The code to answer with: FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH or NOT_LEADER_OR_FOLLOWER.
    pub fn check_epoch(&self, requested_epoch: i32, needs_leader: bool) -> Result<(), ErrorCode> {
        if requested_epoch >= 0 {
            if requested_epoch < self.leader_epoch {
                return Err(ErrorCode::FencedLeaderEpoch);
            }
            if requested_epoch > self.leader_epoch {
                return Err(ErrorCode::UnknownLeaderEpoch);
            }
        }
        if needs_leader && !self.is_leader() {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        Ok(())
    }

    /// Whether a follower may fetch here.
    ///
    /// # Errors
    /// The code to answer with when it is no replica of this partition.
    pub fn check_follower(&self, id: i32, requested_epoch: i32) -> Result<(), ErrorCode> {
        if self.followers.contains_key(&id) {
            Ok(())
        } else if requested_epoch >= 0 {
            Err(ErrorCode::UnknownLeaderEpoch)
        } else {
            Err(ErrorCode::NotLeaderOrFollower)
        }
    }

    /// Whether clients may not list offsets yet, because the high watermark of a new leader still lags behind the
    /// start of its epoch.
    pub fn is_high_watermark_behind_epoch(&self, high_watermark: i64) -> bool {
        self.leader_epoch_start
            .is_some_and(|start| start > high_watermark)
    }

    /// How many replicas must be in sync for acks=all: never more than there are replicas.
    pub fn effective_min_isr(&self, min_insync_replicas: usize) -> usize {
        let lasting = self
            .replicas
            .iter()
            .filter(|id| !self.adding.contains(id))
            .count();
        let factor = if self.adding.is_empty() {
            self.replicas.len()
        } else {
            lasting
        };
        min_insync_replicas.min(factor)
    }

    /// Whether too few replicas are in sync to accept acks=all.
    pub fn is_under_min_isr(&self, min_insync_replicas: usize) -> bool {
        self.isr.len() < self.effective_min_isr(min_insync_replicas)
    }

    /// Whether an append that waits for all replicas is done: `None` while it is not.
    pub fn acks_reached(
        &self,
        required: i64,
        high_watermark: i64,
        min_insync_replicas: usize,
    ) -> Option<ErrorCode> {
        if !self.is_leader() {
            return Some(ErrorCode::NotLeaderOrFollower);
        }
        if high_watermark < required {
            return None;
        }
        let maximal = self.isr.len() + usize::from(self.pending_expand().is_some());
        if maximal >= self.effective_min_isr(min_insync_replicas) {
            Some(ErrorCode::None)
        } else {
            Some(ErrorCode::NotEnoughReplicasAfterAppend)
        }
    }

    /// How far a leader's high watermark may go now.
    pub fn high_watermark(&self, log_end: i64, now_ms: i64, limits: Limits<'_>) -> Option<i64> {
        if !self.is_leader() || self.is_under_min_isr(limits.min_insync_replicas) {
            return None;
        }
        let mut high_watermark = log_end;
        for (id, follower) in &self.followers {
            if follower.log_end >= high_watermark {
                continue;
            }
            let counts = self.is_in_maximal_isr(*id)
                || (follower.is_caught_up(log_end, now_ms, limits.max_lag_ms)
                    && (limits.is_alive)(*id));
            if counts {
                high_watermark = follower.log_end;
            }
        }
        Some(high_watermark)
    }

    /// The lowest log start among the live replicas, for DeleteRecords.
    pub fn low_watermark(&self, log_start: i64, is_alive: impl Fn(i32) -> bool) -> i64 {
        let remote = self.followers.iter().filter(|(id, _)| is_alive(**id));
        remote
            .map(|(_, follower)| follower.log_start)
            .fold(log_start, i64::min)
    }

    /// Notes what a follower's fetch tells: that it has all before `fetch_offset`. `leader_end` is the log end
    /// before the fetch was served.
    pub fn record_fetch(
        &mut self,
        id: i32,
        fetch_offset: i64,
        log_start: i64,
        leader_end: i64,
        now_ms: i64,
    ) {
        let Some(follower) = self.followers.get_mut(&id) else {
            return;
        };
        // A follower that reaches what was the end at its last fetch was caught up then.
        if fetch_offset >= leader_end {
            follower.caught_up_ms = follower.caught_up_ms.max(now_ms);
        } else if fetch_offset >= follower.last_fetch_leader_end {
            follower.caught_up_ms = follower.caught_up_ms.max(follower.last_fetch_ms);
        }
        follower.log_start = log_start;
        follower.log_end = fetch_offset;
        follower.last_fetch_leader_end = leader_end.max(follower.last_fetch_leader_end);
        follower.last_fetch_ms = now_ms;
    }

    /// Whether this follower should join the in-sync replicas; if so the change is pending from now on.
    pub fn expand_isr(
        &mut self,
        id: i32,
        high_watermark: i64,
        is_alive: bool,
    ) -> Option<IsrChange> {
        let log_end = self.followers.get(&id)?.log_end;
        let reached =
            log_end >= high_watermark && self.leader_epoch_start.is_some_and(|s| log_end >= s);
        if !self.is_leader() || self.pending.is_some() || self.isr.contains(&id) || !is_alive {
            return None;
        }
        if !reached {
            return None;
        }
        self.pending = Some(PendingIsr::Expand(id));
        let isr = self.isr.iter().copied().chain([id]).collect();
        Some(self.isr_change(isr))
    }

    /// Who must leave the in-sync replicas because it lags; if anybody, the change is pending from now on.
    pub fn shrink_isr(&mut self, log_end: i64, now_ms: i64, max_lag_ms: i64) -> Option<IsrChange> {
        if !self.is_leader() || self.pending.is_some() {
            return None;
        }
        let stays = |id: &i32| {
            *id == self.local_id
                || self
                    .followers
                    .get(id)
                    .is_some_and(|f| f.is_caught_up(log_end, now_ms, max_lag_ms))
        };
        let isr: Vec<i32> = self.isr.iter().copied().filter(|id| stays(id)).collect();
        if isr.len() == self.isr.len() {
            return None;
        }
        self.pending = Some(PendingIsr::Shrink);
        Some(self.isr_change(isr))
    }

    /// The controller confirmed in-sync replicas. Nothing changes if the answer is of another epoch.
    pub fn isr_confirmed(&mut self, leader_epoch: i32, partition_epoch: i32, isr: Vec<i32>) {
        if leader_epoch != self.leader_epoch || partition_epoch < self.partition_epoch {
            return;
        }
        self.isr = isr;
        self.partition_epoch = partition_epoch;
        self.pending = None;
    }

    /// The controller refused the change for good; what was confirmed before holds.
    pub fn isr_refused(&mut self) {
        self.pending = None;
    }

    fn isr_change(&self, isr: Vec<i32>) -> IsrChange {
        IsrChange {
            isr,
            leader_epoch: self.leader_epoch,
            partition_epoch: self.partition_epoch,
        }
    }

    fn pending_expand(&self) -> Option<i32> {
        match self.pending {
            Some(PendingIsr::Expand(id)) => Some(id),
            _ => None,
        }
    }

    fn is_in_maximal_isr(&self, id: i32) -> bool {
        self.isr.contains(&id) || self.pending_expand() == Some(id)
    }
}

/// What a new leader assumes of a follower: in-sync replicas count as caught up now.
fn reset(follower: &mut Follower, in_sync: bool, new_leader: bool, leader_end: i64, now_ms: i64) {
    follower.caught_up_ms = if in_sync { now_ms } else { 0 };
    if new_leader {
        follower.log_end = -1;
        follower.log_start = -1;
        follower.last_fetch_leader_end = -1;
        follower.last_fetch_ms = 0;
    } else {
        follower.last_fetch_leader_end = leader_end;
        follower.last_fetch_ms = if in_sync { now_ms } else { 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(leader: i32, leader_epoch: i32, partition_epoch: i32, isr: &[i32]) -> Decision {
        Decision {
            controller_epoch: 1,
            leader,
            leader_epoch,
            isr: isr.to_vec(),
            partition_epoch,
            replicas: vec![1, 2, 3],
            ..Decision::default()
        }
    }

    fn limits(min_insync_replicas: usize) -> Limits<'static> {
        Limits {
            min_insync_replicas,
            max_lag_ms: 30_000,
            is_alive: &|_| true,
        }
    }

    fn leader(isr: &[i32]) -> PartitionState {
        let mut state = PartitionState::new(1);
        state.become_leader(decision(1, 5, 0, isr), 10, 0);
        state
    }

    #[test]
    fn the_high_watermark_is_the_slowest_in_sync_replica() {
        let mut state = leader(&[1, 2, 3]);
        state.record_fetch(2, 10, 0, 12, 1);
        assert_eq!(
            state.high_watermark(12, 1, limits(1)),
            Some(-1),
            "3 has not fetched yet"
        );
        state.record_fetch(3, 12, 0, 12, 1);
        assert_eq!(state.high_watermark(12, 1, limits(1)), Some(10));
        state.record_fetch(2, 12, 0, 12, 2);
        assert_eq!(state.high_watermark(12, 2, limits(1)), Some(12));
    }

    #[test]
    fn it_waits_for_a_caught_up_replica_outside_and_for_min_isr() {
        let mut state = leader(&[1, 2]);
        state.record_fetch(2, 12, 0, 12, 1);
        state.record_fetch(3, 11, 0, 11, 1);
        assert_eq!(
            state.high_watermark(12, 2, limits(1)),
            Some(11),
            "3 is about to join"
        );
        assert_eq!(
            state.high_watermark(12, 60_000, limits(1)),
            Some(12),
            "3 fell behind"
        );
        assert_eq!(state.high_watermark(12, 60_000, limits(3)), None);
    }

    #[test]
    fn epochs_are_fenced_both_ways() {
        let state = leader(&[1]);
        assert_eq!(state.check_epoch(5, true), Ok(()));
        assert_eq!(state.check_epoch(-1, true), Ok(()));
        assert_eq!(
            state.check_epoch(4, true),
            Err(ErrorCode::FencedLeaderEpoch)
        );
        assert_eq!(
            state.check_epoch(6, true),
            Err(ErrorCode::UnknownLeaderEpoch)
        );
        let mut follower = PartitionState::new(2);
        follower.become_follower(decision(1, 5, 0, &[1, 2]));
        assert_eq!(
            follower.check_epoch(5, true),
            Err(ErrorCode::NotLeaderOrFollower)
        );
        assert_eq!(follower.check_epoch(5, false), Ok(()));
    }

    #[test]
    fn an_older_partition_epoch_is_ignored() {
        let mut state = leader(&[1]);
        assert_eq!(
            state.become_leader(decision(1, 6, 3, &[1, 2]), 10, 0),
            Taken::NewEpoch { new_role: false }
        );
        assert_eq!(
            state.become_leader(decision(1, 7, 2, &[1]), 10, 0),
            Taken::Stale
        );
        assert_eq!(
            state.become_leader(decision(1, 6, 4, &[1]), 10, 0),
            Taken::SameEpoch
        );
        assert_eq!((state.leader_epoch(), state.isr()), (6, &[1][..]));
    }

    #[test]
    fn the_isr_grows_and_shrinks_one_change_at_a_time() {
        let mut state = leader(&[1, 2]);
        state.record_fetch(3, 9, 0, 10, 1);
        assert_eq!(
            state.expand_isr(3, 9, true),
            None,
            "below the start of the epoch"
        );
        state.record_fetch(3, 10, 0, 10, 2);
        let change = state.expand_isr(3, 9, true).unwrap();
        assert_eq!(change.isr, [1, 2, 3]);
        assert_eq!(
            state.shrink_isr(20, 60_000, 30_000),
            None,
            "one change at a time"
        );
        state.isr_confirmed(5, 1, vec![1, 2, 3]);
        state.record_fetch(3, 20, 0, 20, 60_000);
        let change = state.shrink_isr(20, 60_000, 30_000).unwrap();
        assert_eq!((change.isr, change.partition_epoch), (vec![1, 3], 1));
    }

    #[test]
    fn acks_wait_and_notice_a_shrunk_isr() {
        let mut state = leader(&[1, 2]);
        assert_eq!(state.acks_reached(11, 10, 2), None);
        assert_eq!(state.acks_reached(11, 11, 2), Some(ErrorCode::None));
        state.isr_confirmed(5, 1, vec![1]);
        let after = Some(ErrorCode::NotEnoughReplicasAfterAppend);
        assert_eq!(state.acks_reached(11, 11, 2), after);
        state.become_follower(decision(2, 6, 2, &[2]));
        assert_eq!(
            state.acks_reached(11, 11, 2),
            Some(ErrorCode::NotLeaderOrFollower)
        );
    }
}
