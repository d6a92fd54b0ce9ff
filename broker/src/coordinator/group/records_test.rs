//! Records that a Kafka 3.7.1 broker wrote to `__consumer_offsets` (`golden/consumer_offsets.tsv`:
//! partition, key, value in hex, in the order of the log), read and written again.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use kafka_wire::message::decode_versioned;
use kafka_wire::messages::group_metadata_record::GroupMetadataValue;

use crate::coordinator::group::group::Group;
use crate::coordinator::group::load::{Loader, Placed};
use crate::coordinator::group::message::{Effects, GroupSettings, Now};
use crate::coordinator::group::offsets::OffsetAndMetadata;
use crate::coordinator::group::records::{
    GroupKey, decode_group, decode_key, decode_offset, group_key, group_record, offset_key,
    offset_record,
};
use crate::coordinator::topic_partition::TopicPartition;

const NOW: Now = Now {
    wall_ms: 1_800_000_000_000,
    mono_ms: 0,
};

fn settings() -> Arc<GroupSettings> {
    Arc::new(GroupSettings {
        min_session_timeout_ms: 6000,
        max_session_timeout_ms: 1_800_000,
        max_size: usize::MAX,
        initial_rebalance_delay_ms: 3000,
        max_offset_metadata_size: 4096,
        offsets_retention_ms: 7 * 24 * 3_600_000,
    })
}

fn unhex(text: &str) -> Bytes {
    let digits = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.map(byte).collect::<Vec<_>>().into()
}

fn golden() -> Vec<(Bytes, Option<Bytes>)> {
    let lines = include_str!("golden/consumer_offsets.tsv").lines();
    let record = |line: &str| {
        let fields: Vec<_> = line.split('\t').collect();
        (
            unhex(fields[1]),
            (fields[2] != "null").then(|| unhex(fields[2])),
        )
    };
    lines.map(record).collect()
}

/// Kafka writes members in the order of a hash map.
fn sorted(value: Bytes) -> GroupMetadataValue {
    let (_, mut value) = decode_versioned::<GroupMetadataValue>(value).unwrap();
    value.members.sort_by(|a, b| a.member_id.cmp(&b.member_id));
    value
}

#[test]
fn what_kafka_wrote_is_written_again_byte_for_byte() {
    let (mut offsets, mut groups) = (0, 0);
    for (key, value) in golden() {
        match decode_key(key.clone()).unwrap() {
            GroupKey::Offset(group, partition) => {
                assert_eq!(offset_key(&group, &partition).unwrap(), key);
                let Some(value) = value else { continue };
                let offset = decode_offset(value.clone()).unwrap();
                let record = offset_record(&group, &partition, &offset).unwrap();
                assert_eq!(record.value, Some(value));
                offsets += 1;
            }
            GroupKey::Group(id) => {
                assert_eq!(group_key(&id).unwrap(), key);
                let Some(value) = value else { continue };
                let loaded = decode_group(value.clone()).unwrap();
                let assignment: BTreeMap<_, _> = loaded
                    .members
                    .iter()
                    .map(|m| (m.member_id.clone(), m.assignment.clone()))
                    .collect();
                let group = Group::load(id, settings(), loaded, NOW, &mut Effects::new());
                let ours = group_record(&group, &assignment).unwrap().value.unwrap();
                assert_eq!(sorted(ours.clone()), sorted(value.clone()));
                if assignment.len() <= 1 {
                    assert_eq!(ours, value);
                }
                assert_eq!(ours.len(), value.len());
                groups += 1;
            }
            GroupKey::Unknown(version) => panic!("key version {version}"),
        }
    }
    assert!(
        offsets > 20 && groups > 10,
        "{offsets} offsets, {groups} groups"
    );
}

