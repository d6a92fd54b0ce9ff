//! Shell: the broker's configuration, typed and checked as `KafkaConfig` does it.

use std::path::{Path, PathBuf};

use common::config::{ConfigError, Settings, TypedSettings};

use crate::config::definitions::BROKER_KEYS;
use crate::config::listeners::{Endpoint, parse_endpoints, parse_protocol_map};

macro_rules! broker_config {
    ($($field:ident: $type:ty = $key:literal;)*) => {
        /// The keys that the broker acts on, typed; a field is named as its key, with underscores.
        #[derive(Clone, Debug)]
        pub struct BrokerConfig {
            /// Every key as text, also those without a field, with where it was set.
            pub raw: TypedSettings,
            /// `broker.id` (`node.id` is its other name); -1 asks for a generated one.
            pub broker_id: i32,
            /// `log.dirs`, else `log.dir`.
            pub log_dirs: Vec<PathBuf>,
            /// `listeners`.
            pub listeners: Vec<Endpoint>,
            /// `advertised.listeners`, else `listeners`; an empty host is still empty here.
            pub advertised_listeners: Vec<Endpoint>,
            /// `inter.broker.listener.name`, else the first listener of `security.inter.broker.protocol`.
            pub inter_broker_listener_name: String,
            /// `control.plane.listener.name`.
            pub control_plane_listener_name: Option<String>,
            /// `broker.rack`.
            pub broker_rack: Option<String>,
            /// `zookeeper.connect`, with its chroot.
            pub zookeeper_connect: String,
            /// `zookeeper.connection.timeout.ms`, else the session timeout, in ms.
            pub zookeeper_connection_timeout_ms: i32,
            $(#[doc = concat!("`", $key, "`.")] pub $field: $type,)*
        }

        /// Every key that has an effect of its own.
        #[cfg(test)]
        pub const ACTED_ON: &[&str] = &[$($key,)*
            "advertised.listeners", "authorizer.class.name", "broker.id", "broker.rack",
            "control.plane.listener.name", "controller.listener.names", "inter.broker.listener.name",
            "listener.security.protocol.map", "listeners", "log.dir",
            "log.dirs", "max.connections.per.ip.overrides", "node.id", "process.roles",
            "security.inter.broker.protocol", "zookeeper.connect", "zookeeper.connection.timeout.ms",
        ];

        impl BrokerConfig {
            fn typed(raw: TypedSettings, special: Special) -> Result<Self, ConfigError> {
                Ok(BrokerConfig {
                    broker_id: special.broker_id,
                    log_dirs: special.log_dirs,
                    listeners: special.listeners,
                    advertised_listeners: special.advertised_listeners,
                    inter_broker_listener_name: special.inter_broker_listener_name,
                    control_plane_listener_name: special.control_plane_listener_name,
                    broker_rack: raw.text("broker.rack").map(str::to_string),
                    zookeeper_connect: special.zookeeper_connect,
                    zookeeper_connection_timeout_ms: special.zookeeper_connection_timeout_ms,
                    $($field: raw.required($key)?,)*
                    raw,
                })
            }
        }
    };
}

broker_config! {
    auto_create_topics_enable: bool = "auto.create.topics.enable";
    auto_leader_rebalance_enable: bool = "auto.leader.rebalance.enable";
    background_threads: i32 = "background.threads";
    broker_id_generation_enable: bool = "broker.id.generation.enable";
    compression_type: String = "compression.type";
    connections_max_idle_ms: i64 = "connections.max.idle.ms";
    controlled_shutdown_enable: bool = "controlled.shutdown.enable";
    controlled_shutdown_max_retries: i32 = "controlled.shutdown.max.retries";
    controlled_shutdown_retry_backoff_ms: i64 = "controlled.shutdown.retry.backoff.ms";
    controller_socket_timeout_ms: i32 = "controller.socket.timeout.ms";
    default_replication_factor: i32 = "default.replication.factor";
    delete_topic_enable: bool = "delete.topic.enable";
    fetch_max_bytes: i32 = "fetch.max.bytes";
    group_initial_rebalance_delay_ms: i32 = "group.initial.rebalance.delay.ms";
    group_max_session_timeout_ms: i32 = "group.max.session.timeout.ms";
    group_max_size: i32 = "group.max.size";
    group_min_session_timeout_ms: i32 = "group.min.session.timeout.ms";
    leader_imbalance_check_interval_seconds: i64 = "leader.imbalance.check.interval.seconds";
    leader_imbalance_per_broker_percentage: i32 = "leader.imbalance.per.broker.percentage";
    log_cleaner_backoff_ms: i64 = "log.cleaner.backoff.ms";
    log_cleaner_dedupe_buffer_size: i64 = "log.cleaner.dedupe.buffer.size";
    log_cleaner_enable: bool = "log.cleaner.enable";
    log_cleaner_io_buffer_load_factor: f64 = "log.cleaner.io.buffer.load.factor";
    log_cleaner_io_buffer_size: i32 = "log.cleaner.io.buffer.size";
    log_cleaner_io_max_bytes_per_second: f64 = "log.cleaner.io.max.bytes.per.second";
    log_cleaner_threads: i32 = "log.cleaner.threads";
    log_flush_offset_checkpoint_interval_ms: i32 = "log.flush.offset.checkpoint.interval.ms";
    log_flush_scheduler_interval_ms: i64 = "log.flush.scheduler.interval.ms";
    log_flush_start_offset_checkpoint_interval_ms: i32 =
        "log.flush.start.offset.checkpoint.interval.ms";
    log_retention_check_interval_ms: i64 = "log.retention.check.interval.ms";
    max_connections: i32 = "max.connections";
    max_connections_per_ip: i32 = "max.connections.per.ip";
    max_incremental_fetch_session_cache_slots: i32 = "max.incremental.fetch.session.cache.slots";
    message_max_bytes: i32 = "message.max.bytes";
    min_insync_replicas: i32 = "min.insync.replicas";
    num_network_threads: i32 = "num.network.threads";
    num_partitions: i32 = "num.partitions";
    num_recovery_threads_per_data_dir: i32 = "num.recovery.threads.per.data.dir";
    num_replica_fetchers: i32 = "num.replica.fetchers";
    offset_metadata_max_bytes: i32 = "offset.metadata.max.bytes";
    offsets_commit_required_acks: i16 = "offsets.commit.required.acks";
    offsets_commit_timeout_ms: i32 = "offsets.commit.timeout.ms";
    offsets_load_buffer_size: i32 = "offsets.load.buffer.size";
    offsets_retention_check_interval_ms: i64 = "offsets.retention.check.interval.ms";
    offsets_retention_minutes: i32 = "offsets.retention.minutes";
    offsets_topic_compression_codec: i32 = "offsets.topic.compression.codec";
    offsets_topic_num_partitions: i32 = "offsets.topic.num.partitions";
    offsets_topic_replication_factor: i16 = "offsets.topic.replication.factor";
    offsets_topic_segment_bytes: i32 = "offsets.topic.segment.bytes";
    producer_id_expiration_ms: i32 = "producer.id.expiration.ms";
    producer_id_expiration_check_interval_ms: i32 = "producer.id.expiration.check.interval.ms";
    queued_max_requests: i32 = "queued.max.requests";
    replica_fetch_backoff_ms: i32 = "replica.fetch.backoff.ms";
    replica_fetch_max_bytes: i32 = "replica.fetch.max.bytes";
    replica_fetch_min_bytes: i32 = "replica.fetch.min.bytes";
    replica_fetch_response_max_bytes: i32 = "replica.fetch.response.max.bytes";
    replica_fetch_wait_max_ms: i32 = "replica.fetch.wait.max.ms";
    replica_high_watermark_checkpoint_interval_ms: i64 =
        "replica.high.watermark.checkpoint.interval.ms";
    replica_lag_time_max_ms: i64 = "replica.lag.time.max.ms";
    replica_socket_timeout_ms: i32 = "replica.socket.timeout.ms";
    request_timeout_ms: i32 = "request.timeout.ms";
    reserved_broker_max_id: i32 = "reserved.broker.max.id";
    socket_listen_backlog_size: i32 = "socket.listen.backlog.size";
    socket_receive_buffer_bytes: i32 = "socket.receive.buffer.bytes";
    socket_request_max_bytes: i32 = "socket.request.max.bytes";
    socket_send_buffer_bytes: i32 = "socket.send.buffer.bytes";
    transaction_abort_timed_out_transaction_cleanup_interval_ms: i32 =
        "transaction.abort.timed.out.transaction.cleanup.interval.ms";
    transaction_max_timeout_ms: i32 = "transaction.max.timeout.ms";
    transaction_partition_verification_enable: bool = "transaction.partition.verification.enable";
    transaction_remove_expired_transaction_cleanup_interval_ms: i32 =
        "transaction.remove.expired.transaction.cleanup.interval.ms";
    transaction_state_log_load_buffer_size: i32 = "transaction.state.log.load.buffer.size";
    transaction_state_log_min_isr: i32 = "transaction.state.log.min.isr";
    transaction_state_log_num_partitions: i32 = "transaction.state.log.num.partitions";
    transaction_state_log_replication_factor: i16 = "transaction.state.log.replication.factor";
    transaction_state_log_segment_bytes: i32 = "transaction.state.log.segment.bytes";
    transactional_id_expiration_ms: i32 = "transactional.id.expiration.ms";
    unclean_leader_election_enable: bool = "unclean.leader.election.enable";
    zookeeper_max_in_flight_requests: i32 = "zookeeper.max.in.flight.requests";
    zookeeper_session_timeout_ms: i32 = "zookeeper.session.timeout.ms";
    zookeeper_set_acl: bool = "zookeeper.set.acl";
}

/// Values that depend on more than one key.
struct Special {
    broker_id: i32,
    log_dirs: Vec<PathBuf>,
    listeners: Vec<Endpoint>,
    advertised_listeners: Vec<Endpoint>,
    inter_broker_listener_name: String,
    control_plane_listener_name: Option<String>,
    zookeeper_connect: String,
    zookeeper_connection_timeout_ms: i32,
}

impl BrokerConfig {
    /// Reads `server.properties` (or TOML), applies `--override key=value`s, checks everything.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self, ConfigError> {
        let mut settings = Settings::load(path)?;
        for text in overrides {
            settings.set_override(text)?;
        }
        Self::from_settings(settings)
    }

    /// Types and checks settings from anywhere.
    pub fn from_settings(mut settings: Settings) -> Result<Self, ConfigError> {
        // Either of the two stands for the other, in DescribeConfigs too (KafkaConfig.populateSynonyms).
        for (one, other) in [("broker.id", "node.id"), ("node.id", "broker.id")] {
            if let (Some(set), None) = (settings.get(one).cloned(), settings.get(other)) {
                settings.insert(other.to_string(), set.value, set.origin);
            }
        }
        let raw = TypedSettings::new(settings, BROKER_KEYS)?;
        let listeners = read_listeners(&raw)?;
        let special = Special {
            broker_id: broker_id(&raw)?,
            log_dirs: log_dirs(&raw)?,
            listeners: listeners.0,
            advertised_listeners: listeners.1,
            inter_broker_listener_name: listeners.2,
            control_plane_listener_name: raw
                .text("control.plane.listener.name")
                .map(str::to_ascii_uppercase),
            zookeeper_connect: zookeeper_connect(&raw)?,
            zookeeper_connection_timeout_ms: match raw.parsed("zookeeper.connection.timeout.ms")? {
                Some(ms) => ms,
                None => raw.required("zookeeper.session.timeout.ms")?,
            },
        };
        let config = BrokerConfig::typed(raw, special)?;
        config.validate()?;
        Ok(config)
    }
}

