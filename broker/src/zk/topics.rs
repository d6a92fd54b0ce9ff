//! Shell: topics, their partitions' states, and requests to delete or re-elect
//! (`zk/KafkaZkClient.scala`).

use std::collections::BTreeMap;

use bytes::Bytes;
use common::zk::code::ErrorCode;
use common::zk::multi::MultiResult;
use common::zk::request::CreateMode;
use kafka_wire::wire::Uuid;

use crate::zk::cluster::malformed;
use crate::zk::error::StoreError;
use crate::zk::paths;
use crate::zk::store::{ANY_VERSION, ZkStore, set_data};
use crate::zk::znodes::{
    self, LeaderAndIsr, PartitionState, StateWrite, TopicAssignment, TopicPartition,
};

/// Attempts to delete a subtree that others may still add to.
const MAX_DELETE_ROUNDS: usize = 10;

impl ZkStore {
    /// The names of all topics. With `watch` a change of their number is an event.
    ///
    /// # Errors
    /// When `ZooKeeper` refuses or the session is over.
    pub async fn topics(&self, watch: bool) -> Result<Vec<String>, StoreError> {
        self.children(paths::TOPICS, watch).await
    }

    /// The assignments of topics; those that are gone are left out. With `watch` changes are
    /// events.
    ///
    /// # Errors
    /// When `ZooKeeper` refuses, the session is over or a node is not Kafka's.
    pub async fn assignments(
        &self,
        topics: &[String],
        watch: bool,
    ) -> Result<BTreeMap<String, TopicAssignment>, StoreError> {
        let nodes: Vec<_> = topics.iter().map(|topic| paths::topic(topic)).collect();
        let found = self.get_all(&nodes, watch).await?;
        let mut assignments = BTreeMap::new();
        for ((topic, path), node) in topics.iter().zip(&nodes).zip(found) {
            let Some((data, _)) = node else { continue };
            let data = data.unwrap_or_default();
            let assignment = TopicAssignment::decode(&data).map_err(malformed(path))?;
            assignments.insert(topic.clone(), assignment);
        }
        Ok(assignments)
    }

    /// As [`Self::assignments`] for one topic.
    ///
    /// # Errors
    /// As [`Self::assignments`].
    pub async fn assignment(&self, topic: &str) -> Result<Option<TopicAssignment>, StoreError> {
        let topics = [topic.to_string()];
        Ok(self.assignments(&topics, false).await?.remove(topic))
    }

    /// Gives an id to each topic that has none, as controller.
    ///
    /// # Errors
    /// [`StoreError::ControllerMoved`], or when `ZooKeeper` refuses.
    pub async fn ensure_topic_ids(
        &self,
        epoch_version: i32,
        assignments: &mut BTreeMap<String, TopicAssignment>,
    ) -> Result<(), StoreError> {
        let mut writes = Vec::new();
        for (topic, assignment) in assignments.iter_mut() {
            if assignment.topic_id.is_none() {
                assignment.topic_id = Some(Uuid::random());
                writes.push(set_data(
                    &paths::topic(topic),
                    assignment.encode(),
                    ANY_VERSION,
                ));
            }
        }
        for result in self.as_controller(epoch_version, &writes).await? {
            result?;
        }
        Ok(())
    }

    /// Creates a topic's node; the controller reacts to it.
    ///
    /// # Errors
    /// `NodeExists` when the topic exists.
    pub async fn create_topic(
        &self,
        topic: &str,
        assignment: &TopicAssignment,
    ) -> Result<(), StoreError> {
        let data = Bytes::from(assignment.encode());
        self.create_recursive(&paths::topic(topic), Some(data))
            .await
    }

    /// Replaces a topic's assignment; the controller reacts to it.
    ///
    /// # Errors
    /// `NoNode` when the topic is gone.
    pub async fn set_assignment(
        &self,
        topic: &str,
        assignment: &TopicAssignment,
    ) -> Result<(), StoreError> {
        let data = Bytes::from(assignment.encode());
        self.set(&paths::topic(topic), Some(data), ANY_VERSION)
            .await
            .map(|_| ())
    }

    /// Replaces a topic's assignment as controller.
    ///
    /// # Errors
    /// [`StoreError::ControllerMoved`], or when `ZooKeeper` refuses.
    pub async fn set_assignment_as_controller(
        &self,
        epoch_version: i32,
        topic: &str,
        assignment: &TopicAssignment,
    ) -> Result<(), StoreError> {
        let write = set_data(&paths::topic(topic), assignment.encode(), ANY_VERSION);
        for result in self.as_controller(epoch_version, &[write]).await? {
            result?;
        }
        Ok(())
    }

