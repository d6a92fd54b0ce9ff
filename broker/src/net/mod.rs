//! Listeners, connections, and how replies get onto the wire.

pub mod connection;
pub mod frames;
pub mod listener;
pub mod reply;
pub mod threads;
