//! Shell: transactions in every state that a coordinator may find in its log, and what it makes of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use kafka_wire::message::encode_versioned;
use kafka_wire::messages::transaction_log_record::{
    PartitionsSchema, TransactionLogKey, TransactionLogValue,
};
use kafka_wire::records::batch::Batches;
use kafka_wire::records::batch_builder::{BatchBuilder, BatchBuilderOptions};

use super::PARTITIONS;
use super::script::{LONG_MS, Script};

/// States that are found in the log: id, value, version of the value.
fn states() -> Vec<(&'static str, Option<(i16, TransactionLogValue)>)> {
    let topic = |name: &'static str, ids: &[i32]| PartitionsSchema {
        topic: name.into(),
        partition_ids: ids.to_vec(),
    };
    let value = |producer_id: i64, epoch: i16, status: i8, partitions| TransactionLogValue {
        producer_id,
        producer_epoch: epoch,
        transaction_timeout_ms: LONG_MS,
        transaction_status: status,
        transaction_partitions: partitions,
        // So that nothing times out, and nothing expires.
        transaction_last_update_timestamp_ms: 4_000_000_000_000,
        transaction_start_timestamp_ms: if status == 0 { -1 } else { 4_000_000_000_000 },
    };
    // None that is looked at later: when Apache's broker loads a decision before it has heard of the partitions, it takes
    // them for deleted and writes no marker.
    let here = || Some(vec![topic("a", &[0, 1]), topic("b", &[0])]);
    let gone = || Some(vec![topic("nothere", &[0]), topic("a", &[1, 9])]);
    vec![
        ("s-empty", Some((0, value(5001, 3, 0, None)))),
        ("s-empty-flexible", Some((1, value(5002, 3, 0, None)))),
        ("s-ongoing", Some((0, value(5003, 0, 1, here())))),
        ("s-ongoing-flexible", Some((1, value(5004, 0, 1, here())))),
        ("s-prepare-commit", Some((0, value(5005, 1, 2, here())))),
        ("s-prepare-abort", Some((0, value(5006, 2, 3, here())))),
        (
            "s-prepare-commit-gone",
            Some((0, value(5007, 1, 2, gone()))),
        ),
        (
            "s-prepare-nothing",
            Some((0, value(5008, 1, 3, Some(vec![])))),
        ),
        ("s-committed", Some((0, value(5009, 7, 4, Some(vec![]))))),
        ("s-aborted", Some((0, value(5010, 7, 5, Some(vec![]))))),
        (
            "s-nearly-exhausted",
            Some((0, value(5011, 32_764, 0, None))),
        ),
        (
            "s-exhausted",
            Some((0, value(5012, 32_766, 4, Some(vec![])))),
        ),
        (
            "s-exhausted-ongoing",
            Some((0, value(5013, 32_766, 1, here()))),
        ),
        ("s-replaced", Some((0, value(5014, 0, 1, here())))),
        ("s-replaced", Some((0, value(5014, 5, 0, None)))),
        ("s-deleted", Some((0, value(5015, 0, 0, None)))),
        ("s-deleted", None),
        ("s-dead", Some((0, value(5016, 0, 6, Some(vec![]))))),
        ("s-fencing", Some((0, value(5017, 0, 7, here())))),
    ]
}

/// Writes states into the logs of a broker that is stopped, each as the coordinator of its partition would have.
pub fn plant(logs: &Path) -> Result<()> {
    let mut batches: BTreeMap<i32, BatchBuilder> = BTreeMap::new();
    for (id, value) in states() {
        let partition = partition_of(id);
        let path = logs.join(format!(
            "__transaction_state-{partition}/00000000000000000000.log"
        ));
        let builder = match batches.get_mut(&partition) {
            Some(builder) => builder,
            None => {
                let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
                let mut next = 0;
                for batch in Batches::new(&bytes) {
                    next = batch?.header.next_offset();
                }
                let options = BatchBuilderOptions {
                    base_offset: next,
                    partition_leader_epoch: 0,
                    ..BatchBuilderOptions::default()
                };
                batches
                    .entry(partition)
                    .or_insert(BatchBuilder::new(options))
            }
        };
        let key = TransactionLogKey {
            transactional_id: id.into(),
        };
        let key = encode_versioned(&key, 0)?;
        let value = match value {
            Some((version, value)) => Some(encode_versioned(&value, version)?),
            None => None,
        };
        builder.append(1_700_000_000_000, Some(&key), value.as_deref());
    }
    for (partition, mut builder) in batches {
        // A key of a version that is not known is passed over.
        builder.append(1_700_000_000_000, Some(&[0, 9, 1, 2]), Some(&[0, 0]));
        let path = logs.join(format!(
            "__transaction_state-{partition}/00000000000000000000.log"
        ));
        let mut bytes = fs::read(&path)?;
        bytes.extend_from_slice(&builder.build());
        fs::write(&path, bytes)?;
    }
    // So that both brokers look at what was added.
    fs::remove_file(logs.join(".kafka_cleanshutdown"))?;
    Ok(())
}

/// `Utils.abs(id.hashCode) % partitions`
fn partition_of(id: &str) -> i32 {
    let hash = id.encode_utf16().fold(0_i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(unit.into())
    });
    if hash == i32::MIN {
        0
    } else {
        hash.abs() % PARTITIONS
    }
}

/// Asks about all of them, and goes on from each.
pub fn on_planted_states(script: &mut Script) -> Result<()> {
    let mut ids: Vec<&str> = states().iter().map(|(id, _)| *id).collect();
    ids.dedup();
    for id in &ids {
        script.settle(id)?;
    }
    script.describe(&ids)?;
    script.list(&[], &[])?;
    for (id, value) in states() {
        let Some((_, value)) = value else { continue };
        let stored = (value.producer_id, value.producer_epoch);
        if matches!(value.transaction_status, 6 | 7) {
            // No broker writes these; Apache's breaks off with an exception.
            continue;
        }
        script.add(id, 4, stored, true)?;
        script.end(id, 3, (stored.0, stored.1 - 1), true)?;
        script.end(id, 3, (stored.0, stored.1.wrapping_add(1)), true)?;
        script.end(id, 3, stored, value.producer_id % 2 == 0)?;
        script.end(id, 3, stored, value.producer_id % 2 == 1)?;
        script.describe(&[id])?;
        // Fences what is still open, then bumps; again with what was given out, and with what was before that.
        for _ in 0..2 {
            script.init(id, 4, LONG_MS, (-1, -1))?;
        }
        let newest = script.known.get(id).and_then(|known| known.last()).copied();
        let Some(newest) = newest else { continue };
        script.init(id, 4, LONG_MS, newest)?;
        script.init(id, 4, LONG_MS, newest)?;
        script.init(id, 4, LONG_MS, stored)?;
        script.init(id, 3, LONG_MS, stored)?;
        script.describe(&[id])?;
    }
    Ok(())
}
