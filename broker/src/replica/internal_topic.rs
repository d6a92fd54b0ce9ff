//! Shell: an internal topic as its coordinator sees it, on top of the partitions that this broker leads.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;

use crate::coordinator::internal_log::{Appended, Chunk, InternalLog, Verifying};
use crate::log::append::AppendOrigin;
use crate::log::partition_read::FetchBound;
use crate::log::verification::{NO_GUARD, VerificationGuard};
use crate::replica::append::{AppendEntry, AppendTerms};
use crate::replica::file_range;
use crate::replica::manager::ReplicaManager;
use crate::replica::verification_queue::Question;

/// One internal topic.
#[derive(Debug)]
pub struct InternalTopic {
    topic: ByteString,
    replicas: Arc<ReplicaManager>,
    /// How long an append may wait for other replicas, if nobody says otherwise.
    timeout: Duration,
}

impl InternalTopic {
    /// The partitions of `topic` that this broker leads, now and later.
    pub fn new(
        topic: impl Into<ByteString>,
        replicas: Arc<ReplicaManager>,
        timeout: Duration,
    ) -> Self {
        Self {
            topic: topic.into(),
            replicas,
            timeout,
        }
    }
}

impl InternalTopic {
    fn write(
        &self,
        partition: i32,
        records: Bytes,
        acks: i16,
        guard: VerificationGuard,
        limit: Duration,
    ) -> Result<Appended, ErrorCode> {
        let terms = AppendTerms {
            origin: AppendOrigin::Coordinator,
            acks,
            internal_allowed: true,
        };
        let entry = AppendEntry {
            topic: self.topic.clone(),
            partition,
            records,
            guard,
        };
        let appended = self.replicas.append(terms, vec![entry]);
        let base_offset = appended.first_offset()?;
        let replicating = async move {
            let results = appended.replicated(limit).await;
            match results.first().map(|result| result.error) {
                None | Some(ErrorCode::None) => Ok(()),
                Some(error) => Err(error),
            }
        };
        Ok(Appended {
            base_offset,
            replicating: Box::pin(replicating),
        })
    }
}

impl InternalLog for InternalTopic {
    fn append(&self, partition: i32, batch: Bytes, acks: i16) -> Result<Appended, ErrorCode> {
        self.write(partition, batch, acks, NO_GUARD, self.timeout)
    }

    fn append_within(
        &self,
        partition: i32,
        batch: Bytes,
        acks: i16,
        limit: Duration,
    ) -> Result<Appended, ErrorCode> {
        self.write(partition, batch, acks, NO_GUARD, limit)
    }

    fn verify(
        &self,
        partition: i32,
        transactional_id: &ByteString,
        producer_id: i64,
        producer_epoch: i16,
    ) -> Verifying {
        let replicas = Arc::clone(&self.replicas);
        let (topic, transactional_id) = (self.topic.clone(), transactional_id.clone());
        Box::pin(async move {
            let question = Question {
                transactional_id,
                producer_id,
                producer_epoch,
                partitions: vec![(topic, partition)],
            };
            replicas.verify_one(question).await
        })
    }

    fn append_verified(
        &self,
        partition: i32,
        batch: Bytes,
        acks: i16,
        guard: VerificationGuard,
    ) -> Result<Appended, ErrorCode> {
        self.write(partition, batch, acks, guard, self.timeout)
    }

    fn start_offset(&self, partition: i32) -> Option<i64> {
        let partition = self.replicas.partition(&self.topic, partition)?;
        Some(partition.log()?.log_start_offset())
    }

    fn max_batch_bytes(&self, partition: i32) -> Option<usize> {
        let partition = self.replicas.partition(&self.topic, partition)?;
        usize::try_from(partition.log()?.config().max_message_bytes).ok()
    }

    fn read(&self, partition: i32, from: i64, max_bytes: usize) -> Result<Option<Chunk>, String> {
        let hosted = self.replicas.partition(&self.topic, partition);
        let Some(log) = hosted.and_then(|partition| partition.log()) else {
            return Ok(None);
        };
        let read = log
            .read(from, max_bytes, FetchBound::LogEnd, true)
            .map_err(|error| error.to_string())?;
        if read.records.is_empty() {
            return Ok(None);
        }
        let batches = file_range::in_memory(&read.records)
            .map_err(|error| format!("{}-{partition}: {error}", self.topic))?;
        Ok(Some(Chunk { batches }))
    }
}
