//! Shell: the group protocol, request by request in every version: ours answers as Apache's does.

use std::time::Duration;

use anyhow::{Result, ensure};
use integration_tests::normalise::Normaliser;
use integration_tests::process;
use integration_tests::stack::{Broker, Maker, ZooKeeper};
use integration_tests::transcript::Transcript;
use integration_tests::{apache, compare, workspace};

/// What the script expects; see `GroupScript.java`.
const CONFIG: &str = "offsets.topic.num.partitions=4\ngroup.initial.rebalance.delay.ms=500\n\
                      group.min.session.timeout.ms=500\ngroup.max.size=3\n";

fn play(maker: Maker, script: &str, config: &str) -> Result<Transcript> {
    let zookeeper = ZooKeeper::start(Maker::Ours)?;
    let mut broker = Broker::prepare(maker, &zookeeper.connect(), config)?;
    broker.start_again()?;
    let mut command = apache::java()?;
    command
        .arg(workspace::own_file(script))
        .arg(broker.bootstrap());
    let played = process::run_command(&mut command, "", Duration::from_secs(300))?;
    ensure!(
        played.stdout.ends_with("end of the script\n"),
        "the script broke off: {}\n{}\n{}",
        played.stdout,
        played.stderr,
        broker.process()?.tail(),
    );
    println!("{maker:?}: {}", played.stdout);
    let mut transcript = Transcript::default();
    transcript.lines(script, &played.stdout, &Normaliser::new());
    Ok(transcript)
}

fn compare(script: &str, config: &str) -> Result<()> {
    let apaches = play(Maker::Apache, script, config)?;
    let differences = compare::differences(&apaches, &play(Maker::Ours, script, config)?);
    ensure!(
        differences.is_empty(),
        "not as Apache's broker:\n{differences}"
    );
    Ok(())
}

#[test]
fn every_group_request_is_answered_as_apaches_broker_does() -> Result<()> {
    compare("peers/java/GroupScript.java", CONFIG)
}

#[test]
fn java_consumers_share_and_commit_as_with_apaches_broker() -> Result<()> {
    compare(
        "peers/java/GroupClients.java",
        "offsets.topic.num.partitions=4\ntransaction.state.log.num.partitions=4\n",
    )
}
