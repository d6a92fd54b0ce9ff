//! zk/mod
