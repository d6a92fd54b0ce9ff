//! Shell: a ZooKeeper server and a broker of one maker, as a user would run them: Apache's with the heaps of its scripts.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail};
use integration_tests::ports::Port;
use integration_tests::process::Process;
use integration_tests::stack::Maker;
use integration_tests::workspace::Scratch;
use integration_tests::{apache, ours};

/// Both running processes. Dropping it kills them and removes their files.
#[derive(Debug)]
pub struct Pair {
    maker: Maker,
    broker: Process,
    zookeeper: Process,
    broker_port: Port,
    zookeeper_port: Port,
    _scratch: Scratch,
}

/// Resident memory in MiB.
#[derive(Debug, Clone, Copy)]
pub struct Resident {
    /// Of the ZooKeeper server.
    pub zookeeper: f64,
    /// Of the broker.
    pub broker: f64,
}

impl Resident {
    /// The sum.
    pub fn both(self) -> f64 {
        self.zookeeper + self.broker
    }
}

impl Pair {
    /// Starts both on empty directories, one right after the other, waits for neither, and says when that was.
    ///
    /// # Errors
    /// When a program or its configuration is missing.
    pub fn start(maker: Maker) -> Result<(Self, Instant)> {
        let scratch = Scratch::new(&format!("bench-{maker:?}"))?;
        let (zookeeper_port, broker_port) = (Port::take()?, Port::take()?);
        let directory = scratch.path();
        let zookeeper_config = directory.join("zookeeper.properties");
        let broker_config = directory.join("server.properties");
        fs::write(
            &zookeeper_config,
            format!(
                "dataDir={}\nclientPort={}\nclientPortAddress=127.0.0.1\nmaxClientCnxns=0\nadmin.enableServer=false\n",
                directory.join("zookeeper-data").display(),
                zookeeper_port.number(),
            ),
        )?;
        fs::write(
            &broker_config,
            broker_settings(&scratch, &zookeeper_port, &broker_port),
        )?;
        let (mut zookeeper, mut broker) = commands(maker)?;
        zookeeper.arg(zookeeper_config);
        broker.arg(broker_config);
        let spawned = Instant::now();
        let zookeeper = Process::spawn("zookeeper", &mut zookeeper, directory)?;
        let broker = Process::spawn("broker", &mut broker, directory)?;
        let pair = Self {
            maker,
            broker,
            zookeeper,
            broker_port,
            zookeeper_port,
            _scratch: scratch,
        };
        Ok((pair, spawned))
    }

    /// Whose they are.
    pub fn maker(&self) -> Maker {
        self.maker
    }

    /// Where the broker listens.
    pub fn broker_address(&self) -> SocketAddr {
        self.broker_port.address()
    }

    /// Where the ZooKeeper server listens.
    pub fn zookeeper_address(&self) -> SocketAddr {
        self.zookeeper_port.address()
    }

    /// Fails, with what they printed, if either has ended.
    ///
    /// # Errors
    /// That.
    pub fn check_running(&mut self) -> Result<()> {
        for process in [&mut self.zookeeper, &mut self.broker] {
            if let Some(status) = process.ended()? {
                bail!("a server ended with {status}\n{}", process.tail());
            }
        }
        Ok(())
    }

    /// Resident memory now.
    ///
    /// # Errors
    /// When a process is gone.
    pub fn resident_mib(&self) -> Result<Resident> {
        let mib = |process: &Process| {
            let bytes = process.resident_bytes()?;
            anyhow::Ok(bytes as f64 / f64::from(1 << 20))
        };
        Ok(Resident {
            zookeeper: mib(&self.zookeeper)?,
            broker: mib(&self.broker)?,
        })
    }

    /// CPU time of the broker so far, in seconds.
    ///
    /// # Errors
    /// When it is gone.
    pub fn broker_cpu_seconds(&self) -> Result<f64> {
        self.broker.cpu_seconds()
    }

    /// CPU time of the ZooKeeper server so far, in seconds.
    ///
    /// # Errors
    /// When it is gone.
    pub fn zookeeper_cpu_seconds(&self) -> Result<f64> {
        self.zookeeper.cpu_seconds()
    }
}

/// The commands of the ZooKeeper server and of the broker; the heaps are those of Kafka's start scripts.
fn commands(maker: Maker) -> Result<(Command, Command)> {
    Ok(match maker {
        Maker::Apache => {
            let mut zookeeper = apache::java_for_speed("512M")?;
            zookeeper.arg(apache::ZOOKEEPER_SERVER);
            let mut broker = apache::java_for_speed("1G")?;
            broker.arg(apache::KAFKA_BROKER);
            (zookeeper, broker)
        }
        Maker::Ours => (ours::zk_server()?, ours::broker()?),
    })
}

/// The stock `server.properties`, but for addresses and directories.
fn broker_settings(scratch: &Scratch, zookeeper: &Port, broker: &Port) -> String {
    format!(
        "broker.id=0\nlisteners=PLAINTEXT://127.0.0.1:{}\nlog.dirs={}\nzookeeper.connect={}\n\
         num.network.threads=3\nnum.io.threads=8\nsocket.send.buffer.bytes=102400\n\
         socket.receive.buffer.bytes=102400\nsocket.request.max.bytes=104857600\nnum.partitions=1\n\
         num.recovery.threads.per.data.dir=1\noffsets.topic.replication.factor=1\n\
         transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\nlog.retention.hours=168\n\
         log.retention.check.interval.ms=300000\nzookeeper.connection.timeout.ms=18000\n\
         group.initial.rebalance.delay.ms=0\n",
        broker.number(),
        scratch.path().join("kafka-logs").display(),
        zookeeper.address(),
    )
}
