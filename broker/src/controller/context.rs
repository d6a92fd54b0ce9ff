//! Pure: all that the controller knows of the cluster (`controller/ControllerContext.scala`).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use kafka_wire::wire::Uuid;

use crate::zk::znodes::{
    BrokerRegistration, EPOCH_DURING_DELETE, PartitionState, ReplicaAssignment, TopicAssignment,
    TopicPartition,
};

/// One replica of a partition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Replica {
    /// The partition.
    pub partition: TopicPartition,
    /// The broker that holds, or should hold, the replica.
    pub broker: i32,
}

/// Where a partition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionPhase {
    /// Known, without a leader so far.
    New,
    /// It has a leader.
    Online,
    /// Its leader is gone.
    Offline,
    /// Never created, or deleted.
    NonExistent,
}

impl PartitionPhase {
    /// Whether a partition may go from `self` to `target`.
    #[must_use]
    pub fn may_become(self, target: Self) -> bool {
        match target {
            Self::New => self == Self::NonExistent,
            Self::Online | Self::Offline => self != Self::NonExistent,
            Self::NonExistent => self == Self::Offline,
        }
    }
}

/// Where a replica stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplicaPhase {
    /// Assigned, not started yet.
    New,
    /// Its broker is alive.
    Online,
    /// Its broker or its disk is gone.
    Offline,
    /// It was asked to delete its log.
    DeletionStarted,
    /// It deleted its log.
    DeletionSuccessful,
    /// It cannot delete its log now.
    DeletionIneligible,
    /// Never created, or deleted.
    NonExistent,
}

impl ReplicaPhase {
    /// Whether a replica may go from `self` to `target`.
    #[must_use]
    pub fn may_become(self, target: Self) -> bool {
        match target {
            Self::New => self == Self::NonExistent,
            Self::Online | Self::Offline => {
                matches!(
                    self,
                    Self::New | Self::Online | Self::Offline | Self::DeletionIneligible
                )
            }
            Self::DeletionStarted => self == Self::Offline,
            Self::DeletionSuccessful => self == Self::DeletionStarted,
            Self::DeletionIneligible => matches!(self, Self::Offline | Self::DeletionStarted),
            Self::NonExistent => self == Self::DeletionSuccessful,
        }
    }
}

/// A broker that is registered.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveBroker {
    /// What it registered.
    pub registration: BrokerRegistration,
    /// Its epoch: the czxid of its znode.
    pub epoch: i64,
}

/// The controller's picture of the cluster; it belongs to one machine.
#[derive(Debug, Default)]
pub struct ControllerContext {
    /// This controller's generation.
    pub epoch: i32,
    /// Version of `/controller_epoch` that this controller's writes are conditional on.
    pub epoch_zk_version: i32,
    /// Registered brokers, those shutting down among them.
    pub brokers: BTreeMap<i32, LiveBroker>,
    /// Brokers that asked for a controlled shutdown.
    pub shutting_down: BTreeSet<i32>,
    /// All topics with their ids and assignments; changed by [`Self::insert_topic`].
    pub topics: BTreeMap<String, TopicAssignment>,
    /// Names of the topics that have an id.
    names: HashMap<Uuid, String>,
    /// Leader and ISR of each partition that has a state node.
    pub leadership: BTreeMap<TopicPartition, PartitionState>,
    /// Phase of each partition.
    pub partition_phases: BTreeMap<TopicPartition, PartitionPhase>,
    /// Phase of each replica.
    pub replica_phases: BTreeMap<Replica, ReplicaPhase>,
    /// Partitions whose log directory failed, by broker.
    pub offline_dirs: BTreeMap<i32, BTreeSet<TopicPartition>>,
    /// Topics that are to be deleted.
    pub to_delete: BTreeSet<String>,
    /// Topics of `to_delete` whose deletion has begun.
    pub deletion_started: BTreeSet<String>,
    /// Topics of `to_delete` that must wait.
    pub deletion_ineligible: BTreeSet<String>,
}

