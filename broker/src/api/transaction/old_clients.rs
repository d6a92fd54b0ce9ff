//! Pure: what clients are told that do not know a newer error code.

use kafka_wire::error_code::ErrorCode;

/// `PRODUCER_FENCED` in words that clients before `first` understand.
pub fn understood(error: ErrorCode, version: i16, first: i16) -> ErrorCode {
    match error {
        ErrorCode::ProducerFenced if version < first => ErrorCode::InvalidProducerEpoch,
        error => error,
    }
}
