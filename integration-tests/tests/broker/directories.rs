//! Shell: a broker starts on log directories whose own files and entries are spoiled in each of many ways: whether it serves, what
//! clients see and what is left is what was seen of Apache's, which `directories.txt` keeps.
//!
//! Environment: `TANDEM_DIRECTORIES` takes only the cases whose name contains it; `TANDEM_RECORD=1` lets
//! `apaches_broker_does_what_is_recorded` (ignored, since it takes minutes) write the file anew, `TANDEM_RECORD=new` only what
//! is not in it yet.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use integration_tests::partition_view::{list, wait_for_leaders};
use integration_tests::saved::Saved;
use integration_tests::stack::{Broker, Maker, STOP_LIMIT, Stack, ZooKeeper};
use integration_tests::talk::Talk;
use integration_tests::workspace;
use kafka_wire::messages::create_topics::{
    CreatableTopic, CreateTopicsRequest, CreateableTopicConfig,
};
use kafka_wire::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use kafka_wire::messages::describe_log_dirs::DescribeLogDirsRequest;
use kafka_wire::messages::metadata::MetadataRequest;
use kafka_wire::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use kafka_wire::records::batch_builder::{BatchBuilder, BatchBuilderOptions};
use kafka_wire::wire::Records;
use regex_lite::Regex;

use crate::directory_spoils::{Case, Dirs, cases};

const TOPICS: [&str; 4] = ["d0", "d1", "d2", "d3"];
const LIMIT: Duration = Duration::from_secs(60);
/// What is seen of a broker that has not come to anything by then.
const NEITHER: &str = "neither serves nor ends";
/// NOT_LEADER_OR_FOLLOWER and UNKNOWN_TOPIC_OR_PARTITION: the controller has not spoken yet.
const NOT_YET: [i16; 2] = [6, 3];
/// Looks that must agree before they count, and the pause between them.
const LOOKS: usize = 3;
const PAUSE: Duration = Duration::from_millis(150);
/// Of ours, side by side.
const WORKERS: usize = 6;

/// Where ours is meant to differ, and why.
const ON_PURPOSE: [(&str, &[&str]); 7] = [
    (
        "what cannot be a checkpoint or a lock fails its log directory, and not the broker",
        &[
            ".lock a directory",
            "a directory log-start-offset-checkpoint",
            "a directory recovery-point-offset-checkpoint",
            "a directory replication-offset-checkpoint",
        ],
    ),
    (
        "the high watermarks of logs that no topic owns are kept",
        &[
            "directory .hidden-0",
            "directory @metadata-0",
            "directory a b-0",
            "directory d0-1",
            "directory d9-+5",
            "directory d9--1",
            "directory d9-0",
            "directory d9-007",
            "directory é-0",
            "one within another",
        ],
    ),
    (
        "without its checkpoint the cleaner begins anew; Apache's takes the directory offline",
        &[
            "a torn cleaner-offset-checkpoint after a kill",
            "cleaner-offset-checkpoint \"0\\n1\\n\"",
            "cleaner-offset-checkpoint \"1\\n0\\n\"",
            "cleaner-offset-checkpoint of noise",
        ],
    ),
    (
        "logs that are not there are taken out of the cleaner's checkpoint at once",
        &["cleaner-offset-checkpoint \"0\\n2\\nd0 0 7\\nunknown 7 5\\n\""],
    ),
    (
        "high watermarks are read before anything is touched: what was stopped cleanly stays so, and nothing is written later",
        &[
            "a log is a file",
            "replication-offset-checkpoint \"0\\n1\\n\"",
            "replication-offset-checkpoint \"1\\n0\\n\"",
            "replication-offset-checkpoint of noise",
        ],
    ),
    (
        "one that has bad numbers counts as empty; Apache's controller asks its broker for ever",
        &["replication-offset-checkpoint \"0\\n1\\nd0 x 5\\n\""],
    ),
    (
        "copies that a move had begun lie still",
        &["a copy of d0-0 in b as future", "d0-0 only as future"],
    ),
];

fn is_meant(name: &str) -> bool {
    ON_PURPOSE.iter().any(|(_, cases)| cases.contains(&name))
}

/// Where a broker's log directories are.
fn dirs(broker: &Broker) -> Dirs {
    let root = broker.log_directory();
    Dirs {
        a: root.join("a"),
        b: root.join("b"),
    }
}

fn configure(broker: &mut Broker, log_dirs: &[&str]) {
    let root = broker.log_directory();
    let paths: Vec<String> = log_dirs
        .iter()
        .map(|name| root.join(name).display().to_string())
        .collect();
    broker.configure(&format!(
        "log.dirs={}\noffsets.topic.num.partitions=1\nauto.create.topics.enable=false\n\
         log.retention.ms=-1",
        paths.join(",")
    ));
}

