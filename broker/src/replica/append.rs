//! Shell: appends to the partitions that this broker leads, and the wait for the other replicas.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;

use crate::log::append::{AppendError, AppendInfo, AppendOptions, AppendOrigin};
use crate::log::verification::{Verification, VerificationGuard};
use crate::metadata::topic_names;
use crate::replica::clock::now_ms;
use crate::replica::hosted::{Partition, min_insync_replicas};
use crate::replica::manager::ReplicaManager;
use crate::replica::purgatory::Waiter;

/// The acks that wait for all replicas in sync.
pub const ALL_REPLICAS: i16 = -1;

/// Records for one partition.
#[derive(Clone, Debug)]
pub struct AppendEntry {
    /// The topic's name.
    pub topic: ByteString,
    /// The partition's number.
    pub partition: i32,
    /// The batches.
    pub records: Bytes,
    /// What verifying their transaction gave.
    pub guard: VerificationGuard,
}

/// How to append.
#[derive(Clone, Copy, Debug)]
pub struct AppendTerms {
    /// Whose records these are.
    pub origin: AppendOrigin,
    /// 0, 1 or -1 for all replicas in sync.
    pub acks: i16,
    /// Whether internal topics may be written.
    pub internal_allowed: bool,
}

/// What became of one partition's records.
#[derive(Clone, Debug)]
pub struct AppendResult {
    /// The topic's name.
    pub topic: ByteString,
    /// The partition's number.
    pub partition: i32,
    /// NONE, or why it failed.
    pub error: ErrorCode,
    /// More words on the error, if there are.
    pub message: Option<String>,
    /// The records that were bad, by number in the batch, and why.
    pub bad_records: Vec<(i32, String)>,
    /// The first record's offset, -1 on failure.
    pub base_offset: i64,
    /// The last record's offset, -1 on failure.
    pub last_offset: i64,
    /// The broker's time if the topic stamps with it, else -1.
    pub log_append_time_ms: i64,
    /// The log's first offset, -1 if unknown.
    pub log_start_offset: i64,
}

impl AppendResult {
    /// A failure before the log was reached.
    pub fn failed(topic: ByteString, partition: i32, error: ErrorCode) -> Self {
        Self {
            topic,
            partition,
            error,
            message: None,
            bad_records: Vec::new(),
            base_offset: -1,
            last_offset: -1,
            log_append_time_ms: -1,
            log_start_offset: -1,
        }
    }
}

/// Appends of one request: written here, perhaps not yet everywhere.
#[derive(Debug)]
pub struct Appended {
    results: Vec<AppendResult>,
    /// Those that wait for other replicas: place in `results`, partition, offset to be reached.
    waiting: Vec<(usize, Arc<Partition>, i64)>,
}

impl Appended {
    /// Whether nothing waits for other replicas.
    pub fn is_complete(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Where the first entry's records went.
    ///
    /// # Errors
    /// Why they were not written.
    pub fn first_offset(&self) -> Result<i64, ErrorCode> {
        match self.results.first() {
            Some(result) if result.error == ErrorCode::None => Ok(result.base_offset),
            Some(result) => Err(result.error),
            None => Err(ErrorCode::UnknownServerError),
        }
    }

    /// The results as they stand.
    pub fn into_results(self) -> Vec<AppendResult> {
        self.results
    }

    /// Waits until enough replicas have everything; what is not done in time fails with REQUEST_TIMED_OUT.
    pub async fn replicated(mut self, timeout: Duration) -> Vec<AppendResult> {
        if self.waiting.is_empty() {
            return self.results;
        }
        let partitions = self
            .waiting
            .iter()
            .map(|(_, partition, _)| partition.clone())
            .collect();
        let waiter = Waiter::register(partitions, timeout);
        loop {
            self.look();
            if self.waiting.is_empty() {
                return self.results;
            }
            if !waiter.moved().await {
                break;
            }
        }
        self.look();
        for (place, _, _) in &self.waiting {
            self.results[*place].error = ErrorCode::RequestTimedOut;
        }
        self.results
    }

    fn look(&mut self) {
        let results = &mut self.results;
        self.waiting.retain(|(place, partition, required)| {
            match partition.acks_reached(*required) {
                Some(error) => {
                    results[*place].error = error;
                    false
                }
                None => true,
            }
        });
    }
}

impl ReplicaManager {
    /// Appends to this broker's logs, at once and in the order of the entries.
    pub fn append(&self, terms: AppendTerms, entries: Vec<AppendEntry>) -> Appended {
        let mut appended = Appended {
            results: Vec::with_capacity(entries.len()),
            waiting: Vec::new(),
        };
        for entry in entries {
            let (topic, number) = (entry.topic, entry.partition);
            if !(-1..=1).contains(&terms.acks) {
                let error = ErrorCode::InvalidRequiredAcks;
                appended
                    .results
                    .push(AppendResult::failed(topic, number, error));
                continue;
            }
            if !terms.internal_allowed && topic_names::is_internal(&topic) {
                let error = ErrorCode::InvalidTopicException;
                appended
                    .results
                    .push(AppendResult::failed(topic, number, error));
                continue;
            }
            let partition = match self.partition_or_error(&topic, number) {
                Ok(partition) => partition,
                Err(error) => {
                    appended
                        .results
                        .push(AppendResult::failed(topic, number, error));
                    continue;
                }
            };
            match self.append_to(&partition, terms, &entry.records, entry.guard) {
                Ok(info) => {
                    let place = appended.results.len();
                    appended.results.push(succeeded(topic, number, &info));
                    if terms.acks == ALL_REPLICAS
                        && partition.acks_reached(info.last_offset + 1) != Some(ErrorCode::None)
                    {
                        appended
                            .waiting
                            .push((place, partition, info.last_offset + 1));
                    }
                }
                Err(refused) => {
                    appended
                        .results
                        .push(self.refused(topic, number, &partition, refused));
                }
            }
        }
        appended
    }

