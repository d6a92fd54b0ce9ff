//! Pure: one znode and the meaning of its `ephemeralOwner`.

use common::zk::data::{Stat, StatPersisted};

use crate::state::nodes::NodeId;

/// `ephemeralOwner` of every container znode (EphemeralType.java).
pub const CONTAINER_OWNER: i64 = i64::MIN;

/// Longest time to live of a TTL znode in milliseconds: 40 bits (EphemeralType.java).
pub const MAX_TTL_MS: i64 = 0xff_ffff_ffff;

/// Largest server id that leaves room for the mark of TTL znodes.
pub const MAX_EXTENDED_SERVER_ID: i64 = 0xfe;

const EXTENDED_MASK: i64 = 0xff00_0000_0000_0000_u64 as i64;
const EXTENDED_FEATURE_MASK: i64 = 0x00ff_ff00_0000_0000;

/// Which owners mean a time to live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExtendedTypes {
    /// None: there are no TTL znodes, and their owners are session ids.
    #[default]
    Off,
    /// `extendedTypesEnabled`: those that begin with 0xff.
    On,
    /// `emulate353TTLNodes` as well: all negative ones, as ZooKeeper 3.5.3 had them.
    Emulate353,
}

/// What an `ephemeralOwner` says about the life of its znode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Lives until somebody deletes it.
    Persistent,
    /// Lives as long as this session.
    Session(i64),
    /// Goes when its last child has gone.
    Container,
    /// Goes when it has no children and has not changed for this many milliseconds.
    Ttl(i64),
}

impl Lifetime {
    /// Reads an owner.
    pub fn of(owner: i64, extended: ExtendedTypes) -> Self {
        let is_ttl = match extended {
            ExtendedTypes::Off => false,
            ExtendedTypes::On => is_marked(owner),
            ExtendedTypes::Emulate353 => {
                is_marked(owner) || (owner < 0 && owner != CONTAINER_OWNER)
            }
        };
        if is_ttl {
            return Self::Ttl(owner & MAX_TTL_MS);
        }
        match owner {
            CONTAINER_OWNER => Self::Container,
            0 => Self::Persistent,
            session => Self::Session(session),
        }
    }

    /// The owner that a znode of this kind is stored with.
    pub fn owner(self) -> i64 {
        match self {
            Self::Persistent => 0,
            Self::Session(id) => id,
            Self::Container => CONTAINER_OWNER,
            Self::Ttl(ttl_ms) => EXTENDED_MASK | ttl_ms,
        }
    }
}

/// Whether an owner has the mark of TTL znodes.
fn is_marked(owner: i64) -> bool {
    owner & EXTENDED_MASK == EXTENDED_MASK && owner & EXTENDED_FEATURE_MASK == 0
}

/// The Stat of a znode that `zxid` creates at `time_ms`.
pub fn created_stat(zxid: i64, time_ms: i64, ephemeral_owner: i64) -> StatPersisted {
    StatPersisted {
        czxid: zxid,
        mzxid: zxid,
        pzxid: zxid,
        ctime: time_ms,
        mtime: time_ms,
        ephemeral_owner,
        ..StatPersisted::default()
    }
}

/// One znode. Fields are ordered and sized for the memory that millions of them take.
#[derive(Debug)]
pub struct Znode {
    /// Stored part of the Stat.
    pub stat: StatPersisted,
    /// Key in the ACL cache; -1 is world:anyone with all permissions.
    pub acl: i64,
    /// Path and data, in one block.
    text: Box<[u8]>,
    path_len: u32,
    /// CRC32 of path, data and Stat: this znode's share of the tree's digest.
    pub digest: u32,
    // Boxed: most znodes have none, and a vector takes three times as much.
    #[allow(clippy::box_collection)]
    pub(super) children: Option<Box<Vec<NodeId>>>,
    pub(super) parent: NodeId,
    /// Its place among the parent's children.
    pub(super) slot: u32,
    /// Null and empty data differ on the wire and on disk.
    has_data: bool,
    /// Whether the checkpoint that is being read has it; see there.
    pub(super) mark: bool,
}

