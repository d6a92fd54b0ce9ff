//! Shell: config nodes and their change notifications (`zk/AdminZkClient.scala`,
//! `KafkaZkClient.setOrCreateEntityConfigs`).

use bytes::Bytes;
use common::zk::code::ErrorCode;
use common::zk::request::CreateMode;

use crate::zk::cluster::malformed;
use crate::zk::error::StoreError;
use crate::zk::paths;
use crate::zk::store::{ANY_VERSION, ZkStore, check, set_data};
use crate::zk::znodes;

impl ZkStore {
    /// The overrides of an entity, none if it has no node. `entity_type` is `topics`, `brokers`,
    /// `clients`, `users` or `ips`; names of the last three are sanitized.
    ///
    /// # Errors
    /// When `ZooKeeper` refuses, the session is over or the node is not Kafka's.
    pub async fn entity_config(
        &self,
        entity_type: &str,
        name: &str,
    ) -> Result<Vec<(String, String)>, StoreError> {
        let path = paths::config(entity_type, name);
        let Some((data, _)) = self.get(&path, false).await? else {
            return Ok(Vec::new());
        };
        znodes::decode_config(data.as_deref()).map_err(malformed(&path))
    }

    /// The overrides of many entities of one type, in their order.
    ///
    /// # Errors
    /// As [`Self::entity_config`].
    pub async fn entity_configs(
        &self,
        entity_type: &str,
        names: &[String],
    ) -> Result<Vec<Vec<(String, String)>>, StoreError> {
        let nodes: Vec<_> = names
            .iter()
            .map(|name| paths::config(entity_type, name))
            .collect();
        let found = self.get_all(&nodes, false).await?;
        let mut configs = Vec::with_capacity(names.len());
        for (path, node) in nodes.iter().zip(found) {
            let data = node.and_then(|(data, _)| data);
            configs.push(znodes::decode_config(data.as_deref()).map_err(malformed(path))?);
        }
        Ok(configs)
    }

    /// The names of all entities of a type that have a config node.
    ///
    /// # Errors
    /// When `ZooKeeper` refuses or the session is over.
    pub async fn configured_entities(&self, entity_type: &str) -> Result<Vec<String>, StoreError> {
        self.children(&format!("{}/{entity_type}", paths::CONFIG), false)
            .await
    }

    /// Replaces all overrides of an entity, if there is a controller. Brokers learn of it only by
    /// [`Self::notify_config_change`].
    ///
    /// # Errors
    /// [`StoreError::NoController`], or when `ZooKeeper` refuses.
    pub async fn set_entity_config(
        &self,
        entity_type: &str,
        name: &str,
        config: &[(String, String)],
    ) -> Result<(), StoreError> {
        let path = paths::config(entity_type, name);
        let data = znodes::encode_config(config);
        let Some((_, version)) = self.controller(false).await? else {
            return Err(StoreError::NoController {
                entity: format!("{entity_type}/{name}"),
            });
        };
        let set = || {
            self.multi(vec![
                check(paths::CONTROLLER, version),
                set_data(&path, data.clone(), ANY_VERSION),
            ])
        };
        let result = match set().await {
            Err(error) if error.is(ErrorCode::NoNode) => {
                match self
                    .create_recursive(&path, Some(Bytes::from(data.clone())))
                    .await
                {
                    Err(error) if error.is(ErrorCode::NodeExists) => set().await.map(|_| ()),
                    result => result,
                }
            }
            result => result.map(|_| ()),
        };
        match result {
            Err(error) if error.is(ErrorCode::BadVersion) => Err(StoreError::ControllerMoved),
            result => result,
        }
    }

    /// Tells all brokers that an entity's config changed.
    ///
    /// # Errors
    /// When `ZooKeeper` refuses or the session is over.
    pub async fn notify_config_change(&self, entity_path: &str) -> Result<(), StoreError> {
        let data = Some(Bytes::from(znodes::encode_config_change(entity_path)));
        let path = paths::config_change_sequence();
        let mode = CreateMode::PersistentSequential;
        match self.create(&path, data.clone(), mode).await {
            Err(error) if error.is(ErrorCode::NoNode) => {
                self.ensure_path(paths::CONFIG_CHANGES).await?;
                self.create(&path, data, mode).await.map(|_| ())
            }
            result => result.map(|_| ()),
        }
    }

    /// Replaces all overrides of an entity and tells all brokers.
    ///
    /// # Errors
    /// As [`Self::set_entity_config`].
    pub async fn change_entity_config(
        &self,
        entity_type: &str,
        name: &str,
        config: &[(String, String)],
    ) -> Result<(), StoreError> {
        self.set_entity_config(entity_type, name, config).await?;
        self.notify_config_change(&format!("{entity_type}/{name}"))
            .await
    }
}
