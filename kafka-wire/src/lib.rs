//! Kafka's wire protocol: generated messages, record batches and one outbound connection.

pub mod api_key;
pub mod client;
pub mod error_code;
pub mod header;
pub mod message;
pub mod messages;
pub mod reader;
pub mod records;
pub mod wire;
pub mod writer;