impl Znode {
    /// A znode without children.
    pub fn new(path: &str, data: Option<&[u8]>, acl: i64, stat: StatPersisted) -> Self {
        Self {
            stat,
            acl,
            text: joined(path.as_bytes(), data.unwrap_or_default()),
            // A path is a part of a frame, whose length is an int.
            path_len: path.len() as u32,
            digest: 0,
            children: None,
            parent: NodeId(u32::MAX),
            slot: 0,
            has_data: data.is_some(),
            mark: false,
        }
    }

    /// Its path; the root's is empty.
    pub fn path(&self) -> &str {
        // It was made of a string.
        std::str::from_utf8(self.path_bytes()).unwrap_or_default()
    }

    pub(super) fn path_bytes(&self) -> &[u8] {
        &self.text[..self.path_len()]
    }

    /// Length of the path in bytes.
    pub fn path_len(&self) -> usize {
        self.path_len as usize
    }

    /// Its data; null and empty differ.
    pub fn data(&self) -> Option<&[u8]> {
        self.has_data.then(|| &self.text[self.path_len()..])
    }

    /// Path and data, one after the other.
    pub fn path_and_data(&self) -> &[u8] {
        &self.text
    }

    /// Replaces the data.
    pub fn set_data(&mut self, data: Option<&[u8]>) {
        self.has_data = data.is_some();
        let data = data.unwrap_or_default();
        if data.len() == self.data_len() {
            let at = self.path_len();
            self.text[at..].copy_from_slice(data);
        } else {
            self.text = joined(self.path_bytes(), data);
        }
    }

    /// Length of the data, 0 for null.
    pub fn data_len(&self) -> usize {
        self.text.len() - self.path_len()
    }

    /// How many children there are.
    pub fn child_count(&self) -> usize {
        self.children.as_ref().map_or(0, |children| children.len())
    }

    /// The Stat as clients see it: they are told of sessions as owners only, and their
    /// `cversion` counts deletions of children too (DataNode.java).
    pub fn client_stat(&self, extended: ExtendedTypes) -> Stat {
        let stat = &self.stat;
        let num_children = i32::try_from(self.child_count()).unwrap_or(i32::MAX);
        let ephemeral_owner = match Lifetime::of(stat.ephemeral_owner, extended) {
            Lifetime::Session(id) => id,
            _ => 0,
        };
        Stat {
            czxid: stat.czxid,
            mzxid: stat.mzxid,
            ctime: stat.ctime,
            mtime: stat.mtime,
            version: stat.version,
            cversion: stat.cversion.wrapping_mul(2).wrapping_sub(num_children),
            aversion: stat.aversion,
            ephemeral_owner,
            data_length: i32::try_from(self.data_len()).unwrap_or(i32::MAX),
            num_children,
            pzxid: stat.pzxid,
        }
    }
}

impl Default for Znode {
    fn default() -> Self {
        Self::new("", None, 0, StatPersisted::default())
    }
}

fn joined(path: &[u8], data: &[u8]) -> Box<[u8]> {
    let mut text = Vec::with_capacity(path.len() + data.len());
    text.extend_from_slice(path);
    text.extend_from_slice(data);
    text.into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_read_as_zookeeper_reads_them() {
        const ON: ExtendedTypes = ExtendedTypes::On;
        let old = 0x8000_0000_0000_2710_u64 as i64;
        assert_eq!(Lifetime::of(old, ON), Lifetime::Session(old));
        let old_read = |owner| Lifetime::of(owner, ExtendedTypes::Emulate353);
        assert_eq!(old_read(old), Lifetime::Ttl(10_000));
        assert_eq!(old_read(i64::MIN), Lifetime::Container);
        let ttl = Lifetime::Ttl(10_000).owner();
        assert_eq!(old_read(ttl), Lifetime::Ttl(10_000));
        assert_eq!(ttl as u64, 0xff00_0000_0000_2710);
        assert_eq!(Lifetime::of(ttl, ON), Lifetime::Ttl(10_000));
        assert_eq!(
            Lifetime::of(ttl, ExtendedTypes::Off),
            Lifetime::Session(ttl)
        );
        assert_eq!(Lifetime::of(i64::MIN, ON), Lifetime::Container);
        assert_eq!(Lifetime::of(0, ON), Lifetime::Persistent);
        assert_eq!(
            Lifetime::of(0x0100_0000_0000_0001, ON),
            Lifetime::Session(0x0100_0000_0000_0001)
        );
    }
}
