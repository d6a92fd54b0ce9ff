//! Shell: OffsetForLeaderEpoch, 0 to 4: where a leader epoch ended, so that a replica or consumer finds out whether
//! its log still agrees (KIP-101, KIP-320).

use std::sync::Arc;

use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    OffsetForLeaderPartition, OffsetForLeaderTopicResult,
};

use crate::api::context::{RequestContext, Services};

/// Looks up each partition's epoch.
pub async fn handle(
    services: &Arc<Services>,
    _context: &RequestContext,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let (error, end) = match end_of_epoch(services, &topic.topic, asked) {
                Ok(end) => (ErrorCode::None, end),
                Err(error) => (error, None),
            };
            let (leader_epoch, end_offset) = end.unwrap_or((-1, -1));
            EpochEndOffset {
                error_code: error.code(),
                partition: asked.partition,
                leader_epoch,
                end_offset,
            }
        });
        let partitions = partitions.collect();
        OffsetForLeaderTopicResult {
            topic: topic.topic,
            partitions,
        }
    });
    OffsetForLeaderEpochResponse {
        throttle_time_ms: 0,
        topics: topics.collect(),
    }
}

fn end_of_epoch(
    services: &Services,
    topic: &ByteString,
    asked: &OffsetForLeaderPartition,
) -> Result<Option<(i32, i64)>, ErrorCode> {
    let partition = services
        .replicas
        .partition_or_error(topic, asked.partition)?;
    let log = partition.local_log(asked.current_leader_epoch, true)?;
    let end = log.end_offset_for_epoch(asked.leader_epoch);
    Ok(end.map(|end| (end.epoch, end.end_offset)))
}
