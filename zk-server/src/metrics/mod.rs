//! What the server counts, under ZooKeeper's names.
//!
//! Everything is a plain field of one owner: counting is an addition, and whatever a reader of
//! the numbers needs besides is worked out when they are asked for.

pub mod connection;
pub mod namespaces;
pub mod percentiles;
pub mod server;
pub mod state;
pub mod summary;
pub mod table;
