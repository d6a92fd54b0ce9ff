//! Pure: what the coordinator knows of one transactional id, and how it decides.
//!
//! Behaviour from `TransactionMetadata.scala` and `TransactionCoordinator.scala`. A decision is
//! first *prepared*: it becomes a [`Transit`], the state to be, which goes to the log; nothing else
//! may be decided meanwhile. Once the log has it, [`Transaction::complete`] makes it the state.

use std::collections::BTreeSet;

use kafka_wire::error_code::ErrorCode;

use crate::coordinator::topic_partition::TopicPartition;
use crate::coordinator::transaction::state::TransactionState;

/// No producer id.
pub const NO_PRODUCER_ID: i64 = -1;
/// No epoch.
pub const NO_EPOCH: i16 = -1;
/// No time.
pub const NO_TIMESTAMP: i64 = -1;

/// Whether a producer may not get another epoch for its id: the last one is kept for fencing it.
pub fn is_exhausted(epoch: i16) -> bool {
    epoch >= i16::MAX - 1
}

/// A producer as it names itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdentity {
    /// Producer id.
    pub id: i64,
    /// Epoch.
    pub epoch: i16,
}

/// The state that a transaction is to have: what is written to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transit {
    /// The producer id.
    pub producer_id: i64,
    /// The producer id before.
    pub last_producer_id: i64,
    /// The epoch.
    pub epoch: i16,
    /// The epoch before, if a producer that bumped it may ask again.
    pub last_epoch: i16,
    /// The transaction's timeout.
    pub timeout_ms: i32,
    /// The state.
    pub state: TransactionState,
    /// The partitions in the transaction.
    pub partitions: BTreeSet<TopicPartition>,
    /// When its first partition was added, -1 if nothing is open.
    pub start_ms: i64,
    /// When anything last changed.
    pub last_update_ms: i64,
}

/// What InitProducerId comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InitDecision {
    /// The producer gets this id and epoch once they are in the log.
    Write(Transit),
    /// Something is open and has to be aborted first, with this epoch.
    Fence(i16),
    /// A producer id is needed: ask again with one.
    NeedsProducerId,
}

/// What EndTxn comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndDecision {
    /// The decision.
    pub transit: Transit,
    /// Whether the epoch was taken from the producer with it.
    pub is_fence: bool,
}

/// One transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The producer id.
    pub producer_id: i64,
    /// The producer id before.
    pub last_producer_id: i64,
    /// The epoch, -1 until the first is in the log.
    pub epoch: i16,
    /// The epoch before, if a producer that bumped it may ask again.
    pub last_epoch: i16,
    /// The transaction's timeout.
    pub timeout_ms: i32,
    /// The state.
    pub state: TransactionState,
    /// The partitions in the transaction; while it is prepared those that lack their marker.
    pub partitions: BTreeSet<TopicPartition>,
    /// When its first partition was added, -1 if nothing is open.
    pub start_ms: i64,
    /// When anything last changed.
    pub last_update_ms: i64,
    /// The state that is being written to the log.
    pub pending: Option<TransactionState>,
    /// An epoch was taken from the producer, but that is not in the log; it is not taken again.
    pub has_failed_fence: bool,
    /// What is to be written once all partitions have their marker.
    pub completion: Option<Transit>,
}

impl Transaction {
    /// An id that was never seen.
    pub fn new(producer_id: i64, timeout_ms: i32, now_ms: i64) -> Transaction {
        Transaction {
            producer_id,
            last_producer_id: NO_PRODUCER_ID,
            epoch: NO_EPOCH,
            last_epoch: NO_EPOCH,
            timeout_ms,
            state: TransactionState::Empty,
            partitions: BTreeSet::new(),
            start_ms: NO_TIMESTAMP,
            last_update_ms: now_ms,
            pending: None,
            has_failed_fence: false,
            completion: None,
        }
    }

