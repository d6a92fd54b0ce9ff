//! Shell: InitProducerId, 0 to 4: an id for an idempotent producer. 3 lets a producer name the id
//! and epoch it had (KIP-360), 4 knows `PRODUCER_FENCED`.
//!
//! With a transactional id this is the transaction coordinator's to answer, which this broker does
//! not have: the answer is an error that clients take for final, so that they fail at once.

use std::sync::Arc;

use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};

use crate::api::context::{RequestContext, Services};

const NONE: i64 = -1;

/// Gives out a producer id with epoch 0.
pub async fn handle(
    services: &Arc<Services>,
    _context: &RequestContext,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let names_id = request.producer_id != NONE;
    let names_epoch = i64::from(request.producer_epoch) != NONE;
    let generated = match request.transactional_id.as_deref() {
        _ if names_id != names_epoch => Err(ErrorCode::InvalidRequest),
        Some("") => Err(ErrorCode::InvalidRequest),
        Some(_) => Err(ErrorCode::UnsupportedVersion),
        // An idempotent producer that names its old id is given a new one all the same.
        None => services.producer_ids.generate().await,
    };
    match generated {
        Ok(producer_id) => InitProducerIdResponse {
            throttle_time_ms: 0,
            error_code: 0,
            producer_id,
            producer_epoch: 0,
        },
        Err(error) => InitProducerIdResponse {
            throttle_time_ms: 0,
            error_code: error.code(),
            producer_id: NONE,
            producer_epoch: -1,
        },
    }
}
