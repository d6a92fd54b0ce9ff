//! The controller: one broker's picture of the cluster, and who leads what.

pub mod alter_partition;
pub mod answers;
pub mod broker_channels;
pub mod brokers;
pub mod context;
#[expect(
    clippy::module_inception,
    reason = "the file holds the folder's main type"
)]
pub mod controller;
pub mod effects;
pub mod election;
pub mod handle;
pub mod machine;
pub mod partition_machine;
pub mod replica_machine;
pub mod request_batch;
pub mod topic_deletion;
