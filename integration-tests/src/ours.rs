//! Shell: command lines for our own servers.

use std::process::Command;

use anyhow::Result;

use crate::workspace;

/// Our ZooKeeper server; takes a configuration file.
///
/// # Errors
/// When it has not been built.
pub fn zk_server() -> Result<Command> {
    Ok(Command::new(workspace::binary("zk-server")?))
}

/// Our broker; takes a configuration file and overrides.
///
/// # Errors
/// When it has not been built.
pub fn broker() -> Result<Command> {
    Ok(Command::new(workspace::binary("broker")?))
}
