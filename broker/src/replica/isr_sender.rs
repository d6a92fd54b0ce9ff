//! Shell: changes of in-sync replicas, asked of the controller (`AlterPartitionManager.scala`, KIP-497).
//!
//! One request at a time; what comes up meanwhile goes together into the next. A partition has at most one change
//! pending, see `partition.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::alter_partition::{
    AlterPartitionRequest, AlterPartitionResponse, BrokerState, RequestPartitionData,
    RequestTopicData, ResponsePartitionData,
};
use kafka_wire::wire::Uuid;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::metadata::controller_channel::ControllerChannel;
use crate::replica::clock::now_ms;
use crate::replica::hosted::Partition;
use crate::replica::manager::ReplicaManager;
use crate::replica::partition::IsrChange;

/// Pause before a request that failed is sent again.
const RETRY_BACKOFF: Duration = Duration::from_millis(50);
/// The version with topic ids, and the one without (`AlterPartitionRequest.Builder`).
const VERSION_WITH_IDS: i16 = 3;
const VERSION_WITH_NAMES: i16 = 1;
/// What a broker in ZooKeeper mode says of the epochs of others.
const UNKNOWN_BROKER_EPOCH: i64 = -1;

/// A change and whose it is.
pub type Wanted = (Arc<Partition>, IsrChange);

/// Sends changes to the controller until nobody wants any more.
#[derive(Debug)]
pub struct IsrSender {
    /// The partitions, for what moves with a confirmed change.
    pub replicas: Arc<ReplicaManager>,
    /// The way to the controller.
    pub channel: Arc<ControllerChannel>,
    /// The epoch of this broker's registration.
    pub broker_epoch: Arc<AtomicI64>,
}

impl IsrSender {
    /// Sends what comes in.
    pub async fn run(self, mut wanted: mpsc::UnboundedReceiver<Wanted>) {
        let mut unsent: Vec<Wanted> = Vec::new();
        loop {
            if unsent.is_empty() {
                match wanted.recv().await {
                    Some(first) => unsent.push(first),
                    None => return,
                }
            }
            while let Ok(next) = wanted.try_recv() {
                unsent.push(next);
            }
            unsent = self.send(unsent).await;
            if !unsent.is_empty() {
                tokio::time::sleep(RETRY_BACKOFF).await;
            }
        }
    }

    /// One request; answers what must be sent again.
    async fn send(&self, changes: Vec<Wanted>) -> Vec<Wanted> {
        let (request, version) = self.request(&changes);
        let timeout = self.replicas.config().controller_socket_timeout_ms;
        let limit = Duration::from_millis(u64::try_from(timeout).unwrap_or(0));
        let response = match self.channel.send(&request, version, limit).await {
            Ok(response) => response,
            Err(error) => {
                tracing::warn!("cannot ask the controller to change in-sync replicas: {error}");
                return changes;
            }
        };
        if response.error_code != ErrorCode::None.code() {
            let error = ErrorCode::from_code(response.error_code);
            tracing::warn!("the controller does not change in-sync replicas: {error}");
            return changes;
        }
        changes
            .into_iter()
            .filter(|wanted| !self.is_settled(wanted, &response))
            .collect()
    }

