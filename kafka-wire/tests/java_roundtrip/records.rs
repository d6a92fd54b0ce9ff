//! Shell: codecs, message sets and conversions against Kafka's own classes.

use kafka_wire::records::batch::{BatchView, Batches};
use kafka_wire::records::batch_builder::{BatchBuilder, BatchBuilderOptions};
use kafka_wire::records::compression::{Codec, compress, decompress};
use kafka_wire::records::convert::{down_convert, up_convert};
use kafka_wire::records::legacy::{MessageSetBuilder, MessageSetOptions, Messages};
use kafka_wire::records::lz4::{self, HeaderChecksum};
use kafka_wire::records::record::Record;

use crate::peer::{Vector, ask_java};

const LIMIT: usize = 64 << 20;
/// The time that the checker stamps on sets whose timestamps are the broker's.
const LOG_APPEND_TIME: i64 = 1_717_000_000_123;
const LEGACY_CODECS: [Codec; 4] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4];

fn texts() -> Vec<Vec<u8>> {
    let noise = |count: u32| (0..count).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8);
    vec![
        b"x".to_vec(),
        b"tandem ".repeat(30_000),
        noise(150_000).collect(),
        noise(70_000)
            .chain(std::iter::repeat_n(b'a', 200_000))
            .collect(),
    ]
}

fn pack(codec: Codec, magic: i8, text: &[u8]) -> Vec<u8> {
    match (codec, magic) {
        (Codec::Lz4, 0) => lz4::compress(text, HeaderChecksum::Broken).unwrap(),
        _ => compress(codec, text).unwrap().into_owned(),
    }
}

fn unpack(codec: Codec, magic: i8, bytes: &[u8]) -> Vec<u8> {
    match (codec, magic) {
        (Codec::Lz4, 0) => lz4::decompress(bytes, LIMIT, HeaderChecksum::Broken).unwrap(),
        _ => decompress(codec, bytes, LIMIT).unwrap().into_owned(),
    }
}

#[test]
fn codecs_read_each_other() {
    let mut vectors = Vec::new();
    let mut expected = Vec::new();
    for codec in Codec::ALL {
        for magic in [0, 1, 2] {
            if codec == Codec::Zstd && magic < 2 {
                continue;
            }
            for text in texts() {
                let name = codec.name();
                let version = i16::from(magic);
                let bytes = pack(codec, magic, &text);
                vectors.push(Vector {
                    name: format!("unpack:{name}"),
                    version,
                    bytes,
                });
                let bytes = text.clone();
                vectors.push(Vector {
                    name: format!("pack:{name}"),
                    version,
                    bytes,
                });
                expected.push((codec, magic, text));
            }
        }
    }
    let answers = ask_java(&vectors);
    for ((codec, magic, text), java) in expected.iter().zip(answers.chunks(2)) {
        let place = format!("{} in magic {magic}, {} bytes", codec.name(), text.len());
        assert!(
            java[0].as_ref() == Ok(text),
            "Java does not read ours: {place}"
        );
        let packed = java[1].as_ref().unwrap();
        assert!(
            unpack(*codec, *magic, packed) == *text,
            "we do not read Java's: {place}"
        );
    }
}

fn records() -> Vec<Record> {
    let text = |text: &str| Some(bytes::Bytes::copy_from_slice(text.as_bytes()));
    let record = |offset, timestamp, key, value| Record {
        offset,
        timestamp,
        key,
        value,
        headers: Vec::new(),
    };
    vec![
        record(1000, 1_600_000_000_000, text("k"), text("v")),
        record(1001, 1_600_000_000_500, None, text("")),
        record(1003, 1_600_000_000_100, text(""), None),
        record(1007, 1_500_000_000_000, None, text(&"long ".repeat(2000))),
    ]
}

fn batch(codec: Codec, log_append_time: Option<i64>) -> Vec<u8> {
    let options = BatchBuilderOptions {
        base_offset: 1000,
        log_append_time,
        ..BatchBuilderOptions::default()
    };
    let mut builder = BatchBuilder::new(options);
    for record in records() {
        builder.push(&record);
    }
    let payload = compress(codec, builder.payload()).unwrap().into_owned();
    builder.build_compressed(codec.id(), &payload).to_vec()
}

