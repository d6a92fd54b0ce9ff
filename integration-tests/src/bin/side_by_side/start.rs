//! Shell: the lightest of clients, to tell when a pair that is starting takes its first record.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use kafka_wire::client::connection::{Connection, ConnectionOptions};
use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use kafka_wire::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use kafka_wire::records::batch_builder::{BatchBuilder, BatchBuilderOptions};
use kafka_wire::wire::Records;

use crate::servers::Pair;

/// How long a pair may take to start on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);
/// How long one request may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// Between attempts: short beside what is measured, long enough to leave the machine to the servers.
const PAUSE: Duration = Duration::from_millis(2);

const TOPIC: &str = "first";
/// The newest that Kafka 3.7 speaks.
const CREATE_TOPICS_VERSION: i16 = 7;
const PRODUCE_VERSION: i16 = 9;

/// Creates a topic and produces one record with acks=all, trying again until the broker has acknowledged it.
///
/// # Errors
/// When a server ends or the broker still refuses after two minutes.
pub async fn first_produce(pair: &mut Pair) -> Result<()> {
    let address = pair.broker_address().to_string();
    let record = one_record();
    let deadline = Instant::now() + LIMIT;
    loop {
        let Err(error) = attempt(&address, &record).await else {
            return Ok(());
        };
        pair.check_running()?;
        if Instant::now() > deadline {
            return Err(error.context("the broker takes no record"));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn attempt(address: &str, record: &Bytes) -> Result<()> {
    let connection = Connection::connect(address, &ConnectionOptions::default()).await?;
    create_topic(&connection).await?;
    produce(&connection, record).await
}

async fn create_topic(connection: &Connection) -> Result<()> {
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: TOPIC.into(),
            num_partitions: 1,
            replication_factor: 1,
            ..CreatableTopic::default()
        }],
        timeout_ms: 5000,
        ..CreateTopicsRequest::default()
    };
    let answer = connection.send(&request, CREATE_TOPICS_VERSION, REQUEST_LIMIT);
    let answer = answer.await?;
    let topic = answer.topics.first().context("no topic in the answer")?;
    match ErrorCode::from_code(topic.error_code) {
        ErrorCode::None | ErrorCode::TopicAlreadyExists => Ok(()),
        other => bail!("the topic was not created: {other:?}"),
    }
}

async fn produce(connection: &Connection, record: &Bytes) -> Result<()> {
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 5000,
        topic_data: vec![TopicProduceData {
            name: TOPIC.into(),
            partition_data: vec![PartitionProduceData {
                index: 0,
                records: Some(Records::Memory(record.clone())),
            }],
        }],
        ..ProduceRequest::default()
    };
    let answer = connection.send(&request, PRODUCE_VERSION, REQUEST_LIMIT);
    let answer = answer.await?;
    let topic = answer.responses.first();
    let partition = topic.and_then(|topic| topic.partition_responses.first());
    let code = partition.context("no partition in the answer")?.error_code;
    ensure!(
        code == 0,
        "the record was not taken: {:?}",
        ErrorCode::from_code(code)
    );
    Ok(())
}

fn one_record() -> Bytes {
    let mut batch = BatchBuilder::new(BatchBuilderOptions::default());
    batch.append(1_700_000_000_000, None, Some(b"hello"));
    batch.build()
}
