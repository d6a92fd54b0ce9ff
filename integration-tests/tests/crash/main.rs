//! Shell: SIGKILL at any time loses nothing that was acknowledged.

mod broker;
mod compaction;
mod disk;
mod endurance;
mod groups;
mod jbod;
mod streams;
mod writes;
mod zookeeper;

/// How often to kill: few in every run, many in a soak (`TANDEM_SOAK_ROUNDS`).
fn rounds() -> u32 {
    std::env::var("TANDEM_SOAK_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(4)
}

/// A delay that differs from round to round and from run to run, printed for whoever looks for a pattern.
fn random_delay_ms(round: u32, most: u64) -> u64 {
    use std::time::{SystemTime, UNIX_EPOCH};
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let delay = 50 + u64::from(now.subsec_micros()) % most;
    println!("round {round}: killed after {delay} ms");
    delay
}
