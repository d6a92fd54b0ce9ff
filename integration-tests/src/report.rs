//! Pure: gathers what both makers showed and renders medians, ratios and whether each target is met.

use crate::stack::Maker;

/// What one pass of a load showed, and how that is told.
pub trait Sample: Copy {
    /// How many times better than Apache's ours must be.
    type Targets: Copy;

    /// The line above the loads.
    fn head() -> String;

    /// The line of a load.
    fn row(name: &str, targets: &Self::Targets, passes: &Passes<Self>) -> String;
}

/// The passes of one load.
#[derive(Debug)]
pub struct Passes<S>(Vec<(Maker, S)>);

impl<S> Passes<S> {
    /// The median of a field for Apache's and for ours.
    pub fn medians(&self, field: impl Fn(&S) -> f64) -> [f64; 2] {
        [Maker::Apache, Maker::Ours].map(|maker| {
            let of = self.0.iter().filter(|(of, _)| *of == maker);
            median(of.map(|(_, sample)| field(sample)).collect()).unwrap_or(f64::NAN)
        })
    }
}

struct Row<S: Sample> {
    name: String,
    targets: S::Targets,
    passes: Passes<S>,
}

struct Figure {
    name: String,
    unit: &'static str,
    target: Option<f64>,
    values: Passes<f64>,
}

/// Everything measured so far.
pub struct Report<S: Sample> {
    rows: Vec<Row<S>>,
    figures: Vec<Figure>,
}

impl<S: Sample> Default for Report<S> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            figures: Vec::new(),
        }
    }
}

impl<S: Sample> Report<S> {
    /// Adds a pass of a load.
    pub fn add(&mut self, name: &str, targets: S::Targets, maker: Maker, sample: S) {
        match self.rows.iter_mut().find(|row| row.name == name) {
            Some(row) => row.passes.0.push((maker, sample)),
            None => self.rows.push(Row {
                name: name.to_owned(),
                targets,
                passes: Passes(vec![(maker, sample)]),
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
            Some(figure) => figure.values.0.push((maker, value)),
            None => self.figures.push(Figure {
                name: name.to_owned(),
                unit,
                target,
                values: Passes(vec![(maker, value)]),
            }),
        }
    }

    /// Both tables: A is Apache's, T is Tandem's.
    pub fn render(&self) -> String {
        let mut lines = vec![S::head()];
        for row in &self.rows {
            lines.push(S::row(&row.name, &row.targets, &row.passes));
        }
        lines.push(String::new());
        lines.extend(self.figures.iter().map(Figure::render));
        lines
            .iter()
            .fold(String::new(), |text, line| text + line.trim_end() + "\n")
    }
}

impl Figure {
    fn render(&self) -> String {
        let [apache, ours] = self.values.medians(|value| *value);
        format!(
            "{:<58}{:>10}{:>10} {:<9}{:>9}{:>10}",
            self.name,
            number(apache),
            number(ours),
            self.unit,
            times(apache / ours, self.target),
            wanted(self.target),
        )
    }
}

/// A target as it is shown.
pub fn wanted(target: Option<f64>) -> String {
    target.map_or(String::new(), |target| format!("{target}x"))
}

/// A ratio, with a mark if it misses its target.
pub fn times(ratio: f64, target: Option<f64>) -> String {
    match target {
        Some(target) if ratio < target => format!("!{}x", number(ratio)),
        _ => format!("{}x", number(ratio)),
    }
}

/// Three significant digits, or all before the point.
pub fn number(value: f64) -> String {
    match value.abs() {
        size if !size.is_finite() => "-".to_owned(),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// The middle one, or what is between the two in the middle.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    values.get(middle - 1).map(|lower| (lower + upper) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Sample for f64 {
        type Targets = f64;

        fn head() -> String {
            "speed   ".to_owned()
        }

        fn row(name: &str, target: &f64, passes: &Passes<f64>) -> String {
            let [apache, ours] = passes.medians(|sample| *sample);
            format!("{name} {}", times(ours / apache, Some(*target)))
        }
    }

    #[test]
    fn a_missed_target_is_marked() {
        let mut report = Report::default();
        for (apache, ours) in [(100.0, 300.0), (1.0, 290.0), (120.0, 900.0)] {
            report.add("fetch", 3.0, Maker::Apache, apache);
            report.add("fetch", 3.0, Maker::Ours, ours);
            report.add("produce", 5.0, Maker::Apache, apache);
            report.add("produce", 5.0, Maker::Ours, ours);
        }
        report.figure("start", "s", Some(5.0), Maker::Apache, 10.0);
        report.figure("start", "s", Some(5.0), Maker::Ours, 1.0);
        report.figure("memory", "MiB", None, Maker::Ours, 0.25);
        let text = report.render();
        let words: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(
            words,
            [
                &["speed"][..],
                &["fetch", "3.00x"],
                &["produce", "!3.00x"],
                &[],
                &["start", "10.0", "1.00", "s", "10.0x", "5x"],
                &["memory", "-", "0.250", "MiB", "-x"],
            ]
        );
    }

    #[test]
    fn the_median_of_an_even_number_is_between() {
        assert_eq!(median(vec![4.0, 1.0, 2.0, 9.0]), Some(3.0));
        assert_eq!(median(Vec::new()), None);
    }
}
