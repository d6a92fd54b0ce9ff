//! Pure: the transactions of one partition of `__transaction_state`, for as long as this broker
//! leads it in one leader epoch, which is the coordinator epoch of the markers.
//!
//! Requests, outcomes of appends, answers to markers and the passing of time go in; what to do
//! comes out as [`Effects`]. Behaviour from `TransactionCoordinator.scala`,
//! `TransactionStateManager.scala` and `TransactionMarkerRequestCompletionHandler.scala`.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;

use crate::coordinator::topic_partition::{TopicPartition, detached};
use crate::coordinator::transaction::last_words::{
    BATCH_OVERHEAD_BYTES, TombstoneBatches, answer_end, done, rolled_back,
};
use crate::coordinator::transaction::message::{
    AddRequest, Asked, Effect, Effects, EndRequest, InitRequest, LogRecord, Markers, Reply, Stored,
    Then, TransactionDescription, TransactionListing, TransactionSettings, append_error,
};
use crate::coordinator::transaction::records::{encode_key, encode_value};
use crate::coordinator::transaction::state::TransactionState;
use crate::coordinator::transaction::transaction::{
    EndDecision, InitDecision, ProducerIdentity, Transaction, Transit,
};
use crate::coordinator::waiting::Ticket;

/// Whether a request got as far as a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitProgress {
    /// It is, or will be, answered.
    Decided,
    /// A producer id is needed: ask again with one.
    NeedsProducerId,
}

/// What an answer to a marker means.
enum MarkerOutcome {
    /// The partition has it, or can never hold anything of the transaction.
    Done,
    /// Send it again.
    Again,
    /// Somebody else has taken over.
    Fenced,
}

/// The transactions of one partition.
#[derive(Debug)]
pub struct TransactionPartition {
    shard: i32,
    coordinator_epoch: i32,
    settings: Arc<TransactionSettings>,
    transactions: BTreeMap<ByteString, Transaction>,
}

impl TransactionPartition {
    /// The transactions that were found in the log. Those that were decided are finished.
    pub fn loaded(
        shard: i32,
        coordinator_epoch: i32,
        settings: Arc<TransactionSettings>,
        transactions: BTreeMap<ByteString, Transaction>,
        now_ms: i64,
        effects: &mut Effects,
    ) -> TransactionPartition {
        let mut this = TransactionPartition {
            shard,
            coordinator_epoch,
            settings,
            transactions,
        };
        let decided = this
            .transactions
            .iter()
            .filter(|(_, t)| t.state.is_prepared());
        let decided: Vec<ByteString> = decided.map(|(id, _)| id.clone()).collect();
        for id in decided {
            this.send_markers(&id, now_ms, effects);
        }
        this
    }

    /// The coordinator epoch.
    pub fn coordinator_epoch(&self) -> i32 {
        self.coordinator_epoch
    }

    /// InitProducerId. An id that is not known, and one whose epochs are used up, needs a producer
    /// id that nobody else has.
    pub fn init_producer_id(
        &mut self,
        request: &InitRequest,
        fresh: Option<i64>,
        ticket: Ticket,
        now_ms: i64,
        effects: &mut Effects,
    ) -> InitProgress {
        let refuse = |error| Effect::Reply(ticket, Reply::Init(Err(error)));
        let id = &request.transactional_id;
        if !self.transactions.contains_key(id) {
            let Some(fresh) = fresh else {
                return InitProgress::NeedsProducerId;
            };
            let transaction = Transaction::new(fresh, request.timeout_ms, now_ms);
            self.transactions.insert(detached(id), transaction);
        }
        let Some(transaction) = self.transactions.get_mut(id) else {
            return InitProgress::Decided;
        };
        match transaction.init_producer_id(request.timeout_ms, request.expected, fresh, now_ms) {
            Ok(InitDecision::NeedsProducerId) => return InitProgress::NeedsProducerId,
            Ok(InitDecision::Write(transit)) => {
                self.write(id, transit, Then::Init(ticket), effects);
            }
            Ok(InitDecision::Fence(epoch)) => {
                self.abort_fenced(id, epoch, Asked::BySuccessor(ticket), now_ms, effects);
            }
            Err(error) => effects.push(refuse(error)),
        }
        InitProgress::Decided
    }

