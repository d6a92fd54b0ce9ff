//! Shell: the transaction coordinator of a broker: finds the partition of a transactional id,
//! checks that this broker coordinates it, and lets the transactions there decide.
//!
//! Which checks come first is Kafka's (`TransactionCoordinator.scala`): what is wrong with the
//! request itself, partition loading, partition owned, then whatever the transaction says.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use dashmap::DashMap;
use kafka_wire::error_code::ErrorCode;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::coordinator::group::message::TopicPartition;
use crate::coordinator::internal_log::InternalLog;
use crate::coordinator::java;
use crate::coordinator::replay::{Entry, replay};
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
use crate::coordinator::transaction::shard::{Phase, Shard, Shared};
use crate::coordinator::transaction::state::TransactionState;
use crate::coordinator::transaction::transaction::ProducerIdentity;

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
    is_active: AtomicBool,
    shards: DashMap<i32, Arc<Shard>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
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
        let shared = Shared {
            log,
            settings: Arc::new(config.settings.clone()),
            markers,
            next_ticket: AtomicU64::new(0),
        };
        Arc::new(TransactionCoordinator {
            shared: Arc::new(shared),
            config: CoordinatorConfig {
                partitions: config.partitions.max(1),
                ..config
            },
            producer_ids,
            is_active: AtomicBool::new(false),
            shards: DashMap::new(),
            tasks: Mutex::default(),
        })
    }

    /// Starts the tasks that send markers, abort what takes too long and forget what is idle.
    pub fn start(self: &Arc<Self>, markers: MarkerSettings, inbox: MarkerInbox) {
        let mut tasks = self.tasks.lock();
        tasks.push(tokio::spawn(run(markers, inbox, Arc::downgrade(self))));
        let abort = |coordinator: &Self| coordinator.abort_timed_out();
        let interval = self.config.abort_interval_ms;
        tasks.push(tokio::spawn(repeat(interval, Arc::downgrade(self), abort)));
        let expire = |coordinator: &Self| coordinator.expire();
        let interval = self.config.expiry_interval_ms;
        tasks.push(tokio::spawn(repeat(interval, Arc::downgrade(self), expire)));
        self.is_active.store(true, Ordering::SeqCst);
    }

    /// Stops coordinating.
    pub fn shutdown(&self) {
        self.is_active.store(false, Ordering::SeqCst);
        for task in self.tasks.lock().drain(..) {
            task.abort();
        }
        for shard in self.all_shards() {
            shard.resigned(None);
        }
    }

    /// The partition of `__transaction_state` that a transactional id belongs to.
    pub fn partition_for(&self, transactional_id: &str) -> i32 {
        java::partition_for(transactional_id, self.config.partitions)
    }

    /// This broker leads a partition of `__transaction_state` now: its transactions are loaded,
    /// and until then clients are told so.
    pub fn on_elected(self: &Arc<Self>, partition: i32, epoch: i32) {
        tracing::info!(partition, epoch, "elected as transaction coordinator");
        let shard = self.shard(partition);
        if !shard.elected(epoch) {
            return;
        }
        let coordinator = Arc::clone(self);
        tokio::task::spawn_blocking(move || coordinator.load(&shard, partition, epoch));
    }

    /// Another broker leads a partition of `__transaction_state` now; without an epoch the
    /// partition is deleted or this broker is no replica any more.
    pub fn on_resigned(&self, partition: i32, epoch: Option<i32>) {
        let resigned = self.shard(partition).resigned(epoch);
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
        let shard = self.shard_of(&request.transactional_id);
        let mut fresh = None;
        loop {
            let (progress, answer) = shard.ask(|transactions, ticket, now_ms, effects| {
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
                    drop(answer);
                    shard.forget_closed();
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
        let shard = self.shard_of(&request.transactional_id);
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
        self.shard_of(&request.transactional_id)
            .decide(|transactions, _, _| transactions.verify_partitions(request))?
    }

    /// EndTxn: answered when the decision is in the log.
    pub async fn end(&self, request: EndRequest) -> ErrorCode {
        if request.transactional_id.is_empty() {
            return ErrorCode::InvalidRequest;
        }
        let shard = self.shard_of(&request.transactional_id);
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
        if !self.is_active.load(Ordering::SeqCst) {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        if transactional_id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        let described = self
            .shard_of(transactional_id)
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
        if !self.is_active.load(Ordering::SeqCst) {
            return failed(ErrorCode::CoordinatorNotAvailable);
        }
        let shards = self.all_shards();
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
        let _ = self.shard(sent.shard).decide(|transactions, _, effects| {
            transactions.markers_answered(sent, answers, effects);
        });
    }

    /// Partitions of a transaction do not exist any more.
    pub(super) fn partitions_gone(&self, sent: &Markers) {
        let _ = self.shard(sent.shard).decide(|transactions, _, effects| {
            transactions.partitions_gone(sent, effects);
        });
    }

    /// Whether markers are still of any meaning.
    pub(super) fn awaits(&self, sent: &Markers) -> bool {
        let awaited = self
            .shard(sent.shard)
            .decide(|transactions, _, _| transactions.awaits(sent));
        awaited.unwrap_or(false)
    }

    fn abort_timed_out(&self) {
        for shard in self.all_shards() {
            let _ = shard.decide(|transactions, now_ms, effects| {
                transactions.abort_timed_out(now_ms, effects);
            });
        }
    }

    fn expire(&self) {
        for shard in self.all_shards() {
            if shard.phase() == Phase::Active {
                shard.expire();
            }
        }
    }

    fn shard_of(&self, transactional_id: &str) -> Arc<Shard> {
        self.shard(self.partition_for(transactional_id))
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
        let mut loader = Loader::default();
        let mut from = self.shared.log.start_offset(partition);
        if from.is_none() {
            tracing::warn!(partition, "no log to load transactions from");
        }
        while let Some(offset) = from
            && shard.is_loading(epoch)
        {
            let limit = self.config.load_buffer_bytes;
            let chunk = match self.shared.log.read(partition, offset, limit) {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(error) => {
                    tracing::error!(
                        partition,
                        offset,
                        error,
                        "transactions cannot be read any further"
                    );
                    break;
                }
            };
            from = load_chunk(&mut loader, partition, &chunk.batches).filter(|next| *next > offset);
        }
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

fn load_chunk(loader: &mut Loader, partition: i32, batches: &[u8]) -> Option<i64> {
    let mut visit = |entry: Entry<'_>| {
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
    };
    let mut report = |offset: i64, error: String| {
        tracing::error!(partition, offset, error, "skipping a batch");
    };
    replay(batches, &mut visit, &mut report)
}

/// Waits for a late answer. A question that is dropped unanswered was asked of a coordinator that
/// is shutting down.
async fn received(answer: oneshot::Receiver<Reply>) -> Result<Reply, ErrorCode> {
    answer.await.map_err(|_| ErrorCode::NotCoordinator)
}

async fn done(asked: Result<((), oneshot::Receiver<Reply>), ErrorCode>) -> ErrorCode {
    let answer = match asked {
        Ok(((), answer)) => received(answer).await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(Reply::Done(error)) | Err(error) => error,
        Ok(Reply::Init(_)) => ErrorCode::UnknownServerError,
    }
}

async fn repeat(
    interval_ms: u64,
    coordinator: Weak<TransactionCoordinator>,
    work: impl Fn(&TransactionCoordinator),
) {
    let interval = Duration::from_millis(interval_ms.max(1));
    loop {
        tokio::time::sleep(interval).await;
        let Some(coordinator) = coordinator.upgrade() else {
            return;
        };
        work(&coordinator);
    }
}
