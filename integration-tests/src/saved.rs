//! Shell: the directories of a broker and of its ZooKeeper, set aside and put back, so that two makers start from the same.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::stack::{Maker, Stack};
use crate::workspace::Scratch;

/// What both directories held when [`Saved::of`] was called. Both servers are stopped meanwhile.
#[derive(Debug)]
pub struct Saved {
    scratch: Scratch,
    extra: Vec<PathBuf>,
}

impl Saved {
    /// Sets aside what a stopped stack has on disk; `extra` are log directories besides the usual one.
    ///
    /// # Errors
    /// When a directory cannot be copied.
    pub fn of(stack: &Stack, extra: &[PathBuf]) -> Result<Self> {
        let saved = Self {
            scratch: Scratch::new("saved")?,
            extra: extra.to_vec(),
        };
        for (number, directory) in saved.directories(stack).iter().enumerate() {
            copy(
                directory,
                &saved.scratch.path().join(format!("directory-{number}")),
            )?;
        }
        Ok(saved)
    }

    /// Puts everything back and makes `maker` the owner of the broker's directory. Starts nothing.
    ///
    /// # Errors
    /// When a directory cannot be copied.
    pub fn restore(&self, stack: &mut Stack, maker: Maker) -> Result<()> {
        for (number, directory) in self.directories(stack).iter().enumerate() {
            if directory.exists() {
                std::fs::remove_dir_all(directory)?;
            }
            copy(
                &self.scratch.path().join(format!("directory-{number}")),
                directory,
            )?;
        }
        stack.broker.hand_over_to(maker);
        Ok(())
    }

    fn directories(&self, stack: &Stack) -> Vec<PathBuf> {
        let mut all = vec![
            stack.zookeeper.data_directory(),
            stack.broker.log_directory(),
        ];
        all.extend(self.extra.iter().cloned());
        all
    }
}

/// Copies with times and holes kept: an active index is mostly hole, and retention looks at times.
fn copy(from: &PathBuf, to: &PathBuf) -> Result<()> {
    let status = Command::new("cp")
        .args(["-a", "--sparse=always"])
        .arg(from)
        .arg(to)
        .status()?;
    ensure!(
        status.success(),
        "cannot copy {} to {}",
        from.display(),
        to.display()
    );
    Ok(())
}
