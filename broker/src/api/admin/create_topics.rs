//! Shell: CreateTopics, 0 to 7: only the controller creates topics. From 1 a request may only check, from 5 the
//! answer describes the topic, from 7 it has the topic's id (KIP-4, KIP-195, KIP-525, KIP-516).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::create_topics::{
    CreatableTopic, CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest,
    CreateTopicsResponse,
};

use crate::admin::error::ApiError;
use crate::admin::topics::CreatedTopic;
use crate::api::context::{RequestContext, Services};
use crate::config::describe::{Wanted, topic_entries};

/// The topic of KRaft's metadata log, which nobody may create.
const CLUSTER_METADATA_TOPIC: &str = "__cluster_metadata";

/// Creates topics.
pub async fn handle(
    services: &Arc<Services>,
    _context: &RequestContext,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let mut topics: Vec<CreatableTopicResult> = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        topics.push(CreatableTopicResult {
            name: topic.name.clone(),
            ..Default::default()
        });
    }
    if !services.controller.is_active() {
        for topic in &mut topics {
            topic.error_code = ErrorCode::NotController.code();
        }
        return CreateTopicsResponse {
            topics,
            ..CreateTopicsResponse::default()
        };
    }
    let mut to_create: Vec<(usize, CreatableTopic)> = Vec::new();
    let mut counts: HashMap<&ByteString, usize> = HashMap::new();
    for topic in &request.topics {
        *counts.entry(&topic.name).or_default() += 1;
    }
    for (at, (topic, result)) in request.topics.iter().zip(&mut topics).enumerate() {
        if counts.get(&topic.name).is_some_and(|count| *count > 1) {
            let message = "Found multiple entries for this topic.";
            refuse(result, &ApiError::new(ErrorCode::InvalidRequest, message));
        } else if topic.name == CLUSTER_METADATA_TOPIC {
            let message = "Authorization failed.";
            refuse(
                result,
                &ApiError::new(ErrorCode::TopicAuthorizationFailed, message),
            );
            result.topic_config_error_code = ErrorCode::TopicAuthorizationFailed.code();
        } else {
            to_create.push((at, topic.clone()));
        }
    }
    let (places, wanted): (Vec<usize>, Vec<CreatableTopic>) = to_create.into_iter().unzip();
    let created = services
        .topics
        .create(&wanted, request.timeout_ms, request.validate_only)
        .await;
    for (at, created) in places.into_iter().zip(created) {
        let Some(result) = topics.get_mut(at) else {
            continue;
        };
        match created {
            Ok(created) => describe(services, result, created),
            Err(error) => refuse(result, &error),
        }
    }
    CreateTopicsResponse {
        topics,
        ..CreateTopicsResponse::default()
    }
}

fn refuse(result: &mut CreatableTopicResult, error: &ApiError) {
    result.error_code = error.code.code();
    result.error_message = error.text();
    result.num_partitions = -1;
    result.replication_factor = -1;
    result.configs = Some(Vec::new());
}

fn describe(services: &Services, result: &mut CreatableTopicResult, created: CreatedTopic) {
    let replicas = created.assignment.values().next().map_or(0, Vec::len);
    result.error_message = None;
    result.topic_id = created.id;
    result.num_partitions = i32::try_from(created.assignment.len()).unwrap_or(i32::MAX);
    result.replication_factor = i16::try_from(replicas).unwrap_or(i16::MAX);
    let overrides: BTreeMap<String, String> = created.config.into_iter().collect();
    let wanted = Wanted {
        keys: None,
        synonyms: false,
        documentation: false,
    };
    let entries = topic_entries(&services.config.raw, &overrides, wanted);
    let config = entries.into_iter().map(|entry| CreatableTopicConfigs {
        name: entry.name,
        value: entry.value,
        read_only: entry.read_only,
        config_source: entry.config_source,
        is_sensitive: entry.is_sensitive,
    });
    result.configs = Some(config.collect());
}