fn broker_id(raw: &TypedSettings) -> Result<i32, ConfigError> {
    let set = |key| raw.settings().get(key).is_some();
    let broker: i32 = raw.required("broker.id")?;
    let node: i32 = raw.required("node.id")?;
    match (set("broker.id"), set("node.id")) {
        (true, true) if broker != node => Err(raw.reject(
            "node.id",
            "You must set `node.id` to the same value as `broker.id`.".into(),
        )),
        (false, true) => Ok(node),
        _ => Ok(broker),
    }
}

fn log_dirs(raw: &TypedSettings) -> Result<Vec<PathBuf>, ConfigError> {
    let dirs = match raw.text("log.dirs") {
        Some(_) => raw.items("log.dirs"),
        None => raw.items("log.dir"),
    };
    if dirs.is_empty() || dirs.iter().any(String::is_empty) {
        return Err(raw.reject(
            "log.dirs",
            "At least one log directory must be defined via log.dirs or log.dir.".into(),
        ));
    }
    Ok(dirs.into_iter().map(PathBuf::from).collect())
}

fn zookeeper_connect(raw: &TypedSettings) -> Result<String, ConfigError> {
    match raw.text("zookeeper.connect") {
        Some(text) if !text.is_empty() => Ok(text.to_string()),
        _ => Err(ConfigError::Missing {
            path: raw.settings().path().to_path_buf(),
            key: "zookeeper.connect".into(),
        }),
    }
}

