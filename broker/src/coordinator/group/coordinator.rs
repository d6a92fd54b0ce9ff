//! Shell: the group coordinator of a broker: finds the partition of a group, checks that this
//! broker coordinates it, and lets the group decide.
//!
//! Which checks come first is Kafka's (`GroupCoordinator.scala`): group id, coordinator running,
//! partition loading, partition owned, then whatever the group says.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::records::compression::Codec;
use tokio::sync::oneshot;

use crate::coordinator::group::load::{Loader, Placed};
use crate::coordinator::group::message::{
    CommitRequest, CommitResults, GroupSettings, GroupSummary, JoinRequest, JoinResult, Leaver,
    Producer, Reply, SyncRequest, SyncResult, UNKNOWN_MEMBER_ID,
};
use crate::coordinator::group::offsets::FetchedOffset;
use crate::coordinator::group::records::offset_append_error;
use crate::coordinator::group::shard::{Shard, Shared};
use crate::coordinator::internal_log::InternalLog;
use crate::coordinator::ownership::Phase;
use crate::coordinator::reader::read_partition;
use crate::coordinator::replay::Entry;
use crate::coordinator::running::{Running, repeat};
use crate::coordinator::shards::Shards;
use crate::coordinator::timers::Timers;
use crate::coordinator::topic_partition::TopicPartition;

/// In requests of no producer.
const NO_PRODUCER_ID: i64 = -1;

/// What a coordinator needs to know.
#[derive(Clone, Debug)]
pub struct CoordinatorConfig {
    /// Limits of the protocol.
    pub settings: GroupSettings,
    /// Partitions of `__consumer_offsets`: those it has, else `offsets.topic.num.partitions`.
    pub partitions: i32,
    /// `offsets.load.buffer.size`, bytes.
    pub load_buffer_bytes: usize,
    /// `offsets.retention.check.interval.ms`
    pub retention_check_interval_ms: u64,
    /// `offsets.commit.required.acks`
    pub required_acks: i16,
    /// `offsets.topic.compression.codec`
    pub codec: Codec,
}

/// A group as ListGroups shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOverview {
    /// Group id.
    pub group_id: ByteString,
    /// Protocol type, or empty.
    pub protocol_type: ByteString,
    /// Name of the state.
    pub state: &'static str,
}

/// Coordinates the groups of those partitions of `__consumer_offsets` that this broker leads.
pub struct GroupCoordinator {
    shared: Arc<Shared>,
    load_buffer_bytes: usize,
    retention_check_interval_ms: u64,
    running: Running,
    shards: Shards<Shard>,
}

impl std::fmt::Debug for GroupCoordinator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupCoordinator")
            .field("running", &self.running)
            .finish_non_exhaustive()
    }
}

impl GroupCoordinator {
    /// A coordinator that answers `COORDINATOR_NOT_AVAILABLE` until it is started.
    pub fn new(config: CoordinatorConfig, log: Arc<dyn InternalLog>) -> Arc<GroupCoordinator> {
        let shared = Arc::new(Shared {
            log,
            settings: Arc::new(config.settings),
            timers: Timers::new(),
            required_acks: config.required_acks,
            codec: config.codec,
            next_instance: AtomicU64::new(0),
            completed_rebalances: AtomicU64::new(0),
        });
        let shards_share = Arc::clone(&shared);
        let make = move |partition| Shard::new(partition, Arc::clone(&shards_share));
        Arc::new(GroupCoordinator {
            shared,
            load_buffer_bytes: config.load_buffer_bytes,
            retention_check_interval_ms: config.retention_check_interval_ms,
            running: Running::default(),
            shards: Shards::new(config.partitions, make),
        })
    }

    /// Starts answering, and the tasks that see to timers and expiry.
    pub fn start(self: &Arc<Self>) {
        self.running.start();
        let timers = run_timers(Arc::clone(&self.shared), Arc::downgrade(self));
        self.running.spawn(timers);
        let interval_ms = self.retention_check_interval_ms;
        let expire = |coordinator: &Self| coordinator.expire_offsets();
        self.running
            .spawn(repeat(interval_ms, Arc::downgrade(self), expire));
    }

    /// Stops answering; whoever waits is told to look for another coordinator.
    pub fn shutdown(&self) {
        self.running.stop();
        for shard in self.shards.all() {
            shard.resigned(None);
        }
    }

    /// The partition of `__consumer_offsets` that a group belongs to.
    pub fn partition_for(&self, group_id: &str) -> i32 {
        self.shards.partition_for(group_id)
    }

