//! Shell: a Kafka Streams application with exactly_once_v2 counts everything once though the broker is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::apache;
use integration_tests::ledger::clients::SETTINGS;
use integration_tests::process::Process;
use integration_tests::stack::{Broker, Maker, ZooKeeper};
use integration_tests::workspace::{self, Scratch};

const LIMIT: Duration = Duration::from_secs(400);
/// The keys of `StreamsSum.java`: a number belongs to the one at its remainder.
const KEYS: [&str; 7] = ["ash", "beech", "cedar", "elm", "fir", "holly", "larch"];

struct Application {
    process: Process,
    scratch: Scratch,
}

impl Application {
    fn start(bootstrap: &str, count: i64) -> Result<Self> {
        let scratch = Scratch::new("streams")?;
        let mut command = apache::java()?;
        command
            .arg(workspace::own_file("peers/java/StreamsSum.java"))
            .arg(bootstrap)
            .args([scratch.path().join("state"), scratch.path().join("result")])
            .arg(count.to_string());
        let process = Process::spawn("streams", &mut command, scratch.path())?;
        Ok(Self { process, scratch })
    }

    fn tell(&mut self, command: &str) -> Result<()> {
        self.process.write_input(&format!("{command}\n"))
    }

    fn wait_for(&mut self, command: &str) -> Result<()> {
        let done = format!("{command} done");
        self.process
            .wait_for_output(command, LIMIT, |text| text.contains(&done))
    }

    fn result(&self) -> Result<String> {
        Ok(fs::read_to_string(self.scratch.path().join("result"))?)
    }
}

/// Each number is added to the sum of its key once, and counted once, one after the other.
fn exact(result: &str, count: i64) -> Result<()> {
    let mut sums: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    let mut counts: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for line in result.lines() {
        match line.split(' ').collect::<Vec<&str>>()[..] {
            ["sums", key, sum] => sums.entry(key).or_default().push(sum.parse()?),
            ["counts", key, number] => counts.entry(key).or_default().push(number.parse()?),
            _ => ensure!(line.starts_with("replaced"), "{line}"),
        }
    }
    for (remainder, key) in (0..).zip(KEYS) {
        let numbers: BTreeSet<i64> = (1..=count).filter(|n| n % 7 == remainder).collect();
        let sums = sums.get(key).context(key)?;
        let mut added = BTreeSet::new();
        let mut before = 0;
        for sum in sums {
            let number = sum - before;
            ensure!(numbers.contains(&number), "{key}: {before} became {sum}");
            ensure!(added.insert(number), "{key}: {number} was added twice");
            before = *sum;
        }
        ensure!(
            added == numbers,
            "{key}: {} of {}",
            added.len(),
            numbers.len()
        );
        let counts = counts.get(key).context(key)?;
        let steps: Vec<i64> = (1..).take(numbers.len()).collect();
        ensure!(*counts == steps, "{key}: counts {counts:?}");
    }
    Ok(())
}

#[test]
fn an_application_with_exactly_once_counts_each_record_once() -> Result<()> {
    let rounds = crate::rounds();
    let count = 2500 * i64::from(rounds);
    let zookeeper = ZooKeeper::start(Maker::Ours)?;
    let mut broker = Broker::prepare(Maker::Ours, &zookeeper.connect(), SETTINGS)?;
    broker.start_again()?;
    let mut application = Application::start(&broker.bootstrap(), count)?;
    application.tell("start")?;
    application.wait_for("start")?;
    for round in 1..=rounds {
        thread::sleep(Duration::from_millis(crate::random_delay_ms(round, 4000)));
        if round == 2 {
            // Its stores come back from the broker; the kill may meet that.
            application.tell("renew")?;
        }
        broker.kill()?;
        broker.start_again()?;
    }
    application.tell("finish")?;
    application
        .wait_for("finish")
        .with_context(|| application.process.tail())?;
    let result = application.result()?;
    println!("{:?}", result.lines().last());
    exact(&result, count)
}
