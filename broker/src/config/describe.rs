//! Pure: the entries of DescribeConfigs answers for topics and for this broker (`ConfigHelper`).

use std::collections::BTreeMap;

use bytestring::ByteString;
use common::config::{Definition, Kind, TypedSettings, list};
use kafka_wire::messages::describe_configs::{
    DescribeConfigsResourceResult, DescribeConfigsSynonym,
};

use crate::config::definitions::{BROKER_KEYS, DYNAMIC_BROKER_KEYS, INTERNAL_BROKER_KEYS};
use crate::config::topic::{self, ConfigSource, Synonym};
use crate::config::topic_docs::documentation;
use crate::log::config::TOPIC_KEYS;

/// What a request asks of one resource.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Only these keys; `None` or empty means all.
    pub keys: Option<&'a [ByteString]>,
    /// Also where else the value could come from.
    pub synonyms: bool,
    /// Also what the key means.
    pub documentation: bool,
}

impl Wanted<'_> {
    fn key(&self, name: &str) -> bool {
        self.keys
            .is_none_or(|keys| keys.is_empty() || keys.iter().any(|key| key == name))
    }
}

/// The entries of a topic that has these overrides.
pub fn topic_entries(
    broker: &TypedSettings,
    overrides: &BTreeMap<String, String>,
    wanted: Wanted<'_>,
) -> Vec<DescribeConfigsResourceResult> {
    let values = topic::effective(broker, overrides);
    let mut entries = Vec::new();
    for row in TOPIC_KEYS.iter().filter(|row| wanted.key(row.name)) {
        let value = values.get(row.name).map(|value| normalise(row.kind, value));
        let synonyms = topic::synonyms(row.name, broker, overrides);
        let mut entry = entry(row.name, Some(row), value, synonyms, wanted.synonyms);
        if wanted.documentation {
            entry.documentation = documentation(row.name).map(ByteString::from_static);
        }
        entries.push(entry);
    }
    entries
}

/// The entries of this broker: every public key, and the unknown ones of its file.
pub fn broker_entries(
    broker: &TypedSettings,
    wanted: Wanted<'_>,
) -> Vec<DescribeConfigsResourceResult> {
    let mut entries = Vec::new();
    for row in BROKER_KEYS {
        let set = broker.settings().get(row.name).is_some();
        if !wanted.key(row.name) || (INTERNAL_BROKER_KEYS.contains(&row.name) && !set) {
            continue;
        }
        let value = broker
            .text(row.name)
            .map(|value| normalise(row.kind, value));
        let synonyms = broker_synonyms(row.name, broker);
        let mut entry = entry(row.name, Some(row), value, synonyms, wanted.synonyms);
        entry.read_only = !DYNAMIC_BROKER_KEYS.contains(&row.name);
        entries.push(entry);
    }
    for (name, setting) in broker.unknown().filter(|(name, _)| wanted.key(name)) {
        // What a key of unknown meaning holds may be a secret, so Kafka shows no value.
        let value = Some(setting.value.clone());
        let mut entry = entry(name, None, value, Vec::new(), wanted.synonyms);
        entry.config_source = ConfigSource::StaticBroker as i8;
        entry.is_default = false;
        entry.read_only = true;
        entries.push(entry);
    }
    entries
}

fn entry(
    name: &str,
    row: Option<&Definition>,
    value: Option<String>,
    synonyms: Vec<Synonym>,
    with_synonyms: bool,
) -> DescribeConfigsResourceResult {
    let is_sensitive = row.is_none_or(|row| row.kind == Kind::Password);
    let source = synonyms
        .first()
        .map_or(ConfigSource::Default, |first| first.source);
    let shown = |value: String| (!is_sensitive).then(|| ByteString::from(value));
    let list = |synonyms: Vec<Synonym>| {
        synonyms
            .into_iter()
            .map(|synonym| DescribeConfigsSynonym {
                name: ByteString::from_static(synonym.name),
                value: shown(synonym.value),
                source: synonym.source as i8,
            })
            .collect()
    };
    DescribeConfigsResourceResult {
        name: ByteString::from(name),
        value: value.and_then(shown),
        read_only: false,
        is_default: source == ConfigSource::Default,
        config_source: source as i8,
        is_sensitive,
        synonyms: if with_synonyms {
            list(synonyms)
        } else {
            Vec::new()
        },
        config_type: row.map_or(0, |row| row.kind.code()),
        documentation: None,
    }
}

