//! Shell: acknowledged messages and SIGKILL, of the broker and of the ZooKeeper under it.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use integration_tests::native;
use integration_tests::process::Process;
use integration_tests::stack::{Broker, Maker, ZooKeeper};
use integration_tests::stock_tools::{self, class};
use integration_tests::workspace::{self, Scratch};

const LIMIT: Duration = Duration::from_secs(120);

struct Writer {
    process: Process,
    _scratch: Scratch,
}

impl Writer {
    fn start(broker: &Broker, topic: &str, acks: &str, idempotent: &str) -> Result<Self> {
        let scratch = Scratch::new("writer")?;
        let mut command = Command::new(workspace::python()?);
        command
            .arg(workspace::own_file("peers/python/confluent_writer.py"))
            .args([&broker.bootstrap(), topic, acks, "0", idempotent]);
        let mut process = Process::spawn("writer", &mut command, scratch.path())?;
        process.wait_for_output("an acknowledgement", LIMIT, |text| !text.is_empty())?;
        Ok(Self {
            process,
            _scratch: scratch,
        })
    }

    fn wait_for_more(&mut self) -> Result<()> {
        let before = self.process.stdout().len();
        self.process
            .wait_for_output("another acknowledgement", LIMIT, |text| text.len() > before)
    }

    /// Stops writing; every number that was acknowledged.
    fn finish(mut self) -> Result<Vec<u64>> {
        self.process.close_input();
        self.process.wait_for_end(LIMIT)?;
        let text = self.process.stdout();
        ensure!(
            text.contains("left 0"),
            "messages are left over:\n{}",
            self.process.tail()
        );
        let failed: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("failed"))
            .take(5)
            .collect();
        ensure!(failed.is_empty(), "messages failed: {failed:?}");
        let numbers = text.lines().filter(|line| !line.starts_with("left"));
        numbers
            .map(|line| line.parse().with_context(|| line.to_owned()))
            .collect()
    }
}

fn stored(broker: &Broker, topic: &str) -> Result<Vec<u64>> {
    let address = broker.bootstrap();
    let words = [
        "-b",
        &address,
        "-X",
        "broker.address.family=v4",
        "-C",
        "-t",
        topic,
        "-o",
        "beginning",
        "-e",
        "-q",
    ];
    let mut finished = native::kcat(&words, "", LIMIT)?;
    // Right after its start a broker has not heard of its topics yet.
    let deadline = Instant::now() + LIMIT;
    while finished.stderr.contains("Unknown topic or partition") && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(200));
        finished = native::kcat(&words, "", LIMIT)?;
    }
    ensure!(finished.code == 0, "{}", finished.stderr);
    finished
        .stdout
        .lines()
        .map(|line| line.parse().with_context(|| line.to_owned()))
        .collect()
}

fn create_topic(broker: &Broker, topic: &str) -> Result<()> {
    create_topic_with(broker, topic, &["--config", "segment.bytes=100000"])
}

fn create_topic_with(broker: &Broker, topic: &str, more: &[&str]) -> Result<()> {
    let server = broker.bootstrap();
    let mut words = vec!["--create", "--topic", topic, "--bootstrap-server", &server];
    words.extend(more);
    let finished = stock_tools::run(class::TOPICS, &words)?;
    ensure!(finished.code == 0, "{}{}", finished.stdout, finished.stderr);
    Ok(())
}

fn survives(acks: &str, idempotent: &str) -> Result<()> {
    let zookeeper = ZooKeeper::start(Maker::Ours)?;
    // A short session, so that the next start does not wait long for the node of the killed broker.
    let mut broker = Broker::prepare(
        Maker::Ours,
        &zookeeper.connect(),
        "zookeeper.session.timeout.ms=4000",
    )?;
    broker.start_again()?;
    create_topic(&broker, "kept")?;
    let mut writer = Writer::start(&broker, "kept", acks, idempotent)?;
    for round in 1..=crate::rounds() {
        thread::sleep(Duration::from_millis(crate::random_delay_ms(round, 1500)));
        broker.kill()?;
        broker.start_again()?;
        writer
            .wait_for_more()
            .with_context(|| format!("after kill {round}"))?;
    }
    let acknowledged = writer.finish()?;
    let stored = stored(&broker, "kept")?;
    let known: std::collections::BTreeSet<u64> = stored.iter().copied().collect();
    let lost: Vec<&u64> = acknowledged
        .iter()
        .filter(|number| !known.contains(number))
        .take(10)
        .collect();
    ensure!(lost.is_empty(), "lost, of {}: {lost:?}", acknowledged.len());
    if idempotent == "idempotent" {
        ensure!(
            stored.is_sorted_by(|a, b| a < b),
            "messages are doubled or out of order"
        );
    }
    // What recovery left is sound in the eyes of Apache's broker.
    broker.stop()?;
    broker.hand_over_to(Maker::Apache);
    broker.start_again()?;
    ensure!(
        self::stored(&broker, "kept")? == stored,
        "Apache's broker reads something else"
    );
    Ok(())
}

#[test]
fn a_message_acknowledged_by_all_survives_sigkill() -> Result<()> {
    survives("all", "idempotent")
}

#[test]
fn a_message_acknowledged_by_the_leader_survives_sigkill() -> Result<()> {
    survives("1", "plain")
}