    /// AddPartitionsToTxn and AddOffsetsToTxn.
    pub fn add_partitions(
        &mut self,
        request: &AddRequest,
        ticket: Ticket,
        now_ms: i64,
        effects: &mut Effects,
    ) {
        let id = &request.transactional_id;
        let added = match self.transactions.get_mut(id) {
            None => Err(ErrorCode::InvalidProducerIdMapping),
            Some(transaction) => {
                transaction.add_partitions(request.producer, &request.partitions, now_ms)
            }
        };
        match added {
            Ok(Some(transit)) => self.write(id, transit, Then::Added(ticket), effects),
            Ok(None) => effects.push(done(ticket, ErrorCode::None)),
            Err(error) => effects.push(done(ticket, error)),
        }
    }

    /// Whether partitions are in a transaction: one answer for each of them.
    ///
    /// # Errors
    /// What to answer for all of them.
    pub fn verify_partitions(
        &self,
        request: &AddRequest,
    ) -> Result<Vec<(TopicPartition, ErrorCode)>, ErrorCode> {
        let transaction = self
            .transactions
            .get(&request.transactional_id)
            .ok_or(ErrorCode::InvalidProducerIdMapping)?;
        let verdicts = transaction.verify_partitions(request.producer, &request.partitions)?;
        Ok(verdicts
            .into_iter()
            .map(|(partition, error)| (partition.clone(), error))
            .collect())
    }

    /// EndTxn.
    pub fn end(
        &mut self,
        request: &EndRequest,
        ticket: Ticket,
        now_ms: i64,
        effects: &mut Effects,
    ) {
        let id = &request.transactional_id;
        let decided = match self.transactions.get_mut(id) {
            None => Err(ErrorCode::InvalidProducerIdMapping),
            Some(transaction) => transaction.end(request.producer, request.commit, now_ms),
        };
        self.ended(
            id,
            decided,
            request.commit,
            Asked::ByProducer(ticket),
            effects,
        );
    }

    /// Aborts the transactions that are open for longer than they may.
    pub fn abort_timed_out(&mut self, now_ms: i64, effects: &mut Effects) {
        let is_late = |transaction: &Transaction| {
            transaction.pending.is_none()
                && transaction.state == TransactionState::Ongoing
                && transaction
                    .start_ms
                    .saturating_add(i64::from(transaction.timeout_ms))
                    < now_ms
        };
        let late = self
            .transactions
            .iter()
            .filter(|(_, transaction)| is_late(transaction));
        let late: Vec<ByteString> = late.map(|(id, _)| id.clone()).collect();
        for id in late {
            let Some(transaction) = self.transactions.get_mut(&id) else {
                continue;
            };
            match transaction.prepare_fence() {
                Ok(epoch) => self.abort_fenced(&id, epoch, Asked::ByTimeout, now_ms, effects),
                Err(error) => rolled_back(&id, error),
            }
        }
    }

    /// Forgets ids that were idle for long: tombstones in batches of at most this many bytes.
    pub fn expire(&mut self, now_ms: i64, max_batch_bytes: usize, effects: &mut Effects) {
        let limit = now_ms.saturating_sub(self.settings.id_expiration_ms);
        let mut batches = TombstoneBatches {
            max_bytes: max_batch_bytes,
            bytes: BATCH_OVERHEAD_BYTES,
            records: Vec::new(),
            expired: Vec::new(),
        };
        for (id, transaction) in &mut self.transactions {
            let is_idle = transaction.pending.is_none()
                && transaction.state.may_expire()
                && transaction.last_update_ms <= limit;
            if !is_idle || transaction.prepare_dead().is_err() {
                continue;
            }
            match encode_key(id) {
                Ok(key) => batches.add(id, transaction.epoch, key, effects),
                Err(error) => {
                    tracing::error!(transactional_id = %id, %error, "cannot write a tombstone");
                    transaction.pending = None;
                }
            }
        }
        batches.flush(effects);
    }

