//! Shell: a child process with its output in files, waited for with deadlines and ended by its own id.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

const POLL: Duration = Duration::from_millis(20);

/// A running (or ended) child. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts `command` with standard output and error going to files in `directory`.
    ///
    /// # Errors
    /// When the files cannot be made or the program not be started.
    pub fn spawn(name: &str, command: &mut Command, directory: &Path) -> Result<Self> {
        let stdout = directory.join(format!("{name}.out"));
        let stderr = directory.join(format!("{name}.err"));
        let open = |path: &Path| {
            File::options()
                .create(true)
                .append(true)
                .open(path)
                .with_context(|| format!("cannot open {}", path.display()))
        };
        let child = command
            .stdin(Stdio::piped())
            .stdout(open(&stdout)?)
            .stderr(open(&stderr)?)
            .spawn()
            .with_context(|| format!("cannot start {name}: {:?}", command.get_program()))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            stdout,
            stderr,
            status: None,
        })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything printed so far on standard output.
    pub fn stdout(&self) -> String {
        read_lossy(&self.stdout)
    }

    /// Everything printed so far on standard error.
    pub fn stderr(&self) -> String {
        read_lossy(&self.stderr)
    }

    /// Both outputs, one after the other, cut to their last lines: for error messages.
    pub fn tail(&self) -> String {
        let last = |text: String| {
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(40)..].join("\n")
        };
        format!(
            "--- {0} stdout\n{1}\n--- {0} stderr\n{2}",
            self.name,
            last(self.stdout()),
            last(self.stderr())
        )
    }

    /// Writes to the child's standard input.
    ///
    /// # Errors
    /// When the child has closed it.
    pub fn write_input(&mut self, text: &str) -> Result<()> {
        let stdin = self
            .child
            .stdin
            .as_mut()
            .context("standard input is closed")?;
        stdin.write_all(text.as_bytes())?;
        Ok(stdin.flush()?)
    }

    /// Ends the child's standard input.
    pub fn close_input(&mut self) {
        self.child.stdin = None;
    }

    /// Waits until `done` says so about the text of either output.
    ///
    /// # Errors
    /// When the deadline passes or the process ends first; the message has the last lines of its output.
    pub fn wait_for_output(
        &mut self,
        what: &str,
        limit: Duration,
        done: impl Fn(&str) -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            if done(&self.stdout()) || done(&self.stderr()) {
                return Ok(());
            }
            self.fail_if_ended(what)?;
            if Instant::now() > deadline {
                bail!(
                    "{} did not show {what} in {limit:?}\n{}",
                    self.name,
                    self.tail()
                );
            }
            thread::sleep(POLL);
        }
    }

    /// Waits until something accepts connections at `address`.
    ///
    /// # Errors
    /// When the deadline passes or the process ends first.
    pub fn wait_for_port(&mut self, address: SocketAddr, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
            self.fail_if_ended("an open port")?;
            if Instant::now() > deadline {
                bail!(
                    "{} did not listen on {address} in {limit:?}\n{}",
                    self.name,
                    self.tail()
                );
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    fn fail_if_ended(&mut self, awaited: &str) -> Result<()> {
        if let Some(status) = self.ended()? {
            bail!(
                "{} ended with {status} before {awaited}\n{}",
                self.name,
                self.tail()
            );
        }
        Ok(())
    }

    /// The exit status, when it has ended.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = self.child.try_wait()?;
        }
        Ok(self.status)
    }

    /// Waits for the end and returns the exit code, or minus the signal's number.
    ///
    /// # Errors
    /// When it is still running after `limit`.
    pub fn wait_for_end(&mut self, limit: Duration) -> Result<i32> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status
                    .code()
                    .unwrap_or_else(|| -status.signal().unwrap_or(0)));
            }
            if Instant::now() > deadline {
                bail!(
                    "{} is still running after {limit:?}\n{}",
                    self.name,
                    self.tail()
                );
            }
            thread::sleep(POLL);
        }
    }

    /// Sends a signal to this very process, unless it has ended.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.ended()?.is_none()
            && let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
        {
            kill_process(pid, signal)?;
        }
        Ok(())
    }

    /// Asks for a clean end (SIGTERM) and waits for it; the exit code as in [`Process::wait_for_end`].
    ///
    /// # Errors
    /// When it does not end in `limit`.
    pub fn terminate(&mut self, limit: Duration) -> Result<i32> {
        self.signal(Signal::TERM)?;
        self.wait_for_end(limit)
    }

    /// Ends it with SIGKILL and waits until it is gone.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.wait_for_end(Duration::from_secs(20)).map(drop)
    }

    /// Resident memory, in bytes, from `/proc`.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn resident_bytes(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .context("no VmRSS")?;
        let kib: u64 = line
            .split_whitespace()
            .nth(1)
            .context("no number in VmRSS")?
            .parse()?;
        Ok(kib * 1024)
    }

    /// User and system CPU time used so far, in seconds, from `/proc`.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id()))?;
        cpu_seconds_of(&stat)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// User and system CPU time that this process has used so far, in seconds.
///
/// # Errors
/// When `/proc` is not there.
pub fn own_cpu_seconds() -> Result<f64> {
    cpu_seconds_of(&fs::read_to_string("/proc/self/stat")?)
}

/// User and system time in seconds from the text of a `/proc/<pid>/stat`.
///
/// # Errors
/// When it is none.
pub fn cpu_seconds_of(stat: &str) -> Result<f64> {
    // The second field is the name in parentheses and may hold spaces; count from behind it.
    let rest = stat.rsplit_once(')').context("odd /proc stat")?.1;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks: f64 = fields.get(11).context("no utime")?.parse::<f64>()?
        + fields.get(12).context("no stime")?.parse::<f64>()?;
    Ok(ticks / 100.0)
}

/// What a command that ran to its end printed and returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Exit code, or minus the number of the signal that ended it.
    pub code: i32,
}

/// Runs a program to its end with `input` as its standard input.
///
/// # Errors
/// When it cannot be started or is still running after `limit` (it is killed then).
pub fn run(
    program: impl AsRef<OsStr>,
    arguments: &[&str],
    input: &str,
    limit: Duration,
) -> Result<Finished> {
    run_command(Command::new(program).args(arguments), input, limit)
}

/// [`run`] for a prepared command.
///
/// # Errors
/// As [`run`].
pub fn run_command(command: &mut Command, input: &str, limit: Duration) -> Result<Finished> {
    let scratch = crate::workspace::Scratch::new("run")?;
    let mut process = Process::spawn("command", command, scratch.path())?;
    // A program may end, or close its input, without having read it.
    let _ = process.write_input(input);
    process.close_input();
    let code = process
        .wait_for_end(limit)
        .with_context(|| format!("{command:?}"))?;
    Ok(Finished {
        stdout: process.stdout(),
        stderr: process.stderr(),
        code,
    })
}

fn read_lossy(path: &Path) -> String {
    fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}
