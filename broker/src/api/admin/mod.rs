//! Handlers of topics, configuration and log directories.

pub mod alter_configs;
pub mod alter_topic;
pub mod config_resource;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_topics;
pub mod describe_configs;
pub mod describe_log_dirs;
pub mod elect_leaders;
pub mod incremental_alter_configs;
pub mod list_partition_reassignments;