#[test]
fn the_log_of_a_kafka_broker_becomes_its_groups() {
    let mut loader = Loader::default();
    for (position, (key, value)) in golden().into_iter().enumerate() {
        let at = Placed {
            batch_offset: position as i64,
            producer_id: None,
        };
        loader.record(at, key, value).unwrap();
    }
    let groups: BTreeMap<ByteString, Group> = loader
        .finish(&settings(), NOW)
        .into_iter()
        .map(|(group, _)| (group.id().clone(), group))
        .collect();
    // Deleted with tombstones: "g", "ex", "st" and "simple".
    let names: Vec<_> = groups.keys().map(|id| &**id).collect();
    assert_eq!(names, ["", "java", "java-static", "ns", "ret"]);
    let partition = |p| TopicPartition {
        topic: "t".into(),
        partition: p,
    };
    let offset = groups["java"].offsets().get(&partition(0)).unwrap();
    assert_eq!(
        (offset.offset, offset.leader_epoch, &*offset.metadata),
        (7, Some(3), "note é")
    );
    let kept = groups["ret"].offsets().get(&partition(2)).unwrap();
    assert_eq!(
        kept.expire_timestamp_ms,
        Some(kept.commit_timestamp_ms + 3_600_000)
    );
    let dated = groups["ret"].offsets().get(&partition(3)).unwrap();
    assert_eq!(dated.commit_timestamp_ms, 1_234_567_890_123);
    // The static member did not leave when its consumer was closed.
    let summary = groups["java-static"].summary();
    assert_eq!(
        (summary.state, &*summary.protocol),
        ("Stable", "cooperative-sticky")
    );
    assert_eq!(
        summary.members[0].group_instance_id.as_deref(),
        Some("inst-1")
    );
    assert_eq!(groups["java"].summary().state, "Empty");
    assert_eq!(groups["java"].generation(), 2);
}

#[test]
fn bytes_that_are_no_record_are_refused() {
    for (key, value) in golden() {
        for length in 0..key.len() {
            assert!(decode_key(key.slice(..length)).is_err(), "{key:?} {length}");
        }
        let Some(value) = value else { continue };
        for length in 0..value.len() {
            let value = value.slice(..length);
            match decode_key(key.clone()) {
                Ok(GroupKey::Group(_)) => assert!(decode_group(value).is_err()),
                _ => assert!(decode_offset(value).is_err()),
            }
        }
    }
    assert_eq!(
        decode_key(Bytes::from_static(b"\0\x09rest")).unwrap(),
        GroupKey::Unknown(9)
    );
}

#[test]
fn spoiled_records_are_refused_or_read_and_never_panic() {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    let at = TopicPartition {
        topic: "topic".into(),
        partition: 3,
    };
    let offset = OffsetAndMetadata {
        offset: 5,
        leader_epoch: Some(1),
        metadata: "note".into(),
        commit_timestamp_ms: 7,
        expire_timestamp_ms: None,
    };
    let record = offset_record(&"group".into(), &at, &offset).unwrap();
    let member: &[u8] =
        b"\0\x03\0\x08consumer\0\0\0\x01\0\x05range\0\x01m\0\0\0\0\0\0\0\x05\0\0\0\x01\
        \0\x01m\xff\xff\0\x01c\0\x02/h\0\0\0\x0a\0\0\0\x0a\0\0\0\x02ab\0\0\0\x01c";
    assert_eq!(
        decode_group(Bytes::from_static(member))
            .unwrap()
            .members
            .len(),
        1
    );
    let originals = [
        record.key.to_vec(),
        record.value.unwrap().to_vec(),
        member.to_vec(),
    ];
    for seed in 0..20_000 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut bytes = originals[rng.random_range(0..originals.len())].clone();
        for _ in 0..rng.random_range(1..4) {
            let place = rng.random_range(0..bytes.len());
            match rng.random_range(0..3) {
                0 => bytes.truncate(place.max(1)),
                1 => bytes.insert(place, rng.random()),
                _ => bytes[place] = rng.random(),
            }
        }
        let bytes = Bytes::from(bytes);
        let _ = decode_key(bytes.clone());
        let _ = decode_offset(bytes.clone());
        if let Ok(group) = decode_group(bytes) {
            assert!(group.members.len() <= 1000, "seed {seed}");
        }
    }
}
