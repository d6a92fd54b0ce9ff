//! The stock Kafka tools.

pub mod console_consumer;
pub mod console_producer;
pub mod deserializer;
pub mod formatter;
pub mod java;
pub mod line_reader;
pub mod offsets_formatter;
pub mod topic_options;
pub mod topics;
