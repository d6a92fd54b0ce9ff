//! Pure: gathers what both makers showed and renders medians, ratios and whether each target is met.

use integration_tests::stack::Maker;

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

    /// Both tables.
    pub fn render(&self) -> String {
        let mut text = format!(
            "{:<34}{:>18}{:>9}{:>10}{:>18}{:>9}{:>10}\n",
            "", "MB/s A T", "", "target", "CPU s/GB A T", "", "target"
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

fn both<T: Copy>(samples: &[(Maker, T)], field: impl Fn(T) -> f64) -> [f64; 2] {
    [Maker::Apache, Maker::Ours].map(|maker| {
        let of = samples.iter().filter(|(of, _)| *of == maker);
        median(of.map(|(_, sample)| field(*sample)).collect())
    })
}

impl Row {
    fn render(&self) -> String {
        let [slow, fast] = both(&self.samples, |sample| sample.mb_per_second);
        let [much, little] = both(&self.samples, |sample| sample.cpu_seconds_per_gb);
        let line = format!(
            "{:<34}{:>9}{:>9}{:>9}{:>10}{:>9}{:>9}{:>9}{:>10}",
            self.name,
            number(slow),
            number(fast),
            times(fast / slow, Some(self.targets.throughput)),
            wanted(Some(self.targets.throughput)),
            number(much),
            number(little),
            times(much / little, self.targets.cpu),
            wanted(self.targets.cpu),
        );
        format!("{}\n", line.trim_end())
    }
}

impl Figure {
    fn render(&self) -> String {
        let [apache, ours] = both(&self.values, |value| value);
        let line = format!(
            "{:<50}{:>10}{:>10} {:<5}{:>9}{:>10}",
            self.name,
            number(apache),
            number(ours),
            self.unit,
            times(apache / ours, self.target),
            wanted(self.target),
        );
        format!("{}\n", line.trim_end())
    }
}

fn wanted(target: Option<f64>) -> String {
    target.map_or(String::new(), |target| format!("{target}x"))
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
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
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
        let sample = |mb_per_second, cpu_seconds_per_gb| Sample {
            mb_per_second,
            cpu_seconds_per_gb,
        };
        let targets = Targets {
            throughput: 1.0,
            cpu: Some(5.0),
        };
        report.add("produce", targets, Maker::Apache, sample(100.0, 20.0));
        report.add("produce", targets, Maker::Ours, sample(300.0, 5.0));
        report.figure("start", "s", Some(5.0), Maker::Apache, 10.0);
        report.figure("start", "s", Some(5.0), Maker::Ours, 1.0);
        let text = report.render();
        assert!(text.contains("3.00x"), "{text}");
        assert!(text.contains("!4.00x"), "{text}");
        assert!(text.contains(" 10.0x"), "{text}");
    }
}
