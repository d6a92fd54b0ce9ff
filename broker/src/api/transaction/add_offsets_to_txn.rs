//! Shell: AddOffsetsToTxn, 0 to 3: a producer is about to commit a group's offsets within its
//! transaction, which thereby includes the group's partition of `__consumer_offsets`. 2 knows
//! `PRODUCER_FENCED`.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_wire::messages::add_offsets_to_txn::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};

use crate::api::context::{RequestContext, Services};
use crate::api::transaction::old_clients;
use crate::coordinator::topic_partition::TopicPartition;
use crate::coordinator::transaction::message::AddRequest;
use crate::coordinator::transaction::transaction::ProducerIdentity;
use crate::metadata::topic_names::GROUP_METADATA_TOPIC;

/// The first version whose clients understand `PRODUCER_FENCED`.
const KNOWS_FENCED: i16 = 2;

/// Adds the group's partition to the transaction.
pub async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: AddOffsetsToTxnRequest,
) -> AddOffsetsToTxnResponse {
    let offsets = TopicPartition {
        topic: GROUP_METADATA_TOPIC.into(),
        partition: services.groups.partition_for(&request.group_id),
    };
    let add = AddRequest {
        transactional_id: request.transactional_id,
        producer: ProducerIdentity {
            id: request.producer_id,
            epoch: request.producer_epoch,
        },
        partitions: BTreeSet::from([offsets]),
    };
    let error = services.transactions.add_partitions(add).await;
    let error = old_clients::understood(error, context.header.api_version, KNOWS_FENCED);
    AddOffsetsToTxnResponse {
        throttle_time_ms: 0,
        error_code: error.code(),
    }
}
