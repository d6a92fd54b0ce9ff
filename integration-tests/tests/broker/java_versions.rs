//! Shell: Java clients from the oldest to the newest write and read one another's records, as with Apache's broker.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use integration_tests::process;
use integration_tests::stack::{Broker, Maker, ZooKeeper};
use integration_tests::workspace;

/// One for each message format and each change of the protocol's manners; the first one has no consumer yet.
const VERSIONS: &[&str] = &[
    "0.8.2.2", "0.9.0.1", "0.10.2.2", "0.11.0.3", "1.1.1", "2.4.1", "3.9.1", "4.1.1",
];

fn play(maker: Maker) -> Result<String> {
    let zookeeper = ZooKeeper::start(Maker::Ours)?;
    let broker = Broker::start(maker, &zookeeper.connect())?;
    let mut command = Command::new("java");
    command
        .args(["-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"])
        .arg("-cp")
        .arg(workspace::peers()?.join("kafka-clients-3.7.1.jar"))
        .arg(workspace::own_file("peers/java/ClientVersions.java"))
        .arg(broker.bootstrap())
        .arg(workspace::client_versions()?)
        .arg(workspace::peers()?)
        .args(VERSIONS);
    let played = process::run_command(&mut command, "", Duration::from_secs(300))?;
    ensure!(
        played.code == 0,
        "{maker:?}: {}{}",
        played.stdout,
        played.stderr
    );
    Ok(played.stdout)
}

#[test]
fn java_clients_of_every_age_understand_one_another() -> Result<()> {
    let ours = play(Maker::Ours)?;
    println!("{ours}");
    let apaches = play(Maker::Apache)?;
    ensure!(ours == apaches, "{ours}\nwith Apache's broker:\n{apaches}");
    Ok(())
}
