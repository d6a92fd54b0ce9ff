//! Shell: deciding on many writes before any is applied comes to the same as one after the other.

use bytes::BytesMut;
use zk_server::state::apply::apply;
use zk_server::storage::log_file::put_entry;

use crate::dump::dump;
use crate::random::Random;
use crate::writes::Writes;
use crate::{empty_database, seeds};

#[test]
fn writes_decided_ahead_are_the_same_transactions() {
    for seed in seeds() {
        let (mut now, mut ahead) = (Random::new(seed), Random::new(seed));
        let mut chance = Random::new(seed + 1);
        let (mut one, mut many) = (empty_database(), empty_database());
        let (mut one_writes, mut many_writes) = (Writes::new(&one), Writes::new(&many));
        for _ in 0..60 {
            let count = 1 + chance.below(20);
            let mut decided = Vec::new();
            for _ in 0..count {
                let entry = one_writes.next(&mut one, &mut now);
                let outcome = apply(&mut one, &entry, 0, &mut Vec::new());
                decided.push((many_writes.next(&mut many, &mut ahead), entry, outcome));
            }
            for (ahead, expected, outcome) in decided {
                let bytes = |entry| {
                    let mut out = BytesMut::new();
                    put_entry(entry, &mut out);
                    out
                };
                let zxid = expected.header.zxid;
                assert_eq!(
                    bytes(&ahead),
                    bytes(&expected),
                    "0x{zxid:x}: {ahead:?}; SIM_SEED={seed} repeats it"
                );
                let applied = apply(&mut many, &ahead, 0, &mut Vec::new());
                assert_eq!(applied, outcome, "0x{zxid:x}; SIM_SEED={seed} repeats it");
            }
            assert_eq!(dump(&many), dump(&one), "SIM_SEED={seed} repeats it");
            assert!(many.pending.is_empty(), "something is left pending");
        }
    }
}
