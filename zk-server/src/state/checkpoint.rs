//! Pure: the tree as it was after one zxid, read in parts while the tree goes on changing.
//!
//! Before a znode changes for the first time since the checkpoint began, the tree hands its old
//! form over. A reader takes that form where there is one, and else the znode as it stands,
//! unless it is younger than the checkpoint. So a snapshot is exact, though nothing is copied
//! but what changes while it is written.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use common::zk::data::StatPersisted;

use crate::state::tree::Nodes;
use crate::state::znode::{Znode, next_after};

/// A znode as a snapshot holds it.
#[derive(Clone, Debug)]
pub struct Frozen {
    /// Its data.
    pub data: Option<Bytes>,
    /// Number of its ACL.
    pub acl: i64,
    /// Its Stat.
    pub stat: StatPersisted,
}

impl From<&Znode> for Frozen {
    fn from(node: &Znode) -> Self {
        Self {
            data: node.data.clone(),
            acl: node.acl,
            stat: node.stat,
        }
    }
}

/// Where the depth-first walk stands in one level of the tree.
#[derive(Debug)]
struct Level {
    path_len: usize,
    last_child: Option<Box<str>>,
}

/// The frozen tree and how far it has been read.
#[derive(Debug)]
pub struct Checkpoint {
    zxid: i64,
    old_forms: HashMap<Box<str>, Frozen>,
    deleted_children: HashMap<Box<str>, BTreeSet<Box<str>>>,
    path: String,
    levels: Vec<Level>,
    begun: bool,
}

impl Checkpoint {
    /// The tree as it is now, after `zxid`.
    pub fn new(zxid: i64) -> Self {
        Self {
            zxid,
            old_forms: HashMap::new(),
            deleted_children: HashMap::new(),
            path: String::new(),
            levels: Vec::new(),
            begun: false,
        }
    }

    /// The last zxid that is part of it.
    pub fn zxid(&self) -> i64 {
        self.zxid
    }

    /// Keeps the form of a znode that is about to change.
    pub fn keep(&mut self, key: &str, node: &Znode) {
        if node.stat.czxid <= self.zxid && !self.old_forms.contains_key(key) {
            self.old_forms.insert(key.into(), node.into());
        }
    }

    /// Keeps the name of a znode that is about to be deleted.
    pub fn keep_deleted_child(&mut self, parent_key: &str, name: &str, node: &Znode) {
        if node.stat.czxid <= self.zxid {
            self.deleted_children
                .entry(parent_key.into())
                .or_default()
                .insert(name.into());
        }
    }

    /// The next znode, parents before children; `None` after the last.
    pub fn next(&mut self, nodes: &Nodes) -> Option<(&str, Frozen)> {
        if !self.begun {
            self.begun = true;
            let root = self.frozen("", nodes)?;
            self.levels.push(Level {
                path_len: 0,
                last_child: None,
            });
            return Some(("", root));
        }
        loop {
            let level = self.levels.last()?;
            self.path.truncate(level.path_len);
            let Some(name) = self.next_child(level, nodes) else {
                self.levels.pop();
                continue;
            };
            let name: Box<str> = name.into();
            self.path.push('/');
            self.path.push_str(&name);
            if let Some(level) = self.levels.last_mut() {
                level.last_child = Some(name);
            }
            if let Some(frozen) = self.frozen(&self.path, nodes) {
                self.levels.push(Level {
                    path_len: self.path.len(),
                    last_child: None,
                });
                return Some((&self.path, frozen));
            }
        }
    }

    fn next_child<'a>(&'a self, level: &Level, nodes: &'a Nodes) -> Option<&'a str> {
        let parent = &self.path[..level.path_len];
        let last = level.last_child.as_deref();
        let alive = nodes.get(parent).and_then(|node| node.child_after(last));
        let deleted = self
            .deleted_children
            .get(parent)
            .and_then(|names| next_after(names, last));
        match (alive, deleted) {
            (Some(alive), Some(deleted)) => Some(alive.min(deleted)),
            (alive, deleted) => alive.or(deleted),
        }
    }

    fn frozen(&self, key: &str, nodes: &Nodes) -> Option<Frozen> {
        if let Some(old) = self.old_forms.get(key) {
            return Some(old.clone());
        }
        nodes
            .get(key)
            .filter(|node| node.stat.czxid <= self.zxid)
            .map(|node| Frozen::from(node.as_ref()))
    }
}
