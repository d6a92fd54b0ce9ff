//! Shell: OffsetCommit, 0 to 9.
//!
//! 0 stores in ZooKeeper under `/consumers`, all others with the group coordinator; 1 carries a
//! time for each partition, 2 to 4 a retention instead; 6 leader epochs; 7 static members
//! (KIP-345); 9 is for the new group protocol and means the same here.

use std::sync::Arc;

use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitResponse,
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};

use crate::api::context::{RequestContext, Services};
use crate::api::group::topic_results::TopicResults;
use crate::coordinator::clock;
use crate::coordinator::group::message::CommitRequest;
use crate::coordinator::group::offsets::OffsetAndMetadata;
use crate::coordinator::topic_partition::TopicPartition;

/// The time, or retention, of whoever names none.
const UNSET: i64 = -1;

/// Commits offsets; the answer waits for the replicas.
pub async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let mut topics = TopicResults::default();
    let asked = request.topics.into_iter().map(|t| (t.name, t.partitions));
    let snapshot = services.metadata.snapshot();
    let known = topics.sort_out(&snapshot, asked, |partition| partition.partition_index);
    drop(snapshot);
    if known.is_empty() {
        return response(topics);
    }
    if context.header.api_version == 0 {
        for (at, partition) in known {
            let error = commit_to_zookeeper(services, &request.group_id, &at, &partition).await;
            topics.add(at, error);
        }
        return response(topics);
    }
    let now_ms = clock::wall_ms();
    let retention_ms = request.retention_time_ms;
    let expire_timestamp_ms = (retention_ms != UNSET).then(|| now_ms.saturating_add(retention_ms));
    let commit = CommitRequest {
        member_id: request.member_id,
        group_instance_id: request.group_instance_id,
        generation: request.generation_id_or_member_epoch,
        producer: None,
        offsets: known
            .into_iter()
            .map(|(at, partition)| (at, position(partition, now_ms, expire_timestamp_ms)))
            .collect(),
    };
    for (at, error) in services.groups.commit(&request.group_id, commit).await {
        topics.add(at, error);
    }
    response(topics)
}

fn position(
    partition: OffsetCommitRequestPartition,
    now_ms: i64,
    expire_timestamp_ms: Option<i64>,
) -> OffsetAndMetadata {
    let epoch = partition.committed_leader_epoch;
    OffsetAndMetadata {
        offset: partition.committed_offset,
        leader_epoch: (epoch != -1).then_some(epoch),
        metadata: partition.committed_metadata.unwrap_or_default(),
        commit_timestamp_ms: match partition.commit_timestamp {
            UNSET => now_ms,
            time => time,
        },
        expire_timestamp_ms,
    }
}

async fn commit_to_zookeeper(
    services: &Arc<Services>,
    group_id: &str,
    at: &TopicPartition,
    partition: &OffsetCommitRequestPartition,
) -> ErrorCode {
    let metadata = partition.committed_metadata.as_deref().unwrap_or_default();
    let limit = usize::try_from(services.config.offset_metadata_max_bytes).unwrap_or(0);
    if metadata.encode_utf16().count() > limit {
        return ErrorCode::OffsetMetadataTooLarge;
    }
    let (topic, number, offset) = (&at.topic, at.partition, partition.committed_offset);
    match services
        .zk
        .set_consumer_offset(group_id, topic, number, offset)
        .await
    {
        Ok(()) => ErrorCode::None,
        Err(error) => {
            tracing::warn!(group = group_id, partition = %at, %error, "offset was not stored");
            ErrorCode::UnknownServerError
        }
    }
}

fn response(results: TopicResults) -> OffsetCommitResponse {
    let partition = |partition_index, error_code| OffsetCommitResponsePartition {
        partition_index,
        error_code,
    };
    OffsetCommitResponse {
        throttle_time_ms: 0,
        topics: results.build(partition, |name, partitions| OffsetCommitResponseTopic {
            name,
            partitions,
        }),
    }
}
