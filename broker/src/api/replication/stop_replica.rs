//! Shell: StopReplica, 0 to 4: the controller takes replicas away from this broker.
//!
//! Version 0 lists partitions, 1 and 2 topics with partition numbers, both with one delete flag for all; from 3 each
//! partition has its own flag and a leader epoch to fence it.

use std::sync::Arc;

use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::stop_replica::{
    StopReplicaPartitionError, StopReplicaRequest, StopReplicaResponse,
};

use crate::api::context::{RequestContext, Services};
use crate::api::replication::roles;
use crate::replica::leadership::{NO_EPOCH, Stop};

/// Stops the replicas named.
pub async fn handle(
    services: &Arc<Services>,
    _context: &RequestContext,
    request: StopReplicaRequest,
) -> StopReplicaResponse {
    if services.is_stale_broker_epoch(request.broker_epoch) {
        return failed(ErrorCode::StaleBrokerEpoch);
    }
    let controller_epoch = request.controller_epoch;
    let stops = stops(request);
    let applied =
        tokio::task::block_in_place(|| services.replicas.stop_replicas(controller_epoch, stops));
    let applied = match applied {
        Ok(applied) => applied,
        Err(error) => return failed(error),
    };
    roles::announce(services, &applied).await;
    let partition_errors = applied
        .results
        .into_iter()
        .map(|(topic, partition, error)| StopReplicaPartitionError {
            topic_name: topic,
            partition_index: partition,
            error_code: error.code(),
        });
    StopReplicaResponse {
        error_code: ErrorCode::None.code(),
        partition_errors: partition_errors.collect(),
    }
}

fn failed(error: ErrorCode) -> StopReplicaResponse {
    StopReplicaResponse {
        error_code: error.code(),
        ..StopReplicaResponse::default()
    }
}

fn stops(request: StopReplicaRequest) -> Vec<Stop> {
    let delete_all = request.delete_partitions;
    let mut stops = Vec::new();
    for old in request.ungrouped_partitions {
        stops.push(Stop {
            topic: old.topic_name,
            partition: old.partition_index,
            leader_epoch: NO_EPOCH,
            delete: delete_all,
        });
    }
    for topic in request.topics {
        stops.extend(topic.partition_indexes.into_iter().map(|partition| Stop {
            topic: topic.name.clone(),
            partition,
            leader_epoch: NO_EPOCH,
            delete: delete_all,
        }));
    }
    for topic in request.topic_states {
        stops.extend(topic.partition_states.into_iter().map(|state| Stop {
            topic: topic.topic_name.clone(),
            partition: state.partition_index,
            leader_epoch: state.leader_epoch,
            delete: state.delete_partition,
        }));
    }
    stops
}
