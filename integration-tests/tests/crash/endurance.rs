//! Shell: producers, transactions, groups and copiers under load while the broker is killed again and again.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::ledger::clients::{Clients, EVERYTHING, PLAIN, SETTINGS, seed};
use integration_tests::ledger::dumps;
use integration_tests::stack::{Broker, Maker, ZooKeeper};

/// After so many kills everything is compared, and at the end.
const CHECK_EACH: u32 = 5;

/// How a broker ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Kill,
    Stop,
    /// Stands still until ZooKeeper takes it for dead, and goes on.
    Pause,
}

fn endures(actors: &str, end: End) -> Result<()> {
    let zookeeper = ZooKeeper::start(Maker::Ours)?;
    let mut broker = Broker::prepare(Maker::Ours, &zookeeper.connect(), SETTINGS)?;
    broker.start_again()?;
    let mut clients = Clients::start(&broker.bootstrap(), seed(), 5)?;
    clients.order(&format!("start {actors}"))?;
    for round in 1..=crate::rounds() {
        thread::sleep(Duration::from_millis(crate::random_delay_ms(round, 3000)));
        match end {
            End::Kill => broker.kill()?,
            End::Stop => {
                let code = broker.stop()?;
                ensure!(code == 0, "round {round}: ended with {code}");
            }
            End::Pause => zookeeper.let_session_end(&mut broker)?,
        }
        if end != End::Pause {
            broker.start_again()?;
        }
        if round % CHECK_EACH == 0 {
            let counts = clients.check(false);
            println!(
                "{:?}",
                counts.with_context(|| format!("after kill {round}"))?
            );
            clients.order("resume")?;
        }
    }
    println!("{:?}", clients.check(false).context("at the end")?);
    println!("{:#?}", clients.notes()?);
    // What ours leaves behind is sound in the eyes of Apache's tool, and Apache's broker goes on with it.
    let code = broker.stop()?;
    ensure!(code == 0, "ended with {code}");
    let files = dumps::sound(&broker.log_directory())?;
    println!("{files} files");
    zookeeper.wait_for_no_broker()?;
    broker.hand_over_to(Maker::Apache);
    broker.start_again()?;
    clients.order("resume")?;
    thread::sleep(Duration::from_secs(1));
    clients.check(false).context("on Apache's broker").map(drop)
}

#[test]
fn nothing_is_lost_doubled_or_half_done_when_the_broker_is_killed() -> Result<()> {
    endures(EVERYTHING, End::Kill)
}

#[test]
#[ignore = "a part of the one above, to find out which part fails"]
fn nothing_is_lost_without_transactions_when_the_broker_is_killed() -> Result<()> {
    endures(PLAIN, End::Kill)
}

/// Whoever is stopped cleanly answers what it has written: a producer need not repeat what no snapshot knows.
#[test]
#[ignore = "for a soak: clean stops are also a part of the interchange"]
fn nothing_is_lost_doubled_or_half_done_when_the_broker_is_stopped() -> Result<()> {
    endures(EVERYTHING, End::Stop)
}

/// Without a session the broker is no broker to the controller, and is elected again when it has one.
#[test]
#[ignore = "for a soak: each round waits until a session ends"]
fn nothing_is_lost_doubled_or_half_done_when_the_broker_loses_its_session() -> Result<()> {
    endures(EVERYTHING, End::Pause)
}
