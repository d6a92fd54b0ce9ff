//! Pure: count, sum, smallest and largest of a series (AvgMinMaxCounter.java).

/// Count, sum, smallest and largest of what was observed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    count: u64,
    sum: u64,
    min: u64,
    max: u64,
}

impl Summary {
    /// Of nothing.
    pub const fn none() -> Self {
        Self {
            count: 0,
            sum: 0,
            min: 0,
            max: 0,
        }
    }

    /// Adds one value.
    pub fn observe(&mut self, value: u64) {
        self.min = if self.count == 0 {
            value
        } else {
            self.min.min(value)
        };
        self.max = self.max.max(value);
        self.count += 1;
        self.sum = self.sum.wrapping_add(value);
    }

    /// What observing a value so many times comes to.
    pub fn repeated(value: u64, count: u64) -> Self {
        Self {
            count,
            sum: value.wrapping_mul(count),
            min: value,
            max: value,
        }
    }

    /// What observing 0 so many times comes to.
    pub fn zeros(count: u64) -> Self {
        Self::repeated(0, count)
    }

    /// Both series in one.
    pub fn merged(self, other: Self) -> Self {
        if self.count == 0 {
            return other;
        }
        if other.count == 0 {
            return self;
        }
        Self {
            count: self.count + other.count,
            sum: self.sum.wrapping_add(other.sum),
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }

    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// All values together.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The smallest, 0 before the first.
    pub fn min(&self) -> u64 {
        self.min
    }

    /// The largest, 0 before the first.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The mean to four decimals, as AvgMinMaxCounter rounds it.
    pub fn mean(&self) -> f64 {
        if self.count == 0 {
            return 0.0;
        }
        (self.sum as f64 / self.count as f64 * 10_000.0).round() / 10_000.0
    }

    /// The mean without its fraction, as connections tell it.
    pub fn whole_mean(&self) -> u64 {
        self.sum.checked_div(self.count).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[u64]) -> Summary {
        let mut summary = Summary::default();
        values.iter().for_each(|value| summary.observe(*value));
        summary
    }

    #[test]
    fn sums_up() {
        let summary = of(&[3, 1, 2, 5, 9, 1]);
        assert_eq!((summary.count(), summary.sum()), (6, 21));
        assert_eq!((summary.min(), summary.max()), (1, 9));
        assert_eq!((summary.mean(), summary.whole_mean()), (3.5, 3));
        assert_eq!(of(&[1, 0, 0]).mean(), 0.3333);
        assert_eq!(Summary::default().mean(), 0.0);
    }

    #[test]
    fn merging_is_observing_both() {
        let (a, b) = (vec![4, 7], vec![2, 2, 30]);
        let both: Vec<u64> = a.iter().chain(&b).copied().collect();
        assert_eq!(of(&a).merged(of(&b)), of(&both));
        assert_eq!(Summary::default().merged(of(&a)), of(&a));
        assert_eq!(of(&a).merged(Summary::zeros(0)), of(&a));
        assert_eq!(Summary::zeros(3), of(&[0, 0, 0]));
    }
}
