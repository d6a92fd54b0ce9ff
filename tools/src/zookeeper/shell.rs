//! Shell: `zookeeper-shell` and `zkCli`: one command, or an interactive session
//! (`ZooKeeperMain.java`, and Kafka's `ZooKeeperMainWithTlsSupportForKafka`).

use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal, Write};
use std::time::Duration;

use common::zk::client::error::ZkError;
use common::zk::code::ErrorCode;
use tokio::sync::mpsc;

use crate::zookeeper::command_line::words;
use crate::zookeeper::commands::{self, USAGE};
use crate::zookeeper::session::{Failure, Session, print_line};

/// The exit code of a command that does not exist.
const NOT_FOUND: i32 = 127;

/// Which of the two stock scripts is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// Kafka's `zookeeper-shell.sh`: the server comes first; no prompt, as it has no JLine.
    Kafka,
    /// ZooKeeper's `zkCli.sh`: `-server` names the server; with a prompt.
    ZooKeeper,
}

/// What stands before the command.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Launch {
    server: String,
    timeout: String,
    read_only: bool,
    wait_for_connection: bool,
    /// The file of an option that asks for TLS.
    tls_config: Option<String>,
    command: Option<Vec<String>>,
}

/// Runs the shell with the words after its name; gives the exit code.
#[must_use]
pub fn main(flavour: Flavour, args: Vec<String>) -> i32 {
    if flavour == Flavour::Kafka && args.is_empty() {
        let usage = "USAGE: zookeeper-shell zookeeper_host:port[/path] \
                     [-zk-tls-config-file file] [args...]";
        print_line(std::io::stdout(), usage);
        return 1;
    }
    let launch = Launch::parse(flavour, args);
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            print_line(std::io::stderr(), &format!("could not start: {error}"));
            return 1;
        }
    };
    let code = runtime.block_on(run(flavour, launch));
    // A thread may still wait for input.
    runtime.shutdown_background();
    code
}

impl Launch {
    fn parse(flavour: Flavour, args: Vec<String>) -> Self {
        let mut launch = Launch {
            server: "localhost:2181".to_owned(),
            timeout: "30000".to_owned(),
            read_only: false,
            wait_for_connection: false,
            tls_config: None,
            command: None,
        };
        let first = (flavour == Flavour::Kafka).then(|| "-server".to_owned());
        let mut words = first.into_iter().chain(args);
        while let Some(word) = words.next() {
            let slot = match word.as_str() {
                "-server" => &mut launch.server,
                "-timeout" => &mut launch.timeout,
                "-client-configuration" | "-zk-tls-config-file" => {
                    launch.tls_config.get_or_insert_default()
                }
                "-r" => {
                    launch.read_only = true;
                    continue;
                }
                "-waitforconnection" => {
                    // Kafka's variant knows the word and forgets to wait.
                    launch.wait_for_connection = flavour == Flavour::ZooKeeper;
                    continue;
                }
                option if option.starts_with('-') => continue,
                _ => {
                    launch.command = Some(std::iter::once(word).chain(words).collect());
                    break;
                }
            };
            match words.next() {
                Some(value) => *slot = value,
                None => {
                    let complaint = format!("Error: no argument found for option {word}");
                    print_line(std::io::stderr(), &complaint);
                    break;
                }
            }
        }
        launch
    }
}

async fn run(flavour: Flavour, launch: Launch) -> i32 {
    print_line(
        std::io::stdout(),
        &format!("Connecting to {}", launch.server),
    );
    let mut shell = match Shell::open(flavour, &launch).await {
        Ok(shell) => shell,
        Err(message) => return uncaught(&message),
    };
    let ended = match launch.command {
        Some(command) => shell.execute(command).await,
        None => shell.interact().await,
    };
    let code = match ended {
        Ok(()) => shell.exit_code,
        Err(Ended::Quit) => {
            shell.session.close().await;
            shell.exit_code
        }
        Err(Ended::Uncaught(message)) => uncaught(&message),
    };
    // As when the original's JVM stops: the session is left to its timeout.
    shell.session.client.abandon().await;
    code
}

fn uncaught(message: &str) -> i32 {
    print_line(
        std::io::stderr(),
        &format!("Exception in thread \"main\" {message}"),
    );
    1
}

/// Why the shell ends before its input does.
enum Ended {
    Quit,
    Uncaught(String),
}

struct Shell {
    flavour: Flavour,
    session: Session,
    timeout: Duration,
    read_only: bool,
    history: BTreeMap<usize, String>,
    /// Commands entered so far.
    count: usize,
    /// The words of the last command: a line without any repeats it.
    command: Vec<String>,
    exit_code: i32,
}

