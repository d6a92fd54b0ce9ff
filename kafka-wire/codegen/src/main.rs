//! Shell: `kafka-wire-codegen JARDIR OUTDIR` writes the generated modules, formatted.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use kafka_wire_codegen::error::Error;
use kafka_wire_codegen::{catalogue, emit, jar};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [jars, out] = arguments.as_slice() else {
        eprintln!("usage: kafka-wire-codegen JARDIR OUTDIR");
        return ExitCode::from(2);
    };
    match generate(Path::new(jars), Path::new(out)) {
        Ok(files) => {
            println!("{files} files in {out}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn generate(jars: &Path, out: &Path) -> Result<usize, Error> {
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
    let file_error = |path: &Path| {
        let path = path.display().to_string();
        move |source| Error::File { path, source }
    };
    std::fs::create_dir_all(out).map_err(file_error(out))?;
    for (name, source) in &files {
        let path = out.join(name);
        std::fs::write(&path, source).map_err(file_error(&path))?;
    }
    Ok(files.len())
}

/// Formats a source with the toolchain's rustfmt, in the workspace's width.
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
