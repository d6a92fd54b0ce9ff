//! Shell: the transaction coordinator, request by request in every version, from a seed and on states of every kind
//! that are found in the log: ours answers and stores as Apache's does.

mod cut_off;
mod flows;
mod many;
mod planted;
mod races;
mod refused;
mod script;
mod short;
mod tools;

use std::path::Path;

use anyhow::{Result, bail, ensure};
use integration_tests::at_once;
use integration_tests::compare;
use integration_tests::environment;
use integration_tests::normalise::Normaliser;
use integration_tests::stack::{Broker, Maker, ZooKeeper};
use integration_tests::stock_tools::{self, class};
use integration_tests::transcript::Transcript;

use script::Script;

/// Few partitions, so that each holds several ids; nothing times out but where a script waits for it.
const CONFIG: &str = "transaction.state.log.num.partitions=3\noffsets.topic.num.partitions=3\nnum.partitions=3\n\
                      transaction.max.timeout.ms=600000\ntransaction.abort.timed.out.transaction.cleanup.interval.ms=300\n\
                      transaction.remove.expired.transaction.cleanup.interval.ms=3600000\n\
                      transaction.partition.verification.enable=false\n";
const PARTITIONS: i32 = 3;

/// What the log holds in the words of Apache's tool, by transactional id: of several transactions that are finished at
/// once any may be the first. Times differ between runs, partitions have no order.
fn dump(logs: &Path, transcript: &mut Transcript) -> Result<()> {
    let normaliser = Normaliser::new()
        .pattern(r"(CreateTime|Timestamp)([:=] ?)[0-9]+", "$1$2<ms>")
        .pattern(r"^\| offset: [0-9]+ ", "");
    for partition in 0..PARTITIONS {
        let name = format!("__transaction_state-{partition}/00000000000000000000.log");
        let path = logs.join(&name).display().to_string();
        let options = ["--transaction-log-decoder", "--files", &path];
        let finished = stock_tools::run(class::DUMP_LOG, &options)?;
        ensure!(finished.code == 0, "{finished:?}");
        let records = finished.stdout.lines().filter(|line| line.starts_with('|'));
        let records = records.filter(|line| !cut_off::is_of_one(line));
        let mut records: Vec<String> = records.map(sorted_partitions).collect();
        records.sort_by_key(|line| transactional_id(line).to_owned());
        transcript.lines(&format!("dump {name}"), &records.join("\n"), &normaliser);
    }
    Ok(())
}

fn transactional_id(line: &str) -> &str {
    let key = line.split_once("transactionalId=").unwrap_or_default().1;
    key.split(' ').next().unwrap_or_default()
}

fn sorted_partitions(line: &str) -> String {
    let Some((head, rest)) = line.split_once("partitions=[") else {
        return line.to_owned();
    };
    let Some((list, tail)) = rest.split_once(']') else {
        return line.to_owned();
    };
    let mut list: Vec<&str> = list.split(',').collect();
    list.sort_unstable();
    format!("{head}partitions=[{}]{tail}", list.join(","))
}

fn play(maker: Maker) -> Result<Transcript> {
    let zookeeper = ZooKeeper::start(Maker::Ours)?;
    let mut broker = Broker::prepare(maker, &zookeeper.connect(), CONFIG)?;
    broker.start_again()?;
    let normaliser = Normaliser::new().pattern(
        r"transaction_start_time_ms: [0-9]+",
        "transaction_start_time_ms: <ms>",
    );
    let mut transcript = Transcript::default();
    let mut script = Script::start(&broker, environment::number("TANDEM_SEED", 11)?)?;
    let steps = environment::number("TANDEM_ROUNDS", 500)?;
    let played = script
        .batched()
        .and_then(|()| script.timed_out())
        .and_then(|()| script.random_steps(steps));
    if let Err(error) = played {
        bail!("{error:?}\n{}\n{}", script.text, broker.process()?.tail());
    }
    transcript.lines("random requests", &script.text, &normaliser);
    ensure!(
        broker.stop()? == 0 || maker == Maker::Apache,
        "not a clean end"
    );
    planted::plant(&broker.log_directory())?;
    broker.start_again()?;
    let mut script = Script::start(&broker, 1)?;
    if let Err(error) = planted::on_planted_states(&mut script) {
        bail!("{error:?}\n{}\n{}", script.text, broker.process()?.tail());
    }
    if let Err(error) = tools::run(&mut script, &broker, &mut transcript) {
        bail!("{error:?}\n{}\n{}", script.text, broker.process()?.tail());
    }
    transcript.lines("states from the log", &script.text, &normaliser);
    broker.stop()?;
    dump(&broker.log_directory(), &mut transcript)?;
    Ok(transcript)
}

#[test]
fn every_transactional_request_is_answered_and_stored_as_apaches_broker_does() -> Result<()> {
    let (reference, ours) = at_once::both(play)?;
    compare::ensure_same(&reference, &ours)
}
