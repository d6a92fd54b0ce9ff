//! Shell: reads for consumers and followers, at once or after a wait for more.
//!
//! As Kafka's `ReplicaManager.fetchMessages` and `DelayedFetch`: answer at once when nothing may be waited for, when
//! there is enough, or when any partition has an error or a diverging epoch; else wait until one of these holds or
//! the time is over.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::wire::{Records, Uuid};

use crate::log::partition_log::PartitionLog;
use crate::log::partition_read::{FetchBound, ReadError, ReadResult};
use crate::replica::clock::now_ms;
use crate::replica::fetch_session::{Answer, FetchContext, Interest, SessionRequest, Verdict};
use crate::replica::hosted::Partition;
use crate::replica::manager::ReplicaManager;
use crate::replica::purgatory::Waiter;

/// How to read.
#[derive(Clone, Copy, Debug)]
pub struct FetchTerms {
    /// The follower's broker id, or -1 for a consumer.
    pub replica_id: i32,
    /// How far to read.
    pub bound: FetchBound,
    /// Whether only the leader may answer.
    pub needs_leader: bool,
    /// The longest wait.
    pub max_wait: Duration,
    /// What is worth answering before the wait is over, in bytes.
    pub min_bytes: usize,
    /// The largest answer, in bytes; exceeded only by one batch that is larger. Nothing can be read with a negative one.
    pub max_bytes: i32,
    /// Whether even a first batch must not exceed the limits (versions below 3).
    pub is_limit_hard: bool,
}

/// What one partition has to say.
#[derive(Clone, Debug)]
pub struct FetchAnswer {
    /// NONE, or why nothing was read.
    pub error: ErrorCode,
    /// The high watermark, -1 if unknown.
    pub high_watermark: i64,
    /// The last stable offset, -1 if unknown.
    pub last_stable_offset: i64,
    /// The log start offset, -1 if unknown.
    pub log_start_offset: i64,
    /// The epoch and its end offset up to which a follower agrees with this log, if it does not agree fully.
    pub diverging: Option<(i32, i64)>,
    /// Aborted transactions within the records, as (producer id, first offset), for read_committed.
    pub aborted: Option<Vec<(i64, i64)>>,
    /// The batches.
    pub records: Records,
    /// Whether the records end with their segment while newer segments have more.
    ends_segment: bool,
}

impl FetchAnswer {
    /// A partition that is not read at all.
    pub fn refused(error: ErrorCode) -> Self {
        Self {
            aborted: Some(Vec::new()),
            ..Self::failed(error)
        }
    }

    /// A partition that cannot be read.
    pub fn failed(error: ErrorCode) -> Self {
        Self {
            error,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            diverging: None,
            aborted: None,
            records: Records::Memory(Bytes::new()),
            ends_segment: false,
        }
    }
}

impl ReplicaManager {
    /// Decides what a request within a session, or without one, wants to read.
    pub fn open_session(
        &self,
        request: SessionRequest,
        resolve: impl Fn(Uuid) -> Option<ByteString>,
    ) -> FetchContext {
        self.sessions.lock().open(request, now_ms(), resolve)
    }

    /// Decides the head of an answer, and drops what the session lets out.
    pub fn close_session<T>(
        &self,
        context: FetchContext,
        answers: &mut Vec<T>,
        describe: impl Fn(&T) -> Answer<'_>,
    ) -> Verdict {
        let random_id = || rand::random::<i32>() & i32::MAX;
        self.sessions
            .lock()
            .close(context, answers, describe, now_ms(), random_id)
    }

    /// Reads all partitions asked for; answers are in their order.
    pub async fn fetch(&self, terms: FetchTerms, interests: &[Interest]) -> Vec<FetchAnswer> {
        let partitions: Vec<Result<Arc<Partition>, ErrorCode>> = interests
            .iter()
            .map(|interest| match &interest.topic {
                Some(topic) => self.partition_or_error(topic, interest.partition),
                None => Err(ErrorCode::UnknownTopicId),
            })
            .collect();
        let moves = |partitions: &[Result<Arc<Partition>, ErrorCode>]| -> u64 {
            partitions
                .iter()
                .flatten()
                .map(|p| p.waiters().moves())
                .fold(0, u64::wrapping_add)
        };
        let before = moves(&partitions);
        let answers = self.read_all(terms, interests, &partitions, true);
        if is_enough(terms, &answers) || terms.max_wait.is_zero() || interests.is_empty() {
            return answers;
        }

        let waiter = Waiter::register(
            partitions.iter().flatten().cloned().collect(),
            terms.max_wait,
        );
        // What moved between the look and the registration would wake nobody.
        let mut in_time = before != moves(&partitions) || waiter.moved().await;
        loop {
            let answers = self.read_all(terms, interests, &partitions, false);
            if !in_time || is_enough(terms, &answers) {
                return answers;
            }
            in_time = waiter.moved().await;
        }
    }

    fn read_all(
        &self,
        terms: FetchTerms,
        interests: &[Interest],
        partitions: &[Result<Arc<Partition>, ErrorCode>],
        is_first_look: bool,
    ) -> Vec<FetchAnswer> {
        let mut left = i64::from(terms.max_bytes);
        let mut whole_batch = !terms.is_limit_hard;
        let mut answers = Vec::with_capacity(interests.len());
        for (interest, partition) in interests.iter().zip(partitions) {
            let answer = match partition {
                Ok(partition) => {
                    let max_bytes = i64::from(interest.max_bytes).min(left);
                    let size = ReadSize {
                        max_bytes,
                        whole_batch,
                    };
                    self.read_one(terms, interest, partition, size, is_first_look)
                        .unwrap_or_else(FetchAnswer::failed)
                }
                Err(error) => FetchAnswer::failed(*error),
            };
            let read = answer.records.len();
            if read > 0 {
                whole_batch = false;
            }
            left = left.saturating_sub(read as i64).max(0);
            answers.push(answer);
        }
        answers
    }

