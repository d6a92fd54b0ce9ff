//! Shell: the metrics in Prometheus's text format, under the names and with the types of
//! ZooKeeper's PrometheusMetricsProvider.
//!
//! Quantiles are those of the server's life, not of the last ten minutes.

use std::fmt::Write as _;

use crate::metrics::namespaces::Namespaces;
use crate::metrics::percentiles::Percentiles;
use crate::metrics::table::{self, Number};
use crate::operator::environment::Process;
use crate::operator::java_text::double;
use crate::operator::monitor;
use crate::pipeline::commit::Commit;
use crate::pipeline::run::Pipeline;

/// The content type of the text format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The quantiles of summaries with percentiles; others tell the first only.
const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];

/// Summaries of parts that only an ensemble has, by learner: never any samples here.
const LEARNERS: [&str; 3] = [
    "learner_handler_qp_size",
    "learner_handler_qp_time_ms",
    "ack_latency",
];

/// One metric with its samples.
#[derive(Clone, Debug)]
pub struct Family {
    /// Its name.
    pub name: String,
    /// What it is.
    pub help: String,
    /// `counter`, `gauge` or `summary`.
    pub kind: &'static str,
    /// Its values.
    pub samples: Vec<Sample>,
}

/// One value.
#[derive(Clone, Debug)]
pub struct Sample {
    /// What follows the family's name: nothing, `_count` or `_sum`.
    pub suffix: &'static str,
    /// Names and values of labels.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: f64,
}

impl Sample {
    fn plain(value: f64) -> Self {
        Self {
            suffix: "",
            labels: Vec::new(),
            value,
        }
    }

    /// The name under which `mntr` tells it.
    pub fn key(&self, family: &str) -> String {
        let mut key = format!("{family}{}", self.suffix);
        for (i, (name, value)) in self.labels.iter().enumerate() {
            let opening = if i == 0 { '{' } else { ',' };
            let _ = write!(key, "{opening}{name}=\"{value}\"");
        }
        if !self.labels.is_empty() {
            key.push('}');
        }
        key
    }
}

/// All metrics; with those of the process if asked for.
pub fn families<C: Commit>(pipeline: &Pipeline<C>, process: bool) -> Vec<Family> {
    let stats = monitor::stats(pipeline);
    let mut all = Vec::new();
    if process {
        all.extend(of_process());
    }
    for (name, number) in monitor::gauges(pipeline) {
        let value = match number {
            Number::Whole(number) => number as f64,
            Number::Double(number) => number,
        };
        all.push(family(name, "gauge", vec![Sample::plain(value)]));
    }
    for (name, numbers) in monitor::quota_gauges(&pipeline.db.tree) {
        let samples = numbers.into_iter().map(|(namespace, number)| Sample {
            labels: vec![("key", namespace)],
            ..Sample::plain(number as f64)
        });
        all.push(family(name, "gauge", samples.collect()));
    }
    for (name, count) in table::counters(stats) {
        all.push(family(name, "counter", vec![Sample::plain(count as f64)]));
    }
    for (name, set) in table::namespace_counters(stats) {
        let samples = set.iter().map(|(namespace, summary)| Sample {
            labels: vec![("key", namespace.to_owned())],
            ..Sample::plain(summary.summary().sum() as f64)
        });
        all.push(family(name, "counter", samples.collect()));
    }
    for (name, summary) in table::summaries(stats) {
        all.push(family(name, "summary", of_summary(&summary, 1, None)));
    }
    for (name, mut percentiles) in table::percentiles(stats) {
        // What `srst` hid from the four-letter words still counts here.
        percentiles.merge(match name {
            "readlatency" => &stats.server.earlier_reads,
            "updatelatency" => &stats.server.earlier_updates,
            _ => &NOTHING,
        });
        all.push(family(
            name,
            "summary",
            of_summary(&percentiles, QUANTILES.len(), None),
        ));
    }
    for (name, set) in table::namespaces(stats) {
        all.push(family(name, "summary", of_namespaces(set)));
    }
    for name in LEARNERS {
        all.push(family(name, "summary", Vec::new()));
    }
    all
}

