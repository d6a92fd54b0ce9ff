//! Shell: AddPartitionsToTxn, 0 to 4: a producer is about to write to partitions within its
//! transaction. 2 knows `PRODUCER_FENCED`; 4 is for brokers, asks about several transactions at
//! once and may only ask whether partitions are in them (KIP-890).
//!
//! One partition that does not exist, or that clients may not name, fails its whole transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::add_partitions_to_txn::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    AddPartitionsToTxnResult, AddPartitionsToTxnTopic, AddPartitionsToTxnTopicResult,
    AddPartitionsToTxnTransaction,
};

use crate::api::context::{RequestContext, Services};
use crate::api::transaction::old_clients;
use crate::coordinator::topic_partition::TopicPartition;
use crate::coordinator::transaction::message::AddRequest;
use crate::coordinator::transaction::transaction::ProducerIdentity;
use crate::metadata::topic_names;

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
    let mut refused = BTreeMap::new();
    let snapshot = services.metadata.snapshot();
    for topic in &topics {
        for partition in &topic.partitions {
            let at = TopicPartition {
                topic: topic.name.clone(),
                partition: *partition,
            };
            if version < FIRST_OF_BROKERS && topic_names::is_internal(&topic.name) {
                // Offsets are written through the group coordinator, after AddOffsetsToTxn.
                refused.insert(at, ErrorCode::TopicAuthorizationFailed);
            } else if snapshot.partition(&topic.name, *partition).is_none() {
                refused.insert(at, ErrorCode::UnknownTopicOrPartition);
            } else {
                partitions.insert(at);
            }
        }
    }
    drop(snapshot);
    if !refused.is_empty() {
        let others = partitions.into_iter();
        refused.extend(others.map(|at| (at, ErrorCode::OperationNotAttempted)));
        return each(refused);
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
        return match services.transactions.verify_partitions(&request) {
            Ok(verdicts) => each(verdicts),
            Err(error) => {
                let partitions = request.partitions.into_iter();
                each(partitions.map(|at| (at, error)))
            }
        };
    }
    let error = services.transactions.add_partitions(request).await;
    all(
        &topics,
        old_clients::understood(error, version, KNOWS_FENCED),
    )
}

/// An outcome of its own for each partition.
fn each(
    outcomes: impl IntoIterator<Item = (TopicPartition, ErrorCode)>,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let mut topics: Vec<AddPartitionsToTxnTopicResult> = Vec::new();
    for (at, error) in outcomes {
        let result = partition_result(at.partition, error);
        match topics.last_mut().filter(|topic| topic.name == at.topic) {
            Some(topic) => topic.results_by_partition.push(result),
            None => topics.push(AddPartitionsToTxnTopicResult {
                name: at.topic,
                results_by_partition: vec![result],
            }),
        }
    }
    topics
}

/// The same outcome for all partitions, as the request names them.
fn all(topics: &[AddPartitionsToTxnTopic], error: ErrorCode) -> Vec<AddPartitionsToTxnTopicResult> {
    let topic_result = |topic: &AddPartitionsToTxnTopic| {
        let partitions = topic.partitions.iter();
        AddPartitionsToTxnTopicResult {
            name: topic.name.clone(),
            results_by_partition: partitions.map(|p| partition_result(*p, error)).collect(),
        }
    };
    topics.iter().map(topic_result).collect()
}

fn partition_result(partition_index: i32, error: ErrorCode) -> AddPartitionsToTxnPartitionResult {
    AddPartitionsToTxnPartitionResult {
        partition_index,
        partition_error_code: error.code(),
    }
}
