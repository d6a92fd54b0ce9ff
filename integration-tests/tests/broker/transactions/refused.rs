//! Shell: what a coordinator makes of it that its log takes nothing for a while: who is fenced stays fenced, and all goes
//! on from where it was.

use anyhow::{Context, Result, ensure};
use kafka_wire::messages::describe_transactions::DescribeTransactionsRequest;
use kafka_wire::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use kafka_wire::messages::init_producer_id::InitProducerIdRequest;

use super::script::{LONG_MS, Script};

const TOPIC: i8 = 2;
const SET: i8 = 0;
/// What clients are told when a record of the coordinator's own is too large for its log.
const UNKNOWN_SERVER_ERROR: i16 = -1;
/// One id for each partition of the coordinator's log, by which it shows whether it takes anything.
const PROBES: [&str; 3] = ["x0", "x1", "x2"];
const IDS: [&str; 5] = ["r-new", "r-empty", "r-open", "r-fence", "r-late"];

/// Plays it.
pub fn run(script: &mut Script) -> Result<()> {
    takes(script, true)?;
    let empty = begun(script, "r-empty", LONG_MS, &[])?;
    let open = begun(script, "r-open", LONG_MS, &[0])?;
    let fenced = begun(script, "r-fence", LONG_MS, &[1])?;
    takes(script, false)?;
    while_it_takes_nothing(script, [empty, open, fenced])?;
    takes(script, true)?;
    script.until("the abort", |script| {
        Ok(!state(script, "r-late")?.contains("Ongoing"))
    })?;
    for id in IDS {
        script.settle(id)?;
    }
    script.describe(&IDS)?;
    script.add_to("r-empty", empty, "a", &[2])?;
    script.end("r-empty", 3, empty, false)?;
    script.end("r-open", 3, open, true)?;
    for id in IDS {
        for _ in 0..2 {
            script.init(id, 4, LONG_MS, (-1, -1))?;
        }
    }
    script.describe(&IDS)
}

fn while_it_takes_nothing(
    script: &mut Script,
    [empty, open, fenced]: [(i64, i16); 3],
) -> Result<()> {
    for version in [4, 0] {
        script.init("r-new", version, LONG_MS, (-1, -1))?;
        script.init("r-empty", version, LONG_MS, (-1, -1))?;
    }
    script.init("r-empty", 4, LONG_MS, empty)?;
    script.add_to("r-empty", empty, "a", &[0])?;
    script.add_offsets("r-empty", 3, empty, "g0")?;
    script.end("r-empty", 3, empty, true)?;
    script.add_to("r-open", open, "a", &[0])?;
    script.add_to("r-open", open, "a", &[0, 1])?;
    for commit in [true, false] {
        script.decide("r-open", 3, open, commit)?;
    }
    script.describe(&IDS)?;
    // Each takes the epoch away, the same one; that is not in the log.
    for _ in 0..3 {
        script.init("r-fence", 4, LONG_MS, (-1, -1))?;
    }
    script.describe(&["r-fence"])?;
    for producer in [fenced, (fenced.0, fenced.1 + 1)] {
        script.add_to("r-fence", producer, "a", &[1])?;
        script.decide("r-fence", 3, producer, true)?;
    }
    script.init("r-fence", 4, LONG_MS, fenced)?;
    script.describe(&["r-fence"])
}

/// A producer, and its transaction if there are partitions in it.
fn begun(script: &mut Script, id: &str, timeout_ms: i32, partitions: &[i32]) -> Result<(i64, i16)> {
    let given = script.init(id, 4, timeout_ms, (-1, -1))?;
    let producer = (given.producer_id, given.producer_epoch);
    if !partitions.is_empty() {
        script.add_to(id, producer, "a", partitions)?;
    }
    Ok(producer)
}

/// Has the coordinator's log take records, or find each too large, and waits until it does.
fn takes(script: &mut Script, takes: bool) -> Result<()> {
    if !takes {
        // Its time is over only when nothing can be written any more, on any machine.
        let late = begun(script, "r-late", 3000, &[2])?;
        ensure!(late.0 >= 0, "no producer");
    }
    let max_bytes = if takes { "1000000" } else { "10" };
    let request = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: TOPIC,
            resource_name: "__transaction_state".into(),
            configs: vec![AlterableConfig {
                name: "max.message.bytes".into(),
                config_operation: SET,
                value: Some(max_bytes.into()),
            }],
        }],
        validate_only: false,
    };
    let answer = script.ask(1, &request)?;
    let mut answers = answer.responses.iter();
    ensure!(answers.all(|one| one.error_code == 0), "{answer:?}");
    let expected = if takes { 0 } else { UNKNOWN_SERVER_ERROR };
    for id in PROBES {
        let request = InitProducerIdRequest {
            transactional_id: Some(id.into()),
            transaction_timeout_ms: LONG_MS,
            producer_id: -1,
            producer_epoch: -1,
        };
        script.until("the change", |script| {
            Ok(script.ask(4, &request)?.error_code == expected)
        })?;
    }
    if !takes {
        script.until("a fence that is not written", |script| {
            Ok(state(script, "r-late")?.contains("epoch 1"))
        })?;
    }
    Ok(())
}

fn state(script: &mut Script, id: &str) -> Result<String> {
    let request = DescribeTransactionsRequest {
        transactional_ids: vec![id.into()],
    };
    let answer = script.ask(0, &request)?;
    let state = answer.transaction_states.first().context("no state")?;
    Ok(format!(
        "{} epoch {}",
        state.transaction_state, state.producer_epoch
    ))
}