static NOTHING: Percentiles = Percentiles::none();

/// The text of all metrics, or of those with samples of the names asked for.
pub fn text(families: &[Family], names: &[String]) -> String {
    let wanted = |family: &Family, sample: &Sample| {
        names.is_empty()
            || names
                .iter()
                .any(|name| name.strip_prefix(&*family.name) == Some(sample.suffix))
    };
    let mut text = String::new();
    for family in families {
        let samples: Vec<&Sample> = family
            .samples
            .iter()
            .filter(|sample| wanted(family, sample))
            .collect();
        if samples.is_empty() && !names.is_empty() {
            continue;
        }
        let Family {
            name, help, kind, ..
        } = family;
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for sample in samples {
            let _ = write!(text, "{name}{}", sample.suffix);
            if !sample.labels.is_empty() {
                text.push('{');
                for (label, value) in &sample.labels {
                    let _ = write!(text, "{label}=\"{}\",", escaped(value));
                }
                text.push('}');
            }
            let _ = writeln!(text, " {}", value_text(sample.value));
        }
    }
    text
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

fn value_text(value: f64) -> String {
    if value == f64::INFINITY {
        "+Inf".to_owned()
    } else if value == f64::NEG_INFINITY {
        "-Inf".to_owned()
    } else {
        double(value)
    }
}

fn family(name: &str, kind: &'static str, samples: Vec<Sample>) -> Family {
    Family {
        name: name.to_owned(),
        help: name.to_owned(),
        kind,
        samples,
    }
}

/// A summary with as many of the quantiles as ZooKeeper gives it.
fn of_summary(all: &Percentiles, quantiles: usize, key: Option<&str>) -> Vec<Sample> {
    let summary = all.summary();
    let labels: Vec<(&'static str, String)> =
        key.map(|key| ("key", key.to_owned())).into_iter().collect();
    let quantile = |part: &f64| Sample {
        labels: labels
            .iter()
            .cloned()
            .chain([("quantile", double(*part))])
            .collect(),
        ..Sample::plain(match summary.count() {
            0 => f64::NAN,
            _ => all.percentile(*part) as f64,
        })
    };
    let total = |suffix, value: u64| Sample {
        suffix,
        labels: labels.clone(),
        value: value as f64,
    };
    QUANTILES
        .iter()
        .take(quantiles)
        .map(quantile)
        .chain([
            total("_count", summary.count()),
            total("_sum", summary.sum()),
        ])
        .collect()
}

fn of_namespaces(set: &Namespaces) -> Vec<Sample> {
    set.iter()
        .flat_map(|(namespace, all)| of_summary(all, 1, Some(namespace)))
        .collect()
}

/// The figures of a process that every client library of Prometheus tells.
fn of_process() -> Vec<Family> {
    let process = Process::now();
    [
        (
            "process_cpu_seconds_total",
            "Total user and system CPU time spent in seconds.",
            "counter",
            process.cpu.as_secs_f64(),
        ),
        (
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
            "gauge",
            process.started_s,
        ),
        (
            "process_open_fds",
            "Number of open file descriptors.",
            "gauge",
            process.open_files as f64,
        ),
        (
            "process_max_fds",
            "Maximum number of open file descriptors.",
            "gauge",
            process.max_files as f64,
        ),
        (
            "process_virtual_memory_bytes",
            "Virtual memory size in bytes.",
            "gauge",
            process.virtual_bytes as f64,
        ),
        (
            "process_resident_memory_bytes",
            "Resident memory size in bytes.",
            "gauge",
            process.resident_bytes as f64,
        ),
    ]
    .into_iter()
    .map(|(name, help, kind, value)| Family {
        name: name.to_owned(),
        help: help.to_owned(),
        kind,
        samples: vec![Sample::plain(value)],
    })
    .collect()
}
