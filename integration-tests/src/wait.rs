//! Shell: waits until something has come about.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

/// How long anything may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(90);

/// Asks again and again, until `is_done` says so.
///
/// # Errors
/// When that takes too long, named by `what`, or when asking fails.
pub fn until(what: &str, mut is_done: impl FnMut() -> Result<bool>) -> Result<()> {
    let started = Instant::now();
    while !is_done()? {
        ensure!(
            started.elapsed() < LIMIT,
            "{what} did not come within {LIMIT:?}"
        );
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
