//! A ZooKeeper-compatible coordinator.

pub mod auth;
pub mod config;
pub mod error;
pub mod metrics;
pub mod net;
pub mod offline;
pub mod operator;
pub mod pipeline;
pub mod server;
pub mod state;
pub mod storage;
pub mod tls;
