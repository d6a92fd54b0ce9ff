//! The stock ZooKeeper tools.
