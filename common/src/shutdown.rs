//! Shell: SIGTERM and SIGINT as one future.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that ask a server to stop. Create it early: from then on they no longer kill.
#[derive(Debug)]
pub struct Shutdown {
    terminate: Signal,
    interrupt: Signal,
}

impl Shutdown {
    /// Installs the handlers; needs a tokio runtime with I/O enabled.
    pub fn install() -> std::io::Result<Self> {
        Ok(Shutdown {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next signal and gives its name.
    pub async fn requested(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
