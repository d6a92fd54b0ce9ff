//! Shell: creates and deletes topics by writing their znodes (`server/ZkAdminManager.scala`,
//! `zk/AdminZkClient.scala`, `server/AutoTopicCreationManager.scala`).
//!
//! The order of the checks and their texts are Kafka's, because clients show them. A topic's config
//! node is written before its own node; the controller learns of the topic by its watch, and who wants
//! to know that it is there waits for the metadata cache.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use common::zk::code::ErrorCode as ZkCode;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreateableTopicConfig,
};
use kafka_wire::wire::Uuid;
use parking_lot::Mutex;

use crate::admin::assignment::{self, Begin, Candidate};
use crate::admin::error::ApiError;
use crate::config::broker::BrokerConfig;
use crate::config::topic;
use crate::metadata::cache::MetadataCache;
use crate::metadata::topic_names::{self, GROUP_METADATA_TOPIC, TRANSACTION_STATE_TOPIC};
use crate::zk::error::StoreError;
use crate::zk::store::ZkStore;
use crate::zk::znodes::{ReplicaAssignment, TopicAssignment};

/// "As the broker's default says" for both numbers of a new topic.
const UNSET: i32 = -1;

/// A topic that was created, or would have been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedTopic {
    /// The topic's id; zero when it was only checked.
    pub id: Uuid,
    /// Replicas by partition.
    pub assignment: BTreeMap<i32, Vec<i32>>,
    /// The overrides it was given.
    pub config: Vec<(String, String)>,
}

/// Changes topics.
#[derive(Debug)]
pub struct TopicAdmin {
    pub(super) config: Arc<BrokerConfig>,
    pub(super) store: Arc<ZkStore>,
    pub(super) metadata: Arc<MetadataCache>,
    /// Topics that are being created because somebody used them.
    in_flight: Mutex<HashSet<String>>,
}

impl TopicAdmin {
    /// An administrator that writes through `store`.
    #[must_use]
    pub fn new(
        config: Arc<BrokerConfig>,
        store: Arc<ZkStore>,
        metadata: Arc<MetadataCache>,
    ) -> Self {
        Self {
            config,
            store,
            metadata,
            in_flight: Mutex::default(),
        }
    }

    /// Creates topics, or only checks whether they could be, and waits up to `timeout_ms` until this
    /// broker knows a leader of each partition. Results come in the order of the topics.
    pub async fn create(
        &self,
        topics: &[CreatableTopic],
        timeout_ms: i32,
        validate_only: bool,
    ) -> Vec<Result<CreatedTopic, ApiError>> {
        let mut results = Vec::with_capacity(topics.len());
        for topic in topics {
            let result = self.create_one(topic, validate_only).await;
            if let Err(error) = &result {
                tracing::info!(topic = %topic.name, ?error, "topic not created");
            }
            results.push(result);
        }
        if validate_only {
            return results;
        }
        let names: Vec<&str> = topics.iter().map(|topic| &*topic.name).collect();
        let created = |(name, result): (&&str, &Result<CreatedTopic, ApiError>)| {
            let partitions = result.as_ref().ok()?.assignment.keys().copied().collect();
            Some(((*name).to_string(), partitions))
        };
        let created: Vec<(String, BTreeSet<i32>)> =
            names.iter().zip(&results).filter_map(created).collect();
        let late = self.leaderless(&created, timeout_ms).await;
        for (name, result) in names.iter().zip(&mut results) {
            if result.is_ok() && late.contains(*name) {
                *result = Err(ApiError::plain(ErrorCode::RequestTimedOut));
            }
        }
        results
    }

    /// Waits until all partitions have leaders; the topics that do not have them in time.
    pub(super) async fn leaderless(
        &self,
        topics: &[(String, BTreeSet<i32>)],
        timeout_ms: i32,
    ) -> HashSet<String> {
        let Ok(timeout_ms) = u64::try_from(timeout_ms) else {
            return topics.iter().map(|(topic, _)| topic.clone()).collect();
        };
        if timeout_ms == 0 {
            return topics.iter().map(|(topic, _)| topic.clone()).collect();
        }
        let is_led = |now: &crate::metadata::cache::Snapshot, (topic, partitions): &(String, _)| {
            let partitions: &BTreeSet<i32> = partitions;
            partitions
                .iter()
                .all(|partition| now.has_leader(topic, *partition))
        };
        let all_led =
            |now: &crate::metadata::cache::Snapshot| topics.iter().all(|t| is_led(now, t));
        self.metadata
            .wait_for(Duration::from_millis(timeout_ms), all_led)
            .await;
        let now = self.metadata.snapshot();
        topics
            .iter()
            .filter(|topic| !is_led(&now, topic))
            .map(|(topic, _)| topic.clone())
            .collect()
    }

