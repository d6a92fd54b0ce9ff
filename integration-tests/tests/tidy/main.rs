//! Reads the sources and checks the few rules that keep them readable: file length, pure files, directions.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "this is a test")]

use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a file without its tests.
const MAX_LINES: usize = 650;

/// Longer files, each with its reason.
const LONGER: &[(&str, &str)] = &[
    (
        "tools/src/zookeeper/commands.rs",
        "one short function for each of the shell's 28 commands, in the order of its usage text",
    ),
    (
        "broker/src/zk/znodes.rs",
        "one encoder and one decoder for each of Kafka's znodes, side by side",
    ),
];

/// What a pure file must not name: time, randomness and bytes come to it as values.
const IMPURE: &[&str] = &[
    "tokio::",
    "std::fs::",
    "std::env::",
    "std::net::Tcp",
    "std::net::Udp",
    "std::thread",
    "Instant::now",
    "SystemTime::now",
    "rand::",
];

/// Pure files that may name one of these all the same.
const IMPURE_ALLOWED: &[(&str, &str, &str)] = &[
    (
        "kafka-wire/src/wire.rs",
        "std::fs::",
        "records may be a range of an open file, which is carried and never read",
    ),
    (
        "kafka-wire/src/writer.rs",
        "std::fs::",
        "records may be a range of an open file, which is carried and never read",
    ),
    (
        "kafka-wire/src/wire.rs",
        "rand::",
        "a random topic id is what `Uuid::random` is for",
    ),
];

/// What a folder may import from its own crate.
const DIRECTIONS: &[(&str, &[&str])] = &[
    ("broker/src/log", &["log"]),
    ("broker/src/metadata", &["metadata"]),
    ("broker/src/zk", &["zk"]),
    ("broker/src/config", &["config", "log"]),
    (
        "broker/src/controller",
        &["controller", "config", "metadata", "zk"],
    ),
    ("broker/src/coordinator", &["coordinator", "metadata"]),
    (
        "broker/src/replica",
        &["replica", "config", "coordinator", "log", "metadata"],
    ),
    ("broker/src/admin", &["admin", "config", "metadata", "zk"]),
    ("broker/src/net", &["net", "api", "config"]),
    (
        "zk-server/src/config",
        &[
            "config", "net", "operator", "pipeline", "storage", "state", "auth", "tls",
        ],
    ),
    ("zk-server/src/auth", &["auth"]),
    ("zk-server/src/tls", &["tls"]),
    (
        "zk-server/src/operator",
        &["operator", "pipeline", "storage", "state", "metrics", "tls"],
    ),
    ("zk-server/src/metrics", &["metrics"]),
    ("zk-server/src/state", &["state", "auth", "metrics"]),
    ("zk-server/src/storage", &["storage", "state"]),
    ("zk-server/src/offline", &["offline", "storage", "state"]),
    (
        "zk-server/src/pipeline",
        &["pipeline", "storage", "state", "auth", "metrics"],
    ),
];

/// Crates that a crate must not name.
const STRANGERS: &[(&str, &[&str])] = &[
    ("common", &["kafka_wire::", "zk_server::", "broker::"]),
    ("kafka-wire", &["zk_server::", "broker::"]),
    ("zk-server", &["kafka_wire::", "broker::"]),
    ("broker", &["zk_server::"]),
];

struct Source {
    name: String,
    /// Everything before the tests at the end of the file.
    code: String,
    first_line: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    for dir in ["common", "kafka-wire", "zk-server", "broker", "tools"] {
        collect(&root().join(dir).join("src"), &mut found);
    }
    assert!(found.len() > 200, "only {} sources found", found.len());
    found
}

fn collect(dir: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path
            .strip_prefix(root())
            .unwrap()
            .to_str()
            .unwrap()
            .to_string();
        if path.is_dir() {
            collect(&path, found);
        } else if name.ends_with(".rs") && !name.ends_with("_test.rs") {
            let text = fs::read_to_string(&path).unwrap();
            let code = text
                .split("#[cfg(test)]\nmod ")
                .next()
                .unwrap_or_default()
                .to_string();
            let first_line = text.lines().next().unwrap_or_default().to_string();
            found.push(Source {
                name,
                code,
                first_line,
            });
        }
    }
}

