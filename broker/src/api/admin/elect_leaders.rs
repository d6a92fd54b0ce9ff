//! Shell: ElectLeaders, 0 to 2: the controller elects preferred or, from 1, any live leaders (KIP-183, KIP-460).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::elect_leaders::{
    ElectLeadersRequest, ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};

use crate::api::context::{RequestContext, Services};
use crate::controller::effects::{ElectionFailure, ElectionKind};
use crate::metadata::cache::Snapshot;
use crate::zk::znodes::TopicPartition;

type Results = BTreeMap<TopicPartition, (ErrorCode, Option<String>)>;

/// Elects leaders and waits until this broker knows them.
pub async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: ElectLeadersRequest,
) -> ElectLeadersResponse {
    let kind = match (context.header.api_version, request.election_type) {
        (0, _) | (_, 0) => ElectionKind::Preferred,
        (_, 1) => ElectionKind::Unclean,
        _ => return failed(ErrorCode::UnknownServerError),
    };
    let partitions = request.topic_partitions.map(|topics| {
        let mut partitions = Vec::new();
        for topic in topics {
            let of_topic = topic.partitions.iter();
            partitions.extend(of_topic.map(|index| TopicPartition::new(&topic.topic, *index)));
        }
        partitions
    });
    let elections = match services
        .controller
        .elect_leaders(partitions.clone(), kind)
        .await
    {
        Ok(elections) => elections,
        Err(code) => {
            // Each partition is answered, since version 0 has no other place for an error.
            let known = || all_partitions(&services.metadata.snapshot());
            let refused = partitions.unwrap_or_else(known).into_iter();
            return response(refused.map(|partition| (partition, (code, None))).collect());
        }
    };
    let mut results = Results::new();
    let mut expected: BTreeMap<TopicPartition, i32> = BTreeMap::new();
    for (partition, outcome) in elections {
        match outcome {
            Ok(leader) => {
                expected.insert(partition, leader);
            }
            Err(failure) => {
                results.insert(partition, told(failure, kind));
            }
        }
    }
    let is_led = |now: &Snapshot, (tp, leader): (&TopicPartition, &i32)| {
        now.partition(&tp.topic, tp.partition)
            .is_some_and(|known| known.leader == *leader)
    };
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let all_led = |now: &Snapshot| expected.iter().all(|wanted| is_led(now, wanted));
    services.metadata.wait_for(timeout, all_led).await;
    let now = services.metadata.snapshot();
    for wanted in &expected {
        let code = if is_led(&now, wanted) {
            ErrorCode::None
        } else {
            ErrorCode::RequestTimedOut
        };
        results.insert(wanted.0.clone(), (code, None));
    }
    response(results)
}

fn all_partitions(snapshot: &Snapshot) -> Vec<TopicPartition> {
    let mut partitions = Vec::new();
    for (name, topic) in &snapshot.topics {
        let of_topic = topic.partitions.keys();
        partitions.extend(of_topic.map(|partition| TopicPartition::new(name, *partition)));
    }
    partitions
}

fn told(failure: ElectionFailure, kind: ElectionKind) -> (ErrorCode, Option<String>) {
    match failure {
        ElectionFailure::NoEligibleLeader(why) => match kind {
            ElectionKind::Preferred => (ErrorCode::PreferredLeaderNotAvailable, Some(why)),
            ElectionKind::Unclean => (ErrorCode::EligibleLeadersNotAvailable, Some(why)),
        },
        ElectionFailure::NotNeeded => {
            let code = ErrorCode::ElectionNotNeeded;
            (code, Some(code.message().to_string()))
        }
        ElectionFailure::TopicDeleted => (
            ErrorCode::InvalidTopicException,
            Some("The topic is being deleted".to_string()),
        ),
        ElectionFailure::UnknownPartition => {
            let message = "The partition does not exist.".to_string();
            (ErrorCode::UnknownTopicOrPartition, Some(message))
        }
        ElectionFailure::Store(_) => (ErrorCode::UnknownServerError, None),
    }
}

fn failed(code: ErrorCode) -> ElectLeadersResponse {
    ElectLeadersResponse {
        error_code: code.code(),
        ..ElectLeadersResponse::default()
    }
}

fn response(results: Results) -> ElectLeadersResponse {
    let mut topics: BTreeMap<String, Vec<PartitionResult>> = BTreeMap::new();
    for (partition, (code, message)) in results {
        topics
            .entry(partition.topic)
            .or_default()
            .push(PartitionResult {
                partition_id: partition.partition,
                error_code: code.code(),
                error_message: message.map(ByteString::from),
            });
    }
    let topic = |(topic, partition_result): (String, _)| ReplicaElectionResult {
        topic: topic.into(),
        partition_result,
    };
    let replica_election_results = topics.into_iter().map(topic).collect();
    ElectLeadersResponse {
        replica_election_results,
        ..ElectLeadersResponse::default()
    }
}
