//! Shell: OffsetFetch, 0 to 9.
//!
//! 0 reads ZooKeeper's `/consumers`, all others ask the group coordinator; 2 null topics mean all,
//! and errors of the group have a place of their own; 5 leader epochs; 7 unstable offsets can be
//! refused (KIP-447); 8 several groups (KIP-709); 9 is for the new group protocol.

use std::collections::HashSet;
use std::sync::Arc;

use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestTopic, OffsetFetchRequestTopics, OffsetFetchResponse,
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};

use crate::api::context::{RequestContext, Services};
use crate::coordinator::group::offsets::FetchedOffset;
use crate::coordinator::topic_partition::TopicPartition;

type Fetched = Vec<(TopicPartition, FetchedOffset)>;

/// Answers with committed offsets.
pub async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    let stable = request.require_stable;
    match context.header.api_version {
        0 => {
            let partitions = old_partitions(request.topics.unwrap_or_default());
            old_response(
                0,
                fetch_from_zookeeper(services, &request.group_id, partitions).await,
            )
        }
        version @ 1..=7 => {
            let asked = request.topics.map(old_partitions);
            let fetched =
                services
                    .groups
                    .fetch_offsets(&request.group_id, asked.as_deref(), stable);
            match fetched {
                Ok(fetched) => old_response(0, fetched),
                // Version 1 has no other place to say it.
                Err(error) if version == 1 => {
                    let failed = |at| (at, FetchedOffset::none(error));
                    let asked = asked.unwrap_or_default();
                    old_response(0, asked.into_iter().map(failed).collect())
                }
                Err(error) => old_response(error.code(), Vec::new()),
            }
        }
        _ => {
            let mut response = OffsetFetchResponse::default();
            for group in request.groups {
                let asked = group.topics.map(partitions);
                let fetched =
                    services
                        .groups
                        .fetch_offsets(&group.group_id, asked.as_deref(), stable);
                response
                    .groups
                    .push(group_response(group.group_id, fetched));
            }
            response
        }
    }
}

async fn fetch_from_zookeeper(
    services: &Arc<Services>,
    group_id: &str,
    asked: Vec<TopicPartition>,
) -> Fetched {
    let mut fetched = Vec::with_capacity(asked.len());
    for at in asked {
        let is_known = services
            .metadata
            .snapshot()
            .partition(&at.topic, at.partition)
            .is_some();
        let unknown = FetchedOffset::none(ErrorCode::UnknownTopicOrPartition);
        let result = if is_known {
            match services
                .zk
                .consumer_offset(group_id, &at.topic, at.partition)
                .await
            {
                Ok(Some(offset)) => FetchedOffset {
                    offset,
                    ..FetchedOffset::none(ErrorCode::None)
                },
                Ok(None) => unknown,
                Err(error) => {
                    tracing::warn!(group = group_id, partition = %at, %error, "offset unknown");
                    FetchedOffset::none(ErrorCode::UnknownServerError)
                }
            }
        } else {
            unknown
        };
        fetched.push((at, result));
    }
    fetched
}

fn old_partitions(topics: Vec<OffsetFetchRequestTopic>) -> Vec<TopicPartition> {
    let topic = |t: OffsetFetchRequestTopic| expand(t.name, t.partition_indexes);
    once_each(topics.into_iter().flat_map(topic))
}

fn partitions(topics: Vec<OffsetFetchRequestTopics>) -> Vec<TopicPartition> {
    let topic = |t: OffsetFetchRequestTopics| expand(t.name, t.partition_indexes);
    once_each(topics.into_iter().flat_map(topic))
}

/// A partition that is named twice is answered once.
fn once_each(partitions: impl Iterator<Item = TopicPartition>) -> Vec<TopicPartition> {
    let mut seen = HashSet::new();
    partitions
        .filter(|partition| seen.insert(partition.clone()))
        .collect()
}

fn expand(topic: ByteString, indexes: Vec<i32>) -> impl Iterator<Item = TopicPartition> {
    indexes.into_iter().map(move |partition| TopicPartition {
        topic: topic.clone(),
        partition,
    })
}

fn old_response(error_code: i16, fetched: Fetched) -> OffsetFetchResponse {
    let mut topics: Vec<OffsetFetchResponseTopic> = Vec::new();
    for (at, result) in fetched {
        let partition = OffsetFetchResponsePartition {
            partition_index: at.partition,
            committed_offset: result.offset,
            committed_leader_epoch: result.leader_epoch,
            metadata: Some(result.metadata),
            error_code: result.error.code(),
        };
        match topics.iter_mut().rev().find(|t| t.name == at.topic) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(OffsetFetchResponseTopic {
                name: at.topic,
                partitions: vec![partition],
            }),
        }
    }
    OffsetFetchResponse {
        topics,
        error_code,
        ..OffsetFetchResponse::default()
    }
}

fn group_response(
    group_id: ByteString,
    fetched: Result<Fetched, ErrorCode>,
) -> OffsetFetchResponseGroup {
    let (error_code, fetched) = match fetched {
        Ok(fetched) => (0, fetched),
        Err(error) => (error.code(), Vec::new()),
    };
    let mut topics: Vec<OffsetFetchResponseTopics> = Vec::new();
    for (at, result) in fetched {
        let partition = OffsetFetchResponsePartitions {
            partition_index: at.partition,
            committed_offset: result.offset,
            committed_leader_epoch: result.leader_epoch,
            metadata: Some(result.metadata),
            error_code: result.error.code(),
        };
        match topics.iter_mut().rev().find(|t| t.name == at.topic) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(OffsetFetchResponseTopics {
                name: at.topic,
                partitions: vec![partition],
            }),
        }
    }
    OffsetFetchResponseGroup {
        group_id,
        topics,
        error_code,
    }
}
