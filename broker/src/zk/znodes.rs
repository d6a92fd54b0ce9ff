//! Pure: the data of Kafka's znodes, byte for byte as the broker of Scala 2.13 writes it
//! (`zk/ZkData.scala`); key orders come from [`super::scala_order`].

use std::collections::BTreeMap;
use std::fmt;

use kafka_wire::wire::Uuid;
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::zk::scala_order;

/// Leader of a partition that has none.
pub const NO_LEADER: i32 = -1;
/// Leader that tells brokers to forget a partition, because its topic is being deleted.
pub const LEADER_DURING_DELETE: i32 = -2;
/// Leader epoch that makes `StopReplica` override any epoch, because the topic is being deleted.
pub const EPOCH_DURING_DELETE: i32 = -2;
/// Number of producer ids in a block (`ProducerIdsBlock.PRODUCER_ID_BLOCK_SIZE`).
pub const PRODUCER_ID_BLOCK_SIZE: i64 = 1000;

/// A partition of a topic; shown as `topic-0`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
}

impl TopicPartition {
    /// Partition `partition` of `topic`.
    #[must_use]
    pub fn new(topic: &str, partition: i32) -> Self {
        Self {
            topic: topic.to_string(),
            partition,
        }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// Data that is not what Kafka writes at that path.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("znode holds no valid {what}: {data:?}")]
pub struct ZnodeError {
    /// What was expected.
    pub what: &'static str,
    /// The data, cut to 200 bytes.
    pub data: String,
}

fn invalid(what: &'static str, data: &[u8]) -> ZnodeError {
    let shown = data.get(..200).unwrap_or(data);
    ZnodeError {
        what,
        data: String::from_utf8_lossy(shown).into_owned(),
    }
}

/// Compact JSON of an object in the given key order.
fn object(entries: Vec<(String, Value)>) -> Vec<u8> {
    Value::Object(entries.into_iter().collect())
        .to_string()
        .into_bytes()
}

fn pairs<const N: usize>(entries: [(&str, Value); N]) -> Vec<(String, Value)> {
    entries
        .into_iter()
        .map(|(key, value)| (key.to_string(), value))
        .collect()
}

fn parse(what: &'static str, data: &[u8]) -> Result<Map<String, Value>, ZnodeError> {
    match serde_json::from_slice(data) {
        Ok(Value::Object(map)) => Ok(map),
        _ => Err(invalid(what, data)),
    }
}

fn int(value: Option<&Value>) -> Option<i32> {
    value
        .and_then(Value::as_i64)
        .and_then(|number| i32::try_from(number).ok())
}

fn ints(value: Option<&Value>) -> Option<Vec<i32>> {
    value?
        .as_array()?
        .iter()
        .map(|item| int(Some(item)))
        .collect()
}

fn text(value: Option<&Value>) -> Option<String> {
    value.and_then(Value::as_str).map(ToString::to_string)
}

/// An address that a broker advertises.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// Name of the listener, in upper case.
    pub listener: String,
    /// `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`.
    pub security_protocol: String,
    /// Host that clients connect to.
    pub host: String,
    /// Port that clients connect to.
    pub port: i32,
}

impl Endpoint {
    /// `LISTENER://host:port`; IPv6 addresses in brackets.
    #[must_use]
    pub fn connection_string(&self) -> String {
        if self.host.contains(':') {
            format!("{}://[{}]:{}", self.listener, self.host, self.port)
        } else {
            format!("{}://{}:{}", self.listener, self.host, self.port)
        }
    }

    /// The number of the security protocol in `UpdateMetadata` (`SecurityProtocol.java`).
    #[must_use]
    pub fn security_protocol_id(&self) -> i16 {
        match self.security_protocol.as_str() {
            "SSL" => 1,
            "SASL_PLAINTEXT" => 2,
            "SASL_SSL" => 3,
            _ => 0,
        }
    }