    /// This broker leads a partition of `__consumer_offsets` now: its groups are loaded, and
    /// until then clients are told so.
    pub fn on_elected(self: &Arc<Self>, partition: i32, epoch: i32) {
        tracing::info!(partition, epoch, "elected as group coordinator");
        let shard = self.shards.get(partition);
        if !shard.elected(epoch) {
            return;
        }
        let coordinator = Arc::clone(self);
        tokio::task::spawn_blocking(move || coordinator.load(&shard, partition, epoch));
    }

    /// Another broker leads a partition of `__consumer_offsets` now; without an epoch the
    /// partition is deleted or this broker is no replica any more.
    pub fn on_resigned(&self, partition: i32, epoch: Option<i32>) {
        let resigned = self.shards.get(partition).resigned(epoch);
        tracing::info!(partition, epoch, resigned, "resigned as group coordinator");
    }

    /// Partitions of topics were deleted: nobody needs their offsets.
    pub fn on_partitions_deleted(&self, partitions: &[TopicPartition]) {
        let mut removed = 0;
        for shard in self.shards.all() {
            for id in shard.read_all(|group| Some(group.id().clone())) {
                let forget =
                    shard.clean_up(&id, |g, now| ((), g.forget_partitions(partitions, now)));
                removed += forget.ok().flatten().map_or(0, |((), offsets)| offsets);
            }
        }
        tracing::info!(
            removed,
            partitions = partitions.len(),
            "dropped offsets of deleted topics"
        );
    }

    /// A transaction's markers are in these partitions of `__consumer_offsets`.
    pub fn on_transaction_completed(&self, producer_id: i64, partitions: &[i32], commit: bool) {
        for partition in partitions {
            self.shards
                .get(*partition)
                .transaction_ended(producer_id, commit);
        }
    }

    /// Rebalances that came as far as an assignment, since the start.
    pub fn completed_rebalances(&self) -> u64 {
        self.shared.completed_rebalances.load(Ordering::Relaxed)
    }

    /// JoinGroup.
    pub async fn join(&self, group_id: &ByteString, request: JoinRequest) -> JoinResult {
        let failed = |error| JoinResult::failed(request.member_id.clone(), error);
        let shard = match self.checked(group_id, false) {
            Ok(shard) => shard,
            Err(error) => return failed(error),
        };
        if !self
            .shared
            .settings
            .allows_session_timeout(request.session_timeout_ms)
        {
            return failed(ErrorCode::InvalidSessionTimeout);
        }
        let create = request.member_id == *UNKNOWN_MEMBER_ID;
        let asked = shard.ask(group_id, create, |group, ticket, now, effects| {
            group.join(&request, ticket, now, effects);
        });
        match answer(asked).await {
            Ok(Some(Reply::Join(result))) => result,
            Ok(Some(_)) => failed(ErrorCode::UnknownServerError),
            Ok(None) => failed(ErrorCode::UnknownMemberId),
            Err(error) => failed(error),
        }
    }

    /// SyncGroup. While the partition is loading the rebalance is lost, and old clients do not
    /// expect to be told so: they are to join again.
    pub async fn sync(&self, group_id: &ByteString, request: SyncRequest) -> SyncResult {
        let failed = |error| match error {
            ErrorCode::CoordinatorLoadInProgress => {
                SyncResult::failed(ErrorCode::RebalanceInProgress)
            }
            error => SyncResult::failed(error),
        };
        let shard = match self.checked(group_id, false) {
            Ok(shard) => shard,
            Err(error) => return failed(error),
        };
        let asked = shard.ask(group_id, false, |group, ticket, now, effects| {
            group.sync(&request, ticket, now, effects);
        });
        match answer(asked).await {
            Ok(Some(Reply::Sync(result))) => result,
            Ok(Some(_)) => SyncResult::failed(ErrorCode::UnknownServerError),
            Ok(None) => SyncResult::failed(ErrorCode::UnknownMemberId),
            Err(error) => failed(error),
        }
    }

    /// Heartbeat. While the partition is loading nobody can be missing.
    pub fn heartbeat(
        &self,
        group_id: &ByteString,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
    ) -> ErrorCode {
        let beaten = self.checked(group_id, false).and_then(|shard| {
            shard.with_group(group_id, false, |group, now, effects| {
                group.heartbeat(member_id, instance_id, generation, now, effects)
            })
        });
        match beaten {
            Ok(Some(error)) => error,
            Ok(None) => ErrorCode::UnknownMemberId,
            Err(ErrorCode::CoordinatorLoadInProgress) => ErrorCode::None,
            Err(error) => error,
        }
    }

    /// LeaveGroup: one outcome for each of the leavers.
    ///
    /// # Errors
    /// Why nobody could leave.
    pub fn leave(
        &self,
        group_id: &ByteString,
        leavers: &[Leaver],
    ) -> Result<Vec<ErrorCode>, ErrorCode> {
        let left =
            self.checked(group_id, false)?
                .with_group(group_id, false, |group, now, effects| {
                    group.leave(leavers, now, effects)
                })?;
        left.unwrap_or_else(|| Ok(vec![ErrorCode::UnknownMemberId; leavers.len()]))
    }

