//! Shell: the command lines of the offline tools and their exit codes.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::offline::{dump_log, dump_snapshot, verify};
use crate::storage::error::StorageError;

/// The names of the tools.
pub const COMMANDS: &[&str] = &["dump-log", "dump-snapshot", "verify"];

/// Why a tool stopped.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// What was read is damaged, or cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// What was read cannot be printed.
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
}

/// Runs one of the [`COMMANDS`]; the exit code: 0 if all is well, 1 if something is damaged, 2
/// for wrong arguments (`None`), 3 if a file or directory cannot be read.
pub fn run(command: &str, arguments: &[String]) -> Option<u8> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut out = BufWriter::new(io::stdout().lock());
    let result = match (command, words.as_slice()) {
        ("dump-log", [file]) => dump_log::dump(Path::new(file), &mut out).map(|()| true),
        ("dump-snapshot", [file]) => dump_snapshot::dump(Path::new(file), &mut out).map(|()| true),
        ("dump-snapshot", ["--json", file] | [file, "--json"]) => {
            dump_snapshot::dump_json(Path::new(file), &mut out).map(|()| true)
        }
        ("verify", [data]) => verify::verify(Path::new(data), Path::new(data), &mut out),
        ("verify", [data, logs]) => verify::verify(Path::new(data), Path::new(logs), &mut out),
        _ => return None,
    };
    let result = result.and_then(|good| Ok(out.flush().map(|()| good)?));
    Some(match result {
        Ok(true) => 0,
        Ok(false) => 1,
        // Whoever reads has seen enough.
        Err(OfflineError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(error) => {
            // What was printed before the damage comes first.
            let _ = out.flush();
            eprintln!("zk-server {command}: {error}");
            match error {
                OfflineError::Storage(
                    StorageError::Corrupt { .. } | StorageError::Record { .. },
                ) => 1,
                _ => 3,
            }
        }
    })
}
