//! Shell: which producers a broker still knows after it was killed: those that were silent for too long are forgotten at once.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use integration_tests::at_once::both;
use integration_tests::new_topics::{self, NewTopic};
use integration_tests::partition_view::wait_for_leaders;
use integration_tests::stack::{Broker, Maker, ZooKeeper, ask};
use integration_tests::talk::Talk;
use kafka_wire::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use kafka_wire::records::batch_builder::{BatchBuilder, BatchBuilderOptions};
use kafka_wire::wire::Records;

const TOPIC: &str = "expired";
const LIMIT: Duration = Duration::from_secs(60);
const DAY_MS: i64 = 86_400_000;

/// Error and offset of one record of a producer, so many days old. The third producer's are in a transaction.
fn send(talk: &mut Talk, producer_id: i64, sequence: i32, days: i64) -> Result<(i16, i64)> {
    let mut builder = BatchBuilder::new(BatchBuilderOptions {
        producer_id,
        producer_epoch: 0,
        base_sequence: sequence,
        transactional: producer_id == 3,
        ..BatchBuilderOptions::default()
    });
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let timestamp = i64::try_from(now)? - days * DAY_MS;
    builder.append(timestamp, None, Some(&[b'v'; 300]));
    let request = ProduceRequest {
        transactional_id: (producer_id == 3).then(|| "t".into()),
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: TOPIC.into(),
            partition_data: vec![PartitionProduceData {
                index: 0,
                records: Some(Records::Memory(builder.build())),
            }],
        }],
    };
    let answer = talk.ask(9, &request)?.context("closed")?;
    let partition = &answer.responses[0].partition_responses[0];
    Ok((partition.error_code, partition.base_offset))
}

fn play(maker: Maker) -> Result<Vec<(i16, i64)>> {
    let zookeeper = ZooKeeper::start(Maker::Ours)?;
    let mut broker = Broker::prepare(
        maker,
        &zookeeper.connect(),
        "transaction.partition.verification.enable=false\nzookeeper.session.timeout.ms=6000\n",
    )?;
    broker.start_again()?;
    let mut talk = Talk::with(broker.address())?;
    let topic = NewTopic::new(TOPIC, 1).with(&[("segment.bytes", "1000")]);
    new_topics::create(&mut talk, &[topic])?;
    let mut seen: Vec<i64> = Vec::new();
    // The fourth is heard of in a segment that is not the last one; the fifth is silent for less than a day.
    for (producer_id, days) in [
        (4, 2),
        (2, 0),
        (3, 2),
        (2, 0),
        (1, 2),
        (2, 0),
        (5, 0),
        (1, 2),
    ] {
        let sequence = seen.iter().filter(|id| **id == producer_id).count();
        let answer = send(&mut talk, producer_id, i32::try_from(sequence)?, days)?;
        ensure!(answer.0 == 0, "{producer_id}: {answer:?}");
        seen.push(producer_id);
    }
    broker.kill()?;
    let deadline = Instant::now() + LIMIT;
    while ask(zookeeper.address(), "dump")?.contains("/brokers/ids/0") {
        ensure!(Instant::now() < deadline, "the session does not end");
        thread::sleep(Duration::from_millis(50));
    }
    broker.start_again()?;
    let mut talk = Talk::with(broker.address())?;
    wait_for_leaders(&mut talk, TOPIC, 1)?;
    let mut answers = Vec::new();
    for producer_id in 1..=5 {
        answers.push(send(&mut talk, producer_id, 7, 0)?);
    }
    for sequence in [2, 7, 9] {
        answers.push(send(&mut talk, 2, sequence, 0)?);
    }
    broker.stop()?;
    Ok(answers)
}

#[test]
#[ignore = "waits for a session to end; a unit test says the same"]
fn a_killed_broker_forgets_whom_apaches_forgets() -> Result<()> {
    let (apache, ours) = both(play)?;
    ensure!(apache == ours, "{apache:?}\n{ours:?}");
    println!("{ours:?}");
    Ok(())
}
