//! Shell: one write that a thousand connections hear of.

use std::time::Instant;

use anyhow::Result;

use crate::Settings;
use crate::histogram::Histogram;
use crate::load::{Link, Load};
use crate::report::{Report, Sample, Targets};
use crate::server::Server;
use crate::wire;

const HEAP: &str = "512M";
const PATH: &[u8] = b"/watched";
/// Writes in one pass.
const WRITES: u64 = 50;
const TARGETS: Targets = Targets {
    cpu: Some(5.0),
    throughput: Some(2.0),
    p99: Some(2.0),
};

/// Measures watches that stay, then watches that fire once and are set again.
pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    let mut servers = Vec::new();
    for maker in settings.makers() {
        let server = Server::start(maker, HEAP, "")?;
        let mut writer = Link::begin_connect(server.address(), (0, [0; 16]))?;
        writer.finish_connect()?;
        writer.call(|xid, out| wire::put_create(xid, PATH, b"", 0, out))?;
        servers.push((server, writer));
    }
    for once in [false, true] {
        let name = match once {
            false => format!("event to {} watchers", settings.watchers),
            true => format!("the same, watch set anew ({})", settings.watchers),
        };
        let mut watchers = Vec::new();
        for (server, _) in &servers {
            let mut load = Load::connect(server.address(), settings.watchers)?;
            if !once {
                load.each_once(&mut |xid, out| wire::put_add_watch(xid, PATH, out))?;
            }
            watchers.push(load);
        }
        for round in 0..=settings.rounds {
            for ((server, writer), load) in servers.iter_mut().zip(&mut watchers) {
                let sample = pass(server, writer, load, settings.watchers as u64, once)?;
                if round > 0 {
                    report.add(&name, TARGETS, server.maker(), sample);
                }
            }
        }
        for load in watchers {
            load.close()?;
        }
    }
    Ok(())
}

/// The latency is that of a whole fan-out: from the write to the last watcher's event.
fn pass(
    server: &Server,
    writer: &mut Link,
    load: &mut Load,
    watchers: u64,
    once: bool,
) -> Result<Sample> {
    let mut latencies = Histogram::default();
    let before = server.cpu_seconds()?;
    let begun = Instant::now();
    for _ in 0..WRITES {
        if once {
            load.each_once(&mut |xid, out| wire::put_get(xid, PATH, true, out))?;
        }
        let written = Instant::now();
        writer.call(|xid, out| wire::put_set(xid, PATH, b"new", out))?;
        load.wait_for_events(watchers)?;
        let nanos = u64::try_from(written.elapsed().as_nanos()).unwrap_or(u64::MAX);
        latencies.add(nanos, 1);
    }
    let elapsed = begun.elapsed();
    let cpu = server.cpu_seconds()? - before;
    let events = (WRITES * watchers) as f64;
    Ok(Sample {
        per_second: events / elapsed.as_secs_f64(),
        quantiles_us: [0.5, 0.99, 0.999].map(|part| latencies.quantile_us(part)),
        cpu_us: cpu / events * 1e6,
    })
}
