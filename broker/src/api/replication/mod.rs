//! What brokers and the controller tell each other.

pub mod allocate_producer_ids;
pub mod alter_partition;
pub mod controlled_shutdown;
pub mod leader_and_isr;
pub mod roles;
pub mod stop_replica;
pub mod update_metadata;
