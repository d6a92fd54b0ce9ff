//! Shell: measures Apache's pair of servers and ours side by side on this machine and prints both figures and their ratio.
//!
//! Each round starts both makers' pairs afresh, in turn; the last round's pairs then take the load, pass by pass in
//! turn, so that whatever else the machine does meets both alike. The first two passes of each kind are thrown away: they
//! warm Apache's JVMs and the clients'. Each figure is the median of the rounds.
//!
//! Environment: `TANDEM_BENCH_ROUNDS` (3), `TANDEM_BENCH_RECORDS` per pass (500000), `TANDEM_BENCH_READS` of znodes per
//! pass (500000; writes are a tenth of that).

mod messages;
mod servers;
mod start;
mod table;
mod znodes;

use std::time::Instant;

use anyhow::{Result, ensure};
use integration_tests::environment;
use integration_tests::stack::Maker;
use integration_tests::stock_tools::ToolRunner;
use tokio::runtime::{Builder, Runtime};

use crate::messages::{Acks, Topic};
use crate::servers::Pair;
use crate::table::Table;
use crate::znodes::Operation;

/// Apache first: what follows compares ours with it.
const MAKERS: [Maker; 2] = [Maker::Apache, Maker::Ours];

/// Passes of each kind that are thrown away. With one only, the CPU time of Apache's servers still falls visibly.
const WARM_UP_PASSES: usize = 2;

/// How much to do.
struct Settings {
    rounds: usize,
    records: u64,
    reads: u64,
}

impl Settings {
    fn from_environment() -> Result<Self> {
        let settings = Self {
            rounds: environment::number("TANDEM_BENCH_ROUNDS", 3)?,
            records: environment::number("TANDEM_BENCH_RECORDS", 500_000)?,
            reads: environment::number("TANDEM_BENCH_READS", 500_000)?,
        };
        ensure!(
            settings.rounds > 0 && settings.records > 0 && settings.reads >= 10,
            "TANDEM_BENCH_ROUNDS and TANDEM_BENCH_RECORDS must be 1 or more, TANDEM_BENCH_READS 10 or more"
        );
        Ok(settings)
    }
}

fn main() -> Result<()> {
    let settings = Settings::from_environment()?;
    let begun = Instant::now();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let tools = ToolRunner::for_speed()?;
    let mut table = Table::default();
    let pairs = start_rounds(&settings, &runtime, &tools, &mut table)?;
    message_rounds(&settings, &tools, &pairs, &mut table)?;
    znode_rounds(&settings, &runtime, &pairs, &mut table)?;
    for pair in &pairs {
        table.add(
            "RSS of both, after the load",
            pair.maker(),
            pair.resident_mib()?.both(),
        );
    }
    eprint!("\n{}\n", table.render_samples());
    let (rounds, records, reads) = (settings.rounds, settings.records, settings.reads);
    println!(
        "Median of {rounds} round(s); {records} records of 1 KiB, {reads} znode reads and {} writes per pass; {} s in all.\n",
        reads / 10,
        begun.elapsed().as_secs()
    );
    print!("{}", table.render());
    Ok(())
}

/// Starts each pair on empty directories, takes it through the tutorial, and keeps the last of each maker.
fn start_rounds(
    settings: &Settings,
    runtime: &Runtime,
    tools: &ToolRunner,
    table: &mut Table,
) -> Result<Vec<Pair>> {
    let mut kept = Vec::new();
    for round in 1..=settings.rounds {
        kept.clear();
        for maker in MAKERS {
            eprintln!("round {round}: {maker:?}: start and tutorial");
            rustix::fs::sync();
            let (mut pair, spawned) = Pair::start(maker)?;
            runtime.block_on(start::first_produce(&mut pair))?;
            let elapsed = spawned.elapsed().as_secs_f64() * 1000.0;
            table.add("start to first acked produce", maker, elapsed);
            messages::tutorial(tools, &pair)?;
            let resident = pair.resident_mib()?;
            table.add("RSS of the ZooKeeper server", maker, resident.zookeeper);
            table.add("RSS of the broker", maker, resident.broker);
            table.add("RSS of both, after the tutorial", maker, resident.both());
            if round == settings.rounds {
                kept.push(pair);
            }
        }
    }
    Ok(kept)
}

fn message_rounds(
    settings: &Settings,
    tools: &ToolRunner,
    pairs: &[Pair],
    table: &mut Table,
) -> Result<()> {
    for pass in 0..WARM_UP_PASSES + settings.rounds {
        for pair in pairs {
            progress(pass, pair.maker(), "messages");
            for acks in [Acks::Leader, Acks::All] {
                let topic = Topic::create(tools, pair, &format!("load-{pass}-{}", acks.word()))?;
                rustix::fs::sync();
                let produced = topic.produce(settings.records, acks)?;
                rustix::fs::sync();
                let consumed = match acks {
                    Acks::All => Some(topic.consume(settings.records)?),
                    Acks::Leader => None,
                };
                topic.delete()?;
                if pass < WARM_UP_PASSES {
                    continue;
                }
                let word = acks.word();
                let mut add = |what: &str, value| table.add(what, pair.maker(), value);
                add(&format!("produce, acks={word}"), produced.mib_per_second);
                add(
                    &format!("broker CPU, produce, acks={word}"),
                    produced.cpu_seconds_per_gb,
                );
                if let Some(consumed) = consumed {
                    add("consume", consumed.mib_per_second);
                    add("broker CPU, consume", consumed.cpu_seconds_per_gb);
                }
            }
        }
    }
    Ok(())
}

fn znode_rounds(
    settings: &Settings,
    runtime: &Runtime,
    pairs: &[Pair],
    table: &mut Table,
) -> Result<()> {
    for pair in pairs {
        runtime.block_on(znodes::prepare(pair))?;
    }
    for pass in 0..WARM_UP_PASSES + settings.rounds {
        for pair in pairs {
            progress(pass, pair.maker(), "znodes");
            for operation in [Operation::GetData, Operation::SetData, Operation::Create] {
                let count = match operation {
                    Operation::GetData => settings.reads,
                    Operation::SetData | Operation::Create => settings.reads / 10,
                };
                rustix::fs::sync();
                let load = znodes::load(pair, operation, pass, count);
                let figures = runtime.block_on(load)?;
                if pass < WARM_UP_PASSES {
                    continue;
                }
                let name = operation.name();
                table.add(&format!("znode {name}"), pair.maker(), figures.per_second);
                let what = format!("server CPU, znode {name}");
                table.add(&what, pair.maker(), figures.cpu_seconds_per_100k);
            }
        }
    }
    Ok(())
}

fn progress(pass: usize, maker: Maker, what: &str) {
    let pass = match (pass + 1).checked_sub(WARM_UP_PASSES) {
        None | Some(0) => "warm-up".to_owned(),
        Some(round) => format!("round {round}"),
    };
    eprintln!("{pass}: {maker:?}: {what}");
}