impl Shell {
    async fn open(flavour: Flavour, launch: &Launch) -> Result<Self, String> {
        if let Some(file) = &launch.tls_config {
            return Err(format!("{file}: connecting with TLS is not supported"));
        }
        let timeout: i32 = launch.timeout.parse().map_err(|_| {
            let exception = "java.lang.NumberFormatException: For input string:";
            format!("{exception} \"{}\"", launch.timeout)
        })?;
        let timeout = Duration::from_millis(u64::try_from(timeout).unwrap_or(0));
        let session = Session::open(&launch.server, timeout, launch.read_only)
            .map_err(|error| format!("java.lang.IllegalArgumentException: {error}"))?;
        let mut shell = Self {
            flavour,
            session,
            timeout,
            read_only: launch.read_only,
            history: BTreeMap::new(),
            count: 0,
            command: Vec::new(),
            exit_code: 0,
        };
        if launch.wait_for_connection {
            let client = shell.session.client.clone();
            let connected = shell.session.wait(client.wait_connected(timeout)).await;
            if let Err(ZkError::ConnectTimeout { .. }) = connected {
                shell.session.close().await;
                return Err(format!(
                    "java.io.IOException: org.apache.zookeeper.KeeperException\
                     $ConnectionLossException: KeeperErrorCode = {}",
                    ErrorCode::ConnectionLoss
                ));
            }
        }
        Ok(shell)
    }

    async fn interact(&mut self) -> Result<(), Ended> {
        self.session.out("Welcome to ZooKeeper!");
        let prompts = self.flavour == Flavour::ZooKeeper;
        let jline = if prompts { "enabled" } else { "disabled" };
        self.session.out(&format!("JLine support is {jline}"));
        // A terminal shows what is typed; for a pipe JLine does.
        let echo = prompts && !std::io::stdin().is_terminal();
        let mut lines = input();
        loop {
            if prompts {
                let (host, state) = (&self.session.host, self.session.state_name());
                self.session
                    .out_part(&format!("[zk: {host}({state}) {}] ", self.count));
            }
            let Some(line) = self.session.wait(lines.recv()).await else {
                return Ok(());
            };
            if echo {
                self.session.out(&line);
            }
            self.execute_line(line).await?;
        }
    }

    async fn execute_line(&mut self, line: String) -> Result<(), Ended> {
        if line.is_empty() {
            return Ok(());
        }
        let words = words(&line);
        if !words.is_empty() {
            self.command = words;
        }
        self.history.insert(self.count, line);
        if self.command.is_empty() {
            return Err(Ended::Uncaught("java.lang.NullPointerException".to_owned()));
        }
        self.execute(self.command.clone()).await?;
        self.count += 1;
        Ok(())
    }

    /// Runs a command and remembers its exit code.
    async fn execute(&mut self, command: Vec<String>) -> Result<(), Ended> {
        self.command = command.clone();
        let outcome = match command[0].as_str() {
            "redo" if command.len() >= 2 => self.redo(&command[1]).await?,
            _ => self.dispatch(&command).await?,
        };
        self.exit_code = match outcome {
            Ok(()) => 0,
            Err(Failure::Command { message, exit_code }) => {
                self.session.err(&message);
                exit_code
            }
            Err(Failure::Uncaught(message)) => return Err(Ended::Uncaught(message)),
        };
        Ok(())
    }

    async fn redo(&mut self, number: &str) -> Result<Result<(), Failure>, Ended> {
        let exception = "java.lang.NumberFormatException: For input string:";
        let number: i32 =
            decode(number).ok_or_else(|| Ended::Uncaught(format!("{exception} \"{number}\"")))?;
        let line = match usize::try_from(number) {
            Ok(number) if number < self.count => self.history.get(&number).cloned(),
            _ => return Ok(Err(Failure::new("Command index out of range"))),
        };
        let Some(line) = line else {
            return Err(Ended::Uncaught("java.lang.NullPointerException".to_owned()));
        };
        let again = words(&line);
        if !again.is_empty() {
            self.command = again;
        }
        if self.command[0] == "redo" {
            return Ok(Err(Failure::new("No redoing redos")));
        }
        self.history.insert(self.count, line);
        Box::pin(self.execute(self.command.clone())).await?;
        self.needs_session();
        Ok(Ok(()))
    }

