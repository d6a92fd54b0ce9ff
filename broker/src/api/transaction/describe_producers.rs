//! Shell: DescribeProducers, 0: the producers that partitions here remember, and their open transactions (KIP-664).

use std::sync::Arc;

use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::describe_producers::{
    DescribeProducersRequest, DescribeProducersResponse, PartitionResponse, ProducerState,
    TopicResponse,
};

use crate::api::context::{RequestContext, Services};
use crate::log::producer_state::ProducerEntry;
use crate::metadata::topic_names;

/// Tells of each partition's producers, in the order of their ids.
pub async fn handle(
    services: &Arc<Services>,
    _context: &RequestContext,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let refused = refusal(services, &topic.name);
        let partitions = topic.partition_indexes.iter().map(|index| match &refused {
            Some((error, message)) => PartitionResponse {
                error_message: Some(ByteString::from(message.as_str())),
                ..failed(*index, *error)
            },
            None => describe(services, &topic.name, *index),
        });
        TopicResponse {
            partitions: partitions.collect(),
            name: topic.name.clone(),
        }
    });
    DescribeProducersResponse {
        throttle_time_ms: 0,
        topics: topics.collect(),
    }
}

/// Why nothing can be told of a topic.
fn refusal(services: &Services, topic: &str) -> Option<(ErrorCode, String)> {
    if let Err(invalid) = topic_names::validate(topic) {
        return Some((ErrorCode::InvalidTopicException, invalid.to_string()));
    }
    if services.metadata.contains(topic) {
        return None;
    }
    let error = ErrorCode::UnknownTopicOrPartition;
    Some((error, error.message().to_owned()))
}

fn failed(partition_index: i32, error: ErrorCode) -> PartitionResponse {
    PartitionResponse {
        partition_index,
        error_code: error.code(),
        ..PartitionResponse::default()
    }
}

fn describe(services: &Services, topic: &ByteString, index: i32) -> PartitionResponse {
    let log = match services.replicas.partition_or_error(topic, index) {
        Ok(partition) => partition.log().ok_or(ErrorCode::NotLeaderOrFollower),
        Err(error) => Err(error),
    };
    match log {
        Ok(log) => PartitionResponse {
            partition_index: index,
            active_producers: log
                .producers()
                .iter()
                .map(|(producer_id, entry)| state(*producer_id, entry))
                .collect(),
            ..PartitionResponse::default()
        },
        Err(error) => failed(index, error),
    }
}

fn state(producer_id: i64, entry: &ProducerEntry) -> ProducerState {
    ProducerState {
        producer_id,
        producer_epoch: i32::from(entry.epoch),
        last_sequence: entry.last_sequence(),
        last_timestamp: entry.last_timestamp,
        coordinator_epoch: entry.coordinator_epoch,
        current_txn_start_offset: entry.txn_first_offset.unwrap_or(-1),
    }
}