    fn parse(text: &str, protocols: &BTreeMap<String, String>) -> Option<Self> {
        let (listener, address) = text.split_once("://")?;
        let (host, port) = address.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let security_protocol = protocols
            .get(listener)
            .cloned()
            .unwrap_or_else(|| listener.to_string());
        Some(Self {
            listener: listener.to_string(),
            security_protocol,
            host: host.to_string(),
            port: port.parse().ok()?,
        })
    }
}

/// What a broker says of itself in `/brokers/ids/<id>` (version 5).
#[derive(Debug, Clone, PartialEq)]
pub struct BrokerRegistration {
    /// The broker's id; it stands in the path only.
    pub id: i32,
    /// Advertised addresses in the order of `advertised.listeners`.
    pub endpoints: Vec<Endpoint>,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// Supported features; ours are empty.
    pub features: Map<String, Value>,
}

impl BrokerRegistration {
    /// The node's data; `now_ms` is wall clock time, `jmx_port` -1 when there is none.
    #[must_use]
    pub fn encode(&self, now_ms: i64, jmx_port: i32) -> Vec<u8> {
        let plaintext = self
            .endpoints
            .iter()
            .find(|e| e.security_protocol == "PLAINTEXT");
        let endpoints: Vec<_> = self
            .endpoints
            .iter()
            .map(Endpoint::connection_string)
            .collect();
        let mut entries = pairs([
            ("version", json!(5)),
            ("host", json!(plaintext.map(|e| e.host.as_str()))),
            ("port", json!(plaintext.map_or(-1, |e| e.port))),
            ("endpoints", json!(endpoints)),
            ("jmx_port", json!(jmx_port)),
            ("timestamp", json!(now_ms.to_string())),
        ]);
        let literal = entries.len();
        if let Some(rack) = &self.rack {
            entries.push(("rack".to_string(), json!(rack)));
        }
        let mut protocols: Vec<(String, Value)> = Vec::new();
        for endpoint in &self.endpoints {
            protocols.retain(|(listener, _)| *listener != endpoint.listener);
            protocols.push((endpoint.listener.clone(), json!(endpoint.security_protocol)));
        }
        let protocols = scala_order::immutable_map(protocols).into_iter().collect();
        entries.push((
            "listener_security_protocol_map".to_string(),
            Value::Object(protocols),
        ));
        entries.push(("features".to_string(), Value::Object(self.features.clone())));
        object(scala_order::mutable_map(entries, literal))
    }

    /// Reads the node of broker `id`, versions 1 to 5.
    ///
    /// # Errors
    /// When the data is no registration.
    pub fn decode(id: i32, data: &[u8]) -> Result<Self, ZnodeError> {
        const WHAT: &str = "broker registration";
        let map = parse(WHAT, data)?;
        let decoded = || {
            let version = int(map.get("version")).filter(|version| *version >= 1)?;
            let endpoints = if version == 1 {
                vec![Endpoint {
                    listener: "PLAINTEXT".to_string(),
                    security_protocol: "PLAINTEXT".to_string(),
                    host: text(map.get("host"))?,
                    port: int(map.get("port"))?,
                }]
            } else {
                let mut protocols = BTreeMap::new();
                if let Some(Value::Object(given)) = map.get("listener_security_protocol_map") {
                    for (listener, protocol) in given {
                        protocols.insert(listener.clone(), protocol.as_str()?.to_string());
                    }
                }
                let given = map.get("endpoints")?.as_array()?;
                given
                    .iter()
                    .map(|item| Endpoint::parse(item.as_str()?, &protocols))
                    .collect::<Option<_>>()?
            };
            let features = match map.get("features") {
                Some(Value::Object(features)) => features.clone(),
                _ => Map::new(),
            };
            Some(Self {
                id,
                endpoints,
                rack: text(map.get("rack")),
                features,
            })
        };
        decoded().ok_or_else(|| invalid(WHAT, data))
    }

