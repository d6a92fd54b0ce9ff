//! The controller: one broker's picture of the cluster, and who leads what.

pub mod context;
pub mod election;
