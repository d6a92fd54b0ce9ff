//! Shell: what brokers forget after a while, with short whiles: transactional ids, producers, transactions that take too
//! long, and questions about transactions that nothing followed.

use anyhow::{Context, Result, bail};
use integration_tests::normalise::Normaliser;
use integration_tests::stack::Broker;
use integration_tests::transcript::Transcript;
use kafka_wire::messages::describe_producers::{DescribeProducersRequest, TopicRequest};
use kafka_wire::messages::describe_transactions::DescribeTransactionsRequest;
use kafka_wire::messages::end_txn::EndTxnRequest;
use kafka_wire::messages::init_producer_id::InitProducerIdRequest;
use kafka_wire::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use kafka_wire::wire::Records;

use super::flows::{Flow, TOPIC, await_all, describe_producers};
use super::script::{LONG_MS, Script};
use crate::exactly_once::view;

/// Later lines win.
const SHORT: &str = "transactional.id.expiration.ms=6000\n\
                     transaction.remove.expired.transaction.cleanup.interval.ms=300\n\
                     transaction.abort.timed.out.transaction.cleanup.interval.ms=200\n\
                     producer.id.expiration.ms=2000\nproducer.id.expiration.check.interval.ms=200\n";
const TRANSACTIONAL_ID_NOT_FOUND: i16 = 105;
const INVALID_PRODUCER_ID_MAPPING: i16 = 49;
/// Those of the script before that are forgotten, unless their transaction is open.
const OLD: [&str; 4] = ["f0", "f1", "f2", "f3"];

/// Starts the broker with short settings on what it has.
pub fn play(broker: &mut Broker, transcript: &mut Transcript, base_time: i64) -> Result<()> {
    broker.add_config(SHORT);
    broker.start_again()?;
    let mut script = Script::start(broker, 1)?;
    let mut flow = Flow::new(base_time);
    let played = await_all(&mut script).and_then(|()| steps(&mut script, &mut flow));
    if let Err(error) = played {
        bail!("{error:?}\n{}\n{}", script.text, broker.process()?.tail());
    }
    let normaliser = Normaliser::new().pattern(
        r"transaction_start_time_ms: [0-9]+",
        "transaction_start_time_ms: <ms>",
    );
    transcript.lines("what is forgotten", &script.text, &normaliser);
    broker.stop()?;
    super::dump(&broker.log_directory(), transcript)
}

fn steps(script: &mut Script, flow: &mut Flow) -> Result<()> {
    script.until("old ids forgotten", |script| idle_are_gone(script, &OLD))?;
    script.describe(&OLD)?;
    only_open_remain(script)?;
    describe_producers(script, flow, TOPIC)?;

    let committed = begin(script, "e0", LONG_MS, 0)?;
    produce(script, flow, "e0", (committed, 0, 0), 0)?;
    cut_batches(script, flow, committed)?;
    script.end("e0", 3, committed, true)?;

    // Refused because nothing was added; what has higher numbers must wait for it, until it is forgotten.
    let asking = given(script, "e3", LONG_MS)?;
    produce(script, flow, "e3", (asking, 0, 1), 5)?;
    script.add_to("e3", asking, "a", &[1])?;
    produce(script, flow, "e3", (asking, 0, 1), 6)?;

    let open = begin(script, "e2", LONG_MS, 2)?;
    produce(script, flow, "e2", (open, 0, 2), 0)?;

    let late = begin(script, "e1", 500, 0)?;
    produce(script, flow, "e1", (late, 0, 0), 0)?;
    script.until("the abort", |script| {
        Ok(state_of(script, "e1")?.1 == "CompleteAbort")
    })?;
    produce(script, flow, "e1", (late, 0, 0), 1)?;
    for version in 0..=3 {
        script.end("e1", version, late, true)?;
    }

    let batch = flow.batch(0, (asking.0, asking.1, 1), 6, true);
    script.until("the question is forgotten", |script| {
        Ok(answered(script, Some("e3"), 1, &batch)?.contains("error_code: 0"))
    })?;
    script.end("e3", 3, asking, false)?;
    // Idle for longer than producers are remembered, but its transaction is open.
    produce(script, flow, "e2", (open, 0, 2), 1)?;
    produce(script, flow, "e2", (open, 0, 2), 9)?;
    script.end("e2", 3, open, true)?;
    only_open_remain(script)?;
    describe_producers(script, flow, TOPIC)?;
    idempotent(script, flow)?;
    after_ids_are_forgotten(script, committed)
}

/// Batches that end within their header, in a request that names a transaction.
fn cut_batches(script: &mut Script, flow: &mut Flow, producer: (i64, i16)) -> Result<()> {
    for transactional in [true, false] {
        let whole = flow.batch(0, (producer.0, producer.1, 0), 1, transactional);
        for size in [26, 42, 50, 51, 56] {
            let mut batch = whole[..size].to_vec();
            batch[8..12].copy_from_slice(&(size as i32 - 12).to_be_bytes());
            send(script, Some("e0"), 0, batch.into(), size as i32)?;
        }
    }
    Ok(())
}

