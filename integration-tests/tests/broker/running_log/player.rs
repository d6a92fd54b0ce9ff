//! Shell: plays steps to both brokers and compares what they answer and what is in their directories.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use integration_tests::partition_view::{self, list, wait_for_leaders};
use integration_tests::stack::{Broker, Maker, ZooKeeper};
use integration_tests::talk::Talk;
use kafka_wire::messages::create_topics::{
    CreatableTopic, CreateTopicsRequest, CreateableTopicConfig,
};
use kafka_wire::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use kafka_wire::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use kafka_wire::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use kafka_wire::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use kafka_wire::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use kafka_wire::wire::{Records, Uuid};

use super::steps::{Batch, Configs, Step, configs};

const LIMIT: Duration = Duration::from_secs(60);
/// Both brokers start the timers of their logs half a minute after themselves.
const TIMERS: Duration = Duration::from_secs(33);
/// Since when they may have begun.
const EARLY: Duration = Duration::from_secs(20);
/// Long enough for every timer to have run when nothing is left to do.
const QUIET: Duration = Duration::from_millis(1300);
const CONFIG: &str = "log.retention.check.interval.ms=200\nlog.flush.scheduler.interval.ms=200\n\
    log.flush.offset.checkpoint.interval.ms=200\nlog.flush.start.offset.checkpoint.interval.ms=200\n\
    replica.high.watermark.checkpoint.interval.ms=200\nlog.segment.delete.delay.ms=400\nlog.index.size.max.bytes=4096\n\
    log.segment.bytes=100000\nlog.cleaner.backoff.ms=100\nlog.cleaner.dedupe.buffer.size=2000000\nlog.cleaner.min.cleanable.ratio=1.0\n\
    zookeeper.session.timeout.ms=4000\n";
/// A topic whose `max.message.bytes` shows that all changes of before have been heard of.
const MARK: &str = "mark";
const MESSAGE_TOO_LARGE: i16 = 10;
const UNKNOWN_TOPIC: i16 = 3;
const CHECKPOINTS: [&str; 3] = [
    "recovery-point-offset-checkpoint",
    "log-start-offset-checkpoint",
    "replication-offset-checkpoint",
];

/// What is compared of something, by name.
type View = BTreeMap<String, String>;

/// One broker.
struct Side {
    maker: Maker,
    broker: Broker,
    zookeeper: ZooKeeper,
    talk: Talk,
    started: Instant,
    marked: bool,
}

/// Both, and the topics that they have: true if their records carry the broker's own time.
pub struct Pair {
    sides: [Side; 2],
    topics: BTreeMap<String, bool>,
    /// The latest steps, to tell of.
    told: Vec<String>,
}

impl Side {
    fn start(maker: Maker) -> Result<Self> {
        let zookeeper = ZooKeeper::start(Maker::Ours)?;
        let mut broker = Broker::prepare(maker, &zookeeper.connect(), CONFIG)?;
        broker.start_again()?;
        let talk = Talk::with(broker.address())?;
        let mut side = Self {
            maker,
            broker,
            zookeeper,
            talk,
            started: Instant::now(),
            marked: false,
        };
        side.create(MARK, &configs(&[]))?;
        Ok(side)
    }

