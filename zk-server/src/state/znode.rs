//! Pure: one znode and the meaning of its `ephemeralOwner`.

use std::collections::BTreeSet;

use bytes::Bytes;
use common::zk::data::{Stat, StatPersisted};

/// `ephemeralOwner` of every container znode (EphemeralType.java).
pub const CONTAINER_OWNER: i64 = i64::MIN;

/// Longest time to live of a TTL znode in milliseconds: 40 bits (EphemeralType.java).
pub const MAX_TTL_MS: i64 = 0xff_ffff_ffff;

/// Largest server id that leaves room for the mark of TTL znodes.
pub const MAX_EXTENDED_SERVER_ID: i64 = 0xfe;

const EXTENDED_MASK: i64 = 0xff00_0000_0000_0000_u64 as i64;
const EXTENDED_FEATURE_MASK: i64 = 0x00ff_ff00_0000_0000;

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
    /// Reads an owner; `extended` is the setting `extendedTypesEnabled`, without which the TTL
    /// mark is nothing but a session id.
    pub fn of(owner: i64, extended: bool) -> Self {
        if extended && owner & EXTENDED_MASK == EXTENDED_MASK && owner & EXTENDED_FEATURE_MASK == 0
        {
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

/// One znode. Its path is its key in the tree.
#[derive(Clone, Debug, Default)]
pub struct Znode {
    /// Null and empty data differ on the wire and on disk.
    pub data: Option<Bytes>,
    /// Key in the ACL cache; -1 is world:anyone with all permissions.
    pub acl: i64,
    /// Stored part of the Stat.
    pub stat: StatPersisted,
    children: BTreeSet<Box<str>>,
    /// CRC32 of path, data and Stat: this znode's share of the tree's digest.
    pub digest: u32,
}

impl Znode {
    /// A znode without children.
    pub fn new(data: Option<Bytes>, acl: i64, stat: StatPersisted) -> Self {
        Self {
            data,
            acl,
            stat,
            children: BTreeSet::new(),
            digest: 0,
        }
    }

    /// Length of the data, 0 for null.
    pub fn data_len(&self) -> usize {
        self.data.as_ref().map_or(0, Bytes::len)
    }

    /// How many children there are.
    pub fn child_count(&self) -> usize {
        self.children.len()
    }

    /// Names of the children in order.
    pub fn children(&self) -> impl Iterator<Item = &str> {
        self.children.iter().map(AsRef::as_ref)
    }

    /// The first child whose name is after `name`.
    pub fn child_after(&self, name: Option<&str>) -> Option<&str> {
        next_after(&self.children, name)
    }

    /// Whether there is a child of this name.
    pub fn has_child(&self, name: &str) -> bool {
        self.children.contains(name)
    }

    /// Adds a child; false if it was there.
    pub fn add_child(&mut self, name: &str) -> bool {
        self.children.insert(name.into())
    }

    /// Removes a child; false if there was none.
    pub fn remove_child(&mut self, name: &str) -> bool {
        self.children.remove(name)
    }

    /// The Stat as clients see it: they are told of sessions as owners only, and their
    /// `cversion` counts deletions of children too (DataNode.java).
    pub fn client_stat(&self, extended: bool) -> Stat {
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

/// The first name of an ordered set after `name`, or its first at all.
pub fn next_after<'a>(names: &'a BTreeSet<Box<str>>, name: Option<&str>) -> Option<&'a str> {
    use std::ops::Bound::{Excluded, Unbounded};
    let next = match name {
        None => names.iter().next(),
        Some(name) => names.range::<str, _>((Excluded(name), Unbounded)).next(),
    };
    next.map(AsRef::as_ref)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_read_as_zookeeper_reads_them() {
        let ttl = Lifetime::Ttl(10_000).owner();
        assert_eq!(ttl as u64, 0xff00_0000_0000_2710);
        assert_eq!(Lifetime::of(ttl, true), Lifetime::Ttl(10_000));
        assert_eq!(Lifetime::of(ttl, false), Lifetime::Session(ttl));
        assert_eq!(Lifetime::of(i64::MIN, true), Lifetime::Container);
        assert_eq!(Lifetime::of(0, true), Lifetime::Persistent);
        assert_eq!(
            Lifetime::of(0x0100_0000_0000_0001, true),
            Lifetime::Session(0x0100_0000_0000_0001)
        );
    }
}
