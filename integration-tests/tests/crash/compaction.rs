//! Shell: a broker that compacts is killed again and again, often while files of a compaction are about.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use integration_tests::stack::{Broker, Maker, ZooKeeper};
use integration_tests::stock_tools::{self, class};
use integration_tests::talk::Talk;
use kafka_wire::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use kafka_wire::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use kafka_wire::records::batch::Batches;
use kafka_wire::records::batch_builder::{BatchBuilder, BatchBuilderOptions};
use kafka_wire::records::compression::{Codec, compress, decompress};
use kafka_wire::wire::Records;

const LIMIT: Duration = Duration::from_secs(120);
const TOPIC: &str = "table";
const KEYS: i64 = 40;
/// A cleaner that hardly rests, and is slow enough to be met at work.
const SETTINGS: &str = "zookeeper.session.timeout.ms=4000\nlog.cleaner.backoff.ms=1\n\
    log.cleaner.io.max.bytes.per.second=3000000\nlog.cleaner.io.buffer.size=4000\n";

/// Number of the last record sent, and of the last that was acknowledged; -1 for none. Record n has key n modulo [`KEYS`].
struct Writer {
    sent: i64,
    acknowledged: i64,
}

impl Writer {
    /// Writes until the broker is gone.
    fn write(&mut self, talk: &mut Talk) {
        while let Ok(true) = self.write_batch(talk) {}
    }

    fn write_batch(&mut self, talk: &mut Talk) -> Result<bool> {
        let first = self.acknowledged + 1;
        let mut builder = BatchBuilder::new(BatchBuilderOptions::default());
        for number in first..first + 7 {
            let key = (number % KEYS).to_string();
            // Some are deletions.
            let value = (number % 13 != 0).then(|| number.to_string());
            builder.append(
                1_700_000_000_000 + number,
                Some(key.as_bytes()),
                value.as_deref().map(str::as_bytes),
            );
        }
        self.sent = self.sent.max(first + 6);
        let codec = Codec::ALL[(first % 5) as usize];
        let records = match codec {
            Codec::None => builder.build(),
            codec => {
                let packed = compress(codec, builder.payload())?.into_owned();
                builder.build_compressed(codec.id(), &packed)
            }
        };
        let request = ProduceRequest {
            transactional_id: None,
            acks: -1,
            timeout_ms: 30_000,
            topic_data: vec![TopicProduceData {
                name: TOPIC.into(),
                partition_data: vec![PartitionProduceData {
                    index: 0,
                    records: Some(Records::Memory(records)),
                }],
            }],
        };
        let Some(answer) = talk.ask(9, &request)? else {
            return Ok(false);
        };
        match answer.responses[0].partition_responses[0].error_code {
            0 => self.acknowledged = first + 6,
            3 | 6 => thread::sleep(Duration::from_millis(20)),
            code => bail!("produce: {code}"),
        }
        Ok(true)
    }

    /// What a broker may hold of each key: its last acknowledged record, or one that was sent later.
    fn check(&self, held: &[(i64, i64, Option<i64>)]) -> Result<()> {
        ensure!(
            held.is_sorted_by(|a, b| a.0 < b.0),
            "offsets do not ascend: {held:?}"
        );
        let mut latest: BTreeMap<i64, Option<i64>> = BTreeMap::new();
        for (_, key, value) in held {
            if let Some(number) = value {
                ensure!(
                    number % KEYS == *key && *number <= self.sent,
                    "key {key} has {number}"
                );
                let before = latest.get(key).copied().flatten();
                // What was sent and not acknowledged is sent again.
                let order = before.is_none_or(|before| before <= *number);
                ensure!(order, "key {key}: {number} after {before:?}");
            }
            latest.insert(*key, *value);
        }
        for key in 0..KEYS.min(self.acknowledged + 1) {
            let last = self.acknowledged - (self.acknowledged - key).rem_euclid(KEYS);
            let found = latest.get(&key).copied().flatten();
            let deleted = last % 13 == 0 && latest.get(&key).is_none_or(Option::is_none);
            let later = found.is_some_and(|found| found > last);
            let sent_deletion = (last + 1..=self.sent).any(|n| n % KEYS == key && n % 13 == 0);
            ensure!(
                found == Some(last) || deleted || later || sent_deletion,
                "key {key}: {last} was acknowledged, {:?} is there",
                latest.get(&key)
            );
        }
        Ok(())
    }
}

