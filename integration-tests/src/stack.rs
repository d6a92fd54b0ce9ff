//! Shell: a ZooKeeper and a broker, each ours or Apache's, with directories and ports of their own.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;

use crate::ports::Port;
use crate::process::Process;
use crate::wait::until;
use crate::workspace::Scratch;
use crate::{apache, faults, ours};

/// Whose server it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    /// The Apache project's, on a JVM.
    Apache,
    /// Tandem's.
    Ours,
}

impl Maker {
    /// With `TANDEM_SELF_CHECK=1` Apache's servers stand in for ours: what fails then is the test's own fault.
    fn really(self) -> Self {
        if std::env::var_os("TANDEM_SELF_CHECK").is_some() {
            Self::Apache
        } else {
            self
        }
    }
}

/// How long a server may take to start on a busy machine.
pub const START_LIMIT: Duration = Duration::from_secs(90);
/// How long a server may take to end after SIGTERM.
pub const STOP_LIMIT: Duration = Duration::from_secs(60);

/// Sends a four-letter word and reads until the server closes.
///
/// # Errors
/// When the server is not there or does not answer in ten seconds.
pub fn ask(address: SocketAddr, word: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(word.as_bytes())?;
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// A ZooKeeper server with a data directory that outlives its processes.
#[derive(Debug)]
pub struct ZooKeeper {
    maker: Maker,
    version: Option<&'static str>,
    port: Port,
    scratch: Scratch,
    extra: String,
    properties: Vec<String>,
    file_limit_kib: Option<u64>,
    within: Option<Within>,
    process: Option<Process>,
}

/// Makes of a server's command line another that runs it.
struct Within(Box<dyn Fn(&Command) -> Command + Send + Sync>);

impl std::fmt::Debug for Within {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Within")
    }
}

impl ZooKeeper {
    /// Starts one on an empty directory.
    ///
    /// # Errors
    /// When it does not listen in time.
    pub fn start(maker: Maker) -> Result<Self> {
        Self::start_with(maker, "")
    }

    /// Starts one with more lines in its configuration.
    ///
    /// # Errors
    /// When it does not listen in time.
    pub fn start_with(maker: Maker, extra: &str) -> Result<Self> {
        Self::start_with_properties(maker, extra, &[])
    }

    /// Starts one with more lines in its configuration and with system properties, `-Dname=value`.
    ///
    /// # Errors
    /// When it does not listen in time.
    pub fn start_with_properties(maker: Maker, extra: &str, properties: &[&str]) -> Result<Self> {
        let mut server = Self::prepare(maker, extra)?;
        server.properties = properties.iter().map(|text| (*text).to_owned()).collect();
        server.start_again()?;
        Ok(server)
    }

    /// Starts one whose Apache server is of another version than the usual one.
    ///
    /// # Errors
    /// When it does not listen in time.
    pub fn start_version(maker: Maker, version: Option<&'static str>, extra: &str) -> Result<Self> {
        let mut server = Self::prepare(maker, extra)?;
        server.version = version;
        server.start_again()?;
        Ok(server)
    }

    fn prepare(maker: Maker, extra: &str) -> Result<Self> {
        Ok(Self {
            maker,
            version: None,
            port: Port::take()?,
            scratch: Scratch::new(&format!("zookeeper-{maker:?}"))?,
            extra: extra.to_owned(),
            properties: Vec::new(),
            file_limit_kib: None,
            within: None,
            process: None,
        })
    }

