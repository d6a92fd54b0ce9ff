//! Configuration: the tables of keys, the places where they are set, and the typed result.

pub mod authentication;
pub mod keys;
pub mod load;
pub mod members;
pub mod operator;
pub mod report;
pub mod server_config;
pub mod standalone;
pub mod tables;
pub mod throttles;
pub mod tls;
pub mod values;
