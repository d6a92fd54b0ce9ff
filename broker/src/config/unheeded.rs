//! Pure: settings that the broker reads and does not act on, each with the reason, for the warnings at its start.

use common::config::TypedSettings;

const NO_TLS_OR_SASL: &str = "this broker has no TLS and no SASL";
const NO_QUOTAS: &str = "this broker has no quotas";
const NO_METRICS: &str = "this broker has no metrics yet";
const NO_TIERS: &str = "this broker has no tiered storage";
const NO_POLICIES: &str = "this broker loads no Java classes";
const NO_KRAFT: &str = "it belongs to KRaft mode, and this broker runs with ZooKeeper";
const NO_TOKENS: &str = "this broker has no delegation tokens";
const NO_NEW_GROUPS: &str = "this broker has the classic group protocol only";
const NO_MOVES: &str = "this broker moves no replicas between directories";
const NO_OLD_VERSIONS: &str = "this broker speaks and stores what 3.7 does";
const NO_ENCODER: &str = "this broker keeps no passwords in ZooKeeper";

/// Keys of Kafka that ask for what is not there, alphabetically, with the reason; a name that ends in a dot stands for all
/// that begin with it.
const MISSING: &[(&str, &str)] = &[
    ("alter.config.policy.class.name", NO_POLICIES),
    ("alter.log.dirs.replication.quota.", NO_QUOTAS),
    ("broker.heartbeat.interval.ms", NO_KRAFT),
    ("broker.session.timeout.ms", NO_KRAFT),
    ("client.quota.callback.class", NO_POLICIES),
    ("connection.failed.authentication.delay.ms", NO_TLS_OR_SASL),
    ("connections.max.reauth.ms", NO_TLS_OR_SASL),
    ("controller.quorum.", NO_KRAFT),
    ("controller.quota.", NO_QUOTAS),
    ("create.topic.policy.class.name", NO_POLICIES),
    ("delegation.token.", NO_TOKENS),
    ("early.start.listeners", "this broker has no authorizer"),
    ("eligible.leader.replicas.enable", NO_KRAFT),
    ("group.consumer.", NO_NEW_GROUPS),
    ("group.coordinator.", NO_NEW_GROUPS),
    ("initial.broker.registration.timeout.ms", NO_KRAFT),
    ("inter.broker.protocol.version", NO_OLD_VERSIONS),
    ("kafka.metrics.", NO_METRICS),
    ("log.local.retention.", NO_TIERS),
    ("log.message.format.version", NO_OLD_VERSIONS),
    ("max.connection.creation.rate", NO_QUOTAS),
    ("metadata.", NO_KRAFT),
    ("metric.reporters", NO_METRICS),
    ("metrics.", NO_METRICS),
    ("num.replica.alter.log.dirs.threads", NO_MOVES),
    ("password.encoder.", NO_ENCODER),
    ("principal.builder.class", NO_POLICIES),
    ("quota.", NO_QUOTAS),
    ("remote.log.", NO_TIERS),
    ("replica.selector.class", NO_POLICIES),
    ("replication.quota.", NO_QUOTAS),
    ("sasl.", NO_TLS_OR_SASL),
    ("security.providers", NO_POLICIES),
    ("server.max.startup.time.ms", NO_KRAFT),
    ("ssl.", NO_TLS_OR_SASL),
    ("telemetry.max.bytes", NO_METRICS),
    ("unstable.", "this broker has only what is stable"),
    ("zookeeper.clientCnxnSocket", NO_POLICIES),
    ("zookeeper.metadata.migration.", NO_KRAFT),
    ("zookeeper.ssl.", NO_TLS_OR_SASL),
];

/// One line for each setting of the files and the command line that has no effect, though somebody may count on it: unknown keys, and
/// those that ask for what this broker does not have, with another value than the default.
pub fn warnings(settings: &TypedSettings) -> Vec<String> {
    let unknown = settings.unknown().map(|(key, setting)| {
        format!(
            "{}: {key} has no effect: it is not a key of Kafka 3.7.1",
            setting.origin
        )
    });
    let missing = settings.settings().iter().filter_map(|(key, setting)| {
        let (_, reason) = MISSING.iter().find(|(name, _)| is_meant(name, key))?;
        let default = settings.default(key).unwrap_or_default();
        // A version may be written without its last part.
        let is_default =
            [Some(default), default.split("-IV").next()].contains(&Some(&*setting.value));
        (settings.is_known(key) && !is_default)
            .then(|| format!("{}: {key} has no effect: {reason}", setting.origin))
    });
    unknown.chain(missing).collect()
}

fn is_meant(name: &str, key: &str) -> bool {
    match name.ends_with('.') {
        true => key.starts_with(name),
        false => key == name,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use common::config::Settings;

    use super::*;
    use crate::config::broker::{self, BrokerConfig};
    use crate::config::definitions::{BROKER_KEYS, TOPIC_SYNONYMS};

    /// Keys that set how Kafka's threads and memory are used, which are arranged otherwise here, or a host's plumbing.
    const IMMATERIAL: &[&str] = &[
        "auto.include.jmx.reporter",
        "background.threads",
        "num.io.threads",
        "queued.max.request.bytes",
        "queued.max.requests",
        "replica.socket.receive.buffer.bytes",
        "socket.connection.setup.timeout.max.ms",
        "socket.connection.setup.timeout.ms",
    ];

    #[test]
    fn every_key_has_an_effect_or_a_reason() {
        let has_effect = |key: &str| {
            broker::ACTED_ON.contains(&key)
                || TOPIC_SYNONYMS.iter().any(|(_, keys)| keys.contains(&key))
        };
        let untold: Vec<&str> = BROKER_KEYS
            .iter()
            .map(|row| row.name)
            .filter(|key| !has_effect(key) && !IMMATERIAL.contains(key))
            .filter(|key| !key.ends_with(".purge.interval.requests"))
            .filter(|key| !MISSING.iter().any(|(name, _)| is_meant(name, key)))
            .collect();
        assert_eq!(untold, Vec::<&str>::new());
        for (name, _) in MISSING {
            assert!(
                BROKER_KEYS.iter().any(|row| is_meant(name, row.name)),
                "{name}"
            );
        }
    }

    #[test]
    fn what_has_no_effect_is_named_with_its_place() {
        let text = "zookeeper.connect=z\nlog.retention.hour=1\nnum.io.threads=9\ncreate.topic.policy.class.name=a.B\n\
                    metrics.num.samples=2\n";
        let settings = Settings::from_properties(Path::new("f"), text.as_bytes()).unwrap();
        let config = BrokerConfig::from_settings(settings).unwrap();
        assert_eq!(
            warnings(&config.raw),
            [
                "f:2: log.retention.hour has no effect: it is not a key of Kafka 3.7.1",
                "f:4: create.topic.policy.class.name has no effect: this broker loads no Java classes"
            ]
        );
    }
}
