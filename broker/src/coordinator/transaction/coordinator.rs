//! Shell: the transaction coordinator of a broker: finds the partition of a transactional id,
//! checks that this broker coordinates it, and lets the transactions there decide.
//!
//! Which checks come first is Kafka's (`TransactionCoordinator.scala`): what is wrong with the
//! request itself, partition loading, partition owned, then whatever the transaction says.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;
use tokio::sync::oneshot;

use crate::coordinator::internal_log::InternalLog;
use crate::coordinator::ownership::Phase;
use crate::coordinator::reader::read_partition;
use crate::coordinator::replay::Entry;
use crate::coordinator::running::{Running, repeat};
use crate::coordinator::shards::Shards;
use crate::coordinator::topic_partition::TopicPartition;
use crate::coordinator::transaction::load::Loader;
use crate::coordinator::transaction::marker_sender::{
    MarkerInbox, MarkerQueue, MarkerSettings, run,
};
use crate::coordinator::transaction::message::{
    AddRequest, EndRequest, InitRequest, Markers, Reply, TransactionDescription,
    TransactionListing, TransactionSettings,
};
use crate::coordinator::transaction::partition::{InitProgress, TransactionPartition};
use crate::coordinator::transaction::producer_ids::ProducerIds;
use crate::coordinator::transaction::shard::{Shard, Shared};
use crate::coordinator::transaction::state::TransactionState;
use crate::coordinator::transaction::transaction::ProducerIdentity;
use crate::coordinator::waiting::Ticket;

/// What a coordinator needs to know.
#[derive(Clone, Debug)]
pub struct CoordinatorConfig {
    /// Limits.
    pub settings: TransactionSettings,
    /// Partitions of `__transaction_state`: those it has, else
    /// `transaction.state.log.num.partitions`.
    pub partitions: i32,
    /// `transaction.state.log.load.buffer.size`, bytes.
    pub load_buffer_bytes: usize,
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms`
    pub abort_interval_ms: u64,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`
    pub expiry_interval_ms: u64,
}

/// What ListTransactions answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionList {
    /// Why the list is empty, if it is for a reason.
    pub error: ErrorCode,
    /// Names among the filters that are no states.
    pub unknown_states: Vec<ByteString>,
    /// The transactions.
    pub transactions: Vec<TransactionListing>,
}

/// Coordinates the transactions of those partitions of `__transaction_state` that this broker
/// leads.
pub struct TransactionCoordinator {
    shared: Arc<Shared>,
    config: CoordinatorConfig,
    producer_ids: Arc<ProducerIds>,
    running: Running,
    shards: Shards<Shard>,
}

