//! Shell: one run of a script: where the servers are, whose tools are used, and the transcript so far.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::normalise::Normaliser;
use crate::process::{self, Finished};
use crate::stack::{Stack, ZooKeeper};
use crate::stock_tools::{self, class};
use crate::transcript::Transcript;
use crate::workspace;

/// Whose command line tools run the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tools {
    /// The Java classes of the Apache distributions.
    Stock,
    /// The scripts in our `bin/`.
    Ours,
}

/// One run of a script.
#[derive(Debug)]
pub struct Session {
    /// `host:port` of the broker.
    pub bootstrap: String,
    /// `host:port` of the ZooKeeper.
    pub zookeeper: String,
    /// The broker's log directory.
    pub log_directory: PathBuf,
    /// What is taken out of outputs.
    pub normaliser: Normaliser,
    /// What was seen so far.
    pub transcript: Transcript,
    tools: Tools,
}

impl Session {
    /// A run against a pair of servers.
    pub fn new(stack: &Stack, tools: Tools) -> Self {
        let bootstrap = stack.broker.bootstrap();
        let zookeeper = stack.zookeeper.connect();
        let log_directory = stack.broker.log_directory();
        let normaliser = Normaliser::new()
            .pattern(r"\b(cZxid|mZxid|pZxid) = 0x[0-9a-f]+", "$1 = <zxid>")
            .literal(&bootstrap, "<broker>")
            .literal(&zookeeper, "<zookeeper>")
            .literal(&stack.broker.address().port().to_string(), "<broker-port>")
            .literal(&log_directory.display().to_string(), "<log-dir>");
        Self {
            bootstrap,
            zookeeper,
            log_directory,
            normaliser,
            transcript: Transcript::default(),
            tools,
        }
    }

    /// A run against a ZooKeeper alone: zxids count.
    pub fn of_zookeeper(server: &ZooKeeper, tools: Tools) -> Self {
        let zookeeper = server.connect();
        Self {
            bootstrap: String::new(),
            normaliser: Normaliser::new().literal(&zookeeper, "<zookeeper>"),
            zookeeper,
            log_directory: PathBuf::new(),
            transcript: Transcript::default(),
            tools,
        }
    }

    /// Runs a Kafka tool with `--bootstrap-server` added and records what it said.
    ///
    /// # Errors
    /// When it does not end. A failing tool is no error: its exit code is part of the transcript.
    pub fn tool(&mut self, class: &str, words: &str) -> Result<Finished> {
        self.tool_with_input(class, words, "")
    }

    /// The same with something on its standard input.
    ///
    /// # Errors
    /// As [`Session::tool`].
    pub fn tool_with_input(&mut self, class: &str, words: &str, input: &str) -> Result<Finished> {
        let finished = self.unrecorded(class, words, input)?;
        self.transcript
            .command(&title(class, words), &finished, &self.normaliser);
        Ok(finished)
    }

    /// Runs and records a Kafka tool whose lines come in no order.
    ///
    /// # Errors
    /// As [`Session::tool`].
    pub fn unordered_tool(&mut self, class: &str, words: &str) -> Result<Finished> {
        let finished = self.unrecorded(class, words, "")?;
        self.transcript
            .sorted_command(&title(class, words), &finished, &self.normaliser);
        Ok(finished)
    }

    /// Runs a Kafka tool with `--bootstrap-server` added (unless it names its server otherwise), without recording it.
    ///
    /// # Errors
    /// As [`Session::tool`].
    pub fn unrecorded(&self, class: &str, words: &str, input: &str) -> Result<Finished> {
        let mut arguments: Vec<&str> = words.split_whitespace().collect();
        let server = self.bootstrap.clone();
        if let Some(place) = arguments.iter().position(|word| *word == "--broker-list") {
            arguments.insert(place + 1, &server);
        } else if class != class::DUMP_LOG {
            arguments.extend(["--bootstrap-server", &server]);
        }
        self.run(class, &arguments, input)
    }

