//! Shell: IncrementalAlterConfigs, 0 to 1: changes some settings of a topic (KIP-339).

use std::sync::Arc;

use bytestring::ByteString;
use kafka_wire::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterConfigsResourceResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};

use crate::api::admin::config_resource::{repeated, repeated_error};
use crate::api::context::{RequestContext, Services};
use crate::config::alter::{AlterError, Operation, apply, check_shape};

/// Answers for each resource by itself.
pub async fn handle(
    services: &Arc<Services>,
    _context: &RequestContext,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let names = request
        .resources
        .iter()
        .map(|r| (r.resource_type, &r.resource_name));
    let repeated = repeated(names);
    let mut response = IncrementalAlterConfigsResponse::default();
    for (resource, repeated) in request.resources.iter().zip(repeated) {
        let result = match repeated {
            true => Err(repeated_error()),
            false => alter(services, resource, request.validate_only).await,
        };
        let error = result.err();
        response.responses.push(AlterConfigsResourceResponse {
            error_code: error.as_ref().map_or(0, |error| error.code.code()),
            error_message: error.map(|error| ByteString::from(error.message)),
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
        });
    }
    response
}

async fn alter(
    services: &Services,
    resource: &AlterConfigsResource,
    validate_only: bool,
) -> Result<(), AlterError> {
    let is_delete = |code: i8| Operation::from_code(code) == Some(Operation::Delete);
    check_shape(
        resource
            .configs
            .iter()
            .map(|c| (&c.name, c.value.as_ref(), is_delete(c.config_operation))),
    )?;
    services.check_alterable(resource.resource_type, &resource.resource_name)?;
    let mut overrides = services.topic_overrides(&resource.resource_name).await?;
    for config in &resource.configs {
        let operation = Operation::from_code(config.config_operation).ok_or_else(|| {
            AlterError::request(format!(
                "Unknown operations type {}",
                config.config_operation
            ))
        })?;
        apply(
            &mut overrides,
            operation,
            &config.name,
            config.value.as_deref().unwrap_or_default(),
        )?;
    }
    services
        .change_topic(&resource.resource_name, overrides, validate_only)
        .await
}
