//! Shell: `kafka-topics.sh` (`TopicCommand.java`).

use std::collections::{BTreeMap, BTreeSet};

use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::create_partitions::{CreatePartitionsAssignment, CreatePartitionsTopic};
use kafka_wire::messages::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreateableTopicConfig,
};
use kafka_wire::messages::describe_configs::DescribeConfigsResourceResult;
use kafka_wire::messages::list_partition_reassignments::OngoingPartitionReassignment;
use kafka_wire::messages::metadata::{MetadataResponsePartition, MetadataResponseTopic};
use kafka_wire::wire::Uuid;
use regex_lite::Regex;

use crate::args::{self, ArgsError, Parsed};
use crate::client::admin::Admin;
use crate::client::error::ClientError;
use crate::client::log;
use crate::client::settings::Settings;
use crate::kafka::java::hash_map_order;
use crate::kafka::topic_options::{
    Decision, OPTIONS, decide, partitions, replica_assignment, topic_configs,
};

const CLASS: &str = "org.apache.kafka.tools.TopicCommand";
const INTERNAL_TOPICS: [&str; 2] = ["__consumer_offsets", "__transaction_state"];
/// `ConfigSource.DEFAULT_CONFIG`.
const DEFAULT_CONFIG: i8 = 5;
const COLLISION_WARNING: &str = "WARNING: Due to limitations in metric names, topics with a \
    period ('.') or underscore ('_') could collide. To avoid issues it is best to use either, but \
    not both.";
/// The stock tool prints the placeholders of this text as they are.
const FORMAT_WARNING: &str = "WARNING: The configuration \
    ${TopicConfig.MESSAGE_FORMAT_VERSION_CONFIG}=${props.getProperty(TopicConfig.MESSAGE_FORMAT_VERSION_CONFIG)} \
    is specified. This configuration will be ignored if the version is newer than the \
    inter.broker.protocol.version specified in the broker or if the inter.broker.protocol.version \
    is 3.0 or newer. This configuration is deprecated and it will be removed in Apache Kafka 4.0.";

/// Runs the tool; returns its exit code.
pub async fn run(arguments: &[String]) -> i32 {
    let options = match decide(arguments) {
        Decision::Run(options) => options,
        Decision::Usage(message) => {
            eprint!("{message}\n{}", args::help(OPTIONS));
            return 1;
        }
        Decision::Version => {
            println!("3.7.1");
            return 0;
        }
        Decision::Fail(exception, message) => {
            eprintln!("{message}\n{exception}: {message}\n");
            return 1;
        }
    };
    let admin = match admin(&options).await {
        Ok(admin) => admin,
        Err(error) => {
            eprintln!("{error}\n{}\n", error.trace());
            return 1;
        }
    };
    let command = Command { admin, options };
    match command.execute().await {
        Ok(()) => 0,
        Err(error) => {
            println!("Error while executing topic command : {error}");
            log::error(CLASS, &format!("{}\n", error.trace()));
            1
        }
    }
}

async fn admin(options: &Parsed) -> Result<Admin, ClientError> {
    let mut settings = Settings::default();
    if let Some(path) = options.value("command-config").map_err(from_args)? {
        let missing = |_| {
            let exception = "java.nio.file.NoSuchFileException";
            ClientError::Other(exception, path.to_owned())
        };
        settings = Settings::parse(&std::fs::read(path).map_err(missing)?)?;
    }
    if let Some(servers) = options.value("bootstrap-server").map_err(from_args)? {
        settings.set("bootstrap.servers", servers);
    }
    Admin::new(&settings).await
}

fn from_args(error: ArgsError) -> ClientError {
    ClientError::Other(error.exception(), error.to_string())
}

struct Command {
    admin: Admin,
    options: Parsed,
}

impl Command {
    async fn execute(&self) -> Result<(), ClientError> {
        if self.options.has("create") {
            self.create().await
        } else if self.options.has("alter") {
            self.alter().await
        } else if self.options.has("list") {
            self.list().await
        } else if self.options.has("describe") {
            self.describe().await
        } else {
            self.delete().await
        }
    }

    fn value(&self, option: &str) -> Result<Option<&str>, ClientError> {
        self.options.value(option).map_err(from_args)
    }

