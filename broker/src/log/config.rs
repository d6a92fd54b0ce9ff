//! Pure: the topic-level configuration of one partition log, all 31 keys, parsed and range-checked (`LogConfig.java`).

use std::collections::BTreeMap;

use common::config::Kind::{self, Boolean, Double, Int, List, Long, String as Text};
use common::config::Rule::{self, Any, AtLeast, Between, Check, ListOf, OneOf};
use common::config::{Definition, check};

use crate::log::metadata_version::metadata_version;

/// Kind of a batch's timestamps, as configured.
pub use kafka_wire::records::batch::TimestampType;

const fn row(
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    rule: Rule,
) -> Definition {
    Definition {
        name,
        kind,
        default,
        rule,
    }
}

/// Every topic key of Kafka 3.7.1, alphabetically.
#[rustfmt::skip]
pub const TOPIC_KEYS: &[Definition] = &[
    row("cleanup.policy", List, Some("delete"), ListOf(&["compact", "delete"])),
    row("compression.type", Text, Some("producer"), OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"])),
    row("delete.retention.ms", Long, Some("86400000"), AtLeast(0)),
    row("file.delete.delay.ms", Long, Some("60000"), AtLeast(0)),
    row("flush.messages", Long, Some("9223372036854775807"), AtLeast(1)),
    row("flush.ms", Long, Some("9223372036854775807"), AtLeast(0)),
    row("follower.replication.throttled.replicas", List, Some(""), Check(throttled_replicas)),
    row("index.interval.bytes", Int, Some("4096"), AtLeast(0)),
    row("leader.replication.throttled.replicas", List, Some(""), Check(throttled_replicas)),
    row("local.retention.bytes", Long, Some("-2"), AtLeast(-2)),
    row("local.retention.ms", Long, Some("-2"), AtLeast(-2)),
    row("max.compaction.lag.ms", Long, Some("9223372036854775807"), AtLeast(1)),
    row("max.message.bytes", Int, Some("1048588"), AtLeast(0)),
    row("message.downconversion.enable", Boolean, Some("true"), Any),
    row("message.format.version", Text, Some("3.0-IV1"), Check(metadata_version)),
    row("message.timestamp.after.max.ms", Long, Some("9223372036854775807"), AtLeast(0)),
    row("message.timestamp.before.max.ms", Long, Some("9223372036854775807"), AtLeast(0)),
    row("message.timestamp.difference.max.ms", Long, Some("9223372036854775807"), AtLeast(0)),
    row("message.timestamp.type", Text, Some("CreateTime"), OneOf(&["CreateTime", "LogAppendTime"])),
    row("min.cleanable.dirty.ratio", Double, Some("0.5"), Between(0.0, 1.0)),
    row("min.compaction.lag.ms", Long, Some("0"), AtLeast(0)),
    row("min.insync.replicas", Int, Some("1"), AtLeast(1)),
    row("preallocate", Boolean, Some("false"), Any),
    row("remote.storage.enable", Boolean, Some("false"), Any),
    row("retention.bytes", Long, Some("-1"), Any),
    row("retention.ms", Long, Some("604800000"), AtLeast(-1)),
    row("segment.bytes", Int, Some("1073741824"), AtLeast(14)),
    row("segment.index.bytes", Int, Some("10485760"), AtLeast(4)),
    row("segment.jitter.ms", Long, Some("0"), AtLeast(0)),
    row("segment.ms", Long, Some("604800000"), AtLeast(1)),
    row("unclean.leader.election.enable", Boolean, Some("false"), Any),
];

/// Looks a topic-level key up by its name.
pub fn topic_key(name: &str) -> Option<&'static Definition> {
    TOPIC_KEYS.iter().find(|key| key.name == name)
}

/// A value that a key does not take. The text is the one that Kafka's tools print.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogConfigError {
    /// No such key.
    #[error("Unknown topic config name: {0}")]
    UnknownKey(String),
    /// The value has the wrong type or is out of range.
    #[error("Invalid value {value} for configuration {key}: {reason}")]
    InvalidValue {
        /// Key as given.
        key: String,
        /// Value as given.
        value: String,
        /// What it should be.
        reason: String,
    },
    /// Two values contradict each other.
    #[error("{0}")]
    Conflict(String),
}

/// What `compression.type` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetCompression {
    /// Keep the codec of the producer's batch.
    Producer,
    /// Store with this codec number (0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd).
    Codec(u8),
}

