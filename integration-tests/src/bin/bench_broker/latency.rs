//! Shell: how long a record takes from the moment a producer means to send it until a consumer has it, at a fixed rate.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, anyhow};
use kafka_wire::records::compression::Codec;

use crate::Settings;
use crate::client::Client;
use crate::frames::{self, Batch, FetchTerms};
use crate::report::Report;
use crate::servers::Pair;

const TOPIC: &str = "latency";
/// Records per second.
const RATES: [u64; 2] = [1000, 5000];
const BATCH: Batch = Batch {
    records: 1,
    value_bytes: 1000,
    codec: Codec::None,
};
const TERMS: FetchTerms = FetchTerms {
    max_wait_ms: 500,
    max_bytes: 1 << 20,
};
/// Passes of this phase are longer than others: it is the rare that counts.
const PASSES: u32 = 2;

/// All rates, both makers in turn; a first round warms up.
pub fn run(settings: &Settings, pairs: &[Pair], report: &mut Report) -> Result<()> {
    for round in 0..=settings.rounds {
        for rate in RATES {
            for pair in pairs {
                let records = (settings.pass * PASSES).as_millis() as u64 * rate / 1000;
                let cpu = pair.cpu_seconds()?;
                let mut latencies = pass(pair, rate, records)?;
                let cpu = pair.cpu_seconds()? - cpu;
                if round == 0 {
                    continue;
                }
                latencies.sort_unstable();
                let quantile = |percent: usize| {
                    let place = (latencies.len() * percent / 100).min(latencies.len() - 1);
                    latencies[place].as_secs_f64() * 1e6
                };
                let maker = pair.maker();
                let name = |what: &str| format!("end to end at {rate}/s, {what}");
                report.figure(&name("p50"), "us", None, maker, quantile(50));
                report.figure(&name("p99"), "us", Some(2.0), maker, quantile(99));
                let per_record = cpu * 1e6 / records as f64;
                report.figure(&name("CPU/record"), "us", None, maker, per_record);
            }
        }
    }
    Ok(())
}

/// Sends `records` at a rate and answers how long each took.
fn pass(pair: &Pair, rate: u64, records: u64) -> Result<Vec<Duration>> {
    let mut admin = Client::connect(pair.address())?;
    admin.create_topic(TOPIC, 1)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let batch = BATCH.build(i64::try_from(now.as_millis())?)?;
    let batch_bytes = batch.len();
    let frame = frames::produce(TOPIC, 0, 1, batch)?;
    let mut producer = Client::connect(pair.address())?;
    let mut answers = producer.share()?;
    let mut consumer = Client::connect(pair.address())?;
    let begin = Instant::now() + Duration::from_millis(50);
    let due = move |record: u64| begin + Duration::from_nanos(record * 1_000_000_000 / rate);
    let latencies = thread::scope(|scope| {
        let sending = scope.spawn(move || -> Result<()> {
            for record in 0..records {
                thread::sleep(due(record).saturating_duration_since(Instant::now()));
                producer.send(&frame)?;
            }
            Ok(())
        });
        let answered = scope.spawn(move || -> Result<()> {
            let mut answered = 0;
            while answered < records {
                answered += answers.receive_produced(TOPIC)? as u64;
            }
            Ok(())
        });
        let mut latencies = Vec::with_capacity(records as usize);
        let mut frame = frames::fetch(TOPIC, 0, TERMS)?;
        while (latencies.len() as u64) < records {
            frames::set_offset(&mut frame, i64::try_from(latencies.len())?);
            consumer.send(&frame)?;
            let answer = consumer.receive_fetched(TOPIC)?;
            consumer.discard_fetched(TOPIC, answer)?;
            let now = Instant::now();
            for _ in 0..answer.record_bytes / batch_bytes {
                let record = latencies.len() as u64;
                latencies.push(now.saturating_duration_since(due(record)));
            }
        }
        for thread in [sending, answered] {
            thread
                .join()
                .map_err(|_| anyhow!("a client had a defect"))??;
        }
        anyhow::Ok(latencies)
    })?;
    admin.delete_topic(TOPIC)?;
    Ok(latencies)
}
