//! The stock Kafka tools.
pub mod java;
pub mod topic_options;
pub mod topics;