    fn append_to(
        &self,
        partition: &Arc<Partition>,
        terms: AppendTerms,
        records: &Bytes,
        guard: VerificationGuard,
    ) -> Result<AppendInfo, Refused> {
        let state = partition.state.read();
        let log = match partition.log() {
            Some(log) if state.is_leader() => log,
            _ => return Err(Refused::Code(ErrorCode::NotLeaderOrFollower)),
        };
        if terms.acks == ALL_REPLICAS && state.is_under_min_isr(min_insync_replicas(&log)) {
            return Err(Refused::Code(ErrorCode::NotEnoughReplicas));
        }
        let options = AppendOptions {
            origin: terms.origin,
            now_ms: now_ms(),
        };
        let verification = match self.verifies_transactions() {
            true => Verification::Required(guard),
            false => Verification::Off,
        };
        let info = log
            .append_verified(records, state.leader_epoch(), &options, verification)
            .map_err(Refused::ByLog)?;
        self.with_surroundings(|around| partition.advance_quietly(&state, &log, around));
        drop(state);
        // Followers wait for the log end, consumers for the high watermark; both look for themselves.
        partition.waiters().wake();
        Ok(info)
    }

    fn refused(
        &self,
        topic: ByteString,
        number: i32,
        partition: &Partition,
        refused: Refused,
    ) -> AppendResult {
        let error = match refused {
            Refused::Code(code) => return AppendResult::failed(topic, number, code),
            Refused::ByLog(error) => error,
        };
        if let AppendError::Storage(storage) = &error {
            let code = self.disk_failed(partition, storage);
            return AppendResult::failed(topic, number, code);
        }
        let mut failed = AppendResult::failed(topic, number, error.code());
        if matches!(
            error,
            AppendError::MessageTooLarge { .. }
                | AppendError::RecordListTooLarge { .. }
                | AppendError::Corrupt(_)
        ) {
            return failed;
        }
        let bad = error.record_failures();
        if !bad.is_empty() {
            failed.message = Some(error.to_string());
            failed.bad_records = bad
                .iter()
                .map(|bad| (bad.index, bad.message.clone()))
                .collect();
        }
        let topic = &partition.topic;
        tracing::error!("Error processing append operation on partition {topic}-{number}: {error}");
        failed.log_start_offset = partition.log().map_or(-1, |log| log.log_start_offset());
        failed
    }
}

enum Refused {
    Code(ErrorCode),
    ByLog(AppendError),
}

fn succeeded(topic: ByteString, partition: i32, info: &AppendInfo) -> AppendResult {
    AppendResult {
        topic,
        partition,
        error: ErrorCode::None,
        message: None,
        bad_records: Vec::new(),
        base_offset: info.first_offset,
        last_offset: info.last_offset,
        log_append_time_ms: info.log_append_time_ms,
        log_start_offset: info.log_start_offset,
    }
}
