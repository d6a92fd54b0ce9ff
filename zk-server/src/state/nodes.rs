//! Pure: where the znodes are: one record each, found by path through one table.
//!
//! A server may hold millions of znodes, so each is kept small: a record of fixed size, one block
//! of memory with path and data, eight bytes in the table, four in its parent's list of
//! children. Records are numbered; the number of one that has gone is used again.

use std::hash::BuildHasher;
use std::ops::Deref;

use common::zk::data::StatPersisted;
use hashbrown::HashTable;

use crate::state::znode::Znode;

/// Number of a znode in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeId(pub(super) u32);

/// The parent of the root.
const NOBODY: NodeId = NodeId(u32::MAX);

/// The parent of a record that is free.
const FREE: NodeId = NodeId(u32::MAX - 1);

/// A place in the table: the hash of a path saves most looks at the znode.
#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u32,
    id: NodeId,
}

impl Entry {
    /// Spreads the hash over the bits that the table looks at.
    fn spread(hash: u32) -> u64 {
        u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// What a znode is made of.
#[derive(Clone, Copy, Debug)]
pub struct NewRecord<'a> {
    /// Its path; the root's is empty.
    pub path: &'a str,
    /// Its data.
    pub data: Option<&'a [u8]>,
    /// Key of its ACL.
    pub acl: i64,
    /// Stored part of its Stat.
    pub stat: StatPersisted,
}

/// All znodes.
#[derive(Debug, Default)]
pub struct Nodes {
    records: Vec<Znode>,
    free: Vec<NodeId>,
    table: HashTable<Entry>,
    hasher: foldhash::fast::RandomState,
}

/// A znode in its store.
#[derive(Clone, Copy, Debug)]
pub struct NodeRef<'t> {
    nodes: &'t Nodes,
    record: &'t Znode,
}

impl Deref for NodeRef<'_> {
    type Target = Znode;

    fn deref(&self) -> &Znode {
        self.record
    }
}

impl<'t> NodeRef<'t> {
    /// Names of the children, in no order.
    pub fn children(self) -> impl Iterator<Item = &'t str> {
        self.child_nodes().map(move |child| self.name_of(&child))
    }

    /// The children, in no order.
    pub fn child_nodes(self) -> impl Iterator<Item = NodeRef<'t>> {
        let nodes = self.nodes;
        let ids = self.record.children.as_deref().into_iter().flatten();
        ids.map(move |id| nodes.get(*id))
    }

    /// The last name in a child's path.
    pub fn name_of(self, child: &NodeRef<'t>) -> &'t str {
        let path = child.record.path();
        path.get(self.record.path_len() + 1..).unwrap_or_default()
    }

    /// Its data; null and empty differ.
    pub fn data(self) -> Option<&'t [u8]> {
        self.record.data()
    }

    /// Its path; the root's is empty.
    pub fn path(self) -> &'t str {
        self.record.path()
    }
}

impl Nodes {
    /// The hash by which a path is found.
    fn hash(&self, path: &str) -> u32 {
        (self.hasher.hash_one(path.as_bytes()) >> 32) as u32
    }

    /// The znode of a path; the root's is empty.
    pub fn find(&self, path: &str) -> Option<NodeId> {
        let hash = self.hash(path);
        let wanted = |entry: &Entry| {
            entry.hash == hash && self.record(entry.id).path_bytes() == path.as_bytes()
        };
        let found = self.table.find(Entry::spread(hash), wanted);
        found.map(|entry| entry.id)
    }

    fn record(&self, id: NodeId) -> &Znode {
        &self.records[id.0 as usize]
    }

    /// A znode by its number.
    pub fn get(&self, id: NodeId) -> NodeRef<'_> {
        let record = self.record(id);
        NodeRef {
            nodes: self,
            record,
        }
    }

    /// A znode by its number, to change it.
    pub fn get_mut(&mut self, id: NodeId) -> &mut Znode {
        &mut self.records[id.0 as usize]
    }

    /// The parent; none of the root.
    pub fn parent(&self, id: NodeId) -> Option<NodeId> {
        Some(self.record(id).parent).filter(|parent| *parent != NOBODY)
    }

    /// One of the children; none if there are none.
    pub fn last_child(&self, id: NodeId) -> Option<NodeId> {
        self.record(id).children.as_ref()?.last().copied()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Numbers are below this.
    pub fn end(&self) -> u32 {
        self.records.len() as u32
    }

    /// Whether there is a znode of this number.
    pub fn is_used(&self, id: NodeId) -> bool {
        self.record(id).parent != FREE
    }

    /// Puts a znode in that is not there, below `parent`; only the root has none.
    pub fn insert(&mut self, parent: Option<NodeId>, new: &NewRecord<'_>) -> NodeId {
        let mut record = Znode::new(new.path, new.data, new.acl, new.stat);
        record.parent = parent.unwrap_or(NOBODY);
        let id = match self.free.pop() {
            Some(id) => id,
            // Memory ends long before the numbers do.
            None => NodeId(self.records.len() as u32),
        };
        if let Some(parent) = parent {
            let siblings = self.get_mut(parent).children.get_or_insert_default();
            siblings.push(id);
            record.slot = siblings.len() as u32 - 1;
        }
        match self.records.get_mut(id.0 as usize) {
            Some(place) => *place = record,
            None => self.records.push(record),
        }
        let hash = self.hash(new.path);
        let entry = Entry { hash, id };
        let spread = |entry: &Entry| Entry::spread(entry.hash);
        self.table.insert_unique(Entry::spread(hash), entry, spread);
        id
    }

    /// Takes a znode without children out and returns what it was.
    pub fn remove(&mut self, id: NodeId) -> Znode {
        let hash = self.hash(self.record(id).path());
        let spread = Entry::spread(hash);
        if let Ok(entry) = self.table.find_entry(spread, |entry| entry.id == id) {
            entry.remove();
        }
        let record = std::mem::take(self.get_mut(id));
        self.get_mut(id).parent = FREE;
        self.free.push(id);
        if record.parent != NOBODY {
            self.unlink(record.parent, record.slot);
        }
        record
    }

    /// The last child takes the place of one that has gone.
    fn unlink(&mut self, parent: NodeId, slot: u32) {
        let siblings = &mut self.get_mut(parent).children;
        let Some(list) = siblings else { return };
        list.swap_remove(slot as usize);
        let moved = list.get(slot as usize).copied();
        if list.is_empty() {
            *siblings = None;
        } else if list.capacity() > 4 * list.len() {
            list.shrink_to(2 * list.len());
        }
        if let Some(moved) = moved {
            self.get_mut(moved).slot = slot;
        }
    }
}