/// Configuration of one partition log. Sizes in bytes, times in milliseconds; `i64::MAX` means never.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    missing_docs,
    reason = "each field is the key of the same name; see TOPIC_KEYS"
)]
pub struct LogConfig {
    pub segment_bytes: u32,
    pub segment_ms: i64,
    pub segment_jitter_ms: i64,
    pub segment_index_bytes: u32,
    pub flush_messages: i64,
    pub flush_ms: i64,
    pub retention_bytes: i64,
    pub retention_ms: i64,
    pub max_message_bytes: i32,
    pub index_interval_bytes: u32,
    pub delete_retention_ms: i64,
    pub min_compaction_lag_ms: i64,
    pub max_compaction_lag_ms: i64,
    pub file_delete_delay_ms: i64,
    pub min_cleanable_dirty_ratio: f64,
    pub compact: bool,
    pub delete: bool,
    pub unclean_leader_election_enable: bool,
    pub min_insync_replicas: i32,
    pub compression_type: TargetCompression,
    pub preallocate: bool,
    pub message_format_version: String,
    pub message_timestamp_type: TimestampType,
    pub message_timestamp_difference_max_ms: i64,
    pub message_timestamp_before_max_ms: i64,
    pub message_timestamp_after_max_ms: i64,
    pub leader_replication_throttled_replicas: Vec<String>,
    pub follower_replication_throttled_replicas: Vec<String>,
    pub message_downconversion_enable: bool,
    pub remote_storage_enable: bool,
    pub local_retention_ms: i64,
    pub local_retention_bytes: i64,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self::from_values(&Values {
            map: BTreeMap::new(),
        })
    }
}