    async fn create(&self) -> Result<(), ClientError> {
        let name = self.value("topic")?.unwrap_or_default();
        let partitions = partitions(&self.options).map_err(from_args)?;
        let factor: Option<i32> = self
            .options
            .number("replication-factor")
            .map_err(from_args)?;
        let assignment = self.assignment()?;
        let configs = topic_configs(self.options.values("config")).map_err(ClientError::Illegal)?;
        if configs
            .iter()
            .any(|(name, _)| name == "message.format.version")
        {
            println!("{FORMAT_WARNING}");
        }
        if name.contains(['.', '_']) {
            println!("{COLLISION_WARNING}");
        }
        if factor.is_some_and(|factor| !(1..=i32::from(i16::MAX)).contains(&factor)) {
            let text = "The replication factor must be between 1 and 32767 inclusive";
            return Err(ClientError::Illegal(text.to_owned()));
        }
        if partitions.is_some_and(|partitions| partitions < 1) {
            return Err(ClientError::Illegal(
                "The partitions must be greater than 0".to_owned(),
            ));
        }
        if name.is_empty() {
            return Err(ClientError::Api {
                code: ErrorCode::InvalidTopicException,
                message: format!(
                    "The given topic name '{name}' cannot be represented in a request."
                ),
            });
        }
        let config = |(name, value): (String, String)| CreateableTopicConfig {
            name: name.into(),
            value: Some(value.into()),
        };
        let replicas = |(index, brokers): (usize, Vec<i32>)| CreatableReplicaAssignment {
            partition_index: index as i32,
            broker_ids: brokers,
        };
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: partitions.unwrap_or(-1),
            replication_factor: factor
                .and_then(|factor| i16::try_from(factor).ok())
                .unwrap_or(-1),
            assignments: assignment.into_iter().enumerate().map(replicas).collect(),
            configs: configs.into_iter().map(config).collect(),
        };
        match self.admin.create_topic(topic).await {
            Ok(()) => println!("Created topic {name}."),
            Err(error)
                if error.code() == Some(ErrorCode::TopicAlreadyExists)
                    && self.options.has("if-not-exists") => {}
            // The stock tool checks values itself before it asks, and names its own exception.
            Err(ClientError::Api {
                code: ErrorCode::InvalidConfig,
                message,
            }) if message.starts_with("Invalid value ") => {
                return Err(ClientError::Config(message));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn assignment(&self) -> Result<Vec<Vec<i32>>, ClientError> {
        match self.value("replica-assignment")? {
            None | Some("") => Ok(Vec::new()),
            Some(text) => {
                let wrong = |(exception, message)| ClientError::Other(exception, message);
                replica_assignment(text).map_err(wrong)
            }
        }
    }

    /// Names of the topics that the options select, sorted; an error if they have to exist.
    async fn selected(&self, must_exist: bool) -> Result<Vec<ByteString>, ClientError> {
        let filter = self.value("topic")?;
        let exclude_internal = self.options.has("exclude-internal");
        let pattern = filter.map(topic_pattern).transpose()?;
        let response = self.admin.topics().await?;
        let mut names: Vec<ByteString> = response
            .topics
            .into_iter()
            .filter_map(|topic| topic.name)
            .collect();
        names.retain(|name| {
            let internal = INTERNAL_TOPICS.contains(&&**name);
            let matches = pattern
                .as_ref()
                .is_none_or(|pattern| pattern.is_match(name));
            matches && !(internal && exclude_internal)
        });
        names.sort();
        let requested = filter.unwrap_or_default();
        if must_exist && names.is_empty() && !requested.is_empty() {
            let text = format!("Topic '{requested}' does not exist as expected");
            return Err(ClientError::Illegal(text));
        }
        Ok(names)
    }

    async fn list(&self) -> Result<(), ClientError> {
        let names = self.selected(false).await?;
        let names: Vec<&str> = names.iter().map(|name| &**name).collect();
        println!("{}", names.join("\n"));
        Ok(())
    }

    async fn alter(&self) -> Result<(), ClientError> {
        let count = partitions(&self.options)
            .map_err(from_args)?
            .unwrap_or_default();
        let assignment = self.assignment()?;
        let names = self.selected(!self.options.has("if-exists")).await?;
        if names.is_empty() {
            return Ok(());
        }
        let mut existing = BTreeMap::new();
        if !assignment.is_empty() {
            for topic in self.admin.describe_topics(&names).await? {
                existing.insert(topic.name.unwrap_or_default(), topic.partitions.len());
            }
        }
        let added = |name: &ByteString| {
            let skipped = existing.get(name).copied().unwrap_or_default();
            let brokers = assignment.iter().skip(skipped).cloned();
            let added = brokers.map(|broker_ids| CreatePartitionsAssignment { broker_ids });
            (!assignment.is_empty()).then(|| added.collect())
        };
        let topic = |name: ByteString| CreatePartitionsTopic {
            assignments: added(&name),
            name,
            count,
        };
        self.admin
            .create_partitions(names.into_iter().map(topic).collect())
            .await
    }

    async fn delete(&self) -> Result<(), ClientError> {
        let names = self.selected(!self.options.has("if-exists")).await?;
        if names.is_empty() {
            return Ok(());
        }
        self.admin.delete_topics(&names).await
    }

    async fn describe(&self) -> Result<(), ClientError> {
        let must_exist = !self.options.has("if-exists");
        let mut topics = match self.value("topic-id")? {
            Some(text) => self.by_id(topic_id(text)?, must_exist).await?,
            None => {
                let names = self.selected(must_exist).await?;
                if names.is_empty() {
                    return Ok(());
                }
                self.admin.describe_topics(&names).await?
            }
        };
        if topics.is_empty() {
            return Ok(());
        }
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        let count = topics.len();
        hash_map_order(&mut topics, count, |topic| {
            topic.name.as_deref().unwrap_or_default()
        });
        let names: Vec<ByteString> = topics
            .iter()
            .filter_map(|topic| topic.name.clone())
            .collect();
        let configs = self.admin.topic_configs(&names).await?;
        let live: BTreeSet<i32> = self.admin.broker_ids().await?.into_iter().collect();
        let reassignments = self.admin.reassignments(&topics).await?;
        for mut topic in topics {
            topic
                .partitions
                .sort_by_key(|partition| partition.partition_index);
            let name = topic.name.clone().unwrap_or_default();
            let entries = configs.get(&name).cloned().unwrap_or_default();
            let description = Description {
                topic: &topic,
                name,
                entries,
                reassignments: &reassignments,
            };
            self.print(&description, &live);
        }
        Ok(())
    }

    async fn by_id(
        &self,
        id: Uuid,
        must_exist: bool,
    ) -> Result<Vec<MetadataResponseTopic>, ClientError> {
        let listed = self.admin.topics().await?;
        let exclude_internal = self.options.has("exclude-internal");
        let is_it = |topic: &MetadataResponseTopic| {
            topic.topic_id == id && !(topic.is_internal && exclude_internal)
        };
        if listed.topics.iter().any(is_it) {
            return self.admin.describe_topic_id(id).await;
        }
        if must_exist {
            let text = format!("TopicId '{id}' does not exist as expected");
            return Err(ClientError::Illegal(text));
        }
        Ok(Vec::new())
    }

    fn print(&self, description: &Description<'_>, live: &BTreeSet<i32>) {
        let has = |option| self.options.has(option);
        let under_replicated = has("under-replicated-partitions");
        let unavailable = has("unavailable-partitions");
        let (under_min, at_min) = (
            has("under-min-isr-partitions"),
            has("at-min-isr-partitions"),
        );
        let all = !under_replicated && !unavailable && !under_min && !at_min;
        let overrides = has("topics-with-overrides");
        if all && (!overrides || description.has_overrides()) {
            println!("{}", description.topic_line());
        }
        if overrides {
            return;
        }
        for partition in &description.topic.partitions {
            let in_sync = partition.isr_nodes.len();
            let has_leader = partition.leader_id >= 0;
            let chosen = all
                || under_replicated && description.replication_factor(partition) > in_sync
                || unavailable && !live.contains(&partition.leader_id)
                || under_min && (!has_leader || in_sync < description.min_isr())
                || at_min && in_sync == description.min_isr();
            if chosen {
                println!("{}", description.partition_line(partition));
            }
        }
    }
}

struct Description<'a> {
    topic: &'a MetadataResponseTopic,
    name: ByteString,
    entries: Vec<DescribeConfigsResourceResult>,
    reassignments: &'a BTreeMap<(ByteString, i32), OngoingPartitionReassignment>,
}

impl Description<'_> {
    fn has_overrides(&self) -> bool {
        self.entries
            .iter()
            .any(|entry| entry.config_source != DEFAULT_CONFIG)
    }

