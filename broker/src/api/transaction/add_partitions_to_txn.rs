//! Shell: AddPartitionsToTxn, 0 to 4: a producer is about to write to partitions within its
//! transaction. 2 knows `PRODUCER_FENCED`; 4 is for brokers, asks about several transactions at
//! once and may only ask whether partitions are in them (KIP-890).
//!
//! One partition that does not exist fails its whole transaction.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::add_partitions_to_txn::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    AddPartitionsToTxnResult, AddPartitionsToTxnTopic, AddPartitionsToTxnTopicResult,
    AddPartitionsToTxnTransaction,
};

use crate::api::context::{RequestContext, Services};
use crate::api::transaction::old_clients;
use crate::coordinator::group::message::TopicPartition;
use crate::coordinator::transaction::message::AddRequest;
use crate::coordinator::transaction::transaction::ProducerIdentity;

/// The first version that brokers use.
const FIRST_OF_BROKERS: i16 = 4;
/// The first version whose clients understand `PRODUCER_FENCED`.
const KNOWS_FENCED: i16 = 2;

/// Adds partitions to transactions, or says whether they are in.
pub async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: AddPartitionsToTxnRequest,
) -> AddPartitionsToTxnResponse {
    let version = context.header.api_version;
    let mut response = AddPartitionsToTxnResponse::default();
    if version < FIRST_OF_BROKERS {
        let transaction = AddPartitionsToTxnTransaction {
            transactional_id: request.v3_and_below_transactional_id,
            producer_id: request.v3_and_below_producer_id,
            producer_epoch: request.v3_and_below_producer_epoch,
            verify_only: false,
            topics: request.v3_and_below_topics,
        };
        response.results_by_topic_v3_and_below = one(services, version, transaction).await;
        return response;
    }
    for transaction in request.transactions {
        let transactional_id = transaction.transactional_id.clone();
        response
            .results_by_transaction
            .push(AddPartitionsToTxnResult {
                transactional_id,
                topic_results: one(services, version, transaction).await,
            });
    }
    response
}

async fn one(
    services: &Arc<Services>,
    version: i16,
    transaction: AddPartitionsToTxnTransaction,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let topics = transaction.topics;
    let mut partitions = BTreeSet::new();
    let mut unknown = BTreeSet::new();
    let snapshot = services.metadata.snapshot();
    for topic in &topics {
        for partition in &topic.partitions {
            let is_known = snapshot.partition(&topic.name, *partition).is_some();
            let partition = TopicPartition {
                topic: topic.name.clone(),
                partition: *partition,
            };
            match is_known {
                true => partitions.insert(partition),
                false => unknown.insert(partition),
            };
        }
    }
    drop(snapshot);
    if !unknown.is_empty() {
        return results(&topics, |partition| match unknown.contains(partition) {
            true => ErrorCode::UnknownTopicOrPartition,
            false => ErrorCode::OperationNotAttempted,
        });
    }
    let request = AddRequest {
        transactional_id: transaction.transactional_id,
        producer: ProducerIdentity {
            id: transaction.producer_id,
            epoch: transaction.producer_epoch,
        },
        partitions,
    };
    if transaction.verify_only {
        let verdicts = services.transactions.verify_partitions(&request);
        return match verdicts {
            Err(error) => results(&topics, |_| error),
            Ok(verdicts) => results(&topics, |partition| {
                let verdict = verdicts.iter().find(|(known, _)| known == partition);
                verdict.map_or(ErrorCode::InvalidTxnState, |(_, error)| *error)
            }),
        };
    }
    let error = services.transactions.add_partitions(request).await;
    let error = old_clients::understood(error, version, KNOWS_FENCED);
    results(&topics, |_| error)
}

/// An outcome for each partition, in the order of the request.
fn results(
    topics: &[AddPartitionsToTxnTopic],
    outcome: impl Fn(&TopicPartition) -> ErrorCode,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let partition_result = |topic: &AddPartitionsToTxnTopic, partition: i32| {
        let at = TopicPartition {
            topic: topic.name.clone(),
            partition,
        };
        AddPartitionsToTxnPartitionResult {
            partition_index: partition,
            partition_error_code: outcome(&at).code(),
        }
    };
    let topic_result = |topic: &AddPartitionsToTxnTopic| {
        let partitions = topic.partitions.iter();
        AddPartitionsToTxnTopicResult {
            name: topic.name.clone(),
            results_by_partition: partitions.map(|p| partition_result(topic, *p)).collect(),
        }
    };
    topics.iter().map(topic_result).collect()
}
