//! Shell: ListTransactions, 0: the transactional ids that this broker coordinates (KIP-664).

use std::sync::Arc;

use bytestring::ByteString;
use kafka_wire::messages::list_transactions::{
    ListTransactionsRequest, ListTransactionsResponse, TransactionState,
};

use crate::api::context::{RequestContext, Services};

/// Lists those that the filters let through.
pub async fn handle(
    services: &Arc<Services>,
    _context: &RequestContext,
    request: ListTransactionsRequest,
) -> ListTransactionsResponse {
    let list = services
        .transactions
        .list(&request.producer_id_filters, &request.state_filters);
    let states = list
        .transactions
        .into_iter()
        .map(|listed| TransactionState {
            transactional_id: listed.transactional_id,
            producer_id: listed.producer_id,
            transaction_state: ByteString::from_static(listed.state),
        });
    ListTransactionsResponse {
        throttle_time_ms: 0,
        error_code: list.error.code(),
        unknown_state_filters: list.unknown_states,
        transaction_states: states.collect(),
    }
}