/// A producer without a transaction that was silent may go on with any number.
fn idempotent(script: &mut Script, flow: &mut Flow) -> Result<()> {
    let request = InitProducerIdRequest {
        transactional_id: None,
        producer_id: -1,
        producer_epoch: -1,
        ..InitProducerIdRequest::default()
    };
    let answer = script.ask(4, &request)?;
    let producer = (answer.producer_id, answer.producer_epoch);
    plain(script, flow, (producer, 1), 0)?;
    only_open_remain(script)?;
    plain(script, flow, (producer, 1), 55)?;
    only_open_remain(script)?;
    describe_producers(script, flow, TOPIC)
}

fn after_ids_are_forgotten(script: &mut Script, known: (i64, i16)) -> Result<()> {
    let ids = ["e0", "e1", "e2", "e3"];
    script.until("ids forgotten", |script| idle_are_gone(script, &ids))?;
    script.describe(&ids)?;
    for version in 0..=3 {
        script.end("e0", version, known, true)?;
    }
    let request = EndTxnRequest {
        transactional_id: "e0".into(),
        producer_id: known.0,
        producer_epoch: known.1,
        committed: true,
    };
    script.until("no mapping", |script| {
        Ok(script.ask(3, &request)?.error_code == INVALID_PRODUCER_ID_MAPPING)
    })?;
    script.add_to("e0", known, "a", &[0])?;
    script.init("e0", 4, LONG_MS, known)?;
    script.init("e2", 4, LONG_MS, (-1, -1))?;
    Ok(())
}

fn given(script: &mut Script, id: &str, timeout_ms: i32) -> Result<(i64, i16)> {
    let answer = script.init(id, 4, timeout_ms, (-1, -1))?;
    Ok((answer.producer_id, answer.producer_epoch))
}

fn begin(script: &mut Script, id: &str, timeout_ms: i32, partition: i32) -> Result<(i64, i16)> {
    let producer = given(script, id, timeout_ms)?;
    script.add_to(id, producer, "a", &[partition])?;
    Ok(producer)
}

/// Sends a batch of one record to a partition of topic `a`.
fn produce(
    script: &mut Script,
    flow: &mut Flow,
    id: &str,
    (producer, count, partition): ((i64, i16), u64, i32),
    sequence: i32,
) -> Result<()> {
    let place = (producer.0, producer.1, partition);
    let batch = flow.batch(count, place, sequence, true);
    send(script, Some(id), partition, batch, sequence)
}

fn plain(
    script: &mut Script,
    flow: &mut Flow,
    (producer, partition): ((i64, i16), i32),
    sequence: i32,
) -> Result<()> {
    let place = (producer.0, producer.1, partition);
    let batch = flow.batch(0, place, sequence, false);
    send(script, None, partition, batch, sequence)
}

fn send(
    script: &mut Script,
    id: Option<&str>,
    index: i32,
    batch: bytes::Bytes,
    sequence: i32,
) -> Result<()> {
    let text = answered(script, id, index, &batch)?;
    script.say(&format!("produce {id:?} {index} {sequence}"), &text);
    Ok(())
}

fn answered(
    script: &mut Script,
    id: Option<&str>,
    index: i32,
    batch: &bytes::Bytes,
) -> Result<String> {
    let request = ProduceRequest {
        transactional_id: id.map(Into::into),
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: "a".into(),
            partition_data: vec![PartitionProduceData {
                index,
                records: Some(Records::Memory(batch.clone())),
            }],
        }],
    };
    let answer = script.ask(9, &request)?;
    Ok(view::produced(&answer))
}

/// Error and state of a transactional id.
fn state_of(script: &mut Script, id: &str) -> Result<(i16, String)> {
    let request = DescribeTransactionsRequest {
        transactional_ids: vec![id.into()],
    };
    let answer = script.ask(0, &request)?;
    let state = answer.transaction_states.first().context("no state")?;
    Ok((state.error_code, state.transaction_state.to_string()))
}

fn idle_are_gone(script: &mut Script, ids: &[&str]) -> Result<bool> {
    for id in ids {
        let (error, state) = state_of(script, id)?;
        if error != TRANSACTIONAL_ID_NOT_FOUND && state != "Ongoing" {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Waits until all producers without an open transaction are forgotten.
fn only_open_remain(script: &mut Script) -> Result<()> {
    let request = DescribeProducersRequest {
        topics: vec![TopicRequest {
            name: "a".into(),
            partition_indexes: vec![0, 1, 2],
        }],
    };
    script.until("producers forgotten", |script| {
        let answer = script.ask(0, &request)?;
        let mut producers = answer
            .topics
            .iter()
            .flat_map(|topic| &topic.partitions)
            .flat_map(|partition| &partition.active_producers);
        Ok(producers.all(|producer| producer.current_txn_start_offset >= 0))
    })
}
