//! Records of `__consumer_offsets` from any bytes: keys, offsets, groups, and what a coordinator makes of them.
#![no_main]

use std::sync::Arc;

use broker::coordinator::group::load::{Loader, Placed};
use broker::coordinator::group::message::{GroupSettings, Now};
use broker::coordinator::group::records::{
    GroupKey, decode_group, decode_key, decode_offset, offset_record,
};
use broker::coordinator::replay::{Entry, replay};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut loader = Loader::default();
    // Pairs of a key and a value, each after its length in one byte; 255 is no value.
    let mut rest = data;
    let mut pieces = std::iter::from_fn(|| {
        let (length, tail) = rest.split_first()?;
        if *length == u8::MAX {
            rest = tail;
            return Some(None);
        }
        let (piece, tail) = tail.split_at(usize::from(*length).min(tail.len()));
        rest = tail;
        Some(Some(Bytes::copy_from_slice(piece)))
    });
    let mut batch_offset = 0;
    while let (Some(key), Some(value)) = (pieces.next(), pieces.next()) {
        let (Some(key), value) = (key, value) else {
            continue;
        };
        if let (Ok(GroupKey::Offset(group, at)), Some(Ok(offset))) =
            (decode_key(key.clone()), value.clone().map(decode_offset))
        {
            // What was read is written such that it is read again.
            let written = offset_record(&group, &at, &offset).expect("it fits");
            assert_eq!(
                decode_key(written.key).expect("it can be read"),
                GroupKey::Offset(group, at)
            );
            let again = decode_offset(written.value.expect("a value")).expect("it can be read");
            assert_eq!(
                (again.offset, again.metadata),
                (offset.offset, offset.metadata)
            );
        }
        if let Some(value) = value.clone() {
            let _ = decode_group(value);
        }
        let producer_id = (batch_offset % 3 == 2).then_some(7);
        let _ = loader.record(
            Placed {
                batch_offset,
                producer_id,
            },
            key,
            value,
        );
        batch_offset += 1;
    }
    loader.marker(7, batch_offset % 2 == 0);
    // The same bytes as batches.
    let mut visit = |entry: Entry<'_>| {
        if let Entry::Record {
            batch_offset,
            producer_id,
            key,
            value,
        } = entry
        {
            let value = value.map(Bytes::copy_from_slice);
            let _ = loader.record(
                Placed {
                    batch_offset,
                    producer_id,
                },
                Bytes::copy_from_slice(key),
                value,
            );
        }
    };
    let _ = replay(data, &mut visit, &mut |_, _| {});
    let settings = Arc::new(GroupSettings {
        min_session_timeout_ms: 6000,
        max_session_timeout_ms: 1_800_000,
        max_size: 2,
        initial_rebalance_delay_ms: 0,
        max_offset_metadata_size: 4096,
        offsets_retention_ms: 1000,
    });
    let now = Now {
        wall_ms: 1_700_000_000_000,
        mono_ms: 0,
    };
    for (mut group, _) in loader.finish(&settings, now) {
        let _ = group.summary();
        let _ = group.offsets().fetch(None, true);
        let _ = group.expire(now);
    }
});
