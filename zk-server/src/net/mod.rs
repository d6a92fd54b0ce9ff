//! Sockets: clients and operators.

pub mod connection;
pub mod four_letter;
pub mod listener;
pub mod monitor;
pub mod ports;
