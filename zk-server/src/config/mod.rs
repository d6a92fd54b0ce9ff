//! Configuration: the tables of keys, the places where they are set, and the typed result.

pub mod authentication;
pub mod keys;
pub mod load;
pub mod server_config;
pub mod tables;
pub mod values;
