//! Shell: administration of topics, as Java's `KafkaAdminClient` asks for it.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::message::Request;
use kafka_wire::messages::create_partitions::{CreatePartitionsRequest, CreatePartitionsTopic};
use kafka_wire::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use kafka_wire::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use kafka_wire::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
};
use kafka_wire::messages::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsTopics,
    OngoingPartitionReassignment,
};
use kafka_wire::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseTopic,
};
use kafka_wire::wire::Uuid;
use tokio::time::Instant;

use crate::client::cluster::{Cluster, Link};
use crate::client::error::ClientError;
use crate::client::settings::{ClusterOptions, Settings};

/// How much longer than a request's own time limit its answer is waited for.
const ANSWER_MARGIN: Duration = Duration::from_secs(2);
/// `ConfigResource.Type.TOPIC`.
const TOPIC_RESOURCE: i8 = 2;

/// An administration client.
#[derive(Debug)]
pub struct Admin {
    cluster: Arc<Cluster>,
    api_timeout: Duration,
}

impl Admin {
    /// Makes a client; it connects when it is first asked.
    ///
    /// # Errors
    /// [`ClientError::Construct`].
    pub async fn new(settings: &Settings) -> Result<Self, ClientError> {
        let made = async {
            let client_id = settings.text("client.id", "adminclient-1");
            let prefix = format!("[AdminClient clientId={client_id}]");
            let mut settings = settings.clone();
            settings.set_default("client.id", "adminclient-1");
            let api_timeout = settings.millis("default.api.timeout.ms", 60_000)?;
            let cluster = Cluster::new(ClusterOptions::read(&settings, prefix)?).await?;
            Ok(Self {
                cluster,
                api_timeout,
            })
        };
        let failed = |cause| {
            ClientError::Construct("Failed to create new KafkaAdminClient", Box::new(cause))
        };
        made.await.map_err(failed)
    }

