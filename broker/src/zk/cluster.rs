//! Shell: what belongs to the cluster as a whole: top-level nodes, ids, brokers, the controller's
//! election, features, blocks of producer ids, notifications (`zk/KafkaZkClient.scala`,
//! `coordinator/transaction/ProducerIdManager.scala`).

use bytes::Bytes;
use common::zk::client::error::ZkError;
use common::zk::code::ErrorCode;
use common::zk::multi::MultiResult;
use common::zk::request::CreateMode;
use kafka_wire::wire::Uuid;
use serde_json::Map;

use crate::zk::error::StoreError;
use crate::zk::paths;
use crate::zk::store::{ANY_VERSION, ZkStore, now_ms, set_data};
use crate::zk::znodes::{self, BrokerRegistration, PRODUCER_ID_BLOCK_SIZE, ZnodeError};

/// The office of controller, won.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Office {
    /// The controller epoch.
    pub epoch: i32,
    /// The version of `/controller_epoch` that all writes of this controller require.
    pub epoch_version: i32,
}

/// A run of producer ids that one broker may give away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerIdBlock {
    /// The first id.
    pub first: i64,
    /// How many.
    pub size: i32,
}

pub(super) fn malformed(path: &str) -> impl FnOnce(ZnodeError) -> StoreError + '_ {
    move |source| StoreError::Malformed {
        path: path.to_string(),
        source,
    }
}