    /// OffsetCommit.
    pub async fn commit(&self, group_id: &ByteString, mut request: CommitRequest) -> CommitResults {
        request.keep_last_of_each();
        match self.checked(group_id, true) {
            // Without a generation the group is used for nothing but offsets.
            Ok(shard) => commit_to(&shard, group_id, request.generation < 0, request).await,
            Err(error) => request.failed(error),
        }
    }

    /// TxnOffsetCommit: the offsets count once the transaction is committed. A group that is not
    /// there is created, whatever becomes of the commit.
    pub async fn commit_in_transaction(
        &self,
        group_id: &ByteString,
        transactional_id: &ByteString,
        producer_id: i64,
        producer_epoch: i16,
        mut request: CommitRequest,
    ) -> CommitResults {
        request.keep_last_of_each();
        let created = self.checked(group_id, false).and_then(|shard| {
            shard.with_group(group_id, true, |_, _, _| ())?;
            Ok(shard)
        });
        let shard = match created {
            Ok(shard) => shard,
            Err(error) => return request.failed(error),
        };
        let partition = self.partition_for(group_id);
        let log = &self.shared.log;
        let verifying = log.verify(partition, transactional_id, producer_id, producer_epoch);
        let guard = match verifying.await {
            Ok(guard) => guard,
            Err(error) => return request.failed(offset_append_error(error)),
        };
        // Without a producer's id a commit is an ordinary one, which only verification refuses.
        request.producer = (producer_id != NO_PRODUCER_ID).then_some(Producer {
            id: producer_id,
            epoch: producer_epoch,
            guard,
        });
        commit_to(&shard, group_id, true, request).await
    }

    /// OffsetFetch: the given partitions, or all that are committed.
    ///
    /// # Errors
    /// Why this broker cannot say.
    pub fn fetch_offsets(
        &self,
        group_id: &ByteString,
        partitions: Option<&[TopicPartition]>,
        require_stable: bool,
    ) -> Result<Vec<(TopicPartition, FetchedOffset)>, ErrorCode> {
        let fetched = self.checked(group_id, true)?.read(group_id, |group| {
            group.offsets().fetch(partitions, require_stable)
        })?;
        let nothing = || FetchedOffset::none(ErrorCode::None);
        Ok(fetched.unwrap_or_else(|| {
            partitions
                .unwrap_or_default()
                .iter()
                .map(|p| (p.clone(), nothing()))
                .collect()
        }))
    }

    /// DescribeGroups, one group; one that isn't there is `Dead`.
    ///
    /// # Errors
    /// Why this broker cannot say.
    pub fn describe(&self, group_id: &ByteString) -> Result<GroupSummary, ErrorCode> {
        let summary = self
            .checked(group_id, true)?
            .read(group_id, |group| group.summary())?;
        Ok(summary.unwrap_or_else(GroupSummary::dead))
    }

    /// ListGroups: the groups in one of the states, or in any. While a partition is loading the
    /// list is not complete, and the error says so.
    pub fn list(&self, states: &[ByteString]) -> (ErrorCode, Vec<GroupOverview>) {
        if !self.running.is_active() {
            return (ErrorCode::CoordinatorNotAvailable, Vec::new());
        }
        let mut error = ErrorCode::None;
        let mut groups = Vec::new();
        for shard in self.shards.all() {
            if shard.phase() == Phase::Loading {
                error = ErrorCode::CoordinatorLoadInProgress;
            }
            groups.extend(shard.read_all(|group| {
                let state = group.state().name();
                let is_wanted = states.is_empty() || states.iter().any(|s| *s == *state);
                is_wanted.then(|| GroupOverview {
                    group_id: group.id().clone(),
                    protocol_type: group.protocol_type(),
                    state,
                })
            }));
        }
        (error, groups)
    }

    /// DeleteGroups, one group.
    pub fn delete_group(&self, group_id: &ByteString) -> ErrorCode {
        let deleted = self.checked(group_id, true).and_then(|shard| {
            shard.clean_up(group_id, |group, now| match group.delete(now) {
                Ok(cleanup) => (ErrorCode::None, cleanup),
                Err(error) => (error, Default::default()),
            })
        });
        match deleted {
            Ok(Some((error, offsets))) => {
                tracing::info!(group = %group_id, %error, offsets, "asked to delete a group");
                error
            }
            Ok(None) => ErrorCode::GroupIdNotFound,
            Err(error) => error,
        }
    }

