//! Pure: the topic-level configuration of one partition log, all 31 keys, parsed and range-checked (`LogConfig.java`).

use std::collections::BTreeMap;

/// Kind of a batch's timestamps, as configured.
pub use kafka_wire::records::batch::TimestampType;

/// Type and range of a topic-level key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum KeyKind {
    /// 32-bit number with a lower bound.
    Int {
        /// Smallest value allowed.
        min: i64,
    },
    /// 64-bit number with a lower bound.
    Long {
        /// Smallest value allowed.
        min: i64,
    },
    /// Fraction between 0 and 1.
    Ratio,
    /// `true` or `false`.
    Boolean,
    /// One of a few words.
    OneOf(&'static [&'static str]),
    /// A comma-separated list of a few words.
    ListOf(&'static [&'static str]),
    /// `partition:broker` pairs, or `*`.
    ThrottledReplicas,
    /// A metadata version such as `3.0-IV1`; kept, but has no effect since the message format is always v2.
    Version,
}

/// A topic-level key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TopicKey {
    /// Name as in `kafka-configs`.
    pub name: &'static str,
    /// Type and range.
    pub kind: KeyKind,
    /// Value if neither topic nor broker set one.
    pub default: &'static str,
}

const fn key(name: &'static str, kind: KeyKind, default: &'static str) -> TopicKey {
    TopicKey {
        name,
        kind,
        default,
    }
}

const LONG_MAX: &str = "9223372036854775807";

/// Compression settings a topic may have; `producer` keeps what the client sent.
pub const COMPRESSION_TYPES: &[&str] =
    &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];

/// Every topic-level key.
pub const TOPIC_KEYS: [TopicKey; 31] = [
    key("segment.bytes", KeyKind::Int { min: 14 }, "1073741824"),
    key("segment.ms", KeyKind::Long { min: 1 }, "604800000"),
    key("segment.jitter.ms", KeyKind::Long { min: 0 }, "0"),
    key("segment.index.bytes", KeyKind::Int { min: 4 }, "10485760"),
    key("flush.messages", KeyKind::Long { min: 1 }, LONG_MAX),
    key("flush.ms", KeyKind::Long { min: 0 }, LONG_MAX),
    key("retention.bytes", KeyKind::Long { min: i64::MIN }, "-1"),
    key("retention.ms", KeyKind::Long { min: -1 }, "604800000"),
    key("max.message.bytes", KeyKind::Int { min: 0 }, "1048588"),
    key("index.interval.bytes", KeyKind::Int { min: 0 }, "4096"),
    key("delete.retention.ms", KeyKind::Long { min: 0 }, "86400000"),
    key("min.compaction.lag.ms", KeyKind::Long { min: 0 }, "0"),
    key("max.compaction.lag.ms", KeyKind::Long { min: 1 }, LONG_MAX),
    key("file.delete.delay.ms", KeyKind::Long { min: 0 }, "60000"),
    key("min.cleanable.dirty.ratio", KeyKind::Ratio, "0.5"),
    key(
        "cleanup.policy",
        KeyKind::ListOf(&["compact", "delete"]),
        "delete",
    ),
    key("unclean.leader.election.enable", KeyKind::Boolean, "false"),
    key("min.insync.replicas", KeyKind::Int { min: 1 }, "1"),
    key(
        "compression.type",
        KeyKind::OneOf(COMPRESSION_TYPES),
        "producer",
    ),
    key("preallocate", KeyKind::Boolean, "false"),
    key("message.format.version", KeyKind::Version, "3.0-IV1"),
    key(
        "message.timestamp.type",
        KeyKind::OneOf(&["CreateTime", "LogAppendTime"]),
        "CreateTime",
    ),
    key(
        "message.timestamp.difference.max.ms",
        KeyKind::Long { min: 0 },
        LONG_MAX,
    ),
    key(
        "message.timestamp.before.max.ms",
        KeyKind::Long { min: 0 },
        LONG_MAX,
    ),
    key(
        "message.timestamp.after.max.ms",
        KeyKind::Long { min: 0 },
        LONG_MAX,
    ),
    key(
        "leader.replication.throttled.replicas",
        KeyKind::ThrottledReplicas,
        "",
    ),
    key(
        "follower.replication.throttled.replicas",
        KeyKind::ThrottledReplicas,
        "",
    ),
    key("message.downconversion.enable", KeyKind::Boolean, "true"),
    key("remote.storage.enable", KeyKind::Boolean, "false"),
    key("local.retention.ms", KeyKind::Long { min: -2 }, "-2"),
    key("local.retention.bytes", KeyKind::Long { min: -2 }, "-2"),
];

