//! Shell: the whole list of what stock tools do, on every mix of our servers and Apache's, compared line by line.

mod interchange;
mod secured;

use std::sync::{Mutex, PoisonError};

use anyhow::{Result, ensure};
use integration_tests::at_once;
use integration_tests::compare;
use integration_tests::scripts::session::{Session, Tools};
use integration_tests::scripts::whole_list;
use integration_tests::stack::{Maker, Stack};
use integration_tests::stock_tools::class;
use integration_tests::transcript::Transcript;

/// What Apache's own pair says to the script, produced once in this run.
fn reference() -> Result<Transcript> {
    static REFERENCE: Mutex<Option<Transcript>> = Mutex::new(None);
    let mut reference = REFERENCE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(transcript) = &*reference {
        return Ok(transcript.clone());
    }
    let transcript = run_on(Maker::Apache, Maker::Apache)?;
    *reference = Some(transcript.clone());
    Ok(transcript)
}

fn run_on(zookeeper: Maker, broker: Maker) -> Result<Transcript> {
    let transcript = whole_list::run(&mut Stack::start(zookeeper, broker)?)?;
    if let Ok(directory) = std::env::var("TANDEM_TRANSCRIPTS") {
        let path = std::path::Path::new(&directory).join(format!("{zookeeper:?}-{broker:?}"));
        std::fs::write(path, transcript.to_string())?;
    }
    Ok(transcript)
}

fn same_as_apache(zookeeper: Maker, broker: Maker) -> Result<()> {
    let (reference, ours) = at_once::two(reference, || run_on(zookeeper, broker))?;
    let differences = compare::differences(&reference, &ours);
    ensure!(
        differences.is_empty(),
        "not as Apache's pair:\n{differences}"
    );
    Ok(())
}

#[test]
#[ignore = "checks the script itself: Apache's pair against Apache's pair"]
fn the_script_sees_the_same_twice() -> Result<()> {
    same_as_apache(Maker::Apache, Maker::Apache)
}

#[test]
fn our_broker_on_our_zookeeper_does_the_whole_list() -> Result<()> {
    same_as_apache(Maker::Ours, Maker::Ours)
}

#[test]
fn the_apache_broker_on_our_zookeeper_does_the_whole_list() -> Result<()> {
    same_as_apache(Maker::Ours, Maker::Apache)
}

#[test]
fn our_broker_on_apaches_zookeeper_does_the_whole_list() -> Result<()> {
    same_as_apache(Maker::Apache, Maker::Ours)
}

/// One broker's directory and one ZooKeeper's, served by either maker in turn: nothing is lost at any change.
#[test]
fn one_data_directory_is_served_by_apaches_broker_and_ours_in_turn() -> Result<()> {
    for first in [Maker::Apache, Maker::Ours] {
        let second = if first == Maker::Apache {
            Maker::Ours
        } else {
            Maker::Apache
        };
        let mut stack = Stack::start(Maker::Ours, first)?;
        let session = Session::new(&stack, Tools::Stock);
        session.unrecorded(
            class::TOPICS,
            "--create --topic shared --config retention.ms=3600000",
            "",
        )?;
        let mut expected = String::new();
        for (turn, maker) in [first, second, first, second].into_iter().enumerate() {
            if turn > 0 {
                stack.broker.stop()?;
                stack.broker.hand_over_to(maker);
                stack.broker.start_again()?;
            }
            let codec = ["none", "zstd", "lz4", "gzip"][turn];
            let words = format!("--topic shared --compression-codec {codec}");
            session.unrecorded(class::CONSOLE_PRODUCER, &words, &format!("turn {turn}\n"))?;
            expected.push_str(&format!("turn {turn}\n"));
            let count = turn + 1;
            let words = format!(
                "--topic shared --from-beginning --max-messages {count} --group everybody-{turn}"
            );
            let read = session.unrecorded(class::CONSOLE_CONSUMER, &words, "")?;
            ensure!(
                read.stdout == expected,
                "turn {turn}, {maker:?}:\n{}{}",
                read.stdout,
                read.stderr
            );
            let described = session.unrecorded(class::TOPICS, "--describe --topic shared", "")?;
            ensure!(
                described.stdout.contains("retention.ms=3600000"),
                "{}",
                described.stdout
            );
            // The groups of the turns before are known, with what they committed.
            for past in 0..=turn {
                let words = format!("--describe --group everybody-{past}");
                let group = session.unrecorded(class::CONSUMER_GROUPS, &words, "")?;
                let offset = (past + 1).to_string();
                let row = group
                    .stdout
                    .lines()
                    .find(|line| line.starts_with("everybody"));
                let committed = row
                    .and_then(|row| row.split_whitespace().nth(3))
                    .unwrap_or("none");
                ensure!(
                    committed == offset,
                    "group {past} in turn {turn}, {maker:?}:\n{}{}",
                    group.stdout,
                    group.stderr
                );
            }
        }
    }
    Ok(())
}
