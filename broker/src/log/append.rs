//! Pure: what an append is asked with, what it answers, and the errors it can end with.

use kafka_wire::error_code::ErrorCode;
use kafka_wire::records::batch::NO_TIMESTAMP;
use kafka_wire::records::entries::EntryError;

use crate::log::error::StorageError;
use crate::log::producer_state::ProducerError;

pub use crate::log::producer_state::AppendOrigin;

/// Circumstances of an append to a leader.
#[derive(Debug, Clone, Copy)]
pub struct AppendOptions {
    /// Who appends.
    pub origin: AppendOrigin,
    /// The time, in milliseconds since the epoch.
    pub now_ms: i64,
}

/// What was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendInfo {
    /// Offset of the first record; -1 if there was nothing to append.
    pub first_offset: i64,
    /// Offset of the last record; -1 if there was nothing to append.
    pub last_offset: i64,
    /// Largest timestamp in milliseconds.
    pub max_timestamp: i64,
    /// The broker's time if the topic asks for it (for a repeated batch, the time of the first one), else -1.
    pub log_append_time_ms: i64,
    /// First offset of the log.
    pub log_start_offset: i64,
    /// Leader epoch of the last batch, -1 if unknown.
    pub last_leader_epoch: i32,
    /// True if the batch was here already and was not written again.
    pub duplicate: bool,
    /// Number of records, as far as headers tell.
    pub records: i64,
    /// Bytes written.
    pub bytes: usize,
}

impl AppendInfo {
    /// An append of nothing.
    pub fn nothing(log_start_offset: i64) -> Self {
        AppendInfo {
            first_offset: -1,
            last_offset: -1,
            max_timestamp: NO_TIMESTAMP,
            log_append_time_ms: NO_TIMESTAMP,
            log_start_offset,
            last_leader_epoch: -1,
            duplicate: false,
            records: 0,
            bytes: 0,
        }
    }
}

/// A record that keeps its batch from being appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordFailure {
    /// Number of the record in its batch, from 0.
    pub index: i32,
    /// What is wrong with it, as told to the producer.
    pub message: String,
}

/// Why an append was refused. Nothing has been written then.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The batch is malformed or breaks a rule.
    #[error("{message}")]
    InvalidRecord {
        /// What is wrong, as told to the producer.
        message: String,
        /// The records concerned, if single ones are.
        records: Vec<RecordFailure>,
    },
    /// Timestamps too far from the broker's clock, or of a type that only brokers may set.
    #[error("One or more records have been rejected due to invalid timestamp")]
    InvalidTimestamp {
        /// The records concerned.
        records: Vec<RecordFailure>,
    },
    /// The checksum does not fit, or the batch is not a batch.
    #[error("{0}")]
    Corrupt(String),
    /// Above `max.message.bytes`.
    #[error(
        "The record batch size in the append to {partition} is {size} bytes which exceeds the maximum \
         configured value of {limit}."
    )]
    MessageTooLarge {
        /// Topic and partition.
        partition: String,
        /// Bytes of the batch.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Above `segment.bytes`.
    #[error(
        "Message batch size is {size} bytes in append to partition {partition}, which exceeds the maximum \
         configured segment size of {limit}."
    )]
    RecordListTooLarge {
        /// Topic and partition.
        partition: String,
        /// Bytes of the append.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A codec that this version of the request may not use.
    #[error("{0}")]
    UnsupportedCompression(String),
    /// What Apache's broker meets only while it unpacks or rewrites records, and has no code of its own for.
    #[error("{0}")]
    Unexpected(String),
    /// A feature that the old message formats lack.
    #[error("{0}")]
    UnsupportedForFormat(String),
    /// Idempotence or transaction rules.
    #[error(transparent)]
    Producer(#[from] ProducerError),
    /// The disk failed; the log directory is to be taken out of service.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl AppendError {
    /// The error code that a produce response carries.
    pub fn code(&self) -> ErrorCode {
        match self {
            AppendError::InvalidRecord { .. } => ErrorCode::InvalidRecord,
            AppendError::InvalidTimestamp { .. } => ErrorCode::InvalidTimestamp,
            AppendError::Corrupt(_) => ErrorCode::CorruptMessage,
            AppendError::MessageTooLarge { .. } => ErrorCode::MessageTooLarge,
            AppendError::RecordListTooLarge { .. } => ErrorCode::RecordListTooLarge,
            AppendError::UnsupportedCompression(_) => ErrorCode::UnsupportedCompressionType,
            AppendError::UnsupportedForFormat(_) => ErrorCode::UnsupportedForMessageFormat,
            AppendError::Producer(ProducerError::InvalidEpoch { .. }) => {
                ErrorCode::InvalidProducerEpoch
            }
            AppendError::Producer(
                ProducerError::OutOfOrderSequence { .. } | ProducerError::AboveUnverified { .. },
            ) => ErrorCode::OutOfOrderSequenceNumber,
            AppendError::Producer(
                ProducerError::NotTransactional { .. } | ProducerError::NotVerified { .. },
            ) => ErrorCode::InvalidTxnState,
            AppendError::Producer(ProducerError::CoordinatorFenced { .. }) => {
                ErrorCode::TransactionCoordinatorFenced
            }
            AppendError::Unexpected(_) => ErrorCode::UnknownServerError,
            AppendError::Storage(_) => ErrorCode::KafkaStorageError,
        }
    }

    /// The single records that a produce response lists.
    pub fn record_failures(&self) -> &[RecordFailure] {
        match self {
            AppendError::InvalidRecord { records, .. }
            | AppendError::InvalidTimestamp { records } => records,
            _ => &[],
        }
    }

    /// An [`AppendError::InvalidRecord`] that concerns the batch as a whole.
    pub fn invalid(message: impl Into<String>) -> Self {
        AppendError::InvalidRecord {
            message: message.into(),
            records: Vec::new(),
        }
    }
}

impl From<EntryError> for AppendError {
    fn from(error: EntryError) -> Self {
        match error {
            EntryError::TooLarge(_) => AppendError::Unexpected(error.to_string()),
            _ => AppendError::Corrupt(error.to_string()),
        }
    }
}