    /// A producer starts, or starts again.
    ///
    /// # Errors
    /// What the producer is told.
    pub fn init_producer_id(
        &mut self,
        timeout_ms: i32,
        expected: Option<ProducerIdentity>,
        fresh: Option<i64>,
        now_ms: i64,
    ) -> Result<InitDecision, ErrorCode> {
        if self.pending.is_some() {
            return Err(ErrorCode::ConcurrentTransactions);
        }
        if expected.is_some_and(|producer| !self.may_continue(producer)) {
            return Err(ErrorCode::ProducerFenced);
        }
        match self.state {
            TransactionState::PrepareAbort | TransactionState::PrepareCommit => {
                Err(ErrorCode::ConcurrentTransactions)
            }
            TransactionState::Ongoing => self.prepare_fence().map(InitDecision::Fence),
            TransactionState::Dead | TransactionState::PrepareEpochFence => {
                Err(self.illegal("InitProducerId"))
            }
            TransactionState::Empty
            | TransactionState::CompleteAbort
            | TransactionState::CompleteCommit => {
                let is_current = expected.is_none_or(|producer| producer.epoch == self.epoch);
                if !is_exhausted(self.epoch) || !is_current {
                    let expected = expected.map(|producer| producer.epoch);
                    return self
                        .prepare_bump(timeout_ms, expected, now_ms)
                        .map(InitDecision::Write);
                }
                let Some(fresh) = fresh else {
                    return Ok(InitDecision::NeedsProducerId);
                };
                let last_epoch = if expected.is_some() {
                    self.epoch
                } else {
                    NO_EPOCH
                };
                self.prepare(Transit {
                    producer_id: fresh,
                    epoch: 0,
                    last_epoch,
                    ..self.emptied(timeout_ms, now_ms)
                })
                .map(InitDecision::Write)
            }
        }
    }

    /// Whether a producer that names what it had is the one that is known: its id is the present
    /// one (the epoch is looked at later), or the one before it, used up, because the answer with
    /// the present one was lost. An epoch of -1 means that the id is new here.
    fn may_continue(&self, producer: ProducerIdentity) -> bool {
        self.epoch == NO_EPOCH
            || producer.id == self.producer_id
            || (producer.id == self.last_producer_id && is_exhausted(producer.epoch))
    }

    fn prepare_bump(
        &mut self,
        timeout_ms: i32,
        expected: Option<i16>,
        now_ms: i64,
    ) -> Result<Transit, ErrorCode> {
        let Some(bumped) = self
            .epoch
            .checked_add(1)
            .filter(|_| !is_exhausted(self.epoch))
        else {
            return Err(self.illegal("a new epoch"));
        };
        let (epoch, last_epoch) = match expected {
            None => (bumped, NO_EPOCH),
            Some(expected) if self.epoch == NO_EPOCH || expected == self.epoch => {
                (bumped, self.epoch)
            }
            // The answer to the bump before was lost: the same once more. Somebody else's bump
            // would have cleared the last epoch.
            Some(expected) if expected == self.last_epoch => (self.epoch, self.last_epoch),
            Some(_) => return Err(ErrorCode::ProducerFenced),
        };
        self.prepare(Transit {
            epoch,
            last_epoch,
            ..self.emptied(timeout_ms, now_ms)
        })
    }

    /// Adds partitions to the transaction, beginning it if none is open. Nothing is to be written
    /// if all are in it already.
    ///
    /// # Errors
    /// What the producer is told.
    pub fn add_partitions(
        &mut self,
        producer: ProducerIdentity,
        added: &BTreeSet<TopicPartition>,
        now_ms: i64,
    ) -> Result<Option<Transit>, ErrorCode> {
        self.check_producer(producer)?;
        if self.pending.is_some() || self.state.is_prepared() {
            return Err(ErrorCode::ConcurrentTransactions);
        }
        if self.state == TransactionState::Ongoing && added.is_subset(&self.partitions) {
            return Ok(None);
        }
        let start_ms = match self.state {
            TransactionState::Ongoing => self.start_ms,
            _ => now_ms,
        };
        let mut transit = self.transit(TransactionState::Ongoing, now_ms);
        transit.partitions.extend(added.iter().cloned());
        transit.start_ms = start_ms;
        self.prepare(transit).map(Some)
    }