impl ControllerContext {
    /// Nothing known yet; the epoch is this controller's, with the version of its znode.
    #[must_use]
    pub fn new(epoch: i32, epoch_zk_version: i32) -> Self {
        Self {
            epoch,
            epoch_zk_version,
            ..Self::default()
        }
    }

    /// Whether the broker is registered and not shutting down.
    #[must_use]
    pub fn is_live(&self, broker: i32) -> bool {
        self.brokers.contains_key(&broker) && !self.shutting_down.contains(&broker)
    }

    /// All registered brokers.
    #[must_use]
    pub fn registered_ids(&self) -> Vec<i32> {
        self.brokers.keys().copied().collect()
    }

    /// Whether a replica's broker is live and its log directory fine.
    #[must_use]
    pub fn is_replica_online(&self, broker: i32, partition: &TopicPartition) -> bool {
        let dir_failed = self
            .offline_dirs
            .get(&broker)
            .is_some_and(|failed| failed.contains(partition));
        self.is_live(broker) && !dir_failed
    }

    /// The assignment of a partition; none for an unknown one.
    #[must_use]
    pub fn assignment(&self, partition: &TopicPartition) -> Option<&ReplicaAssignment> {
        self.topics
            .get(&partition.topic)?
            .partitions
            .get(&partition.partition)
    }

    /// The replicas of a partition; none for an unknown one.
    #[must_use]
    pub fn replicas(&self, partition: &TopicPartition) -> &[i32] {
        self.assignment(partition)
            .map_or(&[], |assignment| &assignment.replicas)
    }

    /// The id of a topic, zero when it has none.
    #[must_use]
    pub fn topic_id(&self, topic: &str) -> Uuid {
        self.topics
            .get(topic)
            .and_then(|topic| topic.topic_id)
            .unwrap_or(Uuid::ZERO)
    }

    /// The topic that has an id.
    #[must_use]
    pub fn topic_name(&self, id: Uuid) -> Option<&str> {
        self.names.get(&id).map(String::as_str)
    }

    /// Adds a topic or replaces its assignment.
    pub fn insert_topic(&mut self, topic: &str, assignment: TopicAssignment) {
        if let Some(id) = assignment.topic_id {
            self.names.insert(id, topic.to_string());
        }
        self.topics.insert(topic.to_string(), assignment);
    }

    /// All partitions of all topics.
    pub fn all_partitions(&self) -> impl Iterator<Item = TopicPartition> {
        self.topics.iter().flat_map(|(name, topic)| {
            topic
                .partitions
                .keys()
                .map(|partition| TopicPartition::new(name, *partition))
        })
    }

    /// The partitions of a topic.
    #[must_use]
    pub fn topic_partitions(&self, topic: &str) -> Vec<TopicPartition> {
        self.topics.get(topic).map_or_else(Vec::new, |assignment| {
            assignment
                .partitions
                .keys()
                .map(|p| TopicPartition::new(topic, *p))
                .collect()
        })
    }

    /// The replicas of a topic.
    #[must_use]
    pub fn topic_replicas(&self, topic: &str) -> Vec<Replica> {
        self.partition_replicas(&self.topic_partitions(topic))
    }

    /// The replicas of some partitions.
    #[must_use]
    pub fn partition_replicas(&self, partitions: &[TopicPartition]) -> Vec<Replica> {
        let replicas_of = |partition: &TopicPartition| {
            let replica = |broker: &i32| Replica {
                partition: partition.clone(),
                broker: *broker,
            };
            self.replicas(partition)
                .iter()
                .map(replica)
                .collect::<Vec<_>>()
        };
        partitions.iter().flat_map(replicas_of).collect()
    }

    /// The replicas that some brokers hold.
    #[must_use]
    pub fn replicas_on(&self, brokers: &[i32]) -> Vec<Replica> {
        let all: Vec<_> = self.all_partitions().collect();
        let mut replicas = self.partition_replicas(&all);
        replicas.retain(|replica| brokers.contains(&replica.broker));
        replicas
    }

    /// Whether the topic is to be deleted.
    #[must_use]
    pub fn is_queued_for_deletion(&self, topic: &str) -> bool {
        self.to_delete.contains(topic)
    }