    fn read_one(
        &self,
        terms: FetchTerms,
        interest: &Interest,
        partition: &Arc<Partition>,
        size: ReadSize,
        is_first_look: bool,
    ) -> Result<FetchAnswer, ErrorCode> {
        let state = partition.state.read();
        state.check_epoch(interest.current_leader_epoch, terms.needs_leader)?;
        let log = partition.log().ok_or(ErrorCode::NotLeaderOrFollower)?;
        if !same_topic(interest.topic_id, &log) {
            return Err(ErrorCode::InconsistentTopicId);
        }
        let is_follower = terms.replica_id >= 0;
        if is_follower {
            state.check_follower(terms.replica_id, interest.current_leader_epoch)?;
        }
        if interest.last_fetched_epoch >= 0
            && let Some(diverging) = diverging(&log, interest)?
        {
            return Ok(FetchAnswer {
                diverging: Some(diverging),
                high_watermark: log.high_watermark(),
                last_stable_offset: log.last_stable_offset(),
                log_start_offset: log.log_start_offset(),
                ..FetchAnswer::failed(ErrorCode::None)
            });
        }
        let leader_end = log.log_end_offset();
        let read = log.read(
            interest.fetch_offset,
            usize::try_from(size.max_bytes).unwrap_or(0),
            terms.bound,
            size.whole_batch,
        );
        drop(state);
        let read = match read {
            Ok(read) => read,
            Err(ReadError::OffsetOutOfRange { .. }) => return Err(ErrorCode::OffsetOutOfRange),
            Err(ReadError::Storage(error)) => return Err(self.disk_failed(partition, &error)),
        };
        if size.max_bytes < 0 && interest.fetch_offset < read.upper_bound {
            let max_bytes = size.max_bytes;
            tracing::error!(
                "Error processing fetch with max size {max_bytes} on partition {}-{}",
                partition.topic,
                interest.partition
            );
            return Err(ErrorCode::UnknownServerError);
        }
        if is_follower && is_first_look {
            self.follower_fetched(terms.replica_id, interest, partition, &log, leader_end);
        }
        Ok(answer(read))
    }

    /// A fetch tells how far a follower has come, which may move the high watermark.
    fn follower_fetched(
        &self,
        replica_id: i32,
        interest: &Interest,
        partition: &Arc<Partition>,
        log: &PartitionLog,
        leader_end: i64,
    ) {
        let mut state = partition.state.write();
        let known_start = state
            .follower(replica_id)
            .map(|follower| follower.log_start);
        state.record_fetch(
            replica_id,
            interest.fetch_offset,
            interest.log_start_offset,
            leader_end,
            now_ms(),
        );
        let change = state.expand_isr(replica_id, log.high_watermark(), self.is_alive(replica_id));
        let advanced =
            self.with_surroundings(|around| partition.advance_quietly(&state, log, around));
        drop(state);
        // A new log start may be what a DeleteRecords waits for.
        if advanced || known_start != Some(interest.log_start_offset) {
            partition.waiters().wake();
        }
        if let Some(change) = change {
            self.want_isr(partition, change);
        }
    }
}

struct ReadSize {
    max_bytes: i64,
    /// Whether one batch is read even if it is larger.
    whole_batch: bool,
}

fn answer(read: ReadResult) -> FetchAnswer {
    FetchAnswer {
        error: ErrorCode::None,
        high_watermark: read.high_watermark,
        last_stable_offset: read.last_stable_offset,
        log_start_offset: read.log_start_offset,
        diverging: None,
        aborted: read.aborted,
        records: read.records,
        ends_segment: read.ends_segment,
    }
}

fn is_enough(terms: FetchTerms, answers: &[FetchAnswer]) -> bool {
    let bytes: usize = answers.iter().map(|answer| answer.records.len()).sum();
    bytes >= terms.min_bytes
        || answers.iter().any(|answer| {
            // What is left of an old segment is answered although it is little: waiting makes it no more.
            let is_remainder = answer.ends_segment && !answer.records.is_empty();
            answer.error != ErrorCode::None || answer.diverging.is_some() || is_remainder
        })
}

/// A request without an id, and a log without one, fit everything.
fn same_topic(requested: Uuid, log: &PartitionLog) -> bool {
    requested.is_zero()
        || log
            .topic_id()
            .is_none_or(|id| id.is_zero() || id == requested)
}

/// Where a follower's log parts from this one, if it does (KIP-595's truncation on fetch).
fn diverging(log: &PartitionLog, interest: &Interest) -> Result<Option<(i32, i64)>, ErrorCode> {
    let Some(end) = log.end_offset_for_epoch(interest.last_fetched_epoch) else {
        return Err(ErrorCode::OffsetOutOfRange);
    };
    if interest.fetch_offset < log.log_start_offset() {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    let parts = end.epoch < interest.last_fetched_epoch || end.end_offset < interest.fetch_offset;
    Ok(parts.then_some((end.epoch, end.end_offset)))
}
