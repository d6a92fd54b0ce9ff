//! Shell: every command of zkCli, and watches in the order in which they fire.

use std::time::Duration;

use anyhow::Result;

use super::session::{Session, without_closing_event};
use crate::stock_tools::{self, class};

/// Commands that change and read nodes, mistakes included.
///
/// # Errors
/// When zkCli does not end.
pub fn commands(session: &mut Session) -> Result<()> {
    session.zk_cli(
        "create, get, set, stat, ls",
        &[
            "create /demo first",
            "create /demo second",
            "create /demo/child",
            "create /demo/child/leaf \"two words\"",
            "create /absent/child x",
            "create nopath x",
            "get /demo",
            "get -s /demo",
            "get /absent",
            "stat /demo",
            "stat /absent",
            "set /demo changed",
            "set -s /demo again",
            "set -v 1 /demo stale",
            "set -v 2 /demo fresh",
            "set /absent x",
            "ls /",
            "ls -s /demo",
            "ls -R /demo",
            "ls /absent",
            "getAllChildrenNumber /demo",
            "create -s /demo/seq- a",
            "create -s /demo/seq- b",
            "create -e /demo/mine x",
            "create -e -s /demo/mine- x",
            "create /demo/mine/below x",
            "create -c /demo/container",
            "create -t 5000 /demo/ttl x",
            "getEphemerals",
            "getEphemerals /demo",
            "stat /demo",
            "sync /demo",
            "nosuchcommand",
            "version",
        ],
    )?;
    session.zk_cli(
        "delete, ACLs, quota",
        &[
            "ls /demo",
            "delete /demo",
            "delete -v 7 /demo/seq-0000000001",
            "delete /demo/seq-0000000001",
            "delete /absent",
            "getAcl /demo",
            "getAcl -s /demo",
            "setAcl -s /demo world:anyone:cdrwa",
            "setAcl /demo world:anyone:r",
            "create /demo/denied x",
            "set /demo denied",
            "setAcl /demo world:anyone:cdrwa",
            "getAcl /demo",
            "addauth digest user:secret",
            "create /secret hidden auth::cdrwa",
            "getAcl /secret",
            "get /secret",
            "setAcl /absent world:anyone:r",
            "setAcl /demo nosuch:scheme:r",
            "setAcl /demo ip:127.0.0.1:cdrwa",
            "setAcl /demo world:anyone:cdrwa",
            "setquota -n 10 /demo",
            "listquota /demo",
            "delquota -n /demo",
            "listquota /demo",
            "whoami",
            "config",
            "removewatches /demo",
        ],
    )?;
    session.zk_cli(
        "another session",
        &[
            "get /secret",
            "set /secret stolen",
            "addauth digest user:wrong",
            "get /secret",
            "addauth digest user:secret",
            "get /secret",
            "ls -R /",
            "deleteall /demo",
            "deleteall /secret",
            "ls /",
        ],
    )
}

/// One-shot, persistent and recursive watches: each event appears before the change's own reply is followed by another.
///
/// # Errors
/// When zkCli does not end.
pub fn watches(session: &mut Session) -> Result<()> {
    let options = session.zk_cli_options();
    let mut shell = stock_tools::start(class::ZK_CLI, &options)?;
    let limit = Duration::from_secs(20);
    let mut missing = String::new();
    for (command, events) in [
        ("create /watched x", 0),
        ("stat -w /watched", 0),
        ("set /watched y", 1),
        ("set /watched z", 0),
        ("get -w /watched", 0),
        ("ls -w /watched", 0),
        ("create /watched/child x", 1),
        ("delete /watched/child", 0),
        ("stat -w /later", 0),
        ("ls -w /", 0),
        ("create /later x", 2),
        ("addWatch /watched", 0),
        ("create /watched/a x", 1),
        ("set /watched/a y", 1),
        ("addWatch -m PERSISTENT /later", 0),
        ("set /later 1", 1),
        ("set /later 2", 1),
        ("removewatches /later", 1),
        ("set /later 3", 0),
        ("delete /watched/a", 1),
        ("ls -w /watched", 0),
        ("delete /watched", 1),
        ("delete /later", 0),
    ] {
        let seen = count_events(&shell.stdout());
        shell.write_input(&format!("{command}\n"))?;
        if shell
            .wait_for_output("the events", limit, |text| {
                count_events(text) >= seen + events
            })
            .is_err()
        {
            missing.push_str(&format!("{command} did not fire {events} events\n"));
        }
        // The reply itself may have no text: the next command that has one shows that it was read.
        let replies = shell.stdout().matches("printwatches is on").count();
        shell.write_input("printwatches\n")?;
        let _ = shell.wait_for_output("the reply", limit, |text| {
            text.matches("printwatches is on").count() > replies
        });
    }
    shell.write_input("quit\n")?;
    let mut finished = shell.finish(limit)?;
    finished.stdout = without_closing_event(&finished.stdout);
    session
        .transcript
        .command("zkCli: watches", &finished, &session.normaliser);
    session.transcript.lines(
        "zkCli: events that did not come",
        &missing,
        &session.normaliser,
    );
    Ok(())
}

fn count_events(text: &str) -> usize {
    text.matches("WatchedEvent").count()
}

/// What the tutorial and its readers look at in the broker's nodes.
///
/// # Errors
/// When zkCli does not end.
pub fn look_at_the_broker(session: &mut Session) -> Result<()> {
    session.zk_cli(
        "the broker's nodes",
        &[
            "ls /brokers/ids",
            "get -s /brokers/ids/0",
            "get /controller",
            "get -s /controller_epoch",
            "get /cluster/id",
            "get /config/topics/t",
            "get -s /config/topics/kept",
            "get /brokers/topics/t",
            "get -s /brokers/topics/six/partitions/0/state",
            "getAcl /brokers/ids/0",
            "getAcl /config/topics/t",
            "ls /brokers/topics/six/partitions",
            "getEphemerals",
        ],
    )
}
