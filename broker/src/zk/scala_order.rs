//! Pure: the order in which Scala's and Java's maps list their keys, so that JSON comes out byte for
//! byte as the broker of Scala 2.13 writes it.
//!
//! Kafka hands maps to its JSON writer as they are; their order is a function of the keys alone:
//! - Scala's immutable map keeps up to four keys in insertion order, more in the order of a CHAMP trie
//!   (`scala/collection/immutable/HashMap.scala`);
//! - Scala's mutable map lists its buckets, each sorted by hash (`scala/collection/mutable/HashMap.scala`);
//! - `java.util.Properties` is a `ConcurrentHashMap` that starts with 16 bins.

/// `String.hashCode` of Java.
#[must_use]
pub fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    })
}

/// The folding that the bucket tables of Java and Scala share.
fn spread(hash: i32) -> u32 {
    let hash = hash.cast_unsigned();
    hash ^ (hash >> 16)
}

/// Orders the entries of an immutable Scala map; `entries` come in insertion order.
#[must_use]
pub fn immutable_map<T>(entries: Vec<(String, T)>) -> Vec<(String, T)> {
    if entries.len() <= 4 {
        return entries;
    }
    let entries = entries
        .into_iter()
        .map(|(key, value)| (improve(java_hash(&key)), (key, value)))
        .collect();
    let mut out = Vec::new();
    champ_node(entries, 0, &mut out);
    out
}

/// The hash that the immutable map distributes its keys by (`Hashing.improve`).
fn improve(hash: i32) -> u32 {
    let original = hash.cast_unsigned();
    let mut hash = original.wrapping_add(!(original << 9));
    hash ^= hash >> 14;
    hash = hash.wrapping_add(hash << 4);
    hash ^ (hash >> 10)
}

/// One trie level: keys that are alone under their five bits, ascending, then the deeper nodes.
fn champ_node<T>(entries: Vec<(u32, T)>, shift: u32, out: &mut Vec<T>) {
    if shift >= 32 {
        // Equal hashes: a collision node keeps insertion order.
        out.extend(entries.into_iter().map(|(_, entry)| entry));
        return;
    }
    let mut slots: Vec<Vec<(u32, T)>> = (0..32).map(|_| Vec::new()).collect();
    for entry in entries {
        let slot = (entry.0 >> shift) & 31;
        if let Some(slot) = slots.get_mut(slot as usize) {
            slot.push(entry);
        }
    }
    let (single, deeper): (Vec<_>, Vec<_>) = slots
        .into_iter()
        .filter(|slot| !slot.is_empty())
        .partition(|slot| slot.len() == 1);
    out.extend(single.into_iter().flatten().map(|(_, entry)| entry));
    for node in deeper {
        champ_node(node, shift + 5, out);
    }
}

/// Orders the entries of a mutable Scala map that began as a literal of `literal` keys (0 for an
/// empty one) and got the others one by one.
#[must_use]
pub fn mutable_map<T>(entries: Vec<(String, T)>, literal: usize) -> Vec<(String, T)> {
    let mut buckets = if literal == 0 {
        16
    } else {
        (((literal + 1) * 4) / 3).next_power_of_two()
    };
    for size in 0..entries.len() {
        if size + 1 >= buckets * 3 / 4 {
            buckets *= 2;
        }
    }
    let mut keyed: Vec<_> = entries
        .into_iter()
        .map(|entry| {
            let hash = spread(java_hash(&entry.0));
            ((hash as usize & (buckets - 1), hash.cast_signed()), entry)
        })
        .collect();
    keyed.sort_by_key(|(key, _)| *key);
    keyed.into_iter().map(|(_, entry)| entry).collect()
}

/// Orders the entries of a `java.util.Properties` filled in the given order.
#[must_use]
pub fn properties<T>(entries: Vec<(String, T)>) -> Vec<(String, T)> {
    let mut bins: Vec<Vec<(u32, (String, T))>> = (0..16).map(|_| Vec::new()).collect();
    let mut count = 0;
    for entry in entries {
        let hash = spread(java_hash(&entry.0)) & 0x7fff_ffff;
        let bin = hash as usize & (bins.len() - 1);
        if let Some(bin) = bins.get_mut(bin) {
            bin.push((hash, entry));
        }
        count += 1;
        if count >= bins.len() * 3 / 4 {
            bins = resize(bins);
        }
    }
    bins.into_iter().flatten().map(|(_, entry)| entry).collect()
}

/// `ConcurrentHashMap.transfer`: each bin splits in two; the longest tail that goes to one side is
/// kept in order, the nodes before it are put in front one by one.
fn resize<E>(bins: Vec<Vec<(u32, E)>>) -> Vec<Vec<(u32, E)>> {
    let half = bins.len();
    let mut low_bins = Vec::with_capacity(half * 2);
    let mut high_bins = Vec::with_capacity(half);
    for bin in bins {
        let is_high = |node: &(u32, E)| node.0 as usize & half != 0;
        let tail_side = bin.last().is_some_and(is_high);
        let tail_start = bin
            .iter()
            .rposition(|node| is_high(node) != tail_side)
            .map_or(0, |at| at + 1);
        let (mut low, mut high) = (Vec::new(), Vec::new());
        let mut head = bin;
        let tail = head.split_off(tail_start);
        for node in head.into_iter().rev() {
            if is_high(&node) {
                high.push(node)
            } else {
                low.push(node)
            }
        }
        if tail_side {
            high.extend(tail)
        } else {
            low.extend(tail)
        }
        low_bins.push(low);
        high_bins.push(high);
    }
    low_bins.extend(high_bins);
    low_bins
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(entries: Vec<(String, ())>) -> Vec<String> {
        entries.into_iter().map(|(key, ())| key).collect()
    }

    fn entries(keys: &[&str]) -> Vec<(String, ())> {
        keys.iter().map(|key| ((*key).to_string(), ())).collect()
    }

    #[test]
    fn four_keys_stay_and_five_are_a_trie() {
        let four = ["version", "brokerid", "timestamp", "kraftControllerEpoch"];
        assert_eq!(keys(immutable_map(entries(&four))), four);
        let five = [
            "version",
            "leader",
            "leader_epoch",
            "controller_epoch",
            "isr",
        ];
        let sorted = [
            "controller_epoch",
            "leader",
            "version",
            "leader_epoch",
            "isr",
        ];
        assert_eq!(keys(immutable_map(entries(&five))), sorted);
    }

    #[test]
    fn twelve_partitions_make_a_table_of_32() {
        let names: Vec<String> = (0..12).map(|n| n.to_string()).collect();
        let given: Vec<_> = names.iter().map(|name| (name.clone(), ())).collect();
        let sorted = keys(mutable_map(given, 0));
        assert_eq!(
            sorted,
            ["11", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"]
        );
    }
}