    fn min_isr(&self) -> usize {
        let entry = self
            .entries
            .iter()
            .find(|entry| entry.name == "min.insync.replicas");
        let value = entry.and_then(|entry| entry.value.as_ref());
        value.and_then(|value| value.parse().ok()).unwrap_or(1)
    }

    fn reassignment(
        &self,
        partition: &MetadataResponsePartition,
    ) -> Option<&OngoingPartitionReassignment> {
        self.reassignments
            .get(&(self.name.clone(), partition.partition_index))
    }

    /// Replicas, without those that a reassignment is still adding.
    fn replication_factor(&self, partition: &MetadataResponsePartition) -> usize {
        let nodes = &partition.replica_nodes;
        match self.reassignment(partition) {
            Some(moving)
                if nodes.iter().any(|node| {
                    moving.removing_replicas.contains(node) || moving.adding_replicas.contains(node)
                }) =>
            {
                moving
                    .replicas
                    .len()
                    .saturating_sub(moving.adding_replicas.len())
            }
            _ => nodes.len(),
        }
    }

    fn topic_line(&self) -> String {
        let mut entries: Vec<&DescribeConfigsResourceResult> = self.entries.iter().collect();
        hash_map_order(&mut entries, 16, |entry| &entry.name);
        let configs: Vec<String> = entries
            .iter()
            .filter(|entry| entry.config_source != DEFAULT_CONFIG)
            .map(|entry| {
                format!(
                    "{}={}",
                    entry.name,
                    entry.value.as_deref().unwrap_or("null")
                )
            })
            .collect();
        let id = match self.topic.topic_id {
            Uuid::ZERO => String::new(),
            id => format!("\tTopicId: {id}"),
        };
        let partitions = &self.topic.partitions;
        format!(
            "Topic: {}{id}\tPartitionCount: {}\tReplicationFactor: {}\tConfigs: {}",
            self.name,
            partitions.len(),
            partitions
                .first()
                .map_or(0, |first| self.replication_factor(first)),
            configs.join(",")
        )
    }

