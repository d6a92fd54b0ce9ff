//! Pure: topic-level keys: checking what a client sets, and the values that hold for a topic (`LogConfig`, `ConfigHelper`).

use std::collections::BTreeMap;

use common::config::{Definition, TypedSettings};

use crate::config::definitions::{BROKER_KEYS, TOPIC_SYNONYMS};
use crate::log::config::{LogConfig, TOPIC_KEYS};

/// Where the value of a key comes from (`DescribeConfigsResponse.ConfigSource`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigSource {
    /// Set on the topic.
    Topic = 1,
    /// Set in the broker's file.
    StaticBroker = 4,
    /// Nowhere set.
    Default = 5,
}

/// One value that a key could have, the strongest first in a list of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synonym {
    /// The topic's or the broker's key.
    pub name: &'static str,
    /// Its value there.
    pub value: String,
    /// Where it was set.
    pub source: ConfigSource,
}

/// Checks all overrides of a topic; the message is the one that Kafka's answer carries
/// (`LogConfig.validate`).
pub fn validate<'a>(overrides: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<(), String> {
    let config = LogConfig::from_entries(overrides).map_err(|error| error.to_string())?;
    if config.remote_storage_enable {
        return Err("Tiered Storage functionality is disabled in the broker. \
                    Topic cannot be configured with remote log storage."
            .into());
    }
    Ok(())
}

/// What the broker's own settings give for every topic key, as text: the topic's defaults.
pub fn broker_defaults(broker: &TypedSettings) -> BTreeMap<&'static str, String> {
    let mut defaults = BTreeMap::new();
    for row in TOPIC_KEYS {
        let value = match synonyms_of(row.name).first() {
            Some(_) => from_broker(row, broker),
            None => row.default.unwrap_or_default().to_string(),
        };
        defaults.insert(row.name, value);
    }
    defaults
}

fn synonyms_of(topic_key: &str) -> &'static [&'static str] {
    TOPIC_SYNONYMS
        .iter()
        .find(|(name, _)| *name == topic_key)
        .map_or(&[], |(_, keys)| keys)
}

/// The strongest broker key that is set decides; hours and minutes become milliseconds.
fn from_broker(row: &Definition, broker: &TypedSettings) -> String {
    let keys = synonyms_of(row.name);
    let set = keys.iter().find(|key| broker.settings().get(key).is_some());
    let defaulted = || keys.iter().find(|key| broker.text(key).is_some());
    match set.or_else(defaulted) {
        Some(key) => {
            let text = broker.text(key).unwrap_or_default().trim();
            let factor = if key.ends_with(".hours") {
                3_600_000
            } else if key.ends_with(".minutes") {
                60_000
            } else if row.name == "retention.ms" {
                1
            } else {
                return text.to_string();
            };
            match text.parse::<i64>() {
                Ok(n) if n < 0 => "-1".to_string(),
                Ok(n) => (n * factor).to_string(),
                Err(_) => text.to_string(),
            }
        }
        None => row.default.unwrap_or_default().to_string(),
    }
}

/// Every topic key with its value for a topic that has these overrides.
pub fn effective(
    broker: &TypedSettings,
    overrides: &BTreeMap<String, String>,
) -> BTreeMap<&'static str, String> {
    let mut values = broker_defaults(broker);
    for row in TOPIC_KEYS {
        if let Some(value) = overrides.get(row.name) {
            values.insert(row.name, value.clone());
        }
    }
    values
}

/// All places that could give a topic key its value, the deciding one first
/// (`ConfigHelper.createTopicConfigEntry`).
pub fn synonyms(
    key: &'static str,
    broker: &TypedSettings,
    overrides: &BTreeMap<String, String>,
) -> Vec<Synonym> {
    let mut found = Vec::new();
    if let Some(value) = overrides.get(key) {
        found.push(Synonym {
            name: key,
            value: value.clone(),
            source: ConfigSource::Topic,
        });
    }
    let Some(first) = synonyms_of(key).first() else {
        return found;
    };
    let from_broker = broker_values(listed_synonyms(first, synonyms_of(key)), broker);
    // Kafka drops what precedes the key itself, so hours alone leave no synonym.
    found.extend(
        from_broker
            .into_iter()
            .skip_while(|synonym| synonym.name != *first),
    );
    found
}

