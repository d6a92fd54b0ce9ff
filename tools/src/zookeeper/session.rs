//! Shell: the shell's connection: waits for replies and prints events as they come.

use std::future::Future;
use std::io::Write;
use std::time::Duration;

use common::zk::client::client::{ZkClient, ZkClientConfig};
use common::zk::client::connect_string::ConnectStringError;
use common::zk::client::error::ZkError;
use common::zk::client::event::{SessionState, ZkEvent};
use common::zk::code::ErrorCode;
use common::zk::request::AddWatchMode;
use jiff::tz::TimeZone;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::zookeeper::command_line::ParseError;
use crate::zookeeper::text;

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The shell says so and goes on.
    Command {
        /// What it says.
        message: String,
        /// Its exit code, should this be the last command.
        exit_code: i32,
    },
    /// An exception that nobody catches in the original: the shell ends.
    Uncaught(String),
}

impl Failure {
    /// An ordinary failure.
    pub fn new(message: impl Into<String>) -> Self {
        Self::Command {
            message: message.into(),
            exit_code: 1,
        }
    }

    /// What the shell says of a failed operation on `path`.
    pub fn from_zk(error: &ZkError, path: &str) -> Self {
        let says = |text: &str| Self::new(format!("{text}{path}"));
        match error {
            ZkError::Path(error) => return Self::new(error.to_string()),
            ZkError::Malformed(error) => return Self::new(error.to_string()),
            _ => {}
        }
        match error.code() {
            ErrorCode::NoNode => says("Node does not exist: "),
            ErrorCode::NoChildrenForEphemerals => says("Ephemerals cannot have children: "),
            ErrorCode::NodeExists => says("Node already exists: "),
            ErrorCode::NotEmpty => says("Node not empty: "),
            ErrorCode::NotReadOnly => says("Not a read-only call: "),
            ErrorCode::InvalidAcl => says("Acl is not valid : "),
            ErrorCode::NoAuth => says("Insufficient permission : "),
            ErrorCode::BadArguments => says("Arguments are not valid : "),
            ErrorCode::BadVersion => says("version No is not valid : "),
            ErrorCode::QuotaExceeded => says("Quota has exceeded : "),
            ErrorCode::ReconfigInProgress => Self::new(
                "Another reconfiguration is in progress -- concurrent reconfigs not supported (yet)",
            ),
            ErrorCode::NewConfigNoQuorum => Self::new(
                "No quorum of new config is connected and up-to-date with the leader of last \
                 commmitted config - try invoking reconfiguration after new servers are \
                 connected and synced",
            ),
            code => Self::new(keeper_message(code, path)),
        }
    }
}

impl From<ParseError> for Failure {
    fn from(error: ParseError) -> Self {
        Self::new(error.to_string())
    }
}

/// `KeeperException.getMessage()`.
pub fn keeper_message(code: ErrorCode, path: &str) -> String {
    match path {
        "" => format!("KeeperErrorCode = {code}"),
        path => format!("KeeperErrorCode = {code} for {path}"),
    }
}

/// A connection and what the shell remembers besides.
pub struct Session {
    /// The connection.
    pub client: ZkClient,
    events: UnboundedReceiver<ZkEvent>,
    /// What the user connected to.
    pub host: String,
    /// Whether events are printed.
    pub print_watches: bool,
    /// The mode of addWatch, which stays until another is asked for.
    pub watch_mode: AddWatchMode,
    /// For dates.
    pub zone: TimeZone,
}

impl Session {
    /// Begins to connect to `host`.
    pub fn open(
        host: &str,
        timeout: Duration,
        read_only: bool,
    ) -> Result<Self, ConnectStringError> {
        let (client, events) = start(host, timeout, read_only)?;
        Ok(Self {
            client,
            events,
            host: host.to_owned(),
            print_watches: true,
            watch_mode: AddWatchMode::PersistentRecursive,
            zone: TimeZone::system(),
        })
    }

    /// Leaves this connection for another.
    pub async fn reopen(
        &mut self,
        host: &str,
        timeout: Duration,
        read_only: bool,
    ) -> Result<(), ConnectStringError> {
        self.close().await;
        let (client, events) = start(host, timeout, read_only)?;
        (self.client, self.events, self.host) = (client, events, host.to_owned());
        Ok(())
    }

    /// Ends the session.
    pub async fn close(&mut self) {
        let client = self.client.clone();
        self.wait(client.close()).await;
    }

    /// Whether there is a session, connected or not.
    pub fn is_alive(&self) -> bool {
        self.client.state().end().is_none()
    }

    /// The session's state as Java's client names it.
    pub fn state_name(&self) -> &'static str {
        match self.client.state() {
            SessionState::Connecting | SessionState::Disconnected => "CONNECTING",
            SessionState::Connected => "CONNECTED",
            SessionState::ConnectedReadOnly => "CONNECTEDREADONLY",
            SessionState::AuthFailed => "AUTH_FAILED",
            SessionState::Expired | SessionState::Closed => "CLOSED",
        }
    }

    /// Waits for something, and prints the events that come before it.
    pub async fn wait<T>(&mut self, future: impl Future<Output = T>) -> T {
        tokio::pin!(future);
        loop {
            tokio::select! {
                biased;
                Some(event) = self.events.recv() => self.print_event(&event),
                result = &mut future => {
                    while let Ok(event) = self.events.try_recv() {
                        self.print_event(&event);
                    }
                    return result;
                }
            }
        }
    }

    fn print_event(&self, event: &ZkEvent) {
        if self.print_watches {
            let connected = self.client.state().is_connected();
            self.out(&format!("\nWATCHER::\n\n{}", text::event(event, connected)));
        }
    }

    /// Prints a line.
    pub fn out(&self, line: &str) {
        print_line(std::io::stdout().lock(), line);
    }

    /// Prints a line to standard error.
    pub fn err(&self, line: &str) {
        print_line(std::io::stderr().lock(), line);
    }
}

fn start(
    host: &str,
    timeout: Duration,
    read_only: bool,
) -> Result<(ZkClient, UnboundedReceiver<ZkEvent>), ConnectStringError> {
    let mut config = ZkClientConfig::new(host, timeout);
    config.read_only = read_only;
    ZkClient::start(config)
}

/// Prints a line; that nobody reads it any more is no reason to stop.
pub fn print_line(mut to: impl Write, line: &str) {
    let _ = writeln!(to, "{line}").and_then(|()| to.flush());
}
