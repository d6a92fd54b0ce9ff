//! What this broker knows of the cluster, and its way to the controller.

pub mod cache;
pub mod controller_channel;
pub mod topic_names;