    async fn create_one(
        &self,
        topic: &CreatableTopic,
        validate_only: bool,
    ) -> Result<CreatedTopic, ApiError> {
        let name: &str = &topic.name;
        if self.metadata.contains(name) {
            return Err(exists(name));
        }
        let config = given_config(&topic.configs)?;
        let numbers = (topic.num_partitions, i32::from(topic.replication_factor));
        if numbers != (UNSET, UNSET) && !topic.assignments.is_empty() {
            return Err(ApiError::new(
                ErrorCode::InvalidRequest,
                "Both numPartitions or replicationFactor and replicasAssignments were set. Both cannot \
                 be used at the same time.",
            ));
        }
        let assignment = if topic.assignments.is_empty() {
            self.assign(numbers.0, numbers.1)?
        } else {
            given_assignment(&topic.assignments)
        };
        self.check_new(name, &assignment, &config).await?;
        let mut created = CreatedTopic {
            id: Uuid::ZERO,
            assignment,
            config,
        };
        if !validate_only {
            created.id = Uuid::random();
            self.write(name, &created)
                .await
                .map_err(store_error(name))?;
            tracing::info!(
                topic = name,
                partitions = created.assignment.len(),
                "created topic"
            );
        }
        Ok(created)
    }

    fn assign(&self, partitions: i32, factor: i32) -> Result<BTreeMap<i32, Vec<i32>>, ApiError> {
        let or_default = |given: i32, default: i32| if given == UNSET { default } else { given };
        let partitions = or_default(partitions, self.config.num_partitions);
        let factor = or_default(factor, self.config.default_replication_factor);
        let candidates: Vec<Candidate> = self
            .metadata
            .snapshot()
            .brokers
            .values()
            .map(|b| Candidate {
                id: b.id,
                rack: b.rack.as_ref().map(ToString::to_string),
            })
            .collect();
        let random = || rand::random::<u32>() as usize % candidates.len().max(1);
        let begin = Begin {
            start: random(),
            shift: random(),
            first_partition: 0,
        };
        assignment::assign(&candidates, partitions, factor, begin)
    }

