//! Shell: the groups of one partition of `__consumer_offsets`, and carrying out what they decide.
//!
//! One mutex per partition guards its groups. It is held while a group decides and while its batch
//! is written to this broker's log, so that batches lie in the order of the decisions; never while
//! replicas are awaited.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::records::batch::NO_SEQUENCE;
use kafka_wire::records::batch_builder::{BatchBuilder, BatchBuilderOptions};
use kafka_wire::records::compression::{Codec, compress};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::coordinator::clock;
use crate::coordinator::group::commit::Cleanup;
use crate::coordinator::group::group::Group;
use crate::coordinator::group::message::{
    Effect, Effects, GroupRecord, GroupSettings, Now, Producer, Reply, Stored,
};
use crate::coordinator::internal_log::{Appended, InternalLog, outcome_at_once};
use crate::coordinator::ownership::{Ownership, Phase};
use crate::coordinator::timers::Timers;
use crate::coordinator::topic_partition::detached;
use crate::coordinator::waiting::{Ticket, Waiting};

/// Which group a timer is for: partition, id, and which of the groups that had this id.
pub(super) type TimerKey = (i32, ByteString, u64);

/// What all partitions share.
pub(super) struct Shared {
    pub(super) log: Arc<dyn InternalLog>,
    pub(super) settings: Arc<GroupSettings>,
    pub(super) timers: Timers<TimerKey>,
    /// `offsets.commit.required.acks`
    pub(super) required_acks: i16,
    /// `offsets.topic.compression.codec`
    pub(super) codec: Codec,
    pub(super) next_instance: AtomicU64,
    pub(super) completed_rebalances: AtomicU64,
}

impl Shared {
    pub(super) fn now(&self) -> Now {
        Now {
            wall_ms: clock::wall_ms(),
            mono_ms: self.timers.now_ms(),
        }
    }

    fn entry(&self, group: Group) -> Entry {
        Entry {
            instance: self.next_instance.fetch_add(1, Ordering::Relaxed),
            group,
        }
    }

    fn build(
        &self,
        records: &[GroupRecord],
        producer: Option<Producer>,
        base_sequence: i32,
        now: Now,
    ) -> Result<Bytes, ErrorCode> {
        let mut builder = BatchBuilder::new(BatchBuilderOptions {
            producer_id: producer.map_or(-1, |p| p.id),
            producer_epoch: producer.map_or(-1, |p| p.epoch),
            base_sequence,
            transactional: producer.is_some(),
            ..BatchBuilderOptions::default()
        });
        for record in records {
            builder.append(now.wall_ms, Some(&record.key), record.value.as_deref());
        }
        if self.codec == Codec::None {
            return Ok(builder.build());
        }
        let compressed = compress(self.codec, builder.payload()).map_err(|error| {
            tracing::error!(%error, "a batch of group records cannot be compressed");
            ErrorCode::UnknownServerError
        })?;
        let compressed = compressed.into_owned();
        Ok(builder.build_compressed(self.codec.id(), &compressed))
    }
}

struct Entry {
    instance: u64,
    group: Group,
}

type Groups = HashMap<ByteString, Entry>;

#[derive(Default)]
struct State {
    held: Ownership<Groups>,
    /// Transactions that ended while the log was being read: producer and whether it committed.
    /// The reader may have passed the end of the log before their markers came.
    ended: Vec<(i64, bool)>,
    waiting: Waiting<Reply>,
}

impl State {
    /// The groups, none while they are not held here.
    fn groups(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.held
            .content()
            .into_iter()
            .flat_map(HashMap::values_mut)
    }

    /// A group, if it is still the same one.
    fn entry(&mut self, id: &ByteString, instance: u64) -> Option<&mut Entry> {
        let entry = self.held.content().ok()?.get_mut(id)?;
        (entry.instance == instance).then_some(entry)
    }
}

/// One partition's groups.
pub(super) struct Shard {
    partition: i32,
    shared: Arc<Shared>,
    this: Weak<Shard>,
    state: Mutex<State>,
}

impl Shard {
    pub(super) fn new(partition: i32, shared: Arc<Shared>) -> Arc<Shard> {
        Arc::new_cyclic(|this| Shard {
            partition,
            shared,
            this: this.clone(),
            state: Mutex::default(),
        })
    }

    pub(super) fn phase(&self) -> Phase {
        self.state.lock().held.phase()
    }

    /// Is still being loaded for this epoch.
    pub(super) fn is_loading(&self, epoch: i32) -> bool {
        self.state.lock().held.is_loading(epoch)
    }