    async fn dispatch(&mut self, command: &[String]) -> Result<Result<(), Failure>, Ended> {
        let name = command[0].as_str();
        if !USAGE.iter().any(|(command, _)| *command == name) {
            self.usage();
            let message = format!("Command not found: Command not found {name}");
            return Ok(Err(Failure::Command {
                message,
                exit_code: NOT_FOUND,
            }));
        }
        match (name, command.get(1)) {
            ("quit", _) => return Err(Ended::Quit),
            ("history", _) => self.print_history(),
            ("printwatches", None) => {
                let state = if self.session.print_watches {
                    "on"
                } else {
                    "off"
                };
                self.session.out(&format!("printwatches is {state}"));
            }
            ("printwatches", Some(state)) => self.session.print_watches = state == "on",
            ("connect", host) => {
                let host = host.cloned().unwrap_or_else(|| self.session.host.clone());
                let opened = self
                    .session
                    .reopen(&host, self.timeout, self.read_only)
                    .await;
                opened.map_err(|error| {
                    Ended::Uncaught(format!("java.lang.IllegalArgumentException: {error}"))
                })?;
            }
            _ => {}
        }
        if !self.needs_session() {
            return Ok(Ok(()));
        }
        Ok(commands::run(&mut self.session, command).await)
    }

    /// Says so if there is no session.
    fn needs_session(&self) -> bool {
        let alive = self.session.is_alive();
        if !alive {
            self.session.out("Not connected");
        }
        alive
    }

    fn print_history(&self) {
        for number in self.count.saturating_sub(10)..=self.count {
            let line = self.history.get(&number).map_or("null", String::as_str);
            self.session.out(&format!("{number} - {line}"));
        }
    }

    fn usage(&self) {
        self.session.err(match self.flavour {
            Flavour::Kafka => "ZooKeeper -server host:port [-zk-tls-config-file <file>] cmd args",
            Flavour::ZooKeeper => {
                "ZooKeeper -server host:port -client-configuration properties-file cmd args"
            }
        });
        for (command, arguments) in USAGE {
            self.session.err(&format!("\t{command} {arguments}"));
        }
    }
}

/// `Integer.decode`: decimal, `0x` or `#` hexadecimal, `0` octal, with a sign.
fn decode(text: &str) -> Option<i32> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let hexadecimal = ["0x", "0X", "#"]
        .iter()
        .find_map(|prefix| digits.strip_prefix(prefix));
    let (digits, radix) = match hexadecimal {
        Some(rest) => (rest, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (&digits[1..], 8),
        None => (digits, 10),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    i32::from_str_radix(&format!("{sign}{digits}"), radix).ok()
}

/// The lines of standard input, read by a thread of their own. The queue is short, so that no
/// more is read than is needed.
fn input() -> mpsc::Receiver<String> {
    let (lines, queue) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        let mut line = Vec::new();
        loop {
            line.clear();
            match input.read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let text = String::from_utf8_lossy(&line);
            let text = text.strip_suffix('\n').unwrap_or(&text);
            let text = text.strip_suffix('\r').unwrap_or(text).to_owned();
            if lines.blocking_send(text).is_err() {
                return;
            }
        }
    });
    queue
}

impl Session {
    /// Prints without ending the line.
    pub fn out_part(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        // That nobody reads it any more is no reason to stop.
        let _ = write!(out, "{text}").and_then(|()| out.flush());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(flavour: Flavour, args: &[&str]) -> Launch {
        Launch::parse(flavour, args.iter().map(|arg| (*arg).to_owned()).collect())
    }

    #[test]
    fn what_stands_before_the_command() {
        let kafka = launch(
            Flavour::Kafka,
            &["h:1", "-timeout", "5", "-r", "-x", "ls", "-R", "/"],
        );
        assert_eq!(
            (kafka.server.as_str(), kafka.timeout.as_str()),
            ("h:1", "5")
        );
        assert!(kafka.read_only);
        assert_eq!(kafka.command.unwrap(), ["ls", "-R", "/"]);
        let stock = launch(Flavour::ZooKeeper, &["-waitforconnection"]);
        assert_eq!(
            (stock.server.as_str(), stock.command),
            ("localhost:2181", None)
        );
        assert!(stock.wait_for_connection);
    }

    #[test]
    fn numbers_are_read_as_java_decodes_them() {
        let table = [
            ("7", Some(7)),
            ("-1", Some(-1)),
            ("0x1f", Some(31)),
            ("010", Some(8)),
            ("0", Some(0)),
        ];
        for (text, number) in table {
            assert_eq!(decode(text), number, "{text}");
        }
        assert_eq!((decode("x"), decode("--1"), decode("")), (None, None, None));
    }
}
