//! Shell: acknowledged nodes and SIGKILL.

use std::collections::BTreeSet;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use integration_tests::process::Process;
use integration_tests::python;
use integration_tests::stack::{Maker, ZooKeeper};
use integration_tests::workspace::{self, Scratch};

pub const LIMIT: Duration = Duration::from_secs(60);

/// A client that writes until its server is gone.
pub struct Writer {
    /// Prints what is acknowledged.
    pub process: Process,
    _scratch: Scratch,
}

pub fn start_writer(server: &ZooKeeper, round: u32) -> Result<Writer> {
    let scratch = Scratch::new("writer")?;
    let first = (round * 1_000_000).to_string();
    let mut command = Command::new(workspace::python()?);
    command
        .arg(workspace::own_file("peers/python/kazoo_writer.py"))
        .args([&server.connect(), &first, "64"]);
    let mut process = Process::spawn("writer", &mut command, scratch.path())?;
    process.wait_for_output("a first acknowledgement", LIMIT, |text| {
        text.lines().count() > 1
    })?;
    Ok(Writer {
        process,
        _scratch: scratch,
    })
}

/// Writes until the server is killed; the numbers that were acknowledged.
fn write_until_killed(server: &mut ZooKeeper, round: u32) -> Result<BTreeSet<String>> {
    let mut writer = start_writer(server, round)?;
    thread::sleep(Duration::from_millis(crate::random_delay_ms(round, 1500)));
    server.kill()?;
    all_acknowledged(&mut writer)
}

/// The numbers that the client saw acknowledged by a server that is gone.
pub fn all_acknowledged(writer: &mut Writer) -> Result<BTreeSet<String>> {
    // What was acknowledged before the end has reached the client's side of the connection.
    let mut seen = 0;
    loop {
        thread::sleep(Duration::from_millis(300));
        let text = writer.process.stdout();
        if text.len() == seen {
            break;
        }
        seen = text.len();
    }
    writer.process.kill()?;
    Ok(writer
        .process
        .stdout()
        .lines()
        .skip(1)
        .map(str::to_owned)
        .collect())
}

fn stored(server: &ZooKeeper) -> Result<BTreeSet<String>> {
    let finished = python::run("kazoo_reader.py", &[&server.connect()])?;
    ensure!(finished.code == 0, "{}", finished.stderr);
    Ok(finished.stdout.lines().map(str::to_owned).collect())
}

pub fn nothing_is_missing(acknowledged: &BTreeSet<String>, server: &ZooKeeper) -> Result<()> {
    let stored = stored(server)?;
    let lost: Vec<&String> = acknowledged.difference(&stored).collect();
    let odd: Vec<&String> = stored
        .iter()
        .filter(|line| line.contains("holds"))
        .collect();
    ensure!(
        lost.is_empty() && odd.is_empty(),
        "lost {lost:?}, wrong {odd:?}"
    );
    Ok(())
}

#[test]
fn a_disk_that_fills_up_loses_no_acknowledged_node() -> Result<()> {
    let mut server = ZooKeeper::start_with(Maker::Ours, "preAllocSize=16")?;
    server.stop()?;
    server.limit_files(Some(200));
    server.start_again()?;
    let mut writer = start_writer(&server, 0)?;
    // It stops serving, as Apache's server does, when its log cannot be written.
    let code = server.process()?.wait_for_end(LIMIT)?;
    ensure!(code > 0, "it ended with {code}");
    let told = server.process()?.tail();
    ensure!(
        !told.contains("panicked") && told.contains("log."),
        "{told}"
    );
    let acknowledged = all_acknowledged(&mut writer)?;
    ensure!(!acknowledged.is_empty(), "nothing was acknowledged");
    server.limit_files(None);
    server.start_again()?;
    nothing_is_missing(&acknowledged, &server)
}

#[test]
fn an_acknowledged_node_survives_sigkill() -> Result<()> {
    let mut server = ZooKeeper::start_with(Maker::Ours, "snapCount=500")?;
    let mut acknowledged = BTreeSet::new();
    for round in 1..=crate::rounds() {
        let news = write_until_killed(&mut server, round)?;
        ensure!(
            !news.is_empty(),
            "nothing was acknowledged in round {round}"
        );
        acknowledged.extend(news);
        server.start_again()?;
        nothing_is_missing(&acknowledged, &server)?;
    }
    // Apache's server finds the same in what ours left behind, torn tail included.
    acknowledged.extend(write_until_killed(&mut server, 0)?);
    server.hand_over_to(Maker::Apache);
    server.start_again()?;
    nothing_is_missing(&acknowledged, &server)
}
