//! Sockets: clients and operators.

pub mod connection;
pub mod listener;
pub mod ports;
