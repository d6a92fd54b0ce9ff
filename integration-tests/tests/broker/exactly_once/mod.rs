//! Shell: producers, transactions and readers, by requests from a seed: our broker answers, stores and recovers as
//! Apache's does. `TANDEM_SEED` and `TANDEM_ROUNDS` choose other scripts, `TANDEM_STEPS` longer ones; with
//! `TANDEM_RETENTION` old segments go meanwhile, for which brokers take half a minute.

mod script;
pub mod view;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use integration_tests::at_once;
use integration_tests::compare;
use integration_tests::environment;
use integration_tests::new_topics::{self, NewTopic};
use integration_tests::normalise::Normaliser;
use integration_tests::partition_view::wait_for_leaders;
use integration_tests::stack::{self, Broker, Maker, ZooKeeper};
use integration_tests::stock_tools::{self, class};
use integration_tests::talk::Talk;
use integration_tests::transcript::Transcript;
use integration_tests::wait::until;
use kafka_wire::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use kafka_wire::messages::describe_producers::{DescribeProducersRequest, TopicRequest};
use kafka_wire::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use kafka_wire::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use kafka_wire::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use kafka_wire::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use kafka_wire::messages::write_txn_markers::{
    WritableTxnMarker, WritableTxnMarkerTopic, WriteTxnMarkersRequest,
};
use kafka_wire::wire::Records;

use script::{PARTITIONS, Step, Writer};
use view::Since;

const TOPIC: &str = "eos";
/// The timestamp that asks ListOffsets for the newest record.
const NEWEST: i64 = -3;
/// Markers come from the script itself, so no coordinator can know of its transactions.
const CONFIG: &str = "transaction.partition.verification.enable=false\nlog.retention.ms=-1\n\
                      zookeeper.session.timeout.ms=4000\nlog.retention.check.interval.ms=300\n";
/// What retention leaves of a partition.
const RETAINED_BYTES: u64 = 4000;
/// Small segments and dense indexes, so that transactions span several.
const TOPIC_CONFIG: [(&str, &str); 2] =
    [("segment.bytes", "2500"), ("index.interval.bytes", "300")];

/// A script's steps; the broker is stopped and killed once in between.
fn script(seed: u64, base_time: i64) -> Result<Vec<Step>> {
    let steps = environment::number("TANDEM_STEPS", 300)?;
    let mut writer = Writer::new(seed, base_time);
    let mut script = Vec::new();
    for step in 0..steps {
        if step == steps / 3 || step == steps * 2 / 3 {
            let cleanly = (step == steps / 3) == seed.is_multiple_of(2);
            script.push(Step::Restart { cleanly });
            script.push(Step::Describe);
        }
        if step % (steps / 6).max(1) == 3 && environment::is_set("TANDEM_RETENTION") {
            script.push(Step::Retain);
            script.push(Step::Describe);
        }
        script.push(writer.step());
    }
    script.push(Step::Describe);
    for partition in 0..PARTITIONS {
        for committed in [false, true] {
            let (offset, max_bytes) = (0, 1 << 20);
            script.push(Step::Fetch {
                version: 12,
                committed,
                partition,
                offset,
                max_bytes,
            });
        }
    }
    Ok(script)
}

/// One broker and the connection to it.
struct Player {
    broker: Broker,
    zookeeper: SocketAddr,
    talk: Talk,
    since: Since,
}

impl Player {
    fn start(maker: Maker, zookeeper: &ZooKeeper, since: Since) -> Result<Self> {
        let mut broker = Broker::prepare(maker, &zookeeper.connect(), CONFIG)?;
        broker.start_again()?;
        let talk = Talk::with(broker.address())?;
        let mut player = Self {
            broker,
            zookeeper: zookeeper.address(),
            talk,
            since,
        };
        let topic = NewTopic::new(TOPIC, PARTITIONS).with(&TOPIC_CONFIG);
        new_topics::create(&mut player.talk, &[topic])?;
        Ok(player)
    }

