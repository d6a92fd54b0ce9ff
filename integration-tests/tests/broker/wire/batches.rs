//! Pure: batches and message sets from a seed: good, odd and hostile.

use bytes::Bytes;
use integration_tests::requests::Random;
use kafka_wire::records::batch::{BATCH_HEADER_LEN, BatchHeader, LOG_OVERHEAD, crc32, crc32c};
use kafka_wire::records::batch_builder::{BatchBuilder, BatchBuilderOptions};
use kafka_wire::records::compression::{Codec, compress};
use kafka_wire::records::lz4::{self, HeaderChecksum};
use kafka_wire::records::record::{Record, RecordHeader};

/// The time of most records.
pub const TIME_MS: i64 = 1_700_000_000_000;

/// What is sent to a partition, and what it is called in the transcript.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The kind, for readers of a difference.
    pub what: String,
    /// The bytes.
    pub bytes: Bytes,
}

fn sent(what: impl Into<String>, bytes: impl Into<Bytes>) -> Sent {
    Sent {
        what: what.into(),
        bytes: bytes.into(),
    }
}

fn index(random: &mut Random, limit: usize) -> usize {
    usize::try_from(random.below(limit.max(1) as u64)).unwrap_or(0)
}

/// Something for a Produce request of a version: mostly what its clients send, else anything, packed message sets only
/// where they may be.
pub fn any(random: &mut Random, version: i16, now_ms: i64, wrappers: bool) -> Sent {
    let legacy = if version < 3 { 7 } else { 1 };
    if random.below(9) < legacy {
        let codec = random.pick(&[
            Codec::None,
            Codec::None,
            Codec::Gzip,
            Codec::Snappy,
            Codec::Lz4,
        ]);
        return match random.below(3) {
            0 if wrappers => odd_wrapper(random),
            0 | 1 => odd_set(random),
            _ => good_set(random, if wrappers { codec } else { Codec::None }),
        };
    }
    match random.below(10) {
        0..=4 => good_batch(random, now_ms),
        5 => odd_records(random),
        6 => odd_payload(random),
        7 | 8 => odd_header(random),
        _ => odd_bytes(random, now_ms),
    }
}

fn text(random: &mut Random, longest: u64) -> Option<Bytes> {
    let length = match random.below(6) {
        0 => return None,
        1 => 0,
        _ => random.below(longest),
    };
    let letter = b'a' + u8::try_from(random.below(26)).unwrap_or(0);
    Some(Bytes::from(vec![
        letter;
        usize::try_from(length).unwrap_or(0)
    ]))
}

fn timestamp(random: &mut Random, now_ms: i64) -> i64 {
    match random.below(12) {
        0 => -1,
        1 => 0,
        2 => now_ms - 600_000,
        3 => now_ms - 7_200_000,
        4 => now_ms + 7_200_000,
        5 => TIME_MS - 1_000_000,
        6 => -5,
        _ => TIME_MS + i64::try_from(random.below(1000)).unwrap_or(0),
    }
}

/// Records of a batch; their offsets count from 0.
fn records(random: &mut Random, now_ms: i64) -> Vec<Record> {
    let count = 1 + random.below(4);
    let base = timestamp(random, now_ms);
    let spread = random.below(3) == 0;
    let keyed = random.below(3) > 0;
    let longest = random.pick(&[9, 9, 60, 700]);
    (0..count)
        .map(|offset| Record {
            offset: i64::try_from(offset).unwrap_or(0),
            timestamp: if spread {
                timestamp(random, now_ms)
            } else {
                base
            },
            key: if keyed {
                Some(Bytes::from(format!("k{}", random.below(5))))
            } else {
                text(random, 9)
            },
            value: text(random, longest),
            headers: (0..random.pick(&[0, 0, 0, 1, 3]))
                .map(|_| RecordHeader {
                    key: text(random, 5).unwrap_or_default(),
                    value: text(random, 5),
                })
                .collect(),
        })
        .collect()
}

fn options(random: &mut Random) -> BatchBuilderOptions {
    let mut options = BatchBuilderOptions {
        partition_leader_epoch: random.pick(&[-1, -1, 0, 7]),
        ..BatchBuilderOptions::default()
    };
    if random.below(6) == 0 {
        options.producer_id = 9000 + i64::try_from(random.below(3)).unwrap_or(0);
        options.producer_epoch = random.pick(&[0, 0, 1]);
        options.base_sequence = random.pick(&[0, 0, 1, 2, 4]);
    }
    options
}

