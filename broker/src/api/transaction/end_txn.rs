//! Shell: EndTxn, 0 to 3: a producer commits or aborts. 2 knows `PRODUCER_FENCED`.

use std::sync::Arc;

use kafka_wire::messages::end_txn::{EndTxnRequest, EndTxnResponse};

use crate::api::context::{RequestContext, Services};
use crate::api::transaction::old_clients;
use crate::coordinator::transaction::message::EndRequest;
use crate::coordinator::transaction::transaction::ProducerIdentity;

/// The first version whose clients understand `PRODUCER_FENCED`.
const KNOWS_FENCED: i16 = 2;

/// Answers when the decision is in the log; the markers follow.
pub async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: EndTxnRequest,
) -> EndTxnResponse {
    let end = EndRequest {
        transactional_id: request.transactional_id,
        producer: ProducerIdentity {
            id: request.producer_id,
            epoch: request.producer_epoch,
        },
        commit: request.committed,
    };
    let error = services.transactions.end(end).await;
    let error = old_clients::understood(error, context.header.api_version, KNOWS_FENCED);
    EndTxnResponse {
        throttle_time_ms: 0,
        error_code: error.code(),
    }
}
