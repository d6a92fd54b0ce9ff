//! Shell: what our broker says when it starts, cannot start, and ends.

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Result, ensure};
use integration_tests::ours;
use integration_tests::ports::Port;
use integration_tests::process::Process;
use integration_tests::scripts::session::{Session, Tools};
use integration_tests::stack::{Broker, Maker, Stack, ZooKeeper};
use integration_tests::stock_tools::{self, class};
use integration_tests::workspace::Scratch;

const LIMIT: Duration = Duration::from_secs(40);

/// The broker must end by itself with exit code 1, and one line must hold all the expected words.
fn refuses(mut process: Process, expected: &[&str]) -> Result<()> {
    let code = process.wait_for_end(LIMIT)?;
    let text = process.stdout() + &process.stderr();
    ensure!(code == 1, "exit code {code}\n{text}");
    let told = text
        .lines()
        .any(|line| expected.iter().all(|word| line.contains(word)));
    ensure!(told, "no line with all of {expected:?}:\n{text}");
    ensure!(!text.contains("panicked"), "{text}");
    Ok(())
}

#[test]
fn it_says_where_it_listens() -> Result<()> {
    let mut stack = Stack::start(Maker::Ours, Maker::Ours)?;
    let port = stack.broker.address().port().to_string();
    stack
        .broker
        .process()?
        .wait_for_output("its port", LIMIT, |text| {
            text.lines().any(|line| line.contains(&port))
        })
}

#[test]
fn without_zookeeper_it_gives_up_after_the_timeout() -> Result<()> {
    let nobody = Port::take()?;
    let address = nobody.address().to_string();
    let broker = Broker::prepare(
        Maker::Ours,
        &address,
        "zookeeper.connection.timeout.ms=1500",
    )?;
    refuses(broker.launch(&[])?, &["zookeeper", &address, "1500"])
}

#[test]
fn a_second_broker_with_the_same_id_is_refused() -> Result<()> {
    let stack = Stack::start(Maker::Ours, Maker::Ours)?;
    let second = Broker::prepare(Maker::Ours, &stack.zookeeper.connect(), "")?;
    refuses(second.launch(&[])?, &["/brokers/ids/0"])?;
    // The first one does not mind.
    let session = Session::new(&stack, Tools::Stock);
    let finished = session.unrecorded(class::TOPICS, "--create --topic still-there", "")?;
    ensure!(finished.code == 0, "{}{}", finished.stdout, finished.stderr);
    Ok(())
}

#[test]
fn a_stale_node_of_its_own_is_waited_out() -> Result<()> {
    for zookeeper in [Maker::Ours, Maker::Apache] {
        let zookeeper = ZooKeeper::start(zookeeper)?;
        let mut broker = Broker::prepare(
            Maker::Ours,
            &zookeeper.connect(),
            "zookeeper.session.timeout.ms=5000",
        )?;
        broker.start_again()?;
        broker.kill()?;
        // The node of the killed broker is there until its session expires.
        broker.start_again()?;
        let finished = stock_tools::run(
            class::TOPICS,
            &[
                "--create",
                "--topic",
                "back",
                "--bootstrap-server",
                &broker.bootstrap(),
            ],
        )?;
        ensure!(finished.code == 0, "{}{}", finished.stdout, finished.stderr);
        ensure!(broker.stop()? == 0, "it did not end cleanly");
    }
    Ok(())
}

#[test]
fn a_taken_port_is_named() -> Result<()> {
    let zookeeper = ZooKeeper::start(Maker::Ours)?;
    let broker = Broker::prepare(Maker::Ours, &zookeeper.connect(), "")?;
    let _holder = TcpListener::bind(broker.address())?;
    refuses(broker.launch(&[])?, &[&broker.address().port().to_string()])
}

