//! Pure: gathers what brokers must be told and makes one request of each kind for each broker
//! (`AbstractControllerBrokerRequestBatch` in `controller/ControllerChannelManager.scala`).
//!
//! Order matters: `LeaderAndIsr` first, then `UpdateMetadata`, then `StopReplica`.

use std::collections::{BTreeMap, BTreeSet};

use bytestring::ByteString;
use kafka_wire::messages::leader_and_isr::{
    LeaderAndIsrLiveLeader, LeaderAndIsrPartitionState, LeaderAndIsrRequest, LeaderAndIsrTopicState,
};
use kafka_wire::messages::stop_replica::{
    StopReplicaPartitionState, StopReplicaRequest, StopReplicaTopicState,
};
use kafka_wire::messages::update_metadata::{
    UpdateMetadataBroker, UpdateMetadataEndpoint, UpdateMetadataPartitionState,
    UpdateMetadataRequest, UpdateMetadataTopicState,
};

use crate::controller::context::{ControllerContext, LiveBroker};
use crate::controller::effects::{ControlRequest, Effect};
use crate::zk::znodes::{LEADER_DURING_DELETE, TopicPartition};

/// What brokers must be told.
#[derive(Debug, Default)]
pub struct RequestBatch {
    leader_and_isr: BTreeMap<i32, BTreeMap<TopicPartition, LeaderAndIsrPartitionState>>,
    metadata_brokers: BTreeSet<i32>,
    metadata: BTreeMap<TopicPartition, UpdateMetadataPartitionState>,
    stop: BTreeMap<i32, BTreeMap<TopicPartition, StopReplicaPartitionState>>,
}

impl RequestBatch {
    /// Tells `brokers` who leads the partition, and every broker what it is like.
    pub fn add_leader_and_isr(
        &mut self,
        context: &ControllerContext,
        brokers: &[i32],
        partition: &TopicPartition,
        is_new: bool,
    ) {
        let Some(known) = context.leadership.get(partition) else {
            return;
        };
        let assignment = context.assignment(partition).cloned().unwrap_or_default();
        let state = &known.leader_and_isr;
        for broker in brokers.iter().filter(|id| **id >= 0) {
            let of_broker = self.leader_and_isr.entry(*broker).or_default();
            let already_new = of_broker
                .get(partition)
                .is_some_and(|earlier| earlier.is_new);
            let request = LeaderAndIsrPartitionState {
                topic_name: ByteString::from(partition.topic.as_str()),
                partition_index: partition.partition,
                controller_epoch: known.controller_epoch,
                leader: state.leader,
                leader_epoch: state.leader_epoch,
                isr: state.isr.clone(),
                partition_epoch: state.partition_epoch,
                replicas: assignment.replicas.clone(),
                adding_replicas: assignment.adding.clone(),
                removing_replicas: assignment.removing.clone(),
                is_new: is_new || already_new,
                leader_recovery_state: i8::from(state.recovering),
            };
            of_broker.insert(partition.clone(), request);
        }
        self.add_metadata(
            context,
            &context.registered_ids(),
            std::slice::from_ref(partition),
        );
    }

    /// Tells `brokers` who is alive and what `partitions` are like.
    pub fn add_metadata(
        &mut self,
        context: &ControllerContext,
        brokers: &[i32],
        partitions: &[TopicPartition],
    ) {
        self.metadata_brokers
            .extend(brokers.iter().filter(|id| **id >= 0));
        for partition in partitions {
            let Some(known) = context.leadership.get(partition) else {
                continue;
            };
            let state = &known.leader_and_isr;
            let replicas = context.replicas(partition).to_vec();
            let offline = |id: &i32| !context.is_replica_online(*id, partition);
            let offline_replicas = replicas.iter().copied().filter(offline).collect();
            let deleted = context.is_queued_for_deletion(&partition.topic);
            let (leader, leader_epoch, zk_version) = if deleted {
                (LEADER_DURING_DELETE, 0, 0)
            } else {
                (state.leader, state.leader_epoch, state.partition_epoch)
            };
            let request = UpdateMetadataPartitionState {
                topic_name: ByteString::from(partition.topic.as_str()),
                partition_index: partition.partition,
                controller_epoch: known.controller_epoch,
                leader,
                leader_epoch,
                isr: state.isr.clone(),
                zk_version,
                replicas,
                offline_replicas,
            };
            self.metadata.insert(partition.clone(), request);
        }
    }

    /// Tells `broker` to stop its replica of the partition and maybe to delete it.
    pub fn add_stop(
        &mut self,
        context: &ControllerContext,
        broker: i32,
        partition: &TopicPartition,
        delete: bool,
    ) {
        if broker < 0 {
            return;
        }
        let request = StopReplicaPartitionState {
            partition_index: partition.partition,
            leader_epoch: context.stop_epoch(partition),
            delete_partition: delete,
        };
        self.stop
            .entry(broker)
            .or_default()
            .insert(partition.clone(), request);
    }

