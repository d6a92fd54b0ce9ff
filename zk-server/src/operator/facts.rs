//! Shell: what the answers to operators need besides the state.

use std::cell::Cell;

use crate::storage::files::Directories;

/// Where the numbers of `mntr` come from (`metricsProvider.className`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetricsProvider {
    /// DefaultMetricsProvider: all metrics, each part of a summary under its own name.
    #[default]
    Default,
    /// NullMetricsProvider: none.
    Null,
    /// PrometheusMetricsProvider: samples as Prometheus names them. Its counters are never reset.
    Prometheus {
        /// `metricsProvider.exportJvmInfo`: figures of the process as well.
        process: bool,
    },
}

/// The mask that `gtmk` shows of a server whose mask was never set (ZooTrace.java).
const TRACE_MASK: i64 = 306;

/// The trace mask. There is no tracing to mask: it is only told back.
#[derive(Debug)]
pub struct TraceMask(Cell<i64>);

impl Default for TraceMask {
    fn default() -> Self {
        Self(Cell::new(TRACE_MASK))
    }
}

impl TraceMask {
    /// What it is.
    pub fn get(&self) -> i64 {
        self.0.get()
    }

    /// Changes it.
    pub fn set(&self, mask: i64) {
        tracing::info!("Set text trace mask to 0x{mask:x}");
        self.0.set(mask);
    }
}

/// What the answers need besides the state.
#[derive(Debug)]
pub struct Facts {
    /// `4lw.commands.whitelist`.
    pub whitelist: Vec<String>,
    /// Where the data is.
    pub directories: Directories,
    /// The port that clients connect to, or -1.
    pub client_port: i32,
    /// The port that clients connect to with TLS, or -1.
    pub secure_client_port: i32,
    /// `tickTime` in milliseconds.
    pub tick_ms: i32,
    /// `maxClientCnxns`.
    pub max_client_connections: usize,
    /// Shortest session timeout in milliseconds.
    pub min_session_timeout_ms: i32,
    /// Longest session timeout in milliseconds.
    pub max_session_timeout_ms: i32,
    /// `clientPortListenBacklog`.
    pub backlog: i32,
    /// How long a connection may be without a session, in milliseconds.
    pub sessionless_timeout_ms: i64,
    /// The configuration file's text without passwords, if there was a file.
    pub initial_configuration: Option<String>,
    /// System properties that are set, by name, without passwords.
    pub properties: Vec<(String, String)>,
    /// Where the numbers of `mntr` come from.
    pub metrics: MetricsProvider,
    /// The trace mask.
    pub trace_mask: TraceMask,
}

impl Facts {
    /// Whether a four-letter word is answered.
    pub fn allows(&self, word: &str) -> bool {
        word == "srvr"
            || self
                .whitelist
                .iter()
                .any(|allowed| allowed == word || allowed == "*")
    }
}
