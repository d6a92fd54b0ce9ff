//! Shell: the console producer and consumer, offsets, deleted records.

use std::fs;

use anyhow::Result;

use super::session::Session;
use crate::stock_tools::class::{
    CONSOLE_CONSUMER, CONSOLE_PRODUCER, DELETE_RECORDS, GET_OFFSETS, LOG_DIRS, TOPICS,
};
use crate::workspace::Scratch;

/// Produces and consumes in every way the console tools offer.
///
/// # Errors
/// When a tool does not end.
pub fn run(session: &mut Session) -> Result<()> {
    tutorial(session)?;
    keys_and_headers(session)?;
    codecs_and_acks(session)?;
    offsets(session)?;
    deleted_records(session)
}

/// The words of the tutorial on topic `t`.
///
/// # Errors
/// When a tool does not end.
pub fn tutorial(session: &mut Session) -> Result<()> {
    session.tool_with_input(
        CONSOLE_PRODUCER,
        "--broker-list --topic t",
        "hello\nworld\n\nГород 漢字\n",
    )?;
    session.tool(
        CONSOLE_CONSUMER,
        "--topic t --from-beginning --max-messages 4",
    )?;
    session.tool_with_input(CONSOLE_PRODUCER, "--topic t", "again\n")?;
    session.tool(
        CONSOLE_CONSUMER,
        "--topic t --from-beginning --max-messages 5",
    )?;
    session.tool(
        CONSOLE_CONSUMER,
        "--topic t --partition 0 --offset 3 --max-messages 2",
    )?;
    session.tool(
        CONSOLE_CONSUMER,
        "--topic t --partition 0 --offset earliest --max-messages 1",
    )?;
    Ok(())
}

/// Keys, headers, nulls and what the console consumer prints of them.
///
/// # Errors
/// When a tool does not end.
pub fn keys_and_headers(session: &mut Session) -> Result<()> {
    session.tool(TOPICS, "--create --topic keyed --partitions 3")?;
    session.tool_with_input(
        CONSOLE_PRODUCER,
        "--topic keyed --property parse.key=true --property key.separator=: --property parse.headers=true \
         --property null.marker=NULL",
        "h1:v1,h2:v2\ta:one\nh:\tb:two\n\tc:three\n\td:NULL\n",
    )?;
    for partition in 0..3 {
        // A partition may be empty, so the end comes by time.
        session.tool(
            CONSOLE_CONSUMER,
            &format!(
                "--topic keyed --partition {partition} --offset 0 --timeout-ms 1500 --property print.key=true \
                 --property print.headers=true --property print.offset=true --property print.partition=true \
                 --property null.literal=nothing"
            ),
        )?;
    }
    session.tool_with_input(
        CONSOLE_PRODUCER,
        "--topic keyed --property parse.key=true",
        "no separator\n",
    )?;
    Ok(())
}