    fn restart(&mut self, cleanly: bool) -> Result<()> {
        if cleanly {
            self.broker.stop()?;
        } else {
            self.broker.kill()?;
        }
        // Apache's broker does not start while a session of before is alive, as one may be on a busy machine even
        // after a clean end.
        while stack::ask(self.zookeeper, "dump")?.contains("/brokers/ids/0") {
            std::thread::sleep(Duration::from_millis(100));
        }
        self.broker.start_again()?;
        self.talk = Talk::with(self.broker.address())?;
        wait_for_leaders(&mut self.talk, TOPIC, PARTITIONS)
    }

    /// Lets retention take what is too much, and waits until it has.
    fn retain(&mut self) -> Result<()> {
        self.configure(&RETAINED_BYTES.to_string())?;
        for partition in 0..PARTITIONS {
            let directory = self
                .broker
                .log_directory()
                .join(format!("{TOPIC}-{partition}"));
            until("retention", || {
                let mut sizes = BTreeMap::new();
                for entry in fs::read_dir(&directory)? {
                    let path = entry?.path();
                    if path.extension().is_some_and(|kind| kind == "log") {
                        // One that is gone by now counts for nothing.
                        sizes.insert(
                            path.clone(),
                            fs::metadata(path).map_or(0, |data| data.len()),
                        );
                    }
                }
                let all: u64 = sizes.values().sum();
                let first = sizes.values().next().copied().unwrap_or(0);
                Ok(sizes.len() <= 1 || all - first < RETAINED_BYTES)
            })?;
        }
        self.configure("-1")
    }

    fn configure(&mut self, bytes: &str) -> Result<()> {
        let request = IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type: 2,
                resource_name: TOPIC.into(),
                configs: vec![AlterableConfig {
                    name: "retention.bytes".into(),
                    config_operation: 0,
                    value: Some(bytes.into()),
                }],
            }],
            validate_only: false,
        };
        let answer = self.talk.ask(1, &request)?.context("closed")?;
        ensure!(
            answer
                .responses
                .iter()
                .all(|response| response.error_code == 0),
            "{answer:?}"
        );
        Ok(())
    }

    /// Plays one step; what came of it.
    fn play(&mut self, step: &Step) -> Result<String> {
        Ok(match step {
            Step::Produce {
                version,
                acks,
                transactional_id,
                batches,
                ..
            } => {
                let request = produce(*acks, *transactional_id, batches);
                let answer = self.talk.ask(*version, &request)?;
                answer.map_or("closed".to_owned(), |answer| view::produced(&answer))
            }
            Step::Mark { version, .. } => {
                let answer = self.talk.ask(*version, &markers(step))?;
                answer.map_or("closed".to_owned(), |answer| view::marked(&answer))
            }
            Step::Fetch { version, .. } => match self.talk.ask(*version, &fetch(step))? {
                Some(answer) => view::fetched(&answer, self.since)?,
                None => "closed".to_owned(),
            },
            Step::List {
                version, timestamp, ..
            } => {
                let answer = self.talk.ask(*version, &list(step))?;
                let text = answer.map_or("closed".to_owned(), |answer| {
                    view::listed(&answer, self.since)
                });
                // Which of two markers is the newest depends on whether they are of the same millisecond.
                let is_marker = *timestamp == NEWEST && text.contains(" at now");
                if is_marker {
                    "a marker".to_owned()
                } else {
                    text
                }
            }
            Step::Delete { partition, offset } => {
                let answer = self.talk.ask(2, &delete(*partition, *offset))?;
                format!("{:?}", answer.map(|answer| answer.topics))
            }
            Step::Describe => {
                let answer = self.talk.ask(0, &describe())?;
                answer.map_or("closed".to_owned(), |answer| {
                    view::described(&answer, self.since)
                })
            }
            Step::Retain => {
                self.retain()?;
                String::new()
            }
            Step::Restart { cleanly } => {
                self.restart(*cleanly)?;
                String::new()
            }
        })
    }
}

