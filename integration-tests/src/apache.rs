//! Shell: command lines for the Apache servers and tools.

use std::process::Command;

use anyhow::Result;

use crate::workspace;

/// A `java` command with the Apache jars on its class path and a small heap; the class name and words follow.
///
/// # Errors
/// When the jars are missing.
pub fn java() -> Result<Command> {
    Ok(java_with(&format!("{}/*", workspace::peers()?.display())))
}

/// What every version of ZooKeeper finds among the jars of [`workspace::peers`].
const SHARED_JARS: &[&str] = &[
    "slf4j-api-1.7.36.jar",
    "slf4j-reload4j-1.7.36.jar",
    "reload4j-1.2.19.jar",
    "metrics-core-4.1.12.1.jar",
    "snappy-java-1.1.10.5.jar",
    "commons-io-2.11.0.jar",
];

/// The same as [`java`] with another version of ZooKeeper, and only what its server needs.
///
/// # Errors
/// When the jars are missing.
pub fn java_of_zookeeper(version: &str) -> Result<Command> {
    let own = workspace::zookeeper_jars(version)?;
    let shared = workspace::peers()?;
    let mut class_path = format!("{}/*", own.display());
    for jar in SHARED_JARS {
        class_path.push_str(&format!(":{}", shared.join(jar).display()));
    }
    let mut command = java_with(&class_path);
    // Versions before 3.8 look for a part of log4j 1 that its successor has not.
    command.arg("-Dzookeeper.jmx.log4j.disable=true");
    Ok(command)
}

fn java_with(class_path: &str) -> Command {
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
        .arg(class_path);
    command
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
