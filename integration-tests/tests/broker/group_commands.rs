//! Shell: kafka-consumer-groups in all its forms, on groups of several kinds, against Apache's broker and ours.

use std::fs;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use bytestring::ByteString;
use integration_tests::compare;
use integration_tests::process::Finished;
use integration_tests::scripts::session::{Session, Tools};
use integration_tests::stack::{Maker, Stack};
use integration_tests::stock_tools::{self, class};
use integration_tests::talk::Talk;
use integration_tests::transcript::Transcript;
use integration_tests::workspace::Scratch;
use kafka_wire::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use kafka_wire::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_wire::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use kafka_wire::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use kafka_wire::records::batch_builder::{BatchBuilder, BatchBuilderOptions};
use kafka_wire::wire::Records;

/// 2020-09-13T12:26:40Z
const LONG_AGO_MS: i64 = 1_600_000_000_000;
const HOUR_MS: i64 = 3_600_000;
/// Longer than the script, so that nobody has to send heartbeats.
const SESSION_MS: i32 = 1_500_000;

/// Records of these times, one batch each.
fn produce(talk: &mut Talk, topic: &str, partition: i32, times: &[i64]) -> Result<()> {
    for time in times {
        let mut batch = BatchBuilder::new(BatchBuilderOptions::default());
        batch.append(*time, None, Some(b"value"));
        let request = ProduceRequest {
            acks: 1,
            timeout_ms: 30_000,
            topic_data: vec![TopicProduceData {
                name: topic.into(),
                partition_data: vec![PartitionProduceData {
                    index: partition,
                    records: Some(Records::Memory(batch.build())),
                }],
            }],
            ..ProduceRequest::default()
        };
        talk.note("records", 8, &request)?;
    }
    Ok(())
}

/// A member that stays, as a client of its own kind; the only one of its group.
fn member(talk: &mut Talk, group: &str, kind: &str, metadata: &'static [u8]) -> Result<()> {
    let join = JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: SESSION_MS,
        rebalance_timeout_ms: SESSION_MS,
        protocol_type: kind.into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "own".into(),
            metadata: Bytes::from_static(metadata),
        }],
        ..JoinGroupRequest::default()
    };
    let joined = talk.ask(3, &join)?.context("closed")?;
    let sync = SyncGroupRequest {
        group_id: group.into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        assignments: vec![SyncGroupRequestAssignment {
            member_id: joined.member_id.clone(),
            assignment: Bytes::from_static(b"\0\0\0\0\0\0\xff\xff\xff\xff"),
        }],
        ..SyncGroupRequest::default()
    };
    talk.note("the only member", 2, &sync)?;
    let commit = commit(
        group,
        &[("times", 0, 1)],
        joined.generation_id,
        joined.member_id,
    );
    talk.note("its offset", 6, &commit)
}

fn commit(
    group: &str,
    offsets: &[(&str, i32, i64)],
    generation: i32,
    member_id: ByteString,
) -> OffsetCommitRequest {
    let topics = offsets
        .iter()
        .map(|(topic, index, offset)| OffsetCommitRequestTopic {
            name: (*topic).into(),
            partitions: vec![OffsetCommitRequestPartition {
                partition_index: *index,
                committed_offset: *offset,
                committed_metadata: Some("a note".into()),
                ..OffsetCommitRequestPartition::default()
            }],
        });
    OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: generation,
        member_id,
        topics: topics.collect(),
        ..OffsetCommitRequest::default()
    }
}

