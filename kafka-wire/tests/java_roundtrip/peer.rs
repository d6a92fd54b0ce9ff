//! Shell: asks Kafka's own classes what they make of the vectors.

use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// One message in bytes.
pub struct Vector {
    /// Name of the message.
    pub name: String,
    /// Version.
    pub version: i16,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// The directory of Kafka's jars: `TANDEM_PEERS`, or `target/peers` of the workspace.
pub fn jars() -> PathBuf {
    let directory = match std::env::var_os("TANDEM_PEERS") {
        Some(directory) => PathBuf::from(directory),
        None => workspace().join("target/peers"),
    };
    let jar = directory.join("kafka-clients-3.7.1.jar");
    assert!(
        jar.is_file(),
        "{} is missing: fetch the Apache jars first (make peers), or name their directory in \
         TANDEM_PEERS",
        jar.display()
    );
    directory
}

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What Kafka's classes make of each vector: bytes, or an error text.
pub fn ask_java(vectors: &[Vector]) -> Vec<Result<Vec<u8>, String>> {
    // One JVM at a time is enough for a small machine.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut java = Command::new("java")
        .arg("-Xmx512m")
        .arg("-cp")
        .arg(jars().join("*"))
        .arg(workspace().join("integration-tests/peers/java/WireCheck.java"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("java must be on the path");
    let mut input = BufWriter::new(java.stdin.take().unwrap());
    let output = java.stdout.take().unwrap();
    let answers = std::thread::scope(|scope| {
        let answers = scope.spawn(move || read_answers(output));
        for vector in vectors {
            input
                .write_all(&(vector.name.len() as u16).to_be_bytes())
                .unwrap();
            input.write_all(vector.name.as_bytes()).unwrap();
            input.write_all(&vector.version.to_be_bytes()).unwrap();
            input
                .write_all(&(vector.bytes.len() as u32).to_be_bytes())
                .unwrap();
            input.write_all(&vector.bytes).unwrap();
        }
        drop(input);
        answers.join().unwrap()
    });
    assert!(java.wait().unwrap().success(), "the Java checker failed");
    assert_eq!(
        answers.len(),
        vectors.len(),
        "the Java checker stopped early"
    );
    answers
}

fn read_answers(mut output: impl Read) -> Vec<Result<Vec<u8>, String>> {
    let mut all = Vec::new();
    output.read_to_end(&mut all).unwrap();
    let mut rest = all.as_slice();
    let mut answers = Vec::new();
    while let [good, l0, l1, l2, l3, tail @ ..] = rest {
        let length = u32::from_be_bytes([*l0, *l1, *l2, *l3]) as usize;
        let (bytes, tail) = tail.split_at(length);
        answers.push(match good {
            1 => Ok(bytes.to_vec()),
            _ => Err(String::from_utf8_lossy(bytes).into_owned()),
        });
        rest = tail;
    }
    answers
}
