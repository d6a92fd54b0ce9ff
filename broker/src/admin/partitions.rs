//! Shell: adds partitions to topics (`ZkAdminManager.createPartitions`,
//! `AdminZkClient.createNewPartitionsAssignment`).

use std::collections::{BTreeMap, BTreeSet};

use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::create_partitions::CreatePartitionsTopic;

use crate::admin::assignment::{self, Begin, Candidate};
use crate::admin::error::ApiError;
use crate::admin::topics::{TopicAdmin, store_error};
use crate::zk::znodes::{BrokerRegistration, ReplicaAssignment, TopicAssignment};

impl TopicAdmin {
    /// Adds partitions, or only checks whether they could be added, and waits up to `timeout_ms` until
    /// this broker knows a leader of each. Results come in the order of the topics.
    pub async fn create_partitions(
        &self,
        topics: &[CreatePartitionsTopic],
        timeout_ms: i32,
        validate_only: bool,
    ) -> Vec<Result<(), ApiError>> {
        let brokers: Vec<BrokerRegistration> = match self.store.brokers(false).await {
            Ok(brokers) => brokers.into_iter().map(|(broker, _)| broker).collect(),
            Err(error) => {
                tracing::error!(%error, "cannot read brokers");
                return topics.iter().map(|t| Err(unexpected(&t.name))).collect();
            }
        };
        let mut results = Vec::with_capacity(topics.len());
        let mut grown = Vec::new();
        for topic in topics {
            let result = self.grow(topic, &brokers, validate_only).await;
            results.push(result.map(|partitions| {
                grown.push((topic.name.to_string(), partitions));
            }));
        }
        if validate_only {
            return results;
        }
        let late = self.leaderless(&grown, timeout_ms).await;
        for (topic, result) in topics.iter().zip(&mut results) {
            if result.is_ok() && late.contains(&*topic.name) {
                *result = Err(ApiError::plain(ErrorCode::RequestTimedOut));
            }
        }
        results
    }

    /// Adds partitions to one topic; all partitions that it has then.
    async fn grow(
        &self,
        request: &CreatePartitionsTopic,
        brokers: &[BrokerRegistration],
        validate_only: bool,
    ) -> Result<BTreeSet<i32>, ApiError> {
        let topic: &str = &request.name;
        let found = self
            .store
            .assignment(topic)
            .await
            .map_err(store_error(topic))?;
        let mut assignment = found.unwrap_or_default();
        if assignment
            .partitions
            .values()
            .any(ReplicaAssignment::is_being_reassigned)
        {
            let message =
                format!("A partition reassignment is in progress for the topic '{topic}'.");
            return Err(ApiError::new(ErrorCode::ReassignmentInProgress, message));
        }
        if assignment.partitions.is_empty() {
            let message = format!("The topic '{topic}' does not exist.");
            return Err(ApiError::new(ErrorCode::UnknownTopicOrPartition, message));
        }
        let added = new_partitions(request, &assignment, brokers)?;
        let replicas = added
            .into_iter()
            .map(|(p, ids)| (p, ReplicaAssignment::new(ids)));
        assignment.partitions.extend(replicas);
        if !validate_only {
            let count = assignment.partitions.len();
            tracing::info!(topic, count, "adding partitions");
            self.store
                .set_assignment(topic, &assignment)
                .await
                .map_err(store_error(topic))?;
        }
        Ok(assignment.partitions.into_keys().collect())
    }
}

fn unexpected(topic: &str) -> ApiError {
    tracing::error!(topic, "cannot add partitions");
    ApiError::plain(ErrorCode::UnknownServerError)
}

/// The replicas of the partitions to add, as given or by round-robin from the broker that has the first
/// replica of partition 0.
fn new_partitions(
    request: &CreatePartitionsTopic,
    existing: &TopicAssignment,
    brokers: &[BrokerRegistration],
) -> Result<BTreeMap<i32, Vec<i32>>, ApiError> {
    let count = i32::try_from(existing.partitions.len()).unwrap_or(i32::MAX);
    let increment = i64::from(request.count) - i64::from(count);
    let invalid = |message: String| Err(ApiError::new(ErrorCode::InvalidPartitions, message));
    if increment < 0 {
        let wanted = request.count;
        return invalid(format!(
            "Topic currently has {count} partitions, which is higher than the requested {wanted}."
        ));
    }
    if increment == 0 {
        return invalid(format!("Topic already has {count} partitions."));
    }
    let Some(first) = existing.partitions.get(&0) else {
        return Err(unexpected(&request.name));
    };
    if let Some(given) = &request.assignments {
        let given: Vec<&[i32]> = given.iter().map(|a| a.broker_ids.as_slice()).collect();
        return given_partitions(&given, increment, count, first.replicas.len(), brokers);
    }
    let candidates: Vec<Candidate> = brokers
        .iter()
        .map(|broker| Candidate {
            id: broker.id,
            rack: broker.rack.clone(),
        })
        .collect();
    let head = first.replicas.first().copied().unwrap_or(-1);
    let start = candidates
        .iter()
        .position(|candidate| candidate.id >= head)
        .unwrap_or(0);
    let begin = Begin {
        start,
        shift: start,
        first_partition: count,
    };
    let factor = i32::try_from(first.replicas.len()).unwrap_or(i32::MAX);
    let increment = i32::try_from(increment).unwrap_or(i32::MAX);
    assignment::assign(&candidates, increment, factor, begin)
}

fn given_partitions(
    given: &[&[i32]],
    increment: i64,
    first: i32,
    factor: usize,
    brokers: &[BrokerRegistration],
) -> Result<BTreeMap<i32, Vec<i32>>, ApiError> {
    let invalid =
        |message: String| Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, message));
    let is_known = |id: &i32| brokers.iter().any(|broker| broker.id == *id);
    let unknown: BTreeSet<i32> = given
        .iter()
        .flat_map(|ids| ids.iter().copied())
        .filter(|id| !is_known(id))
        .collect();
    if !unknown.is_empty() {
        let shown = joined(unknown.iter());
        return invalid(format!("Unknown broker(s) in replica assignment: {shown}."));
    }
    if given.len() as i64 != increment {
        let provided = given.len();
        return invalid(format!(
            "Increasing the number of partitions by {increment} but {provided} assignments provided."
        ));
    }
    let numbered: BTreeMap<i32, Vec<i32>> = (first..)
        .zip(given)
        .map(|(partition, ids)| (partition, ids.to_vec()))
        .collect();
    for (partition, ids) in &numbered {
        if ids.is_empty() {
            return invalid(format!(
                "Cannot have replication factor of 0 for partition id {partition}."
            ));
        }
        if ids.iter().collect::<BTreeSet<_>>().len() != ids.len() {
            let shown = joined(ids.iter());
            return invalid(format!(
                "Duplicate brokers not allowed in replica assignment: {shown} for partition id \
                 {partition}."
            ));
        }
    }
    let bad: Vec<_> = numbered
        .iter()
        .filter(|(_, ids)| ids.len() != factor)
        .collect();
    if !bad.is_empty() {
        let partitions = joined(bad.iter().map(|(partition, _)| *partition));
        let factors = joined(bad.iter().map(|(_, ids)| ids.len()));
        return invalid(format!(
            "Inconsistent replication factor between partitions, partition 0 has {factor} while \
             partitions [{partitions}] have replication factors [{factors}], respectively."
        ));
    }
    Ok(numbered)
}

fn joined(items: impl Iterator<Item = impl ToString>) -> String {
    items
        .map(|item| item.to_string())
        .collect::<Vec<_>>()
        .join(", ")
}
