//! Shell: the group coordinator of a broker: finds the partition of a group, checks that this
//! broker coordinates it, and lets the group decide.
//!
//! Which checks come first is Kafka's (`GroupCoordinator.scala`): group id, coordinator running,
//! partition loading, partition owned, then whatever the group says.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use dashmap::DashMap;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::records::compression::Codec;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::coordinator::group::load::{Loader, Placed};
use crate::coordinator::group::message::{
    CommitRequest, CommitResults, GroupSettings, GroupSummary, JoinRequest, JoinResult, Leaver,
    Producer, Reply, SyncRequest, SyncResult, TopicPartition, UNKNOWN_MEMBER_ID,
};
use crate::coordinator::group::offsets::FetchedOffset;
use crate::coordinator::group::records::offset_append_error;
use crate::coordinator::group::shard::{Phase, Shard, Shared};
use crate::coordinator::internal_log::InternalLog;
use crate::coordinator::java;
use crate::coordinator::replay::{Entry, replay};
use crate::coordinator::timers::Timers;

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
    partitions: i32,
    load_buffer_bytes: usize,
    retention_check_interval_ms: u64,
    is_active: AtomicBool,
    shards: DashMap<i32, Arc<Shard>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl std::fmt::Debug for GroupCoordinator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupCoordinator")
            .field("partitions", &self.partitions)
            .finish()
    }
}

impl GroupCoordinator {
    /// A coordinator that answers `COORDINATOR_NOT_AVAILABLE` until it is started.
    pub fn new(config: CoordinatorConfig, log: Arc<dyn InternalLog>) -> Arc<GroupCoordinator> {
        let shared = Shared {
            log,
            settings: Arc::new(config.settings),
            timers: Timers::new(),
            required_acks: config.required_acks,
            codec: config.codec,
            next_ticket: AtomicU64::new(0),
            next_instance: AtomicU64::new(0),
            completed_rebalances: AtomicU64::new(0),
        };
        Arc::new(GroupCoordinator {
            shared: Arc::new(shared),
            partitions: config.partitions.max(1),
            load_buffer_bytes: config.load_buffer_bytes,
            retention_check_interval_ms: config.retention_check_interval_ms.max(1),
            is_active: AtomicBool::new(false),
            shards: DashMap::new(),
            tasks: Mutex::default(),
        })
    }

    /// Starts answering, and the tasks that see to timers and expiry.
    pub fn start(self: &Arc<Self>) {
        self.is_active.store(true, Ordering::SeqCst);
        let mut tasks = self.tasks.lock();
        tasks.push(tokio::spawn(run_timers(
            Arc::clone(&self.shared),
            Arc::downgrade(self),
        )));
        let interval = Duration::from_millis(self.retention_check_interval_ms);
        tasks.push(tokio::spawn(run_expiry(interval, Arc::downgrade(self))));
    }

    /// Stops answering; whoever waits is told to look for another coordinator.
    pub fn shutdown(&self) {
        self.is_active.store(false, Ordering::SeqCst);
        for task in self.tasks.lock().drain(..) {
            task.abort();
        }
        for shard in self.all_shards() {
            shard.resigned(None);
        }
    }

    /// The partition of `__consumer_offsets` that a group belongs to.
    pub fn partition_for(&self, group_id: &str) -> i32 {
        java::partition_for(group_id, self.partitions)
    }

    /// This broker leads a partition of `__consumer_offsets` now: its groups are loaded, and
    /// until then clients are told so.
    pub fn on_elected(self: &Arc<Self>, partition: i32, epoch: i32) {
        tracing::info!(partition, epoch, "elected as group coordinator");
        let shard = self.shard(partition);
        if !shard.elected(epoch) {
            return;
        }
        let coordinator = Arc::clone(self);
        tokio::task::spawn_blocking(move || coordinator.load(&shard, partition, epoch));
    }

    /// Another broker leads a partition of `__consumer_offsets` now; without an epoch the
    /// partition is deleted or this broker is no replica any more.
    pub fn on_resigned(&self, partition: i32, epoch: Option<i32>) {
        let resigned = self.shard(partition).resigned(epoch);
        tracing::info!(partition, epoch, resigned, "resigned as group coordinator");
    }

