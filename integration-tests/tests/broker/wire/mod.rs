//! Shell: random scripts of Produce, Fetch, ListOffsets and their like, with good, odd and hostile batches in every
//! version: our broker answers, keeps and hands out what Apache's does.

mod batches;
mod bombs;
mod describe;
mod player;
mod script;

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use integration_tests::at_once;
use integration_tests::compare::ensure_same;
use integration_tests::environment;
use integration_tests::transcript::Transcript;

/// Apache's broker hangs up when it meets a record that it cannot convert behind one that it can: nothing to compare
/// with. And how many converted records fit in the size of the batches before depends on the codec library: where one
/// answer goes on behind the end of the other, it is cut. A compressed batch with a flipped bit may be bad in two ways, as a
/// stream (-1) and in its records (87); which is met first depends on how far the codec library reads ahead.
fn comparable(mut reference: Transcript, mut ours: Transcript) -> (Transcript, Transcript) {
    for (theirs, ours) in reference.steps.iter_mut().zip(&mut ours.steps) {
        if theirs.title.contains("bit flipped") && !theirs.title.ends_with(" in none") {
            for line in theirs.lines.iter_mut().chain(&mut ours.lines) {
                *line = line.replace("error_code: 87,", "error_code: -1,");
            }
        }
        let is_converted =
            (0..4).any(|version| theirs.title.contains(&format!(" Fetch v{version} ")));
        if !is_converted {
            continue;
        }
        if theirs.lines == ["closed"] {
            ours.lines.clone_from(&theirs.lines);
            continue;
        }
        let is_record = |line: &String| line.starts_with("    ");
        let (mut left, mut right) = (0, 0);
        while left < theirs.lines.len() && right < ours.lines.len() {
            match (
                is_record(&theirs.lines[left]),
                is_record(&ours.lines[right]),
            ) {
                (true, false) => drop(theirs.lines.remove(left)),
                (false, true) => drop(ours.lines.remove(right)),
                _ => (left, right) = (left + 1, right + 1),
            }
        }
    }
    (reference, ours)
}

/// TANDEM_SEED chooses the first script, TANDEM_ROUNDS how many are played.
#[test]
fn random_batches_are_answered_kept_and_read_as_by_apache() -> Result<()> {
    let now_ms = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let seed = environment::number::<u64>("TANDEM_SEED", 1)?;
    let rounds = environment::number::<u64>("TANDEM_ROUNDS", 1)?;
    let steps = environment::number("TANDEM_STEPS", 400)?;
    for seed in seed..seed + rounds {
        let script = script::script(seed, steps, now_ms);
        let (reference, ours) = at_once::both(|maker| player::play(maker, &script))?;
        let (reference, ours) = comparable(reference, ours);
        ensure_same(&reference, &ours).map_err(|error| error.context(format!("seed {seed}")))?;
    }
    Ok(())
}