    fn request(&self, changes: &[Wanted]) -> (AlterPartitionRequest, i16) {
        let mut topics: BTreeMap<ByteString, RequestTopicData> = BTreeMap::new();
        for (partition, change) in changes {
            let topic = topics
                .entry(partition.topic.clone())
                .or_insert_with(|| RequestTopicData {
                    topic_name: partition.topic.clone(),
                    topic_id: topic_id(partition),
                    partitions: Vec::new(),
                });
            topic.partitions.push(RequestPartitionData {
                partition_index: partition.partition,
                leader_epoch: change.leader_epoch,
                new_isr: change.isr.clone(),
                new_isr_with_epochs: Vec::new(),
                leader_recovery_state: 0,
                partition_epoch: change.partition_epoch,
            });
        }
        let has_ids = topics.values().all(|topic| !topic.topic_id.is_zero());
        let version = if has_ids {
            VERSION_WITH_IDS
        } else {
            VERSION_WITH_NAMES
        };
        let mut topics: Vec<RequestTopicData> = topics.into_values().collect();
        if has_ids {
            for topic in &mut topics {
                topic.topic_name = ByteString::new();
                for partition in &mut topic.partitions {
                    let brokers = std::mem::take(&mut partition.new_isr).into_iter();
                    partition.new_isr_with_epochs = brokers
                        .map(|broker_id| BrokerState {
                            broker_id,
                            broker_epoch: UNKNOWN_BROKER_EPOCH,
                        })
                        .collect();
                }
            }
        }
        let request = AlterPartitionRequest {
            broker_id: self.replicas.broker_id(),
            broker_epoch: self.broker_epoch.load(Ordering::Acquire),
            topics,
        };
        (request, version)
    }

    /// Takes the controller's word on one change; false if it must be asked again.
    fn is_settled(&self, (partition, change): &Wanted, response: &AlterPartitionResponse) -> bool {
        let Some(answer) = answer_for(partition, response) else {
            return false;
        };
        let mut state = partition.state.write();
        if state.leader_epoch() != change.leader_epoch {
            // Another leader epoch settled the matter meanwhile.
            return true;
        }
        match ErrorCode::from_code(answer.error_code) {
            ErrorCode::None => {
                let isr = answer.isr.clone();
                state.isr_confirmed(answer.leader_epoch, answer.partition_epoch, isr);
                tracing::info!(
                    "ISR of {}-{} updated to {:?} and version updated to {}",
                    partition.topic,
                    partition.partition,
                    state.isr(),
                    state.partition_epoch()
                );
                drop(state);
                self.replicas.advance(partition);
                true
            }
            ErrorCode::OperationNotAttempted | ErrorCode::IneligibleReplica => {
                state.isr_refused();
                true
            }
            // The state is out of date: it stays pending until the controller's next word on this partition.
            ErrorCode::UnknownTopicOrPartition
            | ErrorCode::UnknownTopicId
            | ErrorCode::FencedLeaderEpoch
            | ErrorCode::InvalidUpdateVersion
            | ErrorCode::InvalidRequest
            | ErrorCode::NewLeaderElected => true,
            error => {
                tracing::warn!(
                    "failed to update ISR of {}-{} due to {error}, retrying",
                    partition.topic,
                    partition.partition
                );
                false
            }
        }
    }
}

/// Looks from time to time for replicas that lag (`isr-expiration`).
pub async fn watch_for_lag(replicas: Arc<ReplicaManager>) {
    let max_lag_ms = replicas.config().replica_lag_time_max_ms;
    let pause = Duration::from_millis(u64::try_from(max_lag_ms / 2).unwrap_or(0).max(1));
    let mut ticks = tokio::time::interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for partition in replicas.all() {
            let Some(log) = partition.log() else { continue };
            let log_end = log.log_end_offset();
            let change = partition
                .state
                .write()
                .shrink_isr(log_end, now_ms(), max_lag_ms);
            if let Some(change) = change {
                tracing::info!(
                    "Shrinking ISR of {}-{} to {:?}, log end offset {log_end}",
                    partition.topic,
                    partition.partition,
                    change.isr
                );
                replicas.want_isr(&partition, change);
            }
        }
    }
}

fn topic_id(partition: &Partition) -> Uuid {
    partition
        .log()
        .and_then(|log| log.topic_id())
        .unwrap_or(Uuid::ZERO)
}

fn answer_for<'a>(
    partition: &Partition,
    response: &'a AlterPartitionResponse,
) -> Option<&'a ResponsePartitionData> {
    let id = topic_id(partition);
    let topic = response.topics.iter().find(|topic| {
        topic.topic_name == partition.topic || (!id.is_zero() && topic.topic_id == id)
    })?;
    topic
        .partitions
        .iter()
        .find(|answer| answer.partition_index == partition.partition)
}