    /// The states of partitions; those without a state are left out.
    ///
    /// # Errors
    /// When `ZooKeeper` refuses, the session is over or a node is not Kafka's.
    pub async fn states(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, PartitionState)>, StoreError> {
        let path = |tp: &TopicPartition| paths::partition_state(&tp.topic, tp.partition);
        let nodes: Vec<_> = partitions.iter().map(path).collect();
        let found = self.get_all(&nodes, false).await?;
        let mut states = Vec::with_capacity(partitions.len());
        for ((partition, path), node) in partitions.iter().zip(&nodes).zip(found) {
            let Some((Some(data), stat)) = node else {
                continue;
            };
            let state = PartitionState::decode(&data, stat.version).map_err(malformed(path))?;
            states.push((partition.clone(), state));
        }
        Ok(states)
    }

    async fn state(
        &self,
        partition: &TopicPartition,
    ) -> Result<Option<PartitionState>, StoreError> {
        let states = self.states(std::slice::from_ref(partition)).await?;
        Ok(states.into_iter().next().map(|(_, state)| state))
    }

    /// Creates the states of new partitions and the nodes above them, as controller.
    ///
    /// # Errors
    /// [`StoreError::ControllerMoved`], or when the session is over.
    pub async fn create_states(
        &self,
        epoch_version: i32,
        states: &[(TopicPartition, PartitionState)],
    ) -> Result<Vec<StateWrite>, StoreError> {
        let mut topics: Vec<&str> = states.iter().map(|(tp, _)| tp.topic.as_str()).collect();
        topics.dedup();
        let persistent = CreateMode::Persistent;
        let parents = topics.iter().map(|topic| paths::topic_partitions(topic));
        let parents = parents.chain(
            states
                .iter()
                .map(|(tp, _)| paths::partition(&tp.topic, tp.partition)),
        );
        let mut writes: Vec<_> = parents
            .map(|path| self.create_op(&path, None, persistent))
            .collect();
        let parents = writes.len();
        for (partition, state) in states {
            let path = paths::partition_state(&partition.topic, partition.partition);
            writes.push(self.create_op(&path, Some(Bytes::from(state.encode())), persistent));
        }
        // Replies come in order, so parents that fail show in the states below them.
        let results = self.as_controller(epoch_version, &writes).await?;
        let mut out = Vec::with_capacity(states.len());
        for ((partition, state), result) in states.iter().zip(results.into_iter().skip(parents)) {
            out.push(match result {
                Ok(_) => StateWrite::Written(0),
                Err(error) if error.is(ErrorCode::NodeExists) => {
                    match self.state(partition).await? {
                        // A lost connection hid our own success.
                        Some(found) if found == *state => StateWrite::Written(0),
                        found => StateWrite::Conflict(found),
                    }
                }
                Err(error) => StateWrite::Failed(error.to_string()),
            });
        }
        Ok(out)
    }

    /// Replaces the states of partitions whose version still is the partition epoch, as controller.
    ///
    /// # Errors
    /// [`StoreError::ControllerMoved`], or when the session is over.
    pub async fn update_states(
        &self,
        epoch_version: i32,
        controller_epoch: i32,
        states: &[(TopicPartition, LeaderAndIsr)],
    ) -> Result<Vec<StateWrite>, StoreError> {
        let write = |(partition, state): &(TopicPartition, LeaderAndIsr)| {
            let path = paths::partition_state(&partition.topic, partition.partition);
            let version = state.partition_epoch;
            let state = PartitionState {
                leader_and_isr: state.clone(),
                controller_epoch,
            };
            set_data(&path, state.encode(), version)
        };
        let writes: Vec<_> = states.iter().map(write).collect();
        let results = self.as_controller(epoch_version, &writes).await?;
        let mut out = Vec::with_capacity(states.len());
        for ((partition, _), result) in states.iter().zip(results) {
            out.push(match result {
                Ok(MultiResult::SetData(stat)) => StateWrite::Written(stat.version),
                Ok(other) => StateWrite::Failed(format!("unexpected result {other:?}")),
                Err(error) if error.is(ErrorCode::BadVersion) => {
                    StateWrite::Conflict(self.state(partition).await?)
                }
                Err(error) if error.is(ErrorCode::NoNode) => StateWrite::Conflict(None),
                Err(error) => StateWrite::Failed(error.to_string()),
            });
        }
        Ok(out)
    }

