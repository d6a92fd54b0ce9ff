//! Shell: the tutorial with our own scripts, from starting both servers to stopping them, and `make quickstart`.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::compare;
use integration_tests::ports::Port;
use integration_tests::process::{self, Finished, Process};
use integration_tests::scripts::session::{Session, Tools};
use integration_tests::scripts::{messages, topics};
use integration_tests::stack::{Maker, Stack};
use integration_tests::transcript::Transcript;
use integration_tests::wait::until;
use integration_tests::workspace::{self, Scratch};

const LIMIT: Duration = Duration::from_secs(60);

fn script(name: &str) -> String {
    workspace::root()
        .join("bin")
        .join(name)
        .display()
        .to_string()
}

/// Runs one of our scripts to its end.
fn run(name: &str, words: &str, input: &str) -> Result<Finished> {
    let words: Vec<&str> = words.split_whitespace().collect();
    process::run(script(name), &words, input, LIMIT)
}

fn said(finished: &Finished, expected: &str) -> Result<()> {
    ensure!(
        finished.code == 0 && finished.stdout.contains(expected),
        "expected {expected:?}, exit {}:\n{}\n{}",
        finished.code,
        finished.stdout,
        finished.stderr
    );
    Ok(())
}

/// Copies of the stock files with ports and directories of their own; everything else is as a reader finds it.
fn configure(scratch: &Path, zookeeper: u16, broker: u16) -> Result<(String, String)> {
    let config = workspace::root().join("config");
    let edit = |name: &str, edits: &[(&str, String)]| -> Result<String> {
        let mut lines = Vec::new();
        for line in fs::read_to_string(config.join(name))?.lines() {
            let key = line.split('=').next().unwrap_or_default();
            match edits.iter().find(|(edited, _)| *edited == key) {
                Some((_, value)) => lines.push(format!("{key}={value}")),
                None => lines.push(line.to_owned()),
            }
        }
        let path = scratch.join(name);
        fs::write(&path, lines.join("\n") + "\n")?;
        Ok(path.display().to_string())
    };
    let directory = |name: &str| scratch.join(name).display().to_string();
    let zookeeper_file = edit(
        "zookeeper.properties",
        &[
            ("clientPort", zookeeper.to_string()),
            ("dataDir", directory("zookeeper")),
        ],
    )?;
    let broker_file = edit(
        "server.properties",
        &[
            ("log.dirs", directory("kafka-logs")),
            ("zookeeper.connect", format!("localhost:{zookeeper}")),
        ],
    )?;
    fs::OpenOptions::new().append(true).open(&broker_file).and_then(|mut file| {
        use std::io::Write as _;
        writeln!(file, "listeners=PLAINTEXT://:{broker}\nadvertised.listeners=PLAINTEXT://localhost:{broker}")
    })?;
    Ok((zookeeper_file, broker_file))
}

fn listening(port: u16) -> bool {
    std::net::TcpStream::connect(("localhost", port)).is_ok()
}

#[test]
fn the_words_of_the_tutorial_work_with_our_scripts() -> Result<()> {
    let scratch = Scratch::new("tutorial")?;
    let (zookeeper_port, broker_port) = (Port::take()?, Port::take()?);
    let (zk, kafka) = (zookeeper_port.number(), broker_port.number());
    let (zookeeper_file, broker_file) = configure(scratch.path(), zk, kafka)?;
    let start = |name: &str, words: &[&str]| -> Result<()> {
        let mut command = Command::new(script(name));
        command.args(words).env("LOG_DIR", scratch.path());
        let finished = process::run_command(&mut command, "", LIMIT)?;
        ensure!(
            finished.code == 0,
            "{name}: {}{}",
            finished.stdout,
            finished.stderr
        );
        Ok(())
    };
    start("zookeeper-server-start.sh", &["-daemon", &zookeeper_file])?;
    start(
        "kafka-server-start.sh",
        &["-daemon", &broker_file, "--override", "num.partitions=2"],
    )?;
    let outcome = tutorial(kafka, zk);
    let stopped = run("kafka-server-stop.sh", "", "").and_then(|finished| {
        until("the end of the broker", || Ok(!listening(kafka)))?;
        Ok(finished)
    });
    let also_stopped = run("zookeeper-server-stop.sh", "", "").and_then(|finished| {
        until("the end of the ZooKeeper server", || Ok(!listening(zk)))?;
        Ok(finished)
    });
    outcome?;
    ensure!(
        stopped?.code == 0 && also_stopped?.code == 0,
        "the stop scripts failed"
    );
    let marker = scratch.path().join("kafka-logs/.kafka_cleanshutdown");
    until("the clean end", || Ok(marker.is_file()))?;
    until("the end of its process", || {
        Ok(run("kafka-server-stop.sh", "", "")?.code == 1)
    })?;
    let again = run("kafka-server-stop.sh", "", "")?;
    ensure!(
        again.code == 1 && again.stdout == "No kafka server to stop\n",
        "{}{}",
        again.stdout,
        again.stderr
    );
    Ok(())
}

