//! Shell: appends to the partitions that this broker leads, and the wait for the other replicas.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::records::batch::{MAGIC_POSITION, MAGIC_V2};

use crate::log::append::{AppendError, AppendInfo, AppendOptions, AppendOrigin};
use crate::log::config::TargetCompression;
use crate::log::leader_append::LeaderBatch;
use crate::log::verification::{Verification, VerificationGuard};
use crate::metadata::topic_names;
use crate::replica::clock::now_ms;
use crate::replica::hosted::{Partition, min_insync_replicas};
use crate::replica::manager::ReplicaManager;
use crate::replica::purgatory::Waiter;

/// The acks that wait for all replicas in sync.
pub const ALL_REPLICAS: i16 = -1;

/// Where the low byte of the attributes of a magic 2 batch is.
pub const ATTRIBUTES_OFFSET: usize = 22;
/// The bits of the codec in it; none for records that are not compressed.
pub const CODEC_MASK: u8 = 0x07;
/// From so many bytes on that are unpacked, packed or converted another thread steps in meanwhile.
const LONG_WORK_BYTES: usize = 256 * 1024;

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
    /// A result for each entry, to be filled in.
    fn of(entries: &[AppendEntry]) -> Self {
        let results = entries.iter().map(|entry| {
            let error = ErrorCode::UnknownServerError;
            AppendResult::failed(entry.topic.clone(), entry.partition, error)
        });
        Self {
            results: results.collect(),
            waiting: Vec::new(),
        }
    }

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

/// A place in the answers: number of the request, number of the entry.
type Place = (usize, usize);

/// What one request wants to append.
#[derive(Debug)]
pub struct AppendRequest {
    /// How.
    pub terms: AppendTerms,
    /// What, in order.
    pub entries: Vec<AppendEntry>,
}

/// Whether records are one batch of magic 2 without compression, which is stored as it is.
fn is_plain(records: &[u8]) -> bool {
    records.get(MAGIC_POSITION) == Some(&MAGIC_V2.cast_unsigned())
        && (records.get(ATTRIBUTES_OFFSET)).is_some_and(|low| low & CODEC_MASK == 0)
}

/// Whether so much must be unpacked or packed that others should not have to wait for it.
fn takes_long(batches: &[LeaderBatch<'_>], target: TargetCompression) -> bool {
    let packed = |batch: &&LeaderBatch<'_>| {
        target != TargetCompression::Producer || !is_plain(batch.records)
    };
    let bytes = batches
        .iter()
        .filter(packed)
        .map(|batch| batch.records.len());
    bytes.sum::<usize>() >= LONG_WORK_BYTES
}

impl ReplicaManager {
    /// Appends to this broker's logs, at once and in the order of the entries.
    pub fn append(&self, terms: AppendTerms, entries: Vec<AppendEntry>) -> Appended {
        let mut appended = Appended::of(&entries);
        for (number, entry) in entries.iter().enumerate() {
            self.append_run(
                &[(terms, entry)],
                &[(0, number)],
                std::slice::from_mut(&mut appended),
            );
        }
        appended
    }

    /// Appends several requests of one origin as if they came one after another, but what belongs to one partition in
    /// one go.
    pub fn append_together(&self, requests: &[AppendRequest]) -> Vec<Appended> {
        let mut answers: Vec<Appended> = requests
            .iter()
            .map(|request| Appended::of(&request.entries))
            .collect();
        let mut places: Vec<Place> = Vec::with_capacity(requests.len());
        for (number, request) in requests.iter().enumerate() {
            places.extend((0..request.entries.len()).map(|entry| (number, entry)));
        }
        let entry = |place: &Place| &requests[place.0].entries[place.1];
        let partition = |place: &Place| (&entry(place).topic, entry(place).partition);
        // A stable sort: within a partition the order stays.
        places.sort_by(|a, b| partition(a).cmp(&partition(b)));
        for run in places.chunk_by(|a, b| partition(a) == partition(b)) {
            let entries: Vec<_> = run
                .iter()
                .map(|place| (requests[place.0].terms, entry(place)))
                .collect();
            self.append_run(&entries, run, &mut answers);
        }
        answers
    }