    /// An append succeeded or failed.
    pub fn appended(
        &mut self,
        stored: Stored,
        outcome: Result<(), ErrorCode>,
        now_ms: i64,
        effects: &mut Effects,
    ) {
        match stored {
            Stored::Tombstones(expired) => self.tombstones_appended(expired, outcome),
            Stored::Transit {
                transactional_id: id,
                transit,
                then,
            } => {
                let outcome = match outcome {
                    Ok(()) => self.complete(&id, &transit),
                    Err(error) => {
                        let error = append_error(error);
                        self.append_failed(&id, &transit, then, error, effects);
                        Err(error)
                    }
                };
                self.follow_up(&id, &transit, then, outcome, now_ms, effects);
            }
        }
    }

    /// What brokers answered to the markers of a transaction.
    pub fn markers_answered(
        &mut self,
        sent: &Markers,
        answers: &[(TopicPartition, ErrorCode)],
        effects: &mut Effects,
    ) {
        let Some(transaction) = self.transaction_of(sent) else {
            tracing::info!(
                transactional_id = %sent.transactional_id,
                "markers were answered that nobody waits for any more"
            );
            return;
        };
        let id = &sent.transactional_id;
        let mut again = Vec::new();
        let mut completed = None;
        for (partition, error) in answers {
            match marker_outcome(*error) {
                MarkerOutcome::Done => {
                    if *error != ErrorCode::None {
                        tracing::info!(transactional_id = %id, %partition, %error,
                            "a partition needs no marker");
                    }
                    completed = completed.or(transaction.marker_written(partition));
                }
                MarkerOutcome::Again => {
                    tracing::info!(transactional_id = %id, %partition, %error,
                        "a marker was not written, trying again");
                    again.push(partition.clone());
                }
                MarkerOutcome::Fenced => {
                    tracing::info!(transactional_id = %id, %partition, %error,
                        "a marker was refused for good: another coordinator or producer took over");
                    transaction.completion = None;
                    return;
                }
            }
        }
        if !again.is_empty() {
            let markers = Markers {
                partitions: again,
                ..sent.clone()
            };
            effects.push(Effect::SendMarkers {
                markers,
                again: true,
            });
        }
        if let Some(transit) = completed {
            self.write(id, transit, Then::Completed, effects);
        }
    }

    /// Partitions of a transaction do not exist any more: they need no marker.
    pub fn partitions_gone(&mut self, sent: &Markers, effects: &mut Effects) {
        let Some(transaction) = self.transaction_of(sent) else {
            return;
        };
        let mut completed = None;
        for partition in &sent.partitions {
            tracing::info!(transactional_id = %sent.transactional_id, %partition,
                "a partition does not exist any more and needs no marker");
            completed = completed.or(transaction.marker_written(partition));
        }
        if let Some(transit) = completed {
            self.write(&sent.transactional_id, transit, Then::Completed, effects);
        }
    }

    /// Whether markers are still of any meaning.
    pub fn awaits(&mut self, sent: &Markers) -> bool {
        self.transaction_of(sent)
            .is_some_and(|transaction| transaction.completion.is_some())
    }

    /// Tries once more to write that a transaction is over.
    pub fn retry_completion(&mut self, id: &ByteString, effects: &mut Effects) {
        let completion = self
            .transactions
            .get_mut(id)
            .and_then(Transaction::take_completion);
        if let Some(transit) = completion {
            self.write(id, transit, Then::Completed, effects);
        }
    }

    /// DescribeTransactions, one id.
    pub fn describe(&self, id: &str) -> Option<TransactionDescription> {
        let transaction = self.transactions.get(id)?;
        (transaction.state != TransactionState::Dead).then(|| TransactionDescription {
            state: transaction.state.name(),
            producer: ProducerIdentity {
                id: transaction.producer_id,
                epoch: transaction.epoch,
            },
            timeout_ms: transaction.timeout_ms,
            start_ms: transaction.start_ms,
            partitions: transaction.partitions.iter().cloned().collect(),
        })
    }

