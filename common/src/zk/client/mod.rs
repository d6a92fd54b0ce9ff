//! An asynchronous ZooKeeper client.

#[expect(
    clippy::module_inception,
    reason = "a file is named after its main type"
)]
pub mod client;
pub mod connect_string;
pub mod connection;
pub mod error;
pub mod event;
pub mod operations;
pub mod session;
pub mod watches;
