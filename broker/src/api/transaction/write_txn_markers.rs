//! Shell: WriteTxnMarkers, 0 and 1: a transaction coordinator ends a producer's transaction in partitions led here
//! (KIP-98).
//!
//! Each marker goes into each log as a control batch of its own and is answered once enough replicas have it. In
//! `__consumer_offsets` it also settles the offsets that the producer committed within the transaction.

use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::write_txn_markers::{
    WritableTxnMarker, WritableTxnMarkerPartitionResult, WritableTxnMarkerResult,
    WritableTxnMarkerTopicResult, WriteTxnMarkersRequest, WriteTxnMarkersResponse,
};
use kafka_wire::records::batch::{NO_PRODUCER_EPOCH, NO_PRODUCER_ID};
use kafka_wire::records::control::{ControlType, EndTransactionMarker, marker_batch};
use tokio::time::Instant;

use crate::api::context::{RequestContext, Services};
use crate::log::append::AppendOrigin;
use crate::log::verification::NO_GUARD;
use crate::metadata::topic_names::GROUP_METADATA_TOPIC;
use crate::replica::append::{ALL_REPLICAS, AppendEntry, AppendResult, AppendTerms, Appended};
use crate::replica::clock::now_ms;

/// Appends all markers at once, then waits for the other replicas.
pub async fn handle(
    services: &Arc<Services>,
    _context: &RequestContext,
    request: WriteTxnMarkersRequest,
) -> WriteTxnMarkersResponse {
    let timeout = u64::try_from(services.config.request_timeout_ms).unwrap_or(0);
    let deadline = Instant::now() + Duration::from_millis(timeout);
    let mut written = Vec::with_capacity(request.markers.len());
    for marker in &request.markers {
        let (entries, refused) = entries(services, marker);
        if !entries.is_empty() && !has_producer(marker) {
            // What came before is written all the same; Apache's broker fails in the middle too.
            return unknown_error(&request);
        }
        written.push((append(services, entries), refused));
    }
    let mut markers: Vec<WritableTxnMarkerResult> = Vec::with_capacity(written.len());
    for (marker, (appended, refused)) in request.markers.iter().zip(written) {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut results = appended.replicated(left).await;
        settle_offsets(services, marker, &results);
        results.extend(refused);
        if results.is_empty() {
            continue;
        }
        let topics = result_of(&mut markers, marker.producer_id);
        for partition in results {
            note(topics, &partition);
        }
    }
    WriteTxnMarkersResponse { markers }
}

/// Whether a marker names a producer and an epoch, without which no batch can be made.
fn has_producer(marker: &WritableTxnMarker) -> bool {
    marker.producer_id != NO_PRODUCER_ID && marker.producer_epoch != NO_PRODUCER_EPOCH
}

fn unknown_error(request: &WriteTxnMarkersRequest) -> WriteTxnMarkersResponse {
    let mut markers: Vec<WritableTxnMarkerResult> = Vec::new();
    for marker in &request.markers {
        for topic in &marker.topics {
            for partition in &topic.partition_indexes {
                let error = ErrorCode::UnknownServerError;
                let failed = AppendResult::failed(topic.name.clone(), *partition, error);
                note(result_of(&mut markers, marker.producer_id), &failed);
            }
        }
    }
    WriteTxnMarkersResponse { markers }
}

/// A marker's batch for each log that is here; the second part says which are not.
fn entries(
    services: &Services,
    marker: &WritableTxnMarker,
) -> (Vec<AppendEntry>, Vec<AppendResult>) {
    let control_type = match marker.transaction_result {
        true => ControlType::Commit,
        false => ControlType::Abort,
    };
    let end = EndTransactionMarker {
        control_type,
        coordinator_epoch: marker.coordinator_epoch,
    };
    let records = marker_batch(end, marker.producer_id, marker.producer_epoch, now_ms());
    let mut entries = Vec::new();
    let mut refused = Vec::new();
    for topic in &marker.topics {
        for partition in &topic.partition_indexes {
            let hosted = services.replicas.partition(&topic.name, *partition);
            if hosted.is_some_and(|partition| partition.log().is_some()) {
                entries.push(AppendEntry {
                    topic: topic.name.clone(),
                    partition: *partition,
                    records: records.clone(),
                    guard: NO_GUARD,
                });
            } else {
                let error = ErrorCode::UnknownTopicOrPartition;
                refused.push(AppendResult::failed(topic.name.clone(), *partition, error));
            }
        }
    }
    (entries, refused)
}

fn append(services: &Services, entries: Vec<AppendEntry>) -> Appended {
    let terms = AppendTerms {
        origin: AppendOrigin::Coordinator,
        acks: ALL_REPLICAS,
        internal_allowed: true,
    };
    services.replicas.append(terms, entries)
}

/// Tells the group coordinator which of its partitions have the marker.
fn settle_offsets(services: &Services, marker: &WritableTxnMarker, results: &[AppendResult]) {
    let settled: Vec<i32> = results
        .iter()
        .filter(|result| result.error == ErrorCode::None && *result.topic == *GROUP_METADATA_TOPIC)
        .map(|result| result.partition)
        .collect();
    if !settled.is_empty() {
        let (producer_id, commit) = (marker.producer_id, marker.transaction_result);
        services
            .groups
            .on_transaction_completed(producer_id, &settled, commit);
    }
}

/// The one entry of a producer, however many markers name it.
fn result_of(
    markers: &mut Vec<WritableTxnMarkerResult>,
    producer_id: i64,
) -> &mut Vec<WritableTxnMarkerTopicResult> {
    let known = markers
        .iter()
        .position(|result| result.producer_id == producer_id);
    let place = known.unwrap_or_else(|| {
        markers.push(WritableTxnMarkerResult {
            producer_id,
            topics: Vec::new(),
        });
        markers.len() - 1
    });
    &mut markers[place].topics
}

/// Notes a partition's outcome; a later marker of the same producer replaces what an earlier one said.
fn note(topics: &mut Vec<WritableTxnMarkerTopicResult>, result: &AppendResult) {
    let place = match topics.iter().position(|topic| topic.name == result.topic) {
        Some(place) => place,
        None => {
            topics.push(WritableTxnMarkerTopicResult {
                name: ByteString::clone(&result.topic),
                partitions: Vec::new(),
            });
            topics.len() - 1
        }
    };
    let partitions = &mut topics[place].partitions;
    let error_code = result.error.code();
    match partitions
        .iter_mut()
        .find(|known| known.partition_index == result.partition)
    {
        Some(known) => known.error_code = error_code,
        None => partitions.push(WritableTxnMarkerPartitionResult {
            partition_index: result.partition,
            error_code,
        }),
    }
}
