//! Pure: the offsets that a group has committed, is committing, or holds inside transactions.
//!
//! Behaviour from Kafka's `GroupMetadata.scala`.

use std::collections::{BTreeMap, BTreeSet};

use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;

use crate::coordinator::topic_partition::{TopicPartition, detached};

/// A committed position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetAndMetadata {
    /// Next offset to read.
    pub offset: i64,
    /// Leader epoch of the last record read, if the client said so.
    pub leader_epoch: Option<i32>,
    /// The client's note.
    pub metadata: ByteString,
    /// When it was committed, milliseconds since the epoch.
    pub commit_timestamp_ms: i64,
    /// When it expires, if the client asked for a retention of its own.
    pub expire_timestamp_ms: Option<i64>,
}

/// A position and the base offset of the batch that holds it. Transactional and plain commits
/// mix; the one further on in the log wins, as compaction would have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitRecord {
    /// Base offset of the batch in `__consumer_offsets`; none until it is appended.
    pub batch_offset: Option<i64>,
    /// The position.
    pub value: OffsetAndMetadata,
}

impl CommitRecord {
    /// Lies before the other in the log.
    pub fn older_than(&self, other: &CommitRecord) -> bool {
        self.batch_offset < other.batch_offset
    }
}

/// What OffsetFetch says about one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedOffset {
    /// Outcome.
    pub error: ErrorCode,
    /// Position, or -1.
    pub offset: i64,
    /// Leader epoch, or -1.
    pub leader_epoch: i32,
    /// Note, or empty.
    pub metadata: ByteString,
}

impl FetchedOffset {
    /// Nothing is committed, or nothing may be said.
    pub fn none(error: ErrorCode) -> FetchedOffset {
        FetchedOffset {
            error,
            offset: -1,
            leader_epoch: -1,
            metadata: ByteString::new(),
        }
    }
}

/// Per-producer pending transactional commits.
pub type PendingTransactions = BTreeMap<i64, BTreeMap<TopicPartition, CommitRecord>>;

/// A group's offsets.
#[derive(Clone, Debug, Default)]
pub struct Offsets {
    committed: BTreeMap<TopicPartition, CommitRecord>,
    /// Appended in transactions that are still open.
    transactions: PendingTransactions,
    /// Being appended, by producer or as plain commits. Kept apart, and each commit for itself, so
    /// that one that fails (a fenced producer's, say) takes nothing away that is in the log.
    in_flight: BTreeMap<Option<i64>, BTreeMap<TopicPartition, Vec<OffsetAndMetadata>>>,
}

impl Offsets {
    /// Offsets as the log holds them.
    pub fn loaded(
        committed: BTreeMap<TopicPartition, CommitRecord>,
        transactions: PendingTransactions,
    ) -> Offsets {
        Offsets {
            committed,
            transactions,
            in_flight: BTreeMap::new(),
        }
    }

    /// Committed, being committed, or in a transaction.
    pub fn is_empty(&self) -> bool {
        self.committed.is_empty() && self.transactions.is_empty() && self.in_flight.is_empty()
    }

    /// Committed partitions.
    pub fn len(&self) -> usize {
        self.committed.len()
    }

    /// A committed position.
    pub fn get(&self, partition: &TopicPartition) -> Option<&OffsetAndMetadata> {
        self.committed.get(partition).map(|c| &c.value)
    }

    /// What OffsetFetch answers: the given partitions, or all that are committed.
    pub fn fetch(
        &self,
        partitions: Option<&[TopicPartition]>,
        require_stable: bool,
    ) -> Vec<(TopicPartition, FetchedOffset)> {
        match partitions {
            Some(list) => list
                .iter()
                .map(|p| (p.clone(), self.fetch_one(p, require_stable)))
                .collect(),
            None => self
                .committed
                .keys()
                .map(|p| (p.clone(), self.fetch_one(p, require_stable)))
                .collect(),
        }
    }

    fn fetch_one(&self, partition: &TopicPartition, require_stable: bool) -> FetchedOffset {
        if require_stable && self.is_unstable(partition) {
            return FetchedOffset::none(ErrorCode::UnstableOffsetCommit);
        }
        match self.get(partition) {
            None => FetchedOffset::none(ErrorCode::None),
            Some(value) => FetchedOffset {
                error: ErrorCode::None,
                offset: value.offset,
                leader_epoch: value.leader_epoch.unwrap_or(-1),
                metadata: value.metadata.clone(),
            },
        }
    }

    fn is_unstable(&self, partition: &TopicPartition) -> bool {
        let mut in_flight = self.in_flight.values();
        let mut open = self.transactions.values();
        in_flight.any(|t| t.contains_key(partition)) || open.any(|t| t.contains_key(partition))
    }

