//! The offline tools on files of Apache ZooKeeper 3.8.4, whole and damaged.

#![allow(clippy::unwrap_used, reason = "this is a test")]

use std::fs;
use std::path::{Path, PathBuf};

use zk_server::offline::{dump_log, dump_snapshot, verify};
use zk_server::storage::compression::{Compression, Encoder};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

/// A data directory with copies of the golden files.
fn copies() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let version = home.path().join("version-2");
    fs::create_dir(&version).unwrap();
    for entry in fs::read_dir(golden("")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), version.join(entry.file_name())).unwrap();
        }
    }
    home
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn verified(home: &Path) -> (bool, String) {
    let before = listing(home);
    let mut out = Vec::new();
    let good = verify::verify(home, home, &mut out).unwrap();
    assert_eq!(listing(home), before, "something was changed");
    (good, String::from_utf8(out).unwrap())
}

fn listing(home: &Path) -> Vec<(PathBuf, u64)> {
    let mut files: Vec<_> = fs::read_dir(home.join("version-2"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.path(), entry.metadata().unwrap().len()))
        .collect();
    files.sort();
    files
}

#[test]
fn whole_files_are_good() {
    let home = copies();
    let (good, told) = verified(home.path());
    assert!(good, "{told}");
    assert!(
        told.contains("86 transactions from zxid 0x1 to 0x56"),
        "{told}"
    );
    assert!(told.contains("last zxid 0x56"), "{told}");
}

#[test]
fn a_flipped_bit_is_named_with_file_and_offset() {
    let home = copies();
    change(&home.path().join("version-2/log.1"), |bytes| {
        bytes[2000] ^= 4;
    });
    let (good, told) = verified(home.path());
    assert!(!good, "{told}");
    assert!(told.contains("log.1 at offset 19"), "{told}");
    fs::remove_file(home.path().join("version-2/snapshot.56")).unwrap();
    let (_, told) = verified(home.path());
    assert!(told.contains("BAD  a server would not start"), "{told}");
}

#[test]
fn a_torn_end_is_told_and_loses_nothing() {
    let home = copies();
    fs::remove_file(home.path().join("version-2/snapshot.56")).unwrap();
    change(&home.path().join("version-2/log.1"), |bytes| {
        bytes.truncate(4900);
    });
    let (_, told) = verified(home.path());
    assert!(told.contains("log.1: 85 transactions"), "{told}");
    assert!(told.contains("was never written completely"), "{told}");
    assert!(told.contains("last zxid 0x55"), "{told}");
}

#[test]
fn a_snapshot_without_its_end_is_passed_over() {
    let home = copies();
    change(&home.path().join("version-2/snapshot.56"), |bytes| {
        bytes.truncate(bytes.len() / 2);
    });
    let (good, told) = verified(home.path());
    assert!(told.contains("snapshot.0 and 86 transactions"), "{told}");
    // A client had asked for a container with the flags of another kind; Apache's server logged
    // the digest of that.
    assert!(!good, "{told}");
    assert!(told.contains("BAD  after zxid 0x13 the tree"), "{told}");
    assert_eq!(told.matches("BAD").count(), 1, "{told}");
}

#[test]
fn dumps_show_everything() {
    let mut out = Vec::new();
    dump_log::dump(&golden("log.1"), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert_eq!(text.lines().count(), 87, "{text}");
    let mut out = Vec::new();
    dump_snapshot::dump(&golden("snapshot.56"), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert_eq!(
        text.lines()
            .filter(|line| line.starts_with("znode "))
            .count(),
        7
    );
    let mut out = Vec::new();
    dump_snapshot::dump_json(&golden("snapshot.56"), &mut out).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(json["znodes"].as_array().unwrap().len(), 7);
    assert_eq!(json["znodes"][0]["path"], "/");
}

/// Changes a few bytes somewhere, or cuts the file, by a seed.
fn mutated(original: &[u8], seed: u64) -> Vec<u8> {
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut draw = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as usize
    };
    let mut bytes = original.to_vec();
    for _ in 0..=draw(3) {
        let at = draw(bytes.len());
        match draw(4) {
            0 => bytes[at] ^= 1 << draw(8),
            // Lengths are what readers trust most.
            1 => {
                let ends = (at + 4).min(bytes.len());
                bytes[at..ends].fill([0xff, 0x7f, 0][draw(3)]);
            }
            2 => bytes.truncate(at.max(1)),
            _ => bytes[at] = draw(256) as u8,
        }
    }
    bytes
}

/// What a snapshot that can be read says of znodes, ACLs and sessions.
fn znodes(path: &Path) -> Option<Vec<String>> {
    let mut out = Vec::new();
    dump_snapshot::dump(path, &mut out).ok()?;
    let text = String::from_utf8(out).unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.starts_with("digest") && !line.starts_with("last"));
    Some(lines.map(str::to_owned).collect())
}

/// Whatever is in a file, its reader ends, with a value or with an error; no znode of a snapshot
/// with a wrong byte is believed.
#[test]
fn damaged_files_never_hurt_the_readers() {
    let rounds = std::env::var("TANDEM_FUZZ_ROUNDS").ok();
    let rounds: u64 = rounds.and_then(|text| text.parse().ok()).unwrap_or(400);
    let home = tempfile::tempdir().unwrap();
    let forms = [Compression::Plain, Compression::Gzip, Compression::Snappy];
    for form in forms {
        let source = golden("snapshot.56");
        let path = home.path().join(format!("snapshot.56{}", form.extension()));
        let mut encoder = Encoder::new(fs::File::create(&path).unwrap(), form).unwrap();
        encoder.write_all(&fs::read(source).unwrap()).unwrap();
        encoder.finish().unwrap();
        let original = fs::read(&path).unwrap();
        let whole = znodes(&path).unwrap();
        for seed in 0..rounds {
            fs::write(&path, mutated(&original, seed)).unwrap();
            if let Some(znodes) = znodes(&path) {
                assert_eq!(znodes, whole, "{form:?} {seed}");
            }
        }
    }
    let path = home.path().join("log.1");
    let original = fs::read(golden("log.1")).unwrap();
    let used = original.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let original = &original[..used];
    for seed in 0..rounds {
        fs::write(&path, mutated(original, seed)).unwrap();
        let _ = dump_log::dump(&path, &mut Vec::new());
    }
}
