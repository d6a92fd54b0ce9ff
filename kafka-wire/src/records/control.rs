//! Pure: control batches: the commit and abort markers that end a transaction in a partition.
//!
//! ```text
//! key   i16 version (0) | i16 type (0 abort, 1 commit)                 ControlRecordType.java
//! value i16 version (0) | i32 coordinator epoch                        EndTransactionMarker.java
//! ```

use bytes::{BufMut, Bytes, BytesMut};

use crate::records::batch_builder::{BatchBuilder, BatchBuilderOptions};
use crate::records::record::Record;

/// What a control record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlType {
    /// The producer's open transaction is rolled back.
    Abort,
    /// The producer's open transaction is committed.
    Commit,
    /// A type that belongs to other protocols (KRaft) or is not known here.
    Other(i16),
}

impl ControlType {
    /// The number in the key.
    pub fn code(self) -> i16 {
        match self {
            ControlType::Abort => 0,
            ControlType::Commit => 1,
            ControlType::Other(code) => code,
        }
    }
}

/// Why a control record cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// The key is absent, shorter than four bytes or has a negative version.
    #[error("control record key is not a version and a type")]
    BadKey,
    /// The value is absent, shorter than six bytes or has a negative version.
    #[error("end transaction marker value is not a version and a coordinator epoch")]
    BadValue,
}

/// The end of a transaction in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndTransactionMarker {
    /// Commit or abort.
    pub control_type: ControlType,
    /// Epoch of the transaction coordinator that wrote the marker.
    pub coordinator_epoch: i32,
}

/// Reads the type out of a control record's key.
///
/// # Errors
/// [`ControlError::BadKey`] if it is not a control key.
pub fn parse_key(key: Option<&[u8]>) -> Result<ControlType, ControlError> {
    match key {
        Some([v0, v1, t0, t1, ..]) if i16::from_be_bytes([*v0, *v1]) >= 0 => {
            Ok(match i16::from_be_bytes([*t0, *t1]) {
                0 => ControlType::Abort,
                1 => ControlType::Commit,
                other => ControlType::Other(other),
            })
        }
        _ => Err(ControlError::BadKey),
    }
}

/// Reads a transaction marker out of a control record; `None` for other control types.
///
/// # Errors
/// [`ControlError`] if key or value are malformed.
pub fn parse_marker(
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) -> Result<Option<EndTransactionMarker>, ControlError> {
    let control_type = parse_key(key)?;
    if let ControlType::Other(_) = control_type {
        return Ok(None);
    }
    match value {
        Some([v0, v1, e0, e1, e2, e3, ..]) if i16::from_be_bytes([*v0, *v1]) >= 0 => {
            Ok(Some(EndTransactionMarker {
                control_type,
                coordinator_epoch: i32::from_be_bytes([*e0, *e1, *e2, *e3]),
            }))
        }
        _ => Err(ControlError::BadValue),
    }
}

/// Builds the control batch with which a coordinator ends a transaction; offsets start at 0.
pub fn marker_batch(
    marker: EndTransactionMarker,
    producer_id: i64,
    producer_epoch: i16,
    timestamp: i64,
) -> Bytes {
    let mut key = BytesMut::with_capacity(4);
    key.put_i16(0);
    key.put_i16(marker.control_type.code());
    let mut value = BytesMut::with_capacity(6);
    value.put_i16(0);
    value.put_i32(marker.coordinator_epoch);
    let mut builder = BatchBuilder::new(BatchBuilderOptions {
        producer_id,
        producer_epoch,
        transactional: true,
        control: true,
        ..BatchBuilderOptions::default()
    });
    builder.push(&Record {
        offset: 0,
        timestamp,
        key: Some(key.freeze()),
        value: Some(value.freeze()),
        headers: Vec::new(),
    });
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::batch::BatchView;

    #[test]
    fn marker_round_trip() {
        let marker = EndTransactionMarker {
            control_type: ControlType::Commit,
            coordinator_epoch: 7,
        };
        let bytes = marker_batch(marker, 42, 3, 1_000);
        let batch = BatchView::parse(&bytes).unwrap();
        assert!(batch.header.is_control() && batch.header.is_transactional() && batch.crc_ok());
        assert_eq!(
            (batch.header.producer_id, batch.header.base_sequence),
            (42, -1)
        );
        let record = batch.records(batch.payload()).next().unwrap().unwrap();
        assert_eq!(parse_marker(record.key, record.value), Ok(Some(marker)));
        assert_eq!(
            parse_marker(Some(&[0, 0, 0, 1]), None),
            Err(ControlError::BadValue)
        );
    }
}