    /// Appends entries that are all for one partition, and puts the results into their places.
    fn append_run(
        &self,
        entries: &[(AppendTerms, &AppendEntry)],
        places: &[Place],
        answers: &mut [Appended],
    ) {
        let Some((_, first)) = entries.first() else {
            return;
        };
        let (topic, number) = (&first.topic, first.partition);
        let partition = self.partition_or_error(topic, number);
        let refusal = |terms: &AppendTerms| {
            if !(-1..=1).contains(&terms.acks) {
                Some(ErrorCode::InvalidRequiredAcks)
            } else if !terms.internal_allowed && topic_names::is_internal(topic) {
                Some(ErrorCode::InvalidTopicException)
            } else {
                partition.as_ref().err().copied()
            }
        };
        let mut tried = Vec::with_capacity(entries.len());
        for ((terms, entry), place) in entries.iter().zip(places) {
            match refusal(terms) {
                Some(error) => answers[place.0].results[place.1].error = error,
                None => tried.push((*terms, *entry, *place)),
            }
        }
        let Ok(partition) = &partition else {
            return;
        };
        let results = self.append_to(partition, &tried);
        for ((terms, _, place), result) in tried.iter().zip(results) {
            let answer = &mut answers[place.0];
            answer.results[place.1] = match result {
                Ok(info) => {
                    let end = info.last_offset + 1;
                    if terms.acks == ALL_REPLICAS
                        && partition.acks_reached(end) != Some(ErrorCode::None)
                    {
                        answer.waiting.push((place.1, Arc::clone(partition), end));
                    }
                    succeeded(topic.clone(), number, &info)
                }
                Err(refused) => self.refused(topic.clone(), number, partition, refused),
            };
        }
    }

    fn append_to(
        &self,
        partition: &Arc<Partition>,
        entries: &[(AppendTerms, &AppendEntry, Place)],
    ) -> Vec<Result<AppendInfo, Refused>> {
        let Some((terms, _, _)) = entries.first() else {
            return Vec::new();
        };
        let all = |code| entries.iter().map(|_| Err(Refused::Code(code))).collect();
        let state = partition.state.read();
        let log = match partition.log() {
            Some(log) if state.is_leader() => log,
            _ => return all(ErrorCode::NotLeaderOrFollower),
        };
        let wants_all = |terms: &AppendTerms| terms.acks == ALL_REPLICAS;
        let lacks_replicas = entries.iter().any(|(terms, _, _)| wants_all(terms))
            && state.is_under_min_isr(min_insync_replicas(&log));
        let may_go = |terms: &AppendTerms| !(lacks_replicas && wants_all(terms));
        let verifies = self.verifies_transactions();
        let batches: Vec<_> = entries
            .iter()
            .filter(|(terms, _, _)| may_go(terms))
            .map(|(_, entry, _)| LeaderBatch {
                records: &entry.records,
                verification: match verifies {
                    true => Verification::Required(entry.guard),
                    false => Verification::Off,
                },
            })
            .collect();
        let options = AppendOptions {
            origin: terms.origin,
            now_ms: now_ms(),
        };
        let append = || log.append_each(&batches, state.leader_epoch(), &options);
        let appended = match takes_long(&batches, log.config().compression_type) {
            // The other connections of this thread go on meanwhile.
            true => tokio::task::block_in_place(append),
            false => append(),
        };
        if appended.iter().any(Result::is_ok) {
            self.with_surroundings(|around| partition.advance_quietly(&state, &log, around));
            drop(state);
            // Followers wait for the log end, consumers for the high watermark; both look for themselves.
            partition.waiters().wake();
        }
        let mut appended = appended.into_iter();
        let mut result = |terms: &AppendTerms| match may_go(terms) {
            true => appended.next(),
            false => None,
        };
        entries
            .iter()
            .map(|(terms, _, _)| match result(terms) {
                Some(result) => result.map_err(Refused::ByLog),
                None => Err(Refused::Code(ErrorCode::NotEnoughReplicas)),
            })
            .collect()
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
