//! The stock Kafka tools.

pub mod console_producer;
pub mod java;
pub mod line_reader;
pub mod topic_options;
pub mod topics;