fn line(magic: i8, record: &Record) -> String {
    let text = |bytes: &Option<bytes::Bytes>| match bytes {
        Some(bytes) => format!("'{}'", String::from_utf8_lossy(bytes)),
        None => "null".to_owned(),
    };
    let (key, value) = (text(&record.key), text(&record.value));
    format!(
        "{magic} {} {} {key} {value}\n",
        record.offset, record.timestamp
    )
}

fn list(set: &[u8]) -> String {
    let mut lines = String::new();
    if set[16] == 2 {
        for batch in Batches::new(set) {
            let batch: BatchView<'_> = batch.unwrap();
            let codec = Codec::from_id(batch.header.codec_id()).unwrap();
            let payload = decompress(codec, batch.payload(), LIMIT).unwrap();
            for record in batch.records(&payload) {
                lines.push_str(&line(2, &record.unwrap().to_owned_record()));
            }
        }
        return lines;
    }
    for message in Messages::new(set) {
        let message = message.unwrap();
        assert!(message.crc_ok());
        for record in message.records(LIMIT).unwrap() {
            lines.push_str(&line(message.magic, &record));
        }
    }
    lines
}

fn message_set(magic: i8, codec: Codec, log_append_time: Option<i64>) -> Vec<u8> {
    let options = MessageSetOptions {
        magic,
        codec,
        base_offset: 1000,
        log_append_time,
    };
    let mut builder = MessageSetBuilder::new(options);
    for record in records() {
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        builder.push(record.offset, record.timestamp, key, value);
    }
    builder.finish().unwrap().to_vec()
}

#[test]
fn message_sets_are_javas() {
    let mut vectors = Vec::new();
    let mut ours = Vec::new();
    for magic in [0, 1] {
        for codec in LEGACY_CODECS {
            for (kind, time) in [
                ("CreateTime", None),
                ("LogAppendTime", Some(LOG_APPEND_TIME)),
            ] {
                let name = format!("build:{}:{kind}", codec.name());
                let version = i16::from(magic);
                vectors.push(Vector {
                    name,
                    version,
                    bytes: batch(Codec::None, None),
                });
                let set = message_set(magic, codec, time);
                vectors.push(Vector {
                    name: "list:".into(),
                    version,
                    bytes: set.clone(),
                });
                ours.push((codec, set));
            }
        }
    }
    let answers = ask_java(&vectors);
    for ((codec, set), java) in ours.iter().zip(answers.chunks(2)) {
        let built = java[0].as_ref().unwrap();
        if *codec == Codec::None {
            assert_eq!(built, set);
        }
        assert_eq!(list(built), list(set));
        assert_eq!(
            String::from_utf8(java[1].clone().unwrap()).unwrap(),
            list(set)
        );
    }
}

#[test]
fn conversions_are_javas() {
    let mut vectors = Vec::new();
    let mut ours = Vec::new();
    for magic in [0, 1] {
        for codec in LEGACY_CODECS {
            for time in [None, Some(LOG_APPEND_TIME)] {
                for source in [batch(codec, time), message_set(1, codec, time)] {
                    for offset in [0, 1003] {
                        let converted = down_convert(&source, magic, offset, LIMIT).unwrap();
                        ours.push((codec, converted.to_vec()));
                        let name = format!("down:{offset}");
                        let version = i16::from(magic);
                        vectors.push(Vector {
                            name,
                            version,
                            bytes: source.clone(),
                        });
                    }
                }
            }
        }
    }
    for ((codec, ours), java) in ours.iter().zip(ask_java(&vectors)) {
        let java = java.unwrap();
        if *codec == Codec::None {
            assert_eq!(java, *ours);
        }
        assert_eq!(list(&java), list(ours));
    }
    // Up: what Java lists of our batch is what it lists of the set, but for the offsets.
    let up = up_convert(&message_set(1, Codec::Gzip, None), 1000, LIMIT)
        .unwrap()
        .to_vec();
    let vector = Vector {
        name: "list:".into(),
        version: 2,
        bytes: up.clone(),
    };
    let java = ask_java(&[vector]).remove(0).unwrap();
    assert_eq!(String::from_utf8(java).unwrap(), list(&up));
}
