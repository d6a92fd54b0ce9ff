//! Pure: how long the cleaner must pause to keep to `log.cleaner.io.max.bytes.per.second` (`Throttler.scala`).

use std::time::Duration;

/// How often the rate is looked at.
const CHECK_INTERVAL: Duration = Duration::from_millis(300);

/// Bytes read and written since the rate was last looked at.
#[derive(Debug, Clone, Copy)]
pub struct Throttle {
    bytes_per_second: f64,
    bytes: f64,
    since: Duration,
}

impl Throttle {
    /// A limit, counted from `now` on; the clock may start anywhere.
    pub fn new(bytes_per_second: f64, now: Duration) -> Self {
        Throttle {
            bytes_per_second,
            bytes: 0.0,
            since: now,
        }
    }

    /// Counts bytes. Answers how long to pause; call [`Throttle::restart`] after the pause.
    pub fn observe(&mut self, bytes: usize, now: Duration) -> Option<Duration> {
        self.bytes += bytes as f64;
        let elapsed = now.saturating_sub(self.since);
        if elapsed <= CHECK_INTERVAL {
            return None;
        }
        let needed = self.bytes / self.bytes_per_second.max(1.0);
        let pause = Duration::try_from_secs_f64(needed - elapsed.as_secs_f64()).ok();
        if pause.is_none() {
            self.restart(now);
        }
        pause
    }

    /// Starts to count anew.
    pub fn restart(&mut self, now: Duration) {
        self.bytes = 0.0;
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_make_up_for_what_came_too_fast() {
        let at = Duration::from_millis;
        let mut throttle = Throttle::new(1000.0, at(0));
        assert_eq!(throttle.observe(1000, at(200)), None);
        assert_eq!(throttle.observe(1000, at(500)), Some(at(1500)));
        throttle.restart(at(2000));
        assert_eq!(throttle.observe(300, at(2400)), None);
        assert_eq!(throttle.observe(1500, at(3400)), Some(at(500)));
    }
}
