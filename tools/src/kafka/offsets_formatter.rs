//! Pure: records of Kafka's internal topics as the stock formatters print them.

use bytes::Bytes;
use kafka_wire::message::{Message, decode_versioned};
use kafka_wire::messages::group_metadata_record::{GroupMetadataKey, GroupMetadataValue};
use kafka_wire::messages::offset_commit_record::{OffsetCommitKey, OffsetCommitValue};
use kafka_wire::messages::transaction_log_record::{TransactionLogKey, TransactionLogValue};
use kafka_wire::reader::Reader;

use crate::client::error::ClientError;
use crate::kafka::deserializer::unreadable;

/// A line for a committed offset; empty for other records.
///
/// # Errors
/// [`ClientError`] for records that cannot be read.
pub fn offset(key: Option<&Bytes>, value: Option<&Bytes>) -> Result<String, ClientError> {
    let Some(key) = key_of::<OffsetCommitKey>(key)? else {
        return Ok(String::new());
    };
    let place = format!("[{},{},{}]", key.group, key.topic, key.partition);
    let Some(value) = value else {
        return Ok(format!("{place}::NULL\n"));
    };
    let (_, value) =
        decode_versioned::<OffsetCommitValue>(value.clone()).map_err(|error| unreadable(&error))?;
    let epoch = match value.leader_epoch {
        -1 => "Optional.empty".to_owned(),
        epoch => format!("Optional[{epoch}]"),
    };
    let expires = match value.expire_timestamp {
        -1 => "None".to_owned(),
        time => format!("Some({time})"),
    };
    Ok(format!(
        "{place}::OffsetAndMetadata(offset={}, leaderEpoch={epoch}, metadata={}, \
         commitTimestamp={}, expireTimestamp={expires})\n",
        value.offset, value.metadata, value.commit_timestamp
    ))
}

/// A line for the state of a group; empty for other records.
///
/// # Errors
/// [`ClientError`] for records that cannot be read.
pub fn group(key: Option<&Bytes>, value: Option<&Bytes>) -> Result<String, ClientError> {
    let Some(key) = key_of::<GroupMetadataKey>(key)? else {
        return Ok(String::new());
    };
    let group = key.group;
    let Some(value) = value else {
        return Ok(format!("{group}::NULL\n"));
    };
    let (version, value) = decode_versioned::<GroupMetadataValue>(value.clone())
        .map_err(|error| unreadable(&error))?;
    let protocol = value.protocol.as_deref().unwrap_or("null");
    let protocol_type = match value.protocol_type.as_ref() {
        "" => "None".to_owned(),
        name => format!("Some({name})"),
    };
    let state = if value.members.is_empty() {
        "Empty"
    } else {
        "Stable"
    };
    let mut members = Vec::new();
    for member in &value.members {
        let instance = match &member.group_instance_id {
            Some(id) => format!("Some({id})"),
            None => "None".to_owned(),
        };
        let rebalance_timeout = if version == 0 {
            member.session_timeout
        } else {
            member.rebalance_timeout
        };
        members.push(format!(
            "{0} -> MemberMetadata(memberId={0}, groupInstanceId={instance}, clientId={1}, \
             clientHost={2}, sessionTimeoutMs={3}, rebalanceTimeoutMs={rebalance_timeout}, \
             supportedProtocols=List({protocol}))",
            member.member_id, member.client_id, member.client_host, member.session_timeout
        ));
    }
    Ok(format!(
        "{group}::GroupMetadata(groupId={group}, generation={}, protocolType={protocol_type}, \
         currentState={state}, members=HashMap({}))\n",
        value.generation,
        members.join(", ")
    ))
}

/// A line for the state of a transaction.
///
/// # Errors
/// [`ClientError`] for records that cannot be read.
pub fn transaction(key: Option<&Bytes>, value: Option<&Bytes>) -> Result<String, ClientError> {
    let Some(key) = key else {
        return Ok(String::new());
    };
    let version = Reader::new(key.clone())
        .i16()
        .map_err(|error| unreadable(&error))?;
    if version > TransactionLogKey::MAX_VERSION {
        return Ok(format!("unknown::version={version}\n"));
    }
    let (_, key) =
        decode_versioned::<TransactionLogKey>(key.clone()).map_err(|error| unreadable(&error))?;
    let id = key.transactional_id;
    let Some(value) = value else {
        return Ok(format!("{id}::NULL\n"));
    };
    let (_, value) = decode_versioned::<TransactionLogValue>(value.clone())
        .map_err(|error| unreadable(&error))?;
    const STATES: [&str; 8] = [
        "Empty",
        "Ongoing",
        "PrepareCommit",
        "PrepareAbort",
        "CompleteCommit",
        "CompleteAbort",
        "Dead",
        "PrepareEpochFence",
    ];
    let state = usize::try_from(value.transaction_status).ok();
    let state = state
        .and_then(|state| STATES.get(state))
        .copied()
        .unwrap_or("Unknown");
    let partitions: Vec<String> = value
        .transaction_partitions
        .iter()
        .flatten()
        .flat_map(|topic| {
            topic
                .partition_ids
                .iter()
                .map(|partition| format!("{}-{partition}", topic.topic))
        })
        .collect();
    Ok(format!(
        "{id}::TransactionMetadata(transactionalId={id}, producerId={}, producerEpoch={}, \
         txnTimeoutMs={}, state={state}, pendingState=None, topicPartitions=HashSet({}), \
         txnStartTimestamp={}, txnLastUpdateTimestamp={})\n",
        value.producer_id,
        value.producer_epoch,
        value.transaction_timeout_ms,
        partitions.join(", "),
        value.transaction_start_timestamp_ms,
        value.transaction_last_update_timestamp_ms
    ))
}

/// The key if its version says that it is of this kind.
fn key_of<M: Message>(key: Option<&Bytes>) -> Result<Option<M>, ClientError> {
    let Some(key) = key else { return Ok(None) };
    let version = Reader::new(key.clone())
        .i16()
        .map_err(|error| unreadable(&error))?;
    if !(M::MIN_VERSION..=M::MAX_VERSION).contains(&version) {
        return Ok(None);
    }
    let (_, key) = decode_versioned(key.clone()).map_err(|error| unreadable(&error))?;
    Ok(Some(key))
}
