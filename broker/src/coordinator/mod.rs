//! Coordinators: state machines whose memory is a partition of an internal topic.

pub mod clock;
pub mod group;
pub mod internal_log;
pub mod java;
pub mod ownership;
pub mod reader;
pub mod replay;
pub mod running;
pub mod shards;
pub mod timers;
pub mod topic_partition;
pub mod transaction;
pub mod waiting;
