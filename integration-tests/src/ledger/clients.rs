//! Shell: the JVM with the clients of `Endurance.java`, which outlives the broker that they talk to.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::checker;
use super::history::History;
use super::holdings::Holdings;
use crate::apache;
use crate::process::Process;
use crate::workspace::{self, Scratch};

/// Longer than any command takes that has a limit of its own.
const LIMIT: Duration = Duration::from_secs(400);

/// Settings of a broker under these clients: small segments, quick cleaning, and timeouts that tests can wait for.
pub const SETTINGS: &str = "zookeeper.session.timeout.ms=4000\noffsets.topic.num.partitions=3\n\
    transaction.state.log.num.partitions=3\ntransaction.state.log.segment.bytes=30000\n\
    offsets.topic.segment.bytes=30000\ntransaction.abort.timed.out.transaction.cleanup.interval.ms=1000\n\
    log.segment.bytes=300000\nlog.cleaner.backoff.ms=500\nlog.cleaner.min.cleanable.ratio=0.1\n\
    log.cleaner.dedupe.buffer.size=4000000\nlog.flush.offset.checkpoint.interval.ms=3000\n\
    log.flush.start.offset.checkpoint.interval.ms=3000\ngroup.min.session.timeout.ms=1000";
/// All that the clients can do.
pub const EVERYTHING: &str = "plain idem txn copy group table short";
/// What needs no transactions.
pub const PLAIN: &str = "plain idem group table short";

/// The seed of this run: `TANDEM_SEED`, or another each time.
#[must_use]
pub fn seed() -> u64 {
    let given = std::env::var("TANDEM_SEED").ok();
    let given = given.and_then(|text| text.parse().ok());
    given.unwrap_or_else(|| u64::from(std::process::id()))
}

/// The running clients.
#[derive(Debug)]
pub struct Clients {
    process: Process,
    scratch: Scratch,
    commands: u32,
    dumps: u32,
}

/// What a check has seen, for whoever wants to know that it was not nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Acknowledged records.
    pub acknowledged: usize,
    /// Committed transactions.
    pub committed: usize,
    /// Offsets that plain consumers have committed.
    pub offsets: usize,
    /// Records that were copied within transactions.
    pub copied: usize,
}

impl Clients {
    /// Starts the JVM, and no client yet. Each producer has so many requests under way at once.
    ///
    /// A snapshot of producers has one batch of each. Of two that were written and not yet acknowledged when a broker
    /// stops cleanly, the next broker knows the second only; it refuses the first one when that is sent again, and the
    /// producer sends both under another epoch. Only one in flight is exact whatever brokers do to each other.
    ///
    /// # Errors
    /// When Java or the jars are missing.
    pub fn start(bootstrap: &str, seed: u64, in_flight: u32) -> Result<Self> {
        let scratch = Scratch::new("clients")?;
        let history = scratch.path().join("history");
        let mut command = apache::java()?;
        command
            .arg(workspace::own_file("peers/java/Endurance.java"))
            .args([bootstrap, &seed.to_string(), &in_flight.to_string()])
            .arg(history);
        let process = Process::spawn("clients", &mut command, scratch.path())?;
        println!("clients with TANDEM_SEED={seed}");
        Ok(Self {
            process,
            scratch,
            commands: 0,
            dumps: 0,
        })
    }

    /// Gives a command and waits until it is done.
    ///
    /// # Errors
    /// When the clients say that it cannot be done, or nothing for minutes.
    pub fn order(&mut self, command: &str) -> Result<()> {
        self.commands += 1;
        self.process.write_input(&format!("{command}\n"))?;
        let prefix = format!("{} ", self.commands);
        let answer_in = |text: &str| {
            let answer = text.lines().find_map(|line| line.strip_prefix(&prefix));
            answer.map(str::to_owned)
        };
        self.process
            .wait_for_output(command, LIMIT, |text| answer_in(text).is_some())?;
        let answer = answer_in(&self.process.stdout()).unwrap_or_default();
        ensure!(answer == "done", "{command}: {answer}");
        Ok(())
    }

    /// How many bytes of history there are: it grows while the clients get on with their work.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn progress(&mut self) -> Result<u64> {
        self.order("flush")?;
        Ok(fs::metadata(self.history_file())?.len())
    }

    fn history_file(&self) -> PathBuf {
        self.scratch.path().join("history")
    }

    /// Brings all clients to rest, reads everything and compares it with the history; `clean` when no log start
    /// offset can have been forgotten. The clients still rest afterwards.
    ///
    /// # Errors
    /// When the clients do not come to rest, or anything is lost, doubled, out of order or invented.
    pub fn check(&mut self, clean: bool) -> Result<Counts> {
        self.order("pause")?;
        self.dumps += 1;
        let file = self.scratch.path().join(format!("dump-{}", self.dumps));
        self.order(&format!("dump {}", file.display()))?;
        let history = fs::read_to_string(self.history_file())?;
        let history = History::parse(&history).context("the history")?;
        let holdings = Holdings::parse(&fs::read_to_string(&file)?).context("the dump")?;
        let wrong = checker::check(&history, &holdings, clean);
        if !wrong.is_empty() {
            // Kept: whoever looks for the cause wants the whole history.
            let kept = workspace::target().join("integration/wrong-history");
            fs::create_dir_all(&kept)?;
            fs::copy(self.history_file(), kept.join("history"))?;
            fs::copy(&file, kept.join("dump"))?;
        }
        let shown: Vec<&String> = wrong.iter().take(20).collect();
        ensure!(wrong.is_empty(), "{} things: {shown:#?}", wrong.len());
        fs::remove_file(&file)?;
        let copied = holdings.committed.iter();
        let copied = copied.filter(|((topic, _), _)| topic == "copied");
        Ok(Counts {
            acknowledged: history.acks.len(),
            committed: checker::committed(&history),
            offsets: checker::commits(&history),
            copied: copied.map(|(_, contents)| contents.records.len()).sum(),
        })
    }

    /// What the clients have recovered from so far, and how often.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn notes(&mut self) -> Result<BTreeMap<String, usize>> {
        self.order("flush")?;
        let history = History::parse(&fs::read_to_string(self.history_file())?)?;
        let mut counts = BTreeMap::new();
        for note in &history.notes {
            let short = note.split_once(':').map_or(&**note, |(short, _)| short);
            *counts.entry(short.to_owned()).or_default() += 1;
        }
        Ok(counts)
    }
}
