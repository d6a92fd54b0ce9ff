//! Shell: OffsetDelete, 0: forgets offsets of topics that the group does not read (KIP-496).

use std::sync::Arc;

use kafka_wire::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
};

use crate::api::context::{RequestContext, Services};
use crate::api::group::topic_results::TopicResults;
use crate::coordinator::topic_partition::TopicPartition;

/// Deletes offsets.
pub async fn handle(
    services: &Arc<Services>,
    _context: &RequestContext,
    request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    let mut topics = TopicResults::default();
    let asked = request.topics.into_iter().map(|t| (t.name, t.partitions));
    let snapshot = services.metadata.snapshot();
    let known = topics.sort_out(&snapshot, asked, |partition| partition.partition_index);
    drop(snapshot);
    let known: Vec<TopicPartition> = known.into_iter().map(|(at, _)| at).collect();
    match services.groups.delete_offsets(&request.group_id, &known) {
        Err(error) => OffsetDeleteResponse {
            error_code: error.code(),
            ..OffsetDeleteResponse::default()
        },
        Ok(results) => {
            for (partition, error) in known.into_iter().zip(results) {
                topics.add(partition, error);
            }
            response(topics)
        }
    }
}

fn response(results: TopicResults) -> OffsetDeleteResponse {
    let partition = |partition_index, error_code| OffsetDeleteResponsePartition {
        partition_index,
        error_code,
    };
    OffsetDeleteResponse {
        error_code: 0,
        throttle_time_ms: 0,
        topics: results.build(partition, |name, partitions| OffsetDeleteResponseTopic {
            name,
            partitions,
        }),
    }
}
