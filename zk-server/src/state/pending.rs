//! Pure: what has been decided and not yet applied, so that the next decision can build on it
//! (ZooKeeperServer.outstandingChanges).

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use common::zk::code::ErrorCode;
use common::zk::data::StatPersisted;

use crate::metrics::state::ChangeStats;
use crate::state::acl_cache::SharedAcl;
use crate::state::digest;
use crate::state::nodes::NodeRef;
use crate::state::tree::Tree;

/// A znode as it will be.
#[derive(Clone, Debug)]
pub struct PendingNode {
    /// The transaction that makes it so.
    pub zxid: i64,
    /// Its Stat; `None` if it will be gone.
    pub stat: Option<StatPersisted>,
    /// How many children it will have.
    pub child_count: usize,
    /// Its ACL.
    pub acl: SharedAcl,
    /// Length of its data, 0 for null.
    pub data_len: usize,
    /// Its data, if that changes; else the tree has it.
    new_data: Option<Option<Bytes>>,
    digest: u32,
}

impl PendingNode {
    /// A znode that transaction `zxid` creates.
    pub fn new(zxid: i64, stat: StatPersisted, acl: SharedAcl, data: Option<Bytes>) -> Self {
        Self {
            zxid,
            stat: Some(stat),
            child_count: 0,
            acl,
            data_len: data.as_ref().map_or(0, Bytes::len),
            new_data: Some(data),
            digest: 0,
        }
    }

    /// Its data changes.
    pub fn set_data(&mut self, data: Option<Bytes>) {
        self.data_len = data.as_ref().map_or(0, Bytes::len);
        self.new_data = Some(data);
    }
}

/// Decided changes by path, in the order of their transactions.
#[derive(Debug, Default)]
pub struct Pending {
    by_path: HashMap<Box<str>, PendingNode>,
    order: VecDeque<(i64, Box<str>)>,
    digest: u64,
    undo: Option<Undo>,
    /// Counters.
    pub stats: ChangeStats,
}

/// How to take back what a multi has decided so far.
#[derive(Debug)]
struct Undo {
    order_len: usize,
    digest: u64,
    replaced: Vec<(Box<str>, Option<PendingNode>)>,
}

/// A path in the form that the map has: the root is empty.
fn key(path: &str) -> &str {
    if path == "/" { "" } else { path }
}

impl Pending {
    /// The znode as it will be, or else as it is.
    pub fn node(&self, tree: &Tree, path: &str) -> Result<PendingNode, ErrorCode> {
        if let Some(pending) = self.by_path.get(key(path)) {
            return match pending.stat {
                Some(_) => Ok(pending.clone()),
                None => Err(ErrorCode::NoNode),
            };
        }
        let node = tree.get(path).ok_or(ErrorCode::NoNode)?;
        Ok(PendingNode {
            zxid: -1,
            stat: Some(node.stat),
            child_count: node.child_count(),
            acl: tree.acl_of(node),
            data_len: node.data_len(),
            new_data: None,
            digest: node.digest,
        })
    }

    /// Whether the znode will be there.
    pub fn exists(&self, tree: &Tree, path: &str) -> bool {
        match self.by_path.get(key(path)) {
            Some(pending) => pending.stat.is_some(),
            None => tree.get(path).is_some(),
        }
    }

    /// Decides on a znode that is created or changed.
    pub fn set(&mut self, tree: &Tree, path: &str, mut node: PendingNode) {
        let path = key(path);
        if tree.options().digests
            && let Some(stat) = &node.stat
        {
            let data = match &node.new_data {
                Some(new) => new.as_deref(),
                None => tree.get(path).and_then(NodeRef::data),
            };
            node.digest = digest::of_node(path, data, stat);
        }
        self.replace(tree, path, node);
    }

    /// Decides on a znode that is deleted.
    pub fn set_deleted(&mut self, tree: &Tree, path: &str, zxid: i64) {
        let acl = SharedAcl::from([]);
        let gone = PendingNode {
            zxid,
            stat: None,
            child_count: 0,
            acl,
            data_len: 0,
            new_data: None,
            digest: 0,
        };
        self.replace(tree, key(path), gone);
    }

    fn replace(&mut self, tree: &Tree, key: &str, node: PendingNode) {
        let current = self.digest(tree);
        let (zxid, new_digest) = (node.zxid, node.digest);
        let old = self.by_path.insert(key.into(), node);
        let old_digest = match &old {
            Some(old) => old.digest,
            None => tree.get(key).map_or(0, |node| node.digest),
        };
        self.digest = current
            .wrapping_sub(u64::from(old_digest))
            .wrapping_add(u64::from(new_digest));
        if let Some(undo) = &mut self.undo {
            undo.replaced.push((key.into(), old));
        }
        self.order.push_back((zxid, key.into()));
        self.stats.queued += 1;
    }

    /// The tree's digest once all is applied.
    pub fn digest(&self, tree: &Tree) -> u64 {
        if self.order.is_empty() {
            tree.digest()
        } else {
            self.digest
        }
    }

    /// The decided changes in order: path, and the owner, or `None` for a deletion.
    pub fn owners(&self) -> impl Iterator<Item = (&str, Option<i64>)> {
        self.order.iter().filter_map(|(_, path)| {
            let node = self.by_path.get(path)?;
            Some((
                path.as_ref(),
                node.stat.as_ref().map(|stat| stat.ephemeral_owner),
            ))
        })
    }

    /// From here on changes can be taken back.
    pub fn begin(&mut self, tree: &Tree) {
        let digest = self.digest(tree);
        self.undo = Some(Undo {
            order_len: self.order.len(),
            digest,
            replaced: Vec::new(),
        });
    }

    /// The changes since [`Pending::begin`] stand.
    pub fn keep(&mut self) {
        self.undo = None;
    }

    /// The changes since [`Pending::begin`] never were.
    pub fn roll_back(&mut self) {
        let Some(undo) = self.undo.take() else { return };
        for (path, old) in undo.replaced.into_iter().rev() {
            match old {
                Some(old) => self.by_path.insert(path, old),
                None => self.by_path.remove(&path),
            };
        }
        self.order.truncate(undo.order_len);
        self.digest = undo.digest;
    }

    /// The transactions up to `zxid` have been applied: the tree says it now.
    pub fn applied(&mut self, zxid: i64) {
        while let Some((decided, _)) = self.order.front()
            && *decided <= zxid
        {
            let Some((_, path)) = self.order.pop_front() else {
                return;
            };
            self.stats.removed += 1;
            if self
                .by_path
                .get(&path)
                .is_some_and(|node| node.zxid <= zxid)
            {
                self.by_path.remove(&path);
            }
        }
    }

    /// How many changes wait.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}
