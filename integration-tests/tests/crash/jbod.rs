//! Shell: one of two log directories fails under clients of every kind, and comes back: nothing that was acknowledged is lost.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::ledger::clients::{Clients, EVERYTHING, SETTINGS, seed};
use integration_tests::process::{self, Process};
use integration_tests::stack::{Broker, Maker, ZooKeeper};
use integration_tests::talk::Talk;
use integration_tests::wait::until;
use integration_tests::workspace::Scratch;
use kafka_wire::messages::describe_log_dirs::DescribeLogDirsRequest;

const LIMIT: Duration = Duration::from_secs(90);
const KAFKA_STORAGE_ERROR: i16 = 56;
/// The exit codes of a clean stop; a JVM tells of the signal.
const ENDED: [i32; 2] = [0, 143];
/// Its mounts are nobody else's.
const OWN_NAMESPACE: [&str; 3] = ["--user", "--map-root-user", "--mount"];
/// Two small file systems that live as long as this.
const TWO_DISKS: &str = r#"
    mount -t tmpfs -o size=400m none "$1" && mount -t tmpfs -o size=24m none "$2" || exit 99
    echo mounted
    exec sleep 100000
"#;

/// How the second disk fails, and how it is repaired.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// There is no room, not even for a byte.
    Full,
    /// Nothing new can be written, whatever is open goes on.
    ReadOnly,
    /// Nothing is where it was.
    Gone,
}

impl Fault {
    fn begin(self) -> &'static str {
        match self {
            Self::Full => r#"cat /dev/zero > "$1/filler" || true"#,
            Self::ReadOnly => r#"mount --bind "$1" "$1" && mount -o remount,bind,ro "$1""#,
            Self::Gone => r#"mount -t tmpfs -o size=4k,nr_inodes=1 none "$1""#,
        }
    }

    fn end(self) -> &'static str {
        match self {
            Self::Full => r#"rm "$1/filler""#,
            // The broker may hold what it opened since.
            Self::ReadOnly | Self::Gone => r#"umount -l "$1""#,
        }
    }
}

/// Who holds the file systems.
struct Disks {
    holder: Process,
    directories: [PathBuf; 2],
    _scratch: Scratch,
}

impl Disks {
    /// `None` where no file system may be mounted.
    fn mount() -> Result<Option<Self>> {
        let words = [&OWN_NAMESPACE[..], &["true"]].concat();
        let possible = process::run("unshare", &words, "", LIMIT);
        if possible.map_or(true, |finished| finished.code != 0) {
            return Ok(None);
        }
        let scratch = Scratch::new("disks")?;
        let directories = ["a", "b"].map(|name| scratch.path().join(name));
        let mut command = Command::new("unshare");
        command
            .args(OWN_NAMESPACE)
            .args(["bash", "-c", TWO_DISKS, "disks"]);
        for directory in &directories {
            std::fs::create_dir(directory)?;
            command.arg(directory);
        }
        let mut holder = Process::spawn("disks", &mut command, scratch.path())?;
        holder.wait_for_output("mounted", LIMIT, |text| text.contains("mounted"))?;
        Ok(Some(Self {
            holder,
            directories,
            _scratch: scratch,
        }))
    }

    /// The same command where the disks are.
    fn within(holder: u32, command: &Command) -> Command {
        let mut within = Command::new("nsenter");
        within
            .args(["--target", &holder.to_string()])
            .args(["--user", "--mount", "--preserve-credentials"])
            .arg(command.get_program())
            .args(command.get_args());
        within
    }

    /// Runs a line of shell on the second disk.
    fn run(&self, script: &str) -> Result<()> {
        let mut command = Command::new("bash");
        command
            .args(["-c", script, "disk"])
            .arg(&self.directories[1]);
        let mut command = Self::within(self.holder.id(), &command);
        let finished = process::run_command(&mut command, "", LIMIT)?;
        ensure!(finished.code == 0, "{script}: {}", finished.stderr);
        Ok(())
    }
}

/// The error code of the second directory.
fn described(broker: &Broker, directory: &Path) -> Result<i16> {
    let mut talk = Talk::with(broker.address())?;
    let answer = talk.ask(4, &DescribeLogDirsRequest { topics: None })?;
    let results = answer.context("closed")?.results;
    let name = directory.to_string_lossy();
    let found = results.iter().find(|result| *result.log_dir == *name);
    Ok(found.context("the directory is not described")?.error_code)
}

fn survives(maker: Maker, faults: &[Fault]) -> Result<()> {
    let Some(disks) = Disks::mount()? else {
        println!("no file system of our own can be mounted here");
        return Ok(());
    };
    let zookeeper = ZooKeeper::start(Maker::Ours)?;
    let mut broker = Broker::prepare(maker, &zookeeper.connect(), SETTINGS)?;
    let [a, b] = disks.directories.each_ref().map(|path| path.display());
    broker.add_config(&format!(
        "log.dirs={a},{b}\nlog.index.size.max.bytes=100000"
    ));
    let holder = disks.holder.id();
    broker.run_within(move |command| Disks::within(holder, command));
    broker.start_again()?;
    let mut clients = Clients::start(&broker.bootstrap(), seed(), 5)?;
    clients.order(&format!("start {EVERYTHING}"))?;
    for (round, fault) in (1..).zip(faults) {
        thread::sleep(Duration::from_millis(crate::random_delay_ms(round, 3000)));
        disks.run(fault.begin())?;
        until("the failure", || {
            Ok(described(&broker, &disks.directories[1])? == KAFKA_STORAGE_ERROR)
        })?;
        let before = clients.progress()?;
        thread::sleep(Duration::from_secs(1));
        let progress = clients.progress()? - before;
        println!("{fault:?}: {progress} bytes of history while it is away");
        disks.run(fault.end())?;
        match round % 2 {
            0 => broker.kill()?,
            _ => {
                let code = broker.stop()?;
                ensure!(ENDED.contains(&code), "{fault:?}: exit code {code}");
            }
        }
        zookeeper.wait_for_no_broker()?;
        broker.start_again()?;
        let counts = clients
            .check(false)
            .with_context(|| format!("after {fault:?}"));
        println!("{fault:?}: {:?}", counts?);
        clients.order("resume")?;
    }
    println!("{:#?}", clients.notes()?);
    let code = broker.stop()?;
    ensure!(ENDED.contains(&code), "exit code {code}");
    Ok(())
}

#[test]
fn nothing_is_lost_when_a_disk_fails_under_load() -> Result<()> {
    let faults = [Fault::Full, Fault::ReadOnly, Fault::Gone];
    // One in every run, all again and again in a soak.
    let rounds = crate::rounds() as usize / 4;
    let faults: Vec<Fault> = faults.into_iter().cycle().take(rounds.max(1)).collect();
    survives(Maker::Ours, &faults)
}

#[test]
#[ignore = "the rest of the test above"]
fn nothing_is_lost_when_disks_fail_in_each_way() -> Result<()> {
    survives(
        Maker::Ours,
        &[Fault::ReadOnly, Fault::Gone, Fault::Full, Fault::ReadOnly],
    )
}

#[test]
#[ignore = "checks the test above: what Apache's broker does"]
fn nothing_is_lost_when_a_disk_fails_under_apaches_broker() -> Result<()> {
    survives(Maker::Apache, &[Fault::Full, Fault::ReadOnly, Fault::Gone])
}