fn is_list(name: &str) -> bool {
    ["mod.rs", "lib.rs", "main.rs"]
        .iter()
        .any(|file| name.ends_with(file))
}

/// Code without comments, which may speak of anything.
fn statements(code: &str) -> impl Iterator<Item = &str> {
    code.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
}

#[test]
fn files_are_short() {
    let generated = "kafka-wire/src/messages/";
    let mut long = Vec::new();
    for source in sources() {
        let lines = source.code.lines().count();
        let excused = LONGER.iter().any(|(name, _)| *name == source.name);
        if lines > MAX_LINES && !excused && !source.name.starts_with(generated) {
            long.push(format!(
                "{} has {lines} lines without its tests",
                source.name
            ));
        }
    }
    assert!(
        long.is_empty(),
        "usually two things in one:\n{}",
        long.join("\n")
    );
}

#[test]
fn every_file_says_whether_it_is_pure() {
    let mut silent = Vec::new();
    for source in sources() {
        let says = ["//! Pure: ", "//! Shell: "]
            .iter()
            .any(|w| source.first_line.starts_with(w));
        if !says && !is_list(&source.name) {
            silent.push(format!("{}: {}", source.name, source.first_line));
        }
    }
    assert!(
        silent.is_empty(),
        "must begin with '//! Pure: ' or '//! Shell: ' and say what they are:\n{}",
        silent.join("\n")
    );
}

#[test]
fn pure_files_are_pure() {
    let mut impure = Vec::new();
    for source in sources() {
        if !source.first_line.starts_with("//! Pure: ") {
            continue;
        }
        for word in IMPURE {
            let excused = IMPURE_ALLOWED
                .iter()
                .any(|(name, w, _)| *name == source.name && w == word);
            if !excused && statements(&source.code).any(|line| line.contains(word)) {
                impure.push(format!("{} names {word}", source.name));
            }
        }
    }
    assert!(impure.is_empty(), "{}", impure.join("\n"));
}

#[test]
fn imports_run_down() {
    let mut upward = Vec::new();
    for source in sources() {
        let (crate_name, _) = source.name.split_once('/').unwrap();
        let strangers = STRANGERS.iter().find(|(name, _)| *name == crate_name);
        let rule = DIRECTIONS
            .iter()
            .find(|(dir, _)| source.name.starts_with(&format!("{dir}/")));
        for line in statements(&source.code) {
            for stranger in strangers.map_or(&[][..], |(_, names)| names) {
                if line.trim_start().starts_with(&format!("use {stranger}")) {
                    upward.push(format!("{}: {line}", source.name));
                }
            }
            let Some((_, allowed)) = rule else { continue };
            for part in line.split("crate::").skip(1) {
                let end = part.find(|c: char| !c.is_alphanumeric() && c != '_');
                let module = &part[..end.unwrap_or(part.len())];
                if !allowed.contains(&module) && module != "error" && !module.is_empty() {
                    upward.push(format!("{}: {line}", source.name));
                }
            }
        }
    }
    assert!(upward.is_empty(), "{}", upward.join("\n"));
}

#[test]
fn module_lists_define_nothing() {
    let mut wrong = Vec::new();
    for source in sources() {
        if !source.name.ends_with("/mod.rs") && !source.name.ends_with("/lib.rs") {
            continue;
        }
        let generated = source.name.starts_with("kafka-wire/src/messages/");
        for line in statements(&source.code) {
            let ok = [
                "pub mod ",
                "mod ",
                "pub(crate) mod ",
                "pub(super) mod ",
                "#",
                ")",
                "    ",
            ];
            if !generated && !line.is_empty() && !ok.iter().any(|start| line.starts_with(start)) {
                wrong.push(format!("{}: {line}", source.name));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "mod.rs and lib.rs list modules only:\n{}",
        wrong.join("\n")
    );
}
