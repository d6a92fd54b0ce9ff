//! Pure: every path of Kafka's znodes (`zk/ZkData.scala`), without chroot.

use std::fmt::Write as _;

/// Parent of the brokers' ephemeral nodes.
pub const BROKER_IDS: &str = "/brokers/ids";
/// Parent of the topics.
pub const TOPICS: &str = "/brokers/topics";
/// Node whose version generates broker ids.
pub const BROKER_SEQUENCE_ID: &str = "/brokers/seqid";
/// The controller's ephemeral node.
pub const CONTROLLER: &str = "/controller";
/// The controller's generation, a decimal number.
pub const CONTROLLER_EPOCH: &str = "/controller_epoch";
/// The cluster's id.
pub const CLUSTER_ID: &str = "/cluster/id";
/// Finalized features.
pub const FEATURE: &str = "/feature";
/// The last block of producer ids that was given away.
pub const PRODUCER_ID_BLOCK: &str = "/latest_producer_id_block";
/// Parent of requests to delete topics.
pub const DELETE_TOPICS: &str = "/admin/delete_topics";
/// Legacy request to elect preferred leaders.
pub const PREFERRED_REPLICA_ELECTION: &str = "/admin/preferred_replica_election";
/// Parent of the configs of all entity types.
pub const CONFIG: &str = "/config";
/// Parent of the sequential notifications of changed configs.
pub const CONFIG_CHANGES: &str = "/config/changes";
/// Name of a config change notification before its ten digits.
pub const CONFIG_CHANGE_PREFIX: &str = "config_change_";
/// Parent of the sequential notifications of changed ISRs (not written since IBP 2.7).
pub const ISR_CHANGES: &str = "/isr_change_notification";
/// Parent of the sequential notifications of failed log directories.
pub const LOG_DIR_EVENTS: &str = "/log_dir_event_notification";
/// Name of a log directory notification before its ten digits.
pub const LOG_DIR_EVENT_PREFIX: &str = "log_dir_event_";

/// Persistent nodes that every broker creates at its start, in this order, with null data
/// (`ZkData.PersistentZkPaths`).
pub const PERSISTENT: [&str; 14] = [
    "/consumers",
    BROKER_IDS,
    TOPICS,
    CONFIG_CHANGES,
    DELETE_TOPICS,
    BROKER_SEQUENCE_ID,
    ISR_CHANGES,
    PRODUCER_ID_BLOCK,
    LOG_DIR_EVENTS,
    "/config/topics",
    "/config/clients",
    "/config/users",
    "/config/brokers",
    "/config/ips",
];

/// The ephemeral node of a broker.
#[must_use]
pub fn broker(id: i32) -> String {
    format!("{BROKER_IDS}/{id}")
}

/// The assignment of a topic.
#[must_use]
pub fn topic(topic: &str) -> String {
    format!("{TOPICS}/{topic}")
}

/// Parent of a topic's partitions.
#[must_use]
pub fn topic_partitions(topic: &str) -> String {
    format!("{TOPICS}/{topic}/partitions")
}

/// Parent of a partition's state.
#[must_use]
pub fn partition(topic: &str, partition: i32) -> String {
    format!("{TOPICS}/{topic}/partitions/{partition}")
}

/// Leader and ISR of a partition.
#[must_use]
pub fn partition_state(topic: &str, partition: i32) -> String {
    format!("{TOPICS}/{topic}/partitions/{partition}/state")
}

/// The request to delete a topic.
#[must_use]
pub fn delete_topic(topic: &str) -> String {
    format!("{DELETE_TOPICS}/{topic}")
}

/// The config of an entity; `entity_type` is `topics`, `brokers`, `clients`, `users` or `ips`.
#[must_use]
pub fn config(entity_type: &str, entity_name: &str) -> String {
    format!("{CONFIG}/{entity_type}/{entity_name}")
}

/// The config of a topic.
#[must_use]
pub fn topic_config(topic: &str) -> String {
    config("topics", topic)
}

/// The path to create for a config change notification; `ZooKeeper` appends ten digits.
#[must_use]
pub fn config_change_sequence() -> String {
    format!("{CONFIG_CHANGES}/{CONFIG_CHANGE_PREFIX}")
}

/// The path to create for a log directory notification; `ZooKeeper` appends ten digits.
#[must_use]
pub fn log_dir_event_sequence() -> String {
    format!("{LOG_DIR_EVENTS}/{LOG_DIR_EVENT_PREFIX}")
}

/// The parent of a path, `/` for a path of one element.
#[must_use]
pub fn parent(path: &str) -> &str {
    match path.rfind('/') {
        None | Some(0) => "/",
        Some(at) => &path[..at],
    }
}

/// A user, client id or address as a znode name: `URLEncoder`, then `+` as `%20` and `*` as `%2A`
/// (`common/utils/Sanitizer.java`).
#[must_use]
pub fn sanitize(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => out.push(byte as char),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sanitized_as_kafka_does() {
        // Seen as /config/users/a%2Ab%20%2Bc for the user `a*b +c`.
        assert_eq!(sanitize("a*b +c"), "a%2Ab%20%2Bc");
        assert_eq!(sanitize("ü_x.y-z"), "%C3%BC_x.y-z");
    }

    #[test]
    fn parents() {
        assert_eq!(parent("/a/b/c"), "/a/b");
        assert_eq!(parent("/a"), "/");
    }
}
