//! Shell: measures Apache's ZooKeeper server and ours in turn on this machine with one load generator, and prints both figures
//! and their ratio; one below its target is marked with `!`.
//!
//! Environment: `TANDEM_BENCH_SHORT=1` does a little of everything, to see that it works; `TANDEM_BENCH_ROUNDS` (3);
//! `TANDEM_BENCH_PHASES` (`steady,fanout,sessions,million`); `TANDEM_BENCH_CASES` takes only the steady cases
//! whose name contains it; `TANDEM_BENCH_OURS=1` leaves Apache's out.

mod fanout;
mod histogram;
mod load;
mod million;
mod report;
mod server;
mod sessions;
mod steady;
mod wire;
mod workload;

use std::env;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use integration_tests::environment;
use integration_tests::process::own_cpu_seconds;
use integration_tests::stack::Maker;

use crate::report::Report;

/// How much to do.
struct Settings {
    rounds: usize,
    /// Of one case.
    pass: Duration,
    /// The first round's part of that.
    warm_up: f64,
    /// Watchers of one node.
    watchers: usize,
    /// Connections in a storm.
    storm: usize,
    /// Sessions that come and go.
    churn: u64,
    /// Nodes of the big tree.
    nodes: u64,
    /// Of the load on the big tree, without and with a snapshot.
    load: Duration,
    cases: String,
    makers: &'static [Maker],
}

impl Settings {
    fn from_environment() -> Result<Self> {
        let mut settings = Self {
            rounds: 3,
            pass: Duration::from_millis(400),
            warm_up: 0.8,
            watchers: 1000,
            storm: 1000,
            churn: 3_200,
            nodes: 1_000_000,
            load: Duration::from_secs(8),
            cases: env::var("TANDEM_BENCH_CASES").unwrap_or_default(),
            makers: &[Maker::Apache, Maker::Ours],
        };
        if environment::is_set("TANDEM_BENCH_OURS") {
            settings.makers = &[Maker::Ours];
        }
        if environment::is_set("TANDEM_BENCH_SHORT") {
            settings.rounds = 1;
            settings.pass = Duration::from_millis(30);
            settings.warm_up = 1.0;
            settings.watchers = 100;
            settings.storm = 100;
            settings.churn = 500;
            settings.nodes = 20_000;
            settings.load = Duration::from_secs(1);
        }
        settings.rounds = environment::number("TANDEM_BENCH_ROUNDS", settings.rounds)?;
        ensure!(settings.rounds > 0, "TANDEM_BENCH_ROUNDS must be 1 or more");
        Ok(settings)
    }

    /// Apache's first: what follows compares ours with it.
    fn makers(&self) -> impl Iterator<Item = Maker> {
        self.makers.iter().copied()
    }

    fn wants(&self, case: &str) -> bool {
        case.contains(&self.cases)
    }
}

fn main() -> Result<()> {
    let settings = Settings::from_environment()?;
    let begun = Instant::now();
    let phases = env::var("TANDEM_BENCH_PHASES");
    let phases = phases.unwrap_or_else(|_| "steady,fanout,sessions,million".to_owned());
    let mut report = Report::default();
    for phase in phases.split(',') {
        match phase {
            "steady" => steady::run(&settings, &mut report)?,
            "fanout" => fanout::run(&settings, &mut report)?,
            "sessions" => sessions::run(&settings, &mut report)?,
            "million" => million::run(&settings, &mut report)?,
            other => bail!("TANDEM_BENCH_PHASES: there is no phase {other}"),
        }
        eprintln!("{phase}: done after {} s", begun.elapsed().as_secs());
    }
    let own = own_cpu_seconds()?;
    println!(
        "Medians of {} round(s), A: Apache's, T: Tandem's, !: misses its target. {} s in all, {own:.0} s of it CPU time of the \
         load generator.\n",
        settings.rounds,
        begun.elapsed().as_secs(),
    );
    print!("{}", report.render());
    Ok(())
}
