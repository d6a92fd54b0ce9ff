//! Shell: sessions that come and go, and many that come at once.

use std::time::Instant;

use anyhow::Result;

use crate::Settings;
use crate::histogram::Histogram;
use crate::load::Link;
use crate::report::{Report, Sample, Targets};
use crate::server::Server;
use crate::wire;

const HEAP: &str = "512M";
/// Sessions that are under way at once while they come and go; Apache's server lets 50 wait to be accepted.
const AT_ONCE: usize = 32;

const CHURN: Targets = Targets {
    cpu: Some(5.0),
    throughput: None,
    p99: None,
};
const STORM: Targets = Targets {
    cpu: None,
    throughput: None,
    p99: Some(2.0),
};

/// Measures both.
pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    let mut servers = Vec::new();
    for maker in settings.makers() {
        servers.push(Server::start(maker, HEAP, "")?);
    }
    for round in 0..=settings.rounds {
        for server in &servers {
            let churned = churn(server, settings.churn)?;
            let (opened, links) = storm(server, vec![(0, [0; 16]); settings.storm])?;
            let old = links.iter().map(|link| link.session).collect();
            drop(links);
            let (back, links) = storm(server, old)?;
            for mut link in links {
                link.call(wire::put_close)?;
            }
            if round == 0 {
                continue;
            }
            let storm = settings.storm;
            for (name, targets, sample) in [
                ("session come and gone".to_owned(), CHURN, churned),
                (format!("{storm} new sessions at once"), STORM, opened),
                (format!("{storm} sessions come back"), STORM, back),
            ] {
                report.add(&name, targets, server.maker(), sample);
            }
        }
    }
    Ok(())
}

/// Connect, ask for a session, end it, disconnect: some at once, so that writes share the disk.
fn churn(server: &Server, count: u64) -> Result<Sample> {
    let mut latencies = Histogram::default();
    let before = server.cpu_seconds()?;
    let begun = Instant::now();
    let mut done = 0;
    while done < count {
        let mut links = Vec::with_capacity(AT_ONCE);
        for _ in 0..AT_ONCE {
            links.push((
                Link::begin_connect(server.address(), (0, [0; 16]))?,
                Instant::now(),
            ));
        }
        for (link, _) in &mut links {
            link.finish_connect()?;
            link.send(wire::put_close)?;
        }
        for (mut link, since) in links {
            link.wait_for_reply()?;
            add(since, &mut latencies);
            done += 1;
        }
    }
    let cpu = server.cpu_seconds()? - before;
    Ok(sample(done, begun, cpu, &latencies))
}

/// All at once; the latency is from the request for a session to its answer.
fn storm(server: &Server, sessions: Vec<(i64, [u8; 16])>) -> Result<(Sample, Vec<Link>)> {
    let mut latencies = Histogram::default();
    let before = server.cpu_seconds()?;
    let begun = Instant::now();
    let mut links = Vec::with_capacity(sessions.len());
    for session in sessions {
        links.push((
            Link::begin_connect(server.address(), session)?,
            Instant::now(),
        ));
    }
    for (link, since) in &mut links {
        link.finish_connect()?;
        add(*since, &mut latencies);
    }
    let cpu = server.cpu_seconds()? - before;
    let sample = sample(links.len() as u64, begun, cpu, &latencies);
    Ok((sample, links.into_iter().map(|(link, _)| link).collect()))
}

fn add(since: Instant, latencies: &mut Histogram) {
    let nanos = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
    latencies.add(nanos, 1);
}

fn sample(count: u64, begun: Instant, cpu: f64, latencies: &Histogram) -> Sample {
    Sample {
        per_second: count as f64 / begun.elapsed().as_secs_f64(),
        quantiles_us: [0.5, 0.99, 0.999].map(|part| latencies.quantile_us(part)),
        cpu_us: cpu / count as f64 * 1e6,
    }
}
