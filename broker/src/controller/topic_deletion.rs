//! Pure: how topics are deleted (`controller/TopicDeletionManager.scala`).
//!
//! A topic in `/admin/delete_topics` waits while one of its replicas is down or a reassignment moves
//! it. Else its partitions become non-existent, brokers forget them (leader -2), replicas stop and
//! delete their logs; when all of them have, the topic's nodes go.

use std::collections::BTreeSet;

use kafka_wire::messages::stop_replica::StopReplicaResponse;

use crate::controller::context::{PartitionPhase, Replica, ReplicaPhase};
use crate::controller::effects::Question;
use crate::controller::machine::{Machine, Step, Waiting};
use crate::zk::znodes::TopicPartition;

impl Machine {
    /// Takes over the deletions that a new controller finds.
    pub(super) fn adopt_deletions(&mut self, topics: Vec<String>) {
        if topics.is_empty() {
            return;
        }
        if !self.settings.delete_topic_enable {
            self.ask(Question::DropDeletions(topics), Waiting::Nothing);
            return;
        }
        for topic in topics {
            let replicas = self.context.topic_replicas(&topic);
            let offline = |r: &Replica| !self.context.is_replica_online(r.broker, &r.partition);
            if replicas.iter().any(offline) || self.is_being_reassigned(&topic) {
                self.context.deletion_ineligible.insert(topic.clone());
            }
            self.context.to_delete.insert(topic);
        }
    }

    fn is_being_reassigned(&self, topic: &str) -> bool {
        let assignment = self.context.topics.get(topic);
        assignment.is_some_and(|t| t.partitions.values().any(|a| a.is_being_reassigned()))
    }

    pub(super) fn deletions_requested(&mut self, topics: Vec<String>) {
        let (existing, unknown): (Vec<_>, Vec<_>) = topics
            .into_iter()
            .partition(|topic| self.context.topics.contains_key(topic));
        let mut dropped = unknown;
        if self.settings.delete_topic_enable {
            for topic in existing {
                if self.is_being_reassigned(&topic) {
                    self.context.deletion_ineligible.insert(topic.clone());
                }
                self.context.to_delete.insert(topic);
            }
            self.then([Step::ResumeDeletions]);
        } else {
            tracing::info!(topics = ?existing, "topic deletion is disabled");
            dropped.extend(existing);
        }
        if !dropped.is_empty() {
            self.ask(Question::DropDeletions(dropped), Waiting::Nothing);
        }
    }

    pub(super) fn resume_deletions(&mut self) {
        if !self.settings.delete_topic_enable {
            return;
        }
        let mut finished = Vec::new();
        let mut retry = Vec::new();
        let mut begin = Vec::new();
        for topic in &self.context.to_delete {
            let replicas = self.context.topic_replicas(topic);
            let phases: Vec<_> = replicas
                .iter()
                .map(|r| self.context.replica_phase(r))
                .collect();
            if phases
                .iter()
                .all(|phase| *phase == ReplicaPhase::DeletionSuccessful)
            {
                finished.push(topic.clone());
                continue;
            }
            let running = phases.contains(&ReplicaPhase::DeletionStarted);
            if !running {
                retry.extend(
                    self.context
                        .topic_replicas_in(topic, ReplicaPhase::DeletionIneligible),
                );
            }
            if !running && !self.context.deletion_ineligible.contains(topic) {
                begin.push(topic.clone());
            }
        }
        self.then([
            Step::Replicas(retry, ReplicaPhase::Offline),
            Step::DeleteReplicas(begin),
        ]);
        for topic in finished.into_iter().rev() {
            self.then([Step::FinishDeletion(topic)]);
        }
    }

    pub(super) fn finish_deletion(&mut self, topic: String) {
        tracing::info!(topic, "all replicas are deleted, removing the topic");
        let replicas = self.context.topic_replicas(&topic);
        self.then([
            Step::Replicas(replicas, ReplicaPhase::NonExistent),
            Step::ForgetTopic(topic.clone()),
        ]);
        self.ask(Question::DeleteTopic(topic), Waiting::Nothing);
    }

    pub(super) fn delete_replicas(&mut self, topics: &[String]) {
        if topics.is_empty() {
            return;
        }
        let mut partitions = Vec::new();
        let mut alive = Vec::new();
        let mut dead = Vec::new();
        let mut unseen = Vec::new();
        for topic in topics {
            tracing::info!(topic, "deleting topic");
            let of_topic = self.context.topic_partitions(topic);
            if self.context.deletion_started.insert(topic.clone()) {
                unseen.extend(of_topic.clone());
            }
            partitions.extend(of_topic);
            for replica in self.context.topic_replicas(topic) {
                if !self
                    .context
                    .is_replica_online(replica.broker, &replica.partition)
                {
                    self.context.deletion_ineligible.insert(topic.clone());
                    dead.push(replica);
                } else if self.context.replica_phase(&replica) != ReplicaPhase::DeletionSuccessful {
                    alive.push(replica);
                }
            }
        }
        self.then([
            Step::Partitions(unseen.clone(), PartitionPhase::Offline),
            Step::Partitions(unseen, PartitionPhase::NonExistent),
            Step::MetadataToAll(partitions),
            Step::Replicas(dead, ReplicaPhase::DeletionIneligible),
            Step::Replicas(alive.clone(), ReplicaPhase::Offline),
            Step::Replicas(alive, ReplicaPhase::DeletionStarted),
        ]);
    }

    pub(super) fn deletion_failed(&mut self, mut replicas: Vec<Replica>) {
        replicas.retain(|r| self.context.is_queued_for_deletion(&r.partition.topic));
        if replicas.is_empty() || !self.settings.delete_topic_enable {
            return;
        }
        for replica in &replicas {
            self.context
                .deletion_ineligible
                .insert(replica.partition.topic.clone());
        }
        self.then([
            Step::Replicas(replicas, ReplicaPhase::DeletionIneligible),
            Step::ResumeDeletions,
        ]);
    }

    pub(super) fn stop_replica_answered(
        &mut self,
        broker: i32,
        deleted: &BTreeSet<TopicPartition>,
        response: &StopReplicaResponse,
    ) {
        let mut failed = Vec::new();
        let mut successful = Vec::new();
        for error in &response.partition_errors {
            let partition = TopicPartition::new(&error.topic_name, error.partition_index);
            let deleting = self.context.deletion_started.contains(&partition.topic);
            if !deleting || !deleted.contains(&partition) {
                continue;
            }
            let replica = Replica { partition, broker };
            if response.error_code == 0 && error.error_code == 0 {
                successful.push(replica);
            } else {
                failed.push(replica);
            }
        }
        self.then([
            Step::DeletionFailed(failed),
            Step::Replicas(successful, ReplicaPhase::DeletionSuccessful),
            Step::ResumeDeletions,
        ]);
    }
}