    /// Starts it again on the same data and port.
    ///
    /// # Errors
    /// When it does not listen in time.
    pub fn start_again(&mut self) -> Result<()> {
        let config = self.write_config()?;
        let mut command = match self.maker.really() {
            Maker::Apache => {
                let mut command = match self.version {
                    Some(version) => apache::java_of_zookeeper(version)?,
                    None => apache::java()?,
                };
                command
                    .arg("-Dzookeeper.admin.enableServer=false")
                    .args(&self.properties)
                    .arg(apache::ZOOKEEPER_SERVER);
                command
            }
            Maker::Ours => {
                let mut command = ours::zk_server()?;
                command.args(&self.properties);
                command
            }
        };
        command.arg(config);
        if let Some(limit) = self.file_limit_kib {
            command = faults::with_small_files(&command, limit);
        }
        if let Some(Within(wrap)) = &self.within {
            command = wrap(&command);
        }
        let mut process = Process::spawn("zookeeper", &mut command, self.scratch.path())?;
        process.wait_for_port(self.address(), START_LIMIT)?;
        // Apache's server accepts connections before it serves, and drops those.
        let deadline = Instant::now() + START_LIMIT;
        while !ask(self.address(), "isro").is_ok_and(|answer| answer == "rw") {
            if let Some(status) = process.ended()? {
                bail!("ZooKeeper ended with {status}\n{}", process.tail());
            }
            ensure!(
                Instant::now() < deadline,
                "ZooKeeper does not serve\n{}",
                process.tail()
            );
            thread::sleep(Duration::from_millis(20));
        }
        self.process = Some(process);
        Ok(())
    }

    fn write_config(&self) -> Result<PathBuf> {
        let text = format!(
            "tickTime=2000\ndataDir={}\nclientPort={}\nclientPortAddress=127.0.0.1\nmaxClientCnxns=0\n\
             admin.enableServer=false\n4lw.commands.whitelist=*\n{}\n",
            self.data_directory().display(),
            self.port.number(),
            self.extra,
        );
        let path = self.scratch.path().join("zookeeper.properties");
        fs::write(&path, text)?;
        Ok(path)
    }

    /// Where transaction logs and snapshots are, below `version-2`.
    pub fn data_directory(&self) -> PathBuf {
        self.scratch.path().join("data")
    }

    /// The log (`log`) or snapshot (`snapshot`) with the highest zxid in its name.
    ///
    /// # Errors
    /// When there is none, or a name is none of ZooKeeper's.
    pub fn newest(&self, kind: &str) -> Result<PathBuf> {
        let mut newest = None;
        for entry in fs::read_dir(self.data_directory().join("version-2"))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let mut parts = name.split('.');
            if parts.next() == Some(kind) {
                let zxid = u64::from_str_radix(parts.next().unwrap_or_default(), 16)?;
                newest = newest.max(Some((zxid, path)));
            }
        }
        Ok(newest.with_context(|| format!("there is no {kind}"))?.1)
    }

    /// Where its output files are.
    pub fn directory(&self) -> &Path {
        self.scratch.path()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// `host:port` for clients.
    pub fn connect(&self) -> String {
        self.address().to_string()
    }

    /// The running process.
    ///
    /// # Errors
    /// When it is stopped.
    pub fn process(&mut self) -> Result<&mut Process> {
        self.process
            .as_mut()
            .context("the ZooKeeper server is not running")
    }

    /// Ends it at once, as a power cut would for a process.
    ///
    /// # Errors
    /// When it is not running.
    pub fn kill(&mut self) -> Result<()> {
        self.process()?.kill()?;
        self.process = None;
        Ok(())
    }

    /// Ends it cleanly and returns its exit code.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn stop(&mut self) -> Result<i32> {
        let code = self.process()?.terminate(STOP_LIMIT)?;
        self.process = None;
        Ok(code)
    }

    /// Waits until the session of a killed broker has expired: Apache's does not start before.
    ///
    /// # Errors
    /// When its node stays.
    pub fn wait_for_no_broker(&self) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        while ask(self.address(), "dump")?.contains("/brokers/ids/0") {
            ensure!(Instant::now() < deadline, "the broker's node stays");
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Stops a broker's process until its session here has expired, lets it go on, and waits until it has another one.
    ///
    /// # Errors
    /// When its node stays, or does not come back.
    pub fn let_session_end(&self, broker: &mut Broker) -> Result<()> {
        broker.process()?.signal(Signal::STOP)?;
        let gone = self.wait_for_no_broker();
        broker.process()?.signal(Signal::CONT)?;
        gone?;
        until("a new session", || {
            Ok(ask(self.address(), "dump")?.contains("/brokers/ids/0"))
        })
    }

    /// From the next start on no file may grow beyond this: a disk that fills up. `None` ends it.
    pub fn limit_files(&mut self, limit_kib: Option<u64>) {
        self.file_limit_kib = limit_kib;
    }

    /// From the next start on another command runs the server's: `wrap` makes it.
    pub fn run_within(&mut self, wrap: impl Fn(&Command) -> Command + Send + Sync + 'static) {
        self.within = Some(Within(Box::new(wrap)));
    }

    /// From now on the other maker's server runs on this data.
    pub fn hand_over_to(&mut self, maker: Maker) {
        self.maker = maker;
    }
}

