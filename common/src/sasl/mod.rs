//! SASL as ZooKeeper and Kafka use it: mechanisms as pure steps, and the file of users.

pub mod digest_md5;
pub mod directives;
pub mod jaas;