    /// ListTransactions; empty filters let everything through.
    pub fn list(
        &self,
        producer_ids: &HashSet<i64>,
        states: Option<&HashSet<TransactionState>>,
    ) -> Vec<TransactionListing> {
        let is_wanted = |transaction: &Transaction| {
            transaction.state != TransactionState::Dead
                && (producer_ids.is_empty() || producer_ids.contains(&transaction.producer_id))
                && states.is_none_or(|states| states.contains(&transaction.state))
        };
        let wanted = self
            .transactions
            .iter()
            .filter(|(_, transaction)| is_wanted(transaction));
        wanted
            .map(|(id, transaction)| TransactionListing {
                transactional_id: id.clone(),
                producer_id: transaction.producer_id,
                state: transaction.state.name(),
            })
            .collect()
    }

    /// A transaction as it is known.
    pub fn transaction(&self, id: &str) -> Option<&Transaction> {
        self.transactions.get(id)
    }

    /// How many ids are known.
    pub fn len(&self) -> usize {
        self.transactions.len()
    }

    /// Whether no id is known.
    pub fn is_empty(&self) -> bool {
        self.transactions.is_empty()
    }

    /// The transaction that markers belong to, if they are still of any meaning.
    fn transaction_of(&mut self, sent: &Markers) -> Option<&mut Transaction> {
        let epoch = self.coordinator_epoch;
        let transaction = self.transactions.get_mut(&sent.transactional_id)?;
        let is_same = epoch == sent.coordinator_epoch
            && transaction.state.is_prepared()
            && transaction.producer_id == sent.producer.id
            && transaction.epoch == sent.producer.epoch;
        is_same.then_some(transaction)
    }

    fn abort_fenced(
        &mut self,
        id: &ByteString,
        epoch: i16,
        asked: Asked,
        now_ms: i64,
        effects: &mut Effects,
    ) {
        let Some(transaction) = self.transactions.get_mut(id) else {
            return;
        };
        let decided = transaction.abort_fenced(epoch, now_ms);
        self.ended(id, decided, false, asked, effects);
    }

    fn ended(
        &mut self,
        id: &ByteString,
        decided: Result<Option<EndDecision>, ErrorCode>,
        commit: bool,
        asked: Asked,
        effects: &mut Effects,
    ) {
        match decided {
            Ok(Some(EndDecision { transit, is_fence })) => {
                let then = Then::Ended {
                    commit,
                    is_fence,
                    asked,
                };
                self.write(id, transit, then, effects);
            }
            Ok(None) => answer_end(id, asked, ErrorCode::None, effects),
            Err(error) => answer_end(id, asked, error, effects),
        }
    }

    /// Has a state written; if it cannot even be encoded, that is as if the log had refused it.
    fn write(&mut self, id: &ByteString, transit: Transit, then: Then, effects: &mut Effects) {
        let encoded = encode_key(id).and_then(|key| Ok((key, encode_value(&transit)?)));
        let (key, value) = match encoded {
            Ok(encoded) => encoded,
            Err(error) => {
                tracing::error!(transactional_id = %id, %error, "cannot write a transaction");
                let error = ErrorCode::UnknownServerError;
                self.append_failed(id, &transit, then, error, effects);
                // Failures need no time.
                return self.follow_up(id, &transit, then, Err(error), 0, effects);
            }
        };
        effects.push(Effect::Append {
            records: vec![LogRecord {
                key,
                value: Some(value),
            }],
            timeout_ms: Some(transit.timeout_ms),
            then: Stored::Transit {
                transactional_id: detached(id),
                transit,
                then,
            },
        });
    }

    fn complete(&mut self, id: &ByteString, transit: &Transit) -> Result<(), ErrorCode> {
        match self.transactions.get_mut(id) {
            Some(transaction) => transaction.complete(transit.clone()),
            None => Err(ErrorCode::NotCoordinator),
        }
    }