    /// Which of the partitions are in the transaction. What is being written does not count: the
    /// partition's log checks once more.
    ///
    /// # Errors
    /// What to answer for all of them.
    pub fn verify_partitions<'a>(
        &self,
        producer: ProducerIdentity,
        partitions: &'a BTreeSet<TopicPartition>,
    ) -> Result<Vec<(&'a TopicPartition, ErrorCode)>, ErrorCode> {
        self.check_producer(producer)?;
        if self.state.is_prepared() {
            return Err(ErrorCode::ConcurrentTransactions);
        }
        let verdict = |partition: &'a TopicPartition| match self.partitions.contains(partition) {
            true => (partition, ErrorCode::None),
            false => (partition, ErrorCode::InvalidTxnState),
        };
        Ok(partitions.iter().map(verdict).collect())
    }

    fn check_producer(&self, producer: ProducerIdentity) -> Result<(), ErrorCode> {
        if producer.id != self.producer_id {
            return Err(ErrorCode::InvalidProducerIdMapping);
        }
        if producer.epoch != self.epoch {
            return Err(ErrorCode::ProducerFenced);
        }
        Ok(())
    }

    /// Commits or aborts. `Ok(None)` if that was done already.
    ///
    /// # Errors
    /// What the producer is told.
    pub fn end(
        &mut self,
        producer: ProducerIdentity,
        commit: bool,
        now_ms: i64,
    ) -> Result<Option<EndDecision>, ErrorCode> {
        self.check_producer(producer)?;
        self.decide_end(producer.epoch, commit, now_ms)
    }

    /// Aborts what is open, with an epoch from [`Transaction::prepare_fence`]: the coordinator's own
    /// decision.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn abort_fenced(
        &mut self,
        epoch: i16,
        now_ms: i64,
    ) -> Result<Option<EndDecision>, ErrorCode> {
        if epoch < self.epoch {
            return Err(ErrorCode::ProducerFenced);
        }
        self.decide_end(epoch, false, now_ms)
    }

    fn decide_end(
        &mut self,
        epoch: i16,
        commit: bool,
        now_ms: i64,
    ) -> Result<Option<EndDecision>, ErrorCode> {
        if self
            .pending
            .is_some_and(|pending| pending != TransactionState::PrepareEpochFence)
        {
            return Err(ErrorCode::ConcurrentTransactions);
        }
        let is_same = |committed: bool| committed == commit;
        match self.state {
            TransactionState::Ongoing => {
                let state = match commit {
                    true => TransactionState::PrepareCommit,
                    false => TransactionState::PrepareAbort,
                };
                let is_fence = !commit && self.pending == Some(TransactionState::PrepareEpochFence);
                if is_fence {
                    self.pending = None;
                    self.epoch = epoch;
                    self.last_epoch = NO_EPOCH;
                }
                let transit = self.prepare(self.transit(state, now_ms))?;
                Ok(Some(EndDecision { transit, is_fence }))
            }
            TransactionState::CompleteCommit if is_same(true) => Ok(None),
            TransactionState::CompleteAbort if is_same(false) => Ok(None),
            TransactionState::PrepareCommit if is_same(true) => {
                Err(ErrorCode::ConcurrentTransactions)
            }
            TransactionState::PrepareAbort if is_same(false) => {
                Err(ErrorCode::ConcurrentTransactions)
            }
            TransactionState::Dead | TransactionState::PrepareEpochFence => {
                Err(self.illegal("EndTxn"))
            }
            _ => Err(ErrorCode::InvalidTxnState),
        }
    }

    /// Takes the epoch from the producer, in order to abort what it left open; answers the new one.
    /// One that was taken before and could not be written is taken again, since nobody got it.
    ///
    /// # Errors
    /// `UNKNOWN_SERVER_ERROR` if there is no further epoch.
    pub fn prepare_fence(&mut self) -> Result<i16, ErrorCode> {
        let bumped = match self.has_failed_fence {
            true => Some(self.epoch),
            false => self.epoch.checked_add(1),
        };
        let Some(bumped) = bumped else {
            return Err(self.illegal("a fencing epoch"));
        };
        let transit = Transit {
            epoch: bumped,
            last_epoch: NO_EPOCH,
            ..self.transit(TransactionState::PrepareEpochFence, self.last_update_ms)
        };
        self.prepare(transit).map(|transit| transit.epoch)
    }

    /// Prepares the end of a transaction that is decided; to be written once the markers are.
    ///
    /// # Errors
    /// `UNKNOWN_SERVER_ERROR` if it is not decided.
    pub fn prepare_completion(&mut self, now_ms: i64) -> Result<(), ErrorCode> {
        let state = match self.state {
            TransactionState::PrepareCommit => TransactionState::CompleteCommit,
            _ => TransactionState::CompleteAbort,
        };
        self.has_failed_fence = false;
        let mut transit = self.transit(state, now_ms);
        transit.partitions.clear();
        let transit = self.prepare(transit)?;
        self.completion = Some(transit);
        Ok(())
    }

    /// Prepares forgetting the id.
    ///
    /// # Errors
    /// `UNKNOWN_SERVER_ERROR` if something is open.
    pub fn prepare_dead(&mut self) -> Result<(), ErrorCode> {
        self.prepare(self.transit(TransactionState::Dead, self.last_update_ms))?;
        Ok(())
    }

    /// A partition has its marker, or needs none any more; what to write if it was the last.
    pub fn marker_written(&mut self, partition: &TopicPartition) -> Option<Transit> {
        self.partitions.remove(partition);
        self.take_completion()
    }

    /// What to write if no marker is missing.
    pub fn take_completion(&mut self) -> Option<Transit> {
        match self.partitions.is_empty() {
            true => self.completion.take(),
            false => None,
        }
    }

    /// The log has what was prepared: from now on it holds.
    ///
    /// # Errors
    /// `UNKNOWN_SERVER_ERROR` if it was not prepared; the state is as it was.
    pub fn complete(&mut self, transit: Transit) -> Result<(), ErrorCode> {
        let is_same_producer =
            transit.epoch == self.epoch && transit.producer_id == self.producer_id;
        let is_next_producer = i32::from(transit.epoch) == i32::from(self.epoch) + 1
            || (transit.epoch == 0 && transit.producer_id != self.producer_id);
        let is_valid = match transit.state {
            TransactionState::Empty => {
                (transit.epoch == self.epoch || is_next_producer)
                    && transit.partitions.is_empty()
                    && transit.start_ms == NO_TIMESTAMP
            }
            TransactionState::Ongoing => {
                is_same_producer && self.partitions.is_subset(&transit.partitions)
            }
            TransactionState::PrepareCommit | TransactionState::PrepareAbort => {
                is_same_producer && self.partitions == transit.partitions
            }
            TransactionState::CompleteCommit | TransactionState::CompleteAbort => {
                is_same_producer && transit.start_ms != NO_TIMESTAMP
            }
            TransactionState::Dead | TransactionState::PrepareEpochFence => false,
        };
        if self.pending != Some(transit.state) || !is_valid {
            tracing::error!(?transit, transaction = ?self, "a transition that was not prepared");
            return Err(ErrorCode::UnknownServerError);
        }
        if transit.state == TransactionState::Empty {
            self.last_producer_id = transit.last_producer_id;
            self.producer_id = transit.producer_id;
            self.last_epoch = transit.last_epoch;
            self.epoch = transit.epoch;
            self.timeout_ms = transit.timeout_ms;
        } else {
            self.start_ms = transit.start_ms;
            self.partitions = transit.partitions;
        }
        self.last_update_ms = transit.last_update_ms;
        self.state = transit.state;
        self.pending = None;
        Ok(())
    }

    /// The present state with another name.
    fn transit(&self, state: TransactionState, now_ms: i64) -> Transit {
        Transit {
            producer_id: self.producer_id,
            last_producer_id: self.producer_id,
            epoch: self.epoch,
            last_epoch: self.last_epoch,
            timeout_ms: self.timeout_ms,
            state,
            partitions: self.partitions.clone(),
            start_ms: self.start_ms,
            last_update_ms: now_ms,
        }
    }

    fn emptied(&self, timeout_ms: i32, now_ms: i64) -> Transit {
        Transit {
            timeout_ms,
            partitions: BTreeSet::new(),
            start_ms: NO_TIMESTAMP,
            ..self.transit(TransactionState::Empty, now_ms)
        }
    }

    fn prepare(&mut self, transit: Transit) -> Result<Transit, ErrorCode> {
        let has_producer = transit.producer_id >= 0
            && (transit.epoch >= 0 || transit.state == TransactionState::Dead);
        if self.pending.is_some() || !has_producer || !transit.state.may_follow(self.state) {
            return Err(self.illegal(transit.state.name()));
        }
        self.pending = Some(transit.state);
        Ok(transit)
    }

    /// For what the checks before should have excluded, or a log that no broker has written.
    fn illegal(&self, wish: &str) -> ErrorCode {
        tracing::error!(transaction = ?self, wish, "a transaction cannot go on from its state");
        ErrorCode::UnknownServerError
    }
}