    /// Runs a tool with exactly these words.
    ///
    /// # Errors
    /// When it does not end.
    pub fn run(&self, class: &str, arguments: &[&str], input: &str) -> Result<Finished> {
        match self.tools {
            Tools::Stock => stock_tools::run_with_input(class, arguments, input),
            Tools::Ours => process::run(our_script(class)?, arguments, input, stock_tools::LIMIT),
        }
    }

    /// Runs an inspection until it says what is waited for, and returns what it said last; records nothing.
    ///
    /// # Errors
    /// When it has not said so in 60 seconds.
    pub fn until(
        &self,
        class: &str,
        words: &str,
        what: &str,
        done: impl Fn(&str) -> bool,
    ) -> Result<Finished> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let finished = self.unrecorded(class, words, "")?;
            if done(&finished.stdout) {
                return Ok(finished);
            }
            if Instant::now() > deadline {
                bail!(
                    "{} did not show {what}:\n{}\n{}",
                    title(class, words),
                    finished.stdout,
                    finished.stderr
                );
            }
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// Runs commands in one interactive zkCli session, all given at once, and records the whole screen.
    ///
    /// # Errors
    /// When it does not end.
    pub fn zk_cli(&mut self, name: &str, commands: &[&str]) -> Result<()> {
        let finished = self.zk_cli_unrecorded(commands)?;
        self.transcript
            .command(&format!("zkCli: {name}"), &finished, &self.normaliser);
        Ok(())
    }

    /// The same without recording.
    ///
    /// # Errors
    /// When it does not end.
    pub fn zk_cli_unrecorded(&self, commands: &[&str]) -> Result<Finished> {
        let input = format!("{}\nquit\n", commands.join("\n"));
        let mut finished = self.run(class::ZK_CLI, &self.zk_cli_options(), &input)?;
        finished.stdout = without_closing_event(&finished.stdout);
        Ok(finished)
    }

    /// The words that make zkCli connect here, and wait until it is connected before it reads commands.
    pub fn zk_cli_options(&self) -> Vec<&str> {
        match self.tools {
            Tools::Stock => vec!["-waitforconnection", "-server", &self.zookeeper],
            // zookeeper-shell.sh takes the server first.
            Tools::Ours => vec![&self.zookeeper, "-waitforconnection"],
        }
    }

    /// Records the text of a file of the broker.
    pub fn file(&mut self, name: &str) {
        let path = self.log_directory.join(name);
        let text =
            fs::read_to_string(path).unwrap_or_else(|error| format!("cannot be read: {error}"));
        self.transcript
            .lines(&format!("file: {name}"), &text, &self.normaliser);
    }
}

fn title(class: &str, words: &str) -> String {
    let tool = class.rsplit('.').next().unwrap_or(class);
    format!("{tool}: {words}")
}

fn our_script(class: &str) -> Result<PathBuf> {
    let name = match class {
        class::TOPICS => "kafka-topics.sh",
        class::CONSOLE_PRODUCER => "kafka-console-producer.sh",
        class::CONSOLE_CONSUMER => "kafka-console-consumer.sh",
        class::ZK_CLI => "zookeeper-shell.sh",
        other => bail!("there is no script of ours for {other}"),
    };
    Ok(workspace::root().join("bin").join(name))
}

/// zkCli tells its own end as an event, if its event thread is quick enough.
pub fn without_closing_event(screen: &str) -> String {
    const EVENT: &str = "\nWATCHER::\n\nWatchedEvent state:Closed type:None path:null\n";
    let screen = screen.replace(EVENT, "");
    let cut = (1..EVENT.len()).rev().find_map(|length| {
        let part = EVENT.get(..length).filter(|part| part.starts_with("\nW"))?;
        screen.strip_suffix(part)
    });
    cut.unwrap_or(&screen).to_owned()
}
