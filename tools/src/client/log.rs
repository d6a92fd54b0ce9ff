//! Shell: lines on standard error in the shape of the stock tools' log4j settings.

use std::time::{SystemTime, UNIX_EPOCH};

use common::logging::write_timestamp;

/// Milliseconds since the epoch.
pub fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// `[2024-05-01 12:00:00,123] WARN message (class)`.
pub fn warn(class: &str, message: &str) {
    line("WARN", class, message);
}

/// `[2024-05-01 12:00:00,123] ERROR message (class)`.
pub fn error(class: &str, message: &str) {
    line("ERROR", class, message);
}

fn line(level: &str, class: &str, message: &str) {
    let mut time = String::new();
    // Writing to a string does not fail.
    let _ = write_timestamp(&mut time, now_ms());
    eprintln!("{time} {level} {message} ({class})");
}
