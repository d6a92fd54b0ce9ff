//! Shell: plays a script to a broker and notes what it answers, and what its files hold in the end.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use integration_tests::new_topics::{self, NewTopic};
use integration_tests::normalise::Normaliser;
use integration_tests::stack::{Broker, Maker, ZooKeeper};
use integration_tests::stock_tools::{self, class};
use integration_tests::talk::Talk;
use integration_tests::transcript::{self, Transcript};
use kafka_wire::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use kafka_wire::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, ForgottenTopic, ReplicaState,
};
use kafka_wire::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use kafka_wire::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use kafka_wire::messages::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_wire::messages::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};
use kafka_wire::wire::{Records, Uuid};
use regex_lite::{Captures, Regex};

use super::batches::Sent;
use super::describe;
use super::script::{self, PARTITIONS, Place, Session, Step, TOPICS, Wanted};

/// Nothing may vanish or be merged while a script is played.
const CONFIG: &str =
    "log.retention.ms=-1\nlog.cleaner.enable=false\nauto.create.topics.enable=false";

/// What a broker made of a script.
///
/// # Errors
/// When the servers do not start, stop, or answer at all.
pub fn play(maker: Maker, steps: &[Step]) -> Result<Transcript> {
    let zookeeper = ZooKeeper::start(Maker::Ours)?;
    let mut broker = Broker::prepare(maker, &zookeeper.connect(), CONFIG)?;
    broker.start_again()?;
    let mut player = Player::new(&broker)?;
    player.payloads = script::payloads(steps).into_iter().collect();
    player.make_topics()?;
    for (number, step) in steps.iter().enumerate() {
        player.step(number, step)?;
    }
    player.piped()?;
    player.everything()?;
    let process = broker.process()?;
    ensure!(!process.tail().contains("panicked"), "{}", process.tail());
    broker.stop()?;
    player.files(&broker.log_directory())?;
    Ok(player.transcript)
}

/// How many produce requests are sent at once.
const PIPED: usize = 8;

struct Player {
    talk: Talk,
    ids: HashMap<&'static str, Uuid>,
    payloads: HashSet<Bytes>,
    session: Option<(i32, i32)>,
    /// Produce requests that follow each other, to be sent at once, and how they are called.
    pipeline: Vec<u8>,
    piped: Vec<(String, i16)>,
    started_ms: i64,
    number: Regex,
    bounds: Regex,
    transcript: Transcript,
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(0))
}

/// Groups what is side by side, as requests list partitions by topic.
fn by_topic<T: Copy>(items: &[T], place: impl Fn(&T) -> Place) -> Vec<(Place, Vec<T>)> {
    let mut groups: Vec<(Place, Vec<T>)> = Vec::new();
    for item in items {
        let at = place(item);
        match groups.last_mut() {
            Some((topic, group)) if topic.topic == at.topic => group.push(*item),
            _ => groups.push((at, vec![*item])),
        }
    }
    groups
}

/// A produce answer's lines.
fn told_of(answer: &ProduceResponse) -> String {
    let mut lines = Vec::new();
    for topic in &answer.responses {
        for partition in &topic.partition_responses {
            lines.push(format!("{} {partition:?}", topic.name));
        }
    }
    lines.sort_unstable();
    lines.push(format!(
        "{} {:?}",
        answer.throttle_time_ms, answer.node_endpoints
    ));
    lines.join("\n")
}

impl Player {
    fn new(broker: &Broker) -> Result<Self> {
        Ok(Self {
            talk: Talk::with(broker.address())?,
            ids: HashMap::new(),
            payloads: HashSet::new(),
            session: None,
            pipeline: Vec::new(),
            piped: Vec::new(),
            started_ms: now_ms() - 1000,
            number: Regex::new(r"\b[0-9]{13}\b")?,
            bounds: Regex::new(r"within \[-?[0-9]+, -?[0-9]+\]")?,
            transcript: Transcript::default(),
        })
    }

