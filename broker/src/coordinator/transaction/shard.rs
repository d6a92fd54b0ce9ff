//! Shell: the transactions of one partition of `__transaction_state`, and carrying out what they
//! decide.
//!
//! One mutex per partition guards its transactions. It is held while they decide and while their
//! batch is written to this broker's log, so that batches lie in the order of the decisions; never
//! while replicas or markers are awaited.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::records::batch_builder::{BatchBuilder, BatchBuilderOptions};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;

use crate::coordinator::clock;
use crate::coordinator::internal_log::{Appended, InternalLog, Replicating, outcome_at_once};
use crate::coordinator::ownership::{Ownership, Phase};
use crate::coordinator::transaction::last_words::orphaned;
use crate::coordinator::transaction::marker_sender::MarkerQueue;
use crate::coordinator::transaction::message::{
    Effect, Effects, LogRecord, Reply, Stored, TransactionSettings,
};
use crate::coordinator::transaction::partition::TransactionPartition;
use crate::coordinator::waiting::{Ticket, Waiting};

/// Pause before the end of a transaction is written again.
const COMPLETION_BACKOFF: Duration = Duration::from_millis(100);
/// All replicas in sync: what is decided must not be forgotten.
const REQUIRED_ACKS: i16 = -1;

/// What all partitions share.
pub(super) struct Shared {
    pub(super) log: Arc<dyn InternalLog>,
    pub(super) settings: Arc<TransactionSettings>,
    pub(super) markers: MarkerQueue,
}

#[derive(Default)]
struct State {
    held: Ownership<TransactionPartition>,
    waiting: Waiting<Reply>,
}

