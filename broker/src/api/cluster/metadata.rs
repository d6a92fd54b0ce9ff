//! Shell: Metadata, 0 to 12: brokers, topics, partitions, leaders; creates topics on the way if allowed.
//!
//! Version 0 takes an empty list for all topics and hides replicas that cannot be reached; from 4 the client may
//! forbid creation; 8 to 10 carry the operations allowed on the cluster, from 8 those on topics; 10 answers with
//! topic ids, 12 asks by them.

use std::collections::HashSet;
use std::sync::Arc;

use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker,
    MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_wire::wire::Uuid;

use crate::api::cluster::operations;
use crate::api::context::{RequestContext, Services};
use crate::metadata::cache::{PartitionMetadata, Snapshot, TopicMetadata};
use crate::metadata::topic_names;

/// Answers from the metadata cache.
pub async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: MetadataRequest,
) -> MetadataResponse {
    let version = context.header.api_version;
    let is_all = match &request.topics {
        None => true,
        Some(topics) => topics.is_empty() && version == 0,
    };
    let asked = request.topics.as_deref().unwrap_or_default();
    if version < 12
        && asked
            .iter()
            .any(|topic| topic.name.is_none() || topic.topic_id != Uuid::ZERO)
    {
        return invalid(asked);
    }

    let snapshot = services.metadata.snapshot();
    let view = View {
        snapshot: &snapshot,
        listener: &context.listener,
        version,
    };
    let mut topics = Vec::new();
    let names = if is_all {
        let mut names: Vec<ByteString> = snapshot.topics.keys().cloned().collect();
        names.sort_unstable();
        names
    } else {
        wanted(asked, &snapshot, &mut topics)
    };
    let mut missing = Vec::new();
    for name in names {
        match snapshot.topics.get(&name) {
            Some(topic) => topics.push(view.topic(name, topic)),
            None => missing.push(name),
        }
    }
    let may_create =
        services.config.auto_create_topics_enable && request.allow_auto_topic_creation && !is_all;
    topics.extend(absent(services, missing, may_create).await);
    if version >= 8 && request.include_topic_authorized_operations {
        for topic in &mut topics {
            topic.topic_authorized_operations = operations::TOPIC;
        }
    }
    let with_cluster = (8..=10).contains(&version) && request.include_cluster_authorized_operations;
    MetadataResponse {
        throttle_time_ms: 0,
        brokers: view.brokers(),
        cluster_id: Some(services.cluster_id.clone()),
        controller_id: snapshot.controller_id.unwrap_or(-1),
        topics,
        cluster_authorized_operations: if with_cluster {
            operations::CLUSTER
        } else {
            operations::NOT_ASKED
        },
    }
}

/// The names asked for, each once; unknown ids are answered right away. Names and ids are not mixed: with any id the
/// request is one by ids.
fn wanted(
    asked: &[MetadataRequestTopic],
    snapshot: &Snapshot,
    answers: &mut Vec<MetadataResponseTopic>,
) -> Vec<ByteString> {
    let by_id = asked.iter().any(|topic| topic.topic_id != Uuid::ZERO);
    let mut seen_ids = HashSet::new();
    let mut seen = HashSet::new();
    let mut names = Vec::new();
    for topic in asked {
        let name = if by_id {
            if topic.topic_id == Uuid::ZERO || !seen_ids.insert(topic.topic_id) {
                continue;
            }
            let known = snapshot.names.get(&topic.topic_id).cloned();
            if known.is_none() {
                answers.push(MetadataResponseTopic {
                    error_code: ErrorCode::UnknownTopicId.code(),
                    name: None,
                    topic_id: topic.topic_id,
                    ..MetadataResponseTopic::default()
                });
            }
            known
        } else {
            topic.name.clone()
        };
        if let Some(name) = name
            && seen.insert(name.clone())
        {
            names.push(name);
        }
    }
    names
}

