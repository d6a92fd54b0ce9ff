//! Pure: ISR changes that leaders ask for (`AlterPartition`, KIP-497 and KIP-704;
//! `KafkaController.processAlterPartition`).

use std::collections::BTreeMap;

use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::alter_partition::{
    AlterPartitionRequest, AlterPartitionResponse, ResponsePartitionData, ResponseTopicData,
};
use kafka_wire::wire::Uuid;

use crate::controller::effects::{Question, Reply, Token};
use crate::controller::machine::{Machine, Step, Waiting};
use crate::zk::znodes::{LeaderAndIsr, StateWrite, TopicPartition};

type Outcome = Result<LeaderAndIsr, ErrorCode>;

/// A request whose changes are being written.
#[derive(Debug)]
pub(super) struct PendingAlter {
    token: Token,
    version: i16,
    unknown_ids: Vec<ResponseTopicData>,
    outcomes: BTreeMap<TopicPartition, Outcome>,
    writing: Vec<(TopicPartition, LeaderAndIsr)>,
}

impl Machine {
    pub(super) fn alter_partition(
        &mut self,
        request: &AlterPartitionRequest,
        version: i16,
        token: Token,
    ) {
        let known = self
            .context
            .brokers
            .get(&request.broker_id)
            .map(|broker| broker.epoch);
        if known != Some(request.broker_epoch) {
            let broker = request.broker_id;
            tracing::info!(
                broker,
                epoch = request.broker_epoch,
                ?known,
                "stale AlterPartition"
            );
            let error_code = ErrorCode::StaleBrokerEpoch.code();
            let response = AlterPartitionResponse {
                error_code,
                ..Default::default()
            };
            self.reply(token, Reply::AlterPartition(response));
            return;
        }
        let mut pending = PendingAlter {
            token,
            version,
            unknown_ids: Vec::new(),
            outcomes: BTreeMap::new(),
            writing: Vec::new(),
        };
        for (partition, wanted) in self.wanted_states(request, version, &mut pending.unknown_ids) {
            match self.check_alter(&partition, &wanted, version) {
                Some(outcome) => {
                    pending.outcomes.insert(partition, outcome);
                }
                None => pending.writing.push((partition, wanted)),
            }
        }
        if pending.writing.is_empty() {
            self.partitions_altered(pending, Vec::new());
        } else {
            let question = Question::UpdateStates(pending.writing.clone());
            self.ask(question, Waiting::Altering(pending));
        }
    }

    /// The states that the leader asks for; topics with unknown ids are answered at once.
    fn wanted_states(
        &self,
        request: &AlterPartitionRequest,
        version: i16,
        unknown_ids: &mut Vec<ResponseTopicData>,
    ) -> BTreeMap<TopicPartition, LeaderAndIsr> {
        let mut wanted = BTreeMap::new();
        for topic in &request.topics {
            let name = match version {
                0..=1 => Some(topic.topic_name.as_ref()),
                _ if topic.topic_id == Uuid::ZERO => None,
                _ => self.context.topic_name(topic.topic_id),
            };
            let Some(name) = name else {
                let partitions = topic
                    .partitions
                    .iter()
                    .map(|partition| ResponsePartitionData {
                        partition_index: partition.partition_index,
                        error_code: ErrorCode::UnknownTopicId.code(),
                        ..ResponsePartitionData::default()
                    });
                unknown_ids.push(ResponseTopicData {
                    topic_id: topic.topic_id,
                    partitions: partitions.collect(),
                    ..ResponseTopicData::default()
                });
                continue;
            };
            for partition in &topic.partitions {
                let isr = match version {
                    0..=2 => partition.new_isr.clone(),
                    _ => partition
                        .new_isr_with_epochs
                        .iter()
                        .map(|b| b.broker_id)
                        .collect(),
                };
                let state = LeaderAndIsr {
                    leader: request.broker_id,
                    leader_epoch: partition.leader_epoch,
                    isr,
                    recovering: partition.leader_recovery_state == 1,
                    partition_epoch: partition.partition_epoch,
                };
                wanted.insert(TopicPartition::new(name, partition.partition_index), state);
            }
        }
        wanted
    }