/// Topics with records of known times, and groups of every kind.
fn prepare(stack: &Stack, session: &mut Session) -> Result<Talk> {
    for words in [
        // Some records are older than the usual retention.
        "--create --topic times --partitions 3 --config retention.ms=-1",
        "--create --topic trimmed --partitions 1 --config retention.ms=-1",
        "--create --topic fresh --partitions 2",
    ] {
        session.tool(class::TOPICS, words)?;
    }
    let now_ms = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let mut talk = Talk::with(stack.broker.address())?;
    let seconds: Vec<i64> = (0..10).map(|n| LONG_AGO_MS + n * 1000).collect();
    produce(&mut talk, "times", 0, &seconds)?;
    let hours: Vec<i64> = (0..5)
        .map(|n| now_ms - (5 - n) * HOUR_MS + HOUR_MS / 2)
        .collect();
    produce(&mut talk, "times", 1, &hours)?;
    produce(&mut talk, "trimmed", 0, &seconds)?;
    let scratch = Scratch::new("trim")?;
    let file = scratch.path().join("offsets.json");
    fs::write(
        &file,
        r#"{"partitions":[{"topic":"trimmed","partition":0,"offset":4}],"version":1}"#,
    )?;
    let words = format!("--offset-json-file {}", file.display());
    session.unrecorded(class::DELETE_RECORDS, &words, "")?;
    let offsets = [("times", 0, 3), ("times", 1, 2), ("trimmed", 0, 1)];
    for group in ["simple", "second"] {
        // The coordinator may not be ready when the first group asks.
        let request = commit(group, &offsets, -1, ByteString::new());
        let mut answer = talk.ask(6, &request)?.context("closed")?;
        while answer
            .topics
            .iter()
            .any(|t| t.partitions.iter().any(|p| p.error_code != 0))
        {
            session.unrecorded(class::CONSUMER_GROUPS, "--describe --group wake", "")?;
            answer = talk.ask(6, &request)?.context("closed")?;
        }
    }
    member(&mut talk, "workers", "connect", b"odd")?;
    member(&mut talk, "strange", "consumer", b"\0")?;
    session.unrecorded(
        class::CONSOLE_CONSUMER,
        "--topic times --group left --from-beginning --max-messages 15 \
         --consumer-property enable.auto.commit=false",
        "",
    )?;
    Ok(talk)
}

fn title(words: &str) -> String {
    format!("ConsumerGroupCommand: {words}")
}

/// Runs several at once, for a JVM tool waits more than it works, and records them in their order.
fn all_of(session: &mut Session, commands: &[String]) -> Result<()> {
    let quiet = &*session;
    let done: Vec<Result<Finished>> = thread::scope(|scope| {
        let run = |words| move || quiet.unrecorded(class::CONSUMER_GROUPS, words, "");
        let running: Vec<_> = commands
            .iter()
            .map(|words| scope.spawn(run(words)))
            .collect();
        let join = |thread: thread::ScopedJoinHandle<'_, Result<Finished>>| thread.join();
        let ended = running.into_iter().map(join);
        ended
            .map(|end| end.unwrap_or_else(|_| Err(anyhow!("a tool's thread ended"))))
            .collect()
    });
    for (words, finished) in commands.iter().zip(done) {
        let normaliser = &session.normaliser;
        session
            .transcript
            .sorted_command(&title(words), &finished?, normaliser);
    }
    Ok(())
}

/// Every way to say where to, on groups without members: what would be done.
fn dry_runs(session: &mut Session, plan: &str) -> Result<()> {
    let mut commands = Vec::new();
    for target in [
        "--to-earliest",
        "--to-latest",
        "--to-current",
        "--to-offset 5",
        "--to-offset -3",
        "--shift-by 1",
        "--shift-by -2",
        "--shift-by 99",
        "--by-duration PT3H",
        "--by-duration PT0S",
        "--by-duration P3650D",
        "--to-datetime 2020-09-13T12:26:44.000",
        "--to-datetime 2020-09-13T12:26:44.001Z",
        "--to-datetime 2020-09-13T14:26:44.500+0200",
        "--to-datetime 2099-01-01T00:00:00.000",
        "--to-datetime 2020-09-13",
    ] {
        commands.push(format!(
            "--reset-offsets --group simple --all-topics {target}"
        ));
        commands.push(format!(
            "--reset-offsets --group simple --topic times:1 {target} --export"
        ));
    }
    for words in [
        "--reset-offsets --all-groups --all-topics --to-earliest --dry-run",
        "--reset-offsets --all-groups --topic times --to-latest --export",
        "--reset-offsets --group simple --group second --topic times:0 --topic trimmed --to-current",
        "--reset-offsets --group simple --topic fresh --to-current",
        "--reset-offsets --group simple --topic fresh --shift-by 1",
        "--reset-offsets --group simple --topic nosuch --to-earliest",
        "--reset-offsets --group unheard --all-topics --to-earliest",
        "--reset-offsets --group unheard --topic times --to-latest --dry-run",
        "--reset-offsets --group workers --all-topics --to-earliest",
        "--reset-offsets --group strange --all-topics --to-earliest",
        "--reset-offsets --group simple --to-earliest",
    ] {
        commands.push(words.to_owned());
    }
    for group in ["simple", "second", "unheard"] {
        commands.push(format!(
            "--reset-offsets --group {group} --from-file {plan} --dry-run"
        ));
    }
    for some in commands.chunks(6) {
        all_of(session, some)?;
    }
    Ok(())
}

