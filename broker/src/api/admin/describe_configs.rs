//! Shell: DescribeConfigs, 0 to 4: the settings of topics and of this broker (`ConfigHelper`, KIP-133, KIP-226, KIP-569).

use std::sync::Arc;

use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
    DescribeConfigsResponse, DescribeConfigsResult,
};

use crate::api::admin::config_resource::{ResourceType, broker_id};
use crate::api::context::{RequestContext, Services};
use crate::config::alter::AlterError;
use crate::config::describe::{Wanted, broker_entries, topic_entries};
use crate::metadata::topic_names;

/// Answers for each resource by itself.
pub async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let version = context.header.api_version;
    let mut results = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let wanted = Wanted {
            keys: resource.configuration_keys.as_deref(),
            synonyms: request.include_synonyms,
            documentation: request.include_documentation,
        };
        let described = describe(services, &resource, wanted).await;
        let mut result = match described.map(|configs| in_version(configs, version)) {
            Ok(configs) => DescribeConfigsResult {
                configs,
                ..DescribeConfigsResult::default()
            },
            Err(error) => DescribeConfigsResult {
                error_code: error.code.code(),
                error_message: Some(ByteString::from(error.message)),
                ..DescribeConfigsResult::default()
            },
        };
        if result.error_code == ErrorCode::None.code() {
            result.error_message = None;
        }
        result.resource_type = resource.resource_type;
        result.resource_name = resource.resource_name;
        results.push(result);
    }
    DescribeConfigsResponse {
        results,
        ..DescribeConfigsResponse::default()
    }
}

/// Version 0 has a flag where later ones name the source.
fn in_version(
    mut configs: Vec<DescribeConfigsResourceResult>,
    version: i16,
) -> Vec<DescribeConfigsResourceResult> {
    for config in &mut configs {
        config.is_default &= version == 0;
    }
    configs
}

async fn describe(
    services: &Services,
    resource: &DescribeConfigsResource,
    wanted: Wanted<'_>,
) -> Result<Vec<DescribeConfigsResourceResult>, AlterError> {
    let name = &resource.resource_name;
    let broker = &services.config.raw;
    match ResourceType::from_code(resource.resource_type) {
        Some(ResourceType::Topic) => {
            topic_names::validate(name).map_err(|error| AlterError {
                code: ErrorCode::InvalidTopicException,
                message: error.to_string(),
            })?;
            if !services.metadata.contains(name) {
                return Err(AlterError {
                    code: ErrorCode::UnknownTopicOrPartition,
                    // Kafka leaves this one without a word.
                    message: String::new(),
                });
            }
            let overrides = services.topic_overrides(name).await?;
            Ok(topic_entries(broker, &overrides, wanted))
        }
        // Cluster-wide broker settings are all dynamic, and none can be set yet.
        Some(ResourceType::Broker) if name.is_empty() => Ok(Vec::new()),
        Some(ResourceType::Broker) if broker_id(name)? == services.broker_id => {
            Ok(broker_entries(broker, wanted))
        }
        Some(ResourceType::Broker) => Err(AlterError::request(format!(
            "Unexpected broker id, expected {} or empty string, but received {name}",
            services.broker_id
        ))),
        _ => Err(AlterError::request(format!(
            "Unsupported resource type: {}",
            resource.resource_type
        ))),
    }
}
