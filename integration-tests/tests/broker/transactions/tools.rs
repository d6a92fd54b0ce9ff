//! Shell: `kafka-transactions.sh` on transactions that are open, over, and left behind.

use anyhow::{Context, Result};
use bytes::Bytes;
use integration_tests::normalise::Normaliser;
use integration_tests::stack::Broker;
use integration_tests::stock_tools::{self, class};
use integration_tests::transcript::Transcript;
use kafka_wire::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use kafka_wire::records::batch_builder::{BatchBuilder, BatchBuilderOptions};
use kafka_wire::wire::Records;

use super::script::{LONG_MS, Script};

/// So long ago that a transaction of then is hanging.
const LONG_AGO_MS: i64 = 1_700_000_000_000;

/// A transactional batch of a producer; the offset that it got.
fn produce(script: &mut Script, id: &str, producer: (i64, i16), index: i32) -> Result<i64> {
    let mut builder = BatchBuilder::new(BatchBuilderOptions {
        producer_id: producer.0,
        producer_epoch: producer.1,
        base_sequence: 0,
        transactional: true,
        ..BatchBuilderOptions::default()
    });
    builder.append(LONG_AGO_MS, Some(b"k"), Some(b"v"));
    let records: Bytes = builder.build();
    let request = ProduceRequest {
        transactional_id: Some(id.into()),
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: "b".into(),
            partition_data: vec![PartitionProduceData {
                index,
                records: Some(Records::Memory(records)),
            }],
        }],
    };
    let answer = script.ask(9, &request)?;
    script.say(&format!("produce {id} {index}"), &answer);
    let topic = answer.responses.first().context("no topic")?;
    Ok(topic
        .partition_responses
        .first()
        .context("no partition")?
        .base_offset)
}

/// Leaves one transaction open and one hanging, and has the tool find, describe and abort them.
pub fn run(script: &mut Script, broker: &Broker, transcript: &mut Transcript) -> Result<()> {
    let given = script.init("tool", 4, LONG_MS, (-1, -1))?;
    let producer = (given.producer_id, given.producer_epoch);
    script.add_to("tool", producer, "b", &[1])?;
    produce(script, "tool", producer, 1)?;
    let hanging = produce(script, "ghost", (4242, 3), 2)?.to_string();
    let normaliser = Normaliser::new()
        .literal(&broker.bootstrap(), "<broker>")
        // Times, how long ago they were, and columns.
        .pattern(r"\b[0-9]{12,14}\b", "<ms>")
        .pattern(r"[ \t]+", " ")
        .pattern(r"(4242 3 .*<ms>) [0-9]+$", "$1 <minutes>")
        .pattern(r"(Ongoing 500000 <ms>) [0-9]+", "$1 <ms>")
        .drop_lines("^SLF4J");
    let words = [
        "list",
        "describe --transactional-id tool",
        "describe --transactional-id nobody",
        "describe-producers --topic b --partition 1",
        "describe-producers --topic b --partition 2",
        "describe-producers --topic b --partition 2 --broker-id 0",
        "find-hanging --broker-id 0",
        "find-hanging --topic b",
        "find-hanging --topic b --partition 2 --max-transaction-timeout 1",
        "abort --topic b --partition 2 --start-offset 100000",
        "abort --topic b --partition 2 --start-offset HANGING",
        "abort --topic b --partition 2 --start-offset HANGING",
        "describe-producers --topic b --partition 2",
        "find-hanging --topic b",
    ];
    for words in words {
        let words = words.replace("HANGING", &hanging);
        let bootstrap = broker.bootstrap();
        let mut arguments = vec!["--bootstrap-server", &bootstrap];
        arguments.extend(words.split(' '));
        let finished = stock_tools::run(class::TRANSACTIONS, &arguments)?;
        transcript.sorted_command(&words, &finished, &normaliser);
    }
    Ok(())
}
