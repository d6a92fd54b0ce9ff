//! Shell: what the controller last said of the cluster (`server/metadata/ZkMetadataCache.scala`).
//!
//! Readers take a snapshot and never wait; each `UpdateMetadata` makes a new one. Who needs a certain
//! state (a created topic with leaders, say) waits for it with [`MetadataCache::wait_for`].

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytestring::ByteString;
use kafka_wire::messages::update_metadata::{
    UpdateMetadataBroker, UpdateMetadataPartitionState, UpdateMetadataRequest,
};
use kafka_wire::wire::Uuid;
use parking_lot::Mutex;
use tokio::sync::watch;

/// Leader of a partition that has none.
const NO_LEADER: i32 = -1;
/// Leader by which the controller says that the partition is gone.
const LEADER_DURING_DELETE: i32 = -2;

/// One partition, as the controller described it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionMetadata {
    /// The leader's broker id, -1 when there is none.
    pub leader: i32,
    /// The leader's epoch.
    pub leader_epoch: i32,
    /// Replicas in sync.
    pub isr: Vec<i32>,
    /// The partition epoch, which is the version of the state znode.
    pub partition_epoch: i32,
    /// All replicas, the preferred leader first.
    pub replicas: Vec<i32>,
    /// Replicas whose broker or disk is down.
    pub offline_replicas: Vec<i32>,
    /// Epoch of the controller that last changed the partition.
    pub controller_epoch: i32,
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicMetadata {
    /// The topic's id, zero when it has none.
    pub id: Uuid,
    /// Its partitions.
    pub partitions: BTreeMap<i32, PartitionMetadata>,
}

/// An address of a broker on one listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerEndpoint {
    /// The listener's name.
    pub listener: ByteString,
    /// Host that clients connect to.
    pub host: ByteString,
    /// Port that clients connect to.
    pub port: i32,
    /// Number of the security protocol (0 `PLAINTEXT`, 1 `SSL`, 2 `SASL_PLAINTEXT`, 3 `SASL_SSL`).
    pub security_protocol: i16,
}

/// A broker that is alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerMetadata {
    /// The broker's id.
    pub id: i32,
    /// Its rack, if it names one.
    pub rack: Option<ByteString>,
    /// Its addresses, one for each listener.
    pub endpoints: Vec<BrokerEndpoint>,
}

impl BrokerMetadata {
    /// The address on a listener.
    #[must_use]
    pub fn endpoint(&self, listener: &str) -> Option<&BrokerEndpoint> {
        self.endpoints
            .iter()
            .find(|endpoint| endpoint.listener == *listener)
    }
}

/// The cluster at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// All topics by name.
    pub topics: HashMap<ByteString, Arc<TopicMetadata>>,
    /// Names of the topics that have an id.
    pub names: HashMap<Uuid, ByteString>,
    /// All brokers that are alive.
    pub brokers: BTreeMap<i32, Arc<BrokerMetadata>>,
    /// The controller's broker id.
    pub controller_id: Option<i32>,
}

impl Snapshot {
    /// A partition of a topic.
    #[must_use]
    pub fn partition(&self, topic: &str, partition: i32) -> Option<&PartitionMetadata> {
        self.topics.get(topic)?.partitions.get(&partition)
    }

    /// Whether a partition is known and has a leader.
    #[must_use]
    pub fn has_leader(&self, topic: &str, partition: i32) -> bool {
        self.partition(topic, partition)
            .is_some_and(|known| known.leader != NO_LEADER)
    }

    /// The snapshot after an `UpdateMetadata`, and the partitions that it removed.
    fn updated(&self, request: &UpdateMetadataRequest) -> (Self, Vec<(ByteString, i32)>) {
        let mut next = self.clone();
        next.controller_id = Some(request.controller_id).filter(|id| *id >= 0);
        next.brokers = request
            .live_brokers
            .iter()
            .map(|broker| (broker.id, Arc::new(broker_metadata(broker))))
            .collect();
        let mut removed = Vec::new();
        for topic in &request.topic_states {
            next.set_topic_id(&topic.topic_name, topic.topic_id);
            for state in &topic.partition_states {
                next.set_partition(&topic.topic_name, state, &mut removed);
            }
        }
        for state in &request.ungrouped_partition_states {
            next.set_topic_id(&state.topic_name, Uuid::ZERO);
            next.set_partition(&state.topic_name, state, &mut removed);
        }
        (next, removed)
    }

