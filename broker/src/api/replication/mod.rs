//! What brokers and the controller tell each other.

pub mod leader_and_isr;
pub mod roles;
pub mod stop_replica;