    /// Calls until it succeeds, the error is final, or time is up; `call` names it for the error.
    async fn retry<T, F>(
        &self,
        call: &str,
        mut attempt: impl FnMut(Instant) -> F,
    ) -> Result<T, ClientError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let deadline = Instant::now() + self.api_timeout;
        loop {
            match attempt(deadline).await {
                Err(error) if error.is_retriable() && !is_last_word(&error) => {
                    if Instant::now() >= deadline {
                        let unreachable = matches!(error, ClientError::Connection(_));
                        let waiting =
                            format!("Timed out waiting for a node assignment. Call: {call}");
                        return Err(if unreachable {
                            ClientError::timeout(waiting)
                        } else {
                            error
                        });
                    }
                    tokio::time::sleep(self.cluster.options.retry_backoff).await;
                }
                result => return result,
            }
        }
    }

    async fn ask_controller<R: Request>(
        &self,
        request: &R,
        deadline: Instant,
    ) -> Result<R::Response, ClientError> {
        let controller: Arc<Link> = self.cluster.controller(deadline).await?;
        // The controller itself answers when the request's own time is up: let it.
        let limit = self.cluster.options.request_timeout + ANSWER_MARGIN;
        controller.send_within(request, i16::MAX, limit).await
    }

    fn timeout_ms(&self) -> i32 {
        let limit = self.cluster.options.request_timeout.min(self.api_timeout);
        i32::try_from(limit.as_millis()).unwrap_or(i32::MAX)
    }

    /// All topics, internal ones too.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn topics(&self) -> Result<MetadataResponse, ClientError> {
        self.retry("listTopics", |deadline| {
            self.cluster.metadata(None, false, deadline)
        })
        .await
    }

    /// Topics by name.
    ///
    /// # Errors
    /// [`ClientError`], also when one of the topics does not exist.
    pub async fn describe_topics(
        &self,
        names: &[ByteString],
    ) -> Result<Vec<MetadataResponseTopic>, ClientError> {
        self.retry("describeTopics", |deadline| async move {
            let response = self.cluster.metadata(Some(names), false, deadline).await?;
            described(response)
        })
        .await
    }

    /// A topic by id.
    ///
    /// # Errors
    /// [`ClientError`], also when it does not exist.
    pub async fn describe_topic_id(
        &self,
        topic_id: Uuid,
    ) -> Result<Vec<MetadataResponseTopic>, ClientError> {
        let topic = MetadataRequestTopic {
            topic_id,
            name: None,
        };
        let request = MetadataRequest {
            topics: Some(vec![topic]),
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        };
        let request = &request;
        self.retry("describeTopicsWithIds", |deadline| async move {
            described(self.cluster.metadata_of(request, deadline).await?)
        })
        .await
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn create_topic(&self, topic: CreatableTopic) -> Result<(), ClientError> {
        let timeout_ms = self.timeout_ms();
        let request = CreateTopicsRequest {
            topics: vec![topic],
            timeout_ms,
            validate_only: false,
        };
        let request = &request;
        self.retry("createTopics", |deadline| async move {
            let response = self.ask_controller(request, deadline).await?;
            for topic in &response.topics {
                check(topic.error_code, topic.error_message.as_ref())?;
            }
            Ok(())
        })
        .await
    }

    /// Adds partitions to topics.
    ///
    /// # Errors
    /// The first topic's [`ClientError`].
    pub async fn create_partitions(
        &self,
        topics: Vec<CreatePartitionsTopic>,
    ) -> Result<(), ClientError> {
        let timeout_ms = self.timeout_ms();
        let request = CreatePartitionsRequest {
            topics,
            timeout_ms,
            validate_only: false,
        };
        let request = &request;
        self.retry("createPartitions", |deadline| async move {
            let response = self.ask_controller(request, deadline).await?;
            for topic in &response.results {
                check(topic.error_code, topic.error_message.as_ref())?;
            }
            Ok(())
        })
        .await
    }

    /// Deletes topics.
    ///
    /// # Errors
    /// The first topic's [`ClientError`].
    pub async fn delete_topics(&self, names: &[ByteString]) -> Result<(), ClientError> {
        let topic = |name: &ByteString| DeleteTopicState {
            name: Some(name.clone()),
            ..DeleteTopicState::default()
        };
        let timeout_ms = self.timeout_ms();
        let newer = DeleteTopicsRequest {
            topics: names.iter().map(topic).collect(),
            timeout_ms,
            ..DeleteTopicsRequest::default()
        };
        let older = DeleteTopicsRequest {
            topic_names: names.to_vec(),
            timeout_ms,
            ..DeleteTopicsRequest::default()
        };
        let (newer, older) = (&newer, &older);
        self.retry("deleteTopics", |deadline| async move {
            let controller = self.cluster.controller(deadline).await?;
            let version = controller.version(kafka_wire::api_key::ApiKey::DeleteTopics, 6)?;
            let request = if version >= 6 { newer } else { older };
            let response = controller.send(request, version).await?;
            for topic in &response.responses {
                check(topic.error_code, topic.error_message.as_ref())?;
            }
            Ok(())
        })
        .await
    }

    /// Settings of topics, by topic; a topic without answer is left out.
    ///
    /// # Errors
    /// [`ClientError`], also that of a topic.
    pub async fn topic_configs(
        &self,
        names: &[ByteString],
    ) -> Result<BTreeMap<ByteString, Vec<DescribeConfigsResourceResult>>, ClientError> {
        let resource = |name: &ByteString| DescribeConfigsResource {
            resource_type: TOPIC_RESOURCE,
            resource_name: name.clone(),
            configuration_keys: None,
        };
        let request = DescribeConfigsRequest {
            resources: names.iter().map(resource).collect(),
            ..DescribeConfigsRequest::default()
        };
        let request = &request;
        self.retry("describeConfigs", |deadline| async move {
            let response = self.cluster.ask_any(request, i16::MAX, deadline).await?;
            let mut configs = BTreeMap::new();
            for result in response.results {
                check(result.error_code, result.error_message.as_ref())?;
                configs.insert(result.resource_name, result.configs);
            }
            Ok(configs)
        })
        .await
    }

    /// Ids of the brokers that are up.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn broker_ids(&self) -> Result<Vec<i32>, ClientError> {
        let call = |deadline| self.cluster.metadata(Some(&[]), false, deadline);
        let response = self.retry("listNodes", call).await?;
        Ok(response
            .brokers
            .iter()
            .map(|broker| broker.node_id)
            .collect())
    }

    /// Reassignments under way, by topic and partition; none when the cluster does not say.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn reassignments(
        &self,
        topics: &[MetadataResponseTopic],
    ) -> Result<BTreeMap<(ByteString, i32), OngoingPartitionReassignment>, ClientError> {
        let topic = |topic: &MetadataResponseTopic| ListPartitionReassignmentsTopics {
            name: topic.name.clone().unwrap_or_default(),
            partition_indexes: topic
                .partitions
                .iter()
                .map(|it| it.partition_index)
                .collect(),
        };
        let request = ListPartitionReassignmentsRequest {
            timeout_ms: self.timeout_ms(),
            topics: Some(topics.iter().map(topic).collect()),
        };
        let request = &request;
        let listed = self
            .retry("listPartitionReassignments", |deadline| async move {
                let response = self.ask_controller(request, deadline).await?;
                check(response.error_code, response.error_message.as_ref())?;
                Ok(response)
            })
            .await;
        let unknown = [
            ErrorCode::UnsupportedVersion,
            ErrorCode::ClusterAuthorizationFailed,
        ];
        let response = match listed {
            Err(error) if error.code().is_some_and(|code| unknown.contains(&code)) => {
                return Ok(BTreeMap::new());
            }
            listed => listed?,
        };
        let mut found = BTreeMap::new();
        for topic in response.topics {
            for partition in topic.partitions {
                found.insert((topic.name.clone(), partition.partition_index), partition);
            }
        }
        Ok(found)
    }
}

fn check(code: i16, message: Option<&ByteString>) -> Result<(), ClientError> {
    let message = message.map(|text| &**text).filter(|text| !text.is_empty());
    ClientError::check(code, message)
}

fn described(response: MetadataResponse) -> Result<Vec<MetadataResponseTopic>, ClientError> {
    for topic in &response.topics {
        ClientError::check(topic.error_code, None)?;
    }
    Ok(response.topics)
}

/// Errors that Java counts as retriable but that its admin client passes on.
fn is_last_word(error: &ClientError) -> bool {
    let passed_on = [
        ErrorCode::UnknownTopicOrPartition,
        ErrorCode::UnknownTopicId,
        ErrorCode::RequestTimedOut,
        ErrorCode::ThrottlingQuotaExceeded,
    ];
    error.code().is_some_and(|code| passed_on.contains(&code))
}