fn codecs_and_acks(session: &mut Session) -> Result<()> {
    let text: String = (0..200)
        .map(|number| format!("message number {number} of a batch\n"))
        .collect();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = format!("codec-{codec}");
        session.tool(TOPICS, &format!("--create --topic {topic}"))?;
        session.tool_with_input(
            CONSOLE_PRODUCER,
            &format!("--topic {topic} --compression-codec {codec} --batch-size 100000"),
            &text,
        )?;
        session.tool(
            CONSOLE_CONSUMER,
            &format!("--topic {topic} --from-beginning --max-messages 200"),
        )?;
    }
    session.tool(TOPICS, "--create --topic acks")?;
    for acks in ["0", "1", "all"] {
        session.tool_with_input(
            CONSOLE_PRODUCER,
            &format!("--topic acks --request-required-acks {acks} --producer-property enable.idempotence=false"),
            &format!("with acks {acks}\n"),
        )?;
        session.until(GET_OFFSETS, "--topic acks", "the message", |text| {
            let expected = ["0", "1", "all"]
                .iter()
                .position(|&each| each == acks)
                .unwrap_or(0)
                + 1;
            text.contains(&format!("acks:0:{expected}"))
        })?;
    }
    session.tool(
        CONSOLE_CONSUMER,
        "--topic acks --from-beginning --max-messages 3",
    )?;

    session.tool(
        TOPICS,
        "--create --topic broker-time --config message.timestamp.type=LogAppendTime",
    )?;
    session.tool_with_input(CONSOLE_PRODUCER, "--topic broker-time", "when\n")?;
    session.tool(
        CONSOLE_CONSUMER,
        "--topic broker-time --from-beginning --max-messages 1 --property print.timestamp=true",
    )?;

    session.tool(
        TOPICS,
        "--create --topic small --config max.message.bytes=200",
    )?;
    session.tool_with_input(
        CONSOLE_PRODUCER,
        "--topic small",
        &format!("{}\n", "x".repeat(1000)),
    )?;
    session.tool(
        TOPICS,
        "--create --topic recompressed --config compression.type=gzip",
    )?;
    session.tool_with_input(
        CONSOLE_PRODUCER,
        "--topic recompressed --batch-size 100000",
        &text,
    )?;
    session.tool(
        CONSOLE_CONSUMER,
        "--topic recompressed --from-beginning --max-messages 200",
    )?;
    // The first word about a topic creates it.
    session.tool_with_input(CONSOLE_PRODUCER, "--topic created-by-use", "first\n")?;
    session.tool(
        CONSOLE_CONSUMER,
        "--topic created-by-use --from-beginning --max-messages 1",
    )?;
    Ok(())
}

fn offsets(session: &mut Session) -> Result<()> {
    session.tool(GET_OFFSETS, "--topic t")?;
    session.tool(GET_OFFSETS, "--topic t --time -2")?;
    session.tool(GET_OFFSETS, "--topic t --time earliest")?;
    session.tool(GET_OFFSETS, "--topic t --time max-timestamp")?;
    session.tool(GET_OFFSETS, "--topic t --time 1")?;
    session.tool(GET_OFFSETS, "--topic t --time 99999999999999")?;
    session.tool(GET_OFFSETS, "--topic keyed --partitions 0,2")?;
    session.tool(GET_OFFSETS, "--topic-partitions codec-.*:0")?;
    session.tool(GET_OFFSETS, "--topic nosuch")?;
    session.tool(GET_OFFSETS, "--exclude-internal-topics")?;
    Ok(())
}

fn deleted_records(session: &mut Session) -> Result<()> {
    let scratch = Scratch::new("records")?;
    for (name, json) in [
        (
            "some",
            r#"{"partitions":[{"topic":"codec-none","partition":0,"offset":50}],"version":1}"#,
        ),
        (
            "beyond",
            r#"{"partitions":[{"topic":"codec-none","partition":0,"offset":5000}],"version":1}"#,
        ),
        (
            "all",
            r#"{"partitions":[{"topic":"codec-none","partition":0,"offset":-1}],"version":1}"#,
        ),
    ] {
        let path = scratch.path().join(name);
        fs::write(&path, json)?;
        let words = format!("--offset-json-file {}", path.display());
        let finished = session.unrecorded(DELETE_RECORDS, &words, "")?;
        session.transcript.command(
            &format!("DeleteRecordsCommand: {name}"),
            &finished,
            &session.normaliser,
        );
        session.tool(GET_OFFSETS, "--topic codec-none --time -2")?;
    }
    let directories = session.unrecorded(LOG_DIRS, "--describe --topic-list t,acks,keyed", "")?;
    // Partitions come in the order of a hash table.
    let pieces = directories
        .stdout
        .replace("},{", "},\n{")
        .replace("[{", "[\n{")
        .replace("}]", "}\n]");
    let mut lines: Vec<&str> = pieces
        .lines()
        .map(|line| line.trim_end_matches(','))
        .collect();
    lines.sort_unstable();
    session.transcript.lines(
        "LogDirsCommand: --describe",
        &lines.join("\n"),
        &session.normaliser,
    );
    Ok(())
}
