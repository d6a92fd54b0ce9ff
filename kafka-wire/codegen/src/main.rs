//! Shell: `kafka-wire-codegen JARDIR OUTDIR` writes the generated modules, formatted.

use std::path::Path;
use std::process::ExitCode;

use kafka_wire_codegen::error::Error;
use kafka_wire_codegen::generate;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [jars, out] = arguments.as_slice() else {
        eprintln!("usage: kafka-wire-codegen JARDIR OUTDIR");
        return ExitCode::from(2);
    };
    match write_files(Path::new(jars), Path::new(out)) {
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

fn write_files(jars: &Path, out: &Path) -> Result<usize, Error> {
    let files = generate::files(jars)?;
    for (name, source) in &files {
        let path = out.join(name);
        std::fs::write(&path, source).map_err(|source| Error::File {
            path: path.display().to_string(),
            source,
        })?;
    }
    Ok(files.len())
}
