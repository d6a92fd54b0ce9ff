//! Pure: the newest offset of each key, in bounded memory (`SkimpyOffsetMap.java`).
//!
//! Keys are known by their MD5 hash only: 16 bytes, and 8 for the offset. Two keys of one hash would count as one, which does not
//! happen by chance. An entry is three words; hashes lie at the first free place from where their first word points.

use md5::{Digest, Md5};

/// Bytes of memory that one key takes.
pub const ENTRY_BYTES: u64 = 24;
const WORDS: usize = 3;

/// The newest offset of each key of a range of a log.
#[derive(Debug)]
pub struct OffsetMap {
    /// Per slot: hash, hash, offset + 1; an offset word of 0 means free.
    table: Vec<u64>,
    slots: usize,
    max_entries: usize,
    entries: usize,
    latest_offset: i64,
}

/// How many keys fit a buffer of `memory_bytes` that may be filled up to `load_factor`.
pub fn capacity(memory_bytes: u64, load_factor: f64) -> usize {
    // Apache's array is indexed by i32.
    let slots = (memory_bytes.min(i32::MAX as u64) / ENTRY_BYTES) as usize;
    let wanted = (slots as f64 * load_factor) as usize;
    wanted.min(slots.saturating_sub(1))
}

impl OffsetMap {
    /// An empty map for as many keys as fit `memory_bytes` filled up to `load_factor`. No more than `expected` keys come,
    /// so that a small log does not cost the whole buffer; memory that is not written is not used either.
    pub fn new(memory_bytes: u64, load_factor: f64, expected: u64) -> Self {
        let max_entries = capacity(memory_bytes, load_factor);
        let slots = (memory_bytes.min(i32::MAX as u64) / ENTRY_BYTES).max(2);
        let slots = slots.min(expected.saturating_add(expected / 2).saturating_add(16)) as usize;
        OffsetMap {
            table: vec![0; slots * WORDS],
            slots,
            max_entries: max_entries.min(slots - 1),
            entries: 0,
            latest_offset: -1,
        }
    }

    /// Notes that `key` is at `offset`, which rises from call to call; false, and nothing is noted, if the map is full.
    pub fn put(&mut self, key: &[u8], offset: i64) -> bool {
        if self.entries >= self.max_entries {
            return false;
        }
        let hash = hash(key);
        let at = self.slot_of(hash);
        let slot = &mut self.table[at..at + WORDS];
        if slot[2] == 0 {
            slot[0] = hash.0;
            slot[1] = hash.1;
            self.entries += 1;
        }
        // Spoiled batches may have any offset.
        slot[2] = (offset as u64).wrapping_add(1);
        self.latest_offset = offset;
        true
    }

    /// The newest offset of `key`; -1 if it is not there.
    pub fn get(&self, key: &[u8]) -> i64 {
        (self.table[self.slot_of(hash(key)) + 2] as i64).wrapping_sub(1)
    }

    /// Position of the hash's slot, or of the free one where it belongs. There is always a free one.
    fn slot_of(&self, hash: (u64, u64)) -> usize {
        // The upper part of the product: spreads evenly over any number of slots without a division.
        let mut slot = ((u128::from(hash.0) * self.slots as u128) >> 64) as usize;
        loop {
            let at = slot * WORDS;
            let entry = &self.table[at..at + WORDS];
            if entry[2] == 0 || (entry[0], entry[1]) == hash {
                return at;
            }
            slot = if slot + 1 == self.slots { 0 } else { slot + 1 };
        }
    }

    /// Offset up to which, inclusive, the map knows the log; -1 for none of it.
    pub fn latest_offset(&self) -> i64 {
        self.latest_offset
    }

    /// Notes that there are no more keys up to `offset`.
    pub fn set_latest_offset(&mut self, offset: i64) {
        self.latest_offset = offset;
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.entries
    }

    /// True without keys.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }
}

fn hash(key: &[u8]) -> (u64, u64) {
    let digest: [u8; 16] = Md5::digest(key).into();
    let word = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&digest[at..at + 8]);
        u64::from_be_bytes(bytes)
    };
    (word(0), word(8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest_offset_of_each_key_until_it_is_full() {
        let mut map = OffsetMap::new(24 * 1000, 0.9, 1_000_000);
        let key = |number: i64| number.to_be_bytes();
        for offset in 0..2000 {
            assert!(map.put(&key(offset % 500), offset));
        }
        for number in 0..500 {
            assert_eq!(map.get(&key(number)), 1500 + number);
        }
        assert_eq!(
            (map.len(), map.latest_offset(), map.get(b"no")),
            (500, 1999, -1)
        );
        let fit = (0..1000)
            .take_while(|n| map.put(&key(10_000 + n), 2000 + n))
            .count();
        // As in Apache's, a full map takes not even a key that it knows.
        assert_eq!((fit, map.len(), map.put(&key(1), 9000)), (400, 900, false));
        assert_eq!((map.get(&key(1)), map.latest_offset()), (1501, 2399));
    }

    #[test]
    fn small_logs_take_little_memory() {
        let mut map = OffsetMap::new(128 << 20, 0.9, 10);
        assert!(map.table.len() < 100);
        assert!((0..10).all(|offset: i64| map.put(&[offset as u8], offset)));
        assert_eq!(capacity(24 * 10, 1.5), 9);
    }

    #[test]
    fn offsets_at_the_edge_are_taken() {
        let mut map = OffsetMap::new(24 * 100, 0.9, 100);
        for offset in [i64::MIN, -2, i64::MAX] {
            assert!(map.put(&offset.to_be_bytes(), offset));
            assert_eq!(map.get(&offset.to_be_bytes()), offset);
        }
        assert!(map.put(b"free", -1));
        assert_eq!(map.get(b"free"), -1);
    }
}
