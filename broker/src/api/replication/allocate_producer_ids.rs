//! Shell: AllocateProducerIds, 0: a broker asks the controller for a block of producer ids (KIP-730).

use std::sync::Arc;

use kafka_wire::messages::allocate_producer_ids::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse,
};

use crate::api::context::{RequestContext, Services};

/// Hands out the next block.
pub async fn handle(
    services: &Arc<Services>,
    _context: &RequestContext,
    request: AllocateProducerIdsRequest,
) -> AllocateProducerIdsResponse {
    let (broker, epoch) = (request.broker_id, request.broker_epoch);
    match services
        .controller
        .allocate_producer_ids(broker, epoch)
        .await
    {
        Ok(block) => AllocateProducerIdsResponse {
            producer_id_start: block.first,
            producer_id_len: block.size,
            ..AllocateProducerIdsResponse::default()
        },
        Err(code) => AllocateProducerIdsResponse {
            error_code: code.code(),
            ..AllocateProducerIdsResponse::default()
        },
    }
}
