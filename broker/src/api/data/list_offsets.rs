//! Shell: ListOffsets, 0 to 8: first, last and by timestamp.
//!
//! Version 0 answers with a list of segment starts; 4 knows leader epochs (KIP-320), 5 says OFFSET_NOT_AVAILABLE
//! where older ones say LEADER_NOT_AVAILABLE, 7 asks for the largest timestamp (KIP-734), 8 for the earliest local
//! offset (KIP-405).

use std::collections::HashSet;
use std::sync::Arc;

use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse,
};

use crate::api::context::{RequestContext, Services};
use crate::log::error::StorageError;
use crate::log::partition_read::{self, LookupError};
use crate::replica::clock::now_ms;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;

const CONSUMER: i32 = -1;
const DEBUGGER: i32 = -2;
const READ_COMMITTED: i8 = 1;

/// An offset found; -1 for what is unknown.
struct FoundOffset {
    timestamp: i64,
    offset: i64,
    leader_epoch: i32,
}

impl From<partition_read::FoundOffset> for FoundOffset {
    fn from(found: partition_read::FoundOffset) -> Self {
        Self {
            timestamp: found.timestamp,
            offset: found.offset,
            leader_epoch: found.leader_epoch.unwrap_or(-1),
        }
    }
}

/// Looks up each partition's offset.
pub async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let version = context.header.api_version;
    let duplicates = duplicates(&request);
    let asker = Asker {
        services,
        replica_id: request.replica_id,
        isolation_level: request.isolation_level,
    };
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            if version == 0 {
                return asker.old_style(&topic.name, partition);
            }
            let key = (topic.name.clone(), partition.partition_index);
            let found = if duplicates.contains(&key) {
                Err(ErrorCode::InvalidRequest)
            } else {
                asker.find(&topic.name, partition)
            };
            answer(version, partition.partition_index, found)
        });
        ListOffsetsTopicResponse {
            name: topic.name.clone(),
            partitions: partitions.collect(),
        }
    });
    ListOffsetsResponse {
        throttle_time_ms: 0,
        topics: topics.collect(),
    }
}

fn duplicates(request: &ListOffsetsRequest) -> HashSet<(ByteString, i32)> {
    let mut seen = HashSet::new();
    let mut twice = HashSet::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            let key = (topic.name.clone(), partition.partition_index);
            if !seen.insert(key.clone()) {
                twice.insert(key);
            }
        }
    }
    twice
}

fn answer(
    version: i16,
    partition_index: i32,
    found: Result<Option<FoundOffset>, ErrorCode>,
) -> ListOffsetsPartitionResponse {
    let (error, found) = match found {
        Ok(found) => (ErrorCode::None, found),
        Err(ErrorCode::OffsetNotAvailable) if version < 5 => (ErrorCode::LeaderNotAvailable, None),
        Err(error) => (error, None),
    };
    let found = found.unwrap_or(FoundOffset {
        timestamp: -1,
        offset: -1,
        leader_epoch: -1,
    });
    ListOffsetsPartitionResponse {
        partition_index,
        error_code: error.code(),
        timestamp: found.timestamp,
        offset: found.offset,
        leader_epoch: if version >= 4 { found.leader_epoch } else { -1 },
        ..ListOffsetsPartitionResponse::default()
    }
}

struct Asker<'a> {
    services: &'a Services,
    replica_id: i32,
    isolation_level: i8,
}

impl Asker<'_> {
    fn find(
        &self,
        topic: &ByteString,
        asked: &ListOffsetsPartition,
    ) -> Result<Option<FoundOffset>, ErrorCode> {
        let replicas = &self.services.replicas;
        let partition = replicas.partition_or_error(topic, asked.partition_index)?;
        let log = partition.local_log(asked.current_leader_epoch, self.replica_id != DEBUGGER)?;
        let is_client = self.replica_id == CONSUMER;
        let high_watermark = log.high_watermark();
        let last_fetchable = match (is_client, self.isolation_level) {
            (false, _) => log.log_end_offset(),
            (true, READ_COMMITTED) => log.last_stable_offset(),
            (true, _) => high_watermark,
        };
        let (leader_epoch, is_behind) = {
            let state = partition.state.read();
            (
                state.leader_epoch(),
                state.is_high_watermark_behind_epoch(high_watermark),
            )
        };
        // Right after an election a client could otherwise see offsets go backwards.
        let behind = if is_client && is_behind {
            Err(ErrorCode::OffsetNotAvailable)
        } else {
            Ok(None)
        };
        let storage_failed = |error: StorageError| replicas.disk_failed(&partition, &error);
        match asked.timestamp {
            LATEST => {
                behind?;
                Ok(Some(FoundOffset {
                    timestamp: -1,
                    offset: last_fetchable,
                    leader_epoch,
                }))
            }
            EARLIEST | EARLIEST_LOCAL => Ok(Some(log.earliest_offset().into())),
            MAX_TIMESTAMP => {
                let found = log.max_timestamp_offset().map_err(storage_failed)?;
                if found.offset < last_fetchable {
                    Ok(Some(found.into()))
                } else {
                    behind
                }
            }
            timestamp => {
                let found = log
                    .offset_for_timestamp(timestamp)
                    .map_err(|error| match error {
                        LookupError::Storage(error) => storage_failed(error),
                        LookupError::BadBatch { ref error, .. } => {
                            tracing::error!(
                                "Error while responding to offset request for partition {topic}-{}: {error}",
                                asked.partition_index
                            );
                            error.code()
                        }
                    })?;
                match found {
                    Some(found) if found.offset < last_fetchable => Ok(Some(found.into())),
                    _ => behind,
                }
            }
        }
    }

    /// The starts of segments last written before a time, newest first, as version 0 has it.
    fn old_style(
        &self,
        topic: &ByteString,
        asked: &ListOffsetsPartition,
    ) -> ListOffsetsPartitionResponse {
        let (error, offsets) = match self.offsets_before(topic, asked) {
            Ok(offsets) => (ErrorCode::None, offsets),
            Err(error) => (error, Vec::new()),
        };
        ListOffsetsPartitionResponse {
            partition_index: asked.partition_index,
            error_code: error.code(),
            old_style_offsets: offsets,
            ..ListOffsetsPartitionResponse::default()
        }
    }

    fn offsets_before(
        &self,
        topic: &ByteString,
        asked: &ListOffsetsPartition,
    ) -> Result<Vec<i64>, ErrorCode> {
        let partition = self
            .services
            .replicas
            .partition_or_error(topic, asked.partition_index)?;
        let log = partition.local_log(-1, self.replica_id != DEBUGGER)?;
        let max = usize::try_from(asked.max_num_offsets).unwrap_or(0);
        let time = if asked.timestamp == EARLIEST_LOCAL {
            EARLIEST
        } else {
            asked.timestamp
        };
        let mut offsets = log
            .legacy_offsets_before(time, max, now_ms())
            .map_err(|error| self.services.replicas.disk_failed(&partition, &error))?;
        let high_watermark = log.high_watermark();
        if self.replica_id == CONSUMER && offsets.iter().any(|offset| *offset > high_watermark) {
            offsets.retain(|offset| *offset <= high_watermark);
            offsets.insert(0, high_watermark);
        }
        Ok(offsets)
    }
}
