//! Shell: topics for a test, made in a broker that may have just started.

use anyhow::{Context, Result, ensure};
use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::create_topics::{
    CreatableTopic, CreateTopicsRequest, CreateableTopicConfig,
};

use crate::partition_view::wait_for_leaders;
use crate::talk::Talk;
use crate::wait::until;

/// A topic to be made, with one replica.
#[derive(Debug, Clone)]
pub struct NewTopic {
    name: &'static str,
    partitions: i32,
    configs: Vec<(&'static str, &'static str)>,
}

impl NewTopic {
    /// One without configuration.
    #[must_use]
    pub fn new(name: &'static str, partitions: i32) -> Self {
        Self {
            name,
            partitions,
            configs: Vec::new(),
        }
    }

    /// Adds configuration.
    #[must_use]
    pub fn with(mut self, configs: &[(&'static str, &'static str)]) -> Self {
        self.configs.extend(configs);
        self
    }
}

impl From<&NewTopic> for CreatableTopic {
    fn from(topic: &NewTopic) -> Self {
        let configs = topic.configs.iter();
        let configs = configs.map(|(name, value)| CreateableTopicConfig {
            name: (*name).into(),
            value: Some((*value).into()),
        });
        CreatableTopic {
            name: topic.name.into(),
            num_partitions: topic.partitions,
            replication_factor: 1,
            configs: configs.collect(),
            ..CreatableTopic::default()
        }
    }
}

/// Creates topics, and waits until their partitions have leaders that answer.
///
/// # Errors
/// When one is refused, or it takes too long.
pub fn create(talk: &mut Talk, topics: &[NewTopic]) -> Result<()> {
    let request = CreateTopicsRequest {
        topics: topics.iter().map(CreatableTopic::from).collect(),
        timeout_ms: 30_000,
        validate_only: false,
    };
    // A broker that has just started is not the controller yet, or knows of no broker.
    let early = [
        ErrorCode::InvalidReplicationFactor,
        ErrorCode::NotController,
    ];
    let fine = [ErrorCode::None, ErrorCode::TopicAlreadyExists];
    until("the topics", || {
        let answer = talk.ask(5, &request)?.context("closed")?;
        let is = |codes: [ErrorCode; 2], code| codes.iter().any(|one| one.code() == code);
        let mut answered = answer.topics.iter().map(|topic| topic.error_code);
        ensure!(
            answered
                .clone()
                .all(|code| is(fine, code) || is(early, code)),
            "{answer:?}"
        );
        Ok(answered.all(|code| is(fine, code)))
    })?;
    topics
        .iter()
        .try_for_each(|topic| wait_for_leaders(talk, topic.name, topic.partitions))
}
