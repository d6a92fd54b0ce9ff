//! Shell: the same requests to our broker and to Apache's, in every version: the answers are the same.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use integration_tests::at_once;
use integration_tests::stack::{Maker, Stack};
use integration_tests::talk::{Talk, versions};
use kafka_wire::api_key::ApiKey;
use kafka_wire::messages::api_versions::ApiVersionsRequest;
use kafka_wire::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use kafka_wire::messages::describe_cluster::DescribeClusterRequest;
use kafka_wire::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use kafka_wire::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use kafka_wire::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use kafka_wire::messages::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_wire::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use kafka_wire::records::batch_builder::{BatchBuilder, BatchBuilderOptions};
use kafka_wire::records::compression::Codec;
use kafka_wire::records::legacy::{MessageSetBuilder, MessageSetOptions};
use kafka_wire::records::record::Record;
use kafka_wire::wire::{Records, Uuid};
use regex_lite::Regex;

/// The time of all records, so that both brokers hold the same.
const TIME_MS: i64 = 1_700_000_000_000;
const TOPIC: &str = "answers";

fn batch(values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(BatchBuilderOptions::default());
    for (offset, value) in (0..).zip(values) {
        builder.push(&Record {
            offset,
            timestamp: TIME_MS + offset,
            key: Some(Bytes::from_static(b"k")),
            value: Some(Bytes::copy_from_slice(value.as_bytes())),
            headers: Vec::new(),
        });
    }
    builder.build()
}

fn message_set(magic: i8) -> Result<Bytes> {
    let options = MessageSetOptions {
        magic,
        codec: Codec::None,
        base_offset: 0,
        log_append_time: None,
    };
    let mut builder = MessageSetBuilder::new(options);
    for offset in 0..3 {
        builder.push(offset, TIME_MS + offset, Some(b"k"), Some(b"old"));
    }
    Ok(builder.finish()?)
}

fn produce(acks: i16, topic: &str, index: i32, records: Bytes) -> ProduceRequest {
    let records = Some(Records::Memory(records));
    ProduceRequest {
        transactional_id: None,
        acks,
        timeout_ms: 5000,
        topic_data: vec![TopicProduceData {
            name: topic.into(),
            partition_data: vec![PartitionProduceData { index, records }],
        }],
    }
}

