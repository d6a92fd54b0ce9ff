//! The partitions this broker leads or follows, and who waits for them.

pub mod append;
pub mod clock;
pub mod delete;
pub mod fetch_session;
pub mod file_range;
pub mod hosted;
pub mod internal_topic;
pub mod isr_sender;
pub mod leadership;
pub mod manager;
pub mod partition;
pub mod purgatory;
pub mod read;
pub mod topic_configs;
pub mod verification;
pub mod verification_queue;
pub mod verifier;
