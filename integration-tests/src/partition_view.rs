//! Shell: all that a client can see of one partition, and all that is in its directory, as lines to be compared.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kafka_wire::messages::fetch::{FetchPartition, FetchRequest, FetchTopic, PartitionData};
use kafka_wire::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use kafka_wire::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use kafka_wire::messages::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_wire::wire::{Records, Uuid};

use crate::talk::Talk;

/// How long a started broker may take until its partitions have leaders.
const LEADERS: Duration = Duration::from_secs(60);
/// NOT_LEADER_OR_FOLLOWER and UNKNOWN_TOPIC_OR_PARTITION: the controller has not spoken yet.
const NOT_YET: [i16; 2] = [6, 3];

/// Waits until each partition of a topic has a leader that answers, or says that it has none.
///
/// # Errors
/// When that takes too long.
pub fn wait_for_leaders(talk: &mut Talk, topic: &str, partitions: i32) -> Result<()> {
    let deadline = Instant::now() + LEADERS;
    let request = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            topic_id: Uuid::ZERO,
            name: Some(topic.into()),
        }]),
        ..MetadataRequest::default()
    };
    loop {
        let answer = talk.ask(4, &request)?.context("closed")?;
        let known = answer.topics.first().is_some_and(|topic| {
            topic.error_code == 0 && i32::try_from(topic.partitions.len()) == Ok(partitions)
        });
        if known {
            let mut settled = true;
            for partition in 0..partitions {
                let (error, ..) = list(talk, topic, partition, -1)?;
                settled &= !NOT_YET.contains(&error);
            }
            if settled {
                return Ok(());
            }
        }
        ensure!(Instant::now() < deadline, "{topic} has no leaders");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Error, timestamp and offset that ListOffsets answers.
///
/// # Errors
/// When the broker does not answer.
pub fn list(
    talk: &mut Talk,
    topic: &str,
    partition: i32,
    timestamp: i64,
) -> Result<(i16, i64, i64)> {
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: topic.into(),
            partitions: vec![ListOffsetsPartition {
                partition_index: partition,
                current_leader_epoch: -1,
                timestamp,
                ..ListOffsetsPartition::default()
            }],
        }],
        ..ListOffsetsRequest::default()
    };
    let answer = talk.ask(7, &request)?.context("closed")?;
    let found = answer.topics.first().and_then(|t| t.partitions.first());
    let found = found.context("no partition in the answer")?;
    Ok((found.error_code, found.timestamp, found.offset))
}

fn fetch(
    talk: &mut Talk,
    (topic, partition): (&str, i32),
    offset: i64,
    isolation: i8,
) -> Result<PartitionData> {
    let request = FetchRequest {
        replica_id: -1,
        max_bytes: i32::MAX,
        isolation_level: isolation,
        session_epoch: -1,
        topics: vec![FetchTopic {
            topic: topic.into(),
            partitions: vec![FetchPartition {
                partition,
                current_leader_epoch: -1,
                fetch_offset: offset,
                partition_max_bytes: 1 << 20,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    };
    let answer = talk.ask(11, &request)?.context("closed")?;
    let topic = answer.responses.into_iter().next();
    let found = topic.and_then(|topic| topic.partitions.into_iter().next());
    found.context("no partition in the answer")
}

/// Offsets by name and by timestamp, ends of epochs, and every byte of records from the start, by isolation level.
///
/// # Errors
/// When the broker does not answer, or never comes to the end.
pub fn seen_by_clients(
    talk: &mut Talk,
    topic: &str,
    partition: i32,
    timestamps: &[i64],
) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for timestamp in [-2, -1, -3].iter().chain(timestamps) {
        let found = list(talk, topic, partition, *timestamp)?;
        lines.push(format!("offset at {timestamp}: {found:?}"));
    }
    for leader_epoch in 0..3 {
        let request = OffsetForLeaderEpochRequest {
            replica_id: -1,
            topics: vec![OffsetForLeaderTopic {
                topic: topic.into(),
                partitions: vec![OffsetForLeaderPartition {
                    partition,
                    current_leader_epoch: -1,
                    leader_epoch,
                }],
            }],
        };
        let answer = talk.ask(3, &request)?.context("closed")?;
        lines.push(format!("end of epoch {leader_epoch}: {:?}", answer.topics));
    }
    let (error, _, start) = list(talk, topic, partition, -2)?;
    let (_, _, end) = list(talk, topic, partition, -1)?;
    if error != 0 {
        return Ok(lines);
    }
    for isolation in [0, 1] {
        read_through(talk, (topic, partition), start..end, isolation, &mut lines)?;
    }
    Ok(lines)
}

fn read_through(
    talk: &mut Talk,
    partition: (&str, i32),
    range: std::ops::Range<i64>,
    isolation: i8,
    lines: &mut Vec<String>,
) -> Result<()> {
    let mut offset = range.start;
    while offset < range.end {
        let data = fetch(talk, partition, offset, isolation)?;
        let records = match &data.records {
            Some(Records::Memory(bytes)) => bytes.clone(),
            _ => bytes::Bytes::new(),
        };
        lines.push(format!(
            "fetch at {offset} isolation {isolation}: error {} high watermark {} stable {} start {} aborted {:?} {} bytes, sum {:08x}",
            data.error_code, data.high_watermark, data.last_stable_offset, data.log_start_offset,
            data.aborted_transactions, records.len(), kafka_wire::records::batch::crc32c(&records),
        ));
        let last = last_offset(&records);
        match last {
            Some(last) if last >= offset => offset = last + 1,
            _ => return Ok(()),
        }
    }
    Ok(())
}

/// Offset of the last record in whole batches of any magic.
fn last_offset(mut bytes: &[u8]) -> Option<i64> {
    let mut last = None;
    while bytes.len() >= 27 {
        let base = i64::from_be_bytes(bytes[..8].try_into().ok()?);
        let length = i32::from_be_bytes(bytes[8..12].try_into().ok()?);
        let size = usize::try_from(length).ok()?.checked_add(12)?;
        if size > bytes.len() {
            break;
        }
        last = Some(match bytes[16] {
            2 => base + i64::from(i32::from_be_bytes(bytes[23..27].try_into().ok()?)),
            _ => base,
        });
        bytes = &bytes[size..];
    }
    last
}

/// Names, sizes and checksums of all files of a partition's directory.
///
/// # Errors
/// When the directory cannot be read.
pub fn files(directory: &Path) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let Ok(entries) = fs::read_dir(directory) else {
        found.insert(".".to_owned(), "no such directory".to_owned());
        return Ok(found);
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() {
            found.insert(name, "a directory".to_owned());
            continue;
        }
        let bytes = fs::read(entry.path())?;
        let sum = if name.ends_with(".snapshot") {
            snapshot(&bytes)
        } else {
            format!("{:08x}", kafka_wire::records::batch::crc32c(&bytes))
        };
        found.insert(name, format!("{} bytes, {sum}", bytes.len()));
    }
    Ok(found)
}

/// A producer snapshot's entries without regard to their order, which is a hash map's.
fn snapshot(bytes: &[u8]) -> String {
    const ENTRY: usize = 46;
    let Some(entries) = bytes.get(10..) else {
        return "short".to_owned();
    };
    let mut entries: Vec<String> = entries
        .chunks(ENTRY)
        .map(|entry| entry.iter().map(|byte| format!("{byte:02x}")).collect())
        .collect();
    entries.sort();
    entries.join(" ")
}
