//! Shell: every kind of operation at every number of connections, Apache's server and ours in turn.

use std::time::Duration;

use anyhow::Result;

use crate::Settings;
use crate::load::{Limit, Load, Pass};
use crate::report::{Report, Sample, Targets};
use crate::server::Server;
use crate::workload::{Case, Operation, SIZES, Workload};

/// The heap of Kafka's start script for ZooKeeper.
const HEAP: &str = "512M";

/// Every case, those that the targets were written for first.
fn cases() -> Vec<Case> {
    use Operation::{Children, Create, Exists, Get, Mix, Set};
    let case = |operation, connections, depth, bytes| Case {
        operation,
        connections,
        depth,
        bytes,
    };
    let mut cases = vec![case(Get, 16, 64, SIZES[0]), case(Set, 16, 64, SIZES[0])];
    for depth in [1, 64] {
        for connections in [1, 8, 64] {
            for operation in [Get, Exists, Children, Mix, Set, Create] {
                cases.push(case(operation, connections, depth, SIZES[0]));
                if !matches!(operation, Exists | Children) {
                    cases.push(case(operation, connections, depth, SIZES[1]));
                }
            }
        }
    }
    cases
}

fn targets(case: Case) -> Targets {
    let cpu = match case.operation {
        Operation::Get | Operation::Exists | Operation::Children if case.depth > 1 => Some(8.0),
        // At more connections the system's part, the same for both, is nearly all of it.
        Operation::Get | Operation::Exists | Operation::Children if case.connections == 1 => {
            Some(6.0)
        }
        Operation::Set | Operation::Create if case.depth > 1 => Some(5.0),
        _ => None,
    };
    // One write at a time waits for the disk and for nothing else.
    let bound_by_disk = case.operation.writes() && case.depth == 1;
    Targets {
        cpu,
        throughput: (!bound_by_disk).then_some(2.0),
        p99: (!bound_by_disk).then_some(2.0),
    }
}

/// Runs them all.
pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    let mut servers = Vec::new();
    for maker in settings.makers() {
        let server = Server::start(maker, HEAP, "")?;
        let workload = Workload::prepare(&server)?;
        servers.push((server, workload));
    }
    // The first round warms the JVM up.
    for round in 0..=settings.rounds {
        let time = match round {
            0 => settings.pass.mul_f64(settings.warm_up),
            _ => settings.pass,
        };
        // Neither server is always the one that comes after the other.
        servers.reverse();
        for case in cases()
            .into_iter()
            .filter(|case| settings.wants(&case.name()))
        {
            servers.reverse();
            for (server, workload) in &mut servers {
                let sample = measure(server, workload, case, time)?;
                if round > 0 {
                    report.add(&case.name(), targets(case), server.maker(), sample);
                }
            }
        }
        eprintln!("steady load: round {round} of {} done", settings.rounds);
    }
    Ok(())
}

fn measure(server: &Server, workload: &mut Workload, case: Case, time: Duration) -> Result<Sample> {
    let mut load = Load::connect(server.address(), case.connections)?;
    if case.operation.writes() {
        // What the other server left behind is not to be waited for.
        rustix::fs::sync();
    }
    let before = server.cpu_seconds()?;
    let pass = workload.run(&mut load, case, Limit::Time(time))?;
    let cpu = server.cpu_seconds()? - before;
    load.close()?;
    Ok(sample(&pass, cpu))
}

/// The figures of a pass during which the server used `cpu` seconds.
pub fn sample(pass: &Pass, cpu: f64) -> Sample {
    let operations = pass.operations as f64;
    Sample {
        per_second: operations / pass.elapsed.as_secs_f64(),
        quantiles_us: [0.5, 0.99, 0.999].map(|part| pass.latencies.quantile_us(part)),
        cpu_us: cpu / operations * 1e6,
    }
}