/// A broker with log directories that outlive its processes.
#[derive(Debug)]
pub struct Broker {
    maker: Maker,
    port: Port,
    scratch: Scratch,
    zookeeper_connect: String,
    extra: String,
    java_options: Vec<String>,
    fast_heap: Option<&'static str>,
    file_limit_kib: Option<u64>,
    within: Option<Within>,
    process: Option<Process>,
}

impl Broker {
    /// Starts one on an empty directory.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub fn start(maker: Maker, zookeeper_connect: &str) -> Result<Self> {
        let mut broker = Self::prepare(maker, zookeeper_connect, "")?;
        broker.start_again()?;
        Ok(broker)
    }

    /// Makes directory and port, with more lines for its configuration (a later line wins), and starts nothing.
    ///
    /// # Errors
    /// When there is no port or directory to be had.
    pub fn prepare(maker: Maker, zookeeper_connect: &str, extra: &str) -> Result<Self> {
        Ok(Self {
            maker,
            port: Port::take()?,
            scratch: Scratch::new(&format!("broker-{maker:?}"))?,
            zookeeper_connect: zookeeper_connect.to_owned(),
            extra: extra.to_owned(),
            java_options: Vec::new(),
            fast_heap: None,
            file_limit_kib: None,
            within: None,
            process: None,
        })
    }

    /// Adds lines to its configuration from the next start on; a later line wins.
    pub fn add_config(&mut self, lines: &str) {
        self.extra.push('\n');
        self.extra.push_str(lines);
    }

    /// Replaces all lines that were added to its configuration, from the next start on.
    pub fn configure(&mut self, extra: &str) {
        self.extra = extra.to_owned();
    }

    /// From the next start on, an Apache broker's JVM gets these options.
    pub fn use_java_options(&mut self, options: &[String]) {
        self.java_options = options.to_vec();
    }

    /// From the next start on, an Apache broker's JVM runs as the scripts of its distribution run it, with this heap.
    pub fn run_as_fast_as_it_can(&mut self, heap: &'static str) {
        self.fast_heap = Some(heap);
    }

    /// Starts it (again) on its directory and port, and waits until it says that it has started.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub fn start_again(&mut self) -> Result<()> {
        let mut process = self.launch(&[])?;
        process.wait_for_port(self.address(), START_LIMIT)?;
        self.process = Some(process);
        Ok(())
    }

    /// Starts a process for it with further arguments and waits for nothing.
    ///
    /// # Errors
    /// When it cannot be started at all.
    pub fn launch(&self, arguments: &[&str]) -> Result<Process> {
        let config = self.write_config()?;
        let mut command = self.command()?;
        command.arg(config).args(arguments);
        if let Some(limit) = self.file_limit_kib {
            command = faults::with_small_files(&command, limit);
        }
        if let Some(Within(wrap)) = &self.within {
            command = wrap(&command);
        }
        Process::spawn("broker", &mut command, self.scratch.path())
    }

    fn command(&self) -> Result<Command> {
        match self.maker.really() {
            Maker::Apache => {
                let mut command = match self.fast_heap {
                    Some(heap) => apache::java_for_speed(heap)?,
                    None => apache::java()?,
                };
                command.args(&self.java_options).arg(apache::KAFKA_BROKER);
                Ok(command)
            }
            Maker::Ours => ours::broker(),
        }
    }

    fn write_config(&self) -> Result<PathBuf> {
        // The values of the stock server.properties, but for addresses and directories.
        let text = format!(
            "broker.id=0\nlisteners=PLAINTEXT://127.0.0.1:{}\nlog.dirs={}\nzookeeper.connect={}\n\
             num.network.threads=3\nnum.io.threads=8\nnum.partitions=1\nnum.recovery.threads.per.data.dir=1\n\
             offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\nlog.retention.hours=168\nlog.retention.check.interval.ms=300000\n\
             zookeeper.connection.timeout.ms=18000\ngroup.initial.rebalance.delay.ms=0\n{}\n",
            self.port.number(),
            self.log_directory().display(),
            self.zookeeper_connect,
            self.extra,
        );
        let path = self.scratch.path().join("server.properties");
        fs::write(&path, text)?;
        Ok(path)
    }

    /// Its only log directory.
    pub fn log_directory(&self) -> PathBuf {
        self.scratch.path().join("kafka-logs")
    }

    /// Where its configuration and output files are.
    pub fn directory(&self) -> &Path {
        self.scratch.path()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// `host:port` for clients.
    pub fn bootstrap(&self) -> String {
        self.address().to_string()
    }

    /// The running process.
    ///
    /// # Errors
    /// When it is stopped.
    pub fn process(&mut self) -> Result<&mut Process> {
        self.process.as_mut().context("the broker is not running")
    }

    /// The running process, to look at.
    ///
    /// # Errors
    /// When it is stopped.
    pub fn running(&self) -> Result<&Process> {
        self.process.as_ref().context("the broker is not running")
    }

    /// Makes a process that [`Broker::launch`] started the running one.
    pub fn adopt(&mut self, process: Process) {
        self.process = Some(process);
    }

    /// Ends it at once.
    ///
    /// # Errors
    /// When it is not running.
    pub fn kill(&mut self) -> Result<()> {
        self.process()?.kill()?;
        self.process = None;
        Ok(())
    }

    /// Ends it cleanly and returns its exit code.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn stop(&mut self) -> Result<i32> {
        let code = self.process()?.terminate(STOP_LIMIT)?;
        self.process = None;
        Ok(code)
    }

    /// From the next start on no file may grow beyond this: a disk that fills up. `None` ends it.
    pub fn limit_files(&mut self, limit_kib: Option<u64>) {
        self.file_limit_kib = limit_kib;
    }

    /// From the next start on another command runs the broker's: `wrap` makes it.
    pub fn run_within(&mut self, wrap: impl Fn(&Command) -> Command + Send + Sync + 'static) {
        self.within = Some(Within(Box::new(wrap)));
    }

    /// From now on the other maker's broker runs on this directory.
    pub fn hand_over_to(&mut self, maker: Maker) {
        self.maker = maker;
    }
}

/// The pair.
#[derive(Debug)]
pub struct Stack {
    /// The broker; first, so that it is dropped before what it depends on.
    pub broker: Broker,
    /// The ZooKeeper server that the broker uses.
    pub zookeeper: ZooKeeper,
}

impl Stack {
    /// Starts both on empty directories.
    ///
    /// # Errors
    /// When either is not ready in time.
    pub fn start(zookeeper: Maker, broker: Maker) -> Result<Self> {
        let zookeeper = ZooKeeper::start(zookeeper)?;
        let broker = Broker::start(broker, &zookeeper.connect())?;
        Ok(Self { broker, zookeeper })
    }
}
