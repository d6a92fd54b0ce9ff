//! Shell: transactions that a kill cuts off, one at each of its steps: what is left of them when the broker is back.

use anyhow::{Context, Result, ensure};
use integration_tests::stack::Broker;
use kafka_wire::messages::add_offsets_to_txn::AddOffsetsToTxnRequest;
use kafka_wire::messages::end_txn::EndTxnRequest;
use kafka_wire::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use kafka_wire::messages::init_producer_id::InitProducerIdRequest;
use kafka_wire::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use kafka_wire::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestTopic};
use kafka_wire::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use kafka_wire::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_wire::records::batch::Batches;
use kafka_wire::wire::Records;

use super::flows::Flow;
use super::script::{LONG_MS, Script};

/// How far each one gets: the name of its transactional id, group and topic, and the steps that are answered.
const CUT: [(&str, usize); 9] = [
    ("k-init", 0),
    ("k-added", 1),
    ("k-produced", 2),
    ("k-group", 3),
    ("k-offsets", 4),
    ("k-committed", 5),
    ("k-aborted", 5),
    ("k-committing", 4),
    ("k-aborting", 4),
];

/// Whether a line is of one of these, whose order in internal topics is nobody's promise.
pub fn is_of_one(line: &str) -> bool {
    CUT.iter().any(|(id, _)| line.contains(id))
}

/// Brings each transaction as far as it gets; the broker is to be killed at once.
pub fn begin(script: &mut Script, flow: &mut Flow) -> Result<()> {
    await_topics(script)?;
    let mut ends = Vec::new();
    for (id, steps) in CUT {
        let given = script.init(id, 4, LONG_MS, (-1, -1))?;
        let producer = (given.producer_id, given.producer_epoch);
        if steps >= 1 {
            script.add_to(id, producer, id, &[0, 1])?;
        }
        if steps >= 2 {
            for partition in [0, 1] {
                produce(script, flow, id, producer, partition)?;
            }
        }
        if steps >= 3 {
            add_group(script, id, producer)?;
        }
        if steps >= 4 {
            commit_offset(script, id, producer)?;
        }
        let request = EndTxnRequest {
            transactional_id: id.into(),
            producer_id: producer.0,
            producer_epoch: producer.1,
            committed: id.starts_with("k-commit"),
        };
        match id {
            "k-committed" | "k-aborted" => {
                let answer = script.ask(3, &request)?;
                script.say(&format!("end of {id}"), &answer);
            }
            "k-committing" | "k-aborting" => ends.push(request),
            _ => {}
        }
    }
    ends.iter().try_for_each(|end| script.send(3, end))
}

/// What there is of each, before and after its producer comes back.
pub fn look(script: &mut Script, broker: &Broker) -> Result<()> {
    await_topics(script)?;
    for (id, steps) in CUT {
        script.settle(id)?;
        let is_told = !matches!(id, "k-committing" | "k-aborting");
        if is_told {
            script.describe(&[id])?;
            let text = left(script, id)?;
            script.say(&format!("left of {id}"), &text);
            script.init(id, 4, LONG_MS, (-1, -1))?;
        } else {
            // Still open, if the kill came before the decision.
            begin_again(script, id)?;
        }
        let mut text = String::new();
        script.until("stable offsets", |script| {
            text = left(script, id)?;
            Ok(!text.contains("unstable"))
        })?;
        if is_told || id == "k-aborting" {
            script.say(&format!("{id} of {steps} steps in the end"), &text);
        } else {
            // Nobody was told what became of it, but it is all or nothing.
            let (all, nothing) = ("[1, 1] offset 7", "[0, 0] offset -1");
            ensure!(
                text == all || text == nothing,
                "{id} is torn: {text}\n{}",
                broker.running()?.tail()
            );
        }
    }
    Ok(())
}

fn begin_again(script: &mut Script, id: &'static str) -> Result<()> {
    let request = InitProducerIdRequest {
        transactional_id: Some(id.into()),
        transaction_timeout_ms: LONG_MS,
        producer_id: -1,
        producer_epoch: -1,
    };
    script.until("a new producer", |script| {
        Ok(script.ask(4, &request)?.error_code == 0)
    })
}

pub fn await_topics(script: &mut Script) -> Result<()> {
    let topics = CUT.map(|(name, _)| MetadataRequestTopic {
        name: Some(name.into()),
        ..MetadataRequestTopic::default()
    });
    let request = MetadataRequest {
        topics: Some(topics.to_vec()),
        allow_auto_topic_creation: true,
        ..MetadataRequest::default()
    };
    script.until("topics", |script| {
        let answer = script.ask(9, &request)?;
        let mut partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        let is_led = partitions.all(|partition| partition.error_code == 0);
        Ok(is_led && answer.topics.iter().all(|topic| topic.error_code == 0))
    })?;
    for (id, _) in CUT {
        script.until("leaders", |script| {
            for partition in [0, 1] {
                if visible(script, id, partition)?.is_none() {
                    return Ok(false);
                }
            }
            Ok(true)
        })?;
        script.until("groups", |script| Ok(offset(script, id)?.is_some()))?;
    }
    Ok(())
}

