//! Shell: the partitions on this broker, by topic and number, and the disks under them.

use std::sync::Arc;

use bytestring::ByteString;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::wire::Uuid;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use crate::config::broker::BrokerConfig;
use crate::log::error::StorageError;
use crate::log::manager::{FailedDir, LogError, LogManager};
use crate::log::partition_log::PartitionLog;
use crate::metadata::cache::MetadataCache;
use crate::replica::clock::now_ms;
use crate::replica::fetch_session::{FetchSessions, MIN_EVICTION_MS};
use crate::replica::hosted::{Partition, Surroundings};
use crate::replica::isr_sender::Wanted;
use crate::replica::partition::IsrChange;
use crate::replica::verifier::{PartitionFor, TransactionVerifier};

/// A partition as this broker has it.
#[derive(Clone, Debug)]
pub enum Hosted {
    /// In service.
    Online(Arc<Partition>),
    /// Its log directory failed.
    Offline,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    topic: ByteString,
    partition: i32,
}

/// All partitions of one broker.
#[derive(Debug)]
pub struct ReplicaManager {
    broker_id: i32,
    config: Arc<BrokerConfig>,
    logs: Arc<LogManager>,
    metadata: Arc<MetadataCache>,
    partitions: DashMap<Key, Hosted>,
    /// The newest controller heard of. Held while one of its requests is applied, so that these never interleave.
    pub(super) controller_epoch: Mutex<i32>,
    /// Fetch sessions; held for one request's bookkeeping.
    pub(super) sessions: Mutex<FetchSessions>,
    /// Changes of in-sync replicas on their way to the controller.
    isr_changes: mpsc::UnboundedSender<Wanted>,
    /// Asks coordinators about transactions.
    verifier: TransactionVerifier,
    /// Told when no log directory is left.
    disks_gone: Notify,
}

impl ReplicaManager {
    /// No partitions yet: they come with the controller's first request. The changes of in-sync replicas that come out
    /// of the receiver are for `IsrSender`.
    pub fn new(
        broker_id: i32,
        config: Arc<BrokerConfig>,
        logs: Arc<LogManager>,
        metadata: Arc<MetadataCache>,
        partition_for: PartitionFor,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<Wanted>) {
        let slots = usize::try_from(config.max_incremental_fetch_session_cache_slots).unwrap_or(0);
        let (isr_changes, wanted) = mpsc::unbounded_channel();
        let verifier =
            TransactionVerifier::new(broker_id, &config, metadata.clone(), partition_for);
        let manager = Arc::new(Self {
            broker_id,
            config,
            logs,
            metadata,
            partitions: DashMap::new(),
            controller_epoch: Mutex::new(0),
            sessions: Mutex::new(FetchSessions::new(slots, MIN_EVICTION_MS)),
            isr_changes,
            verifier,
            disks_gone: Notify::new(),
        });
        (manager, wanted)
    }

    /// This broker's id.
    pub fn broker_id(&self) -> i32 {
        self.broker_id
    }

    /// The logs on this broker's disks.
    pub fn logs(&self) -> &LogManager {
        &self.logs
    }

    /// The configuration.
    pub fn config(&self) -> &BrokerConfig {
        &self.config
    }

    /// What the cluster looks like.
    pub fn metadata(&self) -> &MetadataCache {
        &self.metadata
    }

    /// Asks coordinators about transactions.
    pub fn verifier(&self) -> &TransactionVerifier {
        &self.verifier
    }

    /// The newest controller epoch heard of.
    pub fn controller_epoch(&self) -> i32 {
        *self.controller_epoch.lock()
    }

    /// A partition in service.
    pub fn partition(&self, topic: &ByteString, partition: i32) -> Option<Arc<Partition>> {
        match self.hosted(topic, partition)? {
            Hosted::Online(partition) => Some(partition),
            Hosted::Offline => None,
        }
    }

    /// A partition in service.
    ///
    /// # Errors
    /// The code with which a client is told where to look instead.
    pub fn partition_or_error(
        &self,
        topic: &ByteString,
        partition: i32,
    ) -> Result<Arc<Partition>, ErrorCode> {
        match self.hosted(topic, partition) {
            Some(Hosted::Online(partition)) => Ok(partition),
            Some(Hosted::Offline) => Err(ErrorCode::KafkaStorageError),
            // The topic exists, but not here: the client's metadata is old.
            None if self
                .metadata
                .snapshot()
                .partition(topic, partition)
                .is_some() =>
            {
                Err(ErrorCode::NotLeaderOrFollower)
            }
            None => Err(ErrorCode::UnknownTopicOrPartition),
        }
    }

    /// All partitions in service.
    pub fn all(&self) -> Vec<Arc<Partition>> {
        let online = |hosted: &Hosted| match hosted {
            Hosted::Online(partition) => Some(partition.clone()),
            Hosted::Offline => None,
        };
        self.partitions
            .iter()
            .filter_map(|entry| online(entry.value()))
            .collect()
    }

    pub(super) fn hosted(&self, topic: &ByteString, partition: i32) -> Option<Hosted> {
        let key = Key {
            topic: topic.clone(),
            partition,
        };
        self.partitions.get(&key).map(|hosted| hosted.clone())
    }