fn pack(codec: Codec, magic: i8, data: &[u8]) -> Vec<u8> {
    let packed = match (codec, magic) {
        (Codec::Lz4, 0) => lz4::compress(data, HeaderChecksum::Broken),
        _ => compress(codec, data).map(std::borrow::Cow::into_owned),
    };
    packed.unwrap_or_default()
}

fn build(options: BatchBuilderOptions, codec: Codec, records: &[Record]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    for record in records {
        builder.push(record);
    }
    if codec == Codec::None {
        return builder.build().to_vec();
    }
    let packed = pack(codec, 2, builder.payload());
    builder.build_compressed(codec.id(), &packed).to_vec()
}

fn good_batch(random: &mut Random, now_ms: i64) -> Sent {
    let codec = random.pick(&[
        Codec::None,
        Codec::None,
        Codec::Gzip,
        Codec::Snappy,
        Codec::Lz4,
        Codec::Zstd,
    ]);
    let records = records(random, now_ms);
    let options = options(random);
    let idempotent = if options.producer_id >= 0 {
        " with a producer id"
    } else {
        ""
    };
    sent(
        format!("batch of {} in {}{idempotent}", records.len(), codec.name()),
        build(options, codec, &records),
    )
}

/// Puts the right checksum into a batch of magic 2.
fn seal(batch: &mut [u8]) {
    if batch.len() > 21 {
        let crc = crc32c(&batch[21..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
    }
}

/// A batch with the bytes that are given as its records; count and lengths are right.
pub fn batch_of(codec: Codec, count: i32, payload: &[u8]) -> Vec<u8> {
    let mut header = BatchHeader {
        base_offset: 0,
        length: i32::try_from(BATCH_HEADER_LEN - LOG_OVERHEAD + payload.len()).unwrap_or(0),
        partition_leader_epoch: -1,
        crc: 0,
        attributes: i16::from(codec.id()),
        last_offset_delta: count - 1,
        base_timestamp: TIME_MS,
        max_timestamp: TIME_MS,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        record_count: count,
    };
    header.crc = header.compute_crc(payload);
    [&header.encode()[..], payload].concat()
}

/// Headers that lie about the batch, with a checksum that fits.
fn odd_header(random: &mut Random) -> Sent {
    let records = records(random, TIME_MS);
    let codec = random.pick(&[Codec::None, Codec::None, Codec::Gzip, Codec::Zstd]);
    let mut bytes = build(options(random), codec, &records);
    let mut put = |at: usize, new: &[u8]| bytes[at..at + new.len()].copy_from_slice(new);
    let what = match random.below(13) {
        0 => {
            let count = random.pick(&[0, 1, 2, 3, 5, 6, -1, i32::MIN, i32::MAX, 1 << 24]);
            put(57, &count.to_be_bytes());
            format!("count {count}")
        }
        1 => {
            let delta = random.pick(&[0, 1, 2, 5, -1, -2, i32::MAX, i32::MIN]);
            put(23, &delta.to_be_bytes());
            format!("last offset delta {delta}")
        }
        2 => {
            let count = random.pick(&[1, 2, 3, 5, 9, 1 << 20, i32::MAX]);
            put(57, &count.to_be_bytes());
            put(23, &(count - 1).to_be_bytes());
            format!("count and delta for {count}")
        }
        3 => {
            let base = random.pick(&[1, 5, -1, i64::MAX, i64::MIN]);
            put(0, &base.to_be_bytes());
            format!("base offset {base}")
        }
        4 => {
            let attributes = random.pick(&[
                0x08, 0x20, 0x40, 0x80, 0x100, 0x48, 0x7fc0, 5, 6, 7, 0x28, 1, 2, 3, 4,
            ]);
            put(21, &i16::to_be_bytes(attributes));
            format!("attributes {attributes:#x}")
        }
        5 => {
            let time = random.pick(&[-1, 0, TIME_MS + 5, i64::MAX, i64::MIN, -7]);
            put(35, &time.to_be_bytes());
            format!("max timestamp {time}")
        }
        6 => {
            let time = random.pick(&[-1, 0, i64::MAX, i64::MIN, -7, 1]);
            put(27, &time.to_be_bytes());
            format!("base timestamp {time}")
        }
        7 => {
            let id = random.pick(&[-2, 0, 9100, i64::MAX, i64::MIN]);
            let sequence = random.pick(&[-1, -2, 0, 3, i32::MAX, i32::MIN]);
            let epoch = random.pick(&[-1, 0, 3, i16::MAX, i16::MIN]);
            put(43, &id.to_be_bytes());
            put(51, &epoch.to_be_bytes());
            put(53, &sequence.to_be_bytes());
            format!("producer {id} {epoch} {sequence}")
        }
        8 => {
            let length = random.pick(&[
                -1,
                0,
                13,
                14,
                20,
                48,
                49,
                50,
                60,
                i32::MAX,
                i32::MIN,
                1_000_000,
            ]);
            put(8, &length.to_be_bytes());
            format!("length {length}")
        }
        9 => {
            let magic = random.pick(&[-1, 0, 1, 3, 127]);
            put(16, &i8::to_be_bytes(magic));
            format!("magic {magic}")
        }
        10 => {
            put(17, &[1, 2, 3, 4]);
            return sent("wrong checksum", bytes);
        }
        _ => {
            let at = index(random, bytes.len());
            bytes[at] ^= 1 << random.below(8);
            format!("bit flipped in byte {at}")
        }
    };
    seal(&mut bytes);
    sent(format!("{what} in {}", codec.name()), bytes)
}

fn varint(value: i64) -> Vec<u8> {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    let mut out = Vec::new();
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
    out
}

fn framed(body: &[u8]) -> Vec<u8> {
    [varint(body.len() as i64), body.to_vec()].concat()
}

/// Records that break the rules inside a sound batch.
fn odd_records(random: &mut Random) -> Sent {
    let odd = random.below(17);
    let mut payload = Vec::new();
    let count: i32 = random.pick(&[1, 2, 3]);
    let place = i32::try_from(random.below(count.cast_unsigned().into())).unwrap_or(0);
    let mut what = "nothing odd";
    for number in 0..count {
        let mut parts: [Vec<u8>; 6] = [
            vec![0],
            varint(0),
            varint(number.into()),
            [varint(1), b"k".to_vec()].concat(),
            [varint(3), b"val".to_vec()].concat(),
            varint(0),
        ];
        let mut extra: i64 = 0;
        if number == place {
            what = match odd {
                0 => {
                    parts[0] = vec![0xff];
                    "attributes set"
                }
                1 => {
                    parts[1] = varint(i64::MAX);
                    "largest timestamp delta"
                }
                2 => {
                    parts[1] = vec![0xff; 11];
                    "endless varlong"
                }
                3 => {
                    parts[2] = varint(i64::from(number) + 3);
                    "gap in offsets"
                }
                4 => {
                    parts[2] = varint(-4);
                    "negative offset delta"
                }
                5 => {
                    parts[2] = vec![0xff; 6];
                    "endless varint"
                }
                6 => {
                    parts[3] = varint(-7);
                    "key length -7"
                }
                7 => {
                    parts[3] = [varint(1 << 30), b"k".to_vec()].concat();
                    "huge key length"
                }
                8 => {
                    parts[4] = varint(-9);
                    "value length -9"
                }
                9 => {
                    parts[4] = [varint(900), b"v".to_vec()].concat();
                    "value beyond the record"
                }
                10 => {
                    parts[5] = varint(-1);
                    "-1 headers"
                }
                11 => {
                    parts[5] = varint(1 << 30);
                    "2^30 headers"
                }
                12 => {
                    parts[5] = [varint(1), varint(-1), varint(-1)].concat();
                    "header without key"
                }
                13 => {
                    parts[5] = [varint(1), varint(0), varint(-3)].concat();
                    "header value length -3"
                }
                14 => {
                    extra = random.pick(&[1, -1, 5, -40]);
                    "record length is off"
                }
                15 => {
                    parts[5].push(0);
                    "a byte more in the record"
                }
                _ => {
                    parts[5] = [varint(1), varint(2), vec![0xff, 0xfe], varint(0)].concat();
                    "header key is not text"
                }
            };
        }
        let body = parts.concat();
        if extra == 0 {
            payload.extend(framed(&body));
        } else {
            payload.extend(varint(body.len() as i64 + extra));
            payload.extend(body);
        }
    }
    let codec = random.pick(&[Codec::None, Codec::Gzip, Codec::Lz4, Codec::Snappy]);
    sent(
        format!("{what}, {}", codec.name()),
        batch_of(codec, count, &pack(codec, 2, &payload)),
    )
}

/// Compressed payloads that do not hold what they should.
fn odd_payload(random: &mut Random) -> Sent {
    let codec = random.pick(&[Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd]);
    let records = records(random, TIME_MS);
    let mut builder = BatchBuilder::new(BatchBuilderOptions::default());
    for record in &records {
        builder.push(record);
    }
    let plain = builder.payload().to_vec();
    let count = i32::try_from(records.len()).unwrap_or(1);
    let packed = pack(codec, 2, &plain);
    let (what, payload) = match random.below(8) {
        0 => (
            "cut payload",
            packed[..index(random, packed.len())].to_vec(),
        ),
        1 => (
            "garbage after the payload",
            [packed, vec![0x41; 7]].concat(),
        ),
        2 => ("payload not packed", plain),
        3 => ("empty payload", Vec::new()),
        4 => ("payload twice", [packed.clone(), packed].concat()),
        5 => {
            let mut packed = packed;
            let at = index(random, packed.len());
            packed[at] ^= 1 << random.below(8);
            ("flipped bit in the payload", packed)
        }
        6 => (
            "a record more than counted",
            pack(
                codec,
                2,
                &[plain.clone(), framed(&[0, 0, 0, 1, 1, 0])].concat(),
            ),
        ),
        _ => (
            "a byte short of the last record",
            pack(codec, 2, &plain[..plain.len() - 1]),
        ),
    };
    sent(
        format!("{what}, {}", codec.name()),
        batch_of(codec, count, &payload),
    )
}

/// Sound batches cut, joined or followed by something.
fn odd_bytes(random: &mut Random, now_ms: i64) -> Sent {
    let good = good_batch(random, now_ms).bytes;
    match random.below(8) {
        0 => sent("nothing", Bytes::new()),
        1 => sent("cut off", good.slice(..index(random, good.len()))),
        2 => sent("two batches", [&good[..], &good[..]].concat()),
        3 => sent(
            "one and a half",
            [&good[..], &good[..good.len() / 2]].concat(),
        ),
        4 => sent("batch and noise", [&good[..], &[0xff; 30]].concat()),
        5 => sent("batch and zeros", [&good[..], &[0; 40]].concat()),
        6 => sent(
            "batch and message",
            [
                &good[..],
                &message(1, 0, 0, TIME_MS, Some(b"k"), Some(b"v")),
            ]
            .concat(),
        ),
        _ => sent("noise", vec![0x5a; index(random, 90)]),
    }
}

/// A message of magic 0 or 1 with a checksum that fits.
pub fn message(
    magic: i8,
    attributes: u8,
    offset: i64,
    timestamp: i64,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) -> Vec<u8> {
    let mut tail = vec![magic.cast_unsigned(), attributes];
    if magic > 0 {
        tail.extend(timestamp.to_be_bytes());
    }
    for part in [key, value] {
        match part {
            Some(part) => {
                tail.extend((part.len() as u32).to_be_bytes());
                tail.extend(part);
            }
            None => tail.extend((-1_i32).to_be_bytes()),
        }
    }
    let mut out = offset.to_be_bytes().to_vec();
    out.extend((tail.len() as u32 + 4).to_be_bytes());
    out.extend(crc32(&tail).to_be_bytes());
    out.extend(tail);
    out
}

/// Messages one after another, with offsets from 0.
fn messages(random: &mut Random, magic: i8) -> (u64, Vec<u8>) {
    let count = 1 + random.below(4);
    let keyed = random.below(3) > 0;
    let mut set = Vec::new();
    for offset in 0..count {
        let key = if keyed {
            Some(Bytes::from_static(b"old"))
        } else {
            text(random, 5)
        };
        let value = text(random, random_length(offset));
        let time = timestamp(random, TIME_MS);
        set.extend(message(
            magic,
            0,
            offset.cast_signed(),
            time,
            key.as_deref(),
            value.as_deref(),
        ));
    }
    (count, set)
}

fn random_length(offset: u64) -> u64 {
    if offset == 3 { 200 } else { 20 }
}

fn good_set(random: &mut Random, codec: Codec) -> Sent {
    let magic = random.pick(&[0, 1]);
    let (count, set) = messages(random, magic);
    let what = format!("{count} messages of magic {magic} in {}", codec.name());
    if codec == Codec::None {
        return sent(what, set);
    }
    let last = if random.below(3) == 0 {
        0
    } else {
        count.cast_signed() - 1
    };
    let packed = pack(codec, magic, &set);
    let wrapper = message(magic, codec.id(), last, TIME_MS, None, Some(&packed));
    sent(what, wrapper)
}

fn one(magic: i8, attributes: u8) -> Vec<u8> {
    message(magic, attributes, 0, TIME_MS, Some(b"k"), Some(b"v"))
}

/// Message sets that break a rule.
fn odd_set(random: &mut Random) -> Sent {
    let magic = random.pick(&[0, 1]);
    let (_, mut set) = messages(random, magic);
    let (what, bytes) = match random.below(8) {
        0 => {
            let at = 12 + index(random, set.len() - 12);
            set[at] ^= 1 << random.below(8);
            ("flipped bit", set)
        }
        1 => ("cut set", set[..index(random, set.len())].to_vec()),
        2 => ("mixed magics", [one(0, 0), one(1, 0)].concat()),
        3 => {
            let records = records(random, TIME_MS);
            let batch = build(BatchBuilderOptions::default(), Codec::None, &records);
            ("message then batch", [one(magic, 0), batch].concat())
        }
        4 => ("message by append time", one(magic, 8)),
        5 => ("unknown codec", one(magic, random.pick(&[5, 6, 7]))),
        6 => (
            "attributes set",
            one(magic, random.pick(&[0x10, 0x20, 0x80, 0xf0])),
        ),
        _ => {
            let mut bytes = one(magic, 0);
            let at = 18 + if magic > 0 { 8 } else { 0 };
            let length: i32 = random.pick(&[-2, 0, 2, 100, i32::MAX, i32::MIN]);
            bytes[at..at + 4].copy_from_slice(&length.to_be_bytes());
            let crc = crc32(&bytes[16..]);
            bytes[12..16].copy_from_slice(&crc.to_be_bytes());
            ("key length", bytes)
        }
    };
    sent(format!("{what}, magic {magic}"), bytes)
}

/// Packed message sets that break a rule.
fn odd_wrapper(random: &mut Random) -> Sent {
    let magic = random.pick(&[0, 1]);
    let codec = random.pick(&[Codec::Gzip, Codec::Snappy, Codec::Lz4]);
    let (count, set) = messages(random, magic);
    let last = count.cast_signed() - 1;
    let raw = |attributes: u8, last: i64, value: Option<&[u8]>| {
        message(magic, codec.id() | attributes, last, TIME_MS, None, value)
    };
    let wrap = |attributes: u8, last: i64, set: &[u8]| {
        raw(attributes, last, Some(&pack(codec, magic, set)))
    };
    let good = wrap(0, last, &set);
    let (what, bytes) = match random.below(17) {
        0 => ("two wrappers", [&good[..], &good[..]].concat()),
        1 => ("wrapper then message", [good, one(magic, 0)].concat()),
        2 => ("message then wrapper", [one(magic, 0), good].concat()),
        3 => ("wrapper in a wrapper", wrap(0, 0, &good)),
        4 => ("other magic inside", wrap(0, 0, &one(1 - magic, 0))),
        5 => ("magic 2 inside", wrap(0, 0, &one(2, 0))),
        6 => ("empty wrapper", wrap(0, 0, &[])),
        7 => ("null in a wrapper", raw(0, 0, None)),
        8 => ("wrapper by append time", wrap(8, last, &set)),
        9 => ("wrapper offset too low", wrap(0, last - 1, &set)),
        10 => ("wrapper offset 1000", wrap(0, 1000, &set)),
        11 => {
            let mut inner = set.clone();
            let at = index(random, inner.len());
            inner[at] ^= 1 << random.below(8);
            ("flipped bit inside", wrap(0, last, &inner))
        }
        12 => (
            "cut inside",
            wrap(0, last, &set[..index(random, set.len())]),
        ),
        13 => {
            let packed = pack(Codec::Zstd, 2, &set);
            (
                "zstd wrapper",
                message(magic, 4, 0, TIME_MS, None, Some(&packed)),
            )
        }
        14 => ("not packed", raw(0, 0, Some(&set))),
        15 => {
            let mut packed = pack(codec, magic, &set);
            let at = index(random, packed.len());
            packed[at] ^= 1 << random.below(8);
            ("flipped bit in what is packed", raw(0, last, Some(&packed)))
        }
        _ => {
            let packed = pack(codec, magic, &set);
            let cut = &packed[..index(random, packed.len())];
            ("cut in what is packed", raw(0, last, Some(cut)))
        }
    };
    sent(format!("{what}, magic {magic}, {}", codec.name()), bytes)
}
