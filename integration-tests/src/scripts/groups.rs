//! Shell: consumers in groups: two groups at once, one shared group with a death, and kafka-consumer-groups.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::session::Session;
use crate::process::Process;
use crate::stock_tools::class::{CONSOLE_CONSUMER, CONSOLE_PRODUCER, CONSUMER_GROUPS, TOPICS};
use crate::stock_tools::{self, RunningTool};
use crate::workspace::Scratch;

const LIMIT: Duration = Duration::from_secs(60);

/// Everything about groups.
///
/// # Errors
/// When a tool does not end, or a consumer does not see what it must.
pub fn run(session: &mut Session) -> Result<()> {
    two_groups(session)?;
    one_group_with_a_death(session)?;
    commands(session)
}

/// Two consumers attached at once, in different groups: both print the past message and each new one.
///
/// # Errors
/// When either does not.
pub fn two_groups(session: &mut Session) -> Result<()> {
    session.tool(TOPICS, "--create --topic news --partitions 1")?;
    session.tool_with_input(CONSOLE_PRODUCER, "--topic news", "past\n")?;
    let first = consumer(
        session,
        "news",
        "readers-a",
        &["--from-beginning", "--max-messages", "3"],
    )?;
    let second = consumer(
        session,
        "news",
        "readers-b",
        &["--from-beginning", "--max-messages", "3"],
    )?;
    let mut producer = stock_tools::start(
        CONSOLE_PRODUCER,
        &[
            "--topic",
            "news",
            "--bootstrap-server",
            &session.bootstrap,
            "--timeout",
            "10",
        ],
    )?;
    for message in ["past", "new one", "new two"] {
        if message != "past" {
            producer.write_input(&format!("{message}\n"))?;
        }
        for reader in [&first, &second] {
            reader.wait_for_output(message, LIMIT, |text| {
                text.lines().any(|line| line == message)
            })?;
        }
    }
    producer.end_input()?;
    let finished = producer.finish(LIMIT)?;
    session
        .transcript
        .command("two groups: the producer", &finished, &session.normaliser);
    for (name, reader) in [("first", first), ("second", second)] {
        let finished = reader.finish(LIMIT)?;
        session.transcript.command(
            &format!("two groups: the {name} reader"),
            &finished,
            &session.normaliser,
        );
    }
    Ok(())
}

fn consumer(session: &Session, topic: &str, group: &str, more: &[&str]) -> Result<RunningTool> {
    let mut words = vec![
        "--topic",
        topic,
        "--group",
        group,
        "--bootstrap-server",
        &session.bootstrap,
    ];
    words.extend(more);
    stock_tools::start(CONSOLE_CONSUMER, &words)
}

/// Two consumers of one group share two partitions; one is killed and the other goes on from the committed offsets.
///
/// # Errors
/// When a message is lost or read twice, or the survivor does not take over.
pub fn one_group_with_a_death(session: &mut Session) -> Result<()> {
    session.tool(TOPICS, "--create --topic shared --partitions 2")?;
    let options = [
        "--consumer-property",
        "session.timeout.ms=6000",
        "--consumer-property",
        "auto.commit.interval.ms=200",
        "--property",
        "print.partition=true",
        "--from-beginning",
    ];
    let survivor = consumer(session, "shared", "workers", &options)?;
    let scratch = Scratch::new("victim")?;
    let mut words = vec![
        "--topic",
        "shared",
        "--group",
        "workers",
        "--bootstrap-server",
        &session.bootstrap,
    ];
    words.extend(options);
    let mut command = stock_tools::own_process(CONSOLE_CONSUMER, &words)?;
    let mut victim = Process::spawn("victim", &mut command, scratch.path())?;

    let described = session.until(
        CONSUMER_GROUPS,
        "--describe --group workers --members",
        "two members with a partition each",
        |text| {
            let shares: Vec<&str> = text
                .lines()
                .filter(|line| line.starts_with("workers"))
                .filter_map(|line| line.split_whitespace().nth(4))
                .collect();
            shares == ["1", "1"]
        },
    )?;
    session
        .transcript
        .sorted_command("one group: members", &described, &session.normaliser);

    produce_keyed(session, 0..10)?;
    victim.wait_for_output("a message", LIMIT, |text| text.lines().count() > 0)?;
    survivor.wait_for_output("a message", LIMIT, |text| text.lines().count() > 0)?;
    let lag_gone = |text: &str| {
        let lags: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("workers"))
            .filter_map(|line| line.split_whitespace().nth(5))
            .collect();
        lags == ["0", "0"]
    };
    let committed = session.until(
        CONSUMER_GROUPS,
        "--describe --group workers",
        "no lag",
        lag_gone,
    )?;
    session
        .transcript
        .sorted_command("one group: all committed", &committed, &session.normaliser);
    ensure!(
        victim.ended()?.is_none(),
        "the victim ended by itself\n{}",
        victim.tail()
    );

    let victims_share = victim.stdout();
    let survivors_share = survivor.stdout();
    record_shares(session, &survivors_share, &victims_share)?;
    victim.kill()?;
    produce_keyed(session, 10..20)?;
    let expected = survivors_share.matches('\n').count() + 10;
    survivor
        .wait_for_output("all new messages", LIMIT, |text| {
            text.matches('\n').count() >= expected
        })
        .context("after the death of its companion")?;
    let text = survivor.stdout();
    let mut news: Vec<&str> = text.lines().skip(survivors_share.lines().count()).collect();
    news.sort_unstable();
    session.transcript.lines(
        "one group: what the survivor read after the death",
        &news.join("\n"),
        &session.normaliser,
    );
    let after = session.until(
        CONSUMER_GROUPS,
        "--describe --group workers",
        "no lag",
        lag_gone,
    )?;
    session
        .transcript
        .sorted_command("one group: after the death", &after, &session.normaliser);
    drop(survivor);
    session.until(
        CONSUMER_GROUPS,
        "--describe --group workers --state",
        "an empty group",
        |text| text.contains("Empty"),
    )?;
    Ok(())
}