/// All places that could give a broker key its value, as `DynamicBrokerConfig.brokerConfigSynonyms` groups them.
fn broker_synonyms(name: &'static str, broker: &TypedSettings) -> Vec<Synonym> {
    const GROUPS: &[&[&str]] = &[
        &["log.roll.ms", "log.roll.hours"],
        &["log.roll.jitter.ms", "log.roll.jitter.hours"],
        &[
            "log.retention.ms",
            "log.retention.minutes",
            "log.retention.hours",
        ],
    ];
    let own: &[&'static str] = &[name];
    let flush: &[&'static str] = &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"];
    let keys = match name {
        "log.flush.interval.ms" => flush,
        _ => GROUPS
            .iter()
            .find(|group| group.contains(&name))
            .copied()
            .unwrap_or(own),
    };
    topic::broker_values(keys, broker)
        .into_iter()
        .skip_while(|s| s.name != name)
        .collect()
}

/// A value as Kafka prints it after parsing (`ConfigDef.convertToString`).
fn normalise(kind: Kind, text: &str) -> String {
    let text = text.trim();
    match kind {
        Kind::Boolean => text.to_ascii_lowercase(),
        Kind::Int | Kind::Short | Kind::Long => text
            .parse::<i64>()
            .map_or_else(|_| text.to_string(), |n| n.to_string()),
        Kind::Double => text.parse().map_or_else(|_| text.to_string(), java_double),
        Kind::List => list(text).join(","),
        Kind::String | Kind::Class | Kind::Password => text.to_string(),
    }
}

/// A double as `Double.toString` writes it.
fn java_double(number: f64) -> String {
    let size = number.abs();
    if number == 0.0 || (1e-3..1e7).contains(&size) || !number.is_finite() {
        return format!("{number:?}");
    }
    let scientific = format!("{number:E}");
    match scientific.split_once('E') {
        Some((digits, exponent)) if !digits.contains('.') => format!("{digits}.0E{exponent}"),
        _ => scientific,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::config::Settings;
    use std::path::Path;

    const ALL: Wanted<'_> = Wanted {
        keys: None,
        synonyms: true,
        documentation: true,
    };

    fn broker(text: &str) -> TypedSettings {
        let settings = Settings::from_properties(Path::new("s"), text.as_bytes()).unwrap();
        TypedSettings::new(settings, BROKER_KEYS).unwrap()
    }

    #[test]
    fn a_topic_shows_its_overrides_first() {
        let overrides = BTreeMap::from([("min.cleanable.dirty.ratio".into(), "0.50".into())]);
        let entries = topic_entries(&broker(""), &overrides, ALL);
        assert_eq!(entries.len(), 31);
        assert!(entries.iter().all(|entry| entry.documentation.is_some()));
        let ratio = entries
            .iter()
            .find(|e| e.name == "min.cleanable.dirty.ratio")
            .unwrap();
        assert_eq!(ratio.value.as_deref(), Some("0.5"));
        assert_eq!(ratio.config_source, 1);
        assert_eq!(ratio.synonyms.len(), 2);
    }

    #[test]
    fn a_broker_hides_passwords_and_unknown_values() {
        let broker = broker("ssl.key.password=x\nmy.plugin.secret=y\nlog.retention.hours=168");
        let entries = broker_entries(&broker, ALL);
        let find = |name: &str| entries.iter().find(|entry| entry.name == name).unwrap();
        assert_eq!(
            (find("ssl.key.password").value.as_deref(), 4),
            (None, find("ssl.key.password").config_source)
        );
        assert_eq!(find("my.plugin.secret").value, None);
        assert_eq!(find("log.retention.hours").config_source, 4);
        assert_eq!(
            find("log.cleaner.io.max.bytes.per.second").value.as_deref(),
            Some("1.7976931348623157E308")
        );
        assert!(!find("log.retention.ms").read_only);
        assert!(find("zookeeper.connect").read_only);
        assert_eq!(entries.len(), 285 + 1);
    }
}
