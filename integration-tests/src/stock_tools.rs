//! Shell: the stock Java tools, run one after the other (or at once) in one long-lived JVM; see `ToolRunner.java`.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::apache;
use crate::process::{Finished, Process};
use crate::workspace::{self, Scratch};

/// How long a tool may take.
pub const LIMIT: Duration = Duration::from_secs(90);

/// The class of each stock tool that the tests use.
pub mod class {
    /// `kafka-topics.sh`
    pub const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
    /// `kafka-console-producer.sh`
    pub const CONSOLE_PRODUCER: &str = "kafka.tools.ConsoleProducer";
    /// `kafka-console-consumer.sh`
    pub const CONSOLE_CONSUMER: &str = "kafka.tools.ConsoleConsumer";
    /// `kafka-consumer-groups.sh`
    pub const CONSUMER_GROUPS: &str = "kafka.admin.ConsumerGroupCommand";
    /// `kafka-configs.sh`
    pub const CONFIGS: &str = "kafka.admin.ConfigCommand";
    /// `kafka-broker-api-versions.sh`
    pub const BROKER_API_VERSIONS: &str = "kafka.admin.BrokerApiVersionsCommand";
    /// `kafka-get-offsets.sh`
    pub const GET_OFFSETS: &str = "org.apache.kafka.tools.GetOffsetShell";
    /// `kafka-delete-records.sh`
    pub const DELETE_RECORDS: &str = "org.apache.kafka.tools.DeleteRecordsCommand";
    /// `kafka-log-dirs.sh`
    pub const LOG_DIRS: &str = "org.apache.kafka.tools.LogDirsCommand";
    /// `kafka-cluster.sh`
    pub const CLUSTER: &str = "org.apache.kafka.tools.ClusterTool";
    /// `kafka-dump-log.sh`
    pub const DUMP_LOG: &str = "kafka.tools.DumpLogSegments";
    /// `kafka-producer-perf-test.sh`
    pub const PRODUCER_PERF: &str = "org.apache.kafka.tools.ProducerPerformance";
    /// `kafka-consumer-perf-test.sh`
    pub const CONSUMER_PERF: &str = "org.apache.kafka.tools.ConsumerPerformance";
    /// `kafka-e2e-latency.sh`, in whole milliseconds
    pub const END_TO_END_LATENCY: &str = "org.apache.kafka.tools.EndToEndLatency";
    /// `kafka-transactions.sh`
    pub const TRANSACTIONS: &str = "org.apache.kafka.tools.TransactionsCommand";
    /// `kafka-verifiable-producer.sh`
    pub const VERIFIABLE_PRODUCER: &str = "org.apache.kafka.tools.VerifiableProducer";
    /// `zkCli.sh`
    pub const ZK_CLI: &str = "org.apache.zookeeper.ZooKeeperMain";
    /// `zkTxnLogToolkit.sh`
    pub const TXN_LOG_TOOLKIT: &str = "org.apache.zookeeper.server.persistence.TxnLogToolkit";
    /// `zkSnapShotToolkit.sh`
    pub const SNAPSHOT_FORMATTER: &str = "org.apache.zookeeper.server.SnapshotFormatter";
}

/// The JVM that runs the tools.
#[derive(Debug)]
pub struct ToolRunner {
    port: u16,
    // Held for its standard input: the runner ends when this test process does.
    _process: Mutex<Process>,
    _scratch: Scratch,
}

/// The runner of this test process, started on first use.
///
/// # Errors
/// When Java or the jars are missing.
pub fn shared() -> Result<&'static ToolRunner> {
    static SHARED: OnceLock<ToolRunner> = OnceLock::new();
    static STARTING: Mutex<()> = Mutex::new(());
    let _guard = lock(&STARTING);
    if let Some(runner) = SHARED.get() {
        return Ok(runner);
    }
    let runner = ToolRunner::start()?;
    Ok(SHARED.get_or_init(|| runner))
}

/// Runs a stock tool to its end with nothing on its standard input.
///
/// # Errors
/// When it takes longer than [`LIMIT`].
pub fn run(class: &str, arguments: &[&str]) -> Result<Finished> {
    run_with_input(class, arguments, "")
}

/// Runs a stock tool to its end with `input` on its standard input.
///
/// # Errors
/// When it takes longer than [`LIMIT`].
pub fn run_with_input(class: &str, arguments: &[&str], input: &str) -> Result<Finished> {
    let mut tool = start(class, arguments)?;
    // A tool that refuses its options may have ended before it reads.
    let _ = tool.write_input(input);
    let _ = tool.end_input();
    tool.finish(LIMIT)
}

/// Starts a stock tool and leaves it running.
///
/// # Errors
/// When the runner cannot be started or reached.
pub fn start(class: &str, arguments: &[&str]) -> Result<RunningTool> {
    shared()?.start_tool(class, arguments)
}

/// A stock tool in a JVM of its own, for what must be killed or must end with its process.
///
/// # Errors
/// When the jars are missing.
pub fn own_process(class: &str, arguments: &[&str]) -> Result<Command> {
    let mut command = apache::java()?;
    command.arg(class).args(arguments);
    Ok(command)
}

impl ToolRunner {
    /// A runner for tests: starts quickly, never gets fast.
    fn start() -> Result<Self> {
        Self::start_with(&["-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"])
    }

    /// A runner of its own for benchmarks, whose JVM compiles as well as it can.
    ///
    /// # Errors
    /// When Java or the jars are missing.
    pub fn for_speed() -> Result<Self> {
        Self::start_with(&["-Xms1g", "-Xmx1g", "-XX:+UseParallelGC"])
    }

