//! Shell: UpdateMetadata, 0 to 8: the controller tells this broker what the cluster is like.

use std::sync::Arc;

use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::update_metadata::{UpdateMetadataRequest, UpdateMetadataResponse};

use crate::api::context::{RequestContext, Services};
use crate::coordinator::topic_partition::TopicPartition;

/// Takes over what the controller says.
pub async fn handle(
    services: &Arc<Services>,
    _context: &RequestContext,
    request: UpdateMetadataRequest,
) -> UpdateMetadataResponse {
    if services.is_stale_broker_epoch(request.broker_epoch) {
        return answer(ErrorCode::StaleBrokerEpoch);
    }
    if let Err(code) = services.replicas.heed_controller(request.controller_epoch) {
        return answer(code);
    }
    let removed = services.metadata.update(&request);
    if !removed.is_empty() {
        let partition = |(topic, partition)| TopicPartition { topic, partition };
        let removed: Vec<_> = removed.into_iter().map(partition).collect();
        services.groups.on_partitions_deleted(&removed);
    }
    answer(ErrorCode::None)
}

fn answer(code: ErrorCode) -> UpdateMetadataResponse {
    UpdateMetadataResponse {
        error_code: code.code(),
    }
}
