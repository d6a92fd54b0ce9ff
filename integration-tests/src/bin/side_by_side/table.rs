//! Pure: gathers the figures of both makers and renders medians, ratios and whether each target is met.

use std::fmt::Write;

use integration_tests::report::{median, number};
use integration_tests::stack::Maker;

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Better {
    Lower,
    Higher,
}

/// What is known of a figure beforehand: its name, unit, direction and how many times better than Apache's ours must be.
struct Figure {
    name: &'static str,
    unit: &'static str,
    better: Better,
    target: Option<f64>,
}

const fn figure(
    name: &'static str,
    unit: &'static str,
    better: Better,
    target: Option<f64>,
) -> Figure {
    Figure {
        name,
        unit,
        better,
        target,
    }
}

/// Every figure, in the order of the table.
const FIGURES: &[Figure] = &[
    figure(
        "start to first acked produce",
        "ms",
        Better::Lower,
        Some(50.0),
    ),
    figure("RSS of the ZooKeeper server", "MiB", Better::Lower, None),
    figure("RSS of the broker", "MiB", Better::Lower, None),
    figure(
        "RSS of both, after the tutorial",
        "MiB",
        Better::Lower,
        Some(10.0),
    ),
    figure("RSS of both, after the load", "MiB", Better::Lower, None),
    figure("produce, acks=1", "MiB/s", Better::Higher, Some(1.0)),
    figure("produce, acks=all", "MiB/s", Better::Higher, Some(1.0)),
    figure("consume", "MiB/s", Better::Higher, Some(1.0)),
    figure(
        "broker CPU, produce, acks=1",
        "s/GB",
        Better::Lower,
        Some(2.0),
    ),
    figure(
        "broker CPU, produce, acks=all",
        "s/GB",
        Better::Lower,
        Some(2.0),
    ),
    figure("broker CPU, consume", "s/GB", Better::Lower, Some(2.0)),
    figure("znode getData", "/s", Better::Higher, Some(1.0)),
    figure("znode setData", "/s", Better::Higher, Some(1.0)),
    figure("znode create", "/s", Better::Higher, Some(1.0)),
    figure("server CPU, znode getData", "s/100k", Better::Lower, None),
    figure("server CPU, znode setData", "s/100k", Better::Lower, None),
    figure("server CPU, znode create", "s/100k", Better::Lower, None),
];

/// The samples so far.
#[derive(Debug, Default)]
pub struct Table {
    samples: Vec<(String, Maker, f64)>,
}

impl Table {
    /// Adds one sample of a figure, in the figure's unit.
    pub fn add(&mut self, name: &str, maker: Maker, value: f64) {
        self.samples.push((name.to_owned(), maker, value));
    }

    fn of(&self, name: &str, maker: Maker) -> impl Iterator<Item = f64> {
        let matching = self.samples.iter();
        let matching = matching.filter(move |(each, of, _)| each == name && *of == maker);
        matching.map(|(_, _, value)| *value)
    }

    fn median(&self, name: &str, maker: Maker) -> Option<f64> {
        median(self.of(name, maker).collect())
    }

    /// Every sample in the order of the rounds, to see how far they lie apart.
    pub fn render_samples(&self) -> String {
        let joined = |name: &str, maker| {
            let numbers: Vec<String> = self.of(name, maker).map(number).collect();
            numbers.join(" ")
        };
        let line = |figure: &Figure| {
            let apache = joined(figure.name, Maker::Apache);
            let ours = joined(figure.name, Maker::Ours);
            format!("{:<32}Apache {apache}; Tandem {ours}\n", figure.name)
        };
        FIGURES.iter().map(line).collect()
    }

    /// One line for each figure that both makers have.
    pub fn render(&self) -> String {
        let mut text = row(["", "unit", "Apache", "Tandem", "better by", "target", ""]);
        for figure in FIGURES {
            let apache = self.median(figure.name, Maker::Apache);
            let ours = self.median(figure.name, Maker::Ours);
            let (Some(apache), Some(ours)) = (apache, ours) else {
                continue;
            };
            let times = match figure.better {
                Better::Lower => apache / ours,
                Better::Higher => ours / apache,
            };
            let (target, verdict) = match figure.target {
                None => (String::new(), ""),
                Some(target) if times >= target => (format!("{target}x"), "met"),
                Some(target) => (format!("{target}x"), "MISSED"),
            };
            text += &row([
                figure.name,
                figure.unit,
                &number(apache),
                &number(ours),
                &format!("{}x", number(times)),
                &target,
                verdict,
            ]);
        }
        text
    }
}

fn row(cells: [&str; 7]) -> String {
    let [name, unit, apache, ours, times, target, verdict] = cells;
    let mut line = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        line,
        "{name:<32}{unit:<7}{apache:>10}{ours:>10}{times:>11}{target:>8}  {verdict}"
    );
    format!("{}\n", line.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_say_how_much_better_ours_is() {
        let mut table = Table::default();
        for (apache, ours) in [(9000.0, 300.0), (8000.0, 100.0), (1.0, 200.0)] {
            table.add("start to first acked produce", Maker::Apache, apache);
            table.add("start to first acked produce", Maker::Ours, ours);
        }
        table.add("consume", Maker::Apache, 400.0);
        table.add("consume", Maker::Ours, 500.0);
        table.add("znode create", Maker::Ours, 1.0);
        let text = table.render();
        let words = |line: &str| {
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let lines: Vec<Vec<String>> = text.lines().map(words).collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(
            lines[1][5..],
            ["ms", "8000", "200", "40.0x", "50x", "MISSED"]
        );
        assert_eq!(lines[2][1..], ["MiB/s", "400", "500", "1.25x", "1x", "met"]);
    }
}