    /// Partitions of topics were deleted: nobody needs their offsets.
    pub fn on_partitions_deleted(&self, partitions: &[TopicPartition]) {
        let mut removed = 0;
        for shard in self.all_shards() {
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
            self.shard(*partition)
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
        if !self.is_active.load(Ordering::SeqCst) {
            return (ErrorCode::CoordinatorNotAvailable, Vec::new());
        }
        let mut error = ErrorCode::None;
        let mut groups = Vec::new();
        for shard in self.all_shards() {
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
        if !self.is_active.load(Ordering::SeqCst) {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        let shard = self.shard(self.partition_for(group_id));
        match shard.phase() {
            Phase::Loading => Err(ErrorCode::CoordinatorLoadInProgress),
            Phase::NotOwned => Err(ErrorCode::NotCoordinator),
            Phase::Active => Ok(shard),
        }
    }

    fn shard(&self, partition: i32) -> Arc<Shard> {
        if let Some(shard) = self.shards.get(&partition) {
            return Arc::clone(&shard);
        }
        let new = || Shard::new(partition, Arc::clone(&self.shared));
        Arc::clone(&self.shards.entry(partition).or_insert_with(new))
    }

    fn all_shards(&self) -> Vec<Arc<Shard>> {
        self.shards
            .iter()
            .map(|entry| Arc::clone(entry.value()))
            .collect()
    }

    /// Reads the partition's log from its start to its end.
    fn load(&self, shard: &Shard, partition: i32, epoch: i32) {
        let started_ms = self.shared.timers.now_ms();
        let mut loader = Loader::default();
        let Some(mut from) = self.shared.log.start_offset(partition) else {
            tracing::warn!(partition, "no log to load groups from");
            shard.loaded(epoch, Vec::new());
            return;
        };
        while shard.is_loading(epoch) {
            let chunk = match self
                .shared
                .log
                .read(partition, from, self.load_buffer_bytes)
            {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(error) => {
                    tracing::error!(partition, from, error, "groups cannot be read any further");
                    break;
                }
            };
            match load_chunk(&mut loader, partition, &chunk.batches) {
                Some(next) if next > from => from = next,
                _ => break,
            }
        }
        let groups = loader.finish(&self.shared.settings, self.shared.now());
        let count = groups.len();
        if shard.loaded(epoch, groups) {
            let took_ms = self.shared.timers.now_ms() - started_ms;
            tracing::info!(partition, epoch, groups = count, took_ms, "loaded groups");
        }
    }

    fn expire_offsets(&self) {
        let mut removed = 0;
        for shard in self.all_shards() {
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

fn load_chunk(loader: &mut Loader, partition: i32, batches: &[u8]) -> Option<i64> {
    let mut visit = |entry: Entry<'_>| match entry {
        Entry::Record {
            batch_offset,
            producer_id,
            key,
            value,
        } => {
            let (key, value) = (
                Bytes::copy_from_slice(key),
                value.map(Bytes::copy_from_slice),
            );
            if let Err(error) = loader.record(
                Placed {
                    batch_offset,
                    producer_id,
                },
                key,
                value,
            ) {
                tracing::error!(partition, batch_offset, %error, "skipping a record");
            }
        }
        Entry::Marker {
            producer_id,
            commit,
        } => loader.marker(producer_id, commit),
    };
    let mut report = |offset: i64, error: String| {
        tracing::error!(partition, offset, error, "skipping a batch");
    };
    replay(batches, &mut visit, &mut report)
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
            .shard(partition)
            .fire(&group_id, instance, at_ms);
    }
}

async fn run_expiry(interval: Duration, coordinator: Weak<GroupCoordinator>) {
    let mut ticks = tokio::time::interval(interval);
    loop {
        ticks.tick().await;
        let Some(coordinator) = coordinator.upgrade() else {
            return;
        };
        coordinator.expire_offsets();
    }
}

#[cfg(test)]
#[path = "coordinator_test.rs"]
mod tests;
