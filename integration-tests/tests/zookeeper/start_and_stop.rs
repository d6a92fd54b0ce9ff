//! Shell: what our ZooKeeper server says when it starts, cannot start, and ends.

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Result, ensure};
use integration_tests::ours;
use integration_tests::ports::Port;
use integration_tests::process::Process;
use integration_tests::stack::{Maker, ZooKeeper};
use integration_tests::workspace::Scratch;

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn it_says_where_it_listens_and_ends_cleanly_on_sigterm() -> Result<()> {
    let mut server = ZooKeeper::start(Maker::Ours)?;
    let address = server.connect();
    let process = server.process()?;
    let port = address.rsplit(':').next().unwrap_or_default().to_owned();
    process.wait_for_output("its port", LIMIT, |text| text.contains(&port))?;
    let code = process.terminate(LIMIT)?;
    ensure!(code == 0, "exit code {code}\n{}", process.tail());
    Ok(())
}

/// Starts with a configuration that must be refused, and checks the exit code, which is that of Apache's server for
/// this kind of mistake, and that one line says why.
fn refused(config: &str, exit_code: i32, expected: &[&str]) -> Result<()> {
    let scratch = Scratch::new("refused")?;
    let path = scratch.path().join("zookeeper.properties");
    let data = scratch.path().join("data");
    fs::write(&path, config.replace("$DATA", &data.display().to_string()))?;
    let mut process = Process::spawn("zookeeper", ours::zk_server()?.arg(&path), scratch.path())?;
    let code = process.wait_for_end(LIMIT)?;
    ensure!(
        code == exit_code,
        "exit code {code} for {config:?}\n{}",
        process.tail()
    );
    let errors = process.stderr() + &process.stdout();
    let line = errors
        .lines()
        .find(|line| expected.iter().all(|word| line.contains(word)));
    ensure!(line.is_some(), "no line with all of {expected:?}\n{errors}");
    ensure!(!errors.contains("panicked"), "{errors}");
    Ok(())
}

#[test]
fn mistakes_in_the_configuration_are_named() -> Result<()> {
    let port = Port::take()?.number();
    let good = format!("dataDir=$DATA\nclientPort={port}\nclientPortAddress=127.0.0.1\n");
    refused(
        &format!("{good}tickTime=soon\n"),
        2,
        &["zookeeper.properties", "4", "tickTime"],
    )?;
    refused(
        "dataDir=$DATA\nclientPort=many\n",
        2,
        &["zookeeper.properties", "2", "clientPort"],
    )?;
    refused(
        &format!("clientPort={port}\n"),
        2,
        &["zookeeper.properties", "dataDir"],
    )?;
    Ok(())
}

#[test]
fn a_taken_port_is_named() -> Result<()> {
    let port = Port::take()?;
    let _holder = TcpListener::bind(port.address())?;
    let number = port.number().to_string();
    let config = format!("dataDir=$DATA\nclientPort={number}\nclientPortAddress=127.0.0.1\n");
    refused(&config, 1, &[&number])
}

#[test]
fn a_data_directory_that_cannot_be_used_is_named() -> Result<()> {
    let scratch = Scratch::new("blocked")?;
    let blocker = scratch.path().join("a-file");
    fs::write(&blocker, "in the way")?;
    let port = Port::take()?.number();
    let path = blocker.join("data").display().to_string();
    let config = format!("dataDir={path}\nclientPort={port}\nclientPortAddress=127.0.0.1\n");
    refused(&config, 3, &["a-file"])
}

#[test]
fn a_missing_file_is_named() -> Result<()> {
    let scratch = Scratch::new("absent")?;
    let path = scratch.path().join("absent.properties");
    let mut process = Process::spawn("zookeeper", ours::zk_server()?.arg(&path), scratch.path())?;
    let code = process.wait_for_end(LIMIT)?;
    ensure!(
        code == 2 && process.tail().contains("absent.properties"),
        "exit {code}\n{}",
        process.tail()
    );
    Ok(())
}