    fn make_topics(&mut self) -> Result<()> {
        let topics: Vec<NewTopic> = TOPICS
            .iter()
            .map(|topic| NewTopic::new(topic.name, PARTITIONS as i32).with(topic.configs))
            .collect();
        new_topics::create(&mut self.talk, &topics)?;
        let request = MetadataRequest {
            topics: Some(
                TOPICS
                    .iter()
                    .map(|topic| MetadataRequestTopic {
                        topic_id: Uuid::ZERO,
                        name: Some(topic.name.into()),
                    })
                    .collect(),
            ),
            ..MetadataRequest::default()
        };
        let answer = self.talk.ask(12, &request)?.context("closed")?;
        for topic in TOPICS {
            let mut answered = answer.topics.iter();
            let found = answered.find(|answer| answer.name.as_deref() == Some(topic.name));
            let id = found.context("no topic")?.topic_id;
            self.ids.insert(topic.name, id);
        }
        Ok(())
    }

    /// Hides the times of this run.
    fn hide(&self, text: &str) -> String {
        let until = now_ms() + 1000;
        let hidden = self.number.replace_all(text, |found: &Captures<'_>| {
            let text = found.get(0).map_or("", |found| found.as_str());
            match text.parse::<i64>() {
                Ok(time) if (self.started_ms..until).contains(&time) => "NOW".to_owned(),
                _ => text.to_owned(),
            }
        });
        self.bounds.replace_all(&hidden, "within [..]").into_owned()
    }

    fn note(&mut self, title: String, text: &str) {
        let lines = self.hide(text).lines().map(str::to_owned).collect();
        self.transcript
            .steps
            .push(transcript::Step { title, lines });
    }

    fn step(&mut self, number: usize, step: &Step) -> Result<()> {
        if !matches!(step, Step::Produce { .. }) {
            self.piped()?;
        }
        match step {
            Step::Produce {
                version,
                acks,
                data,
            } => self.produce(number, *version, *acks, data),
            Step::Fetch { .. } => self.fetch(number, step),
            Step::List {
                version,
                replica_id,
                isolation_level,
                asked,
            } => {
                let request = list_request(*replica_id, *isolation_level, asked);
                let answer = self.talk.ask(*version, &request)?;
                let mut text = String::new();
                for topic in answer.context("closed")?.topics {
                    for partition in topic.partitions {
                        let _ = writeln!(text, "{} {partition:?}", topic.name);
                    }
                }
                self.note(
                    format!(
                        "{number} ListOffsets v{version} by {replica_id} {isolation_level} of {}",
                        told(asked, |asked| (asked.0, format!("{} {}", asked.1, asked.2)))
                    ),
                    &text,
                );
                Ok(())
            }
            Step::Delete { version, asked } => self.delete(number, *version, asked),
            Step::Epochs { version, asked } => self.epochs(number, *version, asked),
        }
    }

    fn produce(
        &mut self,
        number: usize,
        version: i16,
        acks: i16,
        data: &[(Place, Sent)],
    ) -> Result<()> {
        let mut topics: Vec<TopicProduceData> = Vec::new();
        for (place, sent) in data {
            let partition = PartitionProduceData {
                index: place.partition,
                records: Some(Records::Memory(sent.bytes.clone())),
            };
            match topics.last_mut() {
                Some(topic) if *topic.name == *place.name() => topic.partition_data.push(partition),
                _ => topics.push(TopicProduceData {
                    name: place.name().into(),
                    partition_data: vec![partition],
                }),
            }
        }
        let request = ProduceRequest {
            transactional_id: None,
            acks,
            timeout_ms: 5000,
            topic_data: topics,
        };
        let mut title = format!("{number} Produce v{version} acks {acks}");
        for (place, sent) in data {
            let _ = write!(
                title,
                "; {}-{} {}",
                place.name(),
                place.partition,
                sent.what
            );
        }
        if acks != 0 {
            let frame = self.talk.encode(version, &request)?;
            self.pipeline.extend_from_slice(&frame);
            self.piped.push((title, version));
            return if self.piped.len() == PIPED {
                self.piped()
            } else {
                Ok(())
            };
        }
        self.piped()?;
        self.talk.send(version, &request)?;
        // What is asked next tells whether the connection is still there.
        let probe = list_request(-1, 0, &[(data[0].0, -1, -1)]);
        let answer = self.talk.ask(1, &probe)?;
        self.note(title, &format!("{answer:?}"));
        Ok(())
    }

    /// Sends what was put off, all at once, and notes the answers.
    fn piped(&mut self) -> Result<()> {
        self.talk.send_bytes(&std::mem::take(&mut self.pipeline));
        let mut closed = false;
        for (title, version) in std::mem::take(&mut self.piped) {
            let answer = match closed {
                true => None,
                false => self.talk.answer::<ProduceRequest>(version)?,
            };
            closed |= answer.is_none();
            let text = answer.map_or_else(|| "closed".to_owned(), |answer| told_of(&answer));
            self.note(title, &text);
        }
        Ok(())
    }

    fn fetch(&mut self, number: usize, step: &Step) -> Result<()> {
        let Step::Fetch {
            version,
            max_bytes,
            min_bytes,
            isolation_level,
            replica_id,
            wanted,
            session,
            forgotten,
        } = step
        else {
            return Ok(());
        };
        let (version, replica_id) = (*version, *replica_id);
        let (session_id, session_epoch) = self.session_of(*session);
        let mut request = FetchRequest {
            max_wait_ms: 10,
            min_bytes: *min_bytes,
            max_bytes: if version >= 3 { *max_bytes } else { i32::MAX },
            isolation_level: if version >= 4 { *isolation_level } else { 0 },
            session_id,
            session_epoch,
            topics: self.fetch_topics(version, wanted),
            ..FetchRequest::default()
        };
        if version >= 15 {
            request.replica_state = ReplicaState {
                replica_id,
                replica_epoch: -1,
            };
        } else {
            request.replica_id = replica_id;
        }
        if version >= 7 {
            request.forgotten_topics_data = by_topic(forgotten, |place| *place)
                .into_iter()
                .map(|(at, places)| ForgottenTopic {
                    topic: if version < 13 {
                        at.name().into()
                    } else {
                        "".into()
                    },
                    topic_id: self.id(version, at),
                    partitions: places.iter().map(|place| place.partition).collect(),
                })
                .collect();
        }
        let title = format!(
            "{number} Fetch v{version} by {replica_id} {isolation_level} {session:?} {session_epoch} {max_bytes} bytes \
             of {} without {forgotten:?}",
            told(wanted, |wanted| (
                wanted.place,
                format!(
                    "from {} {} bytes epochs {} {}",
                    wanted.offset,
                    wanted.max_bytes,
                    wanted.current_leader_epoch,
                    wanted.last_fetched_epoch
                )
            ))
        );
        let answer = self.talk.ask(version, &request)?;
        let text = match answer {
            None => "closed".to_owned(),
            Some(answer) => {
                self.session = match session {
                    Session::None => self.session,
                    Session::Open if answer.session_id != 0 => Some((answer.session_id, 1)),
                    Session::Next if answer.error_code == 0 && self.session.is_some() => {
                        Some((session_id, session_epoch + 1))
                    }
                    Session::Close => None,
                    _ => self.session,
                };
                self.fetched(answer)
            }
        };
        self.note(title, &text);
        Ok(())
    }

    fn session_of(&self, session: Session) -> (i32, i32) {
        match (session, self.session) {
            (Session::None, _) => (0, -1),
            (Session::Open, _) => (0, 0),
            (Session::Next, Some((id, epoch))) => (id, epoch),
            (Session::Next, None) => (0, 1),
            (Session::Wrong, Some((id, epoch))) => (id, epoch + 1),
            (Session::Wrong, None) => (1, 5),
            (Session::Close, known) => (known.map_or(0, |(id, _)| id), -1),
        }
    }

    fn id(&self, version: i16, place: Place) -> Uuid {
        if version < 13 {
            return Uuid::ZERO;
        }
        let unknown = Uuid::parse("AAAAAAAAAAAAAAAAAAAAEQ").unwrap_or(Uuid::ZERO);
        self.ids.get(place.name()).copied().unwrap_or(unknown)
    }

    fn fetch_topics(&self, version: i16, wanted: &[Wanted]) -> Vec<FetchTopic> {
        let groups = by_topic(wanted, |wanted| wanted.place);
        let topics = groups.into_iter().map(|(at, wanted)| FetchTopic {
            topic: if version < 13 {
                at.name().into()
            } else {
                "".into()
            },
            topic_id: self.id(version, at),
            partitions: wanted
                .iter()
                .map(|wanted| FetchPartition {
                    partition: wanted.place.partition,
                    current_leader_epoch: if version >= 9 {
                        wanted.current_leader_epoch
                    } else {
                        -1
                    },
                    fetch_offset: wanted.offset,
                    last_fetched_epoch: if version >= 12 {
                        wanted.last_fetched_epoch
                    } else {
                        -1
                    },
                    log_start_offset: -1,
                    partition_max_bytes: wanted.max_bytes,
                })
                .collect(),
        });
        topics.collect()
    }

    fn fetched(&self, mut answer: FetchResponse) -> String {
        let mut text = String::new();
        for topic in &mut answer.responses {
            let name = self
                .ids
                .iter()
                .find(|(_, id)| **id == topic.topic_id)
                .map_or(topic.topic.to_string(), |(name, _)| (*name).to_owned());
            for partition in &mut topic.partitions {
                let records = partition.records.take();
                let _ = writeln!(text, "{name} {partition:?}");
                match records.as_ref().and_then(Records::memory) {
                    None => text.push_str("    null\n"),
                    Some(bytes) => {
                        for line in describe::records(bytes, &self.payloads) {
                            let _ = writeln!(text, "    {line}");
                        }
                    }
                }
            }
        }
        answer.responses.clear();
        answer.session_id = i32::from(answer.session_id != 0);
        let _ = writeln!(text, "{answer:?}");
        text
    }

    fn delete(&mut self, number: usize, version: i16, asked: &[(Place, i64)]) -> Result<()> {
        let request = DeleteRecordsRequest {
            timeout_ms: 1000,
            topics: by_topic(asked, |asked| asked.0)
                .into_iter()
                .map(|(at, asked)| DeleteRecordsTopic {
                    name: at.name().into(),
                    partitions: asked
                        .iter()
                        .map(|(place, offset)| DeleteRecordsPartition {
                            partition_index: place.partition,
                            offset: *offset,
                        })
                        .collect(),
                })
                .collect(),
        };
        let answer = self.talk.ask(version, &request)?.context("closed")?;
        let mut lines = Vec::new();
        for topic in answer.topics {
            for partition in topic.partitions {
                lines.push(format!("{} {partition:?}", topic.name));
            }
        }
        lines.sort_unstable();
        let title = told(asked, |asked| (asked.0, asked.1.to_string()));
        self.note(
            format!("{number} DeleteRecords v{version} of {title}"),
            &lines.join("\n"),
        );
        Ok(())
    }

    fn epochs(&mut self, number: usize, version: i16, asked: &[(Place, i32, i32)]) -> Result<()> {
        let request = OffsetForLeaderEpochRequest {
            replica_id: -1,
            topics: by_topic(asked, |asked| asked.0)
                .into_iter()
                .map(|(at, asked)| OffsetForLeaderTopic {
                    topic: at.name().into(),
                    partitions: asked
                        .iter()
                        .map(|(place, current, epoch)| OffsetForLeaderPartition {
                            partition: place.partition,
                            current_leader_epoch: *current,
                            leader_epoch: *epoch,
                        })
                        .collect(),
                })
                .collect(),
        };
        let answer = self.talk.ask(version, &request)?.context("closed")?;
        let mut lines = Vec::new();
        for topic in answer.topics {
            for partition in topic.partitions {
                lines.push(format!("{} {partition:?}", topic.topic));
            }
        }
        lines.sort_unstable();
        let title = told(asked, |asked| (asked.0, format!("{} {}", asked.1, asked.2)));
        self.note(
            format!("{number} OffsetForLeaderEpoch v{version} of {title}"),
            &lines.join("\n"),
        );
        Ok(())
    }

    /// All that is there, read from the start by clients of several ages.
    fn everything(&mut self) -> Result<()> {
        for place in all_places() {
            let asked: Vec<_> = [-1, -2, -3].map(|time| (place, -1, time)).into();
            let mut earliest = 0;
            for asked in asked {
                let answer = self.talk.ask(7, &list_request(-1, 0, &[asked]))?;
                let answer = answer.context("closed")?;
                let partition = answer
                    .topics
                    .first()
                    .and_then(|topic| topic.partitions.first());
                if asked.2 == -2 {
                    earliest = partition.map_or(0, |partition| partition.offset);
                }
                self.note(
                    format!("finally {} of {place:?}", asked.2),
                    &format!("{partition:?}"),
                );
            }
            for version in [1, 3, 10, 16] {
                let step = Step::Fetch {
                    version,
                    max_bytes: i32::MAX,
                    min_bytes: 0,
                    isolation_level: 0,
                    replica_id: -1,
                    wanted: vec![Wanted {
                        place,
                        offset: earliest,
                        max_bytes: 8 << 20,
                        current_leader_epoch: -1,
                        last_fetched_epoch: -1,
                    }],
                    session: Session::None,
                    forgotten: Vec::new(),
                };
                self.fetch(9999, &step)?;
            }
        }
        Ok(())
    }

    /// The names of the files, and what kafka-dump-log reads in them.
    fn files(&mut self, directory: &Path) -> Result<()> {
        let mut names = BTreeSet::new();
        for place in all_places() {
            let partition = format!("{}-{}", place.name(), place.partition);
            for entry in fs::read_dir(directory.join(&partition))? {
                let name = entry?.file_name().to_string_lossy().into_owned();
                if !name.ends_with(".deleted") {
                    names.insert(format!("{partition}/{name}"));
                }
            }
        }
        let listed: Vec<String> = names.iter().cloned().collect();
        self.note("files".to_owned(), &listed.join("\n"));
        let plain = Normaliser::default()
            .literal(&directory.display().to_string(), "")
            .pattern(r"crc: [0-9]+", "crc: <crc>");
        let packed = plain
            .clone()
            .pattern(r"\b(size|position): ?[0-9]+", "$1: <n>");
        for repacks in [false, true] {
            let of_kind: Vec<&String> = names
                .iter()
                .filter(|name| {
                    TOPICS.iter().any(|topic| {
                        topic.repacks == repacks
                            && name.rsplit_once('/').is_some_and(|(partition, _)| {
                                partition
                                    .rsplit_once('-')
                                    .is_some_and(|(name, _)| name == topic.name)
                            })
                    })
                })
                .collect();
            let normaliser = if repacks { &packed } else { &plain };
            for (suffix, options) in [
                (".log", &["--deep-iteration", "--print-data-log"][..]),
                (".timeindex", &[]),
                (".index", &[]),
            ] {
                if repacks && suffix == ".index" {
                    continue;
                }
                let files: Vec<String> = of_kind
                    .iter()
                    .filter(|name| name.ends_with(suffix))
                    .map(|name| directory.join(name).display().to_string())
                    .collect();
                let files = files.join(",");
                let mut arguments = vec!["--files", files.as_str()];
                arguments.extend(options);
                let finished = stock_tools::run(class::DUMP_LOG, &arguments)?;
                let mut text = normaliser.lines(&finished.stdout).join("\n");
                text.push_str(&normaliser.lines(&finished.stderr).join("\n"));
                self.note(
                    format!("dump of {suffix} files, repacked: {repacks}"),
                    &text,
                );
            }
        }
        Ok(())
    }
}

