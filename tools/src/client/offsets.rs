//! Shell: positions: those a group committed, and the ends of partitions.

use std::collections::BTreeMap;

use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use kafka_wire::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_wire::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestTopic};

use crate::client::assignor::Place;
use crate::client::cluster::{Cluster, Link};
use crate::client::error::ClientError;
use crate::client::group::Membership;
use crate::client::topic_metadata::PartitionLeader;

/// The timestamp that asks for the first offset.
pub const EARLIEST: i64 = -2;
/// The timestamp that asks for the offset after the last record.
pub const LATEST: i64 = -1;
/// The last version of OffsetFetch that is about one group.
const OFFSET_FETCH_CAP: i16 = 7;

/// The offsets that a group committed, with the leader epochs; partitions without one are left out.
///
/// # Errors
/// [`ClientError`]; a retriable one while offsets of transactions are pending.
pub async fn committed(
    group: &mut Membership,
    places: &[Place],
) -> Result<BTreeMap<Place, (i64, i32)>, ClientError> {
    let topic = |(name, partition_indexes)| OffsetFetchRequestTopic {
        name,
        partition_indexes,
    };
    let request = OffsetFetchRequest {
        group_id: group.group().clone(),
        topics: Some(
            by_topic(places.iter().cloned())
                .into_iter()
                .map(topic)
                .collect(),
        ),
        require_stable: true,
        ..OffsetFetchRequest::default()
    };
    let coordinator = group.coordinator().await?;
    let response = coordinator.send(&request, OFFSET_FETCH_CAP).await?;
    ClientError::check(response.error_code, None)?;
    let mut offsets = BTreeMap::new();
    for topic in response.topics {
        for partition in topic.partitions {
            ClientError::check(partition.error_code, None)?;
            if partition.committed_offset >= 0 {
                let place = (topic.name.clone(), partition.partition_index);
                let epoch = partition.committed_leader_epoch;
                offsets.insert(place, (partition.committed_offset, epoch));
            }
        }
    }
    Ok(offsets)
}

/// Commits positions.
///
/// # Errors
/// [`ClientError`] of the call or of the first partition that was refused.
pub async fn commit(
    group: &mut Membership,
    positions: &BTreeMap<Place, (i64, i32)>,
) -> Result<(), ClientError> {
    if positions.is_empty() {
        return Ok(());
    }
    let (member_id, generation, group_instance_id) = group.identity();
    let mut topics: BTreeMap<ByteString, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
    for ((topic, partition), (offset, leader_epoch)) in positions {
        topics
            .entry(topic.clone())
            .or_default()
            .push(OffsetCommitRequestPartition {
                partition_index: *partition,
                committed_offset: *offset,
                committed_leader_epoch: *leader_epoch,
                committed_metadata: Some(ByteString::new()),
                ..OffsetCommitRequestPartition::default()
            });
    }
    let topic = |(name, partitions)| OffsetCommitRequestTopic { name, partitions };
    let request = OffsetCommitRequest {
        group_id: group.group().clone(),
        generation_id_or_member_epoch: generation,
        member_id,
        group_instance_id,
        topics: topics.into_iter().map(topic).collect(),
        ..OffsetCommitRequest::default()
    };
    let coordinator = group.coordinator().await?;
    let response = coordinator.send(&request, i16::MAX).await?;
    for partition in response.topics.iter().flat_map(|topic| &topic.partitions) {
        ClientError::check(partition.error_code, None)?;
    }
    Ok(())
}

/// Asks the leaders for offsets: per partition [`EARLIEST`], [`LATEST`] or a time in ms.
///
/// # Errors
/// [`ClientError`]; a retriable one when a leader is not known or moved.
pub async fn listed(
    cluster: &Cluster,
    wanted: &BTreeMap<Place, (i64, PartitionLeader)>,
    isolation_level: i8,
) -> Result<BTreeMap<Place, i64>, ClientError> {
    let mut by_leader: BTreeMap<i32, BTreeMap<ByteString, Vec<ListOffsetsPartition>>> =
        BTreeMap::new();
    for ((topic, partition), (timestamp, leader)) in wanted {
        if leader.leader < 0 {
            return Err(ClientError::api(ErrorCode::LeaderNotAvailable.code(), None));
        }
        let partition = ListOffsetsPartition {
            partition_index: *partition,
            current_leader_epoch: leader.leader_epoch,
            timestamp: *timestamp,
            ..ListOffsetsPartition::default()
        };
        let topics = by_leader.entry(leader.leader).or_default();
        topics.entry(topic.clone()).or_default().push(partition);
    }
    let mut offsets = BTreeMap::new();
    for (leader, topics) in by_leader {
        let topic = |(name, partitions)| ListOffsetsTopic { name, partitions };
        let request = ListOffsetsRequest {
            replica_id: -1,
            isolation_level,
            topics: topics.into_iter().map(topic).collect(),
        };
        let link: std::sync::Arc<Link> = cluster.node(leader).await?;
        let response = link.send(&request, i16::MAX).await?;
        for topic in response.topics {
            for partition in topic.partitions {
                ClientError::check(partition.error_code, None)?;
                let place = (topic.name.clone(), partition.partition_index);
                offsets.insert(place, partition.offset);
            }
        }
    }
    Ok(offsets)
}

fn by_topic(places: impl Iterator<Item = Place>) -> BTreeMap<ByteString, Vec<i32>> {
    let mut topics: BTreeMap<ByteString, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in places {
        topics.entry(topic).or_default().push(partition);
    }
    topics
}
