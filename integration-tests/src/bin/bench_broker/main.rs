//! Shell: measures Apache's broker and ours in turn on this machine, with a light client and with the stock tools, and prints both
//! figures and their ratio; one below its target is marked with `!`.
//!
//! Environment: `TANDEM_BENCH_SHORT=1` does a little of everything, to see that it works; `TANDEM_BENCH_ROUNDS` (3);
//! `TANDEM_BENCH_PHASES` (`idle,steady,latency,stock,start,recovery`); `TANDEM_BENCH_CASES` takes only the steady cases
//! whose name contains it; `TANDEM_BENCH_OURS=1` leaves Apache's out; `TANDEM_BENCH_RECOVERY_MB` (2000) is how much an
//! unclean log holds, `TANDEM_BENCH_PASS_MS` (2000) how long a load goes on.

mod cases;
mod client;
mod frames;
mod latency;
mod report;
mod servers;
mod start;
mod steady;
mod stock;

use std::env;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use integration_tests::environment;
use integration_tests::process::own_cpu_seconds;
use integration_tests::stack::Maker;

use crate::report::Report;
use crate::servers::Pair;

/// How much to do.
struct Settings {
    rounds: usize,
    /// Of one case.
    pass: Duration,
    /// Bytes at which a pass ends early, and of what is fetched again and again.
    most_bytes: u64,
    /// Records of the stock tools.
    records: u64,
    partitions: i32,
    recovery_bytes: u64,
    cases: String,
    makers: &'static [Maker],
}

impl Settings {
    fn from_environment() -> Result<Self> {
        let mut settings = Self {
            rounds: 3,
            pass: Duration::from_secs(2),
            most_bytes: 1_000_000_000,
            records: 1_000_000,
            partitions: 1000,
            recovery_bytes: 2_000_000_000,
            cases: env::var("TANDEM_BENCH_CASES").unwrap_or_default(),
            makers: &[Maker::Apache, Maker::Ours],
        };
        if environment::is_set("TANDEM_BENCH_OURS") {
            settings.makers = &[Maker::Ours];
        }
        if environment::is_set("TANDEM_BENCH_SHORT") {
            settings.rounds = 1;
            settings.pass = Duration::from_millis(100);
            settings.most_bytes = 50_000_000;
            settings.records = 20_000;
            settings.partitions = 50;
            settings.recovery_bytes = 100_000_000;
        }
        settings.rounds = environment::number("TANDEM_BENCH_ROUNDS", settings.rounds)?;
        if let Some(millis) = environment::given("TANDEM_BENCH_PASS_MS")? {
            settings.pass = Duration::from_millis(millis);
        }
        if let Some(megabytes) = environment::given::<u64>("TANDEM_BENCH_RECOVERY_MB")? {
            settings.recovery_bytes = megabytes * 1_000_000;
        }
        ensure!(settings.rounds > 0, "TANDEM_BENCH_ROUNDS must be 1 or more");
        Ok(settings)
    }

    fn wants(&self, case: &str) -> bool {
        case.contains(&self.cases)
    }
}

fn main() -> Result<()> {
    let settings = Settings::from_environment()?;
    let begun = Instant::now();
    let phases = env::var("TANDEM_BENCH_PHASES");
    let phases = phases.unwrap_or_else(|_| "idle,steady,latency,stock,start,recovery".to_owned());
    let mut report = Report::default();
    // All phases but the starts share one pair of each maker: a JVM is fast only after a while.
    let mut pairs = Vec::new();
    for phase in phases.split(',') {
        if pairs.is_empty() && !matches!(phase, "start" | "recovery") {
            for maker in settings.makers {
                pairs.push(Pair::start(*maker, "")?);
            }
        }
        match phase {
            "idle" => idle(&pairs, &mut report)?,
            "steady" => steady::run(&settings, &pairs, &mut report)?,
            "latency" => latency::run(&settings, &pairs, &mut report)?,
            "stock" => stock::run(&settings, &pairs, &mut report)?,
            "start" | "recovery" => {
                under_load(&pairs, &mut report)?;
                pairs.clear();
                match phase {
                    "start" => start::many_partitions(&settings, &mut report)?,
                    _ => start::recovery(&settings, &mut report)?,
                }
            }
            other => bail!("TANDEM_BENCH_PHASES: there is no phase {other}"),
        }
        eprintln!("{phase}: done after {} s", begun.elapsed().as_secs());
    }
    under_load(&pairs, &mut report)?;
    let own = own_cpu_seconds()?;
    println!(
        "Medians of {} round(s), A: Apache's, T: Tandem's, !: misses its target. {} s in all, {own:.0} s of it CPU time of the \
         light client.\n",
        settings.rounds,
        begun.elapsed().as_secs(),
    );
    print!("{}", report.render());
    Ok(())
}

/// Memory of brokers that have just started.
fn idle(pairs: &[Pair], report: &mut Report) -> Result<()> {
    for pair in pairs {
        let resident = pair.resident_mib()?;
        report.figure("memory, idle", "MiB", Some(10.0), pair.maker(), resident);
    }
    Ok(())
}

/// The most memory that a broker had so far.
fn under_load(pairs: &[Pair], report: &mut Report) -> Result<()> {
    for pair in pairs {
        let peak = pair.peak_mib()?;
        let name = "memory, most under load";
        report.figure(name, "MiB", Some(10.0), pair.maker(), peak);
    }
    Ok(())
}