    fn partition_line(&self, partition: &MetadataResponsePartition) -> String {
        let leader = match partition.leader_id {
            id if id >= 0 => id.to_string(),
            _ => "none".to_owned(),
        };
        let mut line = format!(
            "\tTopic: {}\tPartition: {}\tLeader: {leader}\tReplicas: {}\tIsr: {}",
            self.name,
            partition.partition_index,
            ids(&partition.replica_nodes),
            ids(&partition.isr_nodes),
        );
        if let Some(moving) = self.reassignment(partition) {
            line.push_str(&format!(
                "\tAdding Replicas: {}\tRemoving Replicas: {}",
                ids(&moving.adding_replicas),
                ids(&moving.removing_replicas)
            ));
        }
        line
    }
}

fn ids(nodes: &[i32]) -> String {
    let ids: Vec<String> = nodes.iter().map(i32::to_string).collect();
    ids.join(",")
}

/// A filter of topic names: commas separate alternatives, quotes and spaces do not count.
fn topic_pattern(filter: &str) -> Result<Regex, ClientError> {
    let pattern = filter.trim().replace(',', "|").replace(' ', "");
    let pattern = pattern.trim_matches(['"', '\'']);
    Regex::new(&format!("^(?:{pattern})$")).map_err(|_| {
        let text = format!("{pattern} is an invalid regex.");
        ClientError::Other("java.lang.RuntimeException", text)
    })
}

fn topic_id(text: &str) -> Result<Uuid, ClientError> {
    Uuid::parse(text).ok_or_else(|| {
        let bytes = text.len() * 3 / 4;
        ClientError::Illegal(if text.len() > 24 {
            let prefix: String = text.chars().take(24).collect();
            format!(
                "Input string with prefix `{prefix}` is too long to be decoded as a base64 UUID"
            )
        } else {
            format!(
                "Input string `{text}` decoded as {bytes} bytes, which is not equal to the \
                 expected 16 bytes of a base64-encoded UUID"
            )
        })
    })
}
