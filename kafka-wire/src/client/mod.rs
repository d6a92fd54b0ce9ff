//! The client side of the protocol: one connection, and which versions its peer knows.

pub mod connection;
pub mod versions;