    fn create(&mut self, topic: &str, settings: &Configs) -> Result<String> {
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: topic.into(),
                num_partitions: 1,
                replication_factor: 1,
                configs: settings
                    .iter()
                    .map(|(name, value)| CreateableTopicConfig {
                        name: name.as_str().into(),
                        value: value.as_deref().map(Into::into),
                    })
                    .collect(),
                ..CreatableTopic::default()
            }],
            timeout_ms: 30_000,
            ..CreateTopicsRequest::default()
        };
        let deadline = Instant::now() + LIMIT;
        loop {
            let answer = self.talk.ask(5, &request)?.context("closed")?;
            let code = answer.topics[0].error_code;
            // The controller does not know its broker yet; the topic of that name is not gone yet.
            if matches!(code, 38 | 41 | 36) && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(50));
                continue;
            }
            if code == 0 {
                wait_for_leaders(&mut self.talk, topic, 1)?;
            }
            return Ok(format!("{code} {:?}", answer.topics[0].error_message));
        }
    }

    fn produce(&mut self, topic: &str, batch: &Batch) -> Result<String> {
        let request = ProduceRequest {
            acks: -1,
            timeout_ms: 30_000,
            topic_data: vec![TopicProduceData {
                name: topic.into(),
                partition_data: vec![PartitionProduceData {
                    index: 0,
                    records: Some(Records::Memory(batch.bytes())),
                }],
            }],
            ..ProduceRequest::default()
        };
        let answer = self.talk.ask(9, &request)?.context("closed")?;
        let found = &answer.responses[0].partition_responses[0];
        let (code, offset, start) = (found.error_code, found.base_offset, found.log_start_offset);
        let own_time = found.log_append_time_ms >= 0;
        Ok(match self.started.elapsed() < EARLY {
            true => format!("{code} at {offset}, own time {own_time}, start {start}"),
            // Retention moves it when it likes.
            false => format!("{code} at {offset}, own time {own_time}"),
        })
    }

    fn configure(&mut self, topic: &str, changes: &Configs) -> Result<i16> {
        let request = IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type: 2,
                resource_name: topic.into(),
                configs: changes
                    .iter()
                    .map(|(name, value)| AlterableConfig {
                        name: name.as_str().into(),
                        config_operation: i8::from(value.is_none()),
                        value: value.as_deref().map(Into::into),
                    })
                    .collect(),
            }],
            validate_only: false,
        };
        let answer = self.talk.ask(1, &request)?.context("closed")?;
        Ok(answer.responses[0].error_code)
    }

    /// Changes a topic's keys and waits until the broker goes by them: it hears of changes in their order.
    fn configure_and_wait(&mut self, topic: &str, changes: &Configs) -> Result<String> {
        let code = self.configure(topic, changes)?;
        self.marked = !self.marked;
        let limit = if self.marked { "10" } else { "1000" };
        self.configure(MARK, &configs(&[("max.message.bytes", limit)]))?;
        let deadline = Instant::now() + LIMIT;
        loop {
            let answer = self.produce(MARK, &Batch::one(10, 1))?;
            let refused = answer.starts_with(&format!("{MESSAGE_TOO_LARGE} "));
            if refused == self.marked {
                return Ok(code.to_string());
            }
            ensure!(
                Instant::now() < deadline,
                "the change is not heard of: {answer}"
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn delete_records(&mut self, topic: &str, offset: i64) -> Result<String> {
        let request = DeleteRecordsRequest {
            topics: vec![DeleteRecordsTopic {
                name: topic.into(),
                partitions: vec![DeleteRecordsPartition {
                    partition_index: 0,
                    offset,
                }],
            }],
            timeout_ms: 30_000,
        };
        let answer = self.talk.ask(2, &request)?.context("closed")?;
        let found = &answer.topics[0].partitions[0];
        Ok(format!("{} {}", found.error_code, found.low_watermark))
    }

    /// Deletes a topic and waits until nobody knows it any more.
    fn delete(&mut self, topic: &str) -> Result<String> {
        let request = DeleteTopicsRequest {
            topics: vec![DeleteTopicState {
                name: Some(topic.into()),
                topic_id: Uuid::ZERO,
            }],
            timeout_ms: 30_000,
            ..DeleteTopicsRequest::default()
        };
        let answer = self.talk.ask(6, &request)?.context("closed")?;
        let metadata = MetadataRequest {
            topics: Some(vec![MetadataRequestTopic {
                topic_id: Uuid::ZERO,
                name: Some(topic.into()),
            }]),
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        };
        let deadline = Instant::now() + LIMIT;
        while self.talk.ask(4, &metadata)?.context("closed")?.topics[0].error_code != UNKNOWN_TOPIC
        {
            ensure!(Instant::now() < deadline, "{topic} is not deleted");
            thread::sleep(Duration::from_millis(50));
        }
        Ok(answer.responses[0].error_code.to_string())
    }

    fn play(&mut self, step: &Step) -> Result<String> {
        match step {
            Step::Create(topic, settings) => self.create(topic, settings),
            Step::Produce(topic, batch) => self.produce(topic, batch),
            Step::Configure(topic, changes) => self.configure_and_wait(topic, changes),
            Step::DeleteRecords(topic, offset) => self.delete_records(topic, *offset),
            Step::DeleteSome(topic, offset) => {
                let end = list(&mut self.talk, topic, 0, -1)?.2;
                self.delete_records(topic, *offset % end.max(1))
            }
            Step::Delete(topic) => self.delete(topic),
            Step::Pause(_) | Step::Settle(_) | Step::StartsAt(..) | Step::Segments(..) => {
                Ok(String::new())
            }
        }
    }

    /// Plays a step; whose fault it is if that fails.
    fn played(&mut self, step: &Step) -> Result<String> {
        match self.play(step) {
            Err(error) => {
                let maker = self.maker;
                Err(error.context(format!("{maker:?}: {}", self.broker.running()?.tail())))
            }
            played => played,
        }
    }

    fn segments(&self, topic: &str) -> Result<usize> {
        let directory = self.broker.log_directory().join(format!("{topic}-0"));
        let files = partition_view::files(&directory)?;
        Ok(files.keys().filter(|name| name.ends_with(".log")).count())
    }

    /// All files of the log directory as far as both must have the same.
    fn files(&self, topics: &BTreeMap<String, bool>) -> Result<View> {
        let directory = self.broker.log_directory();
        let mut view = View::new();
        for (topic, stamped) in topics {
            let name = format!("{topic}-0");
            for (file, contents) in partition_view::files(&directory.join(&name))? {
                if file.ends_with("index") && untouched(&directory.join(&name).join(&file))? {
                    // Apache's makes the file when it is first looked at.
                    continue;
                }
                let suffix = file.trim_end_matches(".deleted").rsplit('.').next();
                let told = match (suffix, stamped) {
                    // The topic's id is in it.
                    (Some("metadata"), _) => "there".to_owned(),
                    (Some("log"), true) => contents.split(',').next().unwrap_or("").to_owned(),
                    (Some("timeindex" | "snapshot"), true) => "there".to_owned(),
                    _ => contents,
                };
                view.insert(format!("{name}/{file}"), told);
            }
        }
        for name in CHECKPOINTS {
            let text = fs::read_to_string(directory.join(name)).unwrap_or_default();
            for line in text.lines().filter(|line| !line.starts_with(MARK)) {
                if let Some((partition, offset)) = line.rsplit_once(' ') {
                    view.insert(format!("{name}: {partition}"), offset.to_owned());
                }
            }
        }
        for entry in fs::read_dir(&directory)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if let Some((partition, rest)) = name.split_once('.')
                && rest.ends_with("-delete")
            {
                view.insert(format!("{partition} is being deleted"), String::new());
            }
        }
        Ok(view)
    }

    fn seen(&mut self, topics: &BTreeMap<String, bool>) -> Result<View> {
        let mut view = View::new();
        for (topic, stamped) in topics {
            for (number, line) in partition_view::seen_by_clients(&mut self.talk, topic, 0, &[])?
                .into_iter()
                .enumerate()
            {
                let line = match (line.split_once(" bytes, sum"), stamped) {
                    (Some((front, _)), true) => front.to_owned(),
                    (None, true) if line.starts_with("offset at -3") => continue,
                    _ => line,
                };
                view.insert(format!("{topic} seen, {number:03}"), line);
            }
        }
        Ok(view)
    }

    fn restart(&mut self, cleanly: bool, topics: &BTreeMap<String, bool>) -> Result<()> {
        if cleanly {
            self.broker.stop()?;
        } else {
            self.broker.kill()?;
            self.zookeeper.wait_for_no_broker()?;
        }
        self.broker.start_again()?;
        self.started = Instant::now();
        self.talk = Talk::with(self.broker.address())?;
        for topic in topics.keys() {
            wait_for_leaders(&mut self.talk, topic, 1)?;
        }
        wait_for_leaders(&mut self.talk, MARK, 1)
    }
}

impl Pair {
    /// Starts both.
    pub fn start() -> Result<Self> {
        Ok(Pair {
            sides: [Side::start(Maker::Apache)?, Side::start(Maker::Ours)?],
            topics: BTreeMap::new(),
            told: Vec::new(),
        })
    }

    /// Plays steps; fails with the first difference.
    pub fn play(&mut self, steps: &[Step]) -> Result<()> {
        for step in steps {
            self.told.push(format!("{step:?}"));
            self.play_one(step)
                .with_context(|| format!("after\n{}", self.history()))?;
        }
        Ok(())
    }

    fn history(&self) -> String {
        let from = self.told.len().saturating_sub(25);
        self.told[from..].join("\n")
    }

    fn play_one(&mut self, step: &Step) -> Result<()> {
        let [theirs, ours] = &mut self.sides;
        let (expected, found) = (theirs.played(step)?, ours.played(step)?);
        // One of the two may have started later.
        let same = expected == found
            || expected.starts_with(&format!("{found}, start"))
            || found.starts_with(&format!("{expected}, start"));
        ensure!(same, "Apache's answers {expected:?}, ours {found:?}");
        match step {
            Step::Create(topic, settings) | Step::Configure(topic, settings) => {
                let stamped = settings
                    .iter()
                    .any(|(_, value)| value.as_deref() == Some("LogAppendTime"));
                *self.topics.entry(topic.clone()).or_default() |= stamped;
            }
            Step::Delete(topic) => {
                self.topics.remove(topic);
            }
            Step::Pause(ms) => thread::sleep(Duration::from_millis(*ms)),
            Step::Settle(what) => self.settle(what)?,
            Step::StartsAt(topic, offset) => {
                self.wait(|side| Ok(list(&mut side.talk, topic, 0, -2)?.2 == *offset))?;
            }
            Step::Segments(topic, count) => {
                self.wait(|side| Ok(side.segments(topic)? == *count))?;
            }
            _ => {}
        }
        Ok(())
    }

    fn wait(&mut self, mut done: impl FnMut(&mut Side) -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        for (side, name) in self.sides.iter_mut().zip(["Apache's", "ours"]) {
            while !done(side)? {
                if Instant::now() > deadline {
                    bail!(
                        "{name} does not come to it: {:#?}",
                        side.files(&self.topics)?
                    );
                }
                thread::sleep(Duration::from_millis(50));
            }
        }
        Ok(())
    }

    /// Lets both come to rest and compares them.
    fn settle(&mut self, what: &str) -> Result<()> {
        thread::sleep(QUIET);
        let deadline = Instant::now() + LIMIT / 2;
        loop {
            let [theirs, ours] = &self.sides;
            let (expected, found) = (theirs.files(&self.topics)?, ours.files(&self.topics)?);
            if expected == found {
                println!("{what}: {} files and entries are the same", expected.len());
                break;
            }
            if Instant::now() > deadline {
                bail!("{what}:\n{}", differences(&expected, &found));
            }
            thread::sleep(Duration::from_millis(200));
        }
        let [theirs, ours] = &mut self.sides;
        let (expected, found) = (theirs.seen(&self.topics)?, ours.seen(&self.topics)?);
        if expected != found {
            bail!("{what}: clients see\n{}", differences(&expected, &found));
        }
        Ok(())
    }

    /// Waits until the timers of both have begun.
    pub fn wait_for_timers(&self) -> Result<()> {
        let youngest = self.sides.iter().map(|side| side.started).max();
        let due = youngest.context("no side")? + TIMERS;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        Ok(())
    }

    /// Stops both, cleanly or with a kill, compares what they left after a clean stop, and starts them again.
    pub fn restart(&mut self, cleanly: bool) -> Result<()> {
        self.play(&[Step::Settle("before a restart")])?;
        self.told.push(format!("restart, cleanly: {cleanly}"));
        for side in &mut self.sides {
            side.restart(cleanly, &self.topics)?;
        }
        self.play(&[Step::Settle(if cleanly {
            "after a clean restart"
        } else {
            "after a kill"
        })])
    }

    /// Stops both and compares what they leave.
    pub fn stop(mut self) -> Result<()> {
        for side in &mut self.sides {
            side.broker.stop()?;
        }
        let [theirs, ours] = &self.sides;
        let (expected, found) = (theirs.files(&self.topics)?, ours.files(&self.topics)?);
        ensure!(
            expected == found,
            "after the stop:\n{}",
            differences(&expected, &found)
        );
        Ok(())
    }
}

/// True of an index with room and nothing in it.
fn untouched(path: &Path) -> Result<bool> {
    match fs::read(path) {
        Ok(bytes) => Ok(!bytes.is_empty() && bytes.iter().all(|byte| *byte == 0)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn differences(expected: &View, found: &View) -> String {
    let mut lines = Vec::new();
    for (name, theirs) in expected {
        match found.get(name) {
            Some(ours) if ours == theirs => {}
            ours => lines.push(format!("{name}: Apache's {theirs}, ours {ours:?}")),
        }
    }
    for (name, ours) in found {
        if !expected.contains_key(name) {
            lines.push(format!("{name}: only ours, {ours}"));
        }
    }
    lines.join("\n")
}
