//! What administrators do to topics and configs, written to `ZooKeeper`.

pub mod assignment;
pub mod error;
pub mod partitions;
pub mod topics;
