//! Shell: what AlterConfigs and IncrementalAlterConfigs share: the settings of a topic, read and written in ZooKeeper.

use std::collections::BTreeMap;

use kafka_wire::error_code::ErrorCode;

use crate::api::admin::config_resource::{ResourceType, broker_id};
use crate::api::context::Services;
use crate::config::alter::AlterError;
use crate::config::topic;
use crate::zk::error::StoreError;

impl From<StoreError> for AlterError {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::ControllerMoved | StoreError::NoController { .. } => {
                ErrorCode::NotController
            }
            _ => ErrorCode::UnknownServerError,
        };
        tracing::error!("cannot read or write settings: {error}");
        AlterError {
            code,
            message: error.to_string(),
        }
    }
}

impl Services {
    /// What is set on a topic, as ZooKeeper has it now.
    pub async fn topic_overrides(
        &self,
        name: &str,
    ) -> Result<BTreeMap<String, String>, StoreError> {
        Ok(self
            .zk
            .entity_config("topics", name)
            .await?
            .into_iter()
            .collect())
    }

    /// Refuses resources whose settings cannot be changed here.
    pub fn check_alterable(&self, resource_type: i8, name: &str) -> Result<(), AlterError> {
        match ResourceType::from_code(resource_type) {
            Some(ResourceType::Topic) if name.is_empty() => Err(AlterError::request(
                "Default topic resources are not allowed.",
            )),
            Some(ResourceType::Topic) if !self.metadata.contains(name) => Err(AlterError {
                code: ErrorCode::UnknownTopicOrPartition,
                message: format!("The topic '{name}' does not exist."),
            }),
            Some(ResourceType::Topic) => Ok(()),
            Some(ResourceType::Broker) => {
                if !name.is_empty() && broker_id(name)? != self.broker_id {
                    return Err(AlterError::request(format!(
                        "Unexpected broker id, expected {}, but received {name}",
                        self.broker_id
                    )));
                }
                Err(AlterError::request(
                    "This broker takes its own settings from its configuration file only: \
                     change them there and restart it",
                ))
            }
            _ => Err(AlterError::request(format!(
                "Unknown resource type {resource_type}"
            ))),
        }
    }

    /// Checks the new overrides of a topic and, unless it is only a trial, writes them and tells all brokers.
    pub async fn change_topic(
        &self,
        name: &str,
        overrides: BTreeMap<String, String>,
        validate_only: bool,
    ) -> Result<(), AlterError> {
        topic::validate(overrides.iter().map(|(key, value)| (key.as_str(), value.as_str())))
            .map_err(|reason| {
                // Only a value's error is wrapped: an unknown key is an error of its own in Kafka.
                AlterError::config(if reason.starts_with("Unknown topic config name") {
                    reason
                } else {
                    format!(
                        "Invalid config value for resource ConfigResource(type=TOPIC, name='{name}'): {reason}"
                    )
                })
            })?;
        if validate_only {
            return Ok(());
        }
        let entries: Vec<(String, String)> = overrides.into_iter().collect();
        tracing::info!("Updating topic {name} with new configuration : {entries:?}");
        Ok(self
            .zk
            .change_entity_config("topics", name, &entries)
            .await?)
    }
}
