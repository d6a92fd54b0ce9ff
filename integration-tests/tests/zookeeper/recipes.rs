//! Shell: the recipes of Curator and of kazoo: locks, leaders, barriers, caches, queues, and sessions that end meanwhile.

use std::time::Duration;

use anyhow::Result;
use integration_tests::process::{Finished, run_command};
use integration_tests::{apache, python, workspace};

use crate::authentication::same_with;

fn curator(address: &str) -> Result<Finished> {
    let mut command = apache::java()?;
    command
        .arg(workspace::own_file("peers/java/CuratorScript.java"))
        .arg(address);
    run_command(&mut command, "", Duration::from_secs(180))
}

fn kazoo(address: &str) -> Result<Finished> {
    python::run("kazoo_recipes.py", &[address])
}

#[test]
fn curators_recipes_work_alike() -> Result<()> {
    same_with("extendedTypesEnabled=true", &[], &[curator])
}

#[test]
fn kazoos_recipes_work_alike() -> Result<()> {
    same_with("", &[], &[kazoo])
}
