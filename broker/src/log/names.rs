//! Pure: names of partition directories and of the files in them (`LocalLog.scala`, `LogFileUtils.java`).
//!
//! ```text
//! <topic>-<partition>                              a partition
//! <topic>-<partition>.<32 hex>-delete|-future|-stray
//! <20 digits>.log .index .timeindex .txnindex .snapshot      by base offset (a snapshot: next offset)
//! <any of these>.deleted|.cleaned|.swap
//! ```

use std::fmt;
use std::path::{Path, PathBuf};

/// Records.
pub const LOG_SUFFIX: &str = ".log";
/// Offset index.
pub const INDEX_SUFFIX: &str = ".index";
/// Time index.
pub const TIME_INDEX_SUFFIX: &str = ".timeindex";
/// Index of aborted transactions.
pub const TXN_INDEX_SUFFIX: &str = ".txnindex";
/// Snapshot of the producers' state.
pub const SNAPSHOT_SUFFIX: &str = ".snapshot";
/// Renamed, to be removed after `file.delete.delay.ms`.
pub const DELETED_SUFFIX: &str = ".deleted";
/// Unfinished output of compaction.
pub const CLEANED_SUFFIX: &str = ".cleaned";
/// Finished output of compaction, not yet renamed.
pub const SWAP_SUFFIX: &str = ".swap";

/// Longest name of a directory entry, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// A topic's partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// Topic name.
    pub topic: String,
    /// Partition number.
    pub partition: i32,
}

impl TopicPartition {
    /// A partition of a topic.
    pub fn new(topic: impl Into<String>, partition: i32) -> Self {
        TopicPartition {
            topic: topic.into(),
            partition,
        }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// What a directory under a log directory is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirKind {
    /// A partition in use.
    Current,
    /// A copy being filled on another disk.
    Future,
    /// To be removed.
    Delete,
    /// Set aside because no topic owns it.
    Stray,
}

impl DirKind {
    fn suffix(self) -> &'static str {
        match self {
            DirKind::Current => "",
            DirKind::Future => "-future",
            DirKind::Delete => "-delete",
            DirKind::Stray => "-stray",
        }
    }
}

/// Name of a partition's directory while in use.
pub fn partition_dir(partition: &TopicPartition) -> String {
    partition.to_string()
}

/// Name of a partition's directory in another role; `unique` is 32 hexadecimal digits.
/// The topic is cut where the name would not fit a directory entry.
pub fn renamed_dir(partition: &TopicPartition, kind: DirKind, unique: &str) -> String {
    let tail = format!("-{}.{unique}{}", partition.partition, kind.suffix());
    let mut keep = partition.topic.len();
    if kind != DirKind::Future {
        keep = keep.min(MAX_NAME_BYTES.saturating_sub(tail.len()));
        while !partition.topic.is_char_boundary(keep) {
            keep -= 1;
        }
    }
    format!("{}{tail}", &partition.topic[..keep])
}

/// Reads partition and role out of a directory's name; `None` if it is not one of a log's.
pub fn parse_dir(name: &str) -> Option<(TopicPartition, DirKind)> {
    let mut kind = DirKind::Current;
    let mut rest = name;
    for candidate in [DirKind::Delete, DirKind::Future, DirKind::Stray] {
        if let Some(stripped) = name.strip_suffix(candidate.suffix()) {
            let (front, unique) = stripped.rsplit_once('.')?;
            // Kafka's patterns for these names have no room for blanks, its pattern for logs in use has.
            if unique.is_empty() || name.contains(|c: char| c.is_ascii_whitespace()) {
                return None;
            }
            kind = candidate;
            rest = front;
        }
    }
    let (topic, partition) = rest.rsplit_once('-')?;
    if topic.is_empty() {
        return None;
    }
    let partition = partition
        .parse::<i32>()
        .ok()
        .filter(|number| *number >= 0)?;
    Some((TopicPartition::new(topic, partition), kind))
}

/// Path of a segment's file: 20 digits and a suffix.
pub fn segment_file(dir: &Path, offset: i64, suffix: &str) -> PathBuf {
    dir.join(format!("{offset:020}{suffix}"))
}

/// Splits a segment file's name into its offset and everything from the first dot on.
pub fn parse_file(name: &str) -> Option<(i64, &str)> {
    let dot = name.find('.')?;
    let (digits, suffix) = name.split_at(dot);
    if digits.len() != 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some((digits.parse().ok()?, suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories() {
        let tp = TopicPartition::new("a-b.c", 12);
        assert_eq!(parse_dir("a-b.c-12"), Some((tp.clone(), DirKind::Current)));
        let unique = "0123456789abcdef0123456789abcdef";
        let name = renamed_dir(&tp, DirKind::Delete, unique);
        assert_eq!(name, format!("a-b.c-12.{unique}-delete"));
        assert_eq!(parse_dir(&name), Some((tp, DirKind::Delete)));
        let long = TopicPartition::new("x".repeat(249), 3);
        assert_eq!(renamed_dir(&long, DirKind::Delete, unique).len(), 255);
        assert!(parse_dir("a b-0").is_some());
        for bad in [
            "a b-0.x-delete",
            "",
            "topic",
            "-1",
            "t-",
            "t-x",
            "t-1-delete",
            "lost+found",
        ] {
            assert_eq!(parse_dir(bad), None, "{bad}");
        }
    }

    #[test]
    fn files() {
        let path = segment_file(Path::new("/d"), 42, TIME_INDEX_SUFFIX);
        assert_eq!(path, Path::new("/d/00000000000000000042.timeindex"));
        assert_eq!(
            parse_file("00000000000000000042.log.deleted"),
            Some((42, ".log.deleted"))
        );
        assert_eq!(parse_file("leader-epoch-checkpoint"), None);
        assert_eq!(parse_file("1.log"), None);
    }
}
