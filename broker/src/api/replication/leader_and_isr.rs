//! Shell: LeaderAndIsr, 0 to 7: the controller tells this broker which partitions it leads and follows.
//!
//! Up to version 1 partitions come ungrouped, from 2 by topic; from 5 topics have ids and the answer names them by
//! id only.

use std::sync::Arc;

use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::leader_and_isr::{
    LeaderAndIsrPartitionError, LeaderAndIsrPartitionState, LeaderAndIsrRequest,
    LeaderAndIsrResponse, LeaderAndIsrTopicError,
};
use kafka_wire::wire::Uuid;

use crate::api::context::{RequestContext, Services};
use crate::api::replication::roles;
use crate::replica::leadership::{Applied, Order};
use crate::replica::partition::Decision;

/// Applies the controller's decisions.
pub async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: LeaderAndIsrRequest,
) -> LeaderAndIsrResponse {
    if services.is_stale_broker_epoch(request.broker_epoch) {
        return failed(ErrorCode::StaleBrokerEpoch);
    }
    let controller_epoch = request.controller_epoch;
    let orders = orders(request);
    let ids: Vec<(ByteString, Uuid)> = orders
        .iter()
        .map(|order| (order.topic.clone(), order.topic_id))
        .collect();
    learn_configs(services, &orders).await;
    let applied = tokio::task::block_in_place(|| {
        services
            .replicas
            .become_leader_or_follower(controller_epoch, orders)
    });
    match applied {
        Ok(applied) => {
            roles::announce(services, &applied).await;
            response(context.header.api_version, applied, &ids)
        }
        Err(error) => failed(error),
    }
}

/// Reads the configuration of topics that are new to this broker, before their logs are made.
async fn learn_configs(services: &Arc<Services>, orders: &[Order]) {
    let has_log = |order: &Order| services.logs.get(&order.topic, order.partition).is_some();
    let mut fresh: Vec<String> = Vec::new();
    for order in orders.iter().filter(|order| !has_log(order)) {
        if fresh.last().is_none_or(|last| **last != *order.topic) {
            fresh.push(order.topic.to_string());
        }
    }
    if fresh.is_empty() {
        return;
    }
    match services.zk.entity_configs("topics", &fresh).await {
        Ok(overrides) => {
            for (topic, overrides) in fresh.iter().zip(overrides) {
                services.topic_configs.set(topic, overrides);
            }
        }
        Err(error) => {
            tracing::error!(
                "cannot read the configuration of {}: {error}",
                fresh.join(", ")
            );
        }
    }
}

fn failed(error: ErrorCode) -> LeaderAndIsrResponse {
    LeaderAndIsrResponse {
        error_code: error.code(),
        ..LeaderAndIsrResponse::default()
    }
}

fn orders(request: LeaderAndIsrRequest) -> Vec<Order> {
    let mut orders = Vec::new();
    for state in request.ungrouped_partition_states {
        let topic = state.topic_name.clone();
        orders.push(order(topic, Uuid::ZERO, state));
    }
    for topic in request.topic_states {
        for state in topic.partition_states {
            orders.push(order(topic.topic_name.clone(), topic.topic_id, state));
        }
    }
    orders
}

fn order(topic: ByteString, topic_id: Uuid, state: LeaderAndIsrPartitionState) -> Order {
    Order {
        topic,
        topic_id,
        partition: state.partition_index,
        is_new: state.is_new,
        decision: Decision {
            controller_epoch: state.controller_epoch,
            leader: state.leader,
            leader_epoch: state.leader_epoch,
            isr: state.isr,
            partition_epoch: state.partition_epoch,
            replicas: state.replicas,
            adding: state.adding_replicas,
            removing: state.removing_replicas,
        },
    }
}

fn response(version: i16, applied: Applied, ids: &[(ByteString, Uuid)]) -> LeaderAndIsrResponse {
    let mut response = LeaderAndIsrResponse::default();
    for ((topic, partition, error), (_, id)) in applied.results.into_iter().zip(ids) {
        let entry = |topic_name| LeaderAndIsrPartitionError {
            topic_name,
            partition_index: partition,
            error_code: error.code(),
        };
        if version < 5 {
            response.partition_errors.push(entry(topic));
            continue;
        }
        let entry = entry(ByteString::new());
        match response
            .topics
            .iter_mut()
            .find(|topic| topic.topic_id == *id)
        {
            Some(topic) => topic.partition_errors.push(entry),
            None => response.topics.push(LeaderAndIsrTopicError {
                topic_id: *id,
                partition_errors: vec![entry],
            }),
        }
    }
    response
}
