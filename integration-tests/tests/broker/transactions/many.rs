//! Shell: many transactional ids while their log is compacted, a coordinator that loses its session and is elected
//! again, and what the other maker's broker reads of it all. `TANDEM_IDS` makes them more, and then times and memory
//! are told.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use integration_tests::at_once;
use integration_tests::compare;
use integration_tests::environment;
use integration_tests::ledger::dumps;
use integration_tests::normalise::Normaliser;
use integration_tests::stack::{Broker, Maker, ZooKeeper};
use integration_tests::transcript::Transcript;
use integration_tests::wait::until;
use kafka_wire::messages::describe_transactions::{
    DescribeTransactionsRequest, DescribeTransactionsResponse,
};
use kafka_wire::messages::list_transactions::ListTransactionsRequest;

use super::flows::Flow;
use super::script::{LONG_MS, Script};
use super::{cut_off, flows, races, refused};

/// Small segments that are compacted all the time, and sessions that end soon.
const CONFIG: &str = "transaction.state.log.num.partitions=3\noffsets.topic.num.partitions=3\nnum.partitions=3\n\
                      transaction.max.timeout.ms=600000\nzookeeper.session.timeout.ms=4000\n\
                      transaction.abort.timed.out.transaction.cleanup.interval.ms=5\n\
                      log.cleaner.backoff.ms=100\nlog.cleaner.min.cleanable.ratio=0.1\n\
                      log.cleaner.dedupe.buffer.size=4000000\n";
const PARTITIONS: i32 = 3;
/// Ids that are asked for at once.
const TOGETHER: usize = 100;

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("many-{number}")).collect()
}

/// Several transactions of each id; every tenth stays open in the end.
fn transact(script: &mut Script, ids: &[String]) -> Result<()> {
    let mut producers = Vec::new();
    for id in ids {
        let given = script.init(id, 4, LONG_MS, (-1, -1))?;
        producers.push((given.producer_id, given.producer_epoch));
    }
    const ROUNDS: usize = 4;
    for round in 0..ROUNDS {
        for (number, (id, producer)) in ids.iter().zip(&producers).enumerate() {
            let partitions = [number as i32 % 3, (number + round) as i32 % 3];
            let partitions = if round % 2 == 0 {
                &partitions[..1]
            } else {
                &partitions
            };
            script.add_to(id, *producer, "b", partitions)?;
        }
        for (number, (id, producer)) in ids.iter().zip(&producers).enumerate() {
            if round + 1 < ROUNDS || number % 10 != 3 {
                script.decide(id, 3, *producer, number % 3 != 0)?;
            }
        }
        all_settled(script)?;
    }
    Ok(())
}

fn all_settled(script: &mut Script) -> Result<()> {
    let request = ListTransactionsRequest {
        state_filters: vec!["PrepareCommit".into(), "PrepareAbort".into()],
        ..ListTransactionsRequest::default()
    };
    script.until("the end of all transactions", |script| {
        Ok(script.ask(0, &request)?.transaction_states.is_empty())
    })
}

/// All that is known of the ids, once all of it is loaded.
fn described(script: &mut Script, ids: &[String]) -> Result<String> {
    let mut text = String::new();
    for some in ids.chunks(TOGETHER) {
        let request = DescribeTransactionsRequest {
            transactional_ids: some.iter().map(|id| id.as_str().into()).collect(),
        };
        let mut answer = DescribeTransactionsResponse::default();
        script.until("loaded transactions", |script| {
            answer = script.ask(0, &request)?;
            let is_busy = |error: i16| matches!(error, 14..=16);
            let mut states = answer.transaction_states.iter();
            Ok(!states.any(|state| is_busy(state.error_code)))
        })?;
        for state in &mut answer.transaction_states {
            let mut partitions = BTreeMap::new();
            for topic in &mut state.topics {
                topic.partitions.sort_unstable();
                partitions.insert(topic.topic.to_string(), topic.partitions.clone());
            }
            text.push_str(&format!(
                "{} {} {} {} {} {} {partitions:?}\n",
                state.transactional_id,
                state.error_code,
                state.transaction_state,
                state.producer_id,
                state.producer_epoch,
                state.transaction_timeout_ms
            ));
        }
    }
    Ok(text)
}

/// Where the cleaner has come to, by partition of the coordinator's log.
fn cleaned(logs: &Path) -> BTreeMap<String, i64> {
    let text = fs::read_to_string(logs.join("cleaner-offset-checkpoint")).unwrap_or_default();
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("__transaction_state "));
    let pairs = lines.filter_map(|line| line.split_once(' '));
    pairs
        .filter_map(|(partition, offset)| Some((partition.to_owned(), offset.parse().ok()?)))
        .collect()
}

