//! The `tandem` binary: the stock tools, by command name.

mod args;
mod client;
mod kafka;
mod zookeeper;

fn main() {}
