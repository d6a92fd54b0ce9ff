//! Shell: the whole list of what stock tools do, on every mix of our servers and Apache's, compared line by line.

use std::sync::{Mutex, PoisonError};

use anyhow::{Result, ensure};
use integration_tests::compare;
use integration_tests::scripts::whole_list;
use integration_tests::stack::{Maker, Stack};
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
    let reference = reference()?;
    let ours = run_on(zookeeper, broker)?;
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
