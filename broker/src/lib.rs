//! A Kafka-compatible broker.

pub mod admin;
pub mod api;
pub mod config;
pub mod controller;
pub mod coordinator;
pub mod error;
pub mod farewell;
pub mod housekeeping;
pub mod log;
pub mod metadata;
pub mod net;
pub mod replica;
pub mod server;
pub mod wiring;
pub mod zk;