    /// `AdminZkClient.validateTopicCreate`.
    async fn check_new(
        &self,
        name: &str,
        assignment: &BTreeMap<i32, Vec<i32>>,
        config: &[(String, String)],
    ) -> Result<(), ApiError> {
        topic_names::validate(name)
            .map_err(|error| ApiError::new(ErrorCode::InvalidTopicException, error.to_string()))?;
        let failed = store_error(name);
        if self
            .store
            .is_marked_for_deletion(name)
            .await
            .map_err(&failed)?
        {
            let message = format!("Topic '{name}' is marked for deletion.");
            return Err(ApiError::new(ErrorCode::TopicAlreadyExists, message));
        }
        if self.store.topic_exists(name).await.map_err(&failed)? {
            return Err(exists(name));
        }
        if name.contains(['.', '_']) {
            let mut colliding = self.store.topics(false).await.map_err(&failed)?;
            colliding.retain(|other| topic_names::collide(name, other));
            if !colliding.is_empty() {
                colliding.sort_unstable();
                let others = colliding.join(", ");
                let message = format!("Topic '{name}' collides with existing topics: {others}");
                return Err(ApiError::new(ErrorCode::InvalidTopicException, message));
            }
        }
        check_assignment(assignment)?;
        let config = config
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()));
        topic::validate(config).map_err(|why| ApiError::new(ErrorCode::InvalidConfig, why))?;
        if !assignment.contains_key(&0) {
            // A lone negative partition passes the checks above and then trips Kafka up.
            return Err(ApiError::plain(ErrorCode::UnknownServerError));
        }
        Ok(())
    }

    async fn write(&self, name: &str, topic: &CreatedTopic) -> Result<(), StoreError> {
        self.store
            .set_entity_config("topics", name, &topic.config)
            .await?;
        let replicas = topic.assignment.iter();
        let partitions = replicas.map(|(p, ids)| (*p, ReplicaAssignment::new(ids.clone())));
        let assignment = TopicAssignment {
            topic_id: Some(topic.id),
            partitions: partitions.collect(),
        };
        self.store.create_topic(name, &assignment).await
    }

    /// Deletes topics and waits up to `timeout_ms` until this broker no longer knows them. Results come
    /// in the order of the topics.
    pub async fn delete(&self, topics: &[String], timeout_ms: i32) -> Vec<ErrorCode> {
        let mut results = Vec::with_capacity(topics.len());
        for topic in topics {
            results.push(self.delete_one(topic).await);
        }
        let accepted: Vec<&String> = topics
            .iter()
            .zip(&results)
            .filter(|(_, result)| result.is_none())
            .map(|(topic, _)| topic)
            .collect();
        if let Ok(timeout_ms @ 1..) = u64::try_from(timeout_ms) {
            let timeout = Duration::from_millis(timeout_ms);
            let are_gone = |now: &crate::metadata::cache::Snapshot| {
                accepted
                    .iter()
                    .all(|topic| !now.topics.contains_key(topic.as_str()))
            };
            self.metadata.wait_for(timeout, are_gone).await;
        } else {
            let late = |code: ErrorCode| {
                if code.is_none() {
                    ErrorCode::RequestTimedOut
                } else {
                    code
                }
            };
            return results.into_iter().map(late).collect();
        }
        for (topic, result) in topics.iter().zip(&mut results) {
            if result.is_none() && self.metadata.contains(topic) {
                *result = ErrorCode::RequestTimedOut;
            }
        }
        results
    }

    async fn delete_one(&self, topic: &str) -> ErrorCode {
        let requested = async {
            if !self.store.topic_exists(topic).await? {
                return Ok(ErrorCode::UnknownTopicOrPartition);
            }
            match self.store.request_deletion(topic).await {
                Err(error) if !error.is(ZkCode::NodeExists) => Err(error),
                _ => Ok(ErrorCode::None),
            }
        };
        requested.await.unwrap_or_else(|error: StoreError| {
            tracing::error!(topic, %error, "cannot delete topic");
            ErrorCode::UnknownServerError
        })
    }

    /// Creates topics because somebody used them; what to tell of each. The partitions have no leader
    /// yet, so the best that is told is `LEADER_NOT_AVAILABLE`.
    pub async fn auto_create(&self, names: &[ByteString]) -> Vec<(ByteString, ErrorCode)> {
        let mut answers = Vec::with_capacity(names.len());
        let knows_brokers = !self.metadata.snapshot().brokers.is_empty();
        for name in names {
            if topic_names::validate(name).is_err() {
                answers.push((name.clone(), ErrorCode::InvalidTopicException));
                continue;
            }
            if !knows_brokers {
                // Just started, not even itself is known yet. Clients try again after this answer, and some do not after
                // Kafka's, which is that the replication factor is larger than the number of brokers.
                answers.push((name.clone(), ErrorCode::UnknownTopicOrPartition));
                continue;
            }
            if !self.in_flight.lock().insert(name.to_string()) {
                answers.push((name.clone(), ErrorCode::UnknownTopicOrPartition));
                continue;
            }
            let in_flight = InFlight {
                topics: &self.in_flight,
                topic: name,
            };
            let code = match self.create_one(&self.automatic(name), false).await {
                Ok(_) => ErrorCode::LeaderNotAvailable,
                Err(error) if error.code == ErrorCode::TopicAlreadyExists => {
                    ErrorCode::LeaderNotAvailable
                }
                Err(error) => {
                    tracing::info!(topic = %name, ?error, "topic not created automatically");
                    error.code
                }
            };
            drop(in_flight);
            answers.push((name.clone(), code));
        }
        answers
    }

    /// What a topic is like that is created because somebody used it.
    fn automatic(&self, name: &ByteString) -> CreatableTopic {
        let config = &self.config;
        let (partitions, factor, settings) = match &**name {
            GROUP_METADATA_TOPIC => (
                config.offsets_topic_num_partitions,
                config.offsets_topic_replication_factor,
                vec![
                    ("cleanup.policy", "compact".to_string()),
                    (
                        "segment.bytes",
                        config.offsets_topic_segment_bytes.to_string(),
                    ),
                    ("compression.type", "producer".to_string()),
                ],
            ),
            TRANSACTION_STATE_TOPIC => (
                config.transaction_state_log_num_partitions,
                config.transaction_state_log_replication_factor,
                vec![
                    ("unclean.leader.election.enable", "false".to_string()),
                    ("compression.type", "uncompressed".to_string()),
                    ("cleanup.policy", "compact".to_string()),
                    (
                        "min.insync.replicas",
                        config.transaction_state_log_min_isr.to_string(),
                    ),
                    (
                        "segment.bytes",
                        config.transaction_state_log_segment_bytes.to_string(),
                    ),
                ],
            ),
            _ => {
                let factor = i16::try_from(config.default_replication_factor).unwrap_or(i16::MAX);
                (config.num_partitions, factor, Vec::new())
            }
        };
        let configs = settings
            .into_iter()
            .map(|(name, value)| CreateableTopicConfig {
                name: ByteString::from_static(name),
                value: Some(ByteString::from(value)),
            });
        CreatableTopic {
            name: name.clone(),
            num_partitions: partitions,
            replication_factor: factor,
            configs: configs.collect(),
            ..CreatableTopic::default()
        }
    }
}

