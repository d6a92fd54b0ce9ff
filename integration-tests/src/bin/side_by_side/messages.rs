//! Shell: the tutorial's steps and the stock performance tools against one pair, with the CPU time the broker took.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::stock_tools::ToolRunner;
use integration_tests::stock_tools::class::{
    CONSOLE_CONSUMER, CONSOLE_PRODUCER, CONSUMER_PERF, PRODUCER_PERF, TOPICS,
};

use crate::servers::Pair;

/// How long one tool may take.
const LIMIT: Duration = Duration::from_secs(180);
const RECORD_BYTES: u64 = 1024;

/// When the broker answers a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// When the leader has the records.
    Leader,
    /// When all in-sync replicas have them; the stock producer's default, idempotent.
    All,
}

impl Acks {
    /// The value of the producer's `acks`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Leader => "1",
            Self::All => "all",
        }
    }
}

/// What one run of a performance tool showed.
#[derive(Debug, Clone, Copy)]
pub struct Pass {
    /// As the tool printed it: MiB of record values.
    pub mib_per_second: f64,
    /// User and system time of the broker per 10^9 bytes of record values.
    pub cpu_seconds_per_gb: f64,
}

/// Creates a topic, produces to it and consumes from it through a group.
///
/// # Errors
/// When a tool fails.
pub fn tutorial(tools: &ToolRunner, pair: &Pair) -> Result<()> {
    let bootstrap = pair.broker_address().to_string();
    let server = ["--bootstrap-server", bootstrap.as_str()];
    let topic = ["--topic", "t"];
    let create = [&server[..], &topic, &["--create", "--partitions", "1"]].concat();
    run(tools, TOPICS, &create, "")?;
    let input = "one\ntwo\nthree\n";
    run(tools, CONSOLE_PRODUCER, &[server, topic].concat(), input)?;
    let group = ["--group", "g", "--from-beginning", "--max-messages", "3"];
    let consume = [&server[..], &topic, &group].concat();
    let printed = run(tools, CONSOLE_CONSUMER, &consume, "")?;
    ensure!(
        printed == input,
        "the console consumer printed {printed:?} instead of {input:?}"
    );
    Ok(())
}

/// A topic of one partition for one pass.
pub struct Topic<'a> {
    tools: &'a ToolRunner,
    pair: &'a Pair,
    bootstrap: String,
    name: String,
}

impl<'a> Topic<'a> {
    /// Makes the topic.
    ///
    /// # Errors
    /// When the stock tool fails.
    pub fn create(tools: &'a ToolRunner, pair: &'a Pair, name: &str) -> Result<Self> {
        let topic = Self {
            tools,
            pair,
            bootstrap: pair.broker_address().to_string(),
            name: name.to_owned(),
        };
        topic.alter("--create")?;
        Ok(topic)
    }

    /// Deletes it, so that the disk holds few passes at a time.
    ///
    /// # Errors
    /// When the stock tool fails.
    pub fn delete(self) -> Result<()> {
        self.alter("--delete")
    }

    fn alter(&self, action: &str) -> Result<()> {
        let server = ["--bootstrap-server", &self.bootstrap];
        let words = [&server[..], &[action, "--topic", &self.name]].concat();
        run(self.tools, TOPICS, &words, "").map(drop)
    }

    /// Writes records as fast as the stock producer can.
    ///
    /// # Errors
    /// When the tool fails or prints something else than its figures.
    pub fn produce(&self, records: u64, acks: Acks) -> Result<Pass> {
        let count = records.to_string();
        let size = RECORD_BYTES.to_string();
        let server = format!("bootstrap.servers={}", self.bootstrap);
        let acks_setting = format!("acks={}", acks.word());
        let mut words = vec!["--topic", &self.name, "--num-records", &count];
        words.extend(["--record-size", &size, "--throughput", "-1"]);
        words.extend(["--producer-props", &server, &acks_setting]);
        if acks == Acks::Leader {
            words.push("enable.idempotence=false");
        }
        self.measured(PRODUCER_PERF, &words, records, |printed| {
            // "N records sent, R records/sec (M MB/sec), ..."; the last such line is of the whole run.
            let total = printed
                .lines()
                .rfind(|line| line.contains(" records sent"))?;
            ensure_count(total.split(' ').next()?, records)?;
            total
                .split_once('(')?
                .1
                .split_once(" MB/sec")?
                .0
                .parse()
                .ok()
        })
    }

    /// Reads the records from the beginning as fast as the stock consumer can, in a new group.
    ///
    /// # Errors
    /// When the tool fails or prints something else than its figures.
    pub fn consume(&self, records: u64) -> Result<Pass> {
        let count = records.to_string();
        let group = format!("{}-group", self.name);
        let mut words = vec!["--bootstrap-server", &self.bootstrap, "--topic", &self.name];
        words.extend([
            "--messages",
            &count,
            "--group",
            &group,
            "--timeout",
            "30000",
        ]);
        words.push("--hide-header");
        self.measured(CONSUMER_PERF, &words, records, |printed| {
            // Start, end, MiB, MiB/s, messages, messages/s, and the same without the time to join the group.
            let figures: Vec<&str> = printed.lines().last()?.split(", ").collect();
            ensure_count(figures.get(4)?, records)?;
            figures.get(8)?.parse().ok()
        })
    }

    fn measured(
        &self,
        class: &str,
        words: &[&str],
        records: u64,
        figure: impl Fn(&str) -> Option<f64>,
    ) -> Result<Pass> {
        let before = self.pair.broker_cpu_seconds()?;
        let printed = run(self.tools, class, words, "")?;
        let cpu_seconds = self.pair.broker_cpu_seconds()? - before;
        let mib_per_second =
            figure(&printed).with_context(|| format!("odd output of {class}:\n{printed}"))?;
        Ok(Pass {
            mib_per_second,
            cpu_seconds_per_gb: cpu_seconds / ((records * RECORD_BYTES) as f64 / 1e9),
        })
    }
}

/// A tool that gave up early has measured nothing; one that reads may read some more than asked.
fn ensure_count(text: &str, records: u64) -> Option<()> {
    let count: u64 = text.parse().ok()?;
    (count >= records).then_some(())
}

fn run(tools: &ToolRunner, class: &str, words: &[&str], input: &str) -> Result<String> {
    let mut tool = tools.start_tool(class, words)?;
    // A tool that takes no input may have ended already.
    let _ = tool.write_input(input);
    let _ = tool.end_input();
    let finished = tool.finish(LIMIT)?;
    ensure!(
        finished.code == 0,
        "{class} {words:?} ended with {}\n{}\n{}",
        finished.code,
        finished.stdout,
        finished.stderr
    );
    Ok(finished.stdout)
}