    /// The address of this broker on a listener.
    #[must_use]
    pub fn endpoint(&self, listener: &str) -> Option<&Endpoint> {
        self.endpoints
            .iter()
            .find(|endpoint| endpoint.listener == listener)
    }
}

/// `/controller`: who is controller.
#[must_use]
pub fn encode_controller(broker_id: i32, now_ms: i64) -> Vec<u8> {
    object(scala_order::immutable_map(pairs([
        ("version", json!(2)),
        ("brokerid", json!(broker_id)),
        ("timestamp", json!(now_ms.to_string())),
        ("kraftControllerEpoch", json!(-1)),
    ])))
}

/// The broker id in `/controller`.
///
/// # Errors
/// When the data names no broker.
pub fn decode_controller(data: &[u8]) -> Result<i32, ZnodeError> {
    let map = parse("controller", data)?;
    int(map.get("brokerid")).ok_or_else(|| invalid("controller", data))
}

/// `/controller_epoch` and other nodes that hold one decimal number.
///
/// # Errors
/// When the data is no number.
pub fn decode_number(data: &[u8]) -> Result<i32, ZnodeError> {
    std::str::from_utf8(data)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| invalid("number", data))
}

/// `/cluster/id`.
#[must_use]
pub fn encode_cluster_id(id: &str) -> Vec<u8> {
    object(pairs([("version", json!("1")), ("id", json!(id))]))
}

/// The id in `/cluster/id`.
///
/// # Errors
/// When the data has no id.
pub fn decode_cluster_id(data: &[u8]) -> Result<String, ZnodeError> {
    text(parse("cluster id", data)?.get("id")).ok_or_else(|| invalid("cluster id", data))
}

/// `/feature` as a new cluster gets it: enabled (1), no finalized features, version 2.
#[must_use]
pub fn encode_feature(features: &Map<String, Value>) -> Vec<u8> {
    let entries = pairs([
        ("version", json!(2)),
        ("status", json!(1)),
        ("features", Value::Object(features.clone())),
    ]);
    object(scala_order::mutable_map(entries, 3))
}

/// Whether `/feature` is enabled, and its finalized features.
///
/// # Errors
/// When the data is no feature node.
pub fn decode_feature(data: &[u8]) -> Result<(bool, Map<String, Value>), ZnodeError> {
    let map = parse("feature", data)?;
    let status = int(map.get("status")).ok_or_else(|| invalid("feature", data))?;
    let features = match map.get("features") {
        Some(Value::Object(features)) => features.clone(),
        _ => Map::new(),
    };
    Ok((status == 1, features))
}

/// Who holds a partition, and a change of that in progress (KIP-455).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplicaAssignment {
    /// All replicas; during a reassignment the target ones first, then those to be removed.
    pub replicas: Vec<i32>,
    /// Replicas that a reassignment adds.
    pub adding: Vec<i32>,
    /// Replicas that a reassignment removes.
    pub removing: Vec<i32>,
}

impl ReplicaAssignment {
    /// An assignment with no reassignment in progress.
    #[must_use]
    pub fn new(replicas: Vec<i32>) -> Self {
        Self {
            replicas,
            adding: Vec::new(),
            removing: Vec::new(),
        }
    }

    /// Whether a reassignment is in progress.
    #[must_use]
    pub fn is_being_reassigned(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }

    /// The replicas once the reassignment is over.
    #[must_use]
    pub fn target(&self) -> Vec<i32> {
        self.replicas
            .iter()
            .copied()
            .filter(|id| !self.removing.contains(id))
            .collect()
    }

    /// The replicas before the reassignment.
    #[must_use]
    pub fn origin(&self) -> Vec<i32> {
        self.replicas
            .iter()
            .copied()
            .filter(|id| !self.adding.contains(id))
            .collect()
    }
}

/// `/brokers/topics/<topic>` (version 3).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicAssignment {
    /// The topic's id; none in nodes older than Kafka 2.8.
    pub topic_id: Option<Uuid>,
    /// Replicas by partition.
    pub partitions: BTreeMap<i32, ReplicaAssignment>,
}

