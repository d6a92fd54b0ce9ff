//! What is on disk: the log of transactions and the snapshots.

pub mod compression;
pub mod error;
pub mod files;
pub mod log_file;
pub mod log_writer;
pub mod purge;
pub mod recovery;
pub mod snapshot;
pub mod snapshot_reader;
pub mod snapshot_writer;
