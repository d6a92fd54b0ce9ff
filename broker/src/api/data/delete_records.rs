//! Shell: DeleteRecords, 0 to 2: drops everything before an offset, and waits until all live replicas have done so
//! (KIP-107).

use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::delete_records::{
    DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse,
    DeleteRecordsTopicResult,
};

use crate::api::context::{RequestContext, Services};
use crate::replica::delete::Deletion;

/// Deletes on this broker's logs, then waits for the followers.
pub async fn handle(
    services: &Arc<Services>,
    _context: &RequestContext,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let snapshot = services.metadata.snapshot();
    let mut names: Vec<ByteString> = Vec::new();
    let mut deletions = Vec::new();
    for topic in &request.topics {
        for asked in &topic.partitions {
            let is_known = snapshot
                .partition(&topic.name, asked.partition_index)
                .is_some();
            let (name, index) = (topic.name.clone(), asked.partition_index);
            deletions.push(if is_known {
                services.replicas.delete_before(name, index, asked.offset)
            } else {
                Deletion::failed(name, index, ErrorCode::UnknownTopicOrPartition)
            });
        }
        if !names.contains(&topic.name) {
            names.push(topic.name.clone());
        }
    }
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    services
        .replicas
        .wait_for_low_watermarks(&mut deletions, timeout)
        .await;

    let topics = names.into_iter().map(|name| {
        let of_topic = deletions.iter().filter(|deletion| deletion.topic == name);
        let partitions = of_topic.map(|deletion| DeleteRecordsPartitionResult {
            partition_index: deletion.partition,
            low_watermark: deletion.low_watermark,
            error_code: deletion.error.code(),
        });
        DeleteRecordsTopicResult {
            partitions: partitions.collect(),
            name,
        }
    });
    DeleteRecordsResponse {
        throttle_time_ms: 0,
        topics: topics.collect(),
    }
}
