//! Coordinators: state machines whose memory is a partition of an internal topic.

pub mod clock;
pub mod group;
pub mod internal_log;
pub mod java;
pub mod replay;
pub mod timers;
pub mod transaction;
