//! Shell: what must be known of a transaction before its first batch in a partition is appended (KIP-890).

use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::records::batch::{BatchHeader, NO_SEQUENCE};

use crate::log::verification::{NO_GUARD, VerificationGuard};
use crate::replica::append::{AppendEntry, AppendResult};
use crate::replica::clock::now_ms;
use crate::replica::manager::ReplicaManager;
use crate::replica::verification_queue::Question;

/// Where the low byte of a batch's attributes is, and where its producer id and its sequence number end.
const ATTRIBUTES_LOW_BYTE: usize = 22;
const PRODUCER_ID_END: usize = 51;
const SEQUENCE_END: usize = 57;
const TRANSACTIONAL: u8 = 0x10;

/// The transactional batches of a request are of more than one producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Transactional records contained more than one producer ID")]
pub struct SeveralProducers;

/// A produce request's partitions.
#[derive(Debug, Default)]
pub struct Work {
    /// What may be appended, once verified where there is a guard.
    pub entries: Vec<AppendEntry>,
    /// What may not be.
    pub refused: Vec<AppendResult>,
}

impl ReplicaManager {
    /// Whether transactions are verified (`transaction.partition.verification.enable`).
    pub fn verifies_transactions(&self) -> bool {
        self.config().transaction_partition_verification_enable
    }

    /// Begins to verify a producer's transaction in one partition because of a batch. [`NO_GUARD`] if the transaction
    /// has records there already.
    fn begin_verification(
        &self,
        topic: &ByteString,
        partition: i32,
        header: &BatchHeader,
    ) -> Result<VerificationGuard, ErrorCode> {
        let (sequence, epoch) = (header.base_sequence, header.producer_epoch);
        self.begin_one(topic, partition, header.producer_id, sequence, epoch)
    }

    fn begin_one(
        &self,
        topic: &ByteString,
        partition: i32,
        producer_id: i64,
        sequence: i32,
        epoch: i16,
    ) -> Result<VerificationGuard, ErrorCode> {
        let hosted = self.partition_or_error(topic, partition)?;
        let state = hosted.state.read();
        let log = match hosted.log() {
            Some(log) if state.is_leader() => log,
            _ => return Err(ErrorCode::NotLeaderOrFollower),
        };
        let guard = log.begin_verification(producer_id, sequence, epoch, now_ms());
        Ok(guard.unwrap_or(NO_GUARD))
    }

    /// Begins to verify the transactional entries of a produce request: gives them guards, and answers what must be
    /// asked before they may be appended; `None` if nothing.
    ///
    /// # Errors
    /// [`SeveralProducers`]: nothing of the request may be appended.
    pub fn guard(
        &self,
        transactional_id: &ByteString,
        work: &mut Work,
    ) -> Result<Option<Question>, SeveralProducers> {
        let mut question: Option<Question> = None;
        let mut producers = Vec::with_capacity(1);
        let mut entries = Vec::with_capacity(work.entries.len());
        for mut entry in work.entries.drain(..) {
            if is_unreadable(&entry.records) {
                let error = ErrorCode::UnknownServerError;
                let refused = AppendResult::failed(entry.topic, entry.partition, error);
                work.refused.push(refused);
                continue;
            }
            let header = BatchHeader::parse(&entry.records);
            let Some(header) = header
                .ok()
                .filter(|header| header.is_transactional() && header.has_producer_id())
            else {
                // Nothing to verify; if it is no batch at all, the log says so.
                entries.push(entry);
                continue;
            };
            if !producers.contains(&header.producer_id) {
                producers.push(header.producer_id);
            }
            match self.begin_verification(&entry.topic, entry.partition, &header) {
                Ok(guard) => entry.guard = guard,
                Err(error) => {
                    let refused = AppendResult::failed(entry.topic, entry.partition, error);
                    work.refused.push(refused);
                    continue;
                }
            }
            if entry.guard != NO_GUARD {
                let question = question.get_or_insert_with(|| Question {
                    transactional_id: transactional_id.clone(),
                    producer_id: header.producer_id,
                    producer_epoch: header.producer_epoch,
                    partitions: Vec::new(),
                });
                let partition = (entry.topic.clone(), entry.partition);
                question.partitions.push(partition);
            }
            entries.push(entry);
        }
        work.entries = entries;
        if producers.len() > 1 {
            return Err(SeveralProducers);
        }
        Ok(question)
    }

    /// Asks the transaction's coordinator; what it does not know is not to be appended.
    pub async fn verify(&self, question: Question, work: &mut Work) {
        for (topic, partition, error) in self.verifier().verify(question).await {
            work.entries
                .retain(|entry| entry.topic != topic || entry.partition != partition);
            work.refused.push(unverified(topic, partition, error));
        }
    }

    /// As [`ReplicaManager::verify`] for the one partition of a question, and a batch without a sequence number.
    /// Answers the guard to append the batch with.
    ///
    /// # Errors
    /// The code to answer with.
    pub async fn verify_one(&self, question: Question) -> Result<VerificationGuard, ErrorCode> {
        let Some((topic, partition)) = question.partitions.first() else {
            return Ok(NO_GUARD);
        };
        if !self.verifies_transactions() {
            return Ok(NO_GUARD);
        }
        let (producer_id, epoch) = (question.producer_id, question.producer_epoch);
        let guard = self.begin_one(topic, *partition, producer_id, NO_SEQUENCE, epoch)?;
        if guard == NO_GUARD {
            return Ok(NO_GUARD);
        }
        let unverified = self.verifier().verify(question).await;
        match unverified.first().map(|(_, _, error)| *error) {
            None => Ok(guard),
            Some(error) if is_passing(error) => Err(ErrorCode::NotEnoughReplicas),
            Some(error) => Err(error),
        }
    }
}

/// Whether a batch of magic 2 ends before what is to be verified: Apache's broker stumbles over that, before its log
/// would call the batch corrupt.
fn is_unreadable(batch: &[u8]) -> bool {
    let Some(head) = batch.first_chunk::<PRODUCER_ID_END>() else {
        return true;
    };
    let has_producer = head[PRODUCER_ID_END - 8] & 0x80 == 0;
    let is_transactional = head[ATTRIBUTES_LOW_BYTE] & TRANSACTIONAL != 0;
    has_producer && is_transactional && batch.len() < SEQUENCE_END
}

/// Whether the coordinator may say otherwise a little later.
fn is_passing(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::ConcurrentTransactions
            | ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::NotCoordinator
    )
}

/// What a producer is told. Old ones would not try again on a coordinator's codes, but do on NOT_ENOUGH_REPLICAS.
fn unverified(topic: ByteString, partition: i32, error: ErrorCode) -> AppendResult {
    let (error, message) = if is_passing(error) || error == ErrorCode::NetworkException {
        let message = format!(
            "Unable to verify the partition has been added to the transaction. Underlying error: {}",
            error.name()
        );
        (ErrorCode::NotEnoughReplicas, Some(message))
    } else if error == ErrorCode::InvalidTxnState {
        let message = "Partition was not added to the transaction";
        (error, Some(message.to_owned()))
    } else {
        (error, None)
    };
    AppendResult {
        message,
        ..AppendResult::failed(topic, partition, error)
    }
}