    /// A commit is about to be appended.
    pub fn prepare(
        &mut self,
        producer_id: Option<i64>,
        partition: &TopicPartition,
        value: &OffsetAndMetadata,
    ) {
        let commits = self.in_flight.entry(producer_id).or_default();
        let commits = commits.entry(partition.detached()).or_default();
        commits.push(detached_value(value));
    }

    /// A commit is in the log and replicated.
    pub fn appended(
        &mut self,
        producer_id: Option<i64>,
        partition: &TopicPartition,
        value: &OffsetAndMetadata,
        batch_offset: i64,
    ) {
        let record = CommitRecord {
            batch_offset: Some(batch_offset),
            value: detached_value(value),
        };
        // Nothing is known of it if the topic was deleted meanwhile: then nothing must come back.
        if !self.landed(producer_id, partition, value) {
            return;
        }
        let stored = match producer_id {
            None => &mut self.committed,
            Some(id) => self.transactions.entry(id).or_default(),
        };
        let existing = stored.get(partition);
        if existing.is_none_or(|existing| existing.older_than(&record)) {
            stored.insert(partition.detached(), record);
        }
    }

    /// A commit did not get into the log.
    pub fn failed(
        &mut self,
        producer_id: Option<i64>,
        partition: &TopicPartition,
        value: &OffsetAndMetadata,
    ) {
        self.landed(producer_id, partition, value);
    }

    /// A commit is no longer on its way; false if that is not known of it.
    fn landed(
        &mut self,
        producer_id: Option<i64>,
        partition: &TopicPartition,
        value: &OffsetAndMetadata,
    ) -> bool {
        let Some(partitions) = self.in_flight.get_mut(&producer_id) else {
            return false;
        };
        let Some(commits) = partitions.get_mut(partition) else {
            return false;
        };
        let place = commits.iter().position(|commit| commit == value);
        if let Some(place) = place {
            commits.remove(place);
        }
        if commits.is_empty() {
            partitions.remove(partition);
        }
        if partitions.is_empty() {
            self.in_flight.remove(&producer_id);
        }
        place.is_some()
    }

    /// The marker of a transaction is in the log. What is still on its way comes too late for it: its
    /// producer was not told that it is stored.
    pub fn complete_transaction(&mut self, producer_id: i64, commit: bool) {
        self.in_flight.remove(&Some(producer_id));
        let Some(transaction) = self.transactions.remove(&producer_id) else {
            return;
        };
        if !commit {
            return;
        }
        for (partition, record) in transaction {
            let is_newer = self
                .committed
                .get(&partition)
                .is_none_or(|c| c.older_than(&record));
            if record.batch_offset.is_some() && is_newer {
                self.committed.insert(partition, record);
            }
        }
    }

    /// Drops partitions; answers those that were committed. A transaction stays open though nothing
    /// of it is left: the group cannot go before its marker has come.
    pub fn remove(&mut self, partitions: &[TopicPartition]) -> Vec<TopicPartition> {
        let mut removed = Vec::new();
        for partition in partitions {
            for transaction in self.transactions.values_mut() {
                transaction.remove(partition);
            }
            self.in_flight.retain(|_, transaction| {
                transaction.remove(partition);
                !transaction.is_empty()
            });
            if self.committed.remove(partition).is_some() {
                removed.push(partition.clone());
            }
        }
        removed
    }

    /// Drops everything that is committed; answers what was.
    pub fn remove_all(&mut self) -> Vec<TopicPartition> {
        let all: Vec<_> = self.committed.keys().cloned().collect();
        self.remove(&all)
    }

    /// Drops what is older than the retention, seen from `since` (or each commit's own time), and
    /// neither subscribed nor being committed. A retention that the client gave itself counts by
    /// its own date.
    pub fn remove_expired(
        &mut self,
        wall_ms: i64,
        retention_ms: i64,
        since_ms: Option<i64>,
        subscribed: &BTreeSet<ByteString>,
    ) -> Vec<TopicPartition> {
        let is_expired = |partition: &TopicPartition, record: &CommitRecord| {
            let commits = self.in_flight.get(&None);
            let is_committing = commits.is_some_and(|commits| commits.contains_key(partition));
            if is_committing || subscribed.contains(&partition.topic) {
                return false;
            }
            match record.value.expire_timestamp_ms {
                Some(at) => wall_ms >= at,
                None => {
                    let base = since_ms.unwrap_or(record.value.commit_timestamp_ms);
                    wall_ms.saturating_sub(base) >= retention_ms
                }
            }
        };
        let expired: Vec<_> = self
            .committed
            .iter()
            .filter(|(partition, record)| is_expired(partition, record))
            .map(|(partition, _)| partition.clone())
            .collect();
        for partition in &expired {
            self.committed.remove(partition);
        }
        expired
    }
}

fn detached_value(value: &OffsetAndMetadata) -> OffsetAndMetadata {
    OffsetAndMetadata {
        metadata: detached(&value.metadata),
        ..value.clone()
    }
}

#[cfg(test)]
#[path = "offsets_test.rs"]
mod tests;