/// What the broker's file says of these keys, then their defaults.
pub fn broker_values(keys: &[&'static str], broker: &TypedSettings) -> Vec<Synonym> {
    let mut values = Vec::new();
    for name in keys {
        if let Some(setting) = broker.settings().get(name) {
            let value = setting.value.clone();
            values.push(Synonym {
                name,
                value,
                source: ConfigSource::StaticBroker,
            });
        }
    }
    for name in keys {
        let row = BROKER_KEYS.iter().find(|row| row.name == *name);
        if let Some(default) = row.and_then(|row| row.default) {
            let value = default.to_string();
            values.push(Synonym {
                name,
                value,
                source: ConfigSource::Default,
            });
        }
    }
    values
}

/// Kafka lists the keys that share a meaning with the first synonym
/// (`DynamicBrokerConfig.brokerConfigSynonyms`).
fn listed_synonyms(first: &'static str, all: &'static [&'static str]) -> &'static [&'static str] {
    match first {
        "log.roll.ms" | "log.roll.jitter.ms" | "log.flush.interval.ms" | "log.retention.ms" => all,
        _ => &all[..1],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::config::Settings;
    use std::path::Path;

    fn broker(text: &str) -> TypedSettings {
        let settings = Settings::from_properties(Path::new("s"), text.as_bytes()).unwrap();
        TypedSettings::new(settings, BROKER_KEYS).unwrap()
    }

    #[test]
    fn messages_are_kafkas() {
        let message = |name, value| validate([(name, value)]).unwrap_err();
        assert_eq!(
            message("no.such", "1"),
            "Unknown topic config name: no.such"
        );
        assert_eq!(
            message("retention.ms", "x"),
            "Invalid value x for configuration retention.ms: Not a number of type LONG"
        );
        assert_eq!(
            message("cleanup.policy", "delete,shred"),
            "Invalid value shred for configuration cleanup.policy: String must be one of: compact, delete"
        );
        assert_eq!(
            message("retention.ms", "-2"),
            "Invalid value -2 for configuration retention.ms: Value must be at least -1"
        );
        assert!(validate([("cleanup.policy", "compact,delete"), ("flush.ms", "0")]).is_ok());
    }

    #[test]
    fn hours_and_minutes_become_milliseconds() {
        let values = broker_defaults(&broker("log.retention.hours=168\nlog.roll.hours=1"));
        assert_eq!(values["retention.ms"], "604800000");
        assert_eq!(values["segment.ms"], "3600000");
        assert_eq!(values["flush.ms"], "9223372036854775807");
        let values = broker_defaults(&broker("log.retention.hours=168\nlog.retention.minutes=-1"));
        assert_eq!(values["retention.ms"], "-1");
    }

    #[test]
    fn the_first_synonym_decides() {
        let broker = broker("log.retention.hours=168\nlog.segment.bytes=1000000");
        let overrides = BTreeMap::from([("retention.ms".to_string(), "5".to_string())]);
        let seen: Vec<_> = synonyms("retention.ms", &broker, &overrides)
            .into_iter()
            .map(|s| (s.name, s.value, s.source as i8))
            .collect();
        assert_eq!(seen, [("retention.ms", "5".to_string(), 1)]);
        let sources: Vec<_> = synonyms("segment.bytes", &broker, &overrides)
            .into_iter()
            .map(|s| (s.value, s.source as i8))
            .collect();
        assert_eq!(
            sources,
            [("1000000".to_string(), 4), ("1073741824".to_string(), 5)]
        );
        assert_eq!(effective(&broker, &overrides)["segment.bytes"], "1000000");
    }
}
