//! Pure: transactions as records of `__transaction_state`.
//!
//! A key and a value each begin with an i16 version (`TransactionLog.scala`; layouts in
//! `TransactionLogKey.json`, `TransactionLogValue.json`). Written is version 0 of both; version 1
//! of the value is flexible and only read. A value lists the partitions by topic, or null when the
//! transaction is Empty.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use bytestring::ByteString;
use kafka_wire::message::{Message, decode_versioned, encode_versioned};
use kafka_wire::messages::transaction_log_record::{
    PartitionsSchema, TransactionLogKey, TransactionLogValue,
};
use kafka_wire::wire::WireError;

use crate::coordinator::topic_partition::{TopicPartition, detached};
use crate::coordinator::transaction::state::TransactionState;
use crate::coordinator::transaction::transaction::{
    NO_EPOCH, NO_PRODUCER_ID, Transaction, Transit,
};

const VALUE_VERSION: i16 = 0;

/// What a key names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionKey {
    /// A transactional id.
    Transaction(ByteString),
    /// Written by a newer broker; to be skipped.
    Unknown(i16),
}

/// Why a record cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes are no such record.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The state's number is not known.
    #[error("transaction state {0} is not known")]
    State(i8),
}

/// Reads a key.
///
/// # Errors
/// If the bytes are not a key of the version that they begin with.
pub fn decode_key(key: Bytes) -> Result<TransactionKey, RecordError> {
    let Some(version) = key.first_chunk::<2>() else {
        let remaining = key.len();
        return Err(WireError::UnexpectedEnd {
            needed: 2,
            remaining,
        }
        .into());
    };
    let version = i16::from_be_bytes(*version);
    if !(TransactionLogKey::MIN_VERSION..=TransactionLogKey::MAX_VERSION).contains(&version) {
        return Ok(TransactionKey::Unknown(version));
    }
    let (_, key) = decode_versioned::<TransactionLogKey>(key)?;
    Ok(TransactionKey::Transaction(detached(&key.transactional_id)))
}

/// Reads a value.
///
/// # Errors
/// If the bytes are not a value, of an unknown version or in an unknown state.
pub fn decode_value(value: Bytes) -> Result<Transaction, RecordError> {
    let (_, value) = decode_versioned::<TransactionLogValue>(value)?;
    let state = TransactionState::from_id(value.transaction_status)
        .ok_or(RecordError::State(value.transaction_status))?;
    let mut partitions = BTreeSet::new();
    if state != TransactionState::Empty {
        for topic in value.transaction_partitions.unwrap_or_default() {
            let name = detached(&topic.topic);
            partitions.extend(topic.partition_ids.iter().map(|partition| TopicPartition {
                topic: name.clone(),
                partition: *partition,
            }));
        }
    }
    Ok(Transaction {
        producer_id: value.producer_id,
        last_producer_id: NO_PRODUCER_ID,
        epoch: value.producer_epoch,
        last_epoch: NO_EPOCH,
        timeout_ms: value.transaction_timeout_ms,
        state,
        partitions,
        start_ms: value.transaction_start_timestamp_ms,
        last_update_ms: value.transaction_last_update_timestamp_ms,
        pending: None,
        has_failed_fence: false,
        completion: None,
    })
}

/// The key of a transactional id.
///
/// # Errors
/// If the id is too long for the format.
pub fn encode_key(transactional_id: &ByteString) -> Result<Bytes, WireError> {
    let key = TransactionLogKey {
        transactional_id: transactional_id.clone(),
    };
    encode_versioned(&key, TransactionLogKey::MAX_VERSION)
}

/// The value of a transaction.
///
/// # Errors
/// If a topic's name is too long for the format.
pub fn encode_value(transit: &Transit) -> Result<Bytes, WireError> {
    let mut by_topic: BTreeMap<&ByteString, Vec<i32>> = BTreeMap::new();
    for partition in &transit.partitions {
        by_topic
            .entry(&partition.topic)
            .or_default()
            .push(partition.partition);
    }
    let topics = by_topic.into_iter().map(|(topic, ids)| PartitionsSchema {
        topic: topic.clone(),
        partition_ids: ids,
    });
    let is_empty = transit.state == TransactionState::Empty;
    let value = TransactionLogValue {
        producer_id: transit.producer_id,
        producer_epoch: transit.epoch,
        transaction_timeout_ms: transit.timeout_ms,
        transaction_status: transit.state.id(),
        transaction_partitions: (!is_empty).then(|| topics.collect()),
        transaction_last_update_timestamp_ms: transit.last_update_ms,
        transaction_start_timestamp_ms: transit.start_ms,
    };
    encode_versioned(&value, VALUE_VERSION)
}

/// The state of a transaction, as it would be written again.
pub fn stored(transaction: &Transaction) -> Transit {
    Transit {
        producer_id: transaction.producer_id,
        last_producer_id: transaction.last_producer_id,
        epoch: transaction.epoch,
        last_epoch: transaction.last_epoch,
        timeout_ms: transaction.timeout_ms,
        state: transaction.state,
        partitions: transaction.partitions.clone(),
        start_ms: transaction.start_ms,
        last_update_ms: transaction.last_update_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value as Apache's broker wrote it, but for the times: `Ongoing` with `a-0` and `a-1`.
    const ONGOING: &[u8] = b"\0\0\0\0\0\0\0\0\x13\x8b\0\x03\0\x07\xa1\x20\x01\0\0\0\x01\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x01\
        \0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x04";

    #[test]
    fn values_have_kafkas_layout() {
        let transaction = decode_value(Bytes::from_static(ONGOING)).unwrap();
        assert_eq!((transaction.producer_id, transaction.epoch), (5003, 3));
        assert_eq!(
            (transaction.timeout_ms, transaction.state),
            (500_000, TransactionState::Ongoing)
        );
        assert_eq!((transaction.last_update_ms, transaction.start_ms), (5, 4));
        assert_eq!(transaction.partitions.len(), 2);
        assert_eq!(&encode_value(&stored(&transaction)).unwrap()[..], ONGOING);
        let key = encode_key(&"id".into()).unwrap();
        assert_eq!(&key[..], b"\0\0\0\x02id");
        assert_eq!(
            decode_key(key),
            Ok(TransactionKey::Transaction("id".into()))
        );
        assert_eq!(
            decode_key(Bytes::from_static(b"\0\x09rest")),
            Ok(TransactionKey::Unknown(9))
        );
    }

    #[test]
    fn spoiled_values_are_errors_and_what_is_read_is_written_back() {
        for place in 0..ONGOING.len() {
            for bit in 0..8 {
                let mut bytes = ONGOING.to_vec();
                bytes[place] ^= 1 << bit;
                if let Ok(transaction) = decode_value(Bytes::from(bytes)) {
                    let again = encode_value(&stored(&transaction)).unwrap();
                    assert_eq!(decode_value(again), Ok(transaction));
                }
            }
            assert!(decode_value(Bytes::copy_from_slice(&ONGOING[..place])).is_err());
        }
        let mut unknown = ONGOING.to_vec();
        unknown[16] = 8;
        assert_eq!(
            decode_value(Bytes::from(unknown)),
            Err(RecordError::State(8))
        );
    }
}
