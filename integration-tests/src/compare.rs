//! Pure: the differences between two transcripts, step by step and line by line.

use std::fmt::Write as _;

use anyhow::{Result, ensure};

use crate::transcript::{Step, Transcript};

/// Describes every step that differs; empty when none does.
#[must_use]
pub fn differences(reference: &Transcript, ours: &Transcript) -> String {
    let mut report = String::new();
    let mut equal = 0;
    for (number, expected) in reference.steps.iter().enumerate() {
        match ours.steps.get(number) {
            Some(found) if found == expected => equal += 1,
            Some(found) => describe(&mut report, expected, found),
            None => {
                let _ = writeln!(report, "$ {}\n    (missing)", expected.title);
            }
        }
    }
    for extra in ours.steps.iter().skip(reference.steps.len()) {
        let _ = writeln!(report, "$ {}\n    (not in the reference)", extra.title);
    }
    if !report.is_empty() {
        let _ = writeln!(
            report,
            "{equal} of {} steps are the same",
            reference.steps.len()
        );
    }
    report
}

/// Fails with the differences, if there are any.
///
/// # Errors
/// When ours is not the reference.
pub fn ensure_same(reference: &Transcript, ours: &Transcript) -> Result<()> {
    let differences = differences(reference, ours);
    ensure!(
        differences.is_empty(),
        "not as Apache's server:\n{differences}"
    );
    Ok(())
}

fn describe(report: &mut String, expected: &Step, found: &Step) {
    if expected.title != found.title {
        let _ = writeln!(
            report,
            "$ {}\n    here it is: $ {}",
            expected.title, found.title
        );
        return;
    }
    let _ = writeln!(report, "$ {}", expected.title);
    for (mark, line) in line_diff(&expected.lines, &found.lines) {
        if mark != ' ' {
            let _ = writeln!(report, "  {mark} {line}");
        }
    }
}

/// Lines marked `-` (only in the reference), `+` (only in ours) or ` `, by longest common subsequence.
fn line_diff<'a>(left: &'a [String], right: &'a [String]) -> Vec<(char, &'a str)> {
    let mut common = vec![vec![0_u32; right.len() + 1]; left.len() + 1];
    for i in (0..left.len()).rev() {
        for j in (0..right.len()).rev() {
            common[i][j] = if left[i] == right[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut lines = Vec::new();
    while i < left.len() || j < right.len() {
        if i < left.len() && j < right.len() && left[i] == right[j] {
            lines.push((' ', left[i].as_str()));
            (i, j) = (i + 1, j + 1);
        } else if j == right.len() || (i < left.len() && common[i + 1][j] >= common[i][j + 1]) {
            lines.push(('-', left[i].as_str()));
            i += 1;
        } else {
            lines.push(('+', right[j].as_str()));
            j += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transcript(lines: &[&str]) -> Transcript {
        let lines = lines.iter().map(|&line| line.to_owned()).collect();
        Transcript {
            steps: vec![Step {
                title: "step".to_owned(),
                lines,
            }],
        }
    }

    #[test]
    fn only_the_lines_that_differ_are_told() {
        let reference = transcript(&["a", "b", "c"]);
        assert_eq!(differences(&reference, &transcript(&["a", "b", "c"])), "");
        assert_eq!(
            differences(&reference, &transcript(&["a", "x", "c", "d"])),
            "$ step\n  - b\n  + x\n  + d\n0 of 1 steps are the same\n"
        );
    }
}
