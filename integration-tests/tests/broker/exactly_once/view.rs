//! Pure: answers as text, without what must differ between two brokers: the time of a transaction's marker.

use std::fmt::Write as _;

use anyhow::Result;
use bytes::Bytes;
use kafka_wire::messages::describe_producers::DescribeProducersResponse;
use kafka_wire::messages::fetch::{AbortedTransaction, FetchResponse, PartitionData};
use kafka_wire::messages::list_offsets::ListOffsetsResponse;
use kafka_wire::messages::produce::ProduceResponse;
use kafka_wire::messages::write_txn_markers::WriteTxnMarkersResponse;
use kafka_wire::records::batch::{BatchHeader, BatchView, LOG_OVERHEAD, MAGIC_POSITION};
use kafka_wire::wire::Records;

/// A time after this one is the broker's own.
#[derive(Debug, Clone, Copy)]
pub struct Since(pub i64);

impl Since {
    /// A time of the script, or that it is the broker's.
    pub fn time(self, timestamp: i64) -> String {
        if timestamp > self.0 {
            "now".to_owned()
        } else {
            timestamp.to_string()
        }
    }
}

/// The partitions' outcomes, in order.
pub fn produced(answer: &ProduceResponse) -> String {
    let mut lines: Vec<String> = Vec::new();
    for topic in &answer.responses {
        for partition in &topic.partition_responses {
            let mut partition = partition.clone();
            partition.current_leader = Default::default();
            lines.push(format!("{}: {partition:?}", topic.name));
        }
    }
    lines.sort();
    lines.join("\n")
}

/// The markers' outcomes, in order.
pub fn marked(answer: &WriteTxnMarkersResponse) -> String {
    let mut lines: Vec<String> = Vec::new();
    for marker in &answer.markers {
        for topic in &marker.topics {
            for partition in &topic.partitions {
                lines.push(format!(
                    "{} {} {} {}",
                    marker.producer_id, topic.name, partition.partition_index, partition.error_code
                ));
            }
        }
    }
    lines.sort();
    lines.join("; ")
}

/// The producers of each partition.
pub fn described(answer: &DescribeProducersResponse, since: Since) -> String {
    let mut text = String::new();
    for topic in &answer.topics {
        for partition in &topic.partitions {
            let _ = write!(
                text,
                "{}-{} {} {:?}:",
                topic.name,
                partition.partition_index,
                partition.error_code,
                partition.error_message
            );
            let mut producers = partition.active_producers.clone();
            producers.sort_by_key(|producer| producer.producer_id);
            for producer in producers {
                let time = since.time(producer.last_timestamp);
                let _ = write!(
                    text,
                    " [{} epoch {} sequence {} at {time} coordinator {} open {}]",
                    producer.producer_id,
                    producer.producer_epoch,
                    producer.last_sequence,
                    producer.coordinator_epoch,
                    producer.current_txn_start_offset
                );
            }
            text.push('\n');
        }
    }
    text
}

/// The offsets found.
pub fn listed(answer: &ListOffsetsResponse, since: Since) -> String {
    let mut text = String::new();
    for partition in answer.topics.iter().flat_map(|topic| &topic.partitions) {
        let _ = write!(
            text,
            "{} {} at {} epoch {}",
            partition.error_code,
            partition.offset,
            since.time(partition.timestamp),
            partition.leader_epoch
        );
    }
    text
}

/// What was fetched.
pub fn fetched(answer: &FetchResponse, since: Since) -> Result<String> {
    let mut text = format!("{}", answer.error_code);
    for partition in answer.responses.iter().flat_map(|topic| &topic.partitions) {
        let read = batches(partition, since)?;
        // Apache's broker counts the part of a batch at the end, which is left out here, when it collects transactions.
        let aborted = partition.aborted_transactions.as_ref().map(|all| {
            let concerns = |txn: &&AbortedTransaction| txn.first_offset <= read.last_offset;
            let told = all.iter().filter(concerns);
            told.map(|txn| (txn.producer_id, txn.first_offset))
                .collect::<Vec<_>>()
        });
        let _ = write!(
            text,
            " {} high watermark {} stable {} start {} aborted {aborted:?} {}",
            partition.error_code,
            partition.high_watermark,
            partition.last_stable_offset,
            partition.log_start_offset,
            read.texts.join(" ")
        );
    }
    Ok(text)
}

/// The whole batches of a partition.
struct Read {
    texts: Vec<String>,
    last_offset: i64,
}

fn batches(partition: &PartitionData, since: Since) -> Result<Read> {
    let mut rest: Bytes = match &partition.records {
        Some(Records::Memory(bytes)) => bytes.clone(),
        _ => anyhow::bail!("no records in memory"),
    };
    let mut read = Read {
        texts: Vec::new(),
        last_offset: -1,
    };
    while rest.len() > MAGIC_POSITION {
        let size = LOG_OVERHEAD + u32::from_be_bytes(rest[8..12].try_into()?) as usize;
        if size > rest.len() {
            // Apache's broker fills the answer with part of a batch, of which no reader makes anything.
            break;
        }
        let batch = rest.split_to(size);
        let header = BatchHeader::parse(&batch)?;
        let mut text = format!(
            "[{}-{} {:#x} producer {} {} {} x{} epoch {} at {}",
            header.base_offset,
            header.last_offset(),
            header.attributes,
            header.producer_id,
            header.producer_epoch,
            header.base_sequence,
            header.record_count,
            header.partition_leader_epoch,
            since.time(header.max_timestamp)
        );
        let view = BatchView::parse(&batch)?;
        for record in view.records(view.payload()) {
            let record = record?;
            let _ = write!(
                text,
                " {:?}={:?}",
                record.key,
                record.value.map(<[u8]>::len)
            );
        }
        text.push(']');
        read.texts.push(text);
        read.last_offset = header.last_offset();
    }
    Ok(read)
}
