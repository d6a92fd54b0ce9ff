//! Shell: FindCoordinator, 0 to 4: which broker coordinates a group or a transactional
//! id.
//!
//! 1 knows key types and carries a text; 4 asks for several keys at once (KIP-699). The first
//! question creates the internal topic; until its leader is known the answer is
//! `COORDINATOR_NOT_AVAILABLE`, and clients ask again.

use std::sync::Arc;

use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::find_coordinator::{
    Coordinator, FindCoordinatorRequest, FindCoordinatorResponse,
};

use crate::api::context::{RequestContext, Services};
use crate::metadata::topic_names::{GROUP_METADATA_TOPIC, TRANSACTION_STATE_TOPIC};

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

/// A broker to talk to, or why there is none.
struct Found {
    error: ErrorCode,
    message: Option<ByteString>,
    node_id: i32,
    host: ByteString,
    port: i32,
}

impl Found {
    fn none(error: ErrorCode) -> Found {
        Found {
            error,
            message: None,
            node_id: -1,
            host: ByteString::new(),
            port: -1,
        }
    }
}

/// Finds the coordinators of keys.
pub async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let mut response = FindCoordinatorResponse::default();
    if context.header.api_version < 4 {
        let found = find(services, context, request.key_type, &request.key).await;
        let text = match found.error {
            ErrorCode::None => "NONE",
            error => error.message(),
        };
        response.error_code = found.error.code();
        response.error_message = Some(found.message.unwrap_or_else(|| text.into()));
        response.node_id = found.node_id;
        response.host = found.host;
        response.port = found.port;
        return response;
    }
    for key in request.coordinator_keys {
        let found = find(services, context, request.key_type, &key).await;
        response.coordinators.push(Coordinator {
            key,
            node_id: found.node_id,
            host: found.host,
            port: found.port,
            error_code: found.error.code(),
            error_message: Some(found.message.unwrap_or_default()),
        });
    }
    response
}

async fn find(
    services: &Arc<Services>,
    context: &RequestContext,
    key_type: i8,
    key: &str,
) -> Found {
    let (topic, partition) = match key_type {
        GROUP => (GROUP_METADATA_TOPIC, services.groups.partition_for(key)),
        TRANSACTION => (
            TRANSACTION_STATE_TOPIC,
            services.transactions.partition_for(key),
        ),
        _ => {
            let error = ErrorCode::InvalidRequest;
            return Found {
                message: Some(error.message().into()),
                ..Found::none(error)
            };
        }
    };
    let snapshot = services.metadata.snapshot();
    if !snapshot.topics.contains_key(topic) {
        drop(snapshot);
        services.topics.auto_create(&[topic.into()]).await;
        return Found::none(ErrorCode::CoordinatorNotAvailable);
    }
    let leader = snapshot.partition(topic, partition).map(|p| p.leader);
    let broker = leader.and_then(|id| snapshot.brokers.get(&id));
    match broker.and_then(|b| {
        b.endpoint(&context.listener)
            .map(|endpoint| (b.id, endpoint))
    }) {
        None => Found::none(ErrorCode::CoordinatorNotAvailable),
        Some((node_id, endpoint)) => Found {
            error: ErrorCode::None,
            message: None,
            node_id,
            host: endpoint.host.clone(),
            port: endpoint.port,
        },
    }
}
