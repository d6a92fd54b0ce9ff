//! Shell: DescribeCluster, 0 and 1: the brokers and who controls them (KIP-700; endpoint types: KIP-919).

use std::sync::Arc;

use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::describe_cluster::{
    DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};

use crate::api::cluster::operations;
use crate::api::context::{RequestContext, Services};

/// The endpoint type of brokers.
const BROKERS: i8 = 1;
/// The endpoint type of KRaft controllers, which this cluster has not.
const CONTROLLERS: i8 = 2;

/// Lists the live brokers on the listener that was asked.
pub async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    if request.endpoint_type != BROKERS {
        return wrong_endpoint(context.header.api_version, request.endpoint_type);
    }
    let snapshot = services.metadata.snapshot();
    let brokers: Vec<DescribeClusterBroker> = snapshot
        .brokers
        .values()
        .filter_map(|broker| {
            let endpoint = broker.endpoint(&context.listener)?;
            Some(DescribeClusterBroker {
                broker_id: broker.id,
                host: endpoint.host.clone(),
                port: endpoint.port,
                rack: broker.rack.clone(),
            })
        })
        .collect();
    let controller = snapshot.controller_id.unwrap_or(-1);
    let is_listed = brokers.iter().any(|broker| broker.broker_id == controller);
    DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: services.cluster_id.clone(),
        controller_id: if is_listed { controller } else { -1 },
        brokers,
        cluster_authorized_operations: if request.include_cluster_authorized_operations {
            operations::CLUSTER
        } else {
            operations::NOT_ASKED
        },
        ..DescribeClusterResponse::default()
    }
}

fn wrong_endpoint(version: i16, endpoint_type: i8) -> DescribeClusterResponse {
    let (error, message) = if endpoint_type == CONTROLLERS {
        let text = "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER";
        (ErrorCode::MismatchedEndpointType, text.to_string())
    } else {
        let text = format!("Unsupported endpoint type {endpoint_type}");
        (ErrorCode::UnsupportedEndpointType, text)
    };
    let error = if version == 0 {
        ErrorCode::InvalidRequest
    } else {
        error
    };
    DescribeClusterResponse {
        error_code: error.code(),
        error_message: Some(ByteString::from(message)),
        ..DescribeClusterResponse::default()
    }
}
