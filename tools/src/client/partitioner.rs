//! Pure: which partition a record goes to (`BuiltInPartitioner.java`).

/// The partition of a key: Kafka's murmur2 hash without its sign, modulo the partitions.
#[must_use]
pub fn for_key(key: &[u8], partitions: i32) -> i32 {
    (murmur2(key) & 0x7fff_ffff) % partitions.max(1)
}

/// 32-bit murmur2 with Kafka's seed (`Utils.murmur2`).
#[must_use]
pub fn murmur2(data: &[u8]) -> i32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ data.len() as u32;
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    for (index, byte) in tail.iter().enumerate().rev() {
        hash ^= u32::from(*byte) << (8 * index);
    }
    if !tail.is_empty() {
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    (hash ^ (hash >> 15)).cast_signed()
}

/// The partition for records without key: the same until enough bytes went there.
#[derive(Debug, Clone, Default)]
pub struct Sticky {
    current: Option<i32>,
    bytes: usize,
}

impl Sticky {
    /// The partition for a record of this size. `candidates` are the partitions to choose from;
    /// `random` picks one of them when it is time for another.
    pub fn choose(
        &mut self,
        size: usize,
        switch_after: usize,
        candidates: &[i32],
        random: u32,
    ) -> i32 {
        let current = self.current.filter(|current| candidates.contains(current));
        let partition = match current {
            Some(partition) if self.bytes < switch_after => partition,
            _ => {
                self.bytes = 0;
                let count = candidates.len().max(1);
                candidates
                    .get(random as usize % count)
                    .copied()
                    .unwrap_or(0)
            }
        };
        self.current = Some(partition);
        self.bytes += size;
        partition
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_javas() {
        // Pairs from Kafka's own UtilsTest.testMurmur2.
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()), hash, "{key}");
        }
    }

    #[test]
    fn a_partition_sticks_until_it_is_full() {
        let mut sticky = Sticky::default();
        assert_eq!(sticky.choose(60, 100, &[3, 5], 0), 3);
        assert_eq!(sticky.choose(60, 100, &[3, 5], 1), 3);
        assert_eq!(sticky.choose(60, 100, &[3, 5], 1), 5);
        assert_eq!(sticky.choose(60, 100, &[7], 1), 7);
    }
}