type Listeners = (Vec<Endpoint>, Vec<Endpoint>, String);

fn read_listeners(raw: &TypedSettings) -> Result<Listeners, ConfigError> {
    let map_key = "listener.security.protocol.map";
    let protocols = parse_protocol_map(raw.text(map_key).unwrap_or_default())
        .map_err(|reason| raw.reject(map_key, reason))?;
    let listeners = parse_endpoints(raw.text("listeners").unwrap_or_default(), &protocols)
        .map_err(|reason| raw.reject("listeners", reason))?;
    let advertised = match raw.text("advertised.listeners") {
        Some(text) => parse_endpoints(text, &protocols)
            .map_err(|reason| raw.reject("advertised.listeners", reason))?,
        None => listeners.clone(),
    };
    let names = |endpoints: &[Endpoint]| {
        endpoints
            .iter()
            .map(|e| e.listener.clone())
            .collect::<Vec<_>>()
            .join(",")
    };
    if advertised.is_empty() {
        return Err(raw.reject(
            "listeners",
            "There must be at least one advertised listener.".into(),
        ));
    }
    if let Some(extra) = advertised.iter().find(|endpoint| {
        !listeners
            .iter()
            .any(|other| other.listener == endpoint.listener)
    }) {
        return Err(raw.reject(
            "advertised.listeners",
            format!(
                "advertised.listeners listener names must be equal to or a subset of the ones defined in listeners. Found {}. The valid options based on the current configuration are {}",
                extra.listener,
                names(&listeners)
            ),
        ));
    }
    if advertised.iter().any(|endpoint| endpoint.host == "0.0.0.0") {
        let key = ["advertised.listeners", "listeners"]
            .into_iter()
            .find(|key| raw.settings().get(key).is_some())
            .unwrap_or("listeners");
        return Err(raw.reject(
            key,
            "advertised.listeners cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP address.".into(),
        ));
    }
    let inter_broker = inter_broker_listener(raw, &advertised)?;
    if !advertised
        .iter()
        .any(|endpoint| endpoint.listener == inter_broker)
    {
        return Err(raw.reject(
            "inter.broker.listener.name",
            format!(
                "inter.broker.listener.name must be a listener name defined in advertised.listeners. The valid options based on currently configured listeners are {}",
                names(&advertised)
            ),
        ));
    }
    Ok((listeners, advertised, inter_broker))
}