impl LogConfig {
    /// Builds a configuration from (key, value) pairs; later pairs win, keys not given have their defaults.
    ///
    /// # Errors
    /// [`LogConfigError`] for an unknown key, a value of the wrong type or range, or contradicting lags.
    pub fn from_entries<K: AsRef<str>, V: AsRef<str>>(
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, LogConfigError> {
        let mut map = BTreeMap::new();
        for (name, value) in entries {
            let (name, value) = (name.as_ref(), value.as_ref());
            let key = topic_key(name).ok_or_else(|| LogConfigError::UnknownKey(name.to_owned()))?;
            check(key, value).map_err(|wrong| LogConfigError::InvalidValue {
                key: name.to_owned(),
                value: wrong.value,
                reason: wrong.reason,
            })?;
            map.insert(key.name, value.trim().to_owned());
        }
        let config = Self::from_values(&Values { map });
        if config.min_compaction_lag_ms > config.max_compaction_lag_ms {
            return Err(LogConfigError::Conflict(format!(
                "conflict topic config setting min.compaction.lag.ms ({}) > max.compaction.lag.ms ({})",
                config.min_compaction_lag_ms, config.max_compaction_lag_ms
            )));
        }
        Ok(config)
    }

    fn from_values(values: &Values) -> Self {
        let difference = values.long("message.timestamp.difference.max.ms");
        // The old key counts where the two that replaced it were left alone.
        let bound = |name| match values.long(name) {
            i64::MAX => difference,
            set => set,
        };
        let policy = values.text("cleanup.policy").to_lowercase();
        let policy = list(&policy);
        LogConfig {
            segment_bytes: values.int("segment.bytes") as u32,
            segment_ms: values.long("segment.ms"),
            segment_jitter_ms: values.long("segment.jitter.ms"),
            segment_index_bytes: values.int("segment.index.bytes") as u32,
            flush_messages: values.long("flush.messages"),
            flush_ms: values.long("flush.ms"),
            retention_bytes: values.long("retention.bytes"),
            retention_ms: values.long("retention.ms"),
            max_message_bytes: values.int("max.message.bytes"),
            index_interval_bytes: values.int("index.interval.bytes") as u32,
            delete_retention_ms: values.long("delete.retention.ms"),
            min_compaction_lag_ms: values.long("min.compaction.lag.ms"),
            max_compaction_lag_ms: values.long("max.compaction.lag.ms"),
            file_delete_delay_ms: values.long("file.delete.delay.ms"),
            min_cleanable_dirty_ratio: values
                .text("min.cleanable.dirty.ratio")
                .parse()
                .unwrap_or_default(),
            compact: policy.contains(&"compact"),
            delete: policy.contains(&"delete"),
            unclean_leader_election_enable: values.bool("unclean.leader.election.enable"),
            min_insync_replicas: values.int("min.insync.replicas"),
            compression_type: target_compression(values.text("compression.type")),
            preallocate: values.bool("preallocate"),
            message_format_version: values.text("message.format.version").to_owned(),
            message_timestamp_type: match values.text("message.timestamp.type") {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            message_timestamp_difference_max_ms: difference,
            message_timestamp_before_max_ms: bound("message.timestamp.before.max.ms"),
            message_timestamp_after_max_ms: bound("message.timestamp.after.max.ms"),
            leader_replication_throttled_replicas: values
                .owned_list("leader.replication.throttled.replicas"),
            follower_replication_throttled_replicas: values
                .owned_list("follower.replication.throttled.replicas"),
            message_downconversion_enable: values.bool("message.downconversion.enable"),
            remote_storage_enable: values.bool("remote.storage.enable"),
            local_retention_ms: values.long("local.retention.ms"),
            local_retention_bytes: values.long("local.retention.bytes"),
        }
    }

    /// Age at which the active segment is rolled; compacted topics may need it sooner to become cleanable.
    pub fn max_segment_ms(&self) -> i64 {
        if self.compact && self.max_compaction_lag_ms > 0 {
            self.max_compaction_lag_ms.min(self.segment_ms)
        } else {
            self.segment_ms
        }
    }
}

/// Checked values by key; what is absent has the key's default.
struct Values {
    map: BTreeMap<&'static str, String>,
}

impl Values {
    fn text(&self, name: &str) -> &str {
        match self.map.get(name) {
            Some(value) => value,
            None => topic_key(name)
                .and_then(|key| key.default)
                .unwrap_or_default(),
        }
    }

    fn int(&self, name: &str) -> i32 {
        self.text(name).parse().unwrap_or_default()
    }

    fn long(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap_or_default()
    }

    fn bool(&self, name: &str) -> bool {
        parse_bool(self.text(name)).unwrap_or_default()
    }

    fn owned_list(&self, name: &str) -> Vec<String> {
        list(self.text(name))
            .into_iter()
            .map(str::to_owned)
            .collect()
    }
}

fn target_compression(name: &str) -> TargetCompression {
    match name {
        "uncompressed" => TargetCompression::Codec(0),
        "gzip" => TargetCompression::Codec(1),
        "snappy" => TargetCompression::Codec(2),
        "lz4" => TargetCompression::Codec(3),
        "zstd" => TargetCompression::Codec(4),
        _ => TargetCompression::Producer,
    }
}

fn parse_bool(value: &str) -> Option<bool> {
    let value = value.trim();
    if value.eq_ignore_ascii_case("true") {
        Some(true)
    } else if value.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

fn list(value: &str) -> Vec<&str> {
    value
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .collect()
}

/// `partition:broker` pairs, `*` or nothing (`ThrottledReplicaListValidator`).
fn throttled_replicas(value: &str) -> Result<(), String> {
    let number = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let pair = |item: &&str| {
        item.split_once(':')
            .is_some_and(|(p, b)| number(p) && number(b))
    };
    let items = list(value);
    if items == ["*"] || items.iter().all(pair) {
        return Ok(());
    }
    Err(format!(
        "{value} must be the literal '*' or a list of replicas in the following format: \
         [partitionId]:[brokerId],[partitionId]:[brokerId],..."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_and_overrides() {
        for key in TOPIC_KEYS {
            let default = key.default.unwrap();
            assert_eq!(check(key, default), Ok(()), "{}", key.name);
        }
        let config = LogConfig::default();
        assert_eq!(config.segment_bytes, 1 << 30);
        assert!(config.delete && !config.compact);
        assert_eq!(config.message_timestamp_before_max_ms, i64::MAX);
        let config = LogConfig::from_entries([
            ("cleanup.policy", "compact,delete"),
            ("compression.type", "zstd"),
            ("message.timestamp.difference.max.ms", "5"),
            ("message.timestamp.after.max.ms", "7"),
            ("max.compaction.lag.ms", "1000"),
        ])
        .unwrap();
        assert!(config.compact && config.delete);
        assert_eq!(config.compression_type, TargetCompression::Codec(4));
        assert_eq!(config.message_timestamp_before_max_ms, 5);
        assert_eq!(config.message_timestamp_after_max_ms, 7);
        assert_eq!(config.max_segment_ms(), 1000);
    }

    #[test]
    fn errors_read_as_kafkas() {
        let error = |key: &str, value: &str| {
            LogConfig::from_entries([(key, value)])
                .unwrap_err()
                .to_string()
        };
        assert_eq!(error("no.such", "1"), "Unknown topic config name: no.such");
        assert_eq!(
            error("retention.ms", "-2"),
            "Invalid value -2 for configuration retention.ms: Value must be at least -1"
        );
        assert_eq!(
            error("segment.bytes", "x"),
            "Invalid value x for configuration segment.bytes: Not a number of type INT"
        );
        assert!(error("cleanup.policy", "shred").contains("must be one of: compact, delete"));
        assert!(error("leader.replication.throttled.replicas", "1:x").contains("literal '*'"));
    }
}
