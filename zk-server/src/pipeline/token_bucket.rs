//! Pure: how many clients may connect in a while (BlueThrottle.java): a bucket of tokens that
//! fills with time, and a chance to be turned away that grows while the bucket is empty.

/// Settings of the throttle of connections.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BucketOptions {
    /// `connection_throttle_tokens`: what the bucket holds; 0 switches the throttle off.
    pub tokens: i64,
    /// `connection_throttle_fill_time`: how often it is filled, in milliseconds.
    pub fill_ms: i64,
    /// `connection_throttle_fill_count`: tokens put in each time.
    pub fill_count: i64,
    /// `connection_throttle_freeze_time`: how often the chance changes, in milliseconds; -1: never.
    pub freeze_ms: i64,
    /// `connection_throttle_drop_increase`: added to the chance when the bucket is empty.
    pub drop_increase: f64,
    /// `connection_throttle_drop_decrease`: taken off the chance when it is nearly full.
    pub drop_decrease: f64,
    /// `connection_throttle_decrease_ratio`: the part of the bucket that may be missing then.
    pub decrease_ratio: f64,
    /// `connection_throttle_weight_enabled`: tokens for a new session and for one that goes on;
    /// else every client takes one.
    pub weights: Option<Weights>,
}

/// How many tokens clients take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights {
    /// `connection_throttle_global_session_weight`.
    pub new: i64,
    /// `connection_throttle_renew_session_weight`.
    pub renewed: i64,
}

impl Weights {
    /// What the settings come to: none is below that of a session that only one server knows.
    pub fn of(global: i64, local: i64, renew: i64) -> Self {
        let at_least = |weight: i64, default: i64| {
            if weight <= 0 {
                default
            } else {
                weight.max(local)
            }
        };
        Self {
            new: at_least(global, 3),
            renewed: at_least(renew, 2),
        }
    }
}

impl Default for BucketOptions {
    fn default() -> Self {
        Self {
            tokens: 0,
            fill_ms: 1,
            fill_count: 1,
            freeze_ms: -1,
            drop_increase: 0.02,
            drop_decrease: 0.002,
            decrease_ratio: 0.0,
            weights: None,
        }
    }
}

/// The bucket.
#[derive(Debug)]
pub struct Bucket {
    options: BucketOptions,
    most: i64,
    tokens: i64,
    filled_ms: i64,
    frozen_ms: i64,
    drop: f64,
}

impl Bucket {
    /// A full one.
    pub fn new(options: BucketOptions, now_ms: i64) -> Self {
        let weight = options.weights.map_or(1, |weights| weights.new);
        let most = options.tokens.saturating_mul(weight);
        Self {
            options: BucketOptions {
                fill_count: options.fill_count.saturating_mul(weight),
                ..options
            },
            most,
            tokens: most,
            filled_ms: now_ms,
            frozen_ms: now_ms,
            drop: 0.0,
        }
    }

    /// Takes the tokens of one client; false if it is turned away. `chance` is a random number of
    /// at least 0 and below 1.
    pub fn admit(&mut self, renewed: bool, now_ms: i64, chance: f64) -> bool {
        if self.most == 0 {
            return true;
        }
        let need = match self.options.weights {
            None => 1,
            Some(weights) if renewed => weights.renewed,
            Some(weights) => weights.new,
        };
        let since = now_ms - self.filled_ms;
        if since > self.options.fill_ms {
            let filled = since
                .saturating_mul(self.options.fill_count)
                .checked_div(self.options.fill_ms);
            self.tokens = self
                .tokens
                .saturating_add(filled.unwrap_or(0))
                .min(self.most);
            self.filled_ms = now_ms;
        }
        if self.options.freeze_ms != -1 && self.turns_away(now_ms, chance) {
            return false;
        }
        if self.tokens < need {
            return false;
        }
        self.tokens -= need;
        true
    }

    fn turns_away(&mut self, now_ms: i64, chance: f64) -> bool {
        let missing = self.deficit();
        if now_ms - self.frozen_ms > self.options.freeze_ms {
            let few = (self.most as f64 * self.options.decrease_ratio).round() as i64;
            if missing == self.most && self.drop < 1.0 {
                self.drop = (self.drop + self.options.drop_increase).min(1.0);
            } else if missing <= few && self.drop > 0.0 {
                self.drop = (self.drop - self.options.drop_decrease).max(0.0);
            }
            self.frozen_ms = now_ms;
        }
        chance < self.drop
    }

    /// How many tokens are missing.
    pub fn deficit(&self) -> i64 {
        self.most - self.tokens
    }

    /// How likely a client is to be turned away though there are tokens.
    pub fn drop_chance(&self) -> f64 {
        self.drop
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_lets_bursts_pass_and_fills_with_time() {
        let options = BucketOptions {
            tokens: 3,
            fill_ms: 100,
            ..BucketOptions::default()
        };
        let mut bucket = Bucket::new(options, 0);
        let passed = (0..5).filter(|_| bucket.admit(false, 50, 0.5)).count();
        assert_eq!((passed, bucket.deficit()), (3, 3));
        assert!(bucket.admit(false, 101, 0.5));
        assert!(!bucket.admit(false, 102, 0.5));
        assert_eq!((0..5).filter(|_| bucket.admit(false, 9000, 0.5)).count(), 3);
    }

    #[test]
    fn an_empty_bucket_raises_the_chance_to_be_turned_away() {
        let options = BucketOptions {
            tokens: 1,
            fill_ms: 1000,
            freeze_ms: 10,
            drop_increase: 0.5,
            ..BucketOptions::default()
        };
        let mut bucket = Bucket::new(options, 0);
        assert!(bucket.admit(false, 1, 0.9));
        assert!(!bucket.admit(false, 20, 0.9) && !bucket.admit(false, 40, 0.9));
        assert!((bucket.drop_chance() - 1.0).abs() < 1e-9);
        assert!(
            !bucket.admit(false, 5000, 0.9),
            "there is a token again, but luck is bad"
        );
    }

    #[test]
    fn weights_count_a_new_session_more_than_one_that_goes_on() {
        let options = BucketOptions {
            tokens: 2,
            fill_ms: 1000,
            weights: Some(Weights::of(3, 1, 2)),
            ..BucketOptions::default()
        };
        let mut bucket = Bucket::new(options, 0);
        assert!(bucket.admit(false, 0, 0.0) && bucket.admit(true, 0, 0.0));
        assert!(!bucket.admit(true, 0, 0.0));
        assert_eq!(Weights::of(0, 5, 1), Weights { new: 3, renewed: 5 });
    }
}
