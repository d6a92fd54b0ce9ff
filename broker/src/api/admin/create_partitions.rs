//! Shell: CreatePartitions, 0 to 3: only the controller adds partitions to topics (KIP-195).

use std::collections::HashMap;
use std::sync::Arc;

use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic,
    CreatePartitionsTopicResult,
};

use crate::admin::error::ApiError;
use crate::api::context::{RequestContext, Services};

/// Adds partitions.
pub async fn handle(
    services: &Arc<Services>,
    _context: &RequestContext,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let mut results = Vec::with_capacity(request.topics.len());
    if !services.controller.is_active() {
        let code = ErrorCode::NotController;
        let refused = |topic: CreatePartitionsTopic| result(topic.name, &ApiError::plain(code));
        let results = request.topics.into_iter().map(refused).collect();
        return CreatePartitionsResponse {
            throttle_time_ms: 0,
            results,
        };
    }
    let mut counts: HashMap<ByteString, usize> = HashMap::new();
    for topic in &request.topics {
        *counts.entry(topic.name.clone()).or_default() += 1;
    }
    let deleted = services.controller.queued_for_deletion().await;
    let mut valid = Vec::new();
    for topic in request.topics {
        match counts.get(&topic.name) {
            // Each name is answered once.
            None => {}
            Some(1) if deleted.contains(&*topic.name) => {
                let message = "The topic is queued for deletion.";
                let error = ApiError::new(ErrorCode::InvalidTopicException, message);
                results.push(result(topic.name, &error));
            }
            Some(1) => valid.push(topic),
            Some(_) => {
                counts.remove(&topic.name);
                let message = "Duplicate topic in request.";
                let error = ApiError::new(ErrorCode::InvalidRequest, message);
                results.push(result(topic.name, &error));
            }
        }
    }
    let (timeout_ms, validate_only) = (request.timeout_ms, request.validate_only);
    let grown = services
        .topics
        .create_partitions(&valid, timeout_ms, validate_only)
        .await;
    for (topic, grown) in valid.into_iter().zip(grown) {
        let error = grown
            .err()
            .unwrap_or_else(|| ApiError::plain(ErrorCode::None));
        results.push(result(topic.name, &error));
    }
    CreatePartitionsResponse {
        throttle_time_ms: 0,
        results,
    }
}

fn result(name: ByteString, error: &ApiError) -> CreatePartitionsTopicResult {
    let (error_code, error_message) = (error.code.code(), error.text());
    CreatePartitionsTopicResult {
        name,
        error_code,
        error_message,
    }
}