fn all_places() -> Vec<Place> {
    let partitions = 0..i32::try_from(PARTITIONS).unwrap_or(1);
    let places = (0..TOPICS.len()).flat_map(|topic| {
        partitions
            .clone()
            .map(move |partition| Place { topic, partition })
    });
    places.collect()
}

fn told<T>(items: &[T], tell: impl Fn(&T) -> (Place, String)) -> String {
    let told = items.iter().map(|item| {
        let (place, text) = tell(item);
        format!("{}-{} {text}", place.name(), place.partition)
    });
    told.collect::<Vec<String>>().join(", ")
}

fn list_request(
    replica_id: i32,
    isolation_level: i8,
    asked: &[(Place, i32, i64)],
) -> ListOffsetsRequest {
    ListOffsetsRequest {
        replica_id,
        isolation_level,
        topics: by_topic(asked, |asked| asked.0)
            .into_iter()
            .map(|(at, asked)| ListOffsetsTopic {
                name: at.name().into(),
                partitions: asked
                    .iter()
                    .map(|(place, epoch, timestamp)| ListOffsetsPartition {
                        partition_index: place.partition,
                        current_leader_epoch: *epoch,
                        timestamp: *timestamp,
                        max_num_offsets: 1,
                    })
                    .collect(),
            })
            .collect(),
    }
}