    /// What was to be written is not: the transaction may go on from where it was. Only its end is
    /// held on to, since its markers are written.
    fn append_failed(
        &mut self,
        id: &ByteString,
        transit: &Transit,
        then: Then,
        error: ErrorCode,
        effects: &mut Effects,
    ) {
        let Some(transaction) = self.transactions.get_mut(id) else {
            return;
        };
        tracing::info!(transactional_id = %id, %error, state = transit.state.name(),
            "a transaction's state was not written");
        let gone = matches!(
            error,
            ErrorCode::NotCoordinator | ErrorCode::CoordinatorLoadInProgress
        );
        match then {
            Then::Completed if !gone => {
                transaction.completion = Some(transit.clone());
                effects.push(Effect::RetryCompletion(detached(id)));
            }
            Then::Ended { is_fence: true, .. } => {
                tracing::warn!(transactional_id = %id, epoch = transit.epoch,
                    "a producer was fenced, but that is not in the log");
                transaction.has_failed_fence = true;
                transaction.pending = None;
            }
            _ => transaction.pending = None,
        }
    }

    /// Answers and goes on, once an append has succeeded or failed.
    fn follow_up(
        &mut self,
        id: &ByteString,
        transit: &Transit,
        then: Then,
        outcome: Result<(), ErrorCode>,
        now_ms: i64,
        effects: &mut Effects,
    ) {
        let error = outcome.err().unwrap_or(ErrorCode::None);
        match then {
            Then::Init(ticket) => {
                let producer = ProducerIdentity {
                    id: transit.producer_id,
                    epoch: transit.epoch,
                };
                tracing::info!(transactional_id = %id, producer_id = producer.id,
                    epoch = producer.epoch, %error, "initialized a transactional producer");
                effects.push(Effect::Reply(
                    ticket,
                    Reply::Init(outcome.map(|()| producer)),
                ));
            }
            Then::Added(ticket) => effects.push(done(ticket, error)),
            Then::Ended { asked, .. } => {
                answer_end(id, asked, error, effects);
                if outcome.is_ok() {
                    self.send_markers(id, now_ms, effects);
                }
            }
            Then::Completed => {}
        }
    }

    /// Sends the markers of a decided transaction; one without partitions is over at once.
    fn send_markers(&mut self, id: &ByteString, now_ms: i64, effects: &mut Effects) {
        let (shard, coordinator_epoch) = (self.shard, self.coordinator_epoch);
        let Some(transaction) = self.transactions.get_mut(id) else {
            return;
        };
        if transaction.prepare_completion(now_ms).is_err() {
            return;
        }
        if let Some(transit) = transaction.take_completion() {
            return self.write(id, transit, Then::Completed, effects);
        }
        let markers = Markers {
            shard,
            coordinator_epoch,
            transactional_id: id.clone(),
            producer: ProducerIdentity {
                id: transaction.producer_id,
                epoch: transaction.epoch,
            },
            commit: transaction.state == TransactionState::PrepareCommit,
            partitions: transaction.partitions.iter().cloned().collect(),
        };
        effects.push(Effect::SendMarkers {
            markers,
            again: false,
        });
    }

    fn tombstones_appended(
        &mut self,
        expired: Vec<(ByteString, i16)>,
        outcome: Result<(), ErrorCode>,
    ) {
        for (id, epoch) in expired {
            let Some(transaction) = self.transactions.get_mut(&id) else {
                continue;
            };
            let is_same =
                transaction.pending == Some(TransactionState::Dead) && transaction.epoch == epoch;
            match outcome {
                Ok(()) if is_same => {
                    self.transactions.remove(&id);
                }
                _ => {
                    let error = outcome.err().unwrap_or(ErrorCode::None);
                    tracing::warn!(transactional_id = %id, %error, "an expired id stays");
                    transaction.pending = None;
                }
            }
        }
    }
}

fn marker_outcome(error: ErrorCode) -> MarkerOutcome {
    match error {
        // A topic that is gone, or whose format knows no transactions, holds nothing of it.
        ErrorCode::None
        | ErrorCode::UnsupportedForMessageFormat
        | ErrorCode::UnsupportedVersion => MarkerOutcome::Done,
        ErrorCode::InvalidProducerEpoch | ErrorCode::TransactionCoordinatorFenced => {
            MarkerOutcome::Fenced
        }
        // Also what no broker should answer: giving up would keep the partition's readers waiting.
        _ => MarkerOutcome::Again,
    }
}

#[cfg(test)]
#[path = "partition_test.rs"]
mod tests;
