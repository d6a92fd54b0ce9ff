//! Pure: what one pass of a load on a ZooKeeper server showed, and its line in the report.

use integration_tests::report::{self, Passes, number, times};

/// Everything measured so far.
pub type Report = report::Report<Sample>;

/// One pass of a load.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Operations per second.
    pub per_second: f64,
    /// p50, p99 and p99.9 in microseconds.
    pub quantiles_us: [f64; 3],
    /// CPU time of the server for one operation in microseconds, that is seconds for a million.
    pub cpu_us: f64,
}

/// How many times better than Apache's ours must be.
#[derive(Debug, Clone, Copy, Default)]
pub struct Targets {
    /// In CPU time.
    pub cpu: Option<f64>,
    /// In operations per second.
    pub throughput: Option<f64>,
    /// In the 99th percentile.
    pub p99: Option<f64>,
}

impl report::Sample for Sample {
    type Targets = Targets;

    fn head() -> String {
        format!(
            "{:<26}{:>18}{:>8} {:>24}{:>24}{:>7} {:>18}{:>7}",
            "",
            "operations/s A T",
            "",
            "A p50/p99/p99.9 us",
            "T p50/p99/p99.9 us",
            "p99",
            "CPU s/M ops A T",
            ""
        )
    }

    fn row(name: &str, targets: &Targets, passes: &Passes<Self>) -> String {
        let [slow, fast] = passes.medians(|sample| sample.per_second);
        let [much, little] = passes.medians(|sample| sample.cpu_us);
        let quantiles = [0, 1, 2].map(|i| passes.medians(|sample| sample.quantiles_us[i]));
        let shown = |maker: usize| quantiles.map(|both| number(both[maker])).join("/");
        let [p99_apache, p99_ours] = quantiles[1];
        format!(
            "{name:<26}{:>9}{:>9}{:>8} {:>24}{:>24}{:>7} {:>9}{:>9}{:>7}",
            number(slow),
            number(fast),
            times(fast / slow, targets.throughput),
            shown(0),
            shown(1),
            times(p99_apache / p99_ours, targets.p99),
            number(much),
            number(little),
            times(much / little, targets.cpu),
        )
    }
}
