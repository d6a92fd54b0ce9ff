//! Coordinators: state machines whose memory is a partition of an internal topic.

pub mod group;
