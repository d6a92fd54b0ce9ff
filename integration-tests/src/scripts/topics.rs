//! Shell: kafka-topics: create, list, describe, alter, delete, and what it says to mistakes.

use anyhow::Result;

use super::session::Session;
use crate::stock_tools::class::TOPICS;

/// Topics that the other scripts use, and every mistake a reader of the tutorial makes.
///
/// # Errors
/// When a tool does not end.
pub fn run(session: &mut Session) -> Result<()> {
    create(session)?;
    mistakes(session)?;
    describe(session)?;
    alter(session)?;
    delete(session)
}

/// Creates the topics that the other scripts use.
///
/// # Errors
/// When a tool does not end.
pub fn create(session: &mut Session) -> Result<()> {
    session.tool(TOPICS, "--list")?;
    session.tool(TOPICS, "--create --topic t --partitions 1")?;
    session.tool(
        TOPICS,
        "--create --topic six --partitions 6 --replication-factor 1",
    )?;
    session.tool(
        TOPICS,
        "--create --topic kept --partitions 2 --config retention.ms=3600000 --config cleanup.policy=compact,delete",
    )?;
    session.tool(TOPICS, "--create --topic placed --replica-assignment 0,0,0")?;
    session.tool(TOPICS, "--create --topic defaults")?;
    session.tool(TOPICS, "--create --if-not-exists --topic t --partitions 1")?;
    session.tool(
        TOPICS,
        "--create --if-not-exists --topic with.dot_and_underscore",
    )?;
    session.tool(TOPICS, "--list")?;
    Ok(())
}

fn mistakes(session: &mut Session) -> Result<()> {
    let long = "n".repeat(250);
    session.tool(TOPICS, "--create --topic t --partitions 1")?;
    session.tool(TOPICS, "--create --topic with_dot.and_underscore")?;
    for name in ["bad:name", "..", "bad/name", long.as_str()] {
        session.tool(TOPICS, &format!("--create --topic {name}"))?;
    }
    for options in [
        "--partitions 0",
        "--partitions -1",
        "--replication-factor 3",
        "--replication-factor 0",
        "--config no.such.key=1",
        "--config retention.ms=soon",
        "--config segment.bytes=1",
        "--config cleanup.policy=tidy",
        "--replica-assignment 0,0:0",
        "--partitions 2 --replica-assignment 0",
    ] {
        session.tool(TOPICS, &format!("--create --topic mistake {options}"))?;
    }
    session.tool(TOPICS, "--create")?;
    session.tool(TOPICS, "--describe --topic nosuch")?;
    session.tool(TOPICS, "--describe --if-exists --topic nosuch")?;
    session.tool(TOPICS, "--delete --topic nosuch")?;
    session.tool(TOPICS, "--delete --if-exists --topic nosuch")?;
    session.tool(TOPICS, "--alter --topic nosuch --partitions 3")?;
    session.tool(TOPICS, "--alter --topic six --partitions 5")?;
    session.tool(TOPICS, "--alter --topic six --partitions 6")?;
    session.tool(TOPICS, "--alter --topic six")?;
    Ok(())
}

fn describe(session: &mut Session) -> Result<()> {
    session.tool(TOPICS, "--describe --topic t")?;
    session.tool(TOPICS, "--describe --topic six")?;
    session.tool(TOPICS, "--describe --topic kept")?;
    session.tool(TOPICS, "--describe --topic placed")?;
    session.unordered_tool(TOPICS, "--describe")?;
    session.tool(TOPICS, "--describe --topics-with-overrides")?;
    session.tool(TOPICS, "--describe --under-replicated-partitions")?;
    session.tool(TOPICS, "--describe --unavailable-partitions")?;
    session.tool(TOPICS, "--describe --at-min-isr-partitions --topic t")?;
    session.tool(TOPICS, "--list --topic k.*")?;
    Ok(())
}

fn alter(session: &mut Session) -> Result<()> {
    session.tool(TOPICS, "--alter --topic kept --partitions 4")?;
    session.until(
        TOPICS,
        "--describe --topic kept",
        "four led partitions",
        |text| text.matches("Leader: 0").count() == 4,
    )?;
    session.tool(TOPICS, "--describe --topic kept")?;
    session.tool(
        TOPICS,
        "--alter --topic placed --partitions 5 --replica-assignment 0,0,0,0,0",
    )?;
    Ok(())
}

fn delete(session: &mut Session) -> Result<()> {
    session.tool(TOPICS, "--delete --topic placed")?;
    session.until(TOPICS, "--list", "the topic gone", |text| {
        !text.contains("placed")
    })?;
    session.tool(TOPICS, "--list")?;
    // The name is free again.
    session.until(
        TOPICS,
        "--create --topic placed --partitions 2",
        "the topic made",
        |text| text.contains("Created topic placed."),
    )?;
    session.tool(TOPICS, "--delete --topic placed")?;
    session.until(TOPICS, "--list", "the topic gone again", |text| {
        !text.contains("placed")
    })?;
    Ok(())
}
