//! Shell: what a running log does to its files: rolling, retention, flushing, preallocation, deletion, live changes of a topic's
//! configuration, restarts. The same steps are played to Apache's broker and to ours, and both directories compared, file by file.
//! `TANDEM_SEED` makes other random steps (a kill instead of a clean stop if it is even), `TANDEM_STEPS` more.

mod directed;
mod player;
mod random;
mod steps;

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;

use player::Pair;

fn number(name: &str, default: u64) -> u64 {
    let set = std::env::var(name).ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn a_running_log_keeps_its_files_as_apaches_does() -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let now_ms = i64::try_from(now.as_millis())?;
    let seed = number("TANDEM_SEED", 1);
    let mut script = random::Writer::new(seed, now_ms);
    let count = number("TANDEM_STEPS", 60);
    let mut pair = Pair::start()?;
    pair.play(&directed::before_the_timers(now_ms))?;
    pair.play(&script.steps(count, false))?;
    pair.wait_for_timers()?;
    pair.play(&directed::with_timers(now_ms))?;
    pair.play(&script.steps(count, true))?;
    // What a clean stop leaves, and what is made of it, or the same for a kill.
    pair.play(&script.before_a_restart())?;
    pair.restart(!seed.is_multiple_of(2))?;
    pair.play(&directed::after_a_restart(now_ms))?;
    pair.play(&script.steps(count, false))?;
    pair.stop()
}
