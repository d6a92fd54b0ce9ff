//! Shell: AlterPartition, 0 to 3: a leader asks the controller to change its ISR (KIP-497, KIP-704, KIP-841,
//! KIP-903).

use std::sync::Arc;

use kafka_wire::messages::alter_partition::{AlterPartitionRequest, AlterPartitionResponse};

use crate::api::context::{RequestContext, Services};

/// Hands the request to the controller.
pub async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: AlterPartitionRequest,
) -> AlterPartitionResponse {
    services
        .controller
        .alter_partition(request, context.header.api_version)
        .await
}