/// Transactions that are open while the session is lost go on, and end.
fn over_a_lost_session(
    script: &mut Script,
    broker: &mut Broker,
    zookeeper: &ZooKeeper,
    flow: &mut Flow,
) -> Result<()> {
    cut_off::await_topics(script)?;
    let mut open = Vec::new();
    for id in ["k-added", "k-produced", "k-offsets"] {
        let given = script.init(id, 4, LONG_MS, (-1, -1))?;
        let producer = (given.producer_id, given.producer_epoch);
        script.add_to(id, producer, id, &[0, 1])?;
        if id != "k-added" {
            cut_off::produce(script, flow, id, producer, 0)?;
        }
        if id == "k-offsets" {
            cut_off::add_group(script, id, producer)?;
            cut_off::commit_offset(script, id, producer)?;
        }
        open.push((id, producer));
    }
    zookeeper.let_session_end(broker)?;
    script.reconnect(broker)?;
    cut_off::await_topics(script)?;
    for (id, producer) in &open {
        script.describe(&[id])?;
        cut_off::produce(script, flow, id, *producer, 1)?;
    }
    for (id, producer) in open {
        script.end(id, 3, producer, id != "k-produced")?;
        let mut text = String::new();
        script.until("stable offsets", |script| {
            text = cut_off::left(script, id)?;
            Ok(!text.contains("unstable"))
        })?;
        script.say(&format!("left of {id}"), &text);
        // The epoch of the coordinator is in the marker.
        flows::describe_producers(script, flow, id)?;
    }
    Ok(())
}

struct Run {
    maker: Maker,
    broker: Broker,
    zookeeper: ZooKeeper,
    transcript: Transcript,
}

impl Run {
    fn play(&mut self, base_time: i64) -> Result<()> {
        let told = environment::given::<usize>("TANDEM_IDS")?;
        let ids = ids(told.unwrap_or(200));
        let mut script = Script::start(&self.broker, 1)?;
        let mut flow = Flow::new(base_time);
        let lost = over_a_lost_session(&mut script, &mut self.broker, &self.zookeeper, &mut flow)
            .and_then(|()| refused::run(&mut script));
        if let Err(error) = lost {
            bail!(
                "{error:?}\n{}\n{}",
                script.text,
                self.broker.running()?.tail()
            );
        }
        let normaliser = Normaliser::new().pattern(
            r"transaction_start_time_ms: [0-9]+",
            "transaction_start_time_ms: <ms>",
        );
        self.transcript.lines(
            "a lost session, a log that takes nothing",
            &script.text,
            &normaliser,
        );

        transact(&mut script, &ids)?;
        let expected = described(&mut script, &ids)?;
        self.transcript.lines("many", &expected, &Normaliser::new());
        let logs = self.broker.log_directory();
        until("compaction", || {
            let cleaned = cleaned(&logs);
            Ok(cleaned.len() == PARTITIONS as usize && cleaned.values().all(|to| *to > 0))
        })?;
        let races = Script::start(&self.broker, 1)?;
        let outcomes = races::run(
            races,
            (&self.broker, self.maker),
            (environment::number("TANDEM_ROUNDS", 8)?, base_time),
        )?;
        println!("{:?}: {outcomes:#?}", self.maker);
        if told.is_some() {
            self.tell_of_a_start(&ids, &expected)?;
        }
        self.broker.stop()?;
        if self.maker == Maker::Ours {
            // Apache's own indexes do not always fit after a kill.
            dumps::sound(&logs)?;
        }
        let other = match self.maker {
            Maker::Apache => Maker::Ours,
            Maker::Ours => Maker::Apache,
        };
        self.broker.hand_over_to(other);
        self.broker.start_again()?;
        let mut script = Script::start(&self.broker, 1)?;
        let found = described(&mut script, &ids)?;
        ensure!(
            found == expected,
            "{other:?} reads\n{found}\nfor\n{expected}"
        );
        Ok(())
    }

    /// How long a start takes until all is loaded, and the memory after it.
    fn tell_of_a_start(&mut self, ids: &[String], expected: &str) -> Result<()> {
        self.broker.kill()?;
        self.zookeeper.wait_for_no_broker()?;
        let started = Instant::now();
        self.broker.start_again()?;
        let mut script = Script::start(&self.broker, 1)?;
        let found = described(&mut script, ids)?;
        let taken = started.elapsed();
        ensure!(found == expected, "after a kill\n{found}\nfor\n{expected}");
        let resident = self.broker.running()?.resident_bytes()? >> 20;
        println!(
            "{:?}: {taken:?} and {resident} MiB with {} ids",
            self.maker,
            ids.len()
        );
        Ok(())
    }
}

fn play(maker: Maker, base_time: i64) -> Result<Transcript> {
    let zookeeper = ZooKeeper::start(Maker::Ours)?;
    let bytes = environment::number("TANDEM_IDS", 200)? * 100;
    let config = format!("{CONFIG}transaction.state.log.segment.bytes={bytes}\n");
    let mut broker = Broker::prepare(maker, &zookeeper.connect(), &config)?;
    broker.start_again()?;
    let mut run = Run {
        maker,
        broker,
        zookeeper,
        transcript: Transcript::default(),
    };
    run.play(base_time).with_context(|| format!("{maker:?}"))?;
    Ok(run.transcript)
}

#[test]
fn many_transactions_outlive_compaction_a_lost_session_and_the_other_maker() -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    // Not so long ago that records or producers expire.
    let base_time = i64::try_from(now)? - 3_600_000;
    let (theirs, ours) = at_once::both(|maker| play(maker, base_time))?;
    compare::ensure_same(&theirs, &ours)
}
