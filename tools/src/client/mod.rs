//! A small Kafka client: what the tools are built on.

pub mod admin;
pub mod assignor;
pub mod cluster;
pub mod consumer;
pub mod consumer_options;
pub mod error;
pub mod fetched;
pub mod group;
pub mod log;
pub mod offsets;
pub mod partitioner;
pub mod producer;
pub mod producer_batch;
pub mod producer_options;
pub mod settings;
pub mod topic_metadata;