/// Looks a topic-level key up by its name.
pub fn topic_key(name: &str) -> Option<&'static TopicKey> {
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

impl TopicKey {
    /// Checks type and range of a value.
    ///
    /// # Errors
    /// [`LogConfigError::InvalidValue`] with Kafka's wording.
    pub fn check(&self, value: &str) -> Result<(), LogConfigError> {
        let reason = match self.kind {
            KeyKind::Int { min } => check_number(value, min, i64::from(i32::MIN), i32::MAX, "INT"),
            KeyKind::Long { min } => check_number(value, min, i64::MIN, i64::MAX, "LONG"),
            KeyKind::Ratio => match value.trim().parse::<f64>() {
                Err(_) => Some("Not a number of type DOUBLE".to_owned()),
                Ok(ratio) if ratio < 0.0 => Some("Value must be at least 0".to_owned()),
                Ok(ratio) if ratio > 1.0 => Some("Value must be no more than 1".to_owned()),
                Ok(_) => None,
            },
            KeyKind::Boolean => match parse_bool(value) {
                Some(_) => None,
                None => Some("Expected value to be either true or false".to_owned()),
            },
            KeyKind::OneOf(words) => (!words.contains(&value.trim()))
                .then(|| format!("String must be one of: {}", words.join(", "))),
            KeyKind::ListOf(words) => list(value)
                .into_iter()
                .find(|word| !words.contains(word))
                .map(|word| format!("String must be one of: {} (found {word})", words.join(", "))),
            KeyKind::ThrottledReplicas => (!throttled_ok(value)).then(|| {
                format!(
                    "{} must be the literal '*' or a list of replicas in the following format: \
                     [partitionId]:[brokerId],[partitionId]:[brokerId],...",
                    self.name
                )
            }),
            KeyKind::Version => (!version_ok(value.trim()))
                .then(|| format!("Version {value} is not a valid version, such as 3.0 or 3.0-IV1")),
        };
        match reason {
            None => Ok(()),
            Some(reason) => Err(LogConfigError::InvalidValue {
                key: self.name.to_owned(),
                value: value.to_owned(),
                reason,
            }),
        }
    }
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
            key.check(value)?;
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
            None => topic_key(name).map_or("", |key| key.default),
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

fn check_number<T: Into<i64>>(
    value: &str,
    min: i64,
    type_min: i64,
    type_max: T,
    type_name: &str,
) -> Option<String> {
    match value.trim().parse::<i64>() {
        Ok(number) if number >= type_min && number <= type_max.into() => {
            (number < min).then(|| format!("Value must be at least {min}"))
        }
        _ => Some(format!("Not a number of type {type_name}")),
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

fn throttled_ok(value: &str) -> bool {
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let items = list(value);
    items == ["*"]
        || items.iter().all(|item| {
            item.split_once(':')
                .is_some_and(|(p, b)| digits(p) && digits(b))
        })
}

/// `x.y[.z[.w]]` with an optional `-IVn`.
fn version_ok(value: &str) -> bool {
    let (numbers, iv) = match value.split_once("-IV") {
        Some((numbers, iv)) => (numbers, Some(iv)),
        None => (value, None),
    };
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    numbers.contains('.') && numbers.split('.').all(digits) && iv.is_none_or(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_and_overrides() {
        for key in &TOPIC_KEYS {
            assert_eq!(key.check(key.default), Ok(()), "{}", key.name);
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
