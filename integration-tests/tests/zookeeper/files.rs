//! Shell: our transaction logs and snapshots, read by Apache's tools and servers, and the other way round.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use integration_tests::normalise::Normaliser;
use integration_tests::scripts::session::{Session, Tools};
use integration_tests::scripts::{znodes, zookeeper_shell};
use integration_tests::stack::{Maker, ZooKeeper};
use integration_tests::stock_tools::{self, class};
use integration_tests::transcript::Transcript;

/// The files of one kind in the order of the zxid in their names.
fn files(server: &ZooKeeper, prefix: &str) -> Result<Vec<PathBuf>> {
    let directory = server.data_directory().join("version-2");
    let mut found: Vec<(u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(&directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if let Some(zxid) = name.strip_prefix(prefix) {
            found.push((u64::from_str_radix(zxid, 16)?, path));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

fn dump(
    transcript: &mut Transcript,
    tool: &str,
    options: &[&str],
    file: &Path,
    normaliser: &Normaliser,
) -> Result<()> {
    let name = file
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let path = file.display().to_string();
    let mut words = options.to_vec();
    words.push(&path);
    let finished = stock_tools::run(tool, &words)?;
    let normaliser = normaliser.clone().literal(&path, "<file>");
    transcript.command(
        &format!("{tool} {} {name}", options.join(" ")),
        &finished,
        &normaliser,
    );
    Ok(())
}

#[test]
fn apaches_tools_read_our_files_as_their_own() -> Result<()> {
    super::same_on_both(|server| {
        let mut session = Session::of_zookeeper(server, Tools::Stock);
        zookeeper_shell::commands(&mut session)?;
        session.zk_cli_unrecorded(&[
            "create /left behind",
            "create /left/below x",
            "create -c /box",
        ])?;
        let code = server.stop()?;
        println!("ended with {code}");
        // Starting again writes a snapshot of what was recovered.
        server.start_again()?;
        let session = Session::of_zookeeper(server, Tools::Stock);
        session.zk_cli_unrecorded(&["create /after restart"])?;
        server.stop()?;

        let normaliser = Normaliser::new()
            // A date and a session begin each line of a log; a digest of the tree may end it.
            .pattern(
                r"^[0-9]+/[0-9]+/[0-9]+,? [0-9:]+[\u{202f} ]?[AP]M [A-Z]+",
                "<date>",
            )
            .pattern(r"session 0x[0-9a-f]+", "session <session>")
            .pattern(r"\b[5-9a-f][0-9a-f]{11,15}\b", "<hex>")
            .pattern(r"(ZNode Details|Znode count|digest)", "$1");
        let mut transcript = Transcript::default();
        for file in files(server, "log.")? {
            dump(
                &mut transcript,
                class::TXN_LOG_TOOLKIT,
                &["-d"],
                &file,
                &normaliser,
            )?;
        }
        for file in files(server, "snapshot.")? {
            dump(
                &mut transcript,
                class::SNAPSHOT_FORMATTER,
                &["-d"],
                &file,
                &normaliser,
            )?;
        }
        ensure!(transcript.steps.len() >= 3, "too few files: {transcript}");
        Ok(transcript)
    })
}

/// The whole tree as it is read on a server.
fn tree(server: &ZooKeeper) -> Result<Transcript> {
    let mut session = Session::of_zookeeper(server, Tools::Stock);
    znodes::dump(&mut session)?;
    Ok(session.transcript)
}

fn moves_between(first: Maker, second: Maker) -> Result<()> {
    let mut server = ZooKeeper::start(first)?;
    let mut session = Session::of_zookeeper(&server, Tools::Stock);
    zookeeper_shell::commands(&mut session)?;
    session.zk_cli_unrecorded(&[
        "create /kept 1",
        "create /kept/below 2",
        "set /kept 3",
        "create -s /kept/s- x",
    ])?;
    let before = tree(&server)?;
    server.kill()?;
    for maker in [second, first, second] {
        server.hand_over_to(maker);
        server.start_again()?;
        let differences = integration_tests::compare::differences(&before, &tree(&server)?);
        ensure!(
            differences.is_empty(),
            "after the move to {maker:?}:\n{differences}"
        );
        server.stop()?;
    }
    Ok(())
}

#[test]
fn apaches_server_runs_on_our_data_and_back() -> Result<()> {
    moves_between(Maker::Ours, Maker::Apache)
}

#[test]
fn our_server_runs_on_apaches_data_and_back() -> Result<()> {
    moves_between(Maker::Apache, Maker::Ours)
}
