//! Shell: `partition.metadata`, which ties a partition directory to its topic's id (`PartitionMetadataFile.java`).
//!
//! ```text
//! version: 0
//! topic_id: <22 characters of base64url>
//! ```

use std::fs;
use std::path::Path;

use kafka_wire::wire::Uuid;

use crate::log::checkpoint::write_atomically;
use crate::log::error::{IoContext, StorageError, StorageResult};

/// Name of the file.
pub const FILE_NAME: &str = "partition.metadata";

/// Reads the topic id of a partition directory; `None` if it has none yet.
///
/// # Errors
/// [`StorageError::Corrupt`] if the file is there but malformed.
pub fn read(dir: &Path) -> StorageResult<Option<Uuid>> {
    let path = dir.join(FILE_NAME);
    let text = match fs::read_to_string(&path).context("read", &path) {
        Ok(text) => text,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error),
    };
    let corrupt = |reason: &str| StorageError::corrupt(&path, reason);
    let field = |line: Option<&str>, name: &str| -> Option<String> {
        let (key, value) = line?.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    };
    let mut lines = text.lines();
    let version: i32 = field(lines.next(), "version")
        .and_then(|version| version.parse().ok())
        .ok_or_else(|| corrupt("line 1 should be \"version: 0\""))?;
    if version < 0 {
        return Err(corrupt("line 1: the version is negative"));
    }
    let id = field(lines.next(), "topic_id")
        .and_then(|id| Uuid::parse(&id))
        .ok_or_else(|| corrupt("line 2 should be \"topic_id: \" and 22 characters of base64url"))?;
    if id == Uuid::ZERO {
        return Err(corrupt("line 2: the topic id is zero"));
    }
    Ok(Some(id))
}

/// Writes the topic id of a partition directory.
///
/// # Errors
/// [`StorageError::Io`] if the file cannot be replaced.
pub fn write(dir: &Path, topic_id: Uuid) -> StorageResult<()> {
    let text = format!("version: 0\ntopic_id: {topic_id}");
    write_atomically(&dir.join(FILE_NAME), text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_kafka_writes() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), None);
        let text = "version: 0\ntopic_id: 7QsXjmM6Qzm3jYkz0yXpPw";
        fs::write(dir.path().join(FILE_NAME), text).unwrap();
        let id = read(dir.path()).unwrap().unwrap();
        assert_eq!(id.to_string(), "7QsXjmM6Qzm3jYkz0yXpPw");
        write(dir.path(), id).unwrap();
        assert_eq!(
            fs::read_to_string(dir.path().join(FILE_NAME)).unwrap(),
            text
        );
        for bad in [
            "",
            "version: 0",
            "version: 0\ntopic_id: x",
            "topic_id: a\nversion: 0",
        ] {
            fs::write(dir.path().join(FILE_NAME), bad).unwrap();
            assert!(read(dir.path()).is_err(), "{bad:?}");
        }
    }
}
