//! Shell: the configuration of each topic's logs: the broker's defaults, and on top what `/config/topics` says.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::RwLock;

use crate::config::broker::BrokerConfig;
use crate::config::topic;
use crate::log::config::{LogConfig, LogConfigError};

/// What is known of the topics' configuration.
#[derive(Debug)]
pub struct TopicConfigs {
    broker: Arc<BrokerConfig>,
    /// What a topic without overrides has; shared by all of them.
    defaults: Arc<LogConfig>,
    /// Topics with overrides.
    overridden: RwLock<HashMap<String, Arc<LogConfig>>>,
}

impl TopicConfigs {
    /// No overrides yet.
    ///
    /// # Errors
    /// When the broker's own settings are no configuration for a log.
    pub fn new(broker: Arc<BrokerConfig>) -> Result<Self, LogConfigError> {
        let defaults = LogConfig::from_entries(topic::broker_defaults(&broker.raw))?;
        Ok(Self {
            broker,
            defaults: Arc::new(defaults),
            overridden: RwLock::default(),
        })
    }

    /// The configuration of a topic as it is now.
    pub fn get(&self, topic: &str) -> Arc<LogConfig> {
        let overridden = self.overridden.read().get(topic).cloned();
        overridden.unwrap_or_else(|| self.defaults.clone())
    }

    /// Replaces a topic's overrides and returns what it has now. Overrides that make no sense, which only another
    /// program can have written, are left out with an error in the log.
    pub fn set(&self, topic: &str, overrides: Vec<(String, String)>) -> Arc<LogConfig> {
        if overrides.is_empty() {
            self.overridden.write().remove(topic);
            return self.defaults.clone();
        }
        let overrides: BTreeMap<String, String> = overrides.into_iter().collect();
        let values = topic::effective(&self.broker.raw, &overrides);
        let config = match LogConfig::from_entries(values) {
            Ok(config) => Arc::new(config),
            Err(error) => {
                tracing::error!(
                    topic,
                    "configuration is not usable, using the defaults: {error}"
                );
                self.defaults.clone()
            }
        };
        self.overridden
            .write()
            .insert(topic.to_string(), config.clone());
        config
    }

    /// Forgets a topic that is gone.
    pub fn remove(&self, topic: &str) {
        self.overridden.write().remove(topic);
    }
}
