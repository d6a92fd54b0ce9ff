//! Shell: runs each load against each broker in turn, several times, and notes throughput and CPU time.

use std::net::SocketAddr;
use std::thread;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;

use crate::Settings;
use crate::cases::{Action, CASES, Case};
use crate::client::{self, Client};
use crate::frames::FetchTerms;
use crate::report::{Report, Sample};
use crate::servers::Pair;

/// How a consumer fetches: the stock one's `max.partition.fetch.bytes` and `fetch.max.wait.ms`.
const TERMS: FetchTerms = FetchTerms {
    max_wait_ms: 500,
    max_bytes: 1 << 20,
};

/// All cases; a first round warms both up and is not counted.
pub fn run(settings: &Settings, pairs: &[Pair], report: &mut Report) -> Result<()> {
    for round in 0..=settings.rounds {
        for case in CASES.iter().filter(|case| settings.wants(case.name)) {
            for pair in pairs {
                let sample = pass(settings, pair, case)?;
                if round > 0 {
                    report.add(case.name, case.targets, pair.maker(), sample);
                }
            }
        }
    }
    Ok(())
}

fn pass(settings: &Settings, pair: &Pair, case: &Case) -> Result<Sample> {
    const TOPIC: &str = "bench";
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let batch = case.batch.build(i64::try_from(now.as_millis())?)?;
    let mut admin = Client::connect(pair.address())?;
    admin.create_topic(TOPIC, case.clients)?;
    let sample = match case.action {
        Action::Produce(acks) => {
            let address = pair.address();
            let most = settings.most_bytes / case.batch.value_bytes() as u64;
            measured(pair, case, |partition| {
                let until = Instant::now() + settings.pass;
                let place = (TOPIC, partition);
                produce(address, case, place, (acks, &batch), most, until)
            })
        }
        Action::Fetch => fetch(settings, pair, case, TOPIC, &batch),
    };
    admin.delete_topic(TOPIC)?;
    sample
}

fn produce(
    address: SocketAddr,
    case: &Case,
    place: (&str, i32),
    what: (i16, &Bytes),
    most: u64,
    until: Instant,
) -> Result<u64> {
    let most = most / u64::from(case.clients.unsigned_abs());
    let limits = (case.in_flight, most);
    let sent = client::produce_many(address, place, what, limits, until)?;
    Ok(sent * case.batch.value_bytes() as u64)
}

fn fetch(
    settings: &Settings,
    pair: &Pair,
    case: &Case,
    topic: &str,
    batch: &Bytes,
) -> Result<Sample> {
    let address = pair.address();
    // Less than the pages that are kept of files: disks are not what is compared.
    let most = settings.most_bytes / 2 / batch.len() as u64;
    for partition in 0..case.clients {
        let (place, forever) = ((topic, partition), Instant::now() + settings.pass * 1000);
        produce(address, case, place, (1, batch), most, forever)?;
    }
    measured(pair, case, |partition| {
        let until = Instant::now() + settings.pass;
        let shape = (batch.len(), case.batch.records);
        let place = (topic, partition);
        let bytes = client::fetch_many(address, place, shape, TERMS, until)?;
        Ok(bytes / batch.len() as u64 * case.batch.value_bytes() as u64)
    })
}

/// Runs one client for each partition, each of which answers how many bytes of values it moved.
fn measured(
    pair: &Pair,
    case: &Case,
    client: impl Fn(i32) -> Result<u64> + Sync,
) -> Result<Sample> {
    let cpu = pair.cpu_seconds()?;
    let begun = Instant::now();
    let client = &client;
    let bytes: Result<Vec<u64>> = thread::scope(|scope| {
        let running: Vec<_> = (0..case.clients)
            .map(|partition| scope.spawn(move || client(partition)))
            .collect();
        let ended = running.into_iter().map(|thread| {
            let result = thread.join();
            result.map_err(|_| anyhow!("a client had a defect"))?
        });
        ended.collect()
    });
    let bytes: u64 = bytes.with_context(|| case.name)?.iter().sum();
    let gigabytes = bytes as f64 / 1e9;
    Ok(Sample {
        mb_per_second: gigabytes * 1e3 / begun.elapsed().as_secs_f64(),
        cpu_seconds_per_gb: (pair.cpu_seconds()? - cpu) / gigabytes,
    })
}
