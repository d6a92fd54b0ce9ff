//! Shell: our ZooKeeper server against Apache's: screens, clients, four-letter words, files, and how it starts and ends.

mod authentication;
mod configuration;
mod files;
mod four_letter_words;
mod interchange;
mod operator;
mod options;
mod protocol;
mod recipes;
mod shell;
mod start_and_stop;
mod tls;
mod upkeep;

use anyhow::{Context, Result, ensure};
use integration_tests::at_once;
use integration_tests::scripts::session::{Session, Tools};
use integration_tests::scripts::zookeeper_shell;
use integration_tests::stack::{Maker, ZooKeeper};
use integration_tests::transcript::Transcript;
use integration_tests::{compare, python};

/// Fails with the differences between what a script sees on Apache's server and on ours.
fn same_on_both(script: impl Fn(&mut ZooKeeper) -> Result<Transcript> + Sync) -> Result<()> {
    let (reference, ours) = at_once::both(|maker| script(&mut ZooKeeper::start(maker)?))?;
    if let Ok(directory) = std::env::var("TANDEM_TRANSCRIPTS") {
        let name = reference
            .steps
            .first()
            .map_or("", |step| &step.title)
            .replace('/', "_");
        let path = std::path::Path::new(&directory);
        std::fs::write(path.join(format!("{name}.apache")), reference.to_string())?;
        std::fs::write(path.join(format!("{name}.ours")), ours.to_string())?;
    }
    compare::ensure_same(&reference, &ours)
}

#[test]
fn zk_cli_shows_the_same_screens() -> Result<()> {
    same_on_both(|server| {
        let mut session = Session::of_zookeeper(server, Tools::Stock);
        zookeeper_shell::commands(&mut session)?;
        zookeeper_shell::watches(&mut session)?;
        Ok(session.transcript)
    })
}

#[test]
fn kazoo_sees_the_same() -> Result<()> {
    same_on_both(|server| {
        let mut session = Session::of_zookeeper(server, Tools::Stock);
        let mut finished = python::run("kazoo_script.py", &[&session.zookeeper])?;
        // kazoo logs the end of its connections there, in any order.
        if finished.code == 0 {
            finished.stderr.clear();
        }
        session
            .transcript
            .command("kazoo: the script", &finished, &session.normaliser);
        Ok(session.transcript)
    })
}

#[test]
fn our_client_passes_its_suite_on_both_servers() -> Result<()> {
    for maker in [Maker::Apache, Maker::Ours] {
        let server = ZooKeeper::start_with(maker, "extendedTypesEnabled=true")?;
        let told = ("TANDEM_TEST_ZOOKEEPER", server.connect());
        cargo_test(&["-p", "common", "--test", "zk_live"], told)
            .with_context(|| format!("on {maker:?}"))?;
    }
    Ok(())
}

/// Runs a test of another crate that needs to be told of a server.
fn cargo_test(arguments: &[&str], (variable, server): (&str, String)) -> Result<()> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = std::process::Command::new(cargo);
    command
        .args(["test", "-q"])
        .args(arguments)
        .current_dir(integration_tests::workspace::root())
        .env(variable, server);
    let limit = std::time::Duration::from_secs(300);
    let finished = integration_tests::process::run_command(&mut command, "", limit)?;
    ensure!(
        finished.code == 0,
        "{}\n{}",
        finished.stdout,
        finished.stderr
    );
    Ok(())
}