    /// A topic without an id loses the one it had.
    fn set_topic_id(&mut self, name: &ByteString, id: Uuid) {
        let topic = Arc::make_mut(self.topics.entry(name.clone()).or_default());
        if topic.id != id {
            self.names.remove(&topic.id);
            topic.id = id;
        }
        if !id.is_zero() {
            self.names.insert(id, name.clone());
        }
    }

    fn set_partition(
        &mut self,
        name: &ByteString,
        state: &UpdateMetadataPartitionState,
        removed: &mut Vec<(ByteString, i32)>,
    ) {
        let key = (name.clone(), state.partition_index);
        let topic = Arc::make_mut(self.topics.entry(name.clone()).or_default());
        if state.leader == LEADER_DURING_DELETE {
            topic.partitions.remove(&state.partition_index);
            removed.push(key);
            if topic.partitions.is_empty() {
                let id = topic.id;
                self.names.remove(&id);
                self.topics.remove(name);
            }
            return;
        }
        removed.retain(|other| *other != key);
        topic.partitions.insert(
            state.partition_index,
            PartitionMetadata {
                leader: state.leader,
                leader_epoch: state.leader_epoch,
                isr: state.isr.clone(),
                partition_epoch: state.zk_version,
                replicas: state.replicas.clone(),
                offline_replicas: state.offline_replicas.clone(),
                controller_epoch: state.controller_epoch,
            },
        );
    }
}

fn broker_metadata(broker: &UpdateMetadataBroker) -> BrokerMetadata {
    let endpoint = |listener: &ByteString, host: &ByteString, port, security_protocol| {
        let listener = if listener.is_empty() {
            // Versions below 3 name no listener: it is the one named after its protocol.
            ByteString::from_static(protocol_name(security_protocol))
        } else {
            listener.clone()
        };
        BrokerEndpoint {
            listener,
            host: host.clone(),
            port,
            security_protocol,
        }
    };
    let mut endpoints: Vec<_> = broker
        .endpoints
        .iter()
        .map(|e| endpoint(&e.listener, &e.host, e.port, e.security_protocol))
        .collect();
    if endpoints.is_empty() {
        endpoints.push(endpoint(
            &ByteString::new(),
            &broker.v0_host,
            broker.v0_port,
            0,
        ));
    }
    BrokerMetadata {
        id: broker.id,
        rack: broker.rack.clone(),
        endpoints,
    }
}

fn protocol_name(id: i16) -> &'static str {
    match id {
        1 => "SSL",
        2 => "SASL_PLAINTEXT",
        3 => "SASL_SSL",
        _ => "PLAINTEXT",
    }
}

/// The newest snapshot, shared by the whole broker.
#[derive(Debug)]
pub struct MetadataCache {
    snapshot: ArcSwap<Snapshot>,
    /// Serializes updates; held for the making of one snapshot, never across an await.
    update: Mutex<()>,
    changed: watch::Sender<u64>,
}

impl Default for MetadataCache {
    fn default() -> Self {
        Self {
            snapshot: ArcSwap::default(),
            update: Mutex::new(()),
            changed: watch::Sender::new(0),
        }
    }
}

impl MetadataCache {
    /// An empty cache.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The cluster as it is known now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Merges what the controller says and returns the partitions that it removed. A request tells
    /// all brokers but only the partitions that changed.
    pub fn update(&self, request: &UpdateMetadataRequest) -> Vec<(ByteString, i32)> {
        let removed = {
            let _guard = self.update.lock();
            let (next, removed) = self.snapshot.load().updated(request);
            self.snapshot.store(Arc::new(next));
            removed
        };
        self.changed.send_modify(|version| *version += 1);
        removed
    }

    /// Whether the topic exists.
    #[must_use]
    pub fn contains(&self, topic: &str) -> bool {
        self.snapshot.load().topics.contains_key(topic)
    }

    /// The id of a topic; `None` for an unknown topic or one without an id.
    #[must_use]
    pub fn topic_id(&self, topic: &str) -> Option<Uuid> {
        self.snapshot
            .load()
            .topics
            .get(topic)
            .map(|topic| topic.id)
            .filter(|id| !id.is_zero())
    }

    /// The name of the topic that has an id.
    #[must_use]
    pub fn topic_name(&self, id: Uuid) -> Option<ByteString> {
        self.snapshot.load().names.get(&id).cloned()
    }