impl ZkStore {
    /// Creates the persistent nodes that every broker expects, unless they are there.
    ///
    /// # Errors
    /// When `ZooKeeper` refuses or the session is over.
    pub async fn create_top_level_paths(&self) -> Result<(), StoreError> {
        let mut all: Vec<String> = Vec::new();
        for path in paths::PERSISTENT {
            let parent = paths::parent(path).to_string();
            for path in [parent, path.to_string()] {
                if path != "/" && !all.contains(&path) {
                    all.push(path);
                }
            }
        }
        let create = |client: &common::zk::client::client::ZkClient, path: &String| {
            client.create(path, None, &self.acl(path), CreateMode::Persistent)
        };
        for result in self.batch(&all, create).await? {
            match result {
                Err(error) if !error.is(ErrorCode::NodeExists) => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    /// The cluster's id; a new cluster gets a random one.
    ///
    /// # Errors
    /// When `ZooKeeper` refuses, the session is over or the node is not Kafka's.
    pub async fn cluster_id(&self) -> Result<String, StoreError> {
        loop {
            if let Some((data, _)) = self.get(paths::CLUSTER_ID, false).await? {
                let id = znodes::decode_cluster_id(&data.unwrap_or_default());
                return id.map_err(malformed(paths::CLUSTER_ID));
            }
            let id = Uuid::random().to_string();
            let data = Bytes::from(znodes::encode_cluster_id(&id));
            match self.create_recursive(paths::CLUSTER_ID, Some(data)).await {
                Ok(()) => return Ok(id),
                Err(error) if error.is(ErrorCode::NodeExists) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// A broker id that nobody has had, above `reserved.broker.max.id`.
    ///
    /// # Errors
    /// When `ZooKeeper` refuses or the session is over.
    pub async fn generate_broker_id(&self, reserved_max: i32) -> Result<i32, StoreError> {
        let empty = || Some(Bytes::new());
        loop {
            match self
                .set(paths::BROKER_SEQUENCE_ID, empty(), ANY_VERSION)
                .await
            {
                Ok(stat) => return Ok(reserved_max.saturating_add(stat.version)),
                Err(error) if error.is(ErrorCode::NoNode) => {
                    match self
                        .create_recursive(paths::BROKER_SEQUENCE_ID, empty())
                        .await
                    {
                        Err(error) if !error.is(ErrorCode::NodeExists) => return Err(error),
                        _ => {}
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// All registered brokers with their epochs. With `watch`, changes of their number and of each
    /// are events.
    ///
    /// # Errors
    /// When `ZooKeeper` refuses, the session is over or a node is not Kafka's.
    pub async fn brokers(&self, watch: bool) -> Result<Vec<(BrokerRegistration, i64)>, StoreError> {
        let children = self.children(paths::BROKER_IDS, watch).await?;
        let mut ids: Vec<i32> = children.iter().filter_map(|id| id.parse().ok()).collect();
        ids.sort_unstable();
        let nodes: Vec<String> = ids.iter().map(|id| paths::broker(*id)).collect();
        let mut brokers = Vec::with_capacity(ids.len());
        let found = self.get_all(&nodes, watch).await?;
        for ((id, path), node) in ids.into_iter().zip(&nodes).zip(found) {
            // A node that is just being registered has no data yet.
            if let Some((Some(data), stat)) = node {
                let broker = BrokerRegistration::decode(id, &data).map_err(malformed(path))?;
                brokers.push((broker, stat.czxid));
            }
        }
        Ok(brokers)
    }

    /// What one broker registered, and its epoch.
    ///
    /// # Errors
    /// When `ZooKeeper` refuses, the session is over or the node is not Kafka's.
    pub async fn broker(
        &self,
        id: i32,
        watch: bool,
    ) -> Result<Option<(BrokerRegistration, i64)>, StoreError> {
        let path = paths::broker(id);
        let Some((Some(data), stat)) = self.get(&path, watch).await? else {
            return Ok(None);
        };
        let broker = BrokerRegistration::decode(id, &data).map_err(malformed(&path))?;
        Ok(Some((broker, stat.czxid)))
    }

    /// The controller's broker id and the version of its node. With `watch` its going, coming or
    /// change is an event.
    ///
    /// # Errors
    /// When `ZooKeeper` refuses, the session is over or the node is not Kafka's.
    pub async fn controller(&self, watch: bool) -> Result<Option<(i32, i32)>, StoreError> {
        if watch {
            // Only this kind of watch also fires for a node that is not there yet.
            self.exists(paths::CONTROLLER, true).await?;
        }
        let Some((Some(data), stat)) = self.get(paths::CONTROLLER, false).await? else {
            return Ok(None);
        };
        let id = znodes::decode_controller(&data).map_err(malformed(paths::CONTROLLER))?;
        Ok(Some((id, stat.version)))
    }

    async fn controller_epoch(&self) -> Result<Option<(i32, i32)>, StoreError> {
        let Some((data, stat)) = self.get(paths::CONTROLLER_EPOCH, false).await? else {
            return Ok(None);
        };
        let epoch = znodes::decode_number(&data.unwrap_or_default());
        Ok(Some((
            epoch.map_err(malformed(paths::CONTROLLER_EPOCH))?,
            stat.version,
        )))
    }

    /// Tries to become controller: creates `/controller` and raises `/controller_epoch` at once.
    ///
    /// # Errors
    /// [`StoreError::ControllerMoved`] when another broker was quicker.
    pub async fn elect_controller(&self, broker_id: i32) -> Result<Office, StoreError> {
        let (epoch, version) = loop {
            if let Some(found) = self.controller_epoch().await? {
                break found;
            }
            let zero = Some(Bytes::from_static(b"0"));
            match self
                .create(paths::CONTROLLER_EPOCH, zero, CreateMode::Persistent)
                .await
            {
                Ok(_) => break (0, 0),
                Err(error) if error.is(ErrorCode::NodeExists) => {}
                Err(error) => return Err(error),
            }
        };
        let new_epoch = epoch + 1;
        let node = Bytes::from(znodes::encode_controller(broker_id, now_ms()));
        let ops = vec![
            self.create_op(paths::CONTROLLER, Some(node), CreateMode::Ephemeral),
            set_data(
                paths::CONTROLLER_EPOCH,
                new_epoch.to_string().into_bytes(),
                version,
            ),
        ];
        match self.multi(ops).await {
            Ok(results) => match results.get(1) {
                Some(MultiResult::SetData(stat)) => Ok(Office {
                    epoch: new_epoch,
                    epoch_version: stat.version,
                }),
                _ => Err(ZkError::Arguments("election has no result").into()),
            },
            Err(error) if error.is(ErrorCode::NodeExists) || error.is(ErrorCode::BadVersion) => {
                // An attempt that a lost connection interrupted may have won.
                let holder = self.controller(false).await?;
                let now = self.controller_epoch().await?;
                match (holder, now) {
                    (Some((id, _)), Some((epoch, epoch_version)))
                        if id == broker_id && epoch == new_epoch =>
                    {
                        Ok(Office {
                            epoch,
                            epoch_version,
                        })
                    }
                    _ => Err(StoreError::ControllerMoved),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Gives up the office, so that another broker can take it.
    ///
    /// # Errors
    /// [`StoreError::ControllerMoved`] when somebody else has it already.
    pub async fn resign_controller(&self, office: Office) -> Result<(), StoreError> {
        let node = [paths::CONTROLLER.to_string()];
        self.delete_as_controller(office.epoch_version, &node).await
    }

    /// Makes sure that `/feature` exists and is enabled, and returns its version.
    ///
    /// # Errors
    /// When `ZooKeeper` refuses, the session is over or the node is not Kafka's.
    pub async fn set_up_features(&self) -> Result<i32, StoreError> {
        loop {
            let empty = || Some(Bytes::from(znodes::encode_feature(&Map::new())));
            let Some((data, stat)) = self.get(paths::FEATURE, false).await? else {
                match self
                    .create(paths::FEATURE, empty(), CreateMode::Persistent)
                    .await
                {
                    Ok(_) => return Ok(0),
                    Err(error) if error.is(ErrorCode::NodeExists) => continue,
                    Err(error) => return Err(error),
                }
            };
            let decoded = znodes::decode_feature(&data.unwrap_or_default());
            let (enabled, _) = decoded.map_err(malformed(paths::FEATURE))?;
            if enabled {
                return Ok(stat.version);
            }
            return Ok(self
                .set(paths::FEATURE, empty(), ANY_VERSION)
                .await?
                .version);
        }
    }

    /// The version of `/feature`, which is the epoch of the finalized features; none without it.
    ///
    /// # Errors
    /// When `ZooKeeper` refuses or the session is over.
    pub async fn feature_version(&self, watch: bool) -> Result<Option<i32>, StoreError> {
        if watch {
            self.exists(paths::FEATURE, true).await?;
        }
        Ok(self
            .get(paths::FEATURE, false)
            .await?
            .map(|(_, stat)| stat.version))
    }

    /// Takes the next block of producer ids for a broker.
    ///
    /// # Errors
    /// When `ZooKeeper` refuses, the session is over or the node is not Kafka's.
    pub async fn next_producer_id_block(
        &self,
        broker_id: i32,
    ) -> Result<ProducerIdBlock, StoreError> {
        let path = paths::PRODUCER_ID_BLOCK;
        loop {
            let found = self.get(path, false).await?;
            let (first, version) = match found {
                Some((Some(data), stat)) => {
                    let end =
                        znodes::decode_producer_id_block_end(&data).map_err(malformed(path))?;
                    (end.saturating_add(1), stat.version)
                }
                Some((None, stat)) => (0, stat.version),
                None => {
                    self.ensure_path(path).await?;
                    continue;
                }
            };
            if first > i64::MAX - PRODUCER_ID_BLOCK_SIZE {
                return Err(ZkError::Arguments("all producer ids have been given away").into());
            }
            let last = first + PRODUCER_ID_BLOCK_SIZE - 1;
            let data = Bytes::from(znodes::encode_producer_id_block(broker_id, first, last));
            match self.set(path, Some(data), version).await {
                Ok(_) => {
                    return Ok(ProducerIdBlock {
                        first,
                        size: PRODUCER_ID_BLOCK_SIZE as i32,
                    });
                }
                // Somebody else took it, or a lost connection hid our own success: ids between two
                // blocks may stay unused.
                Err(error) if error.is(ErrorCode::BadVersion) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes all notifications of failed log directories: the brokers, without repetition.
    ///
    /// # Errors
    /// As [`Self::take_notifications`].
    pub async fn take_log_dir_events(
        &self,
        epoch_version: i32,
        watch: bool,
    ) -> Result<Vec<i32>, StoreError> {
        let found = self
            .take_notifications(paths::LOG_DIR_EVENTS, epoch_version, watch)
            .await?;
        let decoded = found
            .iter()
            .filter_map(|data| znodes::decode_log_dir_event(data).ok());
        let mut brokers: Vec<i32> = decoded.collect();
        brokers.sort_unstable();
        brokers.dedup();
        Ok(brokers)
    }

    /// Takes all notifications of changed ISRs: the partitions.
    ///
    /// # Errors
    /// As [`Self::take_notifications`].
    pub async fn take_isr_changes(
        &self,
        epoch_version: i32,
        watch: bool,
    ) -> Result<Vec<znodes::TopicPartition>, StoreError> {
        let found = self
            .take_notifications(paths::ISR_CHANGES, epoch_version, watch)
            .await?;
        let decoded = found
            .iter()
            .filter_map(|data| znodes::decode_partitions(data).ok());
        let mut partitions: Vec<_> = decoded
            .flatten()
            .map(|(topic, partition)| znodes::TopicPartition::new(&topic, partition))
            .collect();
        partitions.sort_unstable();
        partitions.dedup();
        Ok(partitions)
    }

    /// Reads the sequential nodes under `parent` in their order and deletes them as controller.
    async fn take_notifications(
        &self,
        parent: &str,
        epoch_version: i32,
        watch: bool,
    ) -> Result<Vec<Bytes>, StoreError> {
        let mut children = self.children(parent, watch).await?;
        children.sort_unstable();
        let nodes: Vec<_> = children
            .iter()
            .map(|child| format!("{parent}/{child}"))
            .collect();
        let found = self.get_all(&nodes, false).await?;
        self.delete_as_controller(epoch_version, &nodes).await?;
        Ok(found
            .into_iter()
            .flatten()
            .filter_map(|(data, _)| data)
            .collect())
    }

    /// Tells the controller that a log directory of this broker failed.
    ///
    /// # Errors
    /// When `ZooKeeper` refuses or the session is over.
    pub async fn notify_log_dir_failure(&self, broker_id: i32) -> Result<(), StoreError> {
        let data = Some(Bytes::from(znodes::encode_log_dir_event(broker_id)));
        let path = paths::log_dir_event_sequence();
        self.create(&path, data, CreateMode::PersistentSequential)
            .await
            .map(|_| ())
    }
}