fn inter_broker_listener(
    raw: &TypedSettings,
    advertised: &[Endpoint],
) -> Result<String, ConfigError> {
    if let Some(name) = raw.text("inter.broker.listener.name") {
        if raw
            .settings()
            .get("security.inter.broker.protocol")
            .is_some()
        {
            return Err(raw.reject(
                "inter.broker.listener.name",
                "Only one of inter.broker.listener.name and security.inter.broker.protocol should be set.".into(),
            ));
        }
        return Ok(name.to_ascii_uppercase());
    }
    let protocol = raw
        .text("security.inter.broker.protocol")
        .unwrap_or_default();
    let found = advertised
        .iter()
        .find(|endpoint| endpoint.listener == protocol);
    Ok(found.map_or(protocol.to_string(), |endpoint| endpoint.listener.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<BrokerConfig, ConfigError> {
        BrokerConfig::from_settings(
            Settings::from_properties(Path::new("server.properties"), text.as_bytes()).unwrap(),
        )
    }

    #[test]
    fn the_stock_file_gives_the_stock_values() {
        let config = config("broker.id=0\nzookeeper.connect=localhost:2181/x\n").unwrap();
        assert_eq!(config.listeners[0].port, 9092);
        assert_eq!(config.inter_broker_listener_name, "PLAINTEXT");
        assert_eq!(config.log_dirs, [PathBuf::from("/tmp/kafka-logs")]);
        assert_eq!(config.zookeeper_connection_timeout_ms, 18_000);
        assert_eq!(config.offsets_topic_num_partitions, 50);
        assert!(config.auto_create_topics_enable);
    }

    #[test]
    fn contradictions_name_file_line_and_key() {
        let message = |text: &str| config(text).unwrap_err().to_string();
        assert_eq!(
            message("broker.id=0\n"),
            "server.properties: Missing required configuration \"zookeeper.connect\" which has no default value"
        );
        let zk = "zookeeper.connect=z\n";
        let rejected = message(&format!("{zk}listeners=PLAINTEXT://0.0.0.0:9092"));
        assert!(
            rejected.starts_with("server.properties:2: Invalid value"),
            "{rejected}"
        );
        assert!(
            message(&format!(
                "{zk}listeners=SSL://:9093\nsecurity.inter.broker.protocol=SSL"
            ))
            .contains("PLAINTEXT only")
        );
        assert!(message(&format!("{zk}broker.id=1\nnode.id=2")).contains("same value"));
        assert!(message(&format!("{zk}log.dirs=/a,,/b")).contains("log.dirs"));
        assert!(message(&format!("{zk}broker.id=1001")).contains("reserved.broker.max.id"));
    }
}
