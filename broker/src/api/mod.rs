//! One thin file per API: authorize, validate, call one module, map errors.

pub mod admin;
pub mod cluster;
pub mod context;
pub mod data;
pub mod group;
pub mod replication;
pub mod table;
pub mod transaction;
