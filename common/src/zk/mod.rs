//! The ZooKeeper protocol: jute codec, requests, replies, logged transactions, client.

pub mod client;
pub mod code;
pub mod connect;
pub mod data;
pub mod jute;
pub mod multi;
pub mod path;
pub mod request;
pub mod response;
pub mod txn;