    /// What to answer without writing anything; `None` when the state is to be written.
    fn check_alter(
        &self,
        partition: &TopicPartition,
        wanted: &LeaderAndIsr,
        version: i16,
    ) -> Option<Outcome> {
        let Some(known) = self.context.leadership.get(partition) else {
            return Some(Err(ErrorCode::UnknownTopicOrPartition));
        };
        let current = &known.leader_and_isr;
        if wanted.partition_epoch > current.partition_epoch
            || wanted.leader_epoch > current.leader_epoch
        {
            // The broker knows of a newer controller.
            return Some(Err(ErrorCode::NotController));
        }
        if wanted.leader_epoch < current.leader_epoch {
            return Some(Err(ErrorCode::FencedLeaderEpoch));
        }
        let same = wanted.leader == current.leader
            && wanted.isr == current.isr
            && wanted.recovering == current.recovering;
        if same && wanted.partition_epoch <= current.partition_epoch {
            return Some(Ok(current.clone()));
        }
        if wanted.partition_epoch < current.partition_epoch {
            return Some(Err(ErrorCode::InvalidUpdateVersion));
        }
        if wanted.recovering && (wanted.isr.len() > 1 || !current.recovering) {
            return Some(Err(ErrorCode::InvalidRequest));
        }
        if wanted.isr.iter().any(|id| !self.context.is_live(*id)) {
            tracing::info!(%partition, isr = ?wanted.isr, "ISR has a broker that is not alive");
            return Some(Err(match version {
                0..=1 => ErrorCode::OperationNotAttempted,
                _ => ErrorCode::IneligibleReplica,
            }));
        }
        None
    }

    pub(super) fn partitions_altered(
        &mut self,
        mut pending: PendingAlter,
        results: Vec<StateWrite>,
    ) {
        let writing = std::mem::take(&mut pending.writing);
        for ((partition, state), result) in writing.into_iter().zip(results) {
            let outcome = match result {
                StateWrite::Written(version) => {
                    let written = LeaderAndIsr {
                        partition_epoch: version,
                        ..state
                    };
                    self.remember(&partition, written.clone(), version);
                    Ok(written)
                }
                StateWrite::Conflict(current) => {
                    if let Some(current) = current {
                        self.adopt(&partition, current);
                    }
                    Err(ErrorCode::InvalidUpdateVersion)
                }
                StateWrite::Failed(why) => {
                    tracing::error!(%partition, why, "cannot update ISR");
                    Err(ErrorCode::UnknownServerError)
                }
            };
            pending.outcomes.insert(partition, outcome);
        }
        let partitions = pending.outcomes.keys().cloned().collect();
        self.then([Step::MetadataToAll(partitions)]);
        let response = self.alter_response(pending.unknown_ids, &pending.outcomes, pending.version);
        self.reply(pending.token, Reply::AlterPartition(response));
    }

    fn alter_response(
        &self,
        mut topics: Vec<ResponseTopicData>,
        outcomes: &BTreeMap<TopicPartition, Outcome>,
        version: i16,
    ) -> AlterPartitionResponse {
        let mut by_topic: BTreeMap<&str, Vec<ResponsePartitionData>> = BTreeMap::new();
        for (partition, outcome) in outcomes {
            let partition_index = partition.partition;
            let data = match outcome {
                Err(code) => ResponsePartitionData {
                    partition_index,
                    error_code: code.code(),
                    ..ResponsePartitionData::default()
                },
                Ok(state) => ResponsePartitionData {
                    partition_index,
                    error_code: 0,
                    leader_id: state.leader,
                    leader_epoch: state.leader_epoch,
                    isr: state.isr.clone(),
                    leader_recovery_state: i8::from(state.recovering),
                    partition_epoch: state.partition_epoch,
                },
            };
            by_topic.entry(&partition.topic).or_default().push(data);
        }
        for (topic, partitions) in by_topic {
            let (topic_name, topic_id) = match version {
                0..=1 => (ByteString::from(topic), Uuid::ZERO),
                _ => (ByteString::new(), self.context.topic_id(topic)),
            };
            topics.push(ResponseTopicData {
                topic_name,
                topic_id,
                partitions,
            });
        }
        AlterPartitionResponse {
            topics,
            ..AlterPartitionResponse::default()
        }
    }
}