    /// OffsetDelete: one outcome for each partition.
    ///
    /// # Errors
    /// Why nothing was deleted.
    pub fn delete_offsets(
        &self,
        group_id: &ByteString,
        partitions: &[TopicPartition],
    ) -> Result<Vec<ErrorCode>, ErrorCode> {
        let deleted =
            self.checked(group_id, false)?
                .clean_up(group_id, |group, now| {
                    match group.delete_offsets(partitions, now) {
                        Ok((results, cleanup)) => (Ok(results), cleanup),
                        Err(error) => (Err(error), Default::default()),
                    }
                })?;
        let (results, offsets) = deleted.ok_or(ErrorCode::GroupIdNotFound)?;
        tracing::info!(group = %group_id, offsets, "asked to delete offsets");
        results
    }

    /// The shard of a group if everything that is checked before the group itself is fine. Old
    /// offset APIs know a group without a name.
    fn checked(&self, group_id: &str, may_be_empty: bool) -> Result<Arc<Shard>, ErrorCode> {
        if group_id.is_empty() && !may_be_empty {
            return Err(ErrorCode::InvalidGroupId);
        }
        if !self.running.is_active() {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        let shard = self.shards.of(group_id);
        match shard.phase() {
            Phase::Loading => Err(ErrorCode::CoordinatorLoadInProgress),
            Phase::NotOwned => Err(ErrorCode::NotCoordinator),
            Phase::Active => Ok(shard),
        }
    }

    fn load(&self, shard: &Shard, partition: i32, epoch: i32) {
        let started_ms = self.shared.timers.now_ms();
        let mut loader = Loader::default();
        read_partition(
            &*self.shared.log,
            partition,
            self.load_buffer_bytes,
            || shard.is_loading(epoch),
            &mut |entry| take(&mut loader, partition, entry),
        );
        let groups = loader.finish(&self.shared.settings, self.shared.now());
        let count = groups.len();
        if shard.loaded(epoch, groups) {
            let took_ms = self.shared.timers.now_ms() - started_ms;
            tracing::info!(partition, epoch, groups = count, took_ms, "loaded groups");
        }
    }

    fn expire_offsets(&self) {
        let mut removed = 0;
        for shard in self.shards.all() {
            for id in shard.read_all(|group| Some(group.id().clone())) {
                let expired = shard.clean_up(&id, |group, now| ((), group.expire(now)));
                removed += expired.ok().flatten().map_or(0, |((), offsets)| offsets);
            }
        }
        if removed > 0 {
            tracing::info!(removed, "expired offsets");
        }
    }
}

fn take(loader: &mut Loader, partition: i32, entry: Entry<'_>) {
    match entry {
        Entry::Record {
            batch_offset,
            producer_id,
            key,
            value,
        } => {
            let placed = Placed {
                batch_offset,
                producer_id,
            };
            let key = Bytes::copy_from_slice(key);
            if let Err(error) = loader.record(placed, key, value.map(Bytes::copy_from_slice)) {
                tracing::error!(partition, batch_offset, %error, "skipping a record");
            }
        }
        Entry::Marker {
            producer_id,
            commit,
        } => loader.marker(producer_id, commit),
    }
}

async fn commit_to(
    shard: &Shard,
    group_id: &ByteString,
    create: bool,
    request: CommitRequest,
) -> CommitResults {
    let partitions: Vec<_> = request.offsets.iter().map(|(p, _)| p.clone()).collect();
    let failed = |error| partitions.iter().map(|p| (p.clone(), error)).collect();
    let asked = shard.ask(group_id, create, |group, ticket, now, effects| {
        group.commit(request, ticket, now, effects);
    });
    match answer(asked).await {
        Ok(Some(Reply::Commit(results))) => results,
        Ok(Some(_)) => failed(ErrorCode::UnknownServerError),
        Ok(None) => failed(ErrorCode::IllegalGeneration),
        Err(error) => failed(error),
    }
}

/// Waits for a late answer. A question that is dropped unanswered was asked of a coordinator that
/// is shutting down.
async fn answer(
    asked: Result<Option<oneshot::Receiver<Reply>>, ErrorCode>,
) -> Result<Option<Reply>, ErrorCode> {
    match asked? {
        None => Ok(None),
        Some(receiver) => match receiver.await {
            Ok(reply) => Ok(Some(reply)),
            Err(_) => Err(ErrorCode::NotCoordinator),
        },
    }
}

async fn run_timers(shared: Arc<Shared>, coordinator: Weak<GroupCoordinator>) {
    loop {
        let (at_ms, (partition, group_id, instance)) = shared.timers.next().await;
        let Some(coordinator) = coordinator.upgrade() else {
            return;
        };
        coordinator
            .shards
            .get(partition)
            .fire(&group_id, instance, at_ms);
    }
}

#[cfg(test)]
#[path = "coordinator_test.rs"]
mod tests;
