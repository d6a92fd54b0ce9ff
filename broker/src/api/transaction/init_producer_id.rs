//! Shell: InitProducerId, 0 to 4: an id and an epoch for a producer, idempotent or transactional.
//! 3 lets a producer name the id and epoch it had (KIP-360), 4 knows `PRODUCER_FENCED`.

use std::sync::Arc;

use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};

use crate::api::context::{RequestContext, Services};
use crate::api::transaction::old_clients;
use crate::coordinator::transaction::transaction::{NO_EPOCH, NO_PRODUCER_ID, ProducerIdentity};

/// The first version whose clients understand `PRODUCER_FENCED`.
const KNOWS_FENCED: i16 = 4;

/// Gives out a producer id and an epoch.
pub async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let producer = match expected(&request) {
        Ok(expected) => {
            let timeout_ms = request.transaction_timeout_ms;
            let id = request.transactional_id;
            services
                .transactions
                .init_producer_id(id, timeout_ms, expected)
                .await
        }
        Err(error) => Err(error),
    };
    let (error, producer) = match producer {
        Ok(producer) => (ErrorCode::None, producer),
        Err(error) => {
            let none = ProducerIdentity {
                id: NO_PRODUCER_ID,
                epoch: NO_EPOCH,
            };
            (error, none)
        }
    };
    let error = old_clients::understood(error, context.header.api_version, KNOWS_FENCED);
    InitProducerIdResponse {
        throttle_time_ms: 0,
        error_code: error.code(),
        producer_id: producer.id,
        producer_epoch: producer.epoch,
    }
}

/// What the producer had: both or nothing.
fn expected(request: &InitProducerIdRequest) -> Result<Option<ProducerIdentity>, ErrorCode> {
    match (request.producer_id, request.producer_epoch) {
        (NO_PRODUCER_ID, NO_EPOCH) => Ok(None),
        (NO_PRODUCER_ID, _) | (_, NO_EPOCH) => Err(ErrorCode::InvalidRequest),
        (id, epoch) => Ok(Some(ProducerIdentity { id, epoch })),
    }
}
