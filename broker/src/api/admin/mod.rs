//! Handlers of topics, configuration and log directories.

pub mod alter_configs;
pub mod alter_topic;
pub mod config_resource;
pub mod describe_configs;
pub mod describe_log_dirs;
pub mod incremental_alter_configs;