    fn start_with(options: &[&str]) -> Result<Self> {
        let scratch = Scratch::new("tools")?;
        let mut command = Command::new("java");
        command
            .args(options)
            .args([
                "-Djava.security.manager=allow",
                &apache::log4j("peers/tools-log4j.properties"),
            ])
            .arg("-cp")
            .arg(format!("{}/*", workspace::peers()?.display()))
            .arg(workspace::own_file("peers/java/ToolRunner.java"));
        let mut process = Process::spawn("tools", &mut command, scratch.path())?;
        let port_of = |text: &str| {
            let line = text.lines().find(|line| line.starts_with("PORT "))?;
            line.strip_prefix("PORT ")?.trim().parse::<u16>().ok()
        };
        process.wait_for_output("its port", Duration::from_secs(60), |text| {
            text.ends_with('\n') && port_of(text).is_some()
        })?;
        let port = port_of(&process.stdout()).context("the tool runner printed no port")?;
        Ok(Self {
            port,
            _process: Mutex::new(process),
            _scratch: scratch,
        })
    }

    /// Starts a stock tool in this runner and leaves it running.
    ///
    /// # Errors
    /// When the runner cannot be reached.
    pub fn start_tool(&self, class: &str, arguments: &[&str]) -> Result<RunningTool> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))
            .context("the tool runner is gone")?;
        stream.set_nodelay(true)?;
        let mut request = Vec::new();
        request.extend(u32::try_from(1 + arguments.len())?.to_be_bytes());
        for word in std::iter::once(&class).chain(arguments) {
            request.extend(u32::try_from(word.len())?.to_be_bytes());
            request.extend(word.as_bytes());
        }
        stream.write_all(&request)?;
        let captured = Arc::new(Captured::default());
        let reader = stream.try_clone()?;
        let sink = Arc::clone(&captured);
        thread::spawn(move || sink.fill(reader));
        Ok(RunningTool {
            name: format!("{class} {}", arguments.join(" ")),
            stream,
            captured,
        })
    }
}

/// A stock tool that is running in the shared JVM. Dropping it interrupts it.
#[derive(Debug)]
pub struct RunningTool {
    name: String,
    stream: TcpStream,
    captured: Arc<Captured>,
}

impl RunningTool {
    /// Writes to its standard input.
    ///
    /// # Errors
    /// When it has ended.
    pub fn write_input(&mut self, text: &str) -> Result<()> {
        self.frame(b'I', text.as_bytes())
    }

    /// Ends its standard input.
    ///
    /// # Errors
    /// When it has ended.
    pub fn end_input(&mut self) -> Result<()> {
        self.frame(b'E', &[])
    }

    fn frame(&mut self, kind: u8, payload: &[u8]) -> Result<()> {
        let mut bytes = vec![kind];
        bytes.extend(u32::try_from(payload.len())?.to_be_bytes());
        bytes.extend(payload);
        Ok(self.stream.write_all(&bytes)?)
    }

    /// What it has printed on standard output so far.
    pub fn stdout(&self) -> String {
        lock(&self.captured.state).stdout()
    }

    /// Waits until its standard output satisfies `done`.
    ///
    /// # Errors
    /// When it ends before, or `limit` passes.
    pub fn wait_for_output(
        &self,
        what: &str,
        limit: Duration,
        done: impl Fn(&str) -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + limit;
        let mut state = lock(&self.captured.state);
        loop {
            if done(&state.stdout()) {
                return Ok(());
            }
            if state.code.is_some() || Instant::now() > deadline {
                bail!("{} did not show {what}\n{}", self.name, state.describe());
            }
            state = self.captured.wait(state);
        }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it is still running after `limit`.
    pub fn finish(self, limit: Duration) -> Result<Finished> {
        let deadline = Instant::now() + limit;
        let mut state = lock(&self.captured.state);
        loop {
            if let Some(code) = state.code {
                return Ok(Finished {
                    stdout: state.stdout(),
                    stderr: state.stderr(),
                    code,
                });
            }
            if Instant::now() > deadline {
                bail!(
                    "{} is still running after {limit:?}\n{}",
                    self.name,
                    state.describe()
                );
            }
            state = self.captured.wait(state);
        }
    }
}

impl Drop for RunningTool {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

#[derive(Debug, Default)]
struct Captured {
    state: Mutex<CapturedState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct CapturedState {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    code: Option<i32>,
}

impl CapturedState {
    fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    fn describe(&self) -> String {
        format!(
            "--- exit {:?}\n--- stdout\n{}\n--- stderr\n{}",
            self.code,
            self.stdout(),
            self.stderr()
        )
    }
}

impl Captured {
    fn wait<'a>(&self, state: MutexGuard<'a, CapturedState>) -> MutexGuard<'a, CapturedState> {
        let waited = self.changed.wait_timeout(state, Duration::from_millis(500));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn fill(&self, mut stream: TcpStream) {
        while let Ok((kind, payload)) = read_frame(&mut stream) {
            let mut state = lock(&self.state);
            match kind {
                b'O' => state.stdout.extend(payload),
                b'R' => state.stderr.extend(payload),
                _ => state.code = payload.try_into().ok().map(i32::from_be_bytes),
            }
            self.changed.notify_all();
        }
        let mut state = lock(&self.state);
        // Only if the runner itself is gone.
        state.code.get_or_insert(-1);
        self.changed.notify_all();
    }
}

fn read_frame(stream: &mut TcpStream) -> std::io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    stream.read_exact(&mut head)?;
    let [kind, length @ ..] = head;
    let mut payload = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut payload)?;
    Ok((kind, payload))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