/// Marks a topic as being created until it is dropped, also when the request is cancelled.
struct InFlight<'a> {
    topics: &'a Mutex<HashSet<String>>,
    topic: &'a str,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.topics.lock().remove(self.topic);
    }
}

fn exists(name: &str) -> ApiError {
    ApiError::new(
        ErrorCode::TopicAlreadyExists,
        format!("Topic '{name}' already exists."),
    )
}

/// What a client is told when `ZooKeeper` refuses.
pub(super) fn store_error(topic: &str) -> impl Fn(StoreError) -> ApiError + '_ {
    move |error| match error {
        error if error.is(ZkCode::NodeExists) => exists(topic),
        StoreError::ControllerMoved | StoreError::NoController { .. } => {
            ApiError::new(ErrorCode::StaleControllerEpoch, error.to_string())
        }
        error => {
            tracing::error!(topic, %error, "cannot write topic");
            ApiError::plain(ErrorCode::UnknownServerError)
        }
    }
}

fn given_config(configs: &[CreateableTopicConfig]) -> Result<Vec<(String, String)>, ApiError> {
    let nulls: Vec<&str> = configs
        .iter()
        .filter(|entry| entry.value.is_none())
        .map(|entry| &*entry.name)
        .collect();
    if !nulls.is_empty() {
        let message = format!(
            "Null value not supported for topic configs: {}",
            nulls.join(",")
        );
        return Err(ApiError::new(ErrorCode::InvalidConfig, message));
    }
    let mut config: Vec<(String, String)> = Vec::with_capacity(configs.len());
    for entry in configs {
        let value = entry.value.as_deref().unwrap_or_default().to_string();
        match config.iter_mut().find(|(key, _)| *key == *entry.name) {
            Some(known) => known.1 = value,
            None => config.push((entry.name.to_string(), value)),
        }
    }
    Ok(config)
}

fn given_assignment(assignments: &[CreatableReplicaAssignment]) -> BTreeMap<i32, Vec<i32>> {
    assignments
        .iter()
        .map(|given| (given.partition_index, given.broker_ids.clone()))
        .collect()
}

fn check_assignment(assignment: &BTreeMap<i32, Vec<i32>>) -> Result<(), ApiError> {
    let invalid = |message: String| ApiError::new(ErrorCode::InvalidReplicaAssignment, message);
    let sizes: BTreeSet<usize> = assignment.values().map(Vec::len).collect();
    if sizes.len() != 1 {
        let message = "All partitions should have the same number of replicas";
        return Err(invalid(message.to_string()));
    }
    let repeats = |ids: &Vec<i32>| ids.iter().collect::<BTreeSet<_>>().len() != ids.len();
    if assignment.values().any(repeats) {
        // The text of Scala's maps and buffers.
        let shown = |(partition, ids): (&i32, &Vec<i32>)| {
            let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
            format!("{partition} -> ArrayBuffer({})", ids.join(", "))
        };
        let shown: Vec<_> = assignment.iter().map(shown).collect();
        let all = shown.join(", ");
        return Err(invalid(format!(
            "Duplicate replica assignment found: HashMap({all})"
        )));
    }
    let count = assignment.len() as i64;
    let sum: i64 = assignment
        .keys()
        .map(|p| i64::from(*p))
        .filter(|p| *p >= 0)
        .sum();
    if sum != count * (count - 1) / 2 {
        let message = "partitions should be a consecutive 0-based integer sequence";
        return Err(invalid(message.to_string()));
    }
    Ok(())
}
