//! Tests of the producers' state: sequences, epochs, duplicates, transactions, snapshots.

use kafka_wire::records::batch::BatchHeader;
use kafka_wire::records::control::{ControlType, EndTransactionMarker};

use crate::log::producer_state::{AppendOrigin, ProducerBatch, ProducerError, ProducerStates};
use crate::log::verification::{Verification, Verifications};

const CLIENT: AppendOrigin = AppendOrigin::Client;

/// A batch of producer 1 at `offset` with sequences `first..=last`.
fn batch(offset: i64, epoch: i16, first: i32, last: i32) -> ProducerBatch {
    let header = BatchHeader {
        base_offset: offset,
        length: 100,
        partition_leader_epoch: 0,
        crc: 0,
        attributes: 0,
        last_offset_delta: (i64::from(last) - i64::from(first)).rem_euclid(1 << 31) as i32,
        base_timestamp: 0,
        max_timestamp: 1000 + offset,
        producer_id: 1,
        producer_epoch: epoch,
        base_sequence: first,
        record_count: 1,
    };
    ProducerBatch {
        header,
        marker: None,
    }
}

fn of_producer(mut batch: ProducerBatch, producer_id: i64) -> ProducerBatch {
    batch.header.producer_id = producer_id;
    batch
}

fn transactional(mut batch: ProducerBatch) -> ProducerBatch {
    batch.header.attributes |= 0x10;
    batch
}

fn marker(offset: i64, epoch: i16, coordinator_epoch: i32, kind: ControlType) -> ProducerBatch {
    let mut batch = batch(offset, epoch, -1, -1);
    batch.header.attributes |= 0x30;
    batch.header.last_offset_delta = 0;
    batch.marker = Some(EndTransactionMarker {
        control_type: kind,
        coordinator_epoch,
    });
    batch
}

fn append(
    states: &mut ProducerStates,
    batch: ProducerBatch,
    origin: AppendOrigin,
) -> Result<Option<i64>, ProducerError> {
    let changes = match origin {
        AppendOrigin::Replication => states.check([batch], origin)?,
        _ => states.check_append(&batch, origin, Verification::Off, None)?,
    };
    if let Some(duplicate) = changes.duplicate() {
        return Ok(Some(duplicate.first_offset()));
    }
    states.apply(changes, batch.header.next_offset());
    Ok(None)
}

#[test]
fn sequences() {
    let mut states = ProducerStates::new(0);
    // A producer that is not known may start anywhere.
    assert_eq!(append(&mut states, batch(0, 0, 7, 9), CLIENT), Ok(None));
    for (first, last) in [(11, 11), (9, 12), (8, 9), (0, 0)] {
        let error = append(&mut states, batch(3, 0, first, last), CLIENT).unwrap_err();
        assert!(matches!(
            error,
            ProducerError::OutOfOrderSequence { last: 9, .. }
        ));
    }
    // The last five are known again, older ones are not.
    for i in 0..5 {
        append(
            &mut states,
            batch(3 + i64::from(i), 0, 10 + i, 10 + i),
            CLIENT,
        )
        .unwrap();
    }
    assert_eq!(
        append(&mut states, batch(99, 0, 10, 10), CLIENT),
        Ok(Some(3))
    );
    assert!(append(&mut states, batch(99, 0, 7, 9), CLIENT).is_err());
    // Coordinators do not count.
    assert_eq!(
        append(&mut states, batch(20, 0, -1, -1), AppendOrigin::Coordinator),
        Ok(None)
    );
}

#[test]
fn sequences_wrap_to_zero() {
    let mut states = ProducerStates::new(0);
    append(&mut states, batch(0, 0, i32::MAX - 1, 0), CLIENT).unwrap();
    assert_eq!(
        append(&mut states, batch(9, 0, i32::MAX - 1, 0), CLIENT),
        Ok(Some(0))
    );
    assert_eq!(append(&mut states, batch(3, 0, 1, 1), CLIENT), Ok(None));
    let mut states = ProducerStates::new(0);
    append(&mut states, batch(0, 0, i32::MAX, i32::MAX), CLIENT).unwrap();
    assert_eq!(append(&mut states, batch(1, 0, 0, 0), CLIENT), Ok(None));
}

#[test]
fn epochs() {
    let mut states = ProducerStates::new(0);
    append(&mut states, batch(0, 3, 0, 4), CLIENT).unwrap();
    let error = append(&mut states, batch(5, 2, 5, 5), CLIENT).unwrap_err();
    assert_eq!(
        error,
        ProducerError::InvalidEpoch {
            producer_id: 1,
            epoch: 2,
            current: 3
        }
    );
    assert!(
        append(&mut states, batch(5, 4, 5, 5), CLIENT).is_err(),
        "a new epoch starts at 0"
    );
    assert_eq!(append(&mut states, batch(5, 4, 0, 0), CLIENT), Ok(None));
    // A leader's records are taken as they are.
    assert_eq!(
        append(&mut states, batch(6, 2, 9, 9), AppendOrigin::Replication),
        Ok(None)
    );
}

