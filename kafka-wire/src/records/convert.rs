//! Pure: conversion between message sets of magic 0 and 1 and batches of magic 2.

use bytes::{BufMut, Bytes, BytesMut};

use crate::records::batch::{
    BatchError, BatchView, MAGIC_POSITION, MAGIC_V2, NO_TIMESTAMP, TimestampType,
};
use crate::records::batch_builder::{BatchBuilder, BatchBuilderOptions};
use crate::records::compression::{self, Codec};
use crate::records::legacy::{LegacyError, MessageSetBuilder, MessageSetOptions, MessageView};
use crate::records::record::Record;

/// Converts batches for a reader that knows no more than `to_magic` (0 or 1), as Kafka's
/// `RecordsUtil.downConvert`: control batches and headers go, batches of that magic or older stay
/// as they are, and of uncompressed batches the records before `first_offset` are left out. An
/// incomplete batch at the end is left out too. `max_bytes` bounds each decompressed batch.
///
/// # Errors
/// [`LegacyError::UnsupportedCodec`] for zstd (Kafka answers UNSUPPORTED_COMPRESSION_TYPE), and
/// others for batches that are not well-formed.
pub fn down_convert(
    batches: &[u8],
    to_magic: i8,
    first_offset: i64,
    max_bytes: usize,
) -> Result<Bytes, LegacyError> {
    let mut out = BytesMut::new();
    let mut rest = batches;
    while let Some(magic) = rest.get(MAGIC_POSITION).map(|magic| magic.cast_signed()) {
        let parsed = if magic == MAGIC_V2 {
            BatchView::parse(rest)
                .map(|batch| batch.bytes())
                .map_err(LegacyError::from)
        } else {
            MessageView::parse(rest).map(|message| message.bytes())
        };
        let bytes = match parsed {
            Err(
                LegacyError::Truncated { .. } | LegacyError::Batch(BatchError::Truncated { .. }),
            ) => {
                break;
            }
            other => other?,
        };
        rest = &rest[bytes.len()..];
        if magic <= to_magic {
            out.put_slice(bytes);
        } else {
            let batch = Decoded::read(bytes, magic, max_bytes)?;
            out.put_slice(&batch.convert(to_magic, first_offset)?);
        }
    }
    Ok(out.freeze())
}

/// Converts one message set to one uncompressed batch of magic 2 whose records count from
/// `base_offset`, as Kafka does with what old producers send.
///
/// # Errors
/// [`LegacyError`], also for a checksum that does not fit and for an incomplete message.
pub fn up_convert(set: &[u8], base_offset: i64, max_bytes: usize) -> Result<Bytes, LegacyError> {
    let mut builder = BatchBuilder::new(BatchBuilderOptions {
        base_offset,
        ..BatchBuilderOptions::default()
    });
    let mut rest = set;
    while !rest.is_empty() {
        let message = MessageView::parse(rest)?;
        if !message.crc_ok() {
            return Err(LegacyError::BadChecksum {
                offset: message.offset,
            });
        }
        for record in message.records(max_bytes)? {
            builder.append(
                record.timestamp,
                record.key.as_deref(),
                record.value.as_deref(),
            );
        }
        rest = &rest[message.bytes().len()..];
    }
    Ok(builder.build())
}

/// A batch of magic 1 or 2, decompressed.
struct Decoded {
    records: Vec<Record>,
    codec: Codec,
    log_append_time: Option<i64>,
}

impl Decoded {
    fn read(bytes: &[u8], magic: i8, max_bytes: usize) -> Result<Self, LegacyError> {
        if magic != MAGIC_V2 {
            let message = MessageView::parse(bytes)?;
            let codec = message.codec_id();
            if codec == Codec::Zstd.id() {
                return Err(LegacyError::UnsupportedCodec { codec, magic });
            }
            let records = message.records(max_bytes)?;
            let by_broker = message.timestamp_type() == TimestampType::LogAppendTime;
            return Ok(Self {
                records,
                codec: Codec::from_id(message.codec_id()).unwrap_or_default(),
                log_append_time: by_broker.then_some(message.timestamp),
            });
        }
        let batch = BatchView::parse(bytes)?;
        let header = batch.header;
        if header.is_control() {
            return Ok(Self {
                records: Vec::new(),
                codec: Codec::None,
                log_append_time: None,
            });
        }
        let codec = match Codec::from_id(header.codec_id()) {
            Some(Codec::Zstd) | None => {
                return Err(LegacyError::UnsupportedCodec {
                    codec: header.codec_id(),
                    magic,
                });
            }
            Some(codec) => codec,
        };
        let payload = compression::decompress(codec, batch.payload(), max_bytes)?;
        let mut records = Vec::new();
        for record in batch.records(&payload) {
            records.push(record?.to_owned_record());
        }
        let by_broker = header.timestamp_type() == TimestampType::LogAppendTime;
        Ok(Self {
            records,
            codec,
            log_append_time: by_broker.then_some(header.max_timestamp),
        })
    }

    fn convert(mut self, magic: i8, first_offset: i64) -> Result<Bytes, LegacyError> {
        if self.codec == Codec::None {
            self.records.retain(|record| record.offset >= first_offset);
        }
        let Some(first) = self.records.first() else {
            return Ok(Bytes::new());
        };
        let mut builder = MessageSetBuilder::new(MessageSetOptions {
            magic,
            codec: self.codec,
            base_offset: first.offset,
            log_append_time: self.log_append_time,
        });
        let mut last_offset = None;
        for record in &self.records {
            let unwritable = |reason| LegacyError::Unwritable {
                offset: record.offset,
                reason,
            };
            if last_offset.is_some_and(|last| record.offset <= last) {
                return Err(unwritable("its offset does not follow the one before"));
            }
            if record.timestamp < NO_TIMESTAMP {
                return Err(unwritable("its timestamp is negative"));
            }
            last_offset = Some(record.offset);
            let (key, value) = (record.key.as_deref(), record.value.as_deref());
            builder.push(record.offset, record.timestamp, key, value);
        }
        builder.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(magic: i8, codec: Codec) -> Bytes {
        let options = MessageSetOptions {
            magic,
            codec,
            base_offset: 40,
            log_append_time: None,
        };
        let mut builder = MessageSetBuilder::new(options);
        builder.push(40, 1000, Some(b"k"), Some(b"v"));
        builder.push(42, 1001, None, None);
        builder.finish().unwrap()
    }

    #[test]
    fn sets_convert_up_and_down_again() {
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4] {
            for magic in [0, 1] {
                let set = set(magic, codec);
                let batch = up_convert(&set, 7, 1000).unwrap();
                let down = down_convert(&batch, magic, 8, 1000).unwrap();
                let message = MessageView::parse(&down).unwrap();
                assert!(message.crc_ok());
                assert_eq!(
                    (message.offset, message.key, message.value),
                    (8, None, None)
                );
                assert_eq!(message.timestamp, if magic == 0 { -1 } else { 1001 });
                assert_eq!(down_convert(&set, magic, 0, 1000).unwrap(), set);
            }
        }
    }

    #[test]
    fn damaged_sets_are_refused() {
        let good = set(1, Codec::None);
        assert!(up_convert(&good[..good.len() - 1], 0, 1000).is_err());
        let mut wrong = good.to_vec();
        wrong[20] ^= 1;
        assert_eq!(
            up_convert(&wrong, 0, 1000),
            Err(LegacyError::BadChecksum { offset: 40 })
        );
    }
}
