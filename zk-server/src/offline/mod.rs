//! Tools that read the data directory of a server that does not run.

pub mod dump_log;
pub mod dump_snapshot;
pub mod run;
pub mod text;
pub mod verify;
