//! Shell: leaders of topics' partitions, with the log lines of Java's clients.

use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::metadata::MetadataResponseTopic;
use tokio::time::Instant;

use crate::client::cluster::Cluster;
use crate::client::error::ClientError;
use crate::client::log;

const NETWORK_CLIENT: &str = "org.apache.kafka.clients.NetworkClient";
const METADATA: &str = "org.apache.kafka.clients.Metadata";

/// A partition and who leads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionLeader {
    /// Number of the partition.
    pub partition: i32,
    /// Broker id; negative while there is no leader.
    pub leader: i32,
    /// Epoch of the leader, or -1.
    pub leader_epoch: i32,
}

/// Partitions of a topic in order; empty when it is not known (yet).
pub async fn fetch(
    cluster: &Cluster,
    topic: &ByteString,
    allow_auto_create: bool,
    deadline: Instant,
) -> Result<Vec<PartitionLeader>, ClientError> {
    let names = std::slice::from_ref(topic);
    let response = cluster
        .metadata(Some(names), allow_auto_create, deadline)
        .await?;
    let Some(found) = response.topics.first() else {
        return Ok(Vec::new());
    };
    partitions(cluster, found)
}

/// Partitions of a topic in an answer; what is wrong with it is logged.
///
/// # Errors
/// [`ClientError`] when asking again would not help.
pub fn partitions(
    cluster: &Cluster,
    topic: &MetadataResponseTopic,
) -> Result<Vec<PartitionLeader>, ClientError> {
    let name = topic.name.as_deref().unwrap_or_default();
    let code = ErrorCode::from_code(topic.error_code);
    if code != ErrorCode::None {
        cluster.warn(
            NETWORK_CLIENT,
            &format!(
                "Error while fetching metadata with correlation id {} : {{{name}={code}}}",
                cluster.metadata_requests()
            ),
        );
    }
    match code {
        ErrorCode::InvalidTopicException => {
            let message = format!(
                "{} Metadata response reported invalid topics [{name}]",
                cluster.options.log_prefix
            );
            log::error(METADATA, &message);
            Err(ClientError::Api {
                code,
                message: format!("Invalid topics: [{name}]"),
            })
        }
        ErrorCode::TopicAuthorizationFailed => {
            let message = format!(
                "{} Topic authorization failed for topics [{name}]",
                cluster.options.log_prefix
            );
            log::error(METADATA, &message);
            let message = format!("Not authorized to access topics: [{name}]");
            Err(ClientError::Api { code, message })
        }
        _ => {
            let leader = |partition: &kafka_wire::messages::metadata::MetadataResponsePartition| {
                PartitionLeader {
                    partition: partition.partition_index,
                    leader: partition.leader_id,
                    leader_epoch: partition.leader_epoch,
                }
            };
            let mut leaders: Vec<PartitionLeader> = topic.partitions.iter().map(leader).collect();
            leaders.sort_by_key(|leader| leader.partition);
            Ok(leaders)
        }
    }
}
