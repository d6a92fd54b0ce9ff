//! Pure: a summary with percentiles, from a histogram of fixed steps.
//!
//! ZooKeeper draws a sample of 4096 values at random (AvgMinMaxPercentileCounter.java); here
//! every value counts. Values below 64 have a step each, larger ones 32 steps between powers of
//! two, so a percentile is off by 3 % at most. Most latencies are 0 ms, and the same size often
//! comes again and again: those cost one addition.

use crate::metrics::summary::Summary;

/// Values below this have a step each.
const EXACT: u64 = 64;

/// Its power of two.
const EXACT_BITS: u32 = 6;

/// Steps between two powers of two, as a power of two.
const STEP_BITS: u32 = 5;

/// A summary that also knows how its values are spread.
#[derive(Clone, Debug, Default)]
pub struct Percentiles {
    zeros: u64,
    /// A value that came so many times in a row, not counted below yet.
    again: (u64, u64),
    others: Summary,
    steps: Vec<u64>,
}

impl Percentiles {
    /// Of nothing.
    pub const fn none() -> Self {
        Self {
            zeros: 0,
            again: (0, 0),
            others: Summary::none(),
            steps: Vec::new(),
        }
    }

    /// Adds all values of another.
    pub fn merge(&mut self, other: &Self) {
        let other = &other.settled();
        self.settle();
        self.zeros += other.zeros;
        self.others = self.others.merged(other.others);
        if self.steps.len() < other.steps.len() {
            self.steps.resize(other.steps.len(), 0);
        }
        for (step, count) in self.steps.iter_mut().zip(&other.steps) {
            *step += count;
        }
    }

    /// Adds one value.
    pub fn observe(&mut self, value: u64) {
        if value == 0 {
            self.zeros += 1;
        } else if value == self.again.0 {
            self.again.1 += 1;
        } else {
            self.settle();
            self.again = (value, 1);
        }
    }

    /// Adds one value that a clock that went back may have made negative; it is not counted then.
    pub fn observe_signed(&mut self, value: i64) {
        if let Ok(value) = u64::try_from(value) {
            self.observe(value);
        }
    }

    /// Counts what came again and again.
    #[cold]
    fn settle(&mut self) {
        let (value, times) = std::mem::take(&mut self.again);
        if times == 0 {
            return;
        }
        self.others = self.others.merged(Summary::repeated(value, times));
        let step = step_of(value);
        if step >= self.steps.len() {
            self.steps.resize(step + 1, 0);
        }
        self.steps[step] += times;
    }

    /// As it is once everything is counted.
    fn settled(&self) -> Self {
        let mut all = self.clone();
        all.settle();
        all
    }

    /// What observing 0 so many times comes to.
    pub fn zeros(count: u64) -> Self {
        Self {
            zeros: count,
            ..Self::default()
        }
    }

    /// As many values as `count` at least: those that are missing were 0.
    pub fn filled(mut self, count: u64) -> Self {
        self.zeros += count.saturating_sub(self.summary().count());
        self
    }

    /// Count, sum, smallest, largest.
    pub fn summary(&self) -> Summary {
        let (value, times) = self.again;
        Summary::zeros(self.zeros)
            .merged(self.others)
            .merged(Summary::repeated(value, times))
    }

    /// The value below which this part of all values are, 0 before the first; between two values
    /// it is interpolated as UniformSnapshot of Dropwizard's metrics does, then rounded.
    pub fn percentile(&self, part: f64) -> u64 {
        let all = self.settled();
        let count = all.zeros + all.others.count();
        if count == 0 {
            return 0;
        }
        let position = part * (count + 1) as f64;
        let below = position.floor();
        let lower = all.nth((below as u64).clamp(1, count)) as f64;
        let upper = all.nth((below as u64 + 1).clamp(1, count)) as f64;
        if below < 1.0 || below >= count as f64 {
            return lower as u64;
        }
        (lower + (position - below) * (upper - lower) + 0.5).floor() as u64
    }

    /// The n-th smallest value, counted from 1.
    fn nth(&self, n: u64) -> u64 {
        let mut passed = self.zeros;
        if n <= passed {
            return 0;
        }
        for (step, count) in self.steps.iter().enumerate() {
            passed += count;
            if n <= passed {
                return value_of(step).clamp(self.others.min(), self.others.max());
            }
        }
        self.others.max()
    }
}

fn step_of(value: u64) -> usize {
    if value < EXACT {
        return value as usize;
    }
    let power = value.ilog2();
    let within = (value >> (power - STEP_BITS)) & ((1 << STEP_BITS) - 1);
    (EXACT + (u64::from(power - EXACT_BITS) << STEP_BITS) + within) as usize
}

/// The middle of a step.
fn value_of(step: usize) -> u64 {
    let step = step as u64;
    if step < EXACT {
        return step;
    }
    let power = ((step - EXACT) >> STEP_BITS) as u32 + EXACT_BITS;
    let within = (step - EXACT) & ((1 << STEP_BITS) - 1);
    let width = 1u64 << (power - STEP_BITS);
    (1u64 << power) + within * width + width / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = u64>) -> Percentiles {
        let mut all = Percentiles::default();
        values.into_iter().for_each(|value| all.observe(value));
        all
    }

    #[test]
    fn small_values_are_exact() {
        // As UniformSnapshot answers for 1 to 5.
        let five = of(1..=5);
        assert_eq!(five.percentile(0.5), 3);
        assert_eq!(five.percentile(0.95), 5);
        assert_eq!(of([]).percentile(0.5), 0);
        assert_eq!(of([0, 0, 0, 7]).percentile(0.5), 0);
        assert_eq!(of([0, 0, 0, 7]).percentile(0.99), 7);
        assert_eq!(of([1, 2]).percentile(0.5), 2, "1.5 is rounded up");
        assert_eq!(of([0, 4]).summary().min(), 0);
        assert_eq!(of([0, 4]).summary().count(), 2);
    }

    #[test]
    fn large_values_are_near() {
        for power in 0..64u32 {
            for value in [1u64 << power, (1u64 << power) | (1 << (power / 2))] {
                let got = of([value, value]).percentile(0.5);
                assert_eq!(got, value, "limited by the smallest and largest");
                let near = value_of(step_of(value));
                assert!(near.abs_diff(value) <= value / 32, "{near} for {value}");
            }
        }
        let many = of(0..10_000);
        assert!(many.percentile(0.99).abs_diff(9_900) < 160);
        assert!(step_of(u64::MAX) < 2_000);
    }
}