    /// This broker leads the partition now. True if its log has to be read: groups that are here
    /// stay as they are in a new epoch.
    pub(super) fn elected(&self, epoch: i32) -> bool {
        let held = &mut self.state.lock().held;
        if held.phase() == Phase::Active {
            held.accept(Some(epoch));
            return false;
        }
        held.elect(epoch)
    }

    /// The log has been read; false if somebody else was elected meanwhile.
    pub(super) fn loaded(&self, epoch: i32, groups: Vec<(Group, Effects)>) -> bool {
        let mut state = self.state.lock();
        if !state.held.is_loading(epoch) {
            return false;
        }
        let ended = std::mem::take(&mut state.ended);
        let mut held = Groups::new();
        let mut all_effects = Vec::new();
        for (mut group, effects) in groups {
            for (producer_id, commit) in &ended {
                group.complete_transaction(*producer_id, *commit);
            }
            let id = group.id().clone();
            let entry = self.shared.entry(group);
            all_effects.push((id.clone(), entry.instance, effects));
            held.insert(id, entry);
        }
        state.held.activate(held);
        for (id, instance, effects) in all_effects {
            self.perform(&mut state, &id, instance, effects);
        }
        true
    }

    /// Another broker leads the partition now. False if that is old news.
    pub(super) fn resigned(&self, epoch: Option<i32>) -> bool {
        let mut state = self.state.lock();
        if !state.held.accept(epoch) {
            return false;
        }
        state.ended.clear();
        let now = self.shared.now();
        for (id, mut entry) in state.held.release().unwrap_or_default() {
            let mut effects = Effects::new();
            entry.group.unload(now, &mut effects);
            self.perform(&mut state, &id, entry.instance, effects);
        }
        true
    }

    /// Lets a group decide, if it is there (or `create` says so); carries out what it decided.
    pub(super) fn with_group<R>(
        &self,
        id: &ByteString,
        create: bool,
        decide: impl FnOnce(&mut Group, Now, &mut Effects) -> R,
    ) -> Result<Option<R>, ErrorCode> {
        let mut state = self.state.lock();
        self.decide(&mut state, id, create, decide)
    }

    /// As [`Shard::with_group`], for decisions that are answered later.
    pub(super) fn ask(
        &self,
        id: &ByteString,
        create: bool,
        decide: impl FnOnce(&mut Group, Ticket, Now, &mut Effects),
    ) -> Result<Option<oneshot::Receiver<Reply>>, ErrorCode> {
        let mut state = self.state.lock();
        let (ticket, receiver) = state.waiting.enter();
        let asked = self.decide(&mut state, id, create, |group, now, effects| {
            decide(group, ticket, now, effects);
        });
        if !matches!(asked, Ok(Some(()))) {
            state.waiting.leave(ticket);
        }
        Ok(asked?.map(|()| receiver))
    }

    /// Removes offsets, and the group with them if it is dead then.
    pub(super) fn clean_up<R>(
        &self,
        id: &ByteString,
        remove: impl FnOnce(&mut Group, Now) -> (R, Cleanup),
    ) -> Result<Option<(R, usize)>, ErrorCode> {
        let mut state = self.state.lock();
        let groups = state.held.content()?;
        let Some(entry) = groups.get_mut(id) else {
            return Ok(None);
        };
        let now = self.shared.now();
        let instance = entry.instance;
        let (result, cleanup) = remove(&mut entry.group, now);
        if cleanup.is_dead {
            groups.remove(id);
        }
        if !cleanup.tombstones.is_empty() {
            let effects = Effects(vec![Effect::Tombstones(cleanup.tombstones)]);
            self.perform(&mut state, id, instance, effects);
        }
        Ok(Some((result, cleanup.offsets)))
    }

    /// The marker of a producer's transaction is in the log.
    pub(super) fn transaction_ended(&self, producer_id: i64, commit: bool) {
        let mut state = self.state.lock();
        if state.held.phase() == Phase::Loading {
            state.ended.push((producer_id, commit));
        }
        for entry in state.groups() {
            entry.group.complete_transaction(producer_id, commit);
        }
    }

    /// Looks at a group.
    pub(super) fn read<R>(
        &self,
        id: &str,
        look: impl FnOnce(&Group) -> R,
    ) -> Result<Option<R>, ErrorCode> {
        let mut state = self.state.lock();
        let groups = state.held.content()?;
        Ok(groups.get(id).map(|entry| look(&entry.group)))
    }

    /// Looks at all groups that are here.
    pub(super) fn read_all<R>(&self, mut look: impl FnMut(&Group) -> Option<R>) -> Vec<R> {
        let mut state = self.state.lock();
        let groups = state.groups();
        groups.filter_map(|entry| look(&entry.group)).collect()
    }

