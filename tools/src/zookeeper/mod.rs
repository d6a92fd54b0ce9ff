//! The stock ZooKeeper tools.

pub mod command_line;
pub mod commands;
pub mod quota;
pub mod reconfig;
pub mod session;
pub mod shell;
pub mod text;
