//! Producer ids and transactions.

pub mod init_producer_id;
