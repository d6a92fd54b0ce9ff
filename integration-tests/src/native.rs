//! Shell: native clients that the system's package manager installs.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::{self, Finished};

/// Runs kcat.
///
/// # Errors
/// When it is not installed (`make peers` does that) or is still running after `limit`.
pub fn kcat(arguments: &[&str], input: &str, limit: Duration) -> Result<Finished> {
    process::run("kcat", arguments, input, limit)
        .context("kcat: run `make peers` first if it is missing")
}
