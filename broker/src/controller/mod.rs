//! The controller: one broker's picture of the cluster, and who leads what.

pub mod alter_partition;
pub mod brokers;
pub mod context;
pub mod effects;
pub mod election;
pub mod machine;
pub mod partition_machine;
pub mod replica_machine;
pub mod request_batch;
pub mod topic_deletion;
