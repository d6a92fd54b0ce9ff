//! The ZooKeeper protocol: jute codec, requests, replies, logged transactions, client.