fn prepare(maker: Maker) -> Result<Stack> {
    let zookeeper = ZooKeeper::start(Maker::Ours)?;
    let mut broker = Broker::prepare(maker, &zookeeper.connect(), "")?;
    configure(&mut broker, &["a", "b"]);
    Ok(Stack { broker, zookeeper })
}

/// Four logs of ten records each, the starts of two of them moved; stopped cleanly.
fn base() -> Result<Saved> {
    let mut stack = prepare(Maker::Ours)?;
    stack.broker.start_again()?;
    let mut talk = Talk::with(stack.broker.address())?;
    for topic in TOPICS {
        create(&mut talk, topic)?;
        for number in 0..10 {
            produce(&mut talk, topic, number)?;
        }
    }
    for topic in &TOPICS[..2] {
        let request = DeleteRecordsRequest {
            topics: vec![DeleteRecordsTopic {
                name: (*topic).into(),
                partitions: vec![DeleteRecordsPartition {
                    partition_index: 0,
                    offset: 3,
                }],
            }],
            timeout_ms: 30_000,
        };
        let answer = talk.ask(2, &request)?.context("closed")?;
        let error = answer.topics[0].partitions[0].error_code;
        ensure!(error == 0, "cannot delete records: {error}");
    }
    stack.broker.stop()?;
    stack.zookeeper.stop()?;
    let at = dirs(&stack.broker);
    for (topic, dir) in TOPICS.iter().zip([&at.a, &at.b, &at.a, &at.b]) {
        let path = dir.join(format!("{topic}-0"));
        ensure!(path.is_dir(), "no {}", path.display());
    }
    Saved::of(&stack, &[])
}

fn create(talk: &mut Talk, topic: &str) -> Result<()> {
    let config = CreateableTopicConfig {
        name: "cleanup.policy".into(),
        value: Some("compact".into()),
    };
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: topic.into(),
            num_partitions: 1,
            replication_factor: 1,
            configs: if topic == "d2" {
                vec![config]
            } else {
                Vec::new()
            },
            ..CreatableTopic::default()
        }],
        ..CreateTopicsRequest::default()
    };
    let deadline = Instant::now() + LIMIT;
    while talk.ask(5, &request)?.context("closed")?.topics[0].error_code != 0 {
        // A broker that has just started does not know itself yet.
        ensure!(Instant::now() < deadline, "cannot create {topic}");
        thread::sleep(PAUSE);
    }
    wait_for_leaders(talk, topic, 1)
}

fn produce(talk: &mut Talk, topic: &str, number: i64) -> Result<()> {
    let mut builder = BatchBuilder::new(BatchBuilderOptions::default());
    let key = format!("key {number}");
    builder.append(1_700_000_000_000 + number, Some(key.as_bytes()), Some(b"v"));
    let request = ProduceRequest {
        transactional_id: None,
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: topic.into(),
            partition_data: vec![PartitionProduceData {
                index: 0,
                records: Some(Records::Memory(builder.build())),
            }],
        }],
    };
    let answer = talk.ask(9, &request)?.context("closed")?;
    let error = answer.responses[0].partition_responses[0].error_code;
    ensure!(error == 0, "cannot produce: {error}");
    Ok(())
}

/// What a broker makes of one case, as lines.
fn view(stack: &mut Stack, saved: &Saved, maker: Maker, case: &Case) -> Result<Vec<String>> {
    saved.restore(stack, maker)?;
    configure(&mut stack.broker, case.log_dirs);
    (case.spoil)(&dirs(&stack.broker))?;
    stack.zookeeper.start_again()?;
    let process = stack.broker.launch(&[])?;
    stack.broker.adopt(process);
    let seen = serve(&mut stack.broker);
    let mut lines = match seen {
        Ok(lines) => lines,
        Err(error) => {
            // Not to be in the way of the next case.
            let _ = stack.broker.kill();
            let _ = stack.zookeeper.kill();
            return Err(error);
        }
    };
    stack.zookeeper.stop()?;
    lines.extend(left(&stack.broker.log_directory())?);
    Ok(lines)
}

/// Waits until what clients see does not change any more, then stops the broker; or until it has ended by itself.
fn serve(broker: &mut Broker) -> Result<Vec<String>> {
    let deadline = Instant::now() + LIMIT;
    let mut looks: Vec<Vec<String>> = Vec::new();
    while looks.len() < LOOKS {
        if let Some(status) = broker.process()?.ended()? {
            return Ok(vec![format!("ends by itself with {status}")]);
        }
        if Instant::now() > deadline {
            println!("{}", broker.process()?.tail());
            broker.kill()?;
            return Ok(vec![NEITHER.to_owned()]);
        }
        match Talk::with(broker.address()).and_then(|mut talk| seen(&mut talk)) {
            Ok(Some(lines)) => {
                if looks.first() != Some(&lines) {
                    looks.clear();
                }
                looks.push(lines);
            }
            Ok(None) | Err(_) => looks.clear(),
        }
        thread::sleep(PAUSE);
    }
    broker.process()?.terminate(STOP_LIMIT)?;
    Ok(looks.remove(0))
}