/// Makes the topic by asking for it, and waits for its leader; its id.
fn make_topic(talk: &mut Talk) -> Result<Uuid> {
    let request = MetadataRequest {
        topics: Some(vec![topic_named(TOPIC)]),
        allow_auto_topic_creation: true,
        ..MetadataRequest::default()
    };
    for _ in 0..200 {
        let answer = talk.ask(12, &request)?.context("closed")?;
        let topic = answer.topics.first().context("no topic")?;
        if topic.error_code == 0 && topic.partitions.iter().all(|p| p.error_code == 0) {
            return Ok(topic.topic_id);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    anyhow::bail!("topic {TOPIC} has no leader")
}

fn topic_named(name: &str) -> MetadataRequestTopic {
    MetadataRequestTopic {
        topic_id: Uuid::ZERO,
        name: Some(name.into()),
    }
}

fn produce_everything(talk: &mut Talk) -> Result<()> {
    for version in versions(ApiKey::Produce) {
        let good = match version {
            0 | 1 => message_set(0)?,
            2 => message_set(1)?,
            _ => batch(&["one", "two", "three"]),
        };
        talk.note("acks 1", version, &produce(1, TOPIC, 0, good.clone()))?;
        talk.note("acks all", version, &produce(-1, TOPIC, 0, good.clone()))?;
        talk.note("acks 2", version, &produce(2, TOPIC, 0, good.clone()))?;
        talk.note("no topic", version, &produce(1, "nothere", 0, good.clone()))?;
        talk.note("no partition", version, &produce(1, TOPIC, 7, good.clone()))?;
        talk.note(
            "acks 0, no topic",
            version,
            &produce(0, "nothere", 0, good.clone()),
        )?;
        let mut broken = good.to_vec();
        if let Some(last) = broken.last_mut() {
            *last ^= 1;
        }
        talk.note(
            "wrong checksum",
            version,
            &produce(1, TOPIC, 0, broken.into()),
        )?;
        let twice = [&good[..], &good[..]].concat();
        if version >= 3 {
            talk.note("two batches", version, &produce(1, TOPIC, 0, twice.into()))?;
            talk.note("nothing", version, &produce(1, TOPIC, 0, Bytes::new()))?;
            talk.note(
                "old format",
                version,
                &produce(1, TOPIC, 0, message_set(1)?),
            )?;
        }
    }
    Ok(())
}

fn list_everything(talk: &mut Talk) -> Result<()> {
    for version in versions(ApiKey::ListOffsets) {
        for (timestamp, replica_id) in [
            (-1, -1),
            (-2, -1),
            (-3, -1),
            (-4, -1),
            (-9, -1),
            (0, -1),
            (TIME_MS + 2, -1),
            (TIME_MS + 9, -1),
            (i64::MAX, -1),
            (-1, -2),
        ] {
            for index in [0, 7] {
                let request = ListOffsetsRequest {
                    replica_id,
                    isolation_level: i8::from(version >= 2),
                    topics: vec![ListOffsetsTopic {
                        name: TOPIC.into(),
                        partitions: vec![ListOffsetsPartition {
                            partition_index: index,
                            current_leader_epoch: if version >= 4 { 0 } else { -1 },
                            timestamp,
                            max_num_offsets: if version == 0 { 3 } else { 1 },
                        }],
                    }],
                };
                // Version 0 looks at the times of files.
                if version > 0 || timestamp < 0 {
                    let what = format!("{timestamp} of {index} for {replica_id}");
                    talk.note(&what, version, &request)?;
                }
            }
        }
    }
    Ok(())
}

fn fetch(version: i16, id: Uuid, offset: i64, max_bytes: i32) -> FetchRequest {
    FetchRequest {
        replica_id: -1,
        max_wait_ms: 100,
        min_bytes: 1,
        max_bytes: if version >= 3 { 1 << 20 } else { i32::MAX },
        session_epoch: -1,
        topics: vec![FetchTopic {
            topic: if version < 13 {
                TOPIC.into()
            } else {
                "".into()
            },
            topic_id: if version < 13 { Uuid::ZERO } else { id },
            partitions: vec![FetchPartition {
                partition: 0,
                current_leader_epoch: -1,
                fetch_offset: offset,
                last_fetched_epoch: -1,
                log_start_offset: -1,
                partition_max_bytes: max_bytes,
            }],
        }],
        ..FetchRequest::default()
    }
}

/// The messages or batches that are there as a whole: Apache's broker fills up its answer with a part of one.
fn whole_messages(bytes: &Bytes) -> Bytes {
    let mut end = 0;
    while let Some(size) = bytes
        .get(end + 8..end + 12)
        .and_then(|size| size.first_chunk::<4>())
    {
        let next = end + 12 + u32::from_be_bytes(*size) as usize;
        if next > bytes.len() {
            break;
        }
        end = next;
    }
    bytes.slice(..end)
}

fn fetch_everything(talk: &mut Talk, id: Uuid) -> Result<()> {
    for version in versions(ApiKey::Fetch) {
        for (offset, max_bytes) in [(0, 1 << 20), (4, 1 << 20), (7, 100), (66, 1000), (999, 9)] {
            if version < 3 && max_bytes < 200 {
                // Before version 3 a part of a message is sent when there is no room for a whole one.
                continue;
            }
            let answer = talk.ask(version, &fetch(version, id, offset, max_bytes))?;
            let mut answer = answer.context("fetch is not answered")?;
            for partition in answer.responses.iter_mut().flat_map(|t| &mut t.partitions) {
                let records = partition.records.take();
                let bytes = records.as_ref().and_then(Records::memory).cloned();
                let bytes = bytes.as_ref().map(whole_messages);
                talk.lines
                    .push(format!("fetch v{version} from {offset}: {bytes:?}"));
            }
            talk.lines
                .push(format!("fetch v{version} from {offset}: {answer:?}"));
        }
    }
    fetch_in_session(talk, id)
}

fn fetch_in_session(talk: &mut Talk, id: Uuid) -> Result<()> {
    for version in [7, 12, 13, 16] {
        let opening = FetchRequest {
            session_epoch: 0,
            ..fetch(version, id, 66, 1000)
        };
        let opened = talk.ask(version, &opening)?.context("closed")?;
        let session_id = opened.session_id;
        ensure!(session_id != 0, "no session in version {version}");
        let next = |session_epoch| FetchRequest {
            session_id,
            session_epoch,
            topics: Vec::new(),
            ..fetch(version, id, 0, 0)
        };
        talk.note("nothing new", version, &next(1))?;
        talk.note("epoch again", version, &next(1))?;
        let other = if version < 13 { 13 } else { 12 };
        talk.note("other kind of version", other, &next(2))?;
        let back = FetchRequest {
            session_id,
            session_epoch: 2,
            ..fetch(version, id, 63, 1000)
        };
        talk.note("from an earlier offset", version, &back)?;
        talk.note("closing", version, &next(-1))?;
        talk.note("after closing", version, &next(3))?;
    }
    Ok(())
}

fn ask_the_rest(talk: &mut Talk) -> Result<()> {
    for version in versions(ApiKey::OffsetForLeaderEpoch) {
        for (current_leader_epoch, leader_epoch) in [(-1, 0), (-1, 5), (-1, -1), (0, 0), (3, 0)] {
            if version < 2 && current_leader_epoch >= 0 {
                continue;
            }
            let partition = |partition| OffsetForLeaderPartition {
                partition,
                current_leader_epoch,
                leader_epoch,
            };
            let request = OffsetForLeaderEpochRequest {
                replica_id: -2,
                topics: vec![OffsetForLeaderTopic {
                    topic: TOPIC.into(),
                    partitions: vec![partition(0), partition(7)],
                }],
            };
            talk.note(
                &format!("{current_leader_epoch} {leader_epoch}"),
                version,
                &request,
            )?;
        }
    }
    for version in versions(ApiKey::DeleteRecords) {
        for (partition_index, offset) in [(0, i64::from(version)), (0, 9999), (0, -7), (7, 0)] {
            let request = DeleteRecordsRequest {
                timeout_ms: 1000,
                topics: vec![DeleteRecordsTopic {
                    name: TOPIC.into(),
                    partitions: vec![DeleteRecordsPartition {
                        partition_index,
                        offset,
                    }],
                }],
            };
            talk.note(&format!("{partition_index} {offset}"), version, &request)?;
        }
    }
    for version in versions(ApiKey::Metadata) {
        for (what, topics) in [
            ("one", vec![topic_named(TOPIC)]),
            (
                "none there",
                vec![topic_named("nothere"), topic_named("bad name")],
            ),
            ("nothing", vec![]),
        ] {
            let request = MetadataRequest {
                topics: Some(topics),
                allow_auto_topic_creation: version < 4,
                include_cluster_authorized_operations: (8..=10).contains(&version),
                include_topic_authorized_operations: version >= 8,
            };
            if version >= 4 || what != "none there" {
                talk.note(what, version, &request)?;
            }
        }
    }
    for version in versions(ApiKey::DescribeCluster) {
        for endpoint_type in if version == 0 { vec![1] } else { vec![1, 2, 3] } {
            let include_cluster_authorized_operations = version > 0;
            let request = DescribeClusterRequest {
                include_cluster_authorized_operations,
                endpoint_type,
            };
            talk.note(&format!("type {endpoint_type}"), version, &request)?;
        }
    }
    let request = ApiVersionsRequest {
        client_software_name: "-".into(),
        client_software_version: "1".into(),
    };
    talk.note("bad name", 3, &request)
}

/// What differs between any two clusters is given the same name.
fn told_by(maker: Maker) -> Result<Vec<String>> {
    let stack = Stack::start(maker, maker)?;
    let mut talk = Talk::with(stack.broker.address())?;
    let id = make_topic(&mut talk)?;
    produce_everything(&mut talk)?;
    list_everything(&mut talk)?;
    fetch_everything(&mut talk, id)?;
    ask_the_rest(&mut talk)?;
    let port = stack.broker.address().port().to_string();
    let secrets = [
        (Regex::new(&format!("port: {port}"))?, "port: PORT"),
        (Regex::new(&regex_escape(&id.to_string()))?, "TOPIC_ID"),
        (
            Regex::new(r#"cluster_id: (Some\()?"[^"]*""#)?,
            "cluster_id: ID",
        ),
        (
            Regex::new("session_id: [1-9][0-9]*")?,
            "session_id: SESSION",
        ),
    ];
    let hide = |line: String| {
        secrets.iter().fold(line, |line, (secret, name)| {
            secret.replace_all(&line, *name).into()
        })
    };
    Ok(talk.lines.into_iter().map(hide).collect())
}

fn regex_escape(text: &str) -> String {
    text.replace('-', r"\-")
}

#[test]
fn every_version_of_the_data_apis_is_answered_as_apache_answers_it() -> Result<()> {
    let (reference, ours) = at_once::both(told_by)?;
    ensure!(
        reference.len() == ours.len(),
        "{} and {} answers",
        reference.len(),
        ours.len()
    );
    let pairs = reference
        .iter()
        .zip(&ours)
        .filter(|(reference, ours)| reference != ours);
    let differences: Vec<String> = pairs
        .map(|(reference, ours)| format!("- {reference}\n+ {ours}"))
        .collect();
    ensure!(
        differences.is_empty(),
        "{} of {} answers differ:\n{}",
        differences.len(),
        ours.len(),
        differences.join("\n")
    );
    Ok(())
}
