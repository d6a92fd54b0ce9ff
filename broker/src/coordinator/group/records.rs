//! Pure: groups and offsets as records of `__consumer_offsets`.
//!
//! A key and a value each begin with an i16 version (`GroupMetadataManager.scala`; layouts in
//! `OffsetCommitKey.json`, `OffsetCommitValue.json`, `GroupMetadataKey.json`,
//! `GroupMetadataValue.json`). The key's version tells the kinds apart: 0 and 1 are offsets, 2 is
//! a group. Values are written in the highest version that is not flexible, which brokers before
//! 3.7 can read too: 3, or 1 for an offset with a retention of its own.

use std::collections::BTreeMap;

use bytes::Bytes;
use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::message::{Message, decode_versioned, encode_versioned};
use kafka_wire::messages::group_metadata_record::{
    GroupMetadataKey, GroupMetadataValue, MemberMetadata,
};
use kafka_wire::messages::offset_commit_record::{OffsetCommitKey, OffsetCommitValue};
use kafka_wire::wire::WireError;

use crate::coordinator::group::group::{Group, LoadedGroup};
use crate::coordinator::group::member::Member;
use crate::coordinator::group::message::{GroupRecord, Protocol};
use crate::coordinator::group::offsets::OffsetAndMetadata;
use crate::coordinator::topic_partition::{TopicPartition, detached};

const VALUE_VERSION: i16 = 3;
const EXPIRING_OFFSET_VERSION: i16 = 1;

/// What a key of `__consumer_offsets` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupKey {
    /// A group's offset of a partition.
    Offset(ByteString, TopicPartition),
    /// A group.
    Group(ByteString),
    /// Written by a newer broker; to be skipped.
    Unknown(i16),
}

/// Reads a key.
///
/// # Errors
/// If the bytes are not a key of the version that they begin with.
pub fn decode_key(key: Bytes) -> Result<GroupKey, WireError> {
    let version = match key.first_chunk::<2>() {
        Some(bytes) => i16::from_be_bytes(*bytes),
        None => {
            return Err(WireError::UnexpectedEnd {
                needed: 2,
                remaining: key.len(),
            });
        }
    };
    if (OffsetCommitKey::MIN_VERSION..=OffsetCommitKey::MAX_VERSION).contains(&version) {
        let (_, key) = decode_versioned::<OffsetCommitKey>(key)?;
        let partition = TopicPartition {
            topic: detached(&key.topic),
            partition: key.partition,
        };
        return Ok(GroupKey::Offset(detached(&key.group), partition));
    }
    if (GroupMetadataKey::MIN_VERSION..=GroupMetadataKey::MAX_VERSION).contains(&version) {
        let (_, key) = decode_versioned::<GroupMetadataKey>(key)?;
        return Ok(GroupKey::Group(detached(&key.group)));
    }
    Ok(GroupKey::Unknown(version))
}

/// Reads an offset's value.
///
/// # Errors
/// If the bytes are not a value, or of an unknown version.
pub fn decode_offset(value: Bytes) -> Result<OffsetAndMetadata, WireError> {
    let (_, value) = decode_versioned::<OffsetCommitValue>(value)?;
    Ok(OffsetAndMetadata {
        offset: value.offset,
        leader_epoch: (value.leader_epoch != -1).then_some(value.leader_epoch),
        metadata: detached(&value.metadata),
        commit_timestamp_ms: value.commit_timestamp,
        expire_timestamp_ms: (value.expire_timestamp != -1).then_some(value.expire_timestamp),
    })
}

/// Reads a group's value.
///
/// # Errors
/// If the bytes are not a value, or of an unknown version.
pub fn decode_group(value: Bytes) -> Result<LoadedGroup, WireError> {
    let (version, value) = decode_versioned::<GroupMetadataValue>(value)?;
    let protocol = value.protocol.as_ref().map(detached);
    let members = value
        .members
        .iter()
        .map(|m| loaded_member(m, version, &protocol))
        .collect();
    let timestamp = value.current_state_timestamp;
    Ok(LoadedGroup {
        generation: value.generation,
        protocol_type: (!value.protocol_type.is_empty()).then(|| detached(&value.protocol_type)),
        protocol_name: protocol,
        leader: value.leader.as_ref().map(detached),
        state_timestamp_ms: (timestamp != -1).then_some(timestamp),
        members,
    })
}

