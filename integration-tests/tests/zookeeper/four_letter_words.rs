//! Shell: the four-letter words, answered as Apache's server answers them.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Result, ensure};
use integration_tests::normalise::Normaliser;
use integration_tests::scripts::session::{Session, Tools};
use integration_tests::stack::{Maker, ZooKeeper};
use integration_tests::transcript::Transcript;

/// Sends a word and reads until the server closes.
fn ask(address: SocketAddr, word: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(word.as_bytes())?;
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

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
            // Apache's server counts the bytes of its files.
            .pattern(
                r"^(dataDirSize|dataLogSize|dataDirSize |latestSnapshotSize)=?.*$",
                "$1 <n>",
            );
        let mut transcript = Transcript::default();
        for word in [
            "ruok", "srvr", "stat", "conf", "cons", "wchs", "wchc", "wchp", "dump", "isro", "dirs",
            "srst", "crst", "gtmk", "xyzw",
        ] {
            transcript.lines(word, &ask(address, word)?, &normaliser);
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
    let unknown: Vec<&String> = mine.difference(&theirs).collect();
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