    /// Topics under `/admin/delete_topics`. With `watch` a change is an event.
    ///
    /// # Errors
    /// When `ZooKeeper` refuses or the session is over.
    pub async fn deletions(&self, watch: bool) -> Result<Vec<String>, StoreError> {
        self.children(paths::DELETE_TOPICS, watch).await
    }

    /// Asks the controller to delete a topic.
    ///
    /// # Errors
    /// `NodeExists` when that was asked for before.
    pub async fn request_deletion(&self, topic: &str) -> Result<(), StoreError> {
        self.create_recursive(&paths::delete_topic(topic), None)
            .await
    }

    /// Removes requests to delete topics, as controller.
    ///
    /// # Errors
    /// [`StoreError::ControllerMoved`], or when `ZooKeeper` refuses.
    pub async fn drop_deletions(
        &self,
        epoch_version: i32,
        topics: &[String],
    ) -> Result<(), StoreError> {
        let nodes: Vec<_> = topics
            .iter()
            .map(|topic| paths::delete_topic(topic))
            .collect();
        self.delete_as_controller(epoch_version, &nodes).await
    }

    /// Deletes a topic's nodes, its config and the request to delete it, as controller.
    ///
    /// # Errors
    /// [`StoreError::ControllerMoved`], or when `ZooKeeper` refuses.
    pub async fn delete_topic(&self, epoch_version: i32, topic: &str) -> Result<(), StoreError> {
        self.delete_subtree(epoch_version, paths::topic(topic))
            .await?;
        let rest = [paths::topic_config(topic), paths::delete_topic(topic)];
        self.delete_as_controller(epoch_version, &rest).await
    }

    async fn delete_subtree(&self, epoch_version: i32, root: String) -> Result<(), StoreError> {
        let mut rounds = 0;
        loop {
            let mut nodes = vec![root.clone()];
            let mut level = vec![root.clone()];
            while !level.is_empty() {
                let listed = self
                    .batch(&level, |client, path| client.get_children(path, false))
                    .await?;
                let mut deeper = Vec::new();
                for (parent, result) in level.iter().zip(listed) {
                    match result {
                        Ok((children, _)) => {
                            deeper.extend(children.iter().map(|child| format!("{parent}/{child}")));
                        }
                        Err(error) if error.is(ErrorCode::NoNode) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                nodes.extend(deeper.clone());
                level = deeper;
            }
            nodes.reverse();
            rounds += 1;
            match self.delete_as_controller(epoch_version, &nodes).await {
                Err(error) if error.is(ErrorCode::NotEmpty) && rounds < MAX_DELETE_ROUNDS => {}
                result => return result,
            }
        }
    }

    /// The partitions in `/admin/preferred_replica_election`, if it exists; its creation will be an
    /// event.
    ///
    /// # Errors
    /// When `ZooKeeper` refuses, the session is over or the node is not Kafka's.
    pub async fn preferred_election(&self) -> Result<Option<Vec<TopicPartition>>, StoreError> {
        let path = paths::PREFERRED_REPLICA_ELECTION;
        self.exists(path, true).await?;
        let Some((data, _)) = self.get(path, false).await? else {
            return Ok(None);
        };
        let partitions =
            znodes::decode_partitions(&data.unwrap_or_default()).map_err(malformed(path))?;
        let partition = |(topic, partition): (String, i32)| TopicPartition::new(&topic, partition);
        Ok(Some(partitions.into_iter().map(partition).collect()))
    }

    /// Removes `/admin/preferred_replica_election`, as controller; its next creation will be an
    /// event.
    ///
    /// # Errors
    /// [`StoreError::ControllerMoved`], or when `ZooKeeper` refuses.
    pub async fn remove_preferred_election(&self, epoch_version: i32) -> Result<(), StoreError> {
        let path = paths::PREFERRED_REPLICA_ELECTION.to_string();
        self.delete_as_controller(epoch_version, &[path]).await?;
        self.exists(paths::PREFERRED_REPLICA_ELECTION, true)
            .await
            .map(|_| ())
    }

    /// Whether a topic exists.
    ///
    /// # Errors
    /// When `ZooKeeper` refuses or the session is over.
    pub async fn topic_exists(&self, topic: &str) -> Result<bool, StoreError> {
        self.exists(&paths::topic(topic), false).await
    }

    /// Whether a topic is to be deleted.
    ///
    /// # Errors
    /// When `ZooKeeper` refuses or the session is over.
    pub async fn is_marked_for_deletion(&self, topic: &str) -> Result<bool, StoreError> {
        self.exists(&paths::delete_topic(topic), false).await
    }
}