/// Everything in the topic: offset, key, value.
fn read_all(talk: &mut Talk) -> Result<Vec<(i64, i64, Option<i64>)>> {
    let mut held = Vec::new();
    let mut offset = 0;
    let deadline = Instant::now() + LIMIT;
    loop {
        let request = FetchRequest {
            max_bytes: 1 << 24,
            topics: vec![FetchTopic {
                topic: TOPIC.into(),
                partitions: vec![FetchPartition {
                    partition: 0,
                    current_leader_epoch: -1,
                    fetch_offset: offset,
                    partition_max_bytes: 1 << 24,
                    ..FetchPartition::default()
                }],
                ..FetchTopic::default()
            }],
            session_epoch: -1,
            ..FetchRequest::default()
        };
        let answer = talk.ask(11, &request)?.context("closed")?;
        let partition = &answer.responses[0].partitions[0];
        match partition.error_code {
            0 => {}
            // Right after its start the broker leads nothing yet.
            3 | 5 | 6 | 9 if Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(20));
                continue;
            }
            code => bail!("fetch at {offset}: {code}"),
        }
        let Some(Records::Memory(bytes)) = &partition.records else {
            bail!("no records");
        };
        let before = offset;
        for batch in Batches::new(bytes) {
            let batch = batch?;
            ensure!(batch.crc_ok(), "{:?}", batch.header);
            let codec = Codec::from_id(batch.header.codec_id()).context("codec")?;
            let plain = decompress(codec, batch.payload(), 1 << 24)?;
            for record in batch.records(&plain) {
                let record = record?;
                let number =
                    |bytes: &[u8]| -> Result<i64> { Ok(std::str::from_utf8(bytes)?.parse()?) };
                let key = number(record.key.context("no key")?)?;
                held.push((record.offset, key, record.value.map(number).transpose()?));
            }
            offset = batch.header.next_offset();
        }
        if offset == before {
            return Ok(held);
        }
    }
}

/// Waits until files of a compaction are about, or for a while.
fn wait_for_compaction(partition: &Path) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        let names = fs::read_dir(partition).into_iter().flatten().flatten();
        let mut names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        if names.any(|name| name.ends_with(".cleaned") || name.ends_with(".swap")) {
            return;
        }
    }
}

#[test]
fn a_broker_killed_while_it_compacts_keeps_the_last_value_of_each_key() -> Result<()> {
    let zookeeper = ZooKeeper::start(Maker::Ours)?;
    let mut broker = Broker::prepare(Maker::Ours, &zookeeper.connect(), SETTINGS)?;
    broker.start_again()?;
    let server = broker.bootstrap();
    let words = format!(
        "--create --topic {TOPIC} --bootstrap-server {server} --config cleanup.policy=compact --config segment.bytes=4000 \
         --config min.cleanable.dirty.ratio=0.01 --config delete.retention.ms=100 --config file.delete.delay.ms=500"
    );
    let words: Vec<&str> = words.split_whitespace().collect();
    let finished = stock_tools::run(class::TOPICS, &words)?;
    ensure!(finished.code == 0, "{}{}", finished.stdout, finished.stderr);
    let mut writer = Writer {
        sent: -1,
        acknowledged: -1,
    };
    let partition = broker.log_directory().join(format!("{TOPIC}-0"));
    for round in 1..=2 * crate::rounds() {
        let mut talk = Talk::with(broker.address())?;
        let (broker_ref, partition) = (&mut broker, &partition);
        thread::scope(|scope| -> Result<()> {
            let writing = scope.spawn(|| writer.write(&mut talk));
            thread::sleep(Duration::from_millis(crate::random_delay_ms(round, 1000)));
            if round % 2 == 0 {
                wait_for_compaction(partition);
            }
            broker_ref.kill()?;
            ensure!(writing.join().is_ok(), "the writer panicked");
            Ok(())
        })?;
        let left = fs::read_dir(partition)?.flatten();
        let left = left.filter(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name.ends_with(".cleaned") || name.ends_with(".swap")
        });
        println!(
            "{} files of a compaction are about, {} records",
            left.count(),
            writer.acknowledged
        );
        broker.start_again()?;
        let held = read_all(&mut Talk::with(broker.address())?)?;
        writer
            .check(&held)
            .with_context(|| format!("after kill {round}"))?;
    }
    let deadline = Instant::now() + LIMIT;
    loop {
        let held = read_all(&mut Talk::with(broker.address())?)?;
        writer
            .check(&held)
            .context("once the cleaner was left alone")?;
        if (held.len() as i64) < writer.acknowledged / 4 {
            break;
        }
        ensure!(
            Instant::now() < deadline,
            "{} of {} records are left",
            held.len(),
            writer.acknowledged
        );
        thread::sleep(Duration::from_millis(100));
    }
    broker.stop()?;
    broker.hand_over_to(Maker::Apache);
    broker.configure("log.cleaner.enable=false\n");
    broker.start_again()?;
    writer
        .check(&read_all(&mut Talk::with(broker.address())?)?)
        .context("read by Apache's broker")
}
