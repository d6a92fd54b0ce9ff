//! Pure: the tree's digest, by which servers notice that their trees differ.
//!
//! The digest is the wrapping sum, over all znodes outside `/zookeeper/`, of the CRC32 of path
//! (empty for the root), data and 60 bytes of Stat (DigestCalculator.java, AdHash.java).

use std::collections::VecDeque;

use common::zk::data::StatPersisted;

use crate::state::znode::Znode;

/// Version of the calculation, as it is written beside every digest.
pub const VERSION: i32 = 2;

const EXEMPT_PREFIX: &[u8] = b"/zookeeper/";

/// One znode's share of the digest.
pub fn of(node: &Znode) -> u32 {
    let (path_and_data, rest) = (node.path_and_data(), &[][..]);
    of_parts(node.path_len(), [path_and_data, rest], &node.stat)
}

/// The share that a znode will have; `path` is empty for the root.
pub fn of_node(path: &str, data: Option<&[u8]>, stat: &StatPersisted) -> u32 {
    let text = [path.as_bytes(), data.unwrap_or_default()];
    of_parts(path.len(), text, stat)
}

/// `text` is path and data, the path whole in its first part.
fn of_parts(path_len: usize, text: [&[u8]; 2], stat: &StatPersisted) -> u32 {
    if text[0][..path_len].starts_with(EXEMPT_PREFIX) {
        return 0;
    }
    let mut fields = [0_u8; 60];
    let longs = [stat.czxid, stat.mzxid, stat.pzxid, stat.ctime, stat.mtime];
    for (slot, value) in fields.chunks_exact_mut(8).zip(longs) {
        slot.copy_from_slice(&value.to_be_bytes());
    }
    let ints = [stat.version, stat.cversion, stat.aversion];
    for (slot, value) in fields[40..52].chunks_exact_mut(4).zip(ints) {
        slot.copy_from_slice(&value.to_be_bytes());
    }
    fields[52..].copy_from_slice(&stat.ephemeral_owner.to_be_bytes());

    let mut crc = crc32fast::Hasher::new();
    crc.update(text[0]);
    crc.update(text[1]);
    crc.update(&fields);
    crc.finalize()
}

/// One zxid in so many is kept with the digest of the tree after it.
const KEPT_EVERY: i64 = 128;

/// How many are kept.
const KEPT: usize = 1024;

/// Digests of the tree after certain transactions, the oldest first (DataTree.digestLog).
#[derive(Clone, Debug, Default)]
pub struct DigestHistory(VecDeque<(i64, u64)>);

impl DigestHistory {
    /// Whether the digest after this transaction is kept.
    pub fn keeps(zxid: i64) -> bool {
        zxid % KEPT_EVERY == 0
    }

    /// Adds one.
    pub fn add(&mut self, zxid: i64, digest: u64) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back((zxid, digest));
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Zxids and digests.
    pub fn iter(&self) -> impl Iterator<Item = (i64, u64)> {
        self.0.iter().copied()
    }
}
