//! Handlers of topics, configuration and log directories.

pub mod describe_log_dirs;
