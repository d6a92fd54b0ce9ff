//! Shell: ListPartitionReassignments, 0: the controller tells which partitions are being moved (KIP-455).

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_wire::messages::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
    OngoingPartitionReassignment, OngoingTopicReassignment,
};

use crate::api::context::{RequestContext, Services};
use crate::zk::znodes::TopicPartition;

/// Lists reassignments in progress.
pub async fn handle(
    services: &Arc<Services>,
    _context: &RequestContext,
    request: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    let wanted = request.topics.map(|topics| {
        let mut partitions = Vec::new();
        for topic in topics {
            let of_topic = topic.partition_indexes.iter();
            partitions.extend(of_topic.map(|index| TopicPartition::new(&topic.name, *index)));
        }
        partitions
    });
    let found = match services.controller.list_reassignments(wanted).await {
        Ok(found) => found,
        Err(code) => {
            return ListPartitionReassignmentsResponse {
                error_code: code.code(),
                error_message: Some(bytestring::ByteString::from_static(code.message())),
                ..ListPartitionReassignmentsResponse::default()
            };
        }
    };
    let mut topics: BTreeMap<String, Vec<OngoingPartitionReassignment>> = BTreeMap::new();
    for (partition, assignment) in found {
        topics
            .entry(partition.topic)
            .or_default()
            .push(OngoingPartitionReassignment {
                partition_index: partition.partition,
                replicas: assignment.replicas,
                adding_replicas: assignment.adding,
                removing_replicas: assignment.removing,
            });
    }
    let topic = |(name, partitions): (String, _)| OngoingTopicReassignment {
        name: name.into(),
        partitions,
    };
    ListPartitionReassignmentsResponse {
        topics: topics.into_iter().map(topic).collect(),
        ..ListPartitionReassignmentsResponse::default()
    }
}
