//! Shell: kafka-configs on topics and brokers.

use anyhow::Result;

use super::session::Session;
use crate::stock_tools::class::{CONFIGS, TOPICS};

/// Describe, alter, and mistakes.
///
/// # Errors
/// When a tool does not end.
pub fn run(session: &mut Session) -> Result<()> {
    let topic = "--entity-type topics --entity-name kept";
    session.unordered_tool(CONFIGS, &format!("--describe {topic}"))?;
    session.unordered_tool(CONFIGS, &format!("--describe {topic} --all"))?;
    session.tool(
        CONFIGS,
        &format!("--alter {topic} --add-config max.message.bytes=2000000,cleanup.policy=[compact]"),
    )?;
    session.unordered_tool(CONFIGS, &format!("--describe {topic}"))?;
    session.tool(
        CONFIGS,
        &format!("--alter {topic} --delete-config retention.ms"),
    )?;
    session.unordered_tool(CONFIGS, &format!("--describe {topic}"))?;
    session.tool(
        CONFIGS,
        &format!("--alter {topic} --delete-config flush.ms"),
    )?;
    for mistake in [
        "no.such.key=1",
        "retention.ms=soon",
        "min.insync.replicas=0",
        "cleanup.policy=tidy",
    ] {
        session.tool(CONFIGS, &format!("--alter {topic} --add-config {mistake}"))?;
    }
    session.tool(
        CONFIGS,
        "--describe --entity-type topics --entity-name nosuch",
    )?;
    session.tool(
        CONFIGS,
        "--alter --entity-type topics --entity-name nosuch --add-config flush.ms=5",
    )?;
    session.tool(TOPICS, "--describe --topic kept")?;
    Ok(())
}

/// What the broker says of its own configuration.
///
/// # Errors
/// When a tool does not end.
pub fn broker(session: &mut Session) -> Result<()> {
    let broker = "--entity-type brokers --entity-name 0";
    session.unordered_tool(CONFIGS, &format!("--describe {broker}"))?;
    session.unordered_tool(CONFIGS, "--describe --entity-type brokers --entity-default")?;
    session.unordered_tool(CONFIGS, &format!("--describe {broker} --all"))?;
    Ok(())
}
