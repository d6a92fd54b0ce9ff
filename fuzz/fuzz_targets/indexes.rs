//! The files beside a segment from any bytes: offset index, time index, transaction index and producer snapshot. Lookups answer what a
//! plain walk over the entries finds, if these rise, and never panic. The first byte chooses the file and how far the segment is.
#![no_main]

use std::fs;
use std::sync::Arc;

use broker::log::offset_index::OffsetIndex;
use broker::log::partition_dir::PartitionDir;
use broker::log::producer_state::ProducerStates;
use broker::log::time_index::{TimeIndex, TimestampOffset};
use broker::log::txn_index::TxnIndex;
use libfuzzer_sys::fuzz_target;
use tandem_fuzz::mend_snapshot;

const BASES: [i64; 5] = [0, 96, i32::MAX as i64, i64::MAX - 10, i64::MAX];

thread_local! {
    static HOME: tempfile::TempDir = tempfile::tempdir().expect("a temporary directory can be made");
}

fn i32_at(bytes: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn offsets(dir: &Arc<PartitionDir>, base: i64, bytes: &[u8]) {
    fs::write(dir.file(base, ".index"), bytes).expect("it can be written");
    let Ok(index) = OffsetIndex::open(dir, base) else { return };
    let entries: Vec<(i32, i32)> =
        bytes.chunks_exact(8).map(|entry| (i32_at(entry, 0), i32_at(entry, 4))).collect();
    assert_eq!(index.file().len() as usize, entries.len());
    let last = index.last().expect("it can be read");
    let rising = entries.is_sorted() && entries.first().is_none_or(|entry| entry.0 >= 0 && entry.1 >= 0);
    let probes = entries.iter().map(|entry| base.saturating_add(entry.0.into()));
    for offset in probes.chain([i64::MIN, -1, 0, base, i64::MAX]) {
        let found = index.lookup(offset).expect("it can be read");
        let _ = index.first_offset_from(offset as u32);
        if rising && base < 1 << 40 {
            let below = entries.iter().rev().find(|entry| base + i64::from(entry.0) <= offset);
            let wanted = below.map_or((base, 0), |entry| (base + i64::from(entry.0), entry.1 as u32));
            assert_eq!((found.offset, found.position), wanted, "{offset} of {entries:?}");
        }
    }
    let middle = entries.get(entries.len() / 2).map_or(base, |entry| base.saturating_add(entry.0.into()));
    index.truncate_to(middle).expect("it can be cut");
    if rising && base < 1 << 40 && !entries.is_empty() {
        assert!(index.file().is_empty() || index.last().expect("it can be read").offset < middle);
        let next = last.offset + 1;
        if index.append(next, 7).is_ok() {
            assert_eq!(index.lookup(i64::MAX).expect("it can be read").offset, next);
        }
    }
}

fn times(dir: &Arc<PartitionDir>, base: i64, bytes: &[u8]) {
    fs::write(dir.file(base, ".timeindex"), bytes).expect("it can be written");
    let Ok(index) = TimeIndex::open(dir, base) else { return };
    let entries: Vec<(i64, i32)> = bytes
        .chunks_exact(12)
        .map(|entry| (i64::from_be_bytes(entry[..8].try_into().expect("eight bytes")), i32_at(entry, 8)))
        .collect();
    let rising = entries.is_sorted();
    for timestamp in entries.iter().map(|entry| entry.0).chain([i64::MIN, -1, 0, i64::MAX]) {
        let found = index.lookup(timestamp).expect("it can be read");
        if rising && base < 1 << 40 {
            let below = entries.iter().rev().find(|entry| entry.0 <= timestamp);
            let wanted = below.map_or((-1, base), |entry| (entry.0, base + i64::from(entry.1)));
            assert_eq!((found.timestamp, found.offset), wanted, "{timestamp} of {entries:?}");
        }
    }
    index.truncate_to(base.saturating_add(entries.len() as i64 / 2)).expect("it can be cut");
    let timestamp = i64::from(bytes.first().copied().unwrap_or(0));
    let _ = index.append_if_newer(TimestampOffset { timestamp, offset: base });
}

fn transactions(dir: &Arc<PartitionDir>, base: i64, bytes: &[u8]) {
    let path = dir.file(base, ".txnindex");
    fs::write(&path, bytes).expect("it can be written");
    let index = TxnIndex::new(dir, base);
    if index.check().is_err() {
        return;
    }
    let (mut all, mut some) = (Vec::new(), Vec::new());
    let _ = index.collect(i64::MIN, i64::MAX, &mut all);
    for aborted in &all {
        some.clear();
        let _ = index.collect(aborted.first_offset, aborted.last_offset, &mut some);
        assert!(some.iter().all(|found| all.contains(found)));
    }
    if let Some(middle) = all.get(all.len() / 2) {
        index.truncate_to(middle.last_offset).expect("it can be cut");
        some.clear();
        let _ = TxnIndex::new(dir, base).collect(i64::MIN, i64::MAX, &mut some);
        if all.is_sorted_by_key(|aborted| aborted.last_offset) {
            assert!(some.iter().all(|aborted| aborted.last_offset < middle.last_offset));
        }
        index.append(*middle).expect("it can be written");
    }
}

fn snapshot(mend: bool, bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    if mend {
        mend_snapshot(&mut bytes);
    }
    for (now_ms, expiration_ms) in [(0, i64::MAX), (1_700_000_000_000, 86_400_000)] {
        let Ok(mut states) = ProducerStates::from_snapshot(&bytes, 200, now_ms, expiration_ms) else { return };
        let written = states.to_snapshot();
        let again = ProducerStates::from_snapshot(&written, 200, now_ms, expiration_ms);
        assert_eq!(again.expect("what was written can be read").to_snapshot(), written);
        let _ = states.first_unstable_offset();
        states.on_high_watermark(100);
        states.on_log_start(50);
        states.remove_expired(now_ms, expiration_ms);
        let _ = states.first_unstable_offset();
        for entry in states.producers().values() {
            let _ = (entry.last_sequence(), entry.find_duplicate(entry.epoch, 0, 5));
            for batch in entry.batches.as_slice() {
                let _ = (batch.first_sequence(), batch.first_offset());
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let [form, rest @ ..] = data else { return };
    let base = BASES[usize::from(form >> 3) % BASES.len()];
    HOME.with(|home| {
        let dir = PartitionDir::new(home.path().to_owned());
        match form % 4 {
            0 => offsets(&dir, base, rest),
            1 => times(&dir, base, rest),
            2 => transactions(&dir, base, rest),
            _ => snapshot(form & 4 == 0, rest),
        }
    });
});