impl std::fmt::Debug for TransactionCoordinator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TransactionCoordinator")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl TransactionCoordinator {
    /// A coordinator that coordinates nothing until it is told what this broker leads.
    pub fn new(
        config: CoordinatorConfig,
        log: Arc<dyn InternalLog>,
        producer_ids: Arc<ProducerIds>,
        markers: MarkerQueue,
    ) -> Arc<TransactionCoordinator> {
        let shared = Arc::new(Shared {
            log,
            settings: Arc::new(config.settings.clone()),
            markers,
        });
        let shards_share = Arc::clone(&shared);
        let make = move |partition| Shard::new(partition, Arc::clone(&shards_share));
        Arc::new(TransactionCoordinator {
            shared,
            shards: Shards::new(config.partitions, make),
            config,
            producer_ids,
            running: Running::default(),
        })
    }

    /// Starts the tasks that send markers, abort what takes too long and forget what is idle.
    pub fn start(self: &Arc<Self>, markers: MarkerSettings, inbox: MarkerInbox) {
        let this = || Arc::downgrade(self);
        self.running.spawn(run(markers, inbox, this()));
        let abort = |coordinator: &Self| coordinator.abort_timed_out();
        let interval_ms = self.config.abort_interval_ms;
        self.running.spawn(repeat(interval_ms, this(), abort));
        let expire = |coordinator: &Self| coordinator.expire();
        let interval_ms = self.config.expiry_interval_ms;
        self.running.spawn(repeat(interval_ms, this(), expire));
        self.running.start();
    }

    /// Stops coordinating.
    pub fn shutdown(&self) {
        self.running.stop();
        for shard in self.shards.all() {
            shard.resigned(None);
        }
    }

    /// The partition of `__transaction_state` that a transactional id belongs to.
    pub fn partition_for(&self, transactional_id: &str) -> i32 {
        self.shards.partition_for(transactional_id)
    }

    /// This broker leads a partition of `__transaction_state` now: its transactions are loaded,
    /// and until then clients are told so.
    pub fn on_elected(self: &Arc<Self>, partition: i32, epoch: i32) {
        tracing::info!(partition, epoch, "elected as transaction coordinator");
        let shard = self.shards.get(partition);
        if !shard.elected(epoch) {
            return;
        }
        let coordinator = Arc::clone(self);
        tokio::task::spawn_blocking(move || coordinator.load(&shard, partition, epoch));
    }

    /// Another broker leads a partition of `__transaction_state` now; without an epoch the
    /// partition is deleted or this broker is no replica any more.
    pub fn on_resigned(&self, partition: i32, epoch: Option<i32>) {
        let resigned = self.shards.get(partition).resigned(epoch);
        tracing::info!(
            partition,
            epoch,
            resigned,
            "resigned as transaction coordinator"
        );
    }

    /// InitProducerId; without a transactional id the producer is idempotent only.
    ///
    /// # Errors
    /// What the producer is told.
    pub async fn init_producer_id(
        &self,
        transactional_id: Option<ByteString>,
        timeout_ms: i32,
        expected: Option<ProducerIdentity>,
    ) -> Result<ProducerIdentity, ErrorCode> {
        let Some(transactional_id) = transactional_id else {
            let id = self.producer_ids.generate().await?;
            return Ok(ProducerIdentity { id, epoch: 0 });
        };
        if transactional_id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        if timeout_ms <= 0 || timeout_ms > self.config.settings.max_timeout_ms {
            return Err(ErrorCode::InvalidTransactionTimeout);
        }
        let request = InitRequest {
            transactional_id,
            timeout_ms,
            expected,
        };
        let shard = self.shards.of(&request.transactional_id);
        let mut fresh = None;
        loop {
            let (progress, ticket, answer) =
                shard.ask(|transactions, ticket, now_ms, effects| {
                    transactions.init_producer_id(&request, fresh, ticket, now_ms, effects)
                })?;
            match progress {
                InitProgress::Decided => {
                    return match received(answer).await? {
                        Reply::Init(result) => result,
                        Reply::Done(_) => Err(ErrorCode::UnknownServerError),
                    };
                }
                InitProgress::NeedsProducerId => {
                    shard.forget(ticket);
                    fresh = Some(self.producer_ids.generate().await?);
                }
            }
        }
    }

    /// AddPartitionsToTxn and AddOffsetsToTxn.
    pub async fn add_partitions(&self, request: AddRequest) -> ErrorCode {
        if request.transactional_id.is_empty() {
            return ErrorCode::InvalidRequest;
        }
        let shard = self.shards.of(&request.transactional_id);
        let asked = shard.ask(|transactions, ticket, now_ms, effects| {
            transactions.add_partitions(&request, ticket, now_ms, effects);
        });
        done(asked).await
    }

    /// Whether partitions are in a transaction: one answer for each of them.
    ///
    /// # Errors
    /// What to answer for all of them.
    pub fn verify_partitions(
        &self,
        request: &AddRequest,
    ) -> Result<Vec<(TopicPartition, ErrorCode)>, ErrorCode> {
        if request.transactional_id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        self.shards
            .of(&request.transactional_id)
            .decide(|transactions, _, _| transactions.verify_partitions(request))?
    }

    /// EndTxn: answered when the decision is in the log.
    pub async fn end(&self, request: EndRequest) -> ErrorCode {
        if request.transactional_id.is_empty() {
            return ErrorCode::InvalidRequest;
        }
        let shard = self.shards.of(&request.transactional_id);
        let asked = shard.ask(|transactions, ticket, now_ms, effects| {
            transactions.end(&request, ticket, now_ms, effects);
        });
        done(asked).await
    }

    /// DescribeTransactions, one id.
    ///
    /// # Errors
    /// Why it cannot be described.
    pub fn describe(&self, transactional_id: &str) -> Result<TransactionDescription, ErrorCode> {
        if !self.running.is_active() {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        if transactional_id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        let described = self
            .shards
            .of(transactional_id)
            .decide(|transactions, _, _| transactions.describe(transactional_id))?;
        described.ok_or(ErrorCode::TransactionalIdNotFound)
    }

    /// ListTransactions. Names that are no states let nothing through.
    pub fn list(&self, producer_ids: &[i64], states: &[ByteString]) -> TransactionList {
        let failed = |error| TransactionList {
            error,
            unknown_states: Vec::new(),
            transactions: Vec::new(),
        };
        if !self.running.is_active() {
            return failed(ErrorCode::CoordinatorNotAvailable);
        }
        let shards = self.shards.all();
        if shards.iter().any(|shard| shard.phase() == Phase::Loading) {
            return failed(ErrorCode::CoordinatorLoadInProgress);
        }
        let mut unknown_states: Vec<ByteString> = Vec::new();
        let mut known = HashSet::new();
        for name in states {
            match TransactionState::from_name(name) {
                Some(state) => {
                    known.insert(state);
                }
                None if unknown_states.contains(name) => {}
                None => unknown_states.push(name.clone()),
            }
        }
        let producer_ids: HashSet<i64> = producer_ids.iter().copied().collect();
        let filter = (!states.is_empty()).then_some(&known);
        let mut listed = Vec::new();
        for shard in shards {
            // A shard that is not owned has nothing to list.
            let some = shard.decide(|transactions, _, _| transactions.list(&producer_ids, filter));
            listed.extend(some.unwrap_or_default());
        }
        TransactionList {
            error: ErrorCode::None,
            unknown_states,
            transactions: listed,
        }
    }

    /// What a broker answered to the markers of a transaction.
    pub(super) fn markers_answered(&self, sent: &Markers, answers: &[(TopicPartition, ErrorCode)]) {
        // A shard that is not owned waits for no markers; whoever owns it sends its own.
        let _ = self
            .shards
            .get(sent.shard)
            .decide(|transactions, _, effects| {
                transactions.markers_answered(sent, answers, effects);
            });
    }

    /// Partitions of a transaction do not exist any more.
    pub(super) fn partitions_gone(&self, sent: &Markers) {
        let _ = self
            .shards
            .get(sent.shard)
            .decide(|transactions, _, effects| {
                transactions.partitions_gone(sent, effects);
            });
    }

    /// Whether markers are still of any meaning.
    pub(super) fn awaits(&self, sent: &Markers) -> bool {
        let awaited = self
            .shards
            .get(sent.shard)
            .decide(|transactions, _, _| transactions.awaits(sent));
        awaited.unwrap_or(false)
    }

    fn abort_timed_out(&self) {
        for shard in self.shards.all() {
            let _ = shard.decide(|transactions, now_ms, effects| {
                transactions.abort_timed_out(now_ms, effects);
            });
        }
    }

    fn expire(&self) {
        for shard in self.shards.all() {
            if shard.phase() == Phase::Active {
                shard.expire();
            }
        }
    }

    /// Reads the partition's log from its start to its end.
    fn load(&self, shard: &Shard, partition: i32, epoch: i32) {
        let mut loader = Loader::default();
        read_partition(
            &*self.shared.log,
            partition,
            self.config.load_buffer_bytes,
            || shard.is_loading(epoch),
            &mut |entry| take(&mut loader, partition, entry),
        );
        let transactions = loader.finish();
        let count = transactions.len();
        let settings = Arc::clone(&self.shared.settings);
        let loaded = shard.loaded(epoch, |now_ms, effects| {
            TransactionPartition::loaded(partition, epoch, settings, transactions, now_ms, effects)
        });
        if loaded {
            tracing::info!(
                partition,
                epoch,
                transactions = count,
                "loaded transactions"
            );
        }
    }
}

fn take(loader: &mut Loader, partition: i32, entry: Entry<'_>) {
    let Entry::Record {
        batch_offset,
        key,
        value,
        ..
    } = entry
    else {
        return;
    };
    let key = Bytes::copy_from_slice(key);
    if let Err(error) = loader.record(key, value.map(Bytes::copy_from_slice)) {
        tracing::error!(partition, batch_offset, %error, "skipping a record");
    }
}

/// Waits for a late answer. A question that is dropped unanswered was asked of a coordinator that
/// is shutting down.
async fn received(answer: oneshot::Receiver<Reply>) -> Result<Reply, ErrorCode> {
    answer.await.map_err(|_| ErrorCode::NotCoordinator)
}

async fn done(asked: Result<((), Ticket, oneshot::Receiver<Reply>), ErrorCode>) -> ErrorCode {
    let answer = match asked {
        Ok(((), _, answer)) => received(answer).await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(Reply::Done(error)) | Err(error) => error,
        Ok(Reply::Init(_)) => ErrorCode::UnknownServerError,
    }
}
