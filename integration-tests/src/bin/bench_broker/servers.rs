//! Shell: a broker of one maker as a user would run it, with a ZooKeeper server of ours, and what it takes of the machine.

use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use integration_tests::stack::{Broker, Maker, START_LIMIT, ZooKeeper, ask};

use crate::client::Client;

/// The heap that `kafka-server-start.sh` gives.
const HEAP: &str = "1G";
/// Files of deleted topics go at once, so that the disk holds few passes at a time.
const SETTINGS: &str = "log.segment.delete.delay.ms=100\nauto.create.topics.enable=false";
/// Between looks at a broker that is starting: short beside what is measured.
const POLL: Duration = Duration::from_millis(2);

/// Both running processes.
#[derive(Debug)]
pub struct Pair {
    maker: Maker,
    broker: Broker,
    zookeeper: ZooKeeper,
}

impl Pair {
    /// Starts both on empty directories, with more lines for the broker's configuration.
    pub fn start(maker: Maker, extra: &str) -> Result<Self> {
        let zookeeper = ZooKeeper::start(Maker::Ours)?;
        let extra = format!("{SETTINGS}\n{extra}");
        let mut broker = Broker::prepare(maker, &zookeeper.connect(), &extra)?;
        broker.run_as_fast_as_it_can(HEAP);
        broker.start_again()?;
        Ok(Self {
            maker,
            broker,
            zookeeper,
        })
    }

    /// Whose broker it is.
    pub fn maker(&self) -> Maker {
        self.maker
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.broker.address()
    }

    /// The broker, to stop and start.
    pub fn broker(&mut self) -> &mut Broker {
        &mut self.broker
    }

    /// Kills the broker and waits until its session is over, before which it cannot start again.
    pub fn kill(&mut self) -> Result<()> {
        self.broker.kill()?;
        let deadline = Instant::now() + START_LIMIT;
        while ask(self.zookeeper.address(), "dump")?.contains("/brokers/ids/0") {
            ensure!(Instant::now() < deadline, "the session does not end");
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Starts the stopped broker and says how long it took until all partitions of `topic` had a leader again.
    pub fn time_start(&mut self, topic: &str, partitions: i32) -> Result<Duration> {
        let begun = Instant::now();
        let mut process = self.broker.launch(&[])?;
        while !Client::connect(self.address()).is_ok_and(|mut client| {
            // A topic that is not known yet is an answer without partitions.
            client.is_led(topic, partitions).unwrap_or(false)
        }) {
            ensure!(
                process.ended()?.is_none() && begun.elapsed() < START_LIMIT * 4,
                "{:?}'s broker does not serve\n{}",
                self.maker,
                process.tail()
            );
            thread::sleep(POLL);
        }
        let took = begun.elapsed();
        self.broker.adopt(process);
        Ok(took)
    }

    /// User and system time of the broker so far, in seconds.
    pub fn cpu_seconds(&self) -> Result<f64> {
        self.process()?.cpu_seconds()
    }

    /// Resident memory of the broker now, in MiB.
    pub fn resident_mib(&self) -> Result<f64> {
        Ok(self.process()?.resident_bytes()? as f64 / f64::from(1 << 20))
    }

    /// The most memory that was resident so far, in MiB.
    pub fn peak_mib(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process()?.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|rest| rest.split_whitespace().next());
        let kib: f64 = kib.context("no VmHWM")?.parse()?;
        Ok(kib / 1024.0)
    }

    fn process(&self) -> Result<&integration_tests::process::Process> {
        self.broker.running()
    }
}
