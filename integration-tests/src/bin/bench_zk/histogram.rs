//! Pure: latencies, kept to about one part in sixty-four.

/// Buckets for each doubling.
const STEPS: u64 = 64;

/// How often each latency was seen.
#[derive(Debug, Clone)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: vec![0; (STEPS * 60) as usize],
            count: 0,
        }
    }
}

impl Histogram {
    /// Adds `times` operations that took so many nanoseconds each.
    pub fn add(&mut self, nanos: u64, times: u64) {
        let index = index_of(nanos).min(self.buckets.len() - 1);
        self.buckets[index] += times;
        self.count += times;
    }

    /// Adds what another one has.
    pub fn add_all(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
    }

    /// The latency in microseconds that this part of all operations, 0 to 1, did not exceed.
    pub fn quantile_us(&self, part: f64) -> f64 {
        let wanted = (self.count as f64 * part).ceil() as u64;
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted.max(1) {
                return floor_of(index as u64) as f64 / 1000.0;
            }
        }
        0.0
    }
}

fn index_of(nanos: u64) -> usize {
    let doublings = (nanos | STEPS).ilog2() - STEPS.ilog2();
    (u64::from(doublings) * STEPS + (nanos >> doublings)) as usize
}

fn floor_of(index: u64) -> u64 {
    let doublings = (index / STEPS).saturating_sub(1);
    (index - doublings * STEPS) << doublings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_near_what_was_added() {
        let mut histogram = Histogram::default();
        for micros in 1..=1000 {
            histogram.add(micros * 1000, 1);
        }
        for (part, expected) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = histogram.quantile_us(part);
            assert!((found / expected - 1.0).abs() < 0.02, "{part}: {found}");
        }
    }
}