    /// Partitions with a state node whose topic is not to be deleted.
    #[must_use]
    pub fn partitions_with_leaders(&self) -> Vec<TopicPartition> {
        let known = self.leadership.keys();
        known
            .filter(|tp| !self.is_queued_for_deletion(&tp.topic))
            .cloned()
            .collect()
    }

    /// Partitions whose leader is not online, of topics that are not to be deleted.
    #[must_use]
    pub fn partitions_with_offline_leader(&self) -> Vec<TopicPartition> {
        let offline = |(tp, state): &(&TopicPartition, &PartitionState)| {
            !self.is_replica_online(state.leader_and_isr.leader, tp)
                && !self.is_queued_for_deletion(&tp.topic)
        };
        self.leadership
            .iter()
            .filter(offline)
            .map(|(tp, _)| tp.clone())
            .collect()
    }

    /// Partitions of more than one replica that a broker leads, of topics not to be deleted.
    #[must_use]
    pub fn partitions_led_by(&self, broker: i32) -> Vec<TopicPartition> {
        let led = |(tp, state): &(&TopicPartition, &PartitionState)| {
            state.leader_and_isr.leader == broker
                && self.replicas(tp).len() > 1
                && !self.is_queued_for_deletion(&tp.topic)
        };
        self.leadership
            .iter()
            .filter(led)
            .map(|(tp, _)| tp.clone())
            .collect()
    }

    /// The leader epoch that a `StopReplica` for the partition carries.
    #[must_use]
    pub fn stop_epoch(&self, partition: &TopicPartition) -> i32 {
        if self.is_queued_for_deletion(&partition.topic) {
            return EPOCH_DURING_DELETE;
        }
        self.leadership
            .get(partition)
            .map_or(-1, |state| state.leader_and_isr.leader_epoch)
    }

    /// Partitions in one of two phases.
    #[must_use]
    pub fn partitions_without_leader(&self) -> Vec<TopicPartition> {
        let waiting =
            |phase: &PartitionPhase| matches!(phase, PartitionPhase::New | PartitionPhase::Offline);
        let phases = self.partition_phases.iter();
        phases
            .filter(|(_, phase)| waiting(phase))
            .map(|(tp, _)| tp.clone())
            .collect()
    }

    /// Phase of a partition.
    #[must_use]
    pub fn partition_phase(&self, partition: &TopicPartition) -> PartitionPhase {
        self.partition_phases
            .get(partition)
            .copied()
            .unwrap_or(PartitionPhase::NonExistent)
    }

    /// Phase of a replica.
    #[must_use]
    pub fn replica_phase(&self, replica: &Replica) -> ReplicaPhase {
        self.replica_phases
            .get(replica)
            .copied()
            .unwrap_or(ReplicaPhase::NonExistent)
    }

    /// The replicas of a topic that are in a phase.
    #[must_use]
    pub fn topic_replicas_in(&self, topic: &str, phase: ReplicaPhase) -> Vec<Replica> {
        let mut replicas = self.topic_replicas(topic);
        replicas.retain(|replica| self.replica_phase(replica) == phase);
        replicas
    }

    /// Partitions that a reassignment is moving.
    pub fn reassigning(&self) -> impl Iterator<Item = (TopicPartition, &ReplicaAssignment)> {
        self.topics.iter().flat_map(|(name, topic)| {
            let moving = topic
                .partitions
                .iter()
                .filter(|(_, a)| a.is_being_reassigned());
            moving.map(|(partition, a)| (TopicPartition::new(name, *partition), a))
        })
    }

    /// Forgets a topic that was deleted.
    pub fn remove_topic(&mut self, topic: &str) {
        for partition in self.topic_partitions(topic) {
            self.leadership.remove(&partition);
            self.partition_phases.remove(&partition);
        }
        self.replica_phases
            .retain(|replica, _| replica.partition.topic != topic);
        for failed in self.offline_dirs.values_mut() {
            failed.retain(|partition| partition.topic != topic);
        }
        self.topics.remove(topic);
        self.names.retain(|_, name| name != topic);
        self.to_delete.remove(topic);
        self.deletion_started.remove(topic);
        self.deletion_ineligible.remove(topic);
    }
}
