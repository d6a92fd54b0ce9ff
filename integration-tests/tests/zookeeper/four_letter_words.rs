//! Shell: the four-letter words, answered as Apache's server answers them.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use integration_tests::normalise::Normaliser;
use integration_tests::scripts::session::{Session, Tools};
use integration_tests::stack::{Maker, ZooKeeper, ask};
use integration_tests::transcript::Transcript;

#[test]
fn words_are_answered_the_same() -> Result<()> {
    super::same_on_both(|server| {
        let session = Session::of_zookeeper(server, Tools::Stock);
        session.zk_cli_unrecorded(&["create /one 1", "create /one/two 22", "create -e /gone x"])?;
        let address = server.address();
        let data = server.data_directory().display().to_string();
        let normaliser = Normaliser::new()
            .literal(&data, "<data>")
            .literal(&address.port().to_string(), "<port>")
            .pattern(r"^Zookeeper version: .*$", "Zookeeper version: <version>")
            .pattern(
                r"^(Received|Sent|Connections|Outstanding): [0-9]+$",
                "$1: <n>",
            )
            .pattern(r"^Latency min/avg/max: .*$", "Latency min/avg/max: <n>")
            .pattern(
                r"^Proposal sizes last/min/max: .*$",
                "Proposal sizes last/min/max: <n>",
            )
            .pattern(r"^ /127.0.0.1:[0-9]+\[[01]\]\(.*\)$", " <connection>")
            .pattern(
                r"^(Connections|Session) Sets \([0-9]+\)/\([0-9]+\):$",
                "$1 Sets",
            )
            .drop_lines(r"^\s+ip: /127.0.0.1:[0-9]+ sessionId: ")
            // How far ahead a file is grown is each server's own affair.
            .pattern(
                r"^((datadir|logdir)_size: |data(Dir|Log)Size=)[0-9]+$",
                "$1<n>",
            );
        let mut transcript = Transcript::default();
        for word in [
            "ruok", "srvr", "stat", "conf", "cons", "wchs", "wchc", "wchp", "dump", "isro", "dirs",
            "srst", "crst", "gtmk", "xyzw",
        ] {
            let mut answer = ask(address, word)?;
            if word == "dump" {
                // Sessions that have just ended may still be told.
                let kept = answer.lines().filter(|line| !line.contains("expire at"));
                answer = kept.collect::<Vec<_>>().join("\n");
            }
            transcript.lines(word, &answer, &normaliser);
        }
        Ok(transcript)
    })
}

/// The first words of lines: the names without the values.
fn names(answer: &str) -> BTreeSet<String> {
    let separators = ['\t', '=', ' '];
    answer
        .lines()
        .filter_map(|line| line.split(separators).next())
        .map(str::to_owned)
        .collect()
}

/// Figures that come from parts that a native standalone server does not have.
const JVM_ONLY: [&str; 3] = ["jvm_", "process_", "zk_jvm"];

#[test]
fn mntr_tells_what_monitoring_reads() -> Result<()> {
    let apache = ZooKeeper::start(Maker::Apache)?;
    let ours = ZooKeeper::start(Maker::Ours)?;
    let theirs = names(&ask(apache.address(), "mntr")?);
    let mine = names(&ask(ours.address(), "mntr")?);
    let unknown: Vec<&String> = mine
        .difference(&theirs)
        // Apache's server tells this one over JMX only.
        .filter(|name| *name != "zk_fsync_threshold_exceed_count")
        .collect();
    ensure!(
        unknown.is_empty(),
        "names that Apache's server does not have: {unknown:?}"
    );
    for name in [
        "zk_version",
        "zk_server_state",
        "zk_ephemerals_count",
        "zk_num_alive_connections",
        "zk_avg_latency",
        "zk_min_latency",
        "zk_max_latency",
        "zk_outstanding_requests",
        "zk_znode_count",
        "zk_watch_count",
        "zk_approximate_data_size",
        "zk_open_file_descriptor_count",
        "zk_max_file_descriptor_count",
        "zk_packets_received",
        "zk_packets_sent",
        "zk_global_sessions",
        "zk_uptime",
    ] {
        ensure!(mine.contains(name), "mntr has no {name}; it has {mine:?}");
    }
    let missing: Vec<&String> = theirs
        .difference(&mine)
        .filter(|name| !JVM_ONLY.iter().any(|prefix| name.starts_with(prefix)))
        .collect();
    println!(
        "{} figures of Apache's mntr are not there: {missing:?}",
        missing.len()
    );
    let environment = names(&ask(ours.address(), "envi")?);
    ensure!(
        environment.contains("zookeeper.version"),
        "envi says {environment:?}"
    );
    Ok(())
}

#[test]
fn words_outside_the_whitelist_are_refused_the_same() -> Result<()> {
    let answer = |maker| -> Result<(String, String)> {
        let server = ZooKeeper::start_with(maker, "4lw.commands.whitelist=srvr, isro")?;
        let srvr = ask(server.address(), "srvr")?;
        Ok((
            ask(server.address(), "ruok")?,
            srvr.lines().last().unwrap_or_default().to_owned(),
        ))
    };
    let reference = answer(Maker::Apache)?;
    let ours = answer(Maker::Ours)?;
    ensure!(reference == ours, "{reference:?} is not {ours:?}");
    Ok(())
}
