//! What producers send, of every magic and codec, through the leader's checks and the conversions for old consumers: what is accepted
//! is one sound batch, which is converted or refused.
//!
//! The first byte chooses the topic's configuration; the second whether checksums and lengths are made right, so that more than the
//! checksum is tried, and how often the rest is repeated and packed, so that payloads are packed well.
#![no_main]

use broker::log::append::{AppendOptions, AppendOrigin};
use broker::log::config::LogConfig;
use broker::log::validator::validate;
use bytes::Bytes;
use kafka_wire::records::batch::{BatchView, crc32, crc32c};
use kafka_wire::records::compression::{Codec, compress, decompress};
use kafka_wire::records::convert::down_convert;
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 1 << 20;
const NOW: i64 = 1_700_000_000_000;

fn config(choice: u8) -> LogConfig {
    let codec = ["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"][usize::from(choice % 6)];
    let kind = if choice & 0x40 == 0 { "CreateTime" } else { "LogAppendTime" };
    let policy = if choice & 0x80 == 0 { "delete" } else { "compact" };
    let entries = [
        ("compression.type", codec),
        ("message.timestamp.type", kind),
        ("cleanup.policy", policy),
        ("message.timestamp.before.max.ms", "1000000000000"),
    ];
    LogConfig::from_entries(entries).expect("the configuration is sound")
}

/// Makes length and checksum of a single batch or message fit; magic 2 gets its payload packed by its codec.
fn seal(data: &[u8], pack: bool) -> Vec<u8> {
    let mut bytes = data.to_vec();
    if bytes.len() < 27 {
        return bytes;
    }
    let magic = bytes[16] % 3;
    bytes[16] = magic;
    if magic == 2 && pack && bytes.len() > 61 {
        let codec = Codec::from_id(bytes[22] & 7).unwrap_or_default();
        let packed = compress(codec, &bytes[61..]).expect("it can be packed").into_owned();
        bytes.truncate(61);
        bytes.extend(packed);
        bytes[..8].fill(0);
    }
    let length = (bytes.len() as u32 - 12).to_be_bytes();
    bytes[8..12].copy_from_slice(&length);
    let (at, sum) = if magic == 2 { (17, crc32c(&bytes[21..])) } else { (12, crc32(&bytes[16..])) };
    bytes[at..at + 4].copy_from_slice(&sum.to_be_bytes());
    bytes
}

fuzz_target!(|data: &[u8]| {
    let [choice, how, rest @ ..] = data else { return };
    for codec in Codec::ALL {
        if let Ok(plain) = decompress(codec, rest, LIMIT) {
            assert!(plain.len() <= LIMIT);
        }
    }
    let sent: Bytes = match how % 4 {
        0 => rest.to_vec(),
        1 => seal(rest, false),
        2 => seal(rest, true),
        _ => [seal(rest, true), seal(rest, false)].concat(),
    }
    .into();
    let options = AppendOptions { origin: AppendOrigin::Client, now_ms: NOW };
    let Ok(Some(valid)) = validate(&sent, &config(*choice), &options, "t-0") else { return };
    let kept = [&valid.header.encode()[..], &valid.payload].concat();
    let view = BatchView::parse(&kept).expect("what is kept is a batch");
    assert!(view.crc_ok(), "what is kept has the right checksum");
    assert_eq!(view.header.last_offset_delta + 1, view.header.record_count);
    let codec = Codec::from_id(view.header.codec_id()).expect("its codec is known");
    let plain = decompress(codec, view.payload(), 1 << 28).expect("it can be unpacked");
    if codec == Codec::None || valid.rewritten {
        // What is kept packed as it came is not looked at as closely.
        assert!(view.records(&plain).all(|record| record.is_ok()));
    }
    for magic in [0, 1] {
        if let Ok(old) = down_convert(&kept, magic, 0, LIMIT) {
            assert_eq!(down_convert(&old, magic, 0, LIMIT).expect("old messages stay"), old);
        }
    }
});
