//! Shell: the four-letter words, answered as Apache's server answers them.

use anyhow::{Result, ensure};
use integration_tests::at_once;
use integration_tests::normalise::Normaliser;
use integration_tests::scripts::session::{Session, Tools};
use integration_tests::stack::{ZooKeeper, ask};
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
    let (reference, ours) = at_once::both(answer)?;
    ensure!(reference == ours, "{reference:?} is not {ours:?}");
    Ok(())
}
