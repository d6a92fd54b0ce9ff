//! Producer ids and transactions.

pub mod describe_producers;
pub mod init_producer_id;
pub mod write_txn_markers;