#[test]
fn transactions_move_the_first_unstable_offset() {
    let mut states = ProducerStates::new(0);
    append(&mut states, transactional(batch(10, 0, 0, 0)), CLIENT).unwrap();
    append(
        &mut states,
        of_producer(transactional(batch(11, 0, 0, 0)), 2),
        CLIENT,
    )
    .unwrap();
    append(&mut states, transactional(batch(12, 0, 1, 1)), CLIENT).unwrap();
    assert_eq!(states.first_unstable_offset(), Some(10));
    let error = append(&mut states, batch(13, 0, 2, 2), CLIENT).unwrap_err();
    assert_eq!(error, ProducerError::NotTransactional { producer_id: 1 });
    let abort = marker(13, 0, 5, ControlType::Abort);
    let changes = states.check([abort], AppendOrigin::Coordinator).unwrap();
    let completed = states.apply(changes, 14);
    assert_eq!(completed.len(), 1);
    let (txn, last_stable) = completed[0];
    assert_eq!(
        (txn.first_offset, txn.last_offset, txn.aborted),
        (10, 13, true)
    );
    assert_eq!(last_stable, 11, "producer 2 is still at work");
    // Ended, but only settled once the marker is replicated.
    assert_eq!(states.first_unstable_offset(), Some(10));
    assert!(!states.on_high_watermark(13));
    assert!(states.on_high_watermark(14));
    assert_eq!(states.first_unstable_offset(), Some(11));
    let zombie = marker(14, 0, 4, ControlType::Commit);
    let error = states
        .check([zombie], AppendOrigin::Coordinator)
        .unwrap_err();
    assert_eq!(
        error,
        ProducerError::CoordinatorFenced {
            producer_id: 1,
            epoch: 4,
            current: 5
        }
    );
    // A marker without a transaction, as a coordinator may repeat it, completes nothing.
    let again = states.check(
        [marker(14, 1, 5, ControlType::Abort)],
        AppendOrigin::Coordinator,
    );
    assert!(states.apply(again.unwrap(), 15).is_empty());
    assert!(
        append(&mut states, batch(15, 1, 3, 3), CLIENT).is_err(),
        "the epoch was bumped"
    );
    assert_eq!(append(&mut states, batch(15, 1, 0, 0), CLIENT), Ok(None));
}

#[test]
fn a_transaction_begins_only_with_the_guard_of_its_question() {
    let mut states = ProducerStates::new(0);
    let mut open = Verifications::default();
    let first = transactional(batch(0, 0, 5, 5));
    let check = |states: &ProducerStates, open: &Verifications, batch, guard| {
        let verification = Verification::Required(guard);
        states.check_append(batch, CLIENT, verification, open.get(1))
    };
    let unverified = ProducerError::NotVerified { producer_id: 1 };
    assert_eq!(check(&states, &open, &first, 0).unwrap_err(), unverified);
    let guard = open.begin(1, 5, 0, 0);
    assert_eq!(check(&states, &open, &first, 0).unwrap_err(), unverified);
    assert_eq!(
        check(&states, &open, &first, guard + 1).unwrap_err(),
        unverified
    );
    // Whatever its transaction, a later batch must not overtake the one that is being verified.
    let later = batch(0, 0, 6, 6);
    assert_eq!(
        check(&states, &open, &later, 0).unwrap_err(),
        ProducerError::AboveUnverified {
            producer_id: 1,
            incoming: 6,
            lowest: 5
        }
    );
    let changes = check(&states, &open, &first, guard).unwrap();
    states.apply(changes, 1);
    open.settle(1);
    // Within the transaction nothing more is asked.
    let second = transactional(batch(1, 0, 6, 6));
    assert!(check(&states, &open, &second, 0).is_ok());
    // A marker needs no guard, and what comes behind it needs a new one.
    let commit = marker(1, 0, 0, ControlType::Commit);
    let off = Verification::Required(0);
    let changes = states
        .check_append(&commit, AppendOrigin::Coordinator, off, None)
        .unwrap();
    assert_eq!(states.apply(changes, 2).len(), 1);
    let third = transactional(batch(2, 0, 6, 6));
    assert_eq!(
        check(&states, &open, &third, guard).unwrap_err(),
        unverified
    );
}

#[test]
fn snapshots_keep_the_last_batch_and_open_transactions() {
    let mut states = ProducerStates::new(0);
    append(&mut states, batch(0, 0, 0, 4), CLIENT).unwrap();
    append(
        &mut states,
        of_producer(transactional(batch(5, 7, 0, 1)), 2),
        CLIENT,
    )
    .unwrap();
    let bytes = states.to_snapshot();
    let read = |now| ProducerStates::from_snapshot(&bytes, 7, now, 1000).unwrap();
    let mut loaded = read(1500);
    assert_eq!(
        (loaded.end_offset(), loaded.first_unstable_offset()),
        (7, Some(5))
    );
    assert_eq!(append(&mut loaded, batch(9, 0, 0, 4), CLIENT), Ok(Some(0)));
    assert_eq!(loaded.producers()[&2].epoch, 7);
    // Silent producers expire, except within a transaction.
    let loaded = read(9_000);
    assert_eq!(loaded.producers().keys().collect::<Vec<_>>(), [&2]);
    states.remove_expired(9_000, 1000);
    assert_eq!(states.producers().keys().collect::<Vec<_>>(), [&2]);
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert!(
            ProducerStates::from_snapshot(&damaged, 7, 0, 1000).is_err(),
            "byte {at}"
        );
        assert!(ProducerStates::from_snapshot(&bytes[..at], 7, 0, 1000).is_err());
    }
}
