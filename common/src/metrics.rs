//! Shell: counters, gauges and summaries by name, cheap to update from any thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use parking_lot::Mutex;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Its value.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Back to zero (ZooKeeper's `srst`).
    pub fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Sets it.
    pub fn set(&self, n: i64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// Adds to it; negative numbers subtract.
    pub fn add(&self, n: i64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Its value.
    pub fn value(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Minimum, maximum, sum and count of observations.
#[derive(Debug, Default)]
pub struct Summary(Mutex<SummaryValue>);

/// What a [`Summary`] has seen; all zero before the first observation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SummaryValue {
    /// The smallest.
    pub min: u64,
    /// The largest.
    pub max: u64,
    /// Their sum.
    pub sum: u64,
    /// How many.
    pub count: u64,
}

impl Summary {
    /// Records one observation.
    pub fn observe(&self, n: u64) {
        let mut value = self.0.lock();
        value.min = if value.count == 0 {
            n
        } else {
            value.min.min(n)
        };
        value.max = value.max.max(n);
        value.sum += n;
        value.count += 1;
    }

    /// What was seen so far.
    pub fn value(&self) -> SummaryValue {
        *self.0.lock()
    }

    /// Forgets everything.
    pub fn reset(&self) {
        *self.0.lock() = SummaryValue::default();
    }
}

/// One registered metric.
#[derive(Clone, Debug)]
pub enum Metric {
    /// See [`Counter`].
    Counter(Arc<Counter>),
    /// See [`Gauge`].
    Gauge(Arc<Gauge>),
    /// See [`Summary`].
    Summary(Arc<Summary>),
}

/// The metrics of one server by name; not global, so that tests can run several servers.
#[derive(Debug, Default)]
pub struct Registry(Mutex<BTreeMap<&'static str, Metric>>);

impl Registry {
    /// A counter of this name, made at the first call.
    pub fn counter(&self, name: &'static str) -> Arc<Counter> {
        let fresh = || Metric::Counter(Arc::default());
        match self.0.lock().entry(name).or_insert_with(fresh) {
            Metric::Counter(counter) => Arc::clone(counter),
            _ => Arc::default(),
        }
    }

    /// A gauge of this name, made at the first call.
    pub fn gauge(&self, name: &'static str) -> Arc<Gauge> {
        let fresh = || Metric::Gauge(Arc::default());
        match self.0.lock().entry(name).or_insert_with(fresh) {
            Metric::Gauge(gauge) => Arc::clone(gauge),
            _ => Arc::default(),
        }
    }

    /// A summary of this name, made at the first call.
    pub fn summary(&self, name: &'static str) -> Arc<Summary> {
        let fresh = || Metric::Summary(Arc::default());
        match self.0.lock().entry(name).or_insert_with(fresh) {
            Metric::Summary(summary) => Arc::clone(summary),
            _ => Arc::default(),
        }
    }

    /// All metrics in the order of their names.
    pub fn snapshot(&self) -> Vec<(&'static str, Metric)> {
        self.0
            .lock()
            .iter()
            .map(|(name, metric)| (*name, metric.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_is_the_same_metric() {
        let registry = Registry::default();
        registry.counter("a").add(2);
        registry.counter("a").add(3);
        registry.summary("s").observe(7);
        registry.summary("s").observe(3);
        assert_eq!(registry.counter("a").value(), 5);
        let seen = registry.summary("s").value();
        assert_eq!(
            seen,
            SummaryValue {
                min: 3,
                max: 7,
                sum: 10,
                count: 2
            }
        );
        assert_eq!(registry.snapshot().len(), 2);
    }
}
