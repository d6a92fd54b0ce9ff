//! Shell: what goes wrong with servers: paused processes, and disks that refuse to grow.

use std::ffi::OsString;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;

use crate::process::Process;

/// Stops a process for a time (SIGSTOP, SIGCONT), as a long garbage collection or a suspended machine would.
///
/// # Errors
/// When the system refuses the signals.
pub fn pause(process: &mut Process, time: Duration) -> Result<()> {
    process.signal(Signal::STOP)?;
    std::thread::sleep(time);
    process.signal(Signal::CONT)
}

/// The same command with each file limited to so many KiB, and the limit told by an error instead of a signal:
/// writes fail in the middle of a file, as on a full disk, without the rights to mount one.
#[must_use]
pub fn with_small_files(command: &Command, limit_kib: u64) -> Command {
    let mut limited = Command::new("bash");
    limited
        .arg("-c")
        .arg(format!("trap '' XFSZ; ulimit -f {limit_kib}; exec \"$@\""))
        .arg("limited");
    limited
        .arg(command.get_program())
        .args(command.get_args().map(OsString::from));
    limited
}
