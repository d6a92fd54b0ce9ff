//! Shell: AlterConfigs, 0 to 2: replaces all settings of a topic (KIP-133; deprecated by IncrementalAlterConfigs).

use std::sync::Arc;

use bytestring::ByteString;
use kafka_wire::messages::alter_configs::{
    AlterConfigsRequest, AlterConfigsResource, AlterConfigsResourceResponse, AlterConfigsResponse,
};

use crate::api::admin::config_resource::{repeated, repeated_error};
use crate::api::context::{RequestContext, Services};
use crate::config::alter::{AlterError, check_shape};

/// Answers for each resource by itself.
pub async fn handle(
    services: &Arc<Services>,
    _context: &RequestContext,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let names = request
        .resources
        .iter()
        .map(|r| (r.resource_type, &r.resource_name));
    let repeated = repeated(names);
    let mut response = AlterConfigsResponse::default();
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
    check_shape(
        resource
            .configs
            .iter()
            .map(|c| (&c.name, c.value.as_ref(), false)),
    )?;
    services.check_alterable(resource.resource_type, &resource.resource_name)?;
    let value = |value: &Option<ByteString>| value.as_deref().unwrap_or_default().to_string();
    let overrides = resource
        .configs
        .iter()
        .map(|c| (c.name.to_string(), value(&c.value)))
        .collect();
    services
        .change_topic(&resource.resource_name, overrides, validate_only)
        .await
}
