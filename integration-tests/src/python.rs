//! Shell: the Python clients' scripts in `peers/python/`, each of which prints a transcript.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::process::{self, Finished};
use crate::workspace;

/// Runs one of the scripts to its end.
///
/// # Errors
/// When `make peers` has not been run, or it takes longer than two minutes.
pub fn run(script: &str, arguments: &[&str]) -> Result<Finished> {
    let mut command = Command::new(workspace::python()?);
    command
        .arg(workspace::own_file("peers/python").join(script))
        .args(arguments);
    process::run_command(&mut command, "", Duration::from_secs(120))
}
