//! What this broker knows of the cluster, and its way to the controller.

pub mod cache;
pub mod topic_names;
