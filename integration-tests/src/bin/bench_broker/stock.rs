//! Shell: the stock performance tools against each broker in turn.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::stock_tools::ToolRunner;
use integration_tests::stock_tools::class::{CONSUMER_PERF, END_TO_END_LATENCY, PRODUCER_PERF};

use crate::Settings;
use crate::client::Client;
use crate::report::{Report, Sample, Targets};
use crate::servers::Pair;

const TOPIC: &str = "stock";
/// How long one tool may take.
const LIMIT: Duration = Duration::from_secs(300);
const RECORD_BYTES: u64 = 1000;
const TARGETS: Targets = Targets {
    throughput: 1.0,
    cpu: None,
};

/// Each tool, both makers in turn; a first round warms up.
pub fn run(settings: &Settings, pairs: &[Pair], report: &mut Report) -> Result<()> {
    let tools = ToolRunner::for_speed()?;
    for round in 0..=settings.rounds {
        for pair in pairs {
            let mut add = |name: &str, sample: Sample| {
                if round > 0 {
                    report.add(name, TARGETS, pair.maker(), sample);
                }
            };
            let stock = Stock {
                tools: &tools,
                pair,
                bootstrap: pair.address().to_string(),
                records: settings.records,
            };
            let mut admin = Client::connect(pair.address())?;
            admin.create_topic(TOPIC, 1)?;
            add("producer-perf acks=1", stock.produce("acks=1", "16384")?);
            add("consumer-perf", stock.consume(round)?);
            let all = stock.produce("acks=all", "524288")?;
            add("producer-perf acks=all, 512 KiB", all);
            admin.delete_topic(TOPIC)?;
            admin.create_topic(TOPIC, 1)?;
            let latencies = stock.latency(settings.records / 100)?;
            admin.delete_topic(TOPIC)?;
            if round > 0 {
                for (what, target, value) in [
                    ("p50", None, latencies[0]),
                    ("p99", Some(2.0), latencies[1]),
                ] {
                    let name = format!("EndToEndLatency acks=1, {what}");
                    report.figure(&name, "ms", target, pair.maker(), value);
                }
            }
        }
    }
    Ok(())
}

struct Stock<'a> {
    tools: &'a ToolRunner,
    pair: &'a Pair,
    bootstrap: String,
    records: u64,
}

impl Stock<'_> {
    fn produce(&self, acks: &str, batch_bytes: &str) -> Result<Sample> {
        let (count, size) = (self.records.to_string(), RECORD_BYTES.to_string());
        let server = format!("bootstrap.servers={}", self.bootstrap);
        let batch = format!("batch.size={batch_bytes}");
        let mut words = vec!["--topic", TOPIC, "--num-records", &count];
        words.extend(["--record-size", &size, "--throughput", "-1"]);
        words.extend(["--producer-props", &server, acks, &batch]);
        if acks == "acks=1" {
            words.push("enable.idempotence=false");
        } else {
            words.extend(["linger.ms=5", "max.request.size=2000000"]);
        }
        self.measured(PRODUCER_PERF, &words, |printed| {
            // "N records sent, R records/sec (M MB/sec), ..."; the last such line is of the whole run.
            let total = printed
                .lines()
                .rfind(|line| line.contains(" records sent"))?;
            let per_second = total.split_once(" records sent, ")?.1;
            per_second.split(' ').next()?.parse().ok()
        })
    }

    fn consume(&self, round: usize) -> Result<Sample> {
        let (count, group) = (self.records.to_string(), format!("group-{round}"));
        let mut words = vec!["--bootstrap-server", &self.bootstrap, "--topic", TOPIC];
        words.extend(["--messages", &count, "--group", &group]);
        words.extend(["--timeout", "30000", "--hide-header"]);
        self.measured(CONSUMER_PERF, &words, |printed| {
            // Start, end, MiB, MiB/s, messages, messages/s, ms to join, ms of fetching, MiB/s and messages/s of that.
            let figures: Vec<&str> = printed.lines().last()?.split(", ").collect();
            let consumed: u64 = figures.get(4)?.parse().ok()?;
            (consumed >= self.records).then_some(())?;
            figures.get(9)?.parse().ok()
        })
    }

    /// Runs a tool; `per_second` reads from its output how many records it moved in a second.
    fn measured(
        &self,
        class: &str,
        words: &[&str],
        per_second: impl Fn(&str) -> Option<f64>,
    ) -> Result<Sample> {
        let cpu = self.pair.cpu_seconds()?;
        let printed = self.run(class, words)?;
        let cpu = self.pair.cpu_seconds()? - cpu;
        let records =
            per_second(&printed).with_context(|| format!("odd output of {class}:\n{printed}"))?;
        Ok(Sample {
            mb_per_second: records * RECORD_BYTES as f64 / 1e6,
            cpu_seconds_per_gb: cpu / ((self.records * RECORD_BYTES) as f64 / 1e9),
        })
    }

    /// The 50th and the 99th percentile in milliseconds of records sent and read one by one.
    fn latency(&self, records: u64) -> Result<[f64; 2]> {
        let (count, size) = (records.to_string(), RECORD_BYTES.to_string());
        let words = [self.bootstrap.as_str(), TOPIC, &count, "1", &size];
        let printed = self.run(END_TO_END_LATENCY, &words)?;
        // "Percentiles: 50th = 0, 99th = 1, 99.9th = 2" in whole milliseconds.
        let quantile = |name: &str| {
            let rest = printed.rsplit_once(name)?.1;
            rest.split([',', '\n']).next()?.trim().parse().ok()
        };
        let odd = || format!("odd output of {END_TO_END_LATENCY}:\n{printed}");
        Ok([
            quantile("50th = ").with_context(odd)?,
            quantile("99th = ").with_context(odd)?,
        ])
    }

    fn run(&self, class: &str, words: &[&str]) -> Result<String> {
        let finished = self.tools.start_tool(class, words)?.finish(LIMIT)?;
        ensure!(
            finished.code == 0,
            "{class} {words:?} ended with {}\n{}\n{}",
            finished.code,
            finished.stdout,
            finished.stderr
        );
        Ok(finished.stdout)
    }
}