fn produce(acks: i16, transactional_id: bool, batches: &[(i32, bytes::Bytes)]) -> ProduceRequest {
    let data = batches.iter().map(|(index, batch)| PartitionProduceData {
        index: *index,
        records: Some(Records::Memory(batch.clone())),
    });
    ProduceRequest {
        transactional_id: transactional_id.then(|| "script".into()),
        acks,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: TOPIC.into(),
            partition_data: data.collect(),
        }],
    }
}

fn markers(step: &Step) -> WriteTxnMarkersRequest {
    let Step::Mark {
        producer_id,
        epoch,
        coordinator_epoch,
        commit,
        partitions,
        ..
    } = step
    else {
        return WriteTxnMarkersRequest::default();
    };
    WriteTxnMarkersRequest {
        markers: vec![WritableTxnMarker {
            producer_id: *producer_id,
            producer_epoch: *epoch,
            transaction_result: *commit,
            topics: vec![WritableTxnMarkerTopic {
                name: TOPIC.into(),
                partition_indexes: partitions.clone(),
            }],
            coordinator_epoch: *coordinator_epoch,
        }],
    }
}

fn fetch(step: &Step) -> FetchRequest {
    let Step::Fetch {
        committed,
        partition,
        offset,
        max_bytes,
        ..
    } = step
    else {
        return FetchRequest::default();
    };
    FetchRequest {
        isolation_level: i8::from(*committed),
        topics: vec![FetchTopic {
            topic: TOPIC.into(),
            partitions: vec![FetchPartition {
                partition: *partition,
                fetch_offset: *offset,
                partition_max_bytes: *max_bytes,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    }
}

fn list(step: &Step) -> ListOffsetsRequest {
    let Step::List {
        committed,
        partition,
        timestamp,
        ..
    } = step
    else {
        return ListOffsetsRequest::default();
    };
    ListOffsetsRequest {
        replica_id: -1,
        isolation_level: i8::from(*committed),
        topics: vec![ListOffsetsTopic {
            name: TOPIC.into(),
            partitions: vec![ListOffsetsPartition {
                partition_index: *partition,
                timestamp: *timestamp,
                ..ListOffsetsPartition::default()
            }],
        }],
    }
}

fn delete(partition_index: i32, offset: i64) -> DeleteRecordsRequest {
    DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: TOPIC.into(),
            partitions: vec![DeleteRecordsPartition {
                partition_index,
                offset,
            }],
        }],
        timeout_ms: 30_000,
    }
}

fn describe() -> DescribeProducersRequest {
    let topic = |name: &str, last: i32| TopicRequest {
        name: name.into(),
        partition_indexes: (0..=last).collect(),
    };
    DescribeProducersRequest {
        topics: vec![
            topic(TOPIC, PARTITIONS),
            topic("nothere", 0),
            topic("no/topic", 0),
        ],
    }
}

/// What a step asks, without the bytes of its batches.
fn title(number: usize, step: &Step) -> String {
    match step {
        Step::Produce {
            version,
            acks,
            transactional_id,
            text,
            ..
        } => {
            format!("{number}: produce v{version} acks {acks} id {transactional_id}: {text}")
        }
        other => format!("{number}: {other:?}"),
    }
}

/// The partitions' files by name, and as Apache's tool reads them.
pub fn files(
    transcript: &mut Transcript,
    log_directory: &Path,
    partitions: &[String],
) -> Result<()> {
    // What depends on when a marker was written.
    let normaliser = Normaliser::new()
        .literal(&log_directory.display().to_string(), "<dir>")
        .pattern(r"crc: [0-9]+", "crc: <crc>")
        .pattern(
            r"CreateTime: [0-9]+( keySize: 4 valueSize: 6)",
            "CreateTime: <now>$1",
        )
        .pattern(
            r"(isControl: true .*)CreateTime: [0-9]+",
            "$1CreateTime: <now>",
        )
        .pattern(r"lastTimestamp: [0-9]+", "lastTimestamp: <n>");
    let mut dumped: Vec<PathBuf> = Vec::new();
    let mut names = String::new();
    for partition in partitions {
        let mut paths = Vec::new();
        for entry in fs::read_dir(log_directory.join(partition))? {
            paths.push(entry?.path());
        }
        paths.sort();
        for path in paths {
            let extension = path
                .extension()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let _ = writeln!(names, "{}", path.display());
            if ["log", "txnindex", "snapshot"].contains(&&*extension) {
                dumped.push(path);
            }
        }
    }
    transcript.lines("files", &names, &normaliser);
    let list: Vec<String> = dumped
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let words = [
        "--deep-iteration",
        "--print-data-log",
        "--files",
        &list.join(","),
    ];
    let finished = stock_tools::run(class::DUMP_LOG, &words)?;
    ensure!(finished.code == 0, "{}{}", finished.stdout, finished.stderr);
    for part in finished.stdout.split("Dumping ") {
        let (path, text) = part.split_once('\n').unwrap_or((part, ""));
        let mut lines: Vec<&str> = text.lines().collect();
        if path.ends_with(".snapshot") {
            // In the order of a hash table.
            lines.sort_unstable();
        }
        let title = path.replace(&*log_directory.to_string_lossy(), "<dir>");
        transcript.lines(&title, &lines.join("\n"), &normaliser);
    }
    Ok(())
}

fn play(maker: Maker, script: &[Step], since: Since) -> Result<Transcript> {
    let zookeeper = ZooKeeper::start(Maker::Ours)?;
    let mut player = Player::start(maker, &zookeeper, since)?;
    let mut transcript = Transcript::default();
    for (number, step) in script.iter().enumerate() {
        let answer = player
            .play(step)
            .with_context(|| format!("{maker:?} {}", title(number, step)))?;
        transcript.lines(&title(number, step), &answer, &Normaliser::new());
    }
    player.broker.stop()?;
    let partitions: Vec<String> = (0..PARTITIONS).map(|n| format!("{TOPIC}-{n}")).collect();
    files(&mut transcript, &player.broker.log_directory(), &partitions)?;
    Ok(transcript)
}

/// After a restart Apache's broker knows only the last batch of each producer again, ours those that the log tells as
/// well: it answers a repeated one with its offset where Apache's calls it out of order. Nothing is written either way.
fn forgive_better_memory(theirs: &Transcript, ours: &mut Transcript) {
    let is_repeated =
        |line: &str| line.contains("error_code: 0,") && !line.contains("log_append_time_ms: -1,");
    let mut restarted = false;
    for (expected, found) in theirs.steps.iter().zip(&mut ours.steps) {
        restarted |= expected.title.contains("Restart");
        if !restarted || expected.lines.len() != found.lines.len() {
            continue;
        }
        for (expected, found) in expected.lines.iter().zip(&mut found.lines) {
            if expected.contains("error_code: 45,") && is_repeated(found) {
                found.clone_from(expected);
            }
        }
    }
}

#[test]
fn random_producers_and_transactions_leave_what_apaches_broker_leaves() -> Result<()> {
    let first = environment::number("TANDEM_SEED", 1)?;
    for seed in first..first + environment::number("TANDEM_ROUNDS", 1)? {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        // Long enough ago that no time of the script is the broker's, and not so long that producers expire.
        let base_time = i64::try_from(now)? - 3_600_000;
        let since = Since(base_time + 1_800_000);
        let script = script(seed, base_time)?;
        let (theirs, mut ours) = at_once::both(|maker| play(maker, &script, since))?;
        forgive_better_memory(&theirs, &mut ours);
        if let Ok(path) = std::env::var("TANDEM_TRANSCRIPT") {
            fs::write(path, theirs.to_string())?;
        }
        compare::ensure_same(&theirs, &ours).with_context(|| format!("TANDEM_SEED={seed}"))?;
    }
    Ok(())
}