#[test]
fn mistakes_in_the_configuration_are_named_with_file_line_and_key() -> Result<()> {
    let nobody = Port::take()?.address().to_string();
    for (line, words) in [
        (
            "num.io.threads=many",
            ["server.properties", "16", "num.io.threads"],
        ),
        (
            "log.segment.bytes=3",
            ["server.properties", "16", "log.segment.bytes"],
        ),
        (
            "compression.type=rar",
            ["server.properties", "16", "compression.type"],
        ),
    ] {
        let broker = Broker::prepare(Maker::Ours, &nobody, line)?;
        refuses(broker.launch(&[])?, &words)?;
    }
    let broker = Broker::prepare(Maker::Ours, &nobody, "")?;
    refuses(
        broker.launch(&["--override", "num.io.threads=0"])?,
        &["num.io.threads"],
    )?;
    let scratch = Scratch::new("absent")?;
    let absent = scratch.path().join("absent.properties");
    let process = Process::spawn("broker", ours::broker()?.arg(&absent), scratch.path())?;
    refuses(process, &["absent.properties"])
}

#[test]
fn a_log_directory_that_cannot_be_used_is_named() -> Result<()> {
    let zookeeper = ZooKeeper::start(Maker::Ours)?;
    let scratch = Scratch::new("blocked")?;
    let blocker = scratch.path().join("a-file");
    fs::write(&blocker, "in the way")?;
    let inside = blocker.join("logs").display().to_string();
    let broker = Broker::prepare(
        Maker::Ours,
        &zookeeper.connect(),
        &format!("log.dirs={inside}"),
    )?;
    refuses(broker.launch(&[])?, &["a-file"])
}

#[test]
fn the_directory_of_another_cluster_or_broker_is_refused() -> Result<()> {
    let mut stack = Stack::start(Maker::Ours, Maker::Ours)?;
    stack.broker.stop()?;
    let path = stack.broker.log_directory().join("meta.properties");
    let good = fs::read_to_string(&path)?;
    let cluster: String = good
        .lines()
        .map(|line| {
            if line.starts_with("cluster.id=") {
                "cluster.id=AAAAAAAAAAAAAAAAAAAAAA\n".to_owned()
            } else {
                format!("{line}\n")
            }
        })
        .collect();
    fs::write(&path, cluster)?;
    refuses(
        stack.broker.launch(&[])?,
        &["AAAAAAAAAAAAAAAAAAAAAA", "meta.properties"],
    )?;
    fs::write(&path, good.replace("broker.id=0", "broker.id=5"))?;
    refuses(stack.broker.launch(&[])?, &["node id 5", "meta.properties"])?;
    fs::write(&path, good)?;
    stack.broker.start_again()
}

#[test]
fn sigterm_leaves_everything_in_order() -> Result<()> {
    let mut stack = Stack::start(Maker::Ours, Maker::Ours)?;
    let session = Session::new(&stack, Tools::Stock);
    session.unrecorded(class::CONSOLE_PRODUCER, "--topic t", "one\ntwo\n")?;
    let code = stack.broker.process()?.terminate(LIMIT)?;
    ensure!(
        code == 0,
        "exit code {code}\n{}",
        stack.broker.process()?.tail()
    );
    ensure!(
        stack
            .broker
            .log_directory()
            .join(".kafka_cleanshutdown")
            .is_file(),
        "no .kafka_cleanshutdown"
    );
    let screen = session.zk_cli_unrecorded(&["ls /brokers/ids", "get /controller"])?;
    ensure!(
        screen.stdout.contains("\n[]\n"),
        "the broker's node is still there:\n{}",
        screen.stdout
    );
    ensure!(
        screen.stderr.contains("Node does not exist: /controller"),
        "{}",
        screen.stderr
    );
    stack.broker.start_again()?;
    let finished = session.unrecorded(
        class::CONSOLE_CONSUMER,
        "--topic t --from-beginning --max-messages 2",
        "",
    )?;
    ensure!(
        finished.stdout == "one\ntwo\n",
        "{}{}",
        finished.stdout,
        finished.stderr
    );
    Ok(())
}