/// One partition's transactions.
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

    /// This broker leads the partition now. True if its log has to be read.
    pub(super) fn elected(&self, epoch: i32) -> bool {
        let is_new = self.state.lock().held.elect(epoch);
        if is_new {
            self.shared.markers.forget(self.partition);
        }
        is_new
    }

    /// The log has been read; `load` makes the transactions. False if somebody else was elected
    /// meanwhile.
    pub(super) fn loaded(
        &self,
        epoch: i32,
        load: impl FnOnce(i64, &mut Effects) -> TransactionPartition,
    ) -> bool {
        let mut state = self.state.lock();
        if !state.held.is_loading(epoch) {
            return false;
        }
        let mut effects = Effects::new();
        let transactions = load(clock::wall_ms(), &mut effects);
        state.held.activate(transactions);
        self.perform(&mut state, epoch, effects);
        true
    }

    /// Another broker leads the partition now. False if that is old news.
    pub(super) fn resigned(&self, epoch: Option<i32>) -> bool {
        let mut state = self.state.lock();
        if !state.held.accept(epoch) {
            return false;
        }
        state.held.release();
        self.shared.markers.forget(self.partition);
        true
    }

    /// Lets the transactions decide, and carries out what they decided.
    pub(super) fn decide<R>(
        &self,
        decide: impl FnOnce(&mut TransactionPartition, i64, &mut Effects) -> R,
    ) -> Result<R, ErrorCode> {
        let mut state = self.state.lock();
        self.decide_in(&mut state, decide)
    }

    /// As [`Shard::decide`], for decisions that are answered later.
    pub(super) fn ask<R>(
        &self,
        decide: impl FnOnce(&mut TransactionPartition, Ticket, i64, &mut Effects) -> R,
    ) -> Result<(R, Ticket, oneshot::Receiver<Reply>), ErrorCode> {
        let mut state = self.state.lock();
        let (ticket, receiver) = state.waiting.enter();
        let decided = self.decide_in(&mut state, |transactions, now_ms, effects| {
            decide(transactions, ticket, now_ms, effects)
        });
        match decided {
            Ok(decided) => Ok((decided, ticket, receiver)),
            Err(error) => {
                state.waiting.leave(ticket);
                Err(error)
            }
        }
    }

    /// Forgets a question that turned out to be none.
    pub(super) fn forget(&self, ticket: Ticket) {
        self.state.lock().waiting.leave(ticket);
    }

    /// Forgets ids that were idle for long.
    pub(super) fn expire(&self) {
        let Some(max_batch_bytes) = self.shared.log.max_batch_bytes(self.partition) else {
            tracing::warn!(
                partition = self.partition,
                "no log to expire transactional ids in"
            );
            return;
        };
        // Without ownership nothing is to be expired here.
        let _ = self.decide(|transactions, now_ms, effects| {
            transactions.expire(now_ms, max_batch_bytes, effects);
        });
    }

    fn decide_in<R>(
        &self,
        state: &mut MutexGuard<'_, State>,
        decide: impl FnOnce(&mut TransactionPartition, i64, &mut Effects) -> R,
    ) -> Result<R, ErrorCode> {
        let transactions = state.held.content()?;
        let epoch = transactions.coordinator_epoch();
        let mut effects = Effects::new();
        let decided = decide(transactions, clock::wall_ms(), &mut effects);
        self.perform(state, epoch, effects);
        Ok(decided)
    }

    /// Carries out effects in order, and what follows from appends that are done at once.
    fn perform(&self, state: &mut State, epoch: i32, effects: Effects) {
        let mut queue = VecDeque::from(effects);
        while let Some(effect) = queue.pop_front() {
            match effect {
                Effect::Reply(ticket, reply) => state.waiting.answer(ticket, reply),
                Effect::SendMarkers { markers, again } => self.shared.markers.send(markers, again),
                Effect::RetryCompletion(id) => self.retry_completion(epoch, id),
                Effect::Append {
                    records,
                    timeout_ms,
                    then,
                } => match self.append(&records, timeout_ms) {
                    Ok(mut appended) => match outcome_at_once(&mut appended.replicating) {
                        Some(outcome) => queue.extend(finish(state, epoch, then, outcome)),
                        None => self.await_replicas(epoch, appended.replicating, then),
                    },
                    Err(error) => queue.extend(finish(state, epoch, then, Err(error))),
                },
            }
        }
    }

    fn append(
        &self,
        records: &[LogRecord],
        timeout_ms: Option<i32>,
    ) -> Result<Appended, ErrorCode> {
        let now_ms = clock::wall_ms();
        let mut builder = BatchBuilder::new(BatchBuilderOptions::default());
        for record in records {
            builder.append(now_ms, Some(&record.key), record.value.as_deref());
        }
        let (log, batch) = (&self.shared.log, builder.build());
        match timeout_ms.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0))) {
            Some(limit) => log.append_within(self.partition, batch, REQUIRED_ACKS, limit),
            None => log.append(self.partition, batch, REQUIRED_ACKS),
        }
    }

    fn await_replicas(&self, epoch: i32, replicating: Replicating, then: Stored) {
        let shard = Weak::clone(&self.this);
        tokio::spawn(async move {
            let outcome = replicating.await;
            let Some(shard) = shard.upgrade() else { return };
            let mut state = shard.state.lock();
            let follow_up = finish(&mut state, epoch, then, outcome);
            shard.perform(&mut state, epoch, follow_up);
        });
    }

    fn retry_completion(&self, epoch: i32, id: ByteString) {
        let shard = Weak::clone(&self.this);
        tokio::spawn(async move {
            tokio::time::sleep(COMPLETION_BACKOFF).await;
            let Some(shard) = shard.upgrade() else { return };
            // Another epoch's coordinator finishes the transaction by itself.
            let _ = shard.decide(|transactions, _, effects| {
                if transactions.coordinator_epoch() == epoch {
                    transactions.retry_completion(&id, effects);
                }
            });
        });
    }
}

/// Tells the transactions what became of an append. If they are gone, only those who wait are told.
fn finish(state: &mut State, epoch: i32, then: Stored, outcome: Result<(), ErrorCode>) -> Effects {
    let mut effects = Effects::new();
    match state.held.content() {
        Ok(transactions) if transactions.coordinator_epoch() == epoch => {
            transactions.appended(then, outcome, clock::wall_ms(), &mut effects);
        }
        // It was made in an earlier epoch.
        Ok(_) => orphaned(&then, outcome, ErrorCode::NotCoordinator, &mut effects),
        Err(present) => orphaned(&then, outcome, present, &mut effects),
    }
    effects
}
