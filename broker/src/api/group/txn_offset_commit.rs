//! Shell: TxnOffsetCommit, 0 to 3: offsets as part of a transaction (KIP-98).
//!
//! 2 carries leader epochs; from 3 a consumer that is a member says so, and is fenced like one
//! (KIP-447). Before 2 clients do not know that a coordinator may be loading.

use std::sync::Arc;

use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitResponse,
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};

use crate::api::context::{RequestContext, Services};
use crate::api::group::topic_results::TopicResults;
use crate::coordinator::clock;
use crate::coordinator::group::message::CommitRequest;
use crate::coordinator::group::offsets::OffsetAndMetadata;

/// Stores offsets that count once the transaction is committed.
pub async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: TxnOffsetCommitRequest,
) -> TxnOffsetCommitResponse {
    let mut results = TopicResults::default();
    let asked = request.topics.into_iter().map(|t| (t.name, t.partitions));
    let snapshot = services.metadata.snapshot();
    let known = results.sort_out(&snapshot, asked, |partition| partition.partition_index);
    drop(snapshot);
    if known.is_empty() {
        return response(results);
    }
    let now_ms = clock::wall_ms();
    let offsets = known.into_iter();
    let commit = CommitRequest {
        member_id: request.member_id,
        group_instance_id: request.group_instance_id,
        generation: request.generation_id,
        producer: None,
        offsets: offsets
            .map(|(at, partition)| (at, position(partition, now_ms)))
            .collect(),
    };
    let committed = services.groups.commit_in_transaction(
        &request.group_id,
        &request.transactional_id,
        request.producer_id,
        request.producer_epoch,
        commit,
    );
    for (at, error) in committed.await {
        let error = match error {
            ErrorCode::CoordinatorLoadInProgress if context.header.api_version < 2 => {
                ErrorCode::CoordinatorNotAvailable
            }
            error => error,
        };
        results.add(at, error);
    }
    response(results)
}

fn position(partition: TxnOffsetCommitRequestPartition, now_ms: i64) -> OffsetAndMetadata {
    let epoch = partition.committed_leader_epoch;
    OffsetAndMetadata {
        offset: partition.committed_offset,
        leader_epoch: (epoch != -1).then_some(epoch),
        metadata: partition.committed_metadata.unwrap_or_default(),
        commit_timestamp_ms: now_ms,
        expire_timestamp_ms: None,
    }
}

fn response(results: TopicResults) -> TxnOffsetCommitResponse {
    let partition = |partition_index, error_code| TxnOffsetCommitResponsePartition {
        partition_index,
        error_code,
    };
    TxnOffsetCommitResponse {
        throttle_time_ms: 0,
        topics: results.build(partition, |name, partitions| TxnOffsetCommitResponseTopic {
            name,
            partitions,
        }),
    }
}
