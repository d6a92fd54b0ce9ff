//! Shell: makes parts of the broker out of others: what stands between two modules that do not know each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::allocate_producer_ids::AllocateProducerIdsRequest;
use kafka_wire::records::compression::Codec;

use crate::api::context::Services;
use crate::config::broker::BrokerConfig;
use crate::controller::handle::ControllerHandle;
use crate::coordinator::group::coordinator::{CoordinatorConfig, GroupCoordinator};
use crate::coordinator::group::message::GroupSettings;
use crate::coordinator::transaction::coordinator::{
    CoordinatorConfig as TransactionCoordinatorConfig, TransactionCoordinator,
};
use crate::coordinator::transaction::marker_sender::{self, Exists, MarkerInbox, MarkerSettings};
use crate::coordinator::transaction::message::TransactionSettings;
use crate::coordinator::transaction::producer_ids::{ProducerIdBlock, ProducerIds};
use crate::metadata::cache::MetadataCache;
use crate::metadata::controller_channel::ControllerChannel;
use crate::metadata::topic_names::{GROUP_METADATA_TOPIC, TRANSACTION_STATE_TOPIC};
use crate::replica::internal_topic::InternalTopic;
use crate::replica::manager::ReplicaManager;
use crate::zk::changes::ConfigChanges;
use crate::zk::error::StoreError;
use crate::zk::paths;
use crate::zk::store::{StoreEvent, ZkStore};

/// Pause before another try to tell of a failed disk.
const DISK_NEWS_BACKOFF: Duration = Duration::from_secs(1);

fn unsigned<T: TryInto<u64>>(value: T) -> u64 {
    value.try_into().unwrap_or(0)
}

fn size<T: TryInto<usize>>(value: T) -> usize {
    value.try_into().unwrap_or(0)
}

/// The group coordinator on top of `__consumer_offsets`.
///
/// # Errors
/// When ZooKeeper cannot say how many partitions the topic has.
pub async fn group_coordinator(
    config: &BrokerConfig,
    replicas: &Arc<ReplicaManager>,
    zk: &ZkStore,
) -> Result<Arc<GroupCoordinator>, StoreError> {
    let existing = zk.assignment(GROUP_METADATA_TOPIC).await?;
    let partitions = existing
        .and_then(|topic| i32::try_from(topic.partitions.len()).ok())
        .unwrap_or(config.offsets_topic_num_partitions);
    let settings = CoordinatorConfig {
        settings: GroupSettings {
            min_session_timeout_ms: config.group_min_session_timeout_ms,
            max_session_timeout_ms: config.group_max_session_timeout_ms,
            max_size: size(config.group_max_size),
            initial_rebalance_delay_ms: config.group_initial_rebalance_delay_ms,
            max_offset_metadata_size: size(config.offset_metadata_max_bytes),
            offsets_retention_ms: i64::from(config.offsets_retention_minutes) * 60_000,
        },
        partitions,
        load_buffer_bytes: size(config.offsets_load_buffer_size),
        retention_check_interval_ms: unsigned(config.offsets_retention_check_interval_ms),
        required_acks: config.offsets_commit_required_acks,
        codec: codec(config.offsets_topic_compression_codec),
    };
    let timeout = Duration::from_millis(unsigned(config.offsets_commit_timeout_ms));
    let topic = InternalTopic::new(GROUP_METADATA_TOPIC, replicas.clone(), timeout);
    Ok(GroupCoordinator::new(settings, Arc::new(topic)))
}

fn codec(number: i32) -> Codec {
    u8::try_from(number)
        .ok()
        .and_then(Codec::from_id)
        .unwrap_or(Codec::None)
}

/// The transaction coordinator on top of `__transaction_state`, with the other end of its queue of
/// markers.
///
/// # Errors
/// When ZooKeeper cannot say how many partitions the topic has.
pub async fn transaction_coordinator(
    config: &BrokerConfig,
    replicas: &Arc<ReplicaManager>,
    zk: &ZkStore,
    producer_ids: Arc<ProducerIds>,
) -> Result<(Arc<TransactionCoordinator>, MarkerInbox), StoreError> {
    let existing = zk.assignment(TRANSACTION_STATE_TOPIC).await?;
    let partitions = existing
        .and_then(|topic| i32::try_from(topic.partitions.len()).ok())
        .unwrap_or(config.transaction_state_log_num_partitions);
    let settings = TransactionCoordinatorConfig {
        settings: TransactionSettings {
            max_timeout_ms: config.transaction_max_timeout_ms,
            id_expiration_ms: i64::from(config.transactional_id_expiration_ms),
        },
        partitions,
        load_buffer_bytes: size(config.transaction_state_log_load_buffer_size),
        abort_interval_ms: unsigned(
            config.transaction_abort_timed_out_transaction_cleanup_interval_ms,
        ),
        expiry_interval_ms: unsigned(
            config.transaction_remove_expired_transaction_cleanup_interval_ms,
        ),
    };
    let timeout = Duration::from_millis(unsigned(config.request_timeout_ms));
    let topic = InternalTopic::new(TRANSACTION_STATE_TOPIC, replicas.clone(), timeout);
    let (queue, inbox) = marker_sender::queue();
    let coordinator = TransactionCoordinator::new(settings, Arc::new(topic), producer_ids, queue);
    Ok((coordinator, inbox))
}

