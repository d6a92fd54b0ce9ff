//! Shell: containers, TTL znodes and quotas: what a Java client sees of them on both servers.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use integration_tests::at_once;
use integration_tests::environment;
use integration_tests::normalise::Normaliser;
use integration_tests::process::Finished;
use integration_tests::stack::{Maker, ZooKeeper};
use integration_tests::transcript::Transcript;
use integration_tests::{apache, compare, process, workspace};

/// Checks come quickly, and one that never had a child lives for four seconds.
const CHECKS: &[&str] = &[
    "-Dznode.container.checkIntervalMs=100",
    "-Dznode.container.maxNeverUsedIntervalMs=4000",
];

fn play(maker: Maker, settings: &str, script: &[&str]) -> Result<Transcript> {
    let server = ZooKeeper::start_with_properties(maker, settings, CHECKS)?;
    play_on(&server, settings, script)
}

fn play_on(server: &ZooKeeper, settings: &str, script: &[&str]) -> Result<Transcript> {
    let played = run(&server.connect(), script)?;
    let mut transcript = Transcript::default();
    transcript.lines(settings, &played.stdout, &Normaliser::new());
    Ok(transcript)
}

fn run(place: &str, script: &[&str]) -> Result<Finished> {
    let mut command = apache::java()?;
    command
        .arg(workspace::own_file("peers/java/UpkeepScript.java"))
        .arg(place)
        .args(script);
    let played = process::run_command(&mut command, "", Duration::from_secs(120))?;
    ensure!(
        played.stdout.ends_with("end of the script\n"),
        "the script broke off: {}\n{}",
        played.stdout,
        played.stderr,
    );
    Ok(played)
}

/// Starts a server on data whose znodes have owners of several kinds, and looks which are left.
fn after_old_ttls(maker: Maker, settings: &str) -> Result<Transcript> {
    let mut server = ZooKeeper::start_with_properties(maker, settings, CHECKS)?;
    server.stop()?;
    let data = server.data_directory().join("version-2");
    for file in fs::read_dir(&data)? {
        let file = file?;
        if file.file_name().to_string_lossy().starts_with("log.") {
            fs::remove_file(file.path())?;
        }
    }
    run(&data.display().to_string(), &["write-old-ttl"])?;
    server.start_again()?;
    play_on(&server, settings, &["old-ttl"])
}

fn same_on_both(settings: &str, script: &[&str]) -> Result<()> {
    let (reference, ours) = at_once::both(|maker| play(maker, settings, script))?;
    compare::ensure_same(&reference, &ours)
}

#[test]
fn containers_and_ttl_znodes_go_when_apaches_do() -> Result<()> {
    same_on_both("extendedTypesEnabled=true", &["expiry"])
}

#[test]
fn ttl_znodes_of_3_5_3_are_emulated_as_apaches_server_does() -> Result<()> {
    let settings = "extendedTypesEnabled=true\nemulate353TTLNodes=true";
    let (reference, ours) = at_once::both(|maker| after_old_ttls(maker, settings))?;
    compare::ensure_same(&reference, &ours)
}

#[test]
fn hard_quotas_hold_as_apaches_do() -> Result<()> {
    same_on_both("enforceQuota=true", &["quota"])
}

#[test]
fn soft_quotas_count_as_apaches_do() -> Result<()> {
    same_on_both("", &["quota"])
}

/// Between the two scripts the server starts twice: once from its log, once from a snapshot.
fn random_quotas(maker: Maker, seed: u64) -> Result<[Transcript; 2]> {
    let settings = "enforceQuota=true";
    let mut server = ZooKeeper::start_with(maker, settings)?;
    let before = play_on(&server, settings, &["random-quota", &seed.to_string()])?;
    for _ in 0..2 {
        server.stop()?;
        server.start_again()?;
    }
    let after = play_on(
        &server,
        settings,
        &["random-quota", &(seed + 1).to_string()],
    )?;
    Ok([before, after])
}

#[test]
fn random_writes_meet_the_same_quotas() -> Result<()> {
    let seed = environment::number("TANDEM_SEED", 1)?;
    println!("TANDEM_SEED={seed}");
    let (reference, ours) = at_once::both(|maker| random_quotas(maker, seed))?;
    for (reference, ours) in reference.iter().zip(&ours) {
        compare::ensure_same(reference, ours)?;
    }
    Ok(())
}