#[test]
fn a_disk_that_fills_up_loses_no_acknowledged_message() -> Result<()> {
    let zookeeper = ZooKeeper::start(Maker::Ours)?;
    let session = "zookeeper.session.timeout.ms=4000";
    let mut broker = Broker::prepare(Maker::Ours, &zookeeper.connect(), session)?;
    broker.start_again()?;
    // Indexes are as large as they may become from the start.
    create_topic_with(&broker, "kept", &["--config", "segment.index.bytes=100000"])?;
    broker.stop()?;
    broker.limit_files(Some(300));
    broker.start_again()?;
    let writer = Writer::start(&broker, "kept", "all", "idempotent")?;
    // The only log directory has failed: the broker ends, as Kafka's does.
    let code = broker.process()?.wait_for_end(LIMIT)?;
    let told = broker.process()?.tail();
    ensure!(code == 1, "it ended with {code}\n{told}");
    ensure!(
        !told.contains("panicked") && told.contains("kafka-logs"),
        "{told}"
    );
    broker.limit_files(None);
    broker.start_again()?;
    let acknowledged = writer.finish()?;
    ensure!(
        stored(&broker, "kept")? == acknowledged,
        "what is stored is not what was acknowledged"
    );
    Ok(())
}

/// A topic with settings that tell it from others.
fn create_marked(broker: &Broker, topic: &str, round: u32) -> Result<()> {
    let partitions = (round + 1).to_string();
    let retention = format!("retention.ms={}", 1_000_000 + round);
    create_topic_with(
        broker,
        topic,
        &["--partitions", &partitions, "--config", &retention],
    )
}

/// Topics that were acknowledged are there with their partitions, leaders and settings.
fn topics_are_there(broker: &Broker, topics: &[(String, u32)]) -> Result<()> {
    let finished = stock_tools::run(
        class::TOPICS,
        &["--describe", "--bootstrap-server", &broker.bootstrap()],
    )?;
    ensure!(finished.code == 0, "{}{}", finished.stdout, finished.stderr);
    for (topic, round) in topics {
        let about = |line: &&str| line.split_whitespace().nth(1) == Some(topic);
        let lines: Vec<&str> = finished.stdout.lines().filter(about).collect();
        let head = lines.first().with_context(|| format!("{topic} is lost"))?;
        let settings = format!("retention.ms={}", 1_000_000 + round);
        ensure!(
            head.contains(&settings),
            "{topic} has lost its settings: {head}"
        );
        let led = lines.iter().filter(|line| line.contains("Leader: 0"));
        ensure!(led.count() == *round as usize + 1, "{topic}: {lines:?}");
    }
    Ok(())
}

/// The broker (whoever made it) goes on when the ZooKeeper under it is killed and comes back: no message, no topic
/// and no setting is lost.
fn zookeeper_may_die(broker: Maker) -> Result<()> {
    let mut zookeeper = ZooKeeper::start_with(Maker::Ours, "snapCount=50")?;
    let broker = Broker::start(broker, &zookeeper.connect())?;
    create_topic(&broker, "kept")?;
    let mut topics = Vec::new();
    let mut writer = Writer::start(&broker, "kept", "all", "idempotent")?;
    for round in 1..=crate::rounds().min(3) {
        let before = format!("before-{round}");
        create_marked(&broker, &before, round)?;
        topics.push((before, round));
        let during = format!("during-{round}");
        // The kill may meet the creation of a topic at any point; the broker goes on with it.
        let created = thread::scope(|scope| {
            let creating = scope.spawn(|| create_marked(&broker, &during, round));
            thread::sleep(Duration::from_millis(crate::random_delay_ms(round, 2500)));
            zookeeper.kill()?;
            writer
                .wait_for_more()
                .context("a broker writes on without ZooKeeper")?;
            zookeeper.start_again()?;
            let created = creating.join();
            anyhow::Ok(matches!(created, Ok(Ok(()))))
        })?;
        if created {
            topics.push((during, round));
        }
        // Only a broker with a live session can do this.
        let after = format!("after-{round}");
        create_marked(&broker, &after, round)?;
        topics.push((after, round));
    }
    topics_are_there(&broker, &topics)?;
    let acknowledged = writer.finish()?;
    ensure!(
        stored(&broker, "kept")? == acknowledged,
        "what is stored is not what was acknowledged"
    );
    Ok(())
}

#[test]
fn our_broker_outlives_the_death_of_our_zookeeper() -> Result<()> {
    zookeeper_may_die(Maker::Ours)
}

#[test]
fn the_apache_broker_outlives_the_death_of_our_zookeeper() -> Result<()> {
    zookeeper_may_die(Maker::Apache)
}

#[test]
fn the_apache_broker_killed_on_our_zookeeper_comes_back() -> Result<()> {
    let zookeeper = ZooKeeper::start(Maker::Ours)?;
    let mut broker = Broker::prepare(
        Maker::Apache,
        &zookeeper.connect(),
        "zookeeper.session.timeout.ms=4000",
    )?;
    broker.start_again()?;
    create_topic(&broker, "kept")?;
    let mut writer = Writer::start(&broker, "kept", "all", "idempotent")?;
    thread::sleep(Duration::from_secs(1));
    broker.kill()?;
    // Apache's broker refuses to start while its former node is there; our server must expire the session.
    thread::sleep(Duration::from_secs(8));
    broker.start_again()?;
    writer.wait_for_more()?;
    let acknowledged = writer.finish()?;
    ensure!(
        stored(&broker, "kept")? == acknowledged,
        "what is stored is not what was acknowledged"
    );
    Ok(())
}
