//! Shell: from jars to formatted sources.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::Error;
use crate::{catalogue, emit, jar};

/// All files of `kafka-wire/src/messages`: name and source.
///
/// # Errors
/// When the jars lack or hold something unexpected, or rustfmt cannot be run.
pub fn files(jars: &Path) -> Result<Vec<(String, String)>, Error> {
    let modules = catalogue::modules(&jar::read_definitions(jars)?)?;
    let mut files = vec![
        ("mod.rs".to_owned(), emit::module_list(&modules)),
        ("all.rs".to_owned(), emit::all_messages(&modules)),
    ];
    for module in &modules {
        files.push((format!("{}.rs", module.name), emit::module(module)));
    }
    for (_, source) in &mut files {
        *source = rustfmt(source)?;
    }
    Ok(files)
}

/// Formats a source with the toolchain's rustfmt, in the workspace's style.
fn rustfmt(source: &str) -> Result<String, Error> {
    let failed = |source: std::io::Error| Error::Rustfmt(source.to_string());
    let mut child = Command::new("rustfmt")
        .args([
            "--edition",
            "2024",
            "--config",
            "max_width=100",
            "--emit",
            "stdout",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(source.as_bytes()).map_err(failed)?;
    }
    let output = child.wait_with_output().map_err(failed)?;
    if !output.status.success() {
        return Err(Error::Rustfmt(
            String::from_utf8_lossy(&output.stderr).into_owned(),
        ));
    }
    String::from_utf8(output.stdout).map_err(|error| Error::Rustfmt(error.to_string()))
}