/// What clients see; `None` as long as the controller has not told of every partition.
fn seen(talk: &mut Talk) -> Result<Option<Vec<String>>> {
    let mut lines = Vec::new();
    for topic in TOPICS {
        let (first, end) = (list(talk, topic, 0, -2)?, list(talk, topic, 0, -1)?);
        if NOT_YET.contains(&first.0) {
            return Ok(None);
        }
        lines.push(format!(
            "{topic}: errors {} {}, from {} to {}",
            first.0, end.0, first.2, end.2
        ));
    }
    let request = MetadataRequest {
        topics: None,
        ..MetadataRequest::default()
    };
    let answer = talk.ask(7, &request)?.context("closed")?;
    for topic in &answer.topics {
        for partition in &topic.partitions {
            lines.push(format!(
                "{:?}: error {}, leader {}, offline {:?}",
                topic.name, partition.error_code, partition.leader_id, partition.offline_replicas
            ));
        }
    }
    lines.sort();
    let answer = talk.ask(4, &DescribeLogDirsRequest { topics: None })?;
    for result in answer.context("closed")?.results {
        let mut logs = Vec::new();
        for topic in &result.topics {
            for partition in &topic.partitions {
                let role = if partition.is_future_key {
                    " future"
                } else {
                    ""
                };
                logs.push(format!(
                    "{}-{}{role}",
                    topic.name, partition.partition_index
                ));
            }
        }
        logs.sort();
        let name = Path::new(&*result.log_dir).file_name();
        let name = name.unwrap_or_default().to_string_lossy().into_owned();
        lines.push(format!(
            "{name} described: error {}, {}",
            result.error_code,
            logs.join(" ")
        ));
    }
    let from = lines.len()
        - lines
            .iter()
            .rev()
            .take_while(|line| line.contains(" described"))
            .count();
    lines[from..].sort();
    Ok(Some(lines))
}

/// Every entry of the log directories, and the text of the small files.
fn left(root: &Path) -> Result<Vec<String>> {
    let unique = Regex::new("[0-9a-f]{32}-delete")?;
    let mut entries: BTreeMap<String, String> = BTreeMap::new();
    let mut walk: Vec<PathBuf> = vec![root.to_owned()];
    while let Some(dir) = walk.pop() {
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            let name = path.strip_prefix(root)?.to_string_lossy().into_owned();
            let name = unique.replace_all(&name, "<unique>-delete").into_owned();
            let depth = name.matches('/').count();
            let what = match path.is_dir() {
                true => "directory".to_owned(),
                false => text_of(&path).unwrap_or_else(|| "unreadable".to_owned()),
            };
            if path.is_dir() && depth == 0 && name != "moved" && !path.is_symlink() {
                walk.push(path);
            }
            entries.insert(name, what);
        }
    }
    Ok(entries
        .into_iter()
        .map(|(name, what)| format!("{name}: {what}"))
        .collect())
}

/// The lines of a small file without what differs from run to run, in order: entries of checkpoints come in any.
fn text_of(path: &Path) -> Option<String> {
    let bytes = fs::read(path).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let mut lines: Vec<String> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (key, id) = line.split_at(line.find('=').map_or(0, |at| at + 1));
            // Another cluster's has a letter before it.
            let (other, id) = id.split_at(usize::from(id.len() == 23 && id.starts_with('x')));
            match (key, id.get(22..)) {
                ("cluster.id=", Some(rest)) => format!("{key}{other}<id>{rest}"),
                _ => line.to_owned(),
            }
        })
        .collect();
    if let Some(entries) = lines.get_mut(2..) {
        entries.sort();
    }
    Some(format!("{:?}", lines.join("|")))
}

fn recorded_file() -> PathBuf {
    workspace::own_file("tests/broker/directories.txt")
}

type Views = BTreeMap<String, Vec<String>>;

/// The case with nothing spoiled; of all others the record has what is not as there.
const NOTHING: &str = "nothing";

/// The lines of `nothing` that a view does not have, and those that it has beyond them.
fn against(nothing: &[String], lines: &[String]) -> Vec<String> {
    let gone = nothing.iter().filter(|line| !lines.contains(line));
    let more = lines.iter().filter(|line| !nothing.contains(line));
    let gone = gone.map(|line| format!("- {line}"));
    gone.chain(more.map(|line| format!("+ {line}"))).collect()
}