/// Topics that the cache does not know: created if that is allowed, else refused.
async fn absent(
    services: &Arc<Services>,
    names: Vec<ByteString>,
    may_create: bool,
) -> Vec<MetadataResponseTopic> {
    let answers = if may_create {
        services.topics.auto_create(&names).await
    } else {
        let refusal = |name: ByteString| match topic_names::validate(&name) {
            Ok(()) => (name, ErrorCode::UnknownTopicOrPartition),
            Err(_) => (name, ErrorCode::InvalidTopicException),
        };
        names.into_iter().map(refusal).collect()
    };
    let answer = |(name, error): (ByteString, ErrorCode)| MetadataResponseTopic {
        error_code: error.code(),
        is_internal: topic_names::is_internal(&name),
        name: Some(name),
        ..MetadataResponseTopic::default()
    };
    answers.into_iter().map(answer).collect()
}

fn invalid(asked: &[MetadataRequestTopic]) -> MetadataResponse {
    let topic = |topic: &MetadataRequestTopic| MetadataResponseTopic {
        error_code: ErrorCode::InvalidRequest.code(),
        name: Some(topic.name.clone().unwrap_or_default()),
        topic_id: topic.topic_id,
        ..MetadataResponseTopic::default()
    };
    MetadataResponse {
        topics: asked.iter().map(topic).collect(),
        ..MetadataResponse::default()
    }
}

/// The cluster as one listener shows it.
struct View<'a> {
    snapshot: &'a Snapshot,
    listener: &'a str,
    version: i16,
}

impl View<'_> {
    fn brokers(&self) -> Vec<MetadataResponseBroker> {
        let brokers = self.snapshot.brokers.values();
        brokers
            .filter_map(|broker| {
                let endpoint = broker.endpoint(self.listener)?;
                Some(MetadataResponseBroker {
                    node_id: broker.id,
                    host: endpoint.host.clone(),
                    port: endpoint.port,
                    rack: broker.rack.clone(),
                })
            })
            .collect()
    }

    fn topic(&self, name: ByteString, topic: &TopicMetadata) -> MetadataResponseTopic {
        let partitions = topic.partitions.iter();
        MetadataResponseTopic {
            error_code: ErrorCode::None.code(),
            is_internal: topic_names::is_internal(&name),
            name: Some(name),
            topic_id: topic.id,
            partitions: partitions
                .map(|(index, known)| self.partition(*index, known))
                .collect(),
            ..MetadataResponseTopic::default()
        }
    }

    fn partition(&self, index: i32, known: &PartitionMetadata) -> MetadataResponsePartition {
        let replicas = self.shown(&known.replicas);
        let isr = self.shown(&known.isr);
        let (error, leader_id) = if self.is_reachable(known.leader) {
            let hides = replicas.len() < known.replicas.len() || isr.len() < known.isr.len();
            let error = if hides {
                ErrorCode::ReplicaNotAvailable
            } else {
                ErrorCode::None
            };
            (error, known.leader)
        } else if self.version >= 6 && self.snapshot.brokers.contains_key(&known.leader) {
            (ErrorCode::ListenerNotFound, -1)
        } else {
            (ErrorCode::LeaderNotAvailable, -1)
        };
        MetadataResponsePartition {
            error_code: error.code(),
            partition_index: index,
            leader_id,
            leader_epoch: known.leader_epoch,
            replica_nodes: replicas,
            isr_nodes: isr,
            offline_replicas: known.offline_replicas.clone(),
        }
    }

    /// Version 0 shows only replicas that can be reached.
    fn shown(&self, ids: &[i32]) -> Vec<i32> {
        let is_shown = |id: &&i32| self.version > 0 || self.is_reachable(**id);
        ids.iter().filter(is_shown).copied().collect()
    }

    fn is_reachable(&self, id: i32) -> bool {
        self.snapshot
            .brokers
            .get(&id)
            .is_some_and(|b| b.endpoint(self.listener).is_some())
    }
}
