//! Shell: command lines for the Apache servers and tools.

use std::process::Command;

use anyhow::Result;

use crate::workspace;

/// A `java` command with the Apache jars on its class path and a small heap; the class name and words follow.
///
/// # Errors
/// When the jars are missing.
pub fn java() -> Result<Command> {
    let mut command = Command::new("java");
    // Quick starts matter here, peak speed does not.
    command
        .args([
            "-Xmx512m",
            "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC",
            "-Xshare:auto",
        ])
        .arg(log4j("peers/log4j.properties"))
        .arg("-cp")
        .arg(format!("{}/*", workspace::peers()?.display()));
    Ok(command)
}

/// The same as [`java`], tuned as the scripts of the Apache distribution do, for benchmarks.
///
/// # Errors
/// When the jars are missing.
pub fn java_for_speed(heap: &str) -> Result<Command> {
    let mut command = Command::new("java");
    command
        .args([&format!("-Xmx{heap}"), &format!("-Xms{heap}")])
        .args(["-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"])
        .args([
            "-XX:InitiatingHeapOccupancyPercent=35",
            "-XX:+ExplicitGCInvokesConcurrent",
        ])
        .arg("-Djava.awt.headless=true")
        .arg(log4j("peers/log4j.properties"))
        .arg("-cp")
        .arg(format!("{}/*", workspace::peers()?.display()));
    Ok(command)
}

/// The option that makes log4j read a file of ours.
pub fn log4j(file: &str) -> String {
    format!(
        "-Dlog4j.configuration=file:{}",
        workspace::own_file(file).display()
    )
}

/// The class with the main method of the ZooKeeper server; takes a configuration file.
pub const ZOOKEEPER_SERVER: &str = "org.apache.zookeeper.server.quorum.QuorumPeerMain";
/// The class with the main method of the Kafka broker; takes a configuration file and overrides.
pub const KAFKA_BROKER: &str = "kafka.Kafka";