    /// A partition of a topic.
    #[must_use]
    pub fn partition(&self, topic: &str, partition: i32) -> Option<PartitionMetadata> {
        self.snapshot.load().partition(topic, partition).cloned()
    }

    /// The number of partitions of a topic.
    #[must_use]
    pub fn partition_count(&self, topic: &str) -> Option<usize> {
        self.snapshot
            .load()
            .topics
            .get(topic)
            .map(|topic| topic.partitions.len())
    }

    /// A broker that is alive.
    #[must_use]
    pub fn broker(&self, id: i32) -> Option<Arc<BrokerMetadata>> {
        self.snapshot.load().brokers.get(&id).cloned()
    }

    /// The controller's broker id.
    #[must_use]
    pub fn controller_id(&self) -> Option<i32> {
        self.snapshot.load().controller_id
    }

    /// Tells of each change; a new receiver has seen the present state.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Waits until the cluster is as wished, at most `timeout`; says whether it is.
    pub async fn wait_for(&self, timeout: Duration, wish: impl Fn(&Snapshot) -> bool) -> bool {
        let mut changed = self.changed.subscribe();
        let wished = async {
            while !wish(&self.snapshot.load()) {
                if changed.changed().await.is_err() {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(timeout, wished).await;
        wish(&self.snapshot.load())
    }
}

#[cfg(test)]
mod tests {
    use kafka_wire::messages::update_metadata::{UpdateMetadataEndpoint, UpdateMetadataTopicState};

    use super::*;

    fn request(id: Uuid, states: &[(i32, i32)]) -> UpdateMetadataRequest {
        let states = states
            .iter()
            .map(|(partition_index, leader)| UpdateMetadataPartitionState {
                partition_index: *partition_index,
                leader: *leader,
                ..UpdateMetadataPartitionState::default()
            });
        let topic = UpdateMetadataTopicState {
            topic_name: "t".into(),
            topic_id: id,
            partition_states: states.collect(),
        };
        let endpoint = UpdateMetadataEndpoint {
            listener: "L".into(),
            ..Default::default()
        };
        let broker = UpdateMetadataBroker {
            id: 4,
            endpoints: vec![endpoint],
            ..Default::default()
        };
        UpdateMetadataRequest {
            controller_id: 7,
            topic_states: vec![topic],
            live_brokers: vec![broker],
            ..UpdateMetadataRequest::default()
        }
    }

    #[test]
    fn updates_merge_and_minus_two_removes() {
        let cache = MetadataCache::new();
        let id = Uuid([3; 16]);
        assert!(cache.update(&request(id, &[(0, 4), (1, -1)])).is_empty());
        assert!(cache.update(&request(id, &[(1, 4)])).is_empty());
        assert_eq!(cache.partition_count("t"), Some(2));
        assert_eq!(cache.topic_name(id).as_deref(), Some("t"));
        assert_eq!(cache.controller_id(), Some(7));
        assert!(cache.broker(4).unwrap().endpoint("L").is_some());

        assert_eq!(cache.update(&request(id, &[(0, -2)])), [("t".into(), 0)]);
        assert!(cache.contains("t"));
        assert_eq!(cache.update(&request(id, &[(1, -2)])), [("t".into(), 1)]);
        assert!(!cache.contains("t"));
        assert_eq!(cache.topic_name(id), None);
    }

    #[test]
    fn a_zero_id_drops_the_id() {
        let cache = MetadataCache::new();
        cache.update(&request(Uuid([3; 16]), &[(0, 4)]));
        cache.update(&request(Uuid::ZERO, &[(0, 4)]));
        assert_eq!(cache.topic_id("t"), None);
        assert_eq!(cache.topic_name(Uuid([3; 16])), None);
    }

    #[tokio::test]
    async fn waiting_ends_with_the_change() {
        let cache = Arc::new(MetadataCache::new());
        let other = cache.clone();
        let waiter = tokio::spawn(async move {
            other
                .wait_for(Duration::from_secs(30), |now| now.has_leader("t", 0))
                .await
        });
        tokio::task::yield_now().await;
        cache.update(&request(Uuid::ZERO, &[(0, -1)]));
        cache.update(&request(Uuid::ZERO, &[(0, 4)]));
        assert!(waiter.await.unwrap());
    }
}
