//! Pure: the identities of one connection, in ZooKeeper's order.
//!
//! The real server keeps them in a hash set, and `auth` in an ACL becomes all of them in the
//! order of that set: for the same ACLs to be stored, they are kept in that order here.

use std::rc::Rc;

use common::zk::data::Id;

/// Buckets of Java's ConcurrentHashMap, as long as it holds fewer than 12 entries.
const BUCKETS: u32 = 16;

/// Adds an identity, once.
pub fn add(ids: &mut Rc<[Id]>, id: Id) {
    if ids.contains(&id) {
        return;
    }
    let mut all = ids.to_vec();
    all.push(id);
    // Stable: those of one bucket stay in the order in which they came.
    all.sort_by_key(bucket);
    *ids = Rc::from(all);
}

fn bucket(id: &Id) -> u32 {
    // The hash of a jute record, spread as the map does it.
    let hash = [&id.scheme, &id.id].iter().fold(17_i32, |hash, text| {
        hash.wrapping_mul(37).wrapping_add(hash_of(text))
    });
    let hash = hash as u32;
    (hash ^ (hash >> 16)) % BUCKETS
}

/// Java's `String.hashCode`.
fn hash_of(text: &str) -> i32 {
    text.encode_utf16().fold(0_i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn string_hashes_are_javas() {
        assert_eq!(hash_of("digest"), -1_331_913_276);
        assert_eq!(hash_of(""), 0);
    }

    #[test]
    fn an_identity_is_there_once() {
        let mut ids: Rc<[Id]> = Rc::from([Id::new("ip", "127.0.0.1")]);
        for user in ["a", "b", "a"] {
            add(&mut ids, Id::new("digest", user));
        }
        assert_eq!(ids.len(), 3);
    }
}
