//! Shell: DeleteTopics, 0 to 6: only the controller deletes topics; from 6 by name or by id (KIP-516).

use std::sync::Arc;

use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::delete_topics::{
    DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
};
use kafka_wire::wire::Uuid;

use crate::api::context::{RequestContext, Services};

/// Deletes topics.
pub async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let version = context.header.api_version;
    let asked: Vec<DeleteTopicState> = if version >= 6 {
        request.topics
    } else {
        let by_name = |name| DeleteTopicState {
            name: Some(name),
            topic_id: Uuid::ZERO,
        };
        request.topic_names.into_iter().map(by_name).collect()
    };
    if !services.controller.is_active() {
        return all_failed(asked, ErrorCode::NotController);
    }
    if !services.config.delete_topic_enable {
        let code = match version {
            0..=2 => ErrorCode::InvalidRequest,
            _ => ErrorCode::TopicDeletionDisabled,
        };
        return all_failed(asked, code);
    }
    if asked
        .iter()
        .any(|topic| topic.name.is_some() && !topic.topic_id.is_zero())
    {
        return all_failed(asked, ErrorCode::InvalidRequest);
    }
    let mut responses = Vec::with_capacity(asked.len());
    let mut places = Vec::new();
    let mut names: Vec<String> = Vec::new();
    let ids: Vec<Uuid> = asked
        .iter()
        .map(|t| t.topic_id)
        .filter(|id| !id.is_zero())
        .collect();
    let named = services.controller.topic_names(ids).await;
    for topic in asked {
        let by_id = !topic.topic_id.is_zero();
        let name = match topic.name {
            Some(name) => Some(name),
            None => named.get(&topic.topic_id).map(|name| name.as_str().into()),
        };
        let code = match &name {
            None if by_id => ErrorCode::UnknownTopicId,
            // Nobody is allowed to delete a topic without a name.
            None => ErrorCode::TopicAuthorizationFailed,
            Some(name) if !services.metadata.contains(name) => ErrorCode::UnknownTopicOrPartition,
            Some(name) => {
                if !names.iter().any(|known| *known == **name) {
                    names.push(name.to_string());
                    places.push(responses.len());
                }
                ErrorCode::None
            }
        };
        responses.push(result(name, topic.topic_id, code));
    }
    let codes = services.topics.delete(&names, request.timeout_ms).await;
    for (at, code) in places.into_iter().zip(codes) {
        if let Some(response) = responses.get_mut(at) {
            response.error_code = code.code();
        }
    }
    DeleteTopicsResponse {
        throttle_time_ms: 0,
        responses,
    }
}

fn result(
    name: Option<bytestring::ByteString>,
    topic_id: Uuid,
    code: ErrorCode,
) -> DeletableTopicResult {
    DeletableTopicResult {
        name,
        topic_id,
        error_code: code.code(),
        error_message: None,
    }
}

fn all_failed(asked: Vec<DeleteTopicState>, code: ErrorCode) -> DeleteTopicsResponse {
    let failed = |topic: DeleteTopicState| result(topic.name, topic.topic_id, code);
    let responses = asked.into_iter().map(failed).collect();
    DeleteTopicsResponse {
        throttle_time_ms: 0,
        responses,
    }
}
