//! Shell: DescribeTransactions, 0: what the coordinator knows of transactional ids (KIP-664).

use std::sync::Arc;

use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::describe_transactions::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, TopicData, TransactionState,
};

use crate::api::context::{RequestContext, Services};

/// Describes each of the ids.
pub async fn handle(
    services: &Arc<Services>,
    _context: &RequestContext,
    request: DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let ids = request.transactional_ids.into_iter();
    DescribeTransactionsResponse {
        throttle_time_ms: 0,
        transaction_states: ids.map(|id| describe(services, id)).collect(),
    }
}

fn describe(services: &Services, transactional_id: ByteString) -> TransactionState {
    let described = match services.transactions.describe(&transactional_id) {
        Ok(described) => described,
        Err(error) => {
            return TransactionState {
                error_code: error.code(),
                transactional_id,
                ..TransactionState::default()
            };
        }
    };
    let mut topics: Vec<TopicData> = Vec::new();
    for at in described.partitions {
        match topics.last_mut().filter(|topic| topic.topic == at.topic) {
            Some(topic) => topic.partitions.push(at.partition),
            None => topics.push(TopicData {
                topic: at.topic,
                partitions: vec![at.partition],
            }),
        }
    }
    TransactionState {
        error_code: ErrorCode::None.code(),
        transactional_id,
        transaction_state: ByteString::from_static(described.state),
        transaction_timeout_ms: described.timeout_ms,
        transaction_start_time_ms: described.start_ms,
        producer_id: described.producer.id,
        producer_epoch: described.producer.epoch,
        topics,
    }
}