fn loaded_member(member: &MemberMetadata, version: i16, protocol: &Option<ByteString>) -> Member {
    let metadata = Bytes::copy_from_slice(&member.subscription);
    // Before version 1 one timeout served for both.
    let rebalance_timeout_ms = if version == 0 {
        member.session_timeout
    } else {
        member.rebalance_timeout
    };
    Member {
        member_id: detached(&member.member_id),
        group_instance_id: member.group_instance_id.as_ref().map(detached),
        client_id: detached(&member.client_id),
        client_host: detached(&member.client_host),
        rebalance_timeout_ms,
        session_timeout_ms: member.session_timeout,
        protocols: vec![Protocol {
            name: protocol.clone().unwrap_or_default(),
            metadata,
        }],
        assignment: Bytes::copy_from_slice(&member.assignment),
        is_new: false,
        awaiting_join: None,
        awaiting_sync: None,
        session_deadline_ms: None,
    }
}

/// The record of a committed offset.
///
/// # Errors
/// If a text is too long for the format.
pub fn offset_record(
    group: &ByteString,
    partition: &TopicPartition,
    value: &OffsetAndMetadata,
) -> Result<GroupRecord, WireError> {
    let version = match value.expire_timestamp_ms {
        Some(_) => EXPIRING_OFFSET_VERSION,
        None => VALUE_VERSION,
    };
    let value = OffsetCommitValue {
        offset: value.offset,
        leader_epoch: value.leader_epoch.unwrap_or(-1),
        metadata: value.metadata.clone(),
        commit_timestamp: value.commit_timestamp_ms,
        expire_timestamp: value.expire_timestamp_ms.unwrap_or(-1),
    };
    let key = offset_key(group, partition)?;
    Ok(GroupRecord {
        key,
        value: Some(encode_versioned(&value, version)?),
    })
}

/// The key of a committed offset.
///
/// # Errors
/// If a text is too long for the format.
pub fn offset_key(group: &ByteString, partition: &TopicPartition) -> Result<Bytes, WireError> {
    let key = OffsetCommitKey {
        group: group.clone(),
        topic: partition.topic.clone(),
        partition: partition.partition,
    };
    encode_versioned(&key, OffsetCommitKey::MAX_VERSION)
}

/// The key of a group.
///
/// # Errors
/// If a text is too long for the format.
pub fn group_key(group: &ByteString) -> Result<Bytes, WireError> {
    let key = GroupMetadataKey {
        group: group.clone(),
    };
    encode_versioned(&key, GroupMetadataKey::MAX_VERSION)
}

/// The record of a group with an assignment.
///
/// # Errors
/// If a text is too long for the format.
pub fn group_record(
    group: &Group,
    assignment: &BTreeMap<ByteString, Bytes>,
) -> Result<GroupRecord, WireError> {
    let protocol = group.protocol_name();
    let member = |m: &Member| MemberMetadata {
        member_id: m.member_id.clone(),
        group_instance_id: m.group_instance_id.clone(),
        client_id: m.client_id.clone(),
        client_host: m.client_host.clone(),
        rebalance_timeout: m.rebalance_timeout_ms,
        session_timeout: m.session_timeout_ms,
        subscription: m.metadata(protocol.map(|p| &**p).unwrap_or_default()),
        assignment: assignment.get(&m.member_id).cloned().unwrap_or_default(),
    };
    let value = GroupMetadataValue {
        protocol_type: group.protocol_type(),
        generation: group.generation(),
        protocol: protocol.cloned(),
        leader: group.members().leader().cloned(),
        current_state_timestamp: group.state_timestamp_ms().unwrap_or(-1),
        members: group.members().iter().map(member).collect(),
    };
    let key = group_key(group.id())?;
    Ok(GroupRecord {
        key,
        value: Some(encode_versioned(&value, VALUE_VERSION)?),
    })
}

/// What a member is told when its group's record could not be appended.
pub fn group_append_error(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::UnknownTopicOrPartition
        | ErrorCode::NotEnoughReplicas
        | ErrorCode::NotEnoughReplicasAfterAppend => ErrorCode::CoordinatorNotAvailable,
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::RequestTimedOut => ErrorCode::RebalanceInProgress,
        ErrorCode::MessageTooLarge
        | ErrorCode::RecordListTooLarge
        | ErrorCode::InvalidFetchSize => ErrorCode::UnknownServerError,
        other => other,
    }
}

/// What a client is told when its offsets could not be appended.
pub fn offset_append_error(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::NetworkException => ErrorCode::CoordinatorLoadInProgress,
        ErrorCode::UnknownTopicOrPartition
        | ErrorCode::NotEnoughReplicas
        | ErrorCode::NotEnoughReplicasAfterAppend => ErrorCode::CoordinatorNotAvailable,
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge
        | ErrorCode::RecordListTooLarge
        | ErrorCode::InvalidFetchSize => ErrorCode::InvalidCommitOffsetSize,
        other => other,
    }
}

#[cfg(test)]
#[path = "records_test.rs"]
mod tests;