fn tutorial(kafka: u16, zk: u16) -> Result<()> {
    until("the start of the broker", || Ok(listening(kafka)))?;
    let server = format!("--bootstrap-server localhost:{kafka}");
    let topic = |words: &str| run("kafka-topics.sh", &format!("{words} {server}"), "");
    said(
        &topic("--create --topic t --partitions 1")?,
        "Created topic t.\n",
    )?;
    said(&topic("--list")?, "t\n")?;
    said(
        &topic("--describe --topic t")?,
        "PartitionCount: 1\tReplicationFactor: 1",
    )?;
    let words = format!("--broker-list localhost:{kafka} --topic t");
    let produced = run("kafka-console-producer.sh", &words, "hello\nworld\n")?;
    ensure!(produced.code == 0, "{}{}", produced.stdout, produced.stderr);

    // Two terminals.
    let scratch = Scratch::new("terminals")?;
    let mut terminals = Vec::new();
    for name in ["first", "second"] {
        let mut command = Command::new(script("kafka-console-consumer.sh"));
        command.args(format!("{server} --topic t --from-beginning").split_whitespace());
        terminals.push(Process::spawn(name, &mut command, scratch.path())?);
    }
    for terminal in &mut terminals {
        terminal.wait_for_output("the past", LIMIT, |text| text == "hello\nworld\n")?;
    }
    run("kafka-console-producer.sh", &words, "news\n")?;
    for terminal in &mut terminals {
        terminal.wait_for_output("the news", LIMIT, |text| text == "hello\nworld\nnews\n")?;
        terminal.signal(rustix::process::Signal::INT)?;
        terminal.wait_for_end(LIMIT)?;
        let told = terminal.stdout() + &terminal.stderr();
        ensure!(told.contains("Processed a total of 3 messages"), "{told}");
    }
    let shell = run(
        "zookeeper-shell.sh",
        &format!("localhost:{zk} ls /brokers/ids"),
        "",
    )?;
    said(&shell, "[0]\n")?;
    said(&topic("--alter --topic t --partitions 3")?, "")?;
    said(&topic("--describe --topic t")?, "PartitionCount: 3")?;
    said(
        &topic("--create --topic by-default")?,
        "Created topic by-default.",
    )?;
    // From the --override on the command line of the server.
    said(
        &topic("--describe --topic by-default")?,
        "PartitionCount: 2",
    )?;
    said(&topic("--delete --topic t")?, "")?;
    until("the end of the topic", || {
        Ok(!topic("--list")?.stdout.lines().any(|line| line == "t"))
    })
}

/// The same commands on fresh servers of ours, with the stock tools and with our own.
fn same_screens(script: impl Fn(&mut Session) -> Result<()>) -> Result<()> {
    let on = |tools| -> Result<Transcript> {
        let stack = Stack::start(Maker::Ours, Maker::Ours)?;
        let mut session = Session::new(&stack, tools);
        script(&mut session)?;
        Ok(session.transcript.without_option_texts())
    };
    let differences = compare::differences(&on(Tools::Stock)?, &on(Tools::Ours)?);
    ensure!(
        differences.is_empty(),
        "not as the stock tools:\n{differences}"
    );
    Ok(())
}

#[test]
fn our_kafka_topics_shows_the_same_screens_as_the_stock_one() -> Result<()> {
    same_screens(topics::run)
}

#[test]
fn our_console_tools_show_the_same_screens_as_the_stock_ones() -> Result<()> {
    same_screens(|session| {
        topics::create(session)?;
        messages::tutorial(session)?;
        messages::keys_and_headers(session)
    })
}

#[test]
fn quickstart_shows_everything() -> Result<()> {
    let scratch = Scratch::new("quickstart")?;
    let (zookeeper, broker) = (Port::take()?, Port::take()?);
    let mut command = Command::new("make");
    command
        .args(["-s", "quickstart"])
        .current_dir(workspace::root())
        .env("QUICKSTART_ZOOKEEPER_PORT", zookeeper.number().to_string())
        .env("QUICKSTART_BROKER_PORT", broker.number().to_string())
        .env("QUICKSTART_DIR", scratch.path().join("data"))
        .env("QUICKSTART_ONCE", "1");
    let finished = process::run_command(&mut command, "", Duration::from_secs(900))
        .context("make quickstart")?;
    for expected in [
        "Created topic quickstart.",
        "hello\nfrom\nTandem\n",
        "\"partitions\"",
        "Both are stopped.",
    ] {
        said(&finished, expected)?;
    }
    ensure!(
        !listening(zookeeper.number()) && !listening(broker.number()),
        "something is still running"
    );
    Ok(())
}