pub fn produce(
    script: &mut Script,
    flow: &mut Flow,
    id: &'static str,
    producer: (i64, i16),
    index: i32,
) -> Result<()> {
    let batch = flow.batch(0, (producer.0, producer.1, index), 0, true);
    let request = ProduceRequest {
        transactional_id: Some(id.into()),
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: id.into(),
            partition_data: vec![PartitionProduceData {
                index,
                records: Some(Records::Memory(batch)),
            }],
        }],
    };
    let answer = script.ask(9, &request)?;
    script.say(&format!("produce {id}"), &answer);
    Ok(())
}

pub fn add_group(script: &mut Script, id: &'static str, producer: (i64, i16)) -> Result<()> {
    let request = AddOffsetsToTxnRequest {
        transactional_id: id.into(),
        producer_id: producer.0,
        producer_epoch: producer.1,
        group_id: id.into(),
    };
    let answer = script.ask(3, &request)?;
    script.say(&format!("group of {id}"), &answer);
    Ok(())
}

pub fn commit_offset(script: &mut Script, id: &'static str, producer: (i64, i16)) -> Result<()> {
    let answer = script.ask(3, &commit(id, producer))?;
    script.say(&format!("offset of {id}"), &answer);
    Ok(())
}

fn commit(id: &'static str, producer: (i64, i16)) -> TxnOffsetCommitRequest {
    TxnOffsetCommitRequest {
        transactional_id: id.into(),
        group_id: id.into(),
        producer_id: producer.0,
        producer_epoch: producer.1,
        generation_id: -1,
        topics: vec![TxnOffsetCommitRequestTopic {
            name: id.into(),
            partitions: vec![TxnOffsetCommitRequestPartition {
                partition_index: 0,
                committed_offset: 7,
                committed_leader_epoch: -1,
                committed_metadata: None,
            }],
        }],
        ..TxnOffsetCommitRequest::default()
    }
}

/// Committed records of both partitions, and the offset of the group.
pub fn left(script: &mut Script, id: &'static str) -> Result<String> {
    let mut records = Vec::new();
    for partition in [0, 1] {
        records.push(visible(script, id, partition)?.context("no leader")?);
    }
    let offset = offset(script, id)?.context("no coordinator")?;
    Ok(format!("{records:?} offset {offset}"))
}

/// The number of records that a reader of committed ones sees; `None` without a leader.
pub fn visible(script: &mut Script, topic: &'static str, partition: i32) -> Result<Option<i64>> {
    let request = FetchRequest {
        isolation_level: 1,
        topics: vec![FetchTopic {
            topic: topic.into(),
            partitions: vec![FetchPartition {
                partition,
                partition_max_bytes: 1 << 20,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    };
    let answer = script.ask(11, &request)?;
    let topic = answer.responses.first().context("no topic")?;
    let partition = topic.partitions.first().context("no partition")?;
    if partition.error_code != 0 {
        return Ok(None);
    }
    let aborted = partition.aborted_transactions.clone().unwrap_or_default();
    let Some(Records::Memory(bytes)) = &partition.records else {
        return Ok(Some(0));
    };
    let mut count = 0;
    for batch in Batches::new(bytes) {
        let header = batch?.header;
        let is_aborted = aborted
            .iter()
            .any(|txn| txn.producer_id == header.producer_id);
        if !header.is_control() && !is_aborted {
            count += i64::from(header.record_count);
        }
    }
    Ok(Some(count))
}

/// The stable offset of the group, or that it is unstable; `None` while the coordinator is not ready.
fn offset(script: &mut Script, id: &'static str) -> Result<Option<String>> {
    let request = OffsetFetchRequest {
        group_id: id.into(),
        topics: Some(vec![OffsetFetchRequestTopic {
            name: id.into(),
            partition_indexes: vec![0],
        }]),
        require_stable: true,
        ..OffsetFetchRequest::default()
    };
    let answer = script.ask(7, &request)?;
    if answer.error_code != 0 {
        return Ok(None);
    }
    let topic = answer.topics.first().context("no topic")?;
    let partition = topic.partitions.first().context("no partition")?;
    Ok(Some(match partition.error_code {
        0 => partition.committed_offset.to_string(),
        88 => "unstable".to_owned(),
        error => format!("error {error}"),
    }))
}
