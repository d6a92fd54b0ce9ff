//! Pure: what the broker's settings must fulfil together, as `KafkaConfig` checks it.

use common::config::ConfigError;

use crate::config::broker::BrokerConfig;
use crate::config::listeners::{Endpoint, SecurityProtocol};
use crate::log::cleaner::offset_map::capacity;

impl BrokerConfig {
    /// Rules over several keys (`KafkaConfig.validateValues`), in Kafka's words.
    ///
    /// # Errors
    /// [`ConfigError`] for the first that is broken, with its place.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let raw = &self.raw;
        if self.broker_id_generation_enable && self.broker_id > self.reserved_broker_max_id {
            return Err(raw.reject(
                "broker.id",
                "broker.id must be greater than or equal to -1 and not greater than reserved.broker.max.id".into(),
            ));
        }
        if self.broker_id
            < if self.broker_id_generation_enable {
                -1
            } else {
                0
            }
        {
            return Err(raw.reject(
                "broker.id",
                "broker.id must be greater than or equal to 0, or -1 with broker.id.generation.enable".into(),
            ));
        }
        self.validate_log_times()?;
        self.validate_cleaner()?;
        if self.replica_fetch_wait_max_ms > self.replica_socket_timeout_ms {
            return Err(raw.reject(
                "replica.fetch.wait.max.ms",
                "replica.socket.timeout.ms should always be at least replica.fetch.wait.max.ms to prevent unnecessary socket timeouts".into(),
            ));
        }
        if i64::from(self.replica_fetch_wait_max_ms) > self.replica_lag_time_max_ms {
            return Err(raw.reject(
                "replica.fetch.wait.max.ms",
                "replica.fetch.wait.max.ms should always be less than or equal to replica.lag.time.max.ms to prevent frequent changes in ISR".into(),
            ));
        }
        if !(-1..=self.offsets_topic_replication_factor)
            .contains(&self.offsets_commit_required_acks)
        {
            return Err(raw.reject(
                "offsets.commit.required.acks",
                "offsets.commit.required.acks must be greater or equal -1 and less or equal to offsets.topic.replication.factor".into(),
            ));
        }
        self.validate_connections()?;
        self.validate_control_plane()?;
        self.refuse_what_is_not_zookeeper_mode()
    }

    /// What the keys in milliseconds, minutes and hours come to; a negative retention is none.
    fn validate_log_times(&self) -> Result<(), ConfigError> {
        let at_least_one = [
            (
                &["log.roll.ms", "log.roll.hours"][..],
                "log.roll.ms must be greater than or equal to 1",
            ),
            (
                &[
                    "log.retention.ms",
                    "log.retention.minutes",
                    "log.retention.hours",
                ],
                "log.retention.ms must be unlimited (-1) or, greater than or equal to 1",
            ),
        ];
        for (keys, rule) in at_least_one {
            let (key, value) = self.first_of(keys)?;
            let is_unlimited = keys.contains(&"log.retention.ms") && value < 0;
            if value < 1 && !is_unlimited {
                return Err(self.raw.reject(key, rule.into()));
            }
        }
        match self.first_of(&["log.roll.jitter.ms", "log.roll.jitter.hours"])? {
            (key, ..0) => Err(self.raw.reject(
                key,
                "log.roll.jitter.ms must be greater than or equal to 0".into(),
            )),
            _ => Ok(()),
        }
    }

    /// The first key that has a value, in its own unit.
    fn first_of(&self, keys: &[&'static str]) -> Result<(&'static str, i64), ConfigError> {
        for key in keys {
            if let Some(value) = self.raw.parsed(key)? {
                return Ok((key, value));
            }
        }
        Ok(("", i64::MAX))
    }

    fn validate_connections(&self) -> Result<(), ConfigError> {
        let raw = &self.raw;
        let key = "max.connections.per.ip.overrides";
        let overrides: Vec<String> = raw
            .items(key)
            .into_iter()
            .filter(|i| !i.is_empty())
            .collect();
        let is_pair = |item: &String| {
            item.rsplit_once(':').is_some_and(|(host, count)| {
                !host.is_empty() && count.trim().parse::<i32>().is_ok()
            })
        };
        if let Some(item) = overrides.iter().find(|item| !is_pair(item)) {
            return Err(raw.reject(key, format!("'{item}' is not host:count")));
        }
        if self.max_connections_per_ip == 0 && overrides.is_empty() {
            return Err(raw.reject(
                "max.connections.per.ip",
                "max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set.".into(),
            ));
        }
        let delay: i64 = raw.required("connection.failed.authentication.delay.ms")?;
        let idle = self.connections_max_idle_ms;
        if idle >= 0 && delay >= idle {
            return Err(raw.reject(
                "connections.max.idle.ms",
                format!(
                    "connection.failed.authentication.delay.ms={delay} should always be less than connections.max.idle.ms={idle} to prevent failed authentication responses from timing out"
                ),
            ));
        }
        let queued: i64 = raw.required("queued.max.request.bytes")?;
        if queued > 0 && queued < i64::from(self.socket_request_max_bytes) {
            return Err(raw.reject(
                "queued.max.request.bytes",
                "queued.max.request.bytes must be larger or equal to socket.request.max.bytes"
                    .into(),
            ));
        }
        if !(0..=4).contains(&self.offsets_topic_compression_codec) {
            return Err(raw.reject(
                "offsets.topic.compression.codec",
                "Unknown compression type id: 0 is none, 1 gzip, 2 snappy, 3 lz4, 4 zstd".into(),
            ));
        }
        Ok(())
    }

    fn validate_control_plane(&self) -> Result<(), ConfigError> {
        let key = "control.plane.listener.name";
        let Some(name) = &self.control_plane_listener_name else {
            return Ok(());
        };
        let mut advertised = self.advertised_listeners.iter();
        if !advertised.any(|endpoint| endpoint.listener == *name) {
            return Err(self.raw.reject(
                key,
                format!("{key} must be a listener name defined in advertised.listeners"),
            ));
        }
        if *name == self.inter_broker_listener_name {
            return Err(self.raw.reject(
                key,
                format!("{key}, when defined, should have a different value from the inter broker listener name"),
            ));
        }
        Ok(())
    }

    fn validate_cleaner(&self) -> Result<(), ConfigError> {
        let raw = &self.raw;
        if self.log_cleaner_threads < 1 {
            return Err(raw.reject(
                "log.cleaner.threads",
                "log.cleaner.threads must be at least 1; log.cleaner.enable=false turns the cleaner off".into(),
            ));
        }
        let per_thread = self.log_cleaner_dedupe_buffer_size / i64::from(self.log_cleaner_threads);
        if per_thread <= 1024 * 1024 {
            return Err(raw.reject(
                "log.cleaner.dedupe.buffer.size",
                "log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.".into(),
            ));
        }
        if capacity(
            per_thread.unsigned_abs(),
            self.log_cleaner_io_buffer_load_factor,
        ) < 1
        {
            return Err(raw.reject(
                "log.cleaner.io.buffer.load.factor",
                "offset map is too small to fit in even a single message, so log cleaning will never make \
                 progress. You can increase log.cleaner.dedupe.buffer.size or decrease log.cleaner.threads"
                    .into(),
            ));
        }
        Ok(())
    }

    fn refuse_what_is_not_zookeeper_mode(&self) -> Result<(), ConfigError> {
        let raw = &self.raw;
        if raw
            .text("process.roles")
            .is_some_and(|roles| !roles.is_empty())
        {
            return Err(raw.reject(
                "process.roles",
                "this broker runs in ZooKeeper mode only: remove process.roles and set zookeeper.connect".into(),
            ));
        }
        if raw
            .text("controller.listener.names")
            .is_some_and(|names| !names.is_empty())
        {
            return Err(raw.reject(
                "controller.listener.names",
                "controller.listener.names must be empty when not running in KRaft mode".into(),
            ));
        }
        if raw
            .text("authorizer.class.name")
            .is_some_and(|name| !name.is_empty())
        {
            return Err(raw.reject(
                "authorizer.class.name",
                "this broker has no authorizer: unset authorizer.class.name".into(),
            ));
        }
        let insecure = |endpoint: &&Endpoint| endpoint.protocol != SecurityProtocol::Plaintext;
        match self.listeners.iter().find(insecure) {
            Some(endpoint) => Err(raw.reject(
                "listeners",
                format!(
                    "listener {} needs {}, and this broker serves PLAINTEXT only",
                    endpoint.listener,
                    endpoint.protocol.name()
                ),
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use common::config::Settings;

    use super::*;

    #[test]
    fn what_kafka_refuses_together_is_refused() {
        let check = |text: &str| {
            let text = format!("zookeeper.connect=z\n{text}\n");
            let settings = Settings::from_properties(Path::new("f"), text.as_bytes()).unwrap();
            BrokerConfig::from_settings(settings).map(|_| ())
        };
        for refused in [
            "log.retention.hours=0",
            "log.retention.minutes=0\nlog.retention.hours=5",
            "log.retention.ms=0",
            "log.roll.ms=0",
            "log.roll.jitter.ms=-1",
            "max.connections.per.ip=0",
            "max.connections.per.ip.overrides=true",
            "max.connections.per.ip.overrides=a:b",
            "connections.max.idle.ms=100",
            "queued.max.request.bytes=1",
            "offsets.topic.compression.codec=5",
            "control.plane.listener.name=X",
            "control.plane.listener.name=PLAINTEXT",
        ] {
            let error = check(refused).unwrap_err().to_string();
            assert!(error.starts_with("f:2: "), "{refused}: {error}");
        }
        for taken in [
            "log.retention.hours=-2",
            "log.retention.ms=-2",
            "log.retention.ms=1\nlog.retention.hours=0",
            "max.connections.per.ip=0\nmax.connections.per.ip.overrides=127.0.0.1:5",
            "connections.max.idle.ms=-1",
            "listeners=PLAINTEXT://a:1,X://a:2\nlistener.security.protocol.map=PLAINTEXT:PLAINTEXT,X:PLAINTEXT\n\
             control.plane.listener.name=x",
        ] {
            check(taken).unwrap();
        }
    }
}