    /// A timer has come.
    pub(super) fn fire(&self, id: &ByteString, instance: u64, at_ms: i64) {
        let mut state = self.state.lock();
        let Some(entry) = state.entry(id, instance) else {
            return;
        };
        let mut effects = Effects::new();
        entry.group.tick(at_ms, self.shared.now(), &mut effects);
        self.perform(&mut state, id, instance, effects);
    }

    fn decide<R>(
        &self,
        state: &mut State,
        id: &ByteString,
        create: bool,
        decide: impl FnOnce(&mut Group, Now, &mut Effects) -> R,
    ) -> Result<Option<R>, ErrorCode> {
        let groups = state.held.content()?;
        let now = self.shared.now();
        if create && !groups.contains_key(id) {
            let settings = Arc::clone(&self.shared.settings);
            let group = Group::empty(detached(id), settings, now);
            groups.insert(group.id().clone(), self.shared.entry(group));
        }
        let Some(entry) = groups.get_mut(id) else {
            return Ok(None);
        };
        let instance = entry.instance;
        let mut effects = Effects::new();
        let result = decide(&mut entry.group, now, &mut effects);
        self.perform(state, id, instance, effects);
        Ok(Some(result))
    }

    /// Carries out effects in order, and what follows from appends that are done at once.
    fn perform(&self, state: &mut State, id: &ByteString, instance: u64, effects: Effects) {
        let mut queue = VecDeque::from(effects.0);
        while let Some(effect) = queue.pop_front() {
            match effect {
                Effect::Reply(ticket, reply) => state.waiting.answer(ticket, reply),
                Effect::Arm(at_ms) => {
                    self.shared
                        .timers
                        .set(at_ms, (self.partition, id.clone(), instance));
                }
                Effect::RebalanceCompleted => {
                    self.shared
                        .completed_rebalances
                        .fetch_add(1, Ordering::Relaxed);
                }
                Effect::Append {
                    records,
                    producer,
                    then,
                } => {
                    let acks = self.shared.required_acks;
                    // Kafka numbers batches of offsets, transactional or not, and no others.
                    let is_offsets = matches!(then, Stored::Offsets(_));
                    let base_sequence = if is_offsets { 0 } else { NO_SEQUENCE };
                    match self.append(&records, producer, base_sequence, acks) {
                        Ok(mut appended) => match outcome_at_once(&mut appended.replicating) {
                            Some(outcome) => {
                                let outcome = outcome.map(|()| appended.base_offset);
                                queue.extend(self.finish(state, id, instance, then, outcome).0);
                            }
                            None => self.await_replicas(id, instance, appended, then),
                        },
                        Err(error) => {
                            let follow_up = self.finish(state, id, instance, then, Err(error));
                            queue.extend(follow_up.0);
                        }
                    }
                }
                Effect::Tombstones(records) => {
                    if let Err(error) = self.append(&records, None, NO_SEQUENCE, 0) {
                        tracing::warn!(group = %id, %error, partition = self.partition,
                            "tombstones were not appended, the next clean-up repeats them");
                    }
                }
            }
        }
    }

    fn append(
        &self,
        records: &[GroupRecord],
        producer: Option<Producer>,
        base_sequence: i32,
        acks: i16,
    ) -> Result<Appended, ErrorCode> {
        let batch = self
            .shared
            .build(records, producer, base_sequence, self.shared.now())?;
        let log = &self.shared.log;
        match producer {
            Some(producer) => log.append_verified(self.partition, batch, acks, producer.guard),
            None => log.append(self.partition, batch, acks),
        }
    }

    fn await_replicas(&self, id: &ByteString, instance: u64, appended: Appended, then: Stored) {
        let Appended {
            base_offset,
            replicating,
        } = appended;
        let shard = Weak::clone(&self.this);
        let id = id.clone();
        tokio::spawn(async move {
            let outcome = replicating.await.map(|()| base_offset);
            let Some(shard) = shard.upgrade() else { return };
            let mut state = shard.state.lock();
            let follow_up = shard.finish(&mut state, &id, instance, then, outcome);
            shard.perform(&mut state, &id, instance, follow_up);
        });
    }

    /// Tells the group what became of its append. Of a group that is gone only the commits are
    /// still to be answered; everybody else was when it went.
    fn finish(
        &self,
        state: &mut State,
        id: &ByteString,
        instance: u64,
        then: Stored,
        outcome: Result<i64, ErrorCode>,
    ) -> Effects {
        let mut effects = Effects::new();
        match (state.entry(id, instance), then) {
            (Some(entry), then) => {
                entry
                    .group
                    .appended(then, outcome, self.shared.now(), &mut effects);
            }
            (None, Stored::Offsets(append)) => effects.0.push(append.orphaned(outcome)),
            (None, _) => {}
        }
        effects
    }
}
