//! Shell: one data directory under load, served by Apache's broker and ours in turn, stopped cleanly or killed.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::ledger::clients::{Clients, EVERYTHING, PLAIN, SETTINGS, seed};
use integration_tests::ledger::dumps;
use integration_tests::requests::Random;
use integration_tests::stack::{Broker, Maker, ZooKeeper};

/// How often the directory changes hands: few times in every run, more by `TANDEM_SOAK_ROUNDS`.
fn turns() -> u32 {
    let given = std::env::var("TANDEM_SOAK_ROUNDS").ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(3)
}

fn changes_hands(actors: &str) -> Result<()> {
    let mut random = Random::new(seed());
    let zookeeper = ZooKeeper::start(Maker::Ours)?;
    let mut broker = Broker::prepare(Maker::Apache, &zookeeper.connect(), SETTINGS)?;
    broker.start_again()?;
    let mut clients = Clients::start(&broker.bootstrap(), seed(), 1)?;
    clients.order(&format!("start {actors}"))?;
    let mut maker = Maker::Apache;
    let mut clean = true;
    for turn in 1..=turns() {
        thread::sleep(Duration::from_millis(1500 + random.below(2000)));
        // Ours always dies at least once, by the first change back.
        let kill = turn == 2 || random.below(2) == 0;
        clean &= !kill;
        if kill {
            broker.kill()?;
            zookeeper.wait_for_no_broker()?;
        } else {
            let code = broker.stop()?;
            ensure!(code == 0 || code == 143, "turn {turn}: ended with {code}");
            let files = dumps::sound(&broker.log_directory());
            println!(
                "{} files of {maker:?}",
                files.with_context(|| format!("turn {turn}: {maker:?}"))?
            );
        }
        maker = match maker {
            Maker::Apache => Maker::Ours,
            Maker::Ours => Maker::Apache,
        };
        broker.hand_over_to(maker);
        broker.start_again()?;
        let how = if kill { "killed" } else { "stopped" };
        let place = format!("turn {turn}: {maker:?} after the other was {how}");
        thread::sleep(Duration::from_millis(random.below(1500)));
        let counts = clients.check(clean).with_context(|| place.clone())?;
        println!("{place}: {counts:?}");
        clients.order("resume")?;
    }
    println!("{:#?}", clients.notes()?);
    Ok(())
}

#[test]
fn a_directory_under_load_goes_from_apaches_broker_to_ours_and_back() -> Result<()> {
    changes_hands(EVERYTHING)
}

#[test]
#[ignore = "a part of the one above, to find out which part fails"]
fn a_directory_without_transactions_goes_from_apaches_broker_to_ours_and_back() -> Result<()> {
    changes_hands(PLAIN)
}