impl TopicAssignment {
    /// The node's data.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let lists = |of: fn(&ReplicaAssignment) -> &Vec<i32>, keep_empty: bool| {
            let entries = self
                .partitions
                .iter()
                .filter(|(_, assignment)| keep_empty || !of(assignment).is_empty())
                .map(|(partition, assignment)| (partition.to_string(), json!(of(assignment))))
                .collect();
            Value::Object(scala_order::mutable_map(entries, 0).into_iter().collect())
        };
        let mut entries = pairs([
            ("version", json!(3)),
            ("partitions", lists(|assignment| &assignment.replicas, true)),
            (
                "adding_replicas",
                lists(|assignment| &assignment.adding, false),
            ),
            (
                "removing_replicas",
                lists(|assignment| &assignment.removing, false),
            ),
        ]);
        let literal = entries.len();
        if let Some(id) = self.topic_id {
            entries.push(("topic_id".to_string(), json!(id.to_string())));
        }
        object(scala_order::mutable_map(entries, literal))
    }

    /// Reads the node.
    ///
    /// # Errors
    /// When the data is no assignment.
    pub fn decode(data: &[u8]) -> Result<Self, ZnodeError> {
        const WHAT: &str = "topic assignment";
        let map = parse(WHAT, data)?;
        let decoded = || {
            let topic_id = match map.get("topic_id") {
                None => None,
                id => Some(Uuid::parse(&text(id)?)?),
            };
            let list_in = |key: &str, partition: &str| match map.get(key) {
                Some(Value::Object(lists)) if lists.contains_key(partition) => {
                    ints(lists.get(partition))
                }
                _ => Some(Vec::new()),
            };
            let mut partitions = BTreeMap::new();
            if let Some(lists) = map.get("partitions") {
                for (partition, replicas) in lists.as_object()? {
                    let assignment = ReplicaAssignment {
                        replicas: ints(Some(replicas))?,
                        adding: list_in("adding_replicas", partition)?,
                        removing: list_in("removing_replicas", partition)?,
                    };
                    partitions.insert(partition.parse().ok()?, assignment);
                }
            }
            Some(Self {
                topic_id,
                partitions,
            })
        };
        decoded().ok_or_else(|| invalid(WHAT, data))
    }
}

/// Leader, ISR and epochs of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderAndIsr {
    /// The leader's broker id, [`NO_LEADER`] or [`LEADER_DURING_DELETE`].
    pub leader: i32,
    /// Grows by one with each election.
    pub leader_epoch: i32,
    /// Replicas in sync, the leader among them.
    pub isr: Vec<i32>,
    /// Whether the leader was elected uncleanly and has not recovered yet (KIP-704).
    pub recovering: bool,
    /// Version of the state node, which is the partition epoch.
    pub partition_epoch: i32,
}

/// `.../partitions/<p>/state`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionState {
    /// Leader and ISR.
    pub leader_and_isr: LeaderAndIsr,
    /// Epoch of the controller that wrote the node.
    pub controller_epoch: i32,
}

impl PartitionState {
    /// The node's data; the partition epoch is the node's version and not part of it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let state = &self.leader_and_isr;
        let mut entries = pairs([
            ("version", json!(1)),
            ("leader", json!(state.leader)),
            ("leader_epoch", json!(state.leader_epoch)),
            ("controller_epoch", json!(self.controller_epoch)),
            ("isr", json!(state.isr)),
        ]);
        if state.recovering {
            entries.push(("leader_recovery_state".to_string(), json!(1)));
        }
        object(scala_order::immutable_map(entries))
    }

    /// Reads the node; `version` is its data version.
    ///
    /// # Errors
    /// When the data is no partition state.
    pub fn decode(data: &[u8], version: i32) -> Result<Self, ZnodeError> {
        const WHAT: &str = "partition state";
        let map = parse(WHAT, data)?;
        let decoded = || {
            Some(Self {
                leader_and_isr: LeaderAndIsr {
                    leader: int(map.get("leader"))?,
                    leader_epoch: int(map.get("leader_epoch"))?,
                    isr: ints(map.get("isr"))?,
                    recovering: int(map.get("leader_recovery_state")) == Some(1),
                    partition_epoch: version,
                },
                controller_epoch: int(map.get("controller_epoch"))?,
            })
        };
        decoded().ok_or_else(|| invalid(WHAT, data))
    }
}

/// What came of a write to a partition's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateWrite {
    /// It was written and has this version.
    Written(i32),
    /// Another version was there; its state, or none when the node is gone.
    Conflict(Option<PartitionState>),
    /// It could not be written.
    Failed(String),
}

