//! Shell: OffsetDelete, 0: forgets offsets of topics that the group does not read (KIP-496).

use std::sync::Arc;

use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
};

use crate::api::context::{RequestContext, Services};
use crate::coordinator::group::message::TopicPartition;

/// Deletes offsets.
pub async fn handle(
    services: &Arc<Services>,
    _context: &RequestContext,
    request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    let snapshot = services.metadata.snapshot();
    let mut topics = Topics::default();
    let mut known = Vec::new();
    for topic in request.topics {
        for partition in topic.partitions {
            let partition = TopicPartition {
                topic: topic.name.clone(),
                partition: partition.partition_index,
            };
            match snapshot.partition(&partition.topic, partition.partition) {
                Some(_) => known.push(partition),
                None => topics.add(partition, ErrorCode::UnknownTopicOrPartition),
            }
        }
    }
    match services.groups.delete_offsets(&request.group_id, &known) {
        Err(error) => OffsetDeleteResponse {
            error_code: error.code(),
            ..OffsetDeleteResponse::default()
        },
        Ok(results) => {
            for (partition, error) in known.into_iter().zip(results) {
                topics.add(partition, error);
            }
            OffsetDeleteResponse {
                error_code: 0,
                throttle_time_ms: 0,
                topics: topics.0,
            }
        }
    }
}

/// Results by topic, in the order of the first mention.
#[derive(Default)]
struct Topics(Vec<OffsetDeleteResponseTopic>);

impl Topics {
    fn add(&mut self, partition: TopicPartition, error: ErrorCode) {
        let result = OffsetDeleteResponsePartition {
            partition_index: partition.partition,
            error_code: error.code(),
        };
        self.topic(partition.topic).partitions.push(result);
    }

    fn topic(&mut self, name: ByteString) -> &mut OffsetDeleteResponseTopic {
        let place = match self.0.iter().position(|topic| topic.name == name) {
            Some(place) => place,
            None => {
                self.0.push(OffsetDeleteResponseTopic {
                    name,
                    partitions: Vec::new(),
                });
                self.0.len() - 1
            }
        };
        &mut self.0[place]
    }
}
