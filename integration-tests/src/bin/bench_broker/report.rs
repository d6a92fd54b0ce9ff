//! Pure: what one pass of a load on a broker showed, and its line in the report.

use integration_tests::report::{self, Passes, number, times, wanted};

/// Everything measured so far.
pub type Report = report::Report<Sample>;

/// One pass of a load.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// 10^6 bytes of record values per second.
    pub mb_per_second: f64,
    /// User and system time of the broker for 10^9 bytes of record values.
    pub cpu_seconds_per_gb: f64,
}

/// How many times better than Apache's ours must be.
#[derive(Debug, Clone, Copy)]
pub struct Targets {
    /// In throughput.
    pub throughput: f64,
    /// In CPU time.
    pub cpu: Option<f64>,
}

impl report::Sample for Sample {
    type Targets = Targets;

    fn head() -> String {
        format!(
            "{:<34}{:>18}{:>9}{:>10}{:>18}{:>9}{:>10}",
            "", "MB/s A T", "", "target", "CPU s/GB A T", "", "target"
        )
    }

    fn row(name: &str, targets: &Targets, passes: &Passes<Self>) -> String {
        let [slow, fast] = passes.medians(|sample| sample.mb_per_second);
        let [much, little] = passes.medians(|sample| sample.cpu_seconds_per_gb);
        format!(
            "{name:<34}{:>9}{:>9}{:>9}{:>10}{:>9}{:>9}{:>9}{:>10}",
            number(slow),
            number(fast),
            times(fast / slow, Some(targets.throughput)),
            wanted(Some(targets.throughput)),
            number(much),
            number(little),
            times(much / little, targets.cpu),
            wanted(targets.cpu),
        )
    }
}
