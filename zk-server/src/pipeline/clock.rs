//! Shell: the two clocks.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Wall clock, and a monotonic clock that began with the process.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            started: Instant::now(),
        }
    }
}

impl Clock {
    /// Milliseconds since the process began; never goes back.
    pub fn mono_ms(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    /// Milliseconds since 1970.
    pub fn wall_ms(&self) -> i64 {
        let elapsed = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
    }

    /// The instant of a time of the monotonic clock.
    pub fn instant(&self, mono_ms: i64) -> Instant {
        self.started + std::time::Duration::from_millis(mono_ms.max(0).unsigned_abs())
    }
}
