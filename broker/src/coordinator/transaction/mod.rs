//! Producer ids, and the coordinator of transactions on top of `__transaction_state`.

pub mod coordinator;
pub mod last_words;
pub mod load;
pub mod marker_queues;
pub mod marker_sender;
pub mod message;
pub mod partition;
pub mod producer_ids;
pub mod records;
pub mod shard;
pub mod state;
#[expect(
    clippy::module_inception,
    reason = "the file is named after its main type"
)]
pub mod transaction;
