//! The partitions this broker leads or follows, and who waits for them.

pub mod fetch_session;
pub mod partition;
pub mod purgatory;