    /// The partition, put in service if it is not.
    pub(super) fn host(&self, topic: &ByteString, partition: i32) -> Arc<Partition> {
        // A copy of its own: the name given is a slice of a request, which would be kept as a whole.
        let topic = ByteString::from(topic.to_string());
        match self.partitions.entry(Key {
            topic: topic.clone(),
            partition,
        }) {
            Entry::Occupied(mut entry) => match entry.get() {
                Hosted::Online(partition) => partition.clone(),
                Hosted::Offline => {
                    let fresh = Arc::new(Partition::new(topic, partition, self.broker_id));
                    entry.insert(Hosted::Online(fresh.clone()));
                    fresh
                }
            },
            Entry::Vacant(entry) => {
                let fresh = Arc::new(Partition::new(topic, partition, self.broker_id));
                entry.insert(Hosted::Online(fresh.clone()));
                fresh
            }
        }
    }

    /// Takes a partition out of service for good.
    pub(super) fn forget(&self, partition: &Partition) {
        let key = Key {
            topic: partition.topic.clone(),
            partition: partition.partition,
        };
        self.partitions.remove(&key);
        partition.clear(self.broker_id);
    }

    /// Says what to answer when a partition's files cannot be used. If the disk failed, all that is on it goes out of
    /// service; the other partitions follow with [`Self::dir_failed`].
    pub fn disk_failed(&self, partition: &Partition, error: &StorageError) -> ErrorCode {
        let (topic, number) = (&partition.topic, partition.partition);
        if !error.is_io() {
            tracing::error!("{topic}-{number} cannot be read: {error}");
            return ErrorCode::CorruptMessage;
        }
        tracing::error!("{topic}-{number} is offline: {error}");
        if let Some(log) = partition.log() {
            self.logs.fail_dir_of(&log, error);
        }
        self.take_offline(topic.clone(), number);
        ErrorCode::KafkaStorageError
    }

    /// Takes the partitions of a failed directory out of service. False if no directory is left: a broker without disks must
    /// stop.
    pub fn dir_failed(&self, dir: FailedDir) -> bool {
        tracing::warn!(
            "Stopping serving replicas in dir {}: {} partitions are offline",
            dir.path.display(),
            dir.partitions.len()
        );
        for gone in dir.partitions {
            self.take_offline(ByteString::from(gone.topic), gone.partition);
        }
        let is_left = self.logs.online_dirs().next().is_some();
        if !is_left {
            self.disks_gone.notify_one();
        }
        is_left
    }

    fn take_offline(&self, topic: ByteString, partition: i32) {
        let hosted = self
            .partitions
            .insert(Key { topic, partition }, Hosted::Offline);
        if let Some(Hosted::Online(partition)) = hosted {
            partition.clear(self.broker_id);
        }
    }

    /// Ends when no log directory is left: a broker without disks must stop.
    pub async fn disks_gone(&self) {
        self.disks_gone.notified().await;
    }

    /// Opens or makes a log.
    ///
    /// # Errors
    /// The code to answer the partition with.
    pub(super) fn create_log(
        &self,
        partition: &Partition,
        topic_id: Option<Uuid>,
        is_new: bool,
    ) -> Result<Arc<PartitionLog>, ErrorCode> {
        let (topic, number) = (&partition.topic, partition.partition);
        match self
            .logs
            .get_or_create(topic, number, topic_id, is_new, now_ms())
        {
            Ok(log) => Ok(log),
            Err(LogError::InconsistentTopicId { .. }) => Err(ErrorCode::InconsistentTopicId),
            Err(LogError::Offline(_)) => {
                self.take_offline(topic.clone(), number);
                Err(ErrorCode::KafkaStorageError)
            }
            Err(LogError::Storage(error)) => Err(self.disk_failed(partition, &error)),
        }
    }

    pub(super) fn delete_log(&self, topic: &str, partition: i32) -> Result<(), ErrorCode> {
        self.logs
            .delete(topic, partition, now_ms())
            .map_err(|error| {
                tracing::error!("cannot delete the log of {topic}-{partition}: {error}");
                ErrorCode::KafkaStorageError
            })
    }

    /// Asks the controller for other in-sync replicas; at most one change of a partition is under way.
    pub fn want_isr(&self, partition: &Arc<Partition>, change: IsrChange) {
        // Fails only while the broker stops.
        let _ = self.isr_changes.send((partition.clone(), change));
    }

    /// Moves a partition's high watermark as far as it may go, and wakes those who wait if it moved.
    pub fn advance(&self, partition: &Partition) {
        self.with_surroundings(|around| partition.advance(around));
    }

    /// Whether a broker is alive, by the metadata cache.
    pub fn is_alive(&self, broker_id: i32) -> bool {
        self.metadata.snapshot().brokers.contains_key(&broker_id)
    }

    /// Calls `use_it` with what a partition must know of the rest of the broker.
    pub(super) fn with_surroundings<T>(&self, use_it: impl FnOnce(&Surroundings<'_>) -> T) -> T {
        let is_alive = |id| self.is_alive(id);
        use_it(&Surroundings {
            max_lag_ms: self.config.replica_lag_time_max_ms,
            is_alive: &is_alive,
        })
    }
}
