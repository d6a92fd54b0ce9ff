//! Kafka's znodes: paths, JSON, typed conditional operations, registration and change watches.

pub mod changes;
pub mod cluster;
pub mod configs;
pub mod consumer_offsets;
pub mod error;
pub mod paths;
pub mod registration;
pub mod scala_order;
pub mod store;
pub mod topics;
pub mod znodes;
