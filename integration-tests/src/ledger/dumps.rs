//! Shell: every file of a log directory through the Apache tool that dumps them: what it finds odd is wrong.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};

use crate::stock_tools::{self, class::DUMP_LOG};

/// What the tool says of indexes and logs that do not agree, or cannot be read.
const COMPLAINTS: [&str; 6] = [
    "Mismatches in",
    "Found timestamp mismatch",
    "Found out of order timestamp",
    "are not found in the log",
    "invalid bytes at the end",
    "isvalid: false",
];

/// Dumps the files of each partition of a broker that was stopped cleanly; how many files there were.
///
/// # Errors
/// When the tool fails, or finds an index that does not fit its log, or bytes that are no batch.
pub fn sound(log_directory: &Path) -> Result<usize> {
    let mut files: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for partition in fs::read_dir(log_directory)? {
        let partition = partition?.path();
        if !partition.is_dir() || partition.to_string_lossy().ends_with("-delete") {
            continue;
        }
        let name = partition.file_name().unwrap_or_default().to_string_lossy();
        let decoder = if name.starts_with("__consumer_offsets") {
            "--offsets-decoder"
        } else if name.starts_with("__transaction_state") {
            "--transaction-log-decoder"
        } else {
            "--skip-record-metadata"
        };
        for file in fs::read_dir(&partition)? {
            let file = file?.path();
            let kind = file.extension().unwrap_or_default().to_string_lossy();
            if ["log", "index", "timeindex", "txnindex", "snapshot"].contains(&&*kind) {
                let all = files.entry(decoder).or_default();
                all.push(file.display().to_string());
            }
        }
    }
    let mut count = 0;
    for (decoder, files) in files {
        // The tool wants no more words than a command line has room for.
        for some in files.chunks(100) {
            dump(decoder, &some.join(","))?;
            count += some.len();
        }
    }
    Ok(count)
}

fn dump(decoder: &str, files: &str) -> Result<()> {
    let finished = stock_tools::run(DUMP_LOG, &["--files", files, decoder])?;
    let mut place = "";
    // That offsets are missing, which it tells too, is right where logs are compacted.
    for line in finished.stdout.lines().chain(finished.stderr.lines()) {
        if line.starts_with("Dumping ") {
            place = line;
        }
        let odd = COMPLAINTS.iter().any(|complaint| line.contains(complaint));
        ensure!(!odd, "{place}: {line}");
    }
    ensure!(finished.code == 0, "{place}: {}", finished.stderr);
    Ok(())
}
