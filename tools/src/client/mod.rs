//! A small Kafka client: what the tools are built on.

pub mod admin;
pub mod cluster;
pub mod error;
pub mod log;
pub mod partitioner;
pub mod producer;
pub mod settings;
pub mod topic_metadata;
