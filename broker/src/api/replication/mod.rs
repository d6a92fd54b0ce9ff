//! replication/mod