fn recorded() -> Result<Views> {
    let text = fs::read_to_string(recorded_file()).context("no record of Apache's broker")?;
    let mut views = Views::new();
    let mut name = String::new();
    for line in text.lines() {
        match line.strip_prefix("== ") {
            Some(next) => {
                name = next.to_owned();
                views.insert(name.clone(), Vec::new());
            }
            None => views.entry(name.clone()).or_default().push(line.to_owned()),
        }
    }
    Ok(views)
}

fn record(views: &Views) -> Result<()> {
    let mut text = String::new();
    for (name, lines) in views {
        text.push_str(&format!("== {name}\n"));
        for line in lines {
            text.push_str(&format!("{line}\n"));
        }
    }
    fs::write(recorded_file(), text).context("cannot write the record")
}

fn views(maker: Maker, workers: usize) -> Result<Views> {
    let filter = std::env::var("TANDEM_DIRECTORIES").unwrap_or_default();
    let only_new = std::env::var_os("TANDEM_RECORD").is_some_and(|what| what == "new");
    // Ours is tried where there is something to compare with.
    let known = recorded().unwrap_or_default();
    let cases: Vec<Case> = cases()
        .into_iter()
        .filter(|case| case.name == NOTHING || case.name.contains(&filter))
        .filter(|case| maker == Maker::Apache || known.contains_key(&case.name))
        .filter(|case| case.name == NOTHING || !only_new || !known.contains_key(&case.name))
        .collect();
    let saved = base()?;
    let next = AtomicUsize::new(0);
    let work = || -> Result<Views> {
        let mut views = Views::new();
        let mut stack = prepare(maker)?;
        stack.zookeeper.stop()?;
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let seen = view(&mut stack, &saved, maker, case);
            let lines = seen.with_context(|| format!("{maker:?}, {}", case.name))?;
            println!("{maker:?}: {}", case.name);
            views.insert(case.name.clone(), lines);
        }
        Ok(views)
    };
    let mut views = Views::new();
    thread::scope(|scope| -> Result<()> {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            let seen = worker.join().map_err(|_| anyhow!("a worker panicked"))?;
            views.extend(seen?);
        }
        Ok(())
    })?;
    let nothing = views
        .get(NOTHING)
        .context("nothing is always tried")?
        .clone();
    for (name, lines) in &mut views {
        if name != NOTHING {
            *lines = against(&nothing, lines);
        }
    }
    Ok(views)
}

/// The lines that count: a cleaner that has never cleaned leaves an empty checkpoint if it got so far, and a broker that does not start
/// leaves the checkpoints as they were, where Apache's empties them.
fn compared(lines: &[String]) -> Vec<String> {
    let ends = lines.iter().any(|line| line.starts_with("+ ends"));
    let passed_over = |line: &&String| {
        let line = line.as_str();
        line.ends_with("/cleaner-offset-checkpoint: \"\"")
            || (ends && line.contains("-offset-checkpoint: "))
    };
    lines
        .iter()
        .filter(|line| !passed_over(line))
        .cloned()
        .collect()
}

/// Line by line what is seen but was not to be, and the other way round.
fn differences(expected: &Views, found: &Views) -> Vec<String> {
    let mut report = Vec::new();
    for (name, found) in found {
        let Some(expected) = expected.get(name) else {
            println!("not recorded: {name}");
            continue;
        };
        let (expected, found) = (compared(expected), compared(found));
        if found == expected || is_meant(name) {
            continue;
        }
        let mut text = format!("{name}\n");
        for line in expected.iter().filter(|line| !found.contains(line)) {
            text.push_str(&format!("  - {line}\n"));
        }
        for line in found.iter().filter(|line| !expected.contains(line)) {
            text.push_str(&format!("  + {line}\n"));
        }
        report.push(text);
    }
    report
}

#[test]
fn ours_does_what_is_recorded_of_apaches() -> Result<()> {
    let found = views(Maker::Ours, WORKERS)?;
    let report = differences(&recorded()?, &found);
    ensure!(
        report.is_empty(),
        "{} of {} differ:\n{}",
        report.len(),
        found.len(),
        report.concat()
    );
    Ok(())
}

#[test]
#[ignore = "takes minutes; what it sees is recorded"]
fn apaches_broker_does_what_is_recorded() -> Result<()> {
    let found = views(Maker::Apache, 2)?;
    if std::env::var_os("TANDEM_RECORD").is_some() {
        let mut all = recorded().unwrap_or_default();
        all.extend(found);
        all.retain(|name, _| cases().iter().any(|case| case.name == *name));
        return record(&all);
    }
    let report = differences(&recorded()?, &found);
    ensure!(report.is_empty(), "{}", report.concat());
    Ok(())
}