/// How the transaction coordinator's markers find their way.
pub fn marker_settings(
    broker_id: i32,
    config: &BrokerConfig,
    metadata: &Arc<MetadataCache>,
    zk: &Arc<ZkStore>,
) -> MarkerSettings {
    let zk = zk.clone();
    let exists: Exists = Box::new(move |at| {
        let zk = zk.clone();
        Box::pin(async move {
            match zk.assignment(&at.topic).await {
                Ok(topic) => topic.is_some_and(|it| it.partitions.contains_key(&at.partition)),
                Err(error) => {
                    tracing::warn!(partition = %at, %error, "cannot see whether it exists");
                    true
                }
            }
        })
    });
    MarkerSettings {
        broker_id,
        listener: config.inter_broker_listener_name.clone(),
        timeout: Duration::from_millis(unsigned(config.request_timeout_ms)),
        metadata: metadata.clone(),
        exists,
    }
}

/// Producer ids in blocks from the controller.
pub fn producer_ids(
    broker_id: i32,
    config: &BrokerConfig,
    controller: &ControllerHandle,
    to_controller: &Arc<ControllerChannel>,
) -> Arc<ProducerIds> {
    let limit = Duration::from_millis(unsigned(config.request_timeout_ms));
    let (controller, channel) = (controller.clone(), to_controller.clone());
    ProducerIds::new(Box::new(move || {
        let (controller, channel) = (controller.clone(), channel.clone());
        Box::pin(async move {
            let broker_epoch = controller.broker_epoch();
            let request = AllocateProducerIdsRequest {
                broker_id,
                broker_epoch,
            };
            match channel.send(&request, 0, limit).await {
                Ok(answer) => match ErrorCode::from_code(answer.error_code) {
                    ErrorCode::None => Ok(ProducerIdBlock {
                        start: answer.producer_id_start,
                        len: answer.producer_id_len,
                    }),
                    error => Err(error),
                },
                Err(error) => {
                    tracing::warn!("cannot get producer ids from the controller: {error}");
                    Err(ErrorCode::CoordinatorLoadInProgress)
                }
            }
        })
    }))
}

/// Applies changed topic configurations to the logs, now and from now on.
///
/// # Errors
/// When ZooKeeper cannot be read.
pub async fn follow_configs(services: &Arc<Services>) -> Result<ConfigChanges, StoreError> {
    let logs = services.logs.clone();
    let topic_configs = services.topic_configs.clone();
    let controller = services.controller.clone();
    ConfigChanges::start(services.zk.clone(), move |kind, name, overrides| {
        if kind != "topics" {
            return;
        }
        let allows_unclean = overrides.iter().any(|(key, value)| {
            key == "unclean.leader.election.enable" && value.eq_ignore_ascii_case("true")
        });
        if allows_unclean {
            controller.allow_unclean(name);
        }
        let config = topic_configs.set(name, overrides);
        tracing::info!("Processing override for entityPath: topics/{name}");
        for log in logs.logs_of_topic(name) {
            log.update_config(config.clone());
        }
    })
    .await
}

/// Takes partitions on failed disks out of service, and tells the controller through ZooKeeper that there are some.
pub async fn follow_disks(replicas: Arc<ReplicaManager>, zk: Arc<ZkStore>) {
    let Some(mut failed) = replicas.logs().failed_dirs() else {
        return;
    };
    while let Some(dir) = failed.recv().await {
        if !replicas.dir_failed(dir) {
            return;
        }
        while let Err(error) = zk.notify_log_dir_failure(replicas.broker_id()).await {
            tracing::warn!("cannot tell of a failed log directory: {error}");
            tokio::time::sleep(DISK_NEWS_BACKOFF).await;
        }
    }
}

/// Keeps `epoch` at the version of `/feature`, -1 while that is unknown.
pub async fn follow_features(zk: Arc<ZkStore>, epoch: Arc<AtomicI64>) {
    let mut events = zk.subscribe();
    loop {
        match zk.feature_version(true).await {
            Ok(version) => epoch.store(version.map_or(-1, i64::from), Ordering::Release),
            Err(error) => tracing::error!("cannot read {}: {error}", paths::FEATURE),
        }
        loop {
            match events.recv().await {
                Some(StoreEvent::Node { path, .. }) if path == paths::FEATURE => break,
                Some(StoreEvent::Renewed) => break,
                Some(_) => {}
                None => return,
            }
        }
    }
}
