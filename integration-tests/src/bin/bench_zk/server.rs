//! Shell: one server under measurement, ours or Apache's, with a data directory that outlives its processes.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use integration_tests::ports::Port;
use integration_tests::process::Process;
use integration_tests::stack::{Maker, START_LIMIT, STOP_LIMIT, ask};
use integration_tests::workspace::Scratch;
use integration_tests::{apache, ours};

/// Between looks at a server that is starting: short beside what is measured.
const POLL: Duration = Duration::from_millis(2);

/// A running server.
#[derive(Debug)]
pub struct Server {
    maker: Maker,
    heap: &'static str,
    port: Port,
    scratch: Scratch,
    process: Process,
}

impl Server {
    /// Starts one on an empty directory; `heap` is the JVM's, `extra` goes into the configuration.
    pub fn start(maker: Maker, heap: &'static str, extra: &str) -> Result<Self> {
        let scratch = Scratch::new(&format!("bench-zk-{maker:?}"))?;
        let port = Port::take()?;
        fs::write(
            scratch.path().join("zoo.cfg"),
            format!(
                "tickTime=2000\ndataDir={}\nclientPort={}\nclientPortAddress=127.0.0.1\nmaxClientCnxns=0\n\
                 admin.enableServer=false\n4lw.commands.whitelist=*\n{extra}\n",
                scratch.path().join("data").display(),
                port.number(),
            ),
        )?;
        let process = spawn(maker, heap, &scratch)?;
        let mut server = Self {
            maker,
            heap,
            port,
            scratch,
            process,
        };
        server.wait_until_it_serves()?;
        Ok(server)
    }

    /// Ends it cleanly, starts it again, and says how long it took from the start to the first answer.
    pub fn restart(&mut self) -> Result<Duration> {
        self.process.terminate(STOP_LIMIT)?;
        rustix::fs::sync();
        let begun = Instant::now();
        self.process = spawn(self.maker, self.heap, &self.scratch)?;
        self.wait_until_it_serves()?;
        Ok(begun.elapsed())
    }

    fn wait_until_it_serves(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        // Apache's server accepts connections before it serves, and drops those.
        while !ask(self.address(), "isro").is_ok_and(|answer| answer == "rw") {
            let ended = self.process.ended()?.is_some();
            ensure!(
                !ended && Instant::now() < deadline,
                "{:?}'s server does not serve\n{}",
                self.maker,
                self.process.tail()
            );
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// Whose it is.
    pub fn maker(&self) -> Maker {
        self.maker
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Where its logs and snapshots are.
    pub fn files(&self) -> PathBuf {
        self.scratch.path().join("data/version-2")
    }

    /// User and system time so far, in seconds.
    pub fn cpu_seconds(&self) -> Result<f64> {
        self.process.cpu_seconds()
    }

    /// Resident memory now, in MiB.
    pub fn resident_mib(&self) -> Result<f64> {
        Ok(self.process.resident_bytes()? as f64 / f64::from(1 << 20))
    }

    /// The most memory that was resident since the last [`Server::forget_peak`], in MiB.
    pub fn peak_mib(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|rest| rest.split_whitespace().next());
        let kib: f64 = kib.context("no VmHWM")?.parse()?;
        Ok(kib / 1024.0)
    }

    /// The peak begins anew.
    pub fn forget_peak(&self) -> Result<()> {
        Ok(fs::write(
            format!("/proc/{}/clear_refs", self.process.id()),
            "5",
        )?)
    }
}

fn spawn(maker: Maker, heap: &str, scratch: &Scratch) -> Result<Process> {
    let mut command = match maker {
        Maker::Apache => {
            let mut command = apache::java_for_speed(heap)?;
            command.arg(apache::ZOOKEEPER_SERVER);
            command
        }
        Maker::Ours => ours::zk_server()?,
    };
    command.arg(scratch.path().join("zoo.cfg"));
    Process::spawn("zookeeper", &mut command, scratch.path())
}
