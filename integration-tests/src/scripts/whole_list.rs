//! Shell: the whole list of what stock tools do with a stack, as one script.

use anyhow::{Result, ensure};

use super::session::{Session, Tools};
use super::{configs, disk, groups, messages, native_clients, topics, znodes, zookeeper_shell};
use crate::stack::Stack;
use crate::transcript::Transcript;

/// Runs everything with the stock tools, stops the broker and looks at its files.
///
/// # Errors
/// When a tool hangs or a server does not stop.
pub fn run(stack: &mut Stack) -> Result<Transcript> {
    let mut session = Session::new(stack, Tools::Stock);
    topics::run(&mut session)?;
    messages::run(&mut session)?;
    groups::run(&mut session)?;
    configs::run(&mut session)?;
    configs::broker(&mut session)?;
    native_clients::kcat(&mut session)?;
    native_clients::confluent_kafka(&mut session)?;
    zookeeper_shell::look_at_the_broker(&mut session)?;
    zookeeper_shell::commands(&mut session)?;
    znodes::dump(&mut session)?;
    let code = stack.broker.stop()?;
    // A JVM that ends by SIGTERM tells the signal, however cleanly it ended.
    ensure!(code == 0 || code == 143, "the broker ended with {code}");
    session.zk_cli(
        "after the broker has stopped",
        &["ls /brokers/ids", "get /controller", "ls /brokers/topics"],
    )?;
    disk::files(&mut session)?;
    disk::dumps(&mut session)?;
    Ok(session.transcript)
}
