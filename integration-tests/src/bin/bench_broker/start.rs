//! Shell: how long brokers take to start on many partitions, and on a log that was not closed.

use std::fs;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use kafka_wire::records::compression::Codec;

use crate::Settings;
use crate::client::{self, Client};
use crate::frames::Batch;
use crate::report::Report;
use crate::servers::Pair;

const TOPIC: &str = "start";
const BATCH: Batch = Batch {
    records: 16,
    value_bytes: 1000,
    codec: Codec::None,
};

/// From the start of a broker that was stopped cleanly until each of its partitions has a leader.
pub fn many_partitions(settings: &Settings, report: &mut Report) -> Result<()> {
    let partitions = settings.partitions;
    let mut pairs = Vec::new();
    for maker in settings.makers {
        let mut pair = Pair::start(*maker, "")?;
        Client::connect(pair.address())?.create_topic(TOPIC, partitions)?;
        pair.broker().stop()?;
        pairs.push(pair);
    }
    let name = format!("start with {partitions} partitions");
    for _ in 0..settings.rounds {
        for pair in &mut pairs {
            let took = pair.time_start(TOPIC, partitions)?;
            let maker = pair.maker();
            report.figure(&name, "s", Some(10.0), maker, took.as_secs_f64());
            let resident = pair.resident_mib()?;
            let name = format!("memory with {partitions} partitions");
            report.figure(&name, "MiB", Some(10.0), maker, resident);
            pair.broker().stop()?;
        }
    }
    Ok(())
}

/// From the start of a broker that was killed until it serves the log, of which nothing counts as flushed.
pub fn recovery(settings: &Settings, report: &mut Report) -> Result<()> {
    let megabytes = settings.recovery_bytes / 1_000_000;
    let name = format!("recovery of {megabytes} MB");
    // One maker after the other: the disk holds only one log.
    for maker in settings.makers {
        let mut pair = Pair::start(*maker, "zookeeper.session.timeout.ms=4000")?;
        Client::connect(pair.address())?.create_topic(TOPIC, 1)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let batch = BATCH.build(i64::try_from(now.as_millis())?)?;
        let most = settings.recovery_bytes / batch.len() as u64;
        let forever = Instant::now() + settings.pass * 10_000;
        let limits = (5, most);
        client::produce_many(pair.address(), (TOPIC, 0), (1, &batch), limits, forever)?;
        for _ in 0..settings.rounds {
            pair.kill()?;
            let checkpoint = pair
                .broker()
                .log_directory()
                .join("recovery-point-offset-checkpoint");
            match fs::remove_file(&checkpoint) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).context("cannot remove the recovery points");
                }
                _ => {}
            }
            let took = pair.time_start(TOPIC, 1)?;
            report.figure(&name, "s", Some(3.0), *maker, took.as_secs_f64());
            let cpu = pair.cpu_seconds()?;
            report.figure(&format!("{name}, CPU"), "s", None, *maker, cpu);
        }
    }
    Ok(())
}