fn looks(session: &mut Session) -> Result<()> {
    let mut commands = Vec::new();
    for group in ["simple", "left", "workers", "strange", "live", "unheard"] {
        for what in ["--offsets", "--members --verbose", "--state --verbose"] {
            commands.push(format!("--describe --group {group} {what}"));
        }
    }
    for words in [
        "--list",
        "--list --state",
        "--list --state Empty,stable",
        "--list --state Dead",
        "--list --state nonsense",
        "--describe --all-groups --state",
        "--describe --all-groups --members",
        "--describe --all-groups --offsets",
        "--describe --group simple --group left --state",
    ] {
        commands.push(words.to_owned());
    }
    for some in commands.chunks(6) {
        all_of(session, some)?;
    }
    Ok(())
}

/// What changes something, one after the other, and what is left.
fn deeds(session: &mut Session, plan: &str) -> Result<()> {
    let from_file =
        format!("--reset-offsets --group simple --group second --from-file {plan} --execute");
    for words in [
        from_file.as_str(),
        "--reset-offsets --group second --all-topics --by-duration PT3H --execute",
        "--reset-offsets --group left --topic times --to-datetime 2020-09-13T12:26:44.000 --execute",
        "--reset-offsets --group made --topic fresh:1 --topic times:0,2 --to-current --execute",
        "--reset-offsets --all-groups --topic trimmed --shift-by 1 --execute",
        "--delete-offsets --group simple --topic times:0 --topic nosuch --topic trimmed",
        "--delete-offsets --group simple --topic times:7",
        "--delete-offsets --group workers --topic times",
        "--delete-offsets --group strange --topic times",
        "--delete-offsets --group live --topic times --topic fresh",
        "--delete-offsets --group unheard --topic times",
        "--delete --group simple --group workers --group unheard --group live",
        "--delete --all-groups",
    ] {
        session.unordered_tool(class::CONSUMER_GROUPS, words)?;
        // Whoever is there now, and with what.
        let look = "--describe --all-groups --offsets";
        let now = session.unrecorded(class::CONSUMER_GROUPS, look, "")?;
        let normaliser = &session.normaliser;
        let title = format!("{} after {words}", title(look));
        session.transcript.sorted_command(&title, &now, normaliser);
    }
    Ok(())
}

fn play(maker: Maker, plan: &str) -> Result<Transcript> {
    let stack = Stack::start(Maker::Ours, maker)?;
    let mut session = Session::new(&stack, Tools::Stock);
    let talk = prepare(&stack, &mut session)?;
    let bootstrap = stack.broker.bootstrap();
    let live = stock_tools::start(
        class::CONSOLE_CONSUMER,
        &[
            "--topic",
            "times",
            "--group",
            "live",
            "--from-beginning",
            "--bootstrap-server",
            &bootstrap,
            "--consumer-property",
            "auto.commit.interval.ms=100",
        ],
    )?;
    live.wait_for_output("all messages", Duration::from_secs(60), |text| {
        text.lines().count() >= 15
    })?;
    session.until(
        class::CONSUMER_GROUPS,
        "--describe --group live",
        "no lag",
        |text| {
            let lags = text.lines().filter(|line| line.starts_with("live"));
            let lags: Vec<_> = lags
                .filter_map(|line| line.split_whitespace().nth(5))
                .collect();
            lags == ["0", "0", "0"]
        },
    )?;
    looks(&mut session)?;
    dry_runs(&mut session, plan)?;
    deeds(&mut session, plan)?;
    drop(live);
    drop(talk);
    Ok(session.transcript)
}

#[test]
fn consumer_groups_says_what_it_says_of_apaches_broker() -> Result<()> {
    let scratch = Scratch::new("plan")?;
    let file = scratch.path().join("plan.csv");
    fs::write(
        &file,
        "\"simple\",\"times\",0,7\n\"simple\",\"times\",1,400\n\"second\",\"trimmed\",0,2\n",
    )?;
    let plan = file.display().to_string();
    let (apaches, ours) = thread::scope(|scope| {
        let apaches = scope.spawn(|| play(Maker::Apache, &plan));
        let ours = play(Maker::Ours, &plan);
        let apaches = apaches.join().unwrap_or_else(|_| Err(anyhow!("a panic")));
        (apaches, ours)
    });
    let apaches = apaches?;
    if std::env::var_os("TANDEM_PROGRESS").is_some() {
        println!("{apaches}");
    }
    compare::ensure_same(&apaches, &ours?)
}
