//! Shell: what a script saw: for each step the command, its exit code and its normalised output.

use std::fmt;

use crate::normalise::Normaliser;
use crate::process::Finished;

/// One command and what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The command as a user would write it, or what was looked at.
    pub title: String,
    /// `exit n`, then the lines of standard output and of standard error (marked `!`).
    pub lines: Vec<String>,
}

/// All steps of a script, in order.
#[derive(Debug, Clone, Default)]
pub struct Transcript {
    /// The steps.
    pub steps: Vec<Step>,
}

impl Transcript {
    /// Adds a step, and says when on standard error with `TANDEM_PROGRESS`: to see where the time goes.
    fn push(&mut self, title: &str, lines: Vec<String>) {
        if std::env::var_os("TANDEM_PROGRESS").is_some() {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            eprintln!(
                "{:.1} {title}",
                now.unwrap_or_default().as_secs_f64() % 100_000.0
            );
        }
        self.steps.push(Step {
            title: title.to_owned(),
            lines,
        });
    }

    /// Adds a command's outcome.
    pub fn command(&mut self, title: &str, finished: &Finished, normaliser: &Normaliser) {
        let mut lines = vec![format!("exit {}", finished.code)];
        lines.extend(normaliser.lines(&finished.stdout));
        lines.extend(
            normaliser
                .lines(&finished.stderr)
                .into_iter()
                .map(|line| format!("! {line}")),
        );
        self.push(title, lines);
    }

    /// Adds the same with the lines in sorted order, for what the tools print in no order.
    pub fn sorted_command(&mut self, title: &str, finished: &Finished, normaliser: &Normaliser) {
        self.command(title, finished, normaliser);
        if let Some(step) = self.steps.last_mut() {
            step.lines.sort();
        }
    }

    /// Adds lines that come from somewhere else than a command.
    pub fn lines(&mut self, title: &str, text: &str, normaliser: &Normaliser) {
        self.push(title, normaliser.lines(text));
    }

    /// The same with option tables cut to the names of the options: each tool describes them in its own words.
    #[must_use]
    pub fn without_option_texts(mut self) -> Self {
        for step in &mut self.steps {
            let Some(table) = step
                .lines
                .iter()
                .position(|line| line.starts_with("! Option  "))
            else {
                continue;
            };
            let names: Vec<String> = step
                .lines
                .split_off(table)
                .iter()
                .filter(|line| line.starts_with("! --"))
                .filter_map(|line| line.split_whitespace().nth(1).map(str::to_owned))
                .collect();
            step.lines.push("! Options".to_owned());
            step.lines.extend(names);
        }
        self
    }

    /// The steps whose titles begin with `prefix`.
    pub fn part(&self, prefix: &str) -> Self {
        Self {
            steps: self
                .steps
                .iter()
                .filter(|step| step.title.starts_with(prefix))
                .cloned()
                .collect(),
        }
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "$ {}", step.title)?;
            for line in &step.lines {
                writeln!(f, "    {line}")?;
            }
        }
        Ok(())
    }
}
