//! Tests of the validator: each rule with the code and text of Apache's broker.

use bytes::{Bytes, BytesMut};
use kafka_wire::error_code::ErrorCode;
use kafka_wire::records::batch::{BatchHeader, BatchView, TimestampType};
use kafka_wire::records::batch_builder::{BatchBuilder, BatchBuilderOptions};
use kafka_wire::records::compression::{Codec, compress};
use kafka_wire::records::legacy::{MessageSetBuilder, MessageSetOptions};

use crate::log::append::{AppendError, AppendOptions, AppendOrigin};
use crate::log::codec;
use crate::log::config::LogConfig;
use crate::log::validator::{ValidBatch, validate};

const NOW: i64 = 1_700_000_000_000;

fn config(entries: &[(&str, &str)]) -> LogConfig {
    LogConfig::from_entries(entries.iter().copied()).unwrap()
}

fn options() -> AppendOptions {
    AppendOptions {
        origin: AppendOrigin::Client,
        now_ms: NOW,
    }
}

fn check(records: &Bytes, settings: &[(&str, &str)]) -> Result<ValidBatch, AppendError> {
    validate(records, &config(settings), &options(), "t-0").map(Option::unwrap)
}

fn builder() -> BatchBuilder {
    BatchBuilder::new(BatchBuilderOptions::default())
}

fn plain() -> Bytes {
    let mut builder = builder();
    builder.append(NOW, Some(b"k"), Some(b"v"));
    builder.append(NOW - 5, Some(b"k"), Some(b"v"));
    builder.build()
}

fn packed(codec: Codec) -> Bytes {
    let mut builder = builder();
    builder.append(NOW - 5, Some(b"k"), Some(b"v"));
    builder.append(NOW, Some(b"k"), Some(b"v"));
    let payload = compress(codec, builder.payload()).unwrap().into_owned();
    builder.build_compressed(codec.id(), &payload)
}

/// Changes the header and makes the checksum right again.
fn with_header(batch: &Bytes, change: impl FnOnce(&mut BatchHeader)) -> Bytes {
    let mut header = BatchHeader::parse(batch).unwrap();
    change(&mut header);
    header.crc = header.compute_crc(&batch[61..]);
    let mut bytes = BytesMut::from(&header.encode()[..]);
    bytes.extend_from_slice(&batch[61..]);
    bytes.freeze()
}

fn code(result: Result<ValidBatch, AppendError>) -> ErrorCode {
    result.unwrap_err().code()
}

#[test]
fn malformed_batches() {
    let good = plain();
    assert!(
        validate(&Bytes::new(), &config(&[]), &options(), "t-0")
            .unwrap()
            .is_none()
    );
    let truncated = good.slice(..good.len() - 1);
    assert!(
        validate(&truncated, &config(&[]), &options(), "t-0")
            .unwrap()
            .is_none()
    );
    let mut flipped = good.to_vec();
    flipped[70] ^= 1;
    assert_eq!(code(check(&flipped.into(), &[])), ErrorCode::CorruptMessage);
    let mut two = good.to_vec();
    two.extend_from_slice(&good);
    assert_eq!(code(check(&two.into(), &[])), ErrorCode::InvalidRecord);
    for change in [
        (|h: &mut BatchHeader| h.base_offset = 1) as fn(&mut BatchHeader),
        |h| h.record_count = 1,
        |h| h.record_count = 3,
        |h| h.last_offset_delta = -1,
        |h| h.attributes |= 0x20,
        |h| {
            h.producer_id = 5;
            h.base_sequence = -1;
        },
    ] {
        assert_eq!(
            code(check(&with_header(&good, change), &[])),
            ErrorCode::InvalidRecord
        );
    }
    // A count that fits the offsets but not the bytes.
    let lying = with_header(&good, |h| (h.record_count, h.last_offset_delta) = (3, 2));
    assert_eq!(code(check(&lying, &[])), ErrorCode::InvalidRecord);
    assert_eq!(
        code(check(&good, &[("max.message.bytes", "70")])),
        ErrorCode::MessageTooLarge
    );
}

#[test]
fn codecs_that_are_not_what_they_say() {
    for codec in [6, 4] {
        let bad = with_header(&plain(), |h| h.attributes |= codec);
        assert_eq!(code(check(&bad, &[])), ErrorCode::UnknownServerError);
    }
}

