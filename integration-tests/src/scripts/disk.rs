//! Shell: the broker's files, listed and read by the Apache tool that dumps them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::Result;

use super::session::Session;
use crate::normalise::Normaliser;
use crate::stock_tools::class::DUMP_LOG;

/// The text files and the names of everything; the broker must have been stopped cleanly.
///
/// # Errors
/// When the directory cannot be read.
pub fn files(session: &mut Session) -> Result<()> {
    let mut names = BTreeSet::new();
    let log_directory = session.log_directory.clone();
    list(&log_directory, "", &mut names)?;
    let names: Vec<String> = names.into_iter().collect();
    session
        .transcript
        .lines("files: names", &names.join("\n"), &session.normaliser);
    let plain = session.normaliser.clone();
    // Random names of groups decide which partitions of the offsets topic are used.
    session.normaliser = plain
        .clone()
        .drop_lines("^__consumer_offsets ")
        .drop_lines("^#[A-Z][a-z]{2} ");
    for name in [
        "recovery-point-offset-checkpoint",
        "replication-offset-checkpoint",
        "log-start-offset-checkpoint",
    ] {
        sorted_file(session, &log_directory, name);
    }
    sorted_file(session, &log_directory, "meta.properties");
    session.normaliser = plain;
    for name in [
        ".kafka_cleanshutdown",
        "t-0/partition.metadata",
        "t-0/leader-epoch-checkpoint",
        "six-5/leader-epoch-checkpoint",
    ] {
        session.file(name);
    }
    Ok(())
}

fn sorted_file(session: &mut Session, directory: &Path, name: &str) {
    let text = fs::read_to_string(directory.join(name))
        .unwrap_or_else(|error| format!("cannot be read: {error}"));
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    session.transcript.lines(
        &format!("file: {name}"),
        &lines.join("\n"),
        &session.normaliser,
    );
}

fn list(directory: &Path, prefix: &str, names: &mut BTreeSet<String>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        // Which partitions of the offsets topic hold anything depends on random names of groups.
        let offsets = name.starts_with("__consumer_offsets-");
        if name == "cleaner-offset-checkpoint" {
            // Only where logs are compacted.
            continue;
        }
        if name.ends_with("-delete") || (offsets && name.ends_with(".snapshot")) {
            // Deleted directories go after a minute.
            continue;
        }
        if entry.file_type()?.is_dir() {
            list(&entry.path(), &format!("{name}/"), names)?;
            names.insert(format!("{name}/"));
        } else if !offsets && name.ends_with("index") {
            // A closed index is cut to its entries.
            names.insert(format!("{name} {} bytes", entry.metadata()?.len()));
        } else {
            names.insert(name);
        }
    }
    Ok(())
}

/// Segments, indexes, snapshots and offsets as kafka-dump-log reads them.
///
/// # Errors
/// When the tool does not end.
pub fn dumps(session: &mut Session) -> Result<()> {
    let exact = session
        .normaliser
        .clone()
        .pattern(r"crc: [0-9]+", "crc: <crc>")
        // A producer that has to ask twice for its id uses up two.
        .pattern(r"producerId: [0-9]+", "producerId: <n>");
    // Timestamps compress to more or fewer bytes.
    let compressed = exact
        .clone()
        .pattern(r"\b(size|position): [0-9]+", "$1: <n>");
    for topic in [
        "t-0",
        "keyed-0",
        "keyed-1",
        "keyed-2",
        "codec-none-0",
        "acks-0",
        "broker-time-0",
    ] {
        dump(
            session,
            &exact,
            topic,
            "00000000000000000000.log",
            "--print-data-log",
        )?;
        dump(
            session,
            &exact,
            topic,
            "00000000000000000000.index",
            "--index-sanity-check",
        )?;
        dump(
            session,
            &exact,
            topic,
            "00000000000000000000.timeindex",
            "--index-sanity-check",
        )?;
    }
    for topic in [
        "codec-gzip-0",
        "codec-snappy-0",
        "codec-lz4-0",
        "codec-zstd-0",
        "recompressed-0",
    ] {
        dump(
            session,
            &compressed,
            topic,
            "00000000000000000000.log",
            "--print-data-log --deep-iteration",
        )?;
    }
    Ok(())
}

fn dump(
    session: &mut Session,
    normaliser: &Normaliser,
    partition: &str,
    file: &str,
    options: &str,
) -> Result<()> {
    let path = session.log_directory.join(partition).join(file);
    let words = format!("--files {} {options}", path.display());
    let finished = session.unrecorded(DUMP_LOG, &words, "")?;
    session.transcript.command(
        &format!("dump: {partition}/{file} {options}"),
        &finished,
        normaliser,
    );
    Ok(())
}
