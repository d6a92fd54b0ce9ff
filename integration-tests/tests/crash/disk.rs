//! Shell: disks that are full, and files that are damaged.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use integration_tests::process;
use integration_tests::stack::{Maker, ZooKeeper};

use crate::zookeeper::{LIMIT, Writer, all_acknowledged, nothing_is_missing, start_writer};

/// Writes a few hundred znodes at least, and stops cleanly.
fn filled(settings: &str) -> Result<(ZooKeeper, std::collections::BTreeSet<String>)> {
    let mut server = ZooKeeper::start_with(Maker::Ours, settings)?;
    let mut writer = start_writer(&server, 0)?;
    wait_for_acknowledged(&mut writer, 500)?;
    server.stop()?;
    let acknowledged = all_acknowledged(&mut writer)?;
    Ok((server, acknowledged))
}

fn wait_for_acknowledged(writer: &mut Writer, count: usize) -> Result<()> {
    writer
        .process
        .wait_for_output("enough acknowledgements", LIMIT, |text| {
            text.lines().count() > count
        })
}

/// The last log and how much of it is used.
fn last_log(server: &ZooKeeper) -> Result<(PathBuf, u64)> {
    let path = server.newest("log")?;
    let bytes = fs::read(&path)?;
    let used = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .context("the log is empty")?
        + 1;
    Ok((path, used as u64))
}

#[test]
fn a_flipped_bit_within_a_log_is_refused_with_its_place() -> Result<()> {
    let (mut server, _) = filled("preAllocSize=64")?;
    let (path, used) = last_log(&server)?;
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, used / 2)?;
    file.write_all_at(&[byte[0] ^ 0x10], used / 2)?;
    for maker in [Maker::Ours, Maker::Apache] {
        server.hand_over_to(maker);
        let refused = server.start_again().err().context("it has started")?;
        let told = format!("{refused:?}");
        ensure!(told.contains("exit status: 1"), "{maker:?}: {told}");
        if maker == Maker::Ours {
            ensure!(told.contains(&*path.to_string_lossy()), "{told}");
            ensure!(told.contains("at offset"), "{told}");
        }
    }
    Ok(())
}

#[test]
fn a_torn_end_loses_only_what_was_never_acknowledged() -> Result<()> {
    let (mut server, acknowledged) = filled("preAllocSize=64")?;
    let (path, used) = last_log(&server)?;
    // An entry that had begun: a length, and less than it says.
    let entry = [&[0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 1, 0][..], &[7; 90]].concat();
    let file = OpenOptions::new().write(true).open(&path)?;
    file.write_all_at(&entry, used)?;
    for maker in [Maker::Ours, Maker::Apache] {
        server.hand_over_to(maker);
        server.start_again()?;
        nothing_is_missing(&acknowledged, &server)?;
        server.stop()?;
    }
    Ok(())
}

/// Where snapshots cannot be written the server goes on: its logs have everything.
#[test]
fn a_snapshot_that_cannot_be_written_loses_nothing() -> Result<()> {
    let settings = "preAllocSize=16\ntxnLogSizeLimitInKb=40\nsnapCount=1000";
    let mut server = ZooKeeper::start_with(Maker::Ours, settings)?;
    server.stop()?;
    server.limit_files(Some(300));
    server.start_again()?;
    let mut writer = start_writer(&server, 0)?;
    let refused = "the snapshot could not be written";
    server
        .process()?
        .wait_for_output("a failed snapshot", LIMIT, |text| text.contains(refused))?;
    let before = writer.process.stdout().lines().count();
    wait_for_acknowledged(&mut writer, before + 500)?;
    server.kill()?;
    let acknowledged = all_acknowledged(&mut writer)?;
    server.limit_files(None);
    server.start_again()?;
    nothing_is_missing(&acknowledged, &server)
}

/// A file system of its own, of two MiB, in which the server fills the disk; when it has stopped, there is room
/// again, and it is started again.
const FILL_AND_RECOVER: &str = r#"
    mount -t tmpfs -o size=2m none "$1" || exit 99
    head -c 1200000 /dev/zero > "$1/filler"
    data=$1; shift
    "$@"
    echo "the first ended with $?"
    rm "$data/filler"
    exec "$@"
"#;

#[test]
fn a_full_file_system_loses_no_acknowledged_node() -> Result<()> {
    let namespace = [
        "--user",
        "--map-root-user",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
    ];
    let possible = process::run("unshare", &[&namespace[..], &["true"]].concat(), "", LIMIT);
    if possible.map_or(true, |finished| finished.code != 0) {
        println!("no file system of our own can be mounted here; limits on files stand in for it");
        return Ok(());
    }
    let mut server = ZooKeeper::start_with(Maker::Ours, "preAllocSize=64\nsnapCount=2000")?;
    server.stop()?;
    let data = server.data_directory();
    server.run_within(move |command| {
        let mut within = Command::new("unshare");
        within
            .args(namespace)
            .args(["bash", "-c", FILL_AND_RECOVER, "small"]);
        within
            .arg(&data)
            .arg(command.get_program())
            .args(command.get_args());
        within
    });
    server.start_again()?;
    let mut writer = start_writer(&server, 0)?;
    let ended = "the first ended with 10";
    server
        .process()?
        .wait_for_output("the end of the first server", LIMIT, |text| {
            text.contains(ended)
        })?;
    let told = server.process()?.tail();
    ensure!(
        told.contains("No space left") && !told.contains("panicked"),
        "{told}"
    );
    let acknowledged = all_acknowledged(&mut writer)?;
    ensure!(!acknowledged.is_empty(), "nothing was acknowledged");
    let address = server.address();
    server.process()?.wait_for_port(address, LIMIT)?;
    nothing_is_missing(&acknowledged, &server)
}
