//! Shell: ports that no other test takes: each is guarded by a lock file for as long as its holder lives.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

/// Below the range from which the system takes the ports of outgoing connections.
const FIRST: u16 = 20_000;
const LAST: u16 = 29_999;

/// A port of 127.0.0.1 that is ours until this is dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// Takes a free one.
    ///
    /// # Errors
    /// When the lock directory cannot be used or every port is taken.
    pub fn take() -> Result<Self> {
        let directory = std::env::temp_dir().join("tandem-test-ports");
        fs::create_dir_all(&directory).context("cannot make the directory of port locks")?;
        let span = u32::from(LAST - FIRST) + 1;
        // Start at a place that differs between processes, so that they rarely meet.
        let start = std::process::id().wrapping_mul(97) % span;
        for step in 0..span {
            let number = FIRST + u16::try_from((start + step) % span)?;
            let lock = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(directory.join(number.to_string()))?;
            if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
                continue;
            }
            if TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Ok(Self {
                    number,
                    _lock: lock,
                });
            }
        }
        bail!("no free port between {FIRST} and {LAST}")
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Its address on the loopback interface.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.number))
    }
}
