//! Pure: gathers the samples of both makers and renders medians, ratios and whether each target is met.

use std::fmt::Write;

use integration_tests::stack::Maker;

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

struct Row {
    name: String,
    targets: Targets,
    samples: Vec<(Maker, Sample)>,
}

struct Figure {
    name: String,
    unit: &'static str,
    target: Option<f64>,
    values: Vec<(Maker, f64)>,
}

/// Everything measured so far.
#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
    figures: Vec<Figure>,
}

impl Report {
    /// Adds a pass of a load.
    pub fn add(&mut self, name: &str, targets: Targets, maker: Maker, sample: Sample) {
        match self.rows.iter_mut().find(|row| row.name == name) {
            Some(row) => row.samples.push((maker, sample)),
            None => self.rows.push(Row {
                name: name.to_owned(),
                targets,
                samples: vec![(maker, sample)],
            }),
        }
    }

    /// Adds a single number of which less is better.
    pub fn figure(
        &mut self,
        name: &str,
        unit: &'static str,
        target: Option<f64>,
        maker: Maker,
        value: f64,
    ) {
        match self.figures.iter_mut().find(|figure| figure.name == name) {
            Some(figure) => figure.values.push((maker, value)),
            None => self.figures.push(Figure {
                name: name.to_owned(),
                unit,
                target,
                values: vec![(maker, value)],
            }),
        }
    }

    /// Both tables: A is Apache's, T is Tandem's.
    pub fn render(&self) -> String {
        let mut text = format!(
            "{:<26}{:>18}{:>8} {:>24}{:>24}{:>7} {:>18}{:>7}\n",
            "",
            "operations/s A T",
            "",
            "A p50/p99/p99.9 us",
            "T p50/p99/p99.9 us",
            "p99",
            "CPU s/M ops A T",
            ""
        );
        for row in &self.rows {
            text += &row.render();
        }
        text.push('\n');
        for figure in &self.figures {
            text += &figure.render();
        }
        text
    }
}

impl Row {
    fn median(&self, maker: Maker, field: impl Fn(&Sample) -> f64) -> f64 {
        let of = self.samples.iter().filter(|(of, _)| *of == maker);
        median(of.map(|(_, sample)| field(sample)).collect())
    }

    fn render(&self) -> String {
        let both = |field: &dyn Fn(&Sample) -> f64| {
            [Maker::Apache, Maker::Ours].map(|maker| self.median(maker, field))
        };
        let [slow, fast] = both(&|sample| sample.per_second);
        let [much, little] = both(&|sample| sample.cpu_us);
        let quantiles = [0, 1, 2].map(|i| both(&|sample| sample.quantiles_us[i]));
        let shown = |maker: usize| {
            let shown = quantiles.map(|both| number(both[maker]));
            shown.join("/")
        };
        let [p99_apache, p99_ours] = quantiles[1];
        let targets = &self.targets;
        let mut line = String::new();
        // Writing to a string cannot fail.
        let _ = write!(
            line,
            "{:<26}{:>9}{:>9}{:>8} {:>24}{:>24}{:>7} {:>9}{:>9}{:>7}",
            self.name,
            number(slow),
            number(fast),
            times(fast / slow, targets.throughput),
            shown(0),
            shown(1),
            times(p99_apache / p99_ours, targets.p99),
            number(much),
            number(little),
            times(much / little, targets.cpu),
        );
        format!("{}\n", line.trim_end())
    }
}

impl Figure {
    fn render(&self) -> String {
        let [apache, ours] = [Maker::Apache, Maker::Ours].map(|maker| {
            let of = self.values.iter().filter(|(of, _)| *of == maker);
            median(of.map(|(_, value)| *value).collect())
        });
        let target = self
            .target
            .map_or(String::new(), |target| format!("target {target}x"));
        format!(
            "{:<58}{:>10}{:>10} {:<9}{:>8}  {target}\n",
            self.name,
            number(apache),
            number(ours),
            self.unit,
            times(apache / ours, self.target),
        )
    }
}

/// A ratio, with a mark if it misses its target.
fn times(ratio: f64, target: Option<f64>) -> String {
    match target {
        Some(target) if ratio < target => format!("!{}x", number(ratio)),
        _ => format!("{}x", number(ratio)),
    }
}

/// Three significant digits or all before the point.
fn number(value: f64) -> String {
    match value.abs() {
        size if !size.is_finite() => "-".to_owned(),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[odd / 2],
        even => (values[even / 2 - 1] + values[even / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_target_is_marked() {
        let mut report = Report::default();
        let sample = |per_second, cpu_us| Sample {
            per_second,
            quantiles_us: [1.0, 8.0, 9.0],
            cpu_us,
        };
        let targets = Targets {
            cpu: Some(8.0),
            throughput: Some(2.0),
            p99: None,
        };
        report.add("get", targets, Maker::Apache, sample(1000.0, 20.0));
        report.add("get", targets, Maker::Ours, sample(3000.0, 4.0));
        report.figure("restart", "s", Some(5.0), Maker::Apache, 10.0);
        report.figure("restart", "s", Some(5.0), Maker::Ours, 1.0);
        let text = report.render();
        assert!(
            text.contains(" 3.00x ") && text.contains(" !5.00x"),
            "{text}"
        );
        assert!(text.contains("10.0x  target 5x"), "{text}");
    }
}
