//! Kafka's znodes: paths, JSON, typed conditional operations, registration and change watches.

pub mod paths;
pub mod scala_order;
pub mod znodes;