fn produce_keyed(session: &mut Session, numbers: std::ops::Range<u32>) -> Result<()> {
    let text: String = numbers
        .map(|number| format!("key{number}:job {number}\n"))
        .collect();
    session.tool_with_input(
        CONSOLE_PRODUCER,
        "--topic shared --property parse.key=true --property key.separator=:",
        &text,
    )?;
    Ok(())
}

fn record_shares(session: &mut Session, survivor: &str, victim: &str) -> Result<()> {
    let partitions = |text: &str| -> BTreeSet<String> {
        text.lines()
            .filter_map(|line| line.split('\t').next())
            .map(str::to_owned)
            .collect()
    };
    ensure!(
        partitions(survivor).len() == 1 && partitions(victim).len() == 1,
        "the partitions were not shared:\n{survivor}\n--\n{victim}"
    );
    let mut all: Vec<&str> = survivor.lines().chain(victim.lines()).collect();
    all.sort_unstable();
    session.transcript.lines(
        "one group: what both read",
        &all.join("\n"),
        &session.normaliser,
    );
    Ok(())
}

/// kafka-consumer-groups: list, describe, reset, delete.
///
/// # Errors
/// When a tool does not end.
pub fn commands(session: &mut Session) -> Result<()> {
    session.tool(
        CONSOLE_CONSUMER,
        "--topic t --group once --from-beginning --max-messages 2",
    )?;
    // Where that consumer's auto commit leaves the offset depends on its timing; it is set below.
    session.unordered_tool(
        CONSUMER_GROUPS,
        "--reset-offsets --group once --topic t --to-offset 2 --execute",
    )?;
    session.unordered_tool(CONSUMER_GROUPS, "--list")?;
    session.unordered_tool(CONSUMER_GROUPS, "--list --state")?;
    session.unordered_tool(CONSUMER_GROUPS, "--list --state Stable")?;
    session.unordered_tool(CONSUMER_GROUPS, "--describe --group once")?;
    session.unordered_tool(
        CONSUMER_GROUPS,
        "--describe --group once --members --verbose",
    )?;
    session.unordered_tool(CONSUMER_GROUPS, "--describe --group once --state")?;
    session.unordered_tool(CONSUMER_GROUPS, "--describe --all-groups --state")?;
    session.unordered_tool(CONSUMER_GROUPS, "--describe --group nosuch")?;
    for target in [
        "--to-earliest --dry-run",
        "--shift-by 1 --execute",
        "--to-latest --execute",
        "--to-offset 99 --execute",
    ] {
        session.unordered_tool(
            CONSUMER_GROUPS,
            &format!("--reset-offsets --group once --topic t {target}"),
        )?;
        session.unordered_tool(CONSUMER_GROUPS, "--describe --group once")?;
    }
    session.unordered_tool(
        CONSUMER_GROUPS,
        "--reset-offsets --group fresh --topic six --to-earliest --execute",
    )?;
    session.unordered_tool(
        CONSUMER_GROUPS,
        "--delete-offsets --group fresh --topic six:0",
    )?;
    session.unordered_tool(CONSUMER_GROUPS, "--describe --group fresh")?;
    session.unordered_tool(CONSUMER_GROUPS, "--delete --group fresh")?;
    session.unordered_tool(CONSUMER_GROUPS, "--delete --group nosuch")?;

    // A group in use refuses.
    let reader = consumer(session, "t", "busy", &["--from-beginning"])?;
    reader.wait_for_output("a message", LIMIT, |text| text.lines().count() >= 5)?;
    session.until(
        CONSUMER_GROUPS,
        "--describe --group busy --state",
        "a stable group",
        |text| text.contains("Stable"),
    )?;
    session.unordered_tool(
        CONSUMER_GROUPS,
        "--describe --group busy --members --verbose",
    )?;
    for words in [
        "--describe --group busy --state",
        "--delete --group busy",
        "--delete-offsets --group busy --topic t",
        "--reset-offsets --group busy --topic t --to-earliest --execute",
    ] {
        session.unordered_tool(CONSUMER_GROUPS, words)?;
    }
    drop(reader);
    Ok(())
}
