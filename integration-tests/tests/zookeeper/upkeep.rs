//! Shell: containers, TTL znodes and quotas: what a Java client sees of them on both servers.

use std::time::Duration;

use anyhow::{Result, ensure};
use integration_tests::normalise::Normaliser;
use integration_tests::stack::{Maker, ZooKeeper};
use integration_tests::transcript::Transcript;
use integration_tests::{apache, compare, process, workspace};

/// Checks come quickly, and one that never had a child lives for two seconds.
const CHECKS: &[&str] = &[
    "-Dznode.container.checkIntervalMs=100",
    "-Dznode.container.maxNeverUsedIntervalMs=2000",
];

fn play(maker: Maker, settings: &str, script: &[&str]) -> Result<Transcript> {
    let server = ZooKeeper::start_with_properties(maker, settings, CHECKS)?;
    let mut command = apache::java()?;
    command
        .arg(workspace::own_file("peers/java/UpkeepScript.java"))
        .arg(server.connect())
        .args(script);
    let played = process::run_command(&mut command, "", Duration::from_secs(120))?;
    ensure!(
        played.stdout.ends_with("end of the script\n"),
        "the script broke off: {}\n{}",
        played.stdout,
        played.stderr,
    );
    let mut transcript = Transcript::default();
    transcript.lines(settings, &played.stdout, &Normaliser::new());
    Ok(transcript)
}

fn same_on_both(settings: &str, script: &[&str]) -> Result<()> {
    let reference = play(Maker::Apache, settings, script)?;
    let ours = play(Maker::Ours, settings, script)?;
    let differences = compare::differences(&reference, &ours);
    ensure!(
        differences.is_empty(),
        "not as Apache's server:\n{differences}"
    );
    Ok(())
}

#[test]
fn containers_and_ttl_znodes_go_when_apaches_do() -> Result<()> {
    same_on_both("extendedTypesEnabled=true", &["expiry"])
}

#[test]
fn hard_quotas_hold_as_apaches_do() -> Result<()> {
    same_on_both("enforceQuota=true", &["quota"])
}

#[test]
fn soft_quotas_count_as_apaches_do() -> Result<()> {
    same_on_both("", &["quota"])
}

#[test]
fn random_writes_meet_the_same_quotas() -> Result<()> {
    let seed = std::env::var("TANDEM_SEED").unwrap_or_else(|_| "1".to_owned());
    println!("TANDEM_SEED={seed}");
    same_on_both("enforceQuota=true", &["random-quota", &seed])
}