/// `/config/<type>/<name>`: overrides in the order in which they were set.
#[must_use]
pub fn encode_config(config: &[(String, String)]) -> Vec<u8> {
    let entries = config
        .iter()
        .map(|(key, value)| (key.clone(), json!(value)))
        .collect();
    let config = Value::Object(scala_order::properties(entries).into_iter().collect());
    object(pairs([("version", json!(1)), ("config", config)]))
}

/// The overrides in a config node; none when the data is null or no object.
///
/// # Errors
/// When a value is not a string.
pub fn decode_config(data: Option<&[u8]>) -> Result<Vec<(String, String)>, ZnodeError> {
    let Some(data) = data else {
        return Ok(Vec::new());
    };
    let Ok(map) = parse("config", data) else {
        return Ok(Vec::new());
    };
    let Some(Value::Object(config)) = map.get("config") else {
        return Ok(Vec::new());
    };
    config
        .iter()
        .map(|(key, value)| Some((key.clone(), value.as_str()?.to_string())))
        .collect::<Option<_>>()
        .ok_or_else(|| invalid("config", data))
}

/// `/config/changes/config_change_<n>`; `entity_path` as in `topics/t` or `brokers/<default>`.
#[must_use]
pub fn encode_config_change(entity_path: &str) -> Vec<u8> {
    object(pairs([
        ("version", json!(2)),
        ("entity_path", json!(entity_path)),
    ]))
}

/// The entity path in a config change notification, version 1 or 2.
///
/// # Errors
/// When the data names no entity.
pub fn decode_config_change(data: &[u8]) -> Result<String, ZnodeError> {
    const WHAT: &str = "config change notification";
    let map = parse(WHAT, data)?;
    let path = match int(map.get("version")) {
        Some(1) => text(map.get("entity_type"))
            .zip(text(map.get("entity_name")))
            .map(|(entity_type, name)| format!("{entity_type}/{name}")),
        Some(2) => text(map.get("entity_path")),
        _ => None,
    };
    path.filter(|path| path.contains('/'))
        .ok_or_else(|| invalid(WHAT, data))
}

/// `/latest_producer_id_block`: the broker and the first and last id of its block.
#[must_use]
pub fn encode_producer_id_block(broker_id: i32, first: i64, last: i64) -> Vec<u8> {
    object(scala_order::immutable_map(pairs([
        ("version", json!(1)),
        ("broker", json!(broker_id)),
        ("block_start", json!(first.to_string())),
        ("block_end", json!(last.to_string())),
    ])))
}

/// The last id of the block in `/latest_producer_id_block`.
///
/// # Errors
/// When the data is no block.
pub fn decode_producer_id_block_end(data: &[u8]) -> Result<i64, ZnodeError> {
    let map = parse("producer id block", data)?;
    text(map.get("block_end"))
        .and_then(|end| end.parse().ok())
        .ok_or_else(|| invalid("producer id block", data))
}

/// `/log_dir_event_notification/log_dir_event_<n>`: a log directory of the broker failed.
#[must_use]
pub fn encode_log_dir_event(broker_id: i32) -> Vec<u8> {
    object(pairs([
        ("version", json!(1)),
        ("broker", json!(broker_id)),
        ("event", json!(1)),
    ]))
}

/// The broker in a log directory notification.
///
/// # Errors
/// When the data names no broker.
pub fn decode_log_dir_event(data: &[u8]) -> Result<i32, ZnodeError> {
    int(parse("log dir event", data)?.get("broker")).ok_or_else(|| invalid("log dir event", data))
}

/// The partitions in `/admin/preferred_replica_election` or an ISR change notification.
///
/// # Errors
/// When the data is no list of partitions.
pub fn decode_partitions(data: &[u8]) -> Result<Vec<(String, i32)>, ZnodeError> {
    const WHAT: &str = "list of partitions";
    let map = parse(WHAT, data)?;
    let decoded = || {
        let items = map.get("partitions")?.as_array()?;
        items
            .iter()
            .map(|item| Some((text(item.get("topic"))?, int(item.get("partition"))?)))
            .collect::<Option<Vec<_>>>()
    };
    decoded().ok_or_else(|| invalid(WHAT, data))
}

#[cfg(test)]
#[path = "znodes_test.rs"]
mod tests;
