//! Shell: dropping the oldest records of a partition on request, on this broker and on its followers (KIP-107).

use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;

use crate::log::partition_care::DeleteRecordsError;
use crate::metadata::topic_names;
use crate::replica::hosted::Partition;
use crate::replica::manager::ReplicaManager;
use crate::replica::purgatory::Waiter;

/// The offset that stands for the high watermark.
const UP_TO_HIGH_WATERMARK: i64 = -1;
/// "No low watermark", as in failures.
const UNKNOWN: i64 = -1;

/// What became of one partition.
#[derive(Clone, Debug)]
pub struct Deletion {
    /// The topic's name.
    pub topic: ByteString,
    /// The partition's number.
    pub partition: i32,
    /// NONE, or why nothing was deleted.
    pub error: ErrorCode,
    /// The lowest log start among the live replicas, -1 on failure.
    pub low_watermark: i64,
    /// The offset that every live replica should start at.
    required: i64,
}

impl Deletion {
    /// A partition where nothing was deleted.
    pub fn failed(topic: ByteString, partition: i32, error: ErrorCode) -> Self {
        Self {
            topic,
            partition,
            error,
            low_watermark: UNKNOWN,
            required: UNKNOWN,
        }
    }

    fn is_waiting(&self) -> bool {
        self.error == ErrorCode::None && self.low_watermark < self.required
    }
}

impl ReplicaManager {
    /// Moves the start of this broker's log up to `offset`, -1 for the high watermark.
    pub fn delete_before(&self, topic: ByteString, partition: i32, offset: i64) -> Deletion {
        match self.try_delete(&topic, partition, offset) {
            Ok((required, low_watermark)) => Deletion {
                topic,
                partition,
                error: ErrorCode::None,
                low_watermark,
                required,
            },
            Err(error) => Deletion::failed(topic, partition, error),
        }
    }

    fn try_delete(
        &self,
        topic: &ByteString,
        partition: i32,
        offset: i64,
    ) -> Result<(i64, i64), ErrorCode> {
        if topic_names::is_internal(topic) {
            return Err(ErrorCode::InvalidTopicException);
        }
        let partition = self.partition_or_error(topic, partition)?;
        let log = partition.local_log(-1, true)?;
        if !log.config().delete {
            return Err(ErrorCode::PolicyViolation);
        }
        let required = if offset == UP_TO_HIGH_WATERMARK {
            log.high_watermark()
        } else {
            offset
        };
        if required < 0 {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        match log.delete_records_before(required) {
            Ok(_) => {}
            Err(DeleteRecordsError::OffsetOutOfRange { .. }) => {
                return Err(ErrorCode::OffsetOutOfRange);
            }
            Err(DeleteRecordsError::Storage(error)) => {
                return Err(self.disk_failed(&partition, &error));
            }
        }
        partition.waiters().wake();
        Ok((required, self.low_watermark(&partition)?))
    }

    fn low_watermark(&self, partition: &Partition) -> Result<i64, ErrorCode> {
        let log = partition.local_log(-1, true)?;
        let state = partition.state.read();
        Ok(state.low_watermark(log.log_start_offset(), |id| self.is_alive(id)))
    }

    /// Waits until every live replica has dropped what it should; what is not done in time fails with
    /// REQUEST_TIMED_OUT.
    pub async fn wait_for_low_watermarks(&self, deletions: &mut [Deletion], timeout: Duration) {
        let waiting: Vec<Arc<Partition>> = deletions
            .iter()
            .filter(|deletion| deletion.is_waiting())
            .filter_map(|deletion| self.partition(&deletion.topic, deletion.partition))
            .collect();
        if waiting.is_empty() {
            return;
        }
        let waiter = Waiter::register(waiting, timeout);
        let mut in_time = true;
        while in_time {
            in_time = waiter.moved().await;
            self.look(deletions);
            if !deletions.iter().any(Deletion::is_waiting) {
                return;
            }
        }
        for deletion in deletions
            .iter_mut()
            .filter(|deletion| deletion.is_waiting())
        {
            deletion.error = ErrorCode::RequestTimedOut;
        }
    }

    fn look(&self, deletions: &mut [Deletion]) {
        for deletion in deletions
            .iter_mut()
            .filter(|deletion| deletion.is_waiting())
        {
            let low_watermark = self
                .partition_or_error(&deletion.topic, deletion.partition)
                .and_then(|partition| self.low_watermark(&partition));
            match low_watermark {
                Ok(low_watermark) => deletion.low_watermark = low_watermark,
                Err(error) => {
                    deletion.error = error;
                    deletion.low_watermark = UNKNOWN;
                }
            }
        }
    }
}
