//! Shell: golden records with bytes changed must be read or refused, never panic, and never
//! set aside more than they could hold. `TANDEM_FUZZ_ROUNDS` says how many changes a record
//! gets, `TANDEM_FUZZ_SEED` which.

#![allow(clippy::unwrap_used, reason = "this is a test")]

mod zk_frames;

use bytes::Bytes;
use zk_frames::{golden, names, recode};

/// What the whole test may add to the address space, in KiB: far below what a trusted hostile
/// count would ask for, far above what the records need.
const ALLOWED_KIB: u64 = 256 << 10;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

fn mutate(bytes: &[u8], random: &mut Random) -> Bytes {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        match random.below(5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random.next() as u8),
            2 if at + 4 <= bytes.len() => {
                let lengths = [i32::MAX, i32::MIN, -1, -2, 0, 1 << 20, bytes.len() as i32];
                let length = lengths[random.below(lengths.len())];
                bytes[at..at + 4].copy_from_slice(&length.to_be_bytes());
            }
            3 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            _ if at < bytes.len() => bytes[at] = random.next() as u8,
            _ => {}
        }
    }
    bytes.into()
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmPeak:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn changed_records_are_read_or_refused() {
    let seed = number("TANDEM_FUZZ_SEED", 1);
    let rounds = number("TANDEM_FUZZ_ROUNDS", 500);
    let before = peak_kib();
    let mut random = Random(seed);
    for name in names() {
        let bytes = golden(&name);
        for _ in 0..rounds {
            let changed = mutate(&bytes, &mut random);
            // Either is fine; a change need not be noticed.
            let _ = recode(&name, changed);
        }
    }
    let grown = peak_kib() - before;
    assert!(grown < ALLOWED_KIB, "{grown} KiB more address space");
}