#[test]
fn the_payload_stays_unless_the_topic_wants_another_codec() {
    for source in Codec::ALL {
        let batch = if source == Codec::None {
            plain()
        } else {
            packed(source)
        };
        for target in ["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"] {
            let valid = check(&batch, &[("compression.type", target)]).unwrap();
            let wanted = match target {
                "producer" => source,
                "uncompressed" => Codec::None,
                name => Codec::from_name(name).unwrap(),
            };
            assert_eq!(valid.header.codec_id(), wanted.id());
            assert_eq!(valid.rewritten, wanted != source);
            if !valid.rewritten {
                assert_eq!(valid.payload, batch[61..]);
            }
            let mut bytes = valid.header.encode().to_vec();
            bytes.extend_from_slice(&valid.payload);
            let view = BatchView::parse(&bytes).unwrap();
            assert!(view.crc_ok());
            let records = codec::decompress(&view).unwrap();
            assert_eq!(view.records(&records).map(Result::unwrap).count(), 2);
            assert_eq!(view.header.max_timestamp, NOW);
        }
    }
}

#[test]
fn timestamps() {
    let settings = [
        ("message.timestamp.before.max.ms", "4"),
        ("message.timestamp.after.max.ms", "0"),
    ];
    let error = check(&plain(), &settings).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidTimestamp);
    let failures = error.record_failures();
    assert_eq!((failures.len(), failures[0].index), (1, 1));
    assert!(check(&plain(), &[("message.timestamp.before.max.ms", "5")]).is_ok());
    let typed = with_header(&plain(), |h| h.attributes |= 8);
    // Its own timestamps count: the type matters only where the topic stamps, or a record has none.
    assert!(check(&typed, &[]).is_ok());
    let stamping = [("message.timestamp.type", "LogAppendTime")];
    assert_eq!(code(check(&typed, &stamping)), ErrorCode::InvalidTimestamp);
    let valid = check(&plain(), &stamping).unwrap();
    assert_eq!(valid.header.timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!(valid.header.max_timestamp, NOW);
    assert_eq!(valid.header.crc, valid.header.compute_crc(&valid.payload));
    // A wrong maximum in the header is put right.
    let wrong = with_header(&plain(), |h| h.max_timestamp = NOW + 99);
    assert_eq!(check(&wrong, &[]).unwrap().header.max_timestamp, NOW);
}

#[test]
fn compacted_topics_need_keys() {
    let mut builder = builder();
    builder.append(NOW, Some(b"k"), None);
    for _ in 0..5 {
        builder.append(NOW, None, Some(b"v"));
    }
    let error = check(&builder.build(), &[("cleanup.policy", "compact")]).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidRecord);
    let indexes: Vec<i32> = error.record_failures().iter().map(|f| f.index).collect();
    assert_eq!(indexes, [1, 2, 3, 4, 5]);
    assert!(
        error
            .to_string()
            .contains("due to 5 record errors in total"),
        "{error}"
    );
}

#[test]
fn old_formats_become_one_batch() {
    for magic in [0, 1] {
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4] {
            let mut set = MessageSetBuilder::new(MessageSetOptions {
                magic,
                codec,
                base_offset: 0,
                log_append_time: None,
            });
            for offset in 0..3 {
                set.push(offset, NOW + offset, Some(b"k"), Some(b"v"));
            }
            let set = set.finish().unwrap();
            let valid = validate(&set, &config(&[]), &options(), "t-0")
                .unwrap()
                .unwrap();
            assert_eq!(valid.header.record_count, 3);
            assert_eq!(valid.header.codec_id(), codec.id());
            assert_eq!(
                valid.header.max_timestamp,
                if magic == 0 { -1 } else { NOW + 2 }
            );
            let mut flipped = set.to_vec();
            let last = flipped.len() - 1;
            flipped[last] ^= 1;
            let error = validate(&flipped.into(), &config(&[]), &options(), "t-0");
            assert_eq!(error.unwrap_err().code(), ErrorCode::CorruptMessage);
        }
    }
}

#[test]
fn hostile_bytes_under_a_right_checksum_are_errors_or_batches() {
    for codec in Codec::ALL {
        let batch = if codec == Codec::None {
            plain()
        } else {
            packed(codec)
        };
        for at in 21..batch.len() {
            for mask in [1, 2, 0x10, 0x80, 0xff] {
                let mut bytes = batch.to_vec();
                bytes[at] ^= mask;
                let mutated = with_header(&bytes.into(), |_| {});
                for settings in [&[][..], &[("compression.type", "gzip")]] {
                    if let Ok(valid) = check(&mutated, settings) {
                        assert_eq!(valid.header.crc, valid.header.compute_crc(&valid.payload));
                        assert_eq!(valid.header.size_bytes(), valid.size_bytes());
                    }
                }
            }
        }
    }
}