    /// Takes the requests for brokers that are registered, in the order in which they must be sent.
    /// `listener` is the one that brokers reach each other on.
    pub fn take(
        &mut self,
        context: &ControllerContext,
        controller_id: i32,
        listener: &str,
    ) -> Vec<Effect> {
        let header = Header {
            context,
            controller_id,
            listener,
        };
        let batch = std::mem::take(self);
        let mut effects = Vec::new();
        for (broker, states) in batch.leader_and_isr {
            if let Some(live) = context.brokers.get(&broker) {
                effects.push(send(broker, header.leader_and_isr(live, states)));
            }
        }
        let metadata =
            (!batch.metadata_brokers.is_empty()).then(|| header.metadata(batch.metadata));
        for broker in batch.metadata_brokers {
            if let (Some(live), Some(metadata)) = (context.brokers.get(&broker), &metadata) {
                let request = UpdateMetadataRequest {
                    broker_epoch: live.epoch,
                    ..metadata.clone()
                };
                effects.push(send(broker, ControlRequest::UpdateMetadata(request)));
            }
        }
        for (broker, states) in batch.stop {
            if let Some(live) = context.brokers.get(&broker) {
                effects.push(send(broker, header.stop(live, states)));
            }
        }
        effects
    }
}

fn send(broker: i32, request: ControlRequest) -> Effect {
    Effect::Send { broker, request }
}

/// What all requests have in common.
struct Header<'a> {
    context: &'a ControllerContext,
    controller_id: i32,
    listener: &'a str,
}

impl Header<'_> {
    fn leader_and_isr(
        &self,
        broker: &LiveBroker,
        states: BTreeMap<TopicPartition, LeaderAndIsrPartitionState>,
    ) -> ControlRequest {
        let leaders: BTreeSet<i32> = states.values().map(|state| state.leader).collect();
        let live_leaders = leaders.iter().filter_map(|id| {
            let endpoint = self
                .context
                .brokers
                .get(id)?
                .registration
                .endpoint(self.listener)?;
            Some(LeaderAndIsrLiveLeader {
                broker_id: *id,
                host_name: ByteString::from(endpoint.host.as_str()),
                port: endpoint.port,
            })
        });
        let live_leaders = live_leaders.collect();
        let topic_states = by_topic(states)
            .into_iter()
            .map(|(topic, partition_states)| {
                let topic_id = self.context.topic_id(&topic);
                LeaderAndIsrTopicState {
                    topic_name: topic.into(),
                    topic_id,
                    partition_states,
                }
            });
        ControlRequest::LeaderAndIsr(LeaderAndIsrRequest {
            controller_id: self.controller_id,
            controller_epoch: self.context.epoch,
            broker_epoch: broker.epoch,
            topic_states: topic_states.collect(),
            live_leaders,
            ..LeaderAndIsrRequest::default()
        })
    }

    /// The request for every broker; the broker epoch is filled in for each.
    fn metadata(
        &self,
        states: BTreeMap<TopicPartition, UpdateMetadataPartitionState>,
    ) -> UpdateMetadataRequest {
        let topic_states = by_topic(states)
            .into_iter()
            .map(|(topic, partition_states)| {
                let topic_id = self.context.topic_id(&topic);
                UpdateMetadataTopicState {
                    topic_name: topic.into(),
                    topic_id,
                    partition_states,
                }
            });
        UpdateMetadataRequest {
            controller_id: self.controller_id,
            controller_epoch: self.context.epoch,
            topic_states: topic_states.collect(),
            live_brokers: self.context.brokers.values().map(metadata_broker).collect(),
            ..UpdateMetadataRequest::default()
        }
    }

    fn stop(
        &self,
        broker: &LiveBroker,
        states: BTreeMap<TopicPartition, StopReplicaPartitionState>,
    ) -> ControlRequest {
        let topic_states = by_topic(states)
            .into_iter()
            .map(|(topic, partition_states)| StopReplicaTopicState {
                topic_name: topic.into(),
                partition_states,
            });
        ControlRequest::StopReplica(StopReplicaRequest {
            controller_id: self.controller_id,
            controller_epoch: self.context.epoch,
            broker_epoch: broker.epoch,
            topic_states: topic_states.collect(),
            ..StopReplicaRequest::default()
        })
    }
}

fn by_topic<T>(states: BTreeMap<TopicPartition, T>) -> BTreeMap<String, Vec<T>> {
    let mut topics: BTreeMap<String, Vec<T>> = BTreeMap::new();
    for (partition, state) in states {
        topics.entry(partition.topic).or_default().push(state);
    }
    topics
}

fn metadata_broker(broker: &LiveBroker) -> UpdateMetadataBroker {
    let registration = &broker.registration;
    let endpoints = registration
        .endpoints
        .iter()
        .map(|endpoint| UpdateMetadataEndpoint {
            port: endpoint.port,
            host: ByteString::from(endpoint.host.as_str()),
            listener: ByteString::from(endpoint.listener.as_str()),
            security_protocol: endpoint.security_protocol_id(),
        });
    UpdateMetadataBroker {
        id: registration.id,
        endpoints: endpoints.collect(),
        rack: registration.rack.as_deref().map(ByteString::from),
        ..UpdateMetadataBroker::default()
    }
}
