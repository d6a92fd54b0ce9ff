//! Pure: the znodes, and what hangs on their coming and going.

use std::collections::{BTreeSet, HashMap};

use common::zk::data::{Acl, StatPersisted};

use crate::state::acl_cache::{AclCache, SharedAcl};
use crate::state::checkpoint::{Checkpoint, Frozen};
use crate::state::digest;
use crate::state::nodes::{NewRecord, NodeId, NodeRef, Nodes};
use crate::state::quota::{self, QuotaNumbers, QuotaPaths};
use crate::state::text::java_length;
use crate::state::znode::{ExtendedTypes, Lifetime, Znode, created_stat};

/// Path of the znode that holds an ensemble's configuration.
pub const CONFIG_NODE: &str = "/zookeeper/config";

const SPECIAL_PATHS: [&str; 4] = ["/", "/zookeeper", quota::QUOTA_ROOT, CONFIG_NODE];

/// Whether clients may neither create nor delete this path.
pub fn is_special(path: &str) -> bool {
    SPECIAL_PATHS.contains(&path)
}

/// Why the tree cannot do what a transaction says; in a live server a sign that it was prepared
/// wrongly, in a replay over a snapshot that was written meanwhile nothing unusual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// The znode, or the parent of a new one, is not there.
    #[error("no such znode")]
    NoNode,
    /// The new znode is there.
    #[error("the znode exists")]
    NodeExists,
}

/// Settings that change what the tree keeps.
#[derive(Clone, Copy, Debug)]
pub struct TreeOptions {
    /// `digest.enabled`.
    pub digests: bool,
    /// Which owners are those of TTL znodes.
    pub extended_types: ExtendedTypes,
}

impl Default for TreeOptions {
    fn default() -> Self {
        Self {
            digests: true,
            extended_types: ExtendedTypes::Off,
        }
    }
}

/// What a new znode is made of.
#[derive(Debug)]
pub struct NewNode<'a> {
    /// Where.
    pub path: &'a str,
    /// Its data.
    pub data: Option<&'a [u8]>,
    /// Its ACL.
    pub acl: &'a [Acl],
    /// `ephemeralOwner`.
    pub owner: i64,
    /// The parent's cversion from now on, or -1 for one more than it is.
    pub parent_cversion: i32,
}

/// All znodes. The root is stored under the empty path, as in snapshots; both names find it.
#[derive(Debug)]
pub struct Tree {
    nodes: Nodes,
    acls: AclCache,
    ephemerals: HashMap<i64, BTreeSet<Box<str>>>,
    containers: BTreeSet<Box<str>>,
    ttls: BTreeSet<Box<str>>,
    quotas: QuotaPaths,
    digest: u64,
    data_bytes: i64,
    options: TreeOptions,
    checkpoint: Option<Checkpoint>,
    /// What the mark of a znode that the checkpoint has looks like.
    mark: bool,
    /// The parent of the znode that was restored last.
    last_parent: Option<NodeId>,
}

/// The key of a path.
fn key(path: &str) -> &str {
    if path == "/" { "" } else { path }
}

/// Splits a path into the key of its parent and its last name; `None` without a slash.
pub fn split(path: &str) -> Option<(&str, &str)> {
    let slash = path.rfind('/')?;
    Some((&path[..slash], &path[slash + 1..]))
}

/// What a znode adds to `approximate_data_size`.
fn counted_bytes(node: &Znode) -> i64 {
    (java_length(node.path().as_bytes()) + node.data_len()) as i64
}

impl Tree {
    /// The tree of a server that has never run.
    pub fn new(options: TreeOptions) -> Self {
        let mut tree = Self::empty(options);
        let mut parent = None;
        for path in ["", "/zookeeper", quota::QUOTA_ROOT, CONFIG_NODE] {
            let (data, acl, stat) = (Some(&[][..]), -1, StatPersisted::default());
            let id = tree.put(
                parent,
                &NewRecord {
                    path,
                    data,
                    acl,
                    stat,
                },
            );
            if matches!(path, "" | "/zookeeper") {
                parent = Some(id);
            }
        }
        // The real server sets this ACL with aversion -1.
        let _ = tree.set_acl(CONFIG_NODE, &Acl::read_only(), -1);
        tree
    }

    /// A tree without even a root, to be filled from a snapshot.
    pub fn empty(options: TreeOptions) -> Self {
        Self {
            nodes: Nodes::default(),
            acls: AclCache::default(),
            ephemerals: HashMap::new(),
            containers: BTreeSet::new(),
            ttls: BTreeSet::new(),
            quotas: QuotaPaths::default(),
            digest: 0,
            data_bytes: 0,
            options,
            checkpoint: None,
            mark: false,
            last_parent: None,
        }
    }

    /// The settings it was made with.
    pub fn options(&self) -> TreeOptions {
        self.options
    }

    /// A znode.
    pub fn get(&self, path: &str) -> Option<NodeRef<'_>> {
        self.find(path).map(|id| self.nodes.get(id))
    }

    fn find(&self, path: &str) -> Option<NodeId> {
        self.nodes.find(key(path))
    }

    /// The ACL of a znode.
    pub fn acl_of(&self, node: NodeRef<'_>) -> SharedAcl {
        self.acls.get(node.acl)
    }

    /// The distinct ACLs.
    pub fn acls(&self) -> &AclCache {
        &self.acls
    }

    /// The distinct ACLs, for a snapshot that is being read.
    pub fn acls_mut(&mut self) -> &mut AclCache {
        &mut self.acls
    }

    /// Paths of a session's ephemeral znodes, in order.
    pub fn ephemerals(&self, session: i64) -> impl Iterator<Item = &str> {
        self.ephemerals
            .get(&session)
            .into_iter()
            .flatten()
            .map(AsRef::as_ref)
    }

    /// Sessions that have or had ephemeral znodes.
    pub fn ephemeral_sessions(&self) -> impl Iterator<Item = (i64, &BTreeSet<Box<str>>)> {
        self.ephemerals
            .iter()
            .map(|(session, paths)| (*session, paths))
    }

    /// Paths of the container znodes after one of them, in order; of all after `None`.
    pub fn containers_after(&self, path: Option<&str>) -> impl Iterator<Item = &str> {
        all_after(&self.containers, path)
    }

    /// Paths of the TTL znodes after one of them, in order; of all after `None`.
    pub fn ttls_after(&self, path: Option<&str>) -> impl Iterator<Item = &str> {
        all_after(&self.ttls, path)
    }

    /// Ephemeral znodes of all sessions.
    pub fn ephemeral_count(&self) -> usize {
        self.ephemerals.values().map(BTreeSet::len).sum()
    }

    /// Znodes as ZooKeeper counts them: the root twice, under both its names.
    pub fn node_count(&self) -> usize {
        self.nodes.len() + 1
    }

    /// Descendants of a path, for `getAllChildrenNumber`.
    pub fn descendants(&self, path: &str) -> usize {
        match path {
            "/" => return self.nodes.len().saturating_sub(1),
            // The real server finds its second root below its first.
            "" => return self.nodes.len(),
            _ => {}
        }
        self.subtree(path).count().saturating_sub(1)
    }

    /// A znode and all below it, parents before children.
    fn subtree(&self, path: &str) -> impl Iterator<Item = NodeRef<'_>> {
        let mut stack: Vec<NodeRef<'_>> = self.get(path).into_iter().collect();
        std::iter::from_fn(move || {
            let node = stack.pop()?;
            stack.extend(node.child_nodes());
            Some(node)
        })
    }

    /// Sum of the lengths of all paths and data, in bytes.
    pub fn data_bytes(&self) -> i64 {
        // The root counts under both names.
        self.data_bytes + self.get("/").map_or(0, |root| root.data_len() as i64 + 1)
    }

    /// The tree's digest.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// The quota that governs a path: that of its nearest ancestor or itself.
    pub fn quota_of<'a>(&self, path: &'a str) -> Option<&'a str> {
        self.quotas.nearest(path)
    }

    /// Creates a znode.
    ///
    /// The parent's cversion and pzxid never go back: a transaction may be replayed over a
    /// snapshot that has seen later ones.
    pub fn create(&mut self, new: NewNode<'_>, zxid: i64, time_ms: i64) -> Result<(), TreeError> {
        let (parent_key, name) = split(new.path).ok_or(TreeError::NoNode)?;
        let parent = self.nodes.find(parent_key).ok_or(TreeError::NoNode)?;
        if self.find(new.path).is_some() {
            return Err(TreeError::NodeExists);
        }
        let current = self.nodes.get(parent).stat.cversion;
        let cversion = match new.parent_cversion {
            -1 => current.wrapping_add(1),
            given => given,
        };
        let acl = self.acls.acquire(new.acl);
        self.change(parent, |parent| {
            if cversion > current {
                parent.stat.cversion = cversion;
                parent.stat.pzxid = zxid;
            }
        });
        let (path, data) = (new.path, new.data);
        let stat = created_stat(zxid, time_ms, new.owner);
        self.put(
            Some(parent),
            &NewRecord {
                path,
                data,
                acl,
                stat,
            },
        );
        self.note_owner(path, new.owner);
        self.note_quota_created(path, parent_key, name);
        self.add_usage(path, 1, data.map_or(0, <[u8]>::len) as i64);
        Ok(())
    }

    /// Deletes a znode. The parent's pzxid moves even if the znode is missing.
    pub fn delete(&mut self, path: &str, zxid: i64) -> Result<(), TreeError> {
        let (parent_key, name) = split(path).ok_or(TreeError::NoNode)?;
        let parent = self.nodes.find(parent_key).ok_or(TreeError::NoNode)?;
        self.change(parent, |parent| {
            parent.stat.pzxid = parent.stat.pzxid.max(zxid);
        });
        let id = self.nodes.find(path).ok_or(TreeError::NoNode)?;
        self.take_out_children(id);
        let node = self.take_out(id);
        if name == quota::LIMITS && parent_key.starts_with(quota::QUOTA_ROOT) {
            self.quotas.remove(&parent_key[quota::QUOTA_ROOT.len()..]);
        }
        self.add_usage(path, -1, -(node.data_len() as i64));
        Ok(())
    }

    /// A znode that a transaction deletes has no children, but for one case: it is replayed over a
    /// snapshot that already has the next znode of that path, and what came below that. Those are
    /// made again by the transactions that follow.
    fn take_out_children(&mut self, id: NodeId) {
        let mut line = Vec::new();
        let mut at = id;
        while self.nodes.get(id).child_count() > 0 {
            match self.nodes.last_child(at) {
                Some(child) => line.push(std::mem::replace(&mut at, child)),
                None => {
                    self.take_out(at);
                    at = line.pop().unwrap_or(id);
                }
            }
        }
    }

    /// Takes a znode without children out.
    fn take_out(&mut self, id: NodeId) -> Znode {
        self.keep(id);
        let node = self.nodes.remove(id);
        self.digest = self.digest.wrapping_sub(u64::from(node.digest));
        self.data_bytes -= counted_bytes(&node);
        self.acls.release(node.acl);
        self.forget_owner(node.path(), node.stat.ephemeral_owner);
        node
    }

    /// Sets data and version.
    pub fn set_data(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        version: i32,
        zxid: i64,
        time_ms: i64,
    ) -> Result<(), TreeError> {
        let id = self.find(path).ok_or(TreeError::NoNode)?;
        let old_len = self.nodes.get(id).data_len() as i64;
        let growth = data.map_or(0, <[u8]>::len) as i64 - old_len;
        self.change(id, |node| {
            node.set_data(data);
            node.stat.mtime = time_ms;
            node.stat.mzxid = zxid;
            node.stat.version = version;
        });
        self.data_bytes += growth;
        self.add_usage(path, 0, growth);
        Ok(())
    }

    /// Sets ACL and aversion.
    pub fn set_acl(&mut self, path: &str, acl: &[Acl], aversion: i32) -> Result<(), TreeError> {
        let id = self.find(path).ok_or(TreeError::NoNode)?;
        self.acls.release(self.nodes.get(id).acl);
        let acl = self.acls.acquire(acl);
        self.change(id, |node| {
            node.acl = acl;
            node.stat.aversion = aversion;
        });
        Ok(())
    }

    /// Moves cversion and pzxid on, for a create whose znode a snapshot already has.
    pub fn raise_cversion(
        &mut self,
        path: &str,
        cversion: i32,
        zxid: i64,
    ) -> Result<(), TreeError> {
        let id = self.find(path).ok_or(TreeError::NoNode)?;
        let current = self.nodes.get(id).stat.cversion;
        let cversion = if cversion == -1 {
            current.wrapping_add(1)
        } else {
            cversion
        };
        if cversion > current {
            self.change(id, |node| {
                node.stat.cversion = cversion;
                node.stat.pzxid = zxid;
            });
        }
        Ok(())
    }

    /// Forgets which ephemeral znodes a session has and tells their paths.
    pub fn take_ephemerals(&mut self, session: i64) -> BTreeSet<Box<str>> {
        self.ephemerals.remove(&session).unwrap_or_default()
    }

    /// Puts a znode from a snapshot in; parents come before their children. The data is copied.
    pub fn restore(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl: i64,
        stat: StatPersisted,
    ) -> Result<(), TreeError> {
        self.acls.add_user(acl);
        let new = NewRecord {
            path,
            data,
            acl,
            stat,
        };
        if let Some(id) = self.nodes.find(path) {
            // Twice in one snapshot: the later one counts.
            let old = self.nodes.get(id);
            let (old_acl, old_owner) = (old.acl, old.stat.ephemeral_owner);
            self.data_bytes += data.map_or(0, <[u8]>::len) as i64 - old.data_len() as i64;
            self.acls.release(old_acl);
            self.forget_owner(path, old_owner);
            self.note_owner(path, stat.ephemeral_owner);
            self.change(id, |node| {
                node.set_data(data);
                (node.acl, node.stat) = (acl, stat);
            });
            return Ok(());
        }
        if path.is_empty() {
            self.put(None, &new);
            return Ok(());
        }
        let (parent_key, _) = split(path).ok_or(TreeError::NoNode)?;
        // Most znodes have the parent of the one before them.
        let known = self
            .last_parent
            .filter(|id| self.nodes.get(*id).path_bytes() == parent_key.as_bytes());
        let parent = known.or_else(|| self.nodes.find(parent_key));
        self.last_parent = parent;
        self.put(Some(parent.ok_or(TreeError::NoNode)?), &new);
        self.note_owner(path, stat.ephemeral_owner);
        Ok(())
    }

    /// Ends the reading of a snapshot: finds the quotas and drops ACLs that nobody uses.
    pub fn finish_restore(&mut self) {
        self.last_parent = None;
        self.quotas.clear();
        let limits = self.subtree(quota::QUOTA_ROOT).filter_map(|node| {
            let (parent, name) = split(node.path())?;
            let target = parent.strip_prefix(quota::QUOTA_ROOT)?;
            (name == quota::LIMITS).then(|| target.to_owned())
        });
        let targets: Vec<String> = limits.collect();
        for target in targets {
            self.quotas.add(&target);
            self.recount_usage(&target);
        }
        self.acls.purge_unused();
    }

    /// Freezes the tree as it is now; the copy is read in parts with
    /// [`Tree::next_of_checkpoint`] while the tree changes.
    pub fn start_checkpoint(&mut self) {
        self.end_checkpoint();
        self.mark = !self.mark;
        self.checkpoint = Some(Checkpoint::default());
    }

    /// Hands the next znode of the frozen copy to `take`, parents before children; false after
    /// the last one, or if there is no frozen copy.
    pub fn next_of_checkpoint(&mut self, take: impl FnOnce(&str, &Frozen<'_>)) -> bool {
        match &mut self.checkpoint {
            Some(checkpoint) => checkpoint.next(&mut self.nodes, self.mark, take),
            None => false,
        }
    }

    /// Lets the frozen copy go.
    pub fn end_checkpoint(&mut self) {
        if let Some(mut checkpoint) = self.checkpoint.take() {
            // If it was given up early, the rest must look as if it had been read.
            while checkpoint.next(&mut self.nodes, self.mark, |_, _| {}) {}
        }
    }

    /// Hands every znode to `take`, parents before children, and those in the order of names.
    pub fn each(&self, mut take: impl FnMut(&str, &Frozen<'_>)) {
        let mut stack: Vec<NodeRef<'_>> = self.get("/").into_iter().collect();
        while let Some(node) = stack.pop() {
            take(node.path(), &node.into());
            let from = stack.len();
            stack.extend(node.child_nodes());
            stack[from..].sort_unstable_by(|a, b| b.path_bytes().cmp(a.path_bytes()));
        }
    }

    fn put(&mut self, parent: Option<NodeId>, new: &NewRecord<'_>) -> NodeId {
        let id = self.nodes.insert(parent, new);
        let (digests, mark) = (self.options.digests, self.mark);
        let node = self.nodes.get_mut(id);
        // It is younger than a checkpoint that is being read.
        node.mark = mark;
        if digests {
            node.digest = digest::of(node);
        }
        self.digest = self.digest.wrapping_add(u64::from(node.digest));
        self.data_bytes += counted_bytes(node);
        id
    }

    /// Keeps the form of a znode for the checkpoint, before it changes.
    fn keep(&mut self, id: NodeId) {
        if let Some(checkpoint) = &mut self.checkpoint {
            checkpoint.keep(id, &mut self.nodes, self.mark);
        }
    }

    /// Changes a znode; keeps its old form for the checkpoint, and its digest.
    fn change(&mut self, id: NodeId, change: impl FnOnce(&mut Znode)) {
        self.keep(id);
        let digests = self.options.digests;
        let node = self.nodes.get_mut(id);
        change(node);
        if digests {
            let new = digest::of(node);
            self.digest = self
                .digest
                .wrapping_sub(u64::from(node.digest))
                .wrapping_add(u64::from(new));
            node.digest = new;
        }
    }

    fn note_owner(&mut self, path: &str, owner: i64) {
        match Lifetime::of(owner, self.options.extended_types) {
            Lifetime::Persistent => {}
            Lifetime::Container => {
                self.containers.insert(path.into());
            }
            Lifetime::Ttl(_) => {
                self.ttls.insert(path.into());
            }
            Lifetime::Session(session) => {
                self.ephemerals
                    .entry(session)
                    .or_default()
                    .insert(path.into());
            }
        }
    }

    fn forget_owner(&mut self, path: &str, owner: i64) {
        match Lifetime::of(owner, self.options.extended_types) {
            Lifetime::Persistent => {}
            Lifetime::Container => {
                self.containers.remove(path);
            }
            Lifetime::Ttl(_) => {
                self.ttls.remove(path);
            }
            Lifetime::Session(session) => {
                if let Some(paths) = self.ephemerals.get_mut(&session) {
                    paths.remove(path);
                }
            }
        }
    }

    fn note_quota_created(&mut self, path: &str, parent_key: &str, name: &str) {
        let Some(target) = parent_key.strip_prefix(quota::QUOTA_ROOT) else {
            return;
        };
        let target = target.to_owned();
        match name {
            quota::LIMITS => self.quotas.add(&target),
            quota::STATS => {
                debug_assert!(self.get(path).is_some());
                self.recount_usage(&target);
            }
            _ => {}
        }
    }

    /// Counts what lies below `target` and writes it into its stats znode.
    fn recount_usage(&mut self, target: &str) {
        let (mut count, mut bytes) = (0, 0);
        for node in self.subtree(target) {
            count += 1;
            bytes += node.data_len() as i64;
        }
        let mut numbers = QuotaNumbers::default();
        numbers.set_usage(count, bytes);
        if let Some(id) = self.find(&quota::stats_path(target)) {
            self.change(id, |node| {
                node.set_data(Some(numbers.to_text().as_bytes()));
            });
        }
    }

    /// Adds to the stats of the quota that governs `path`, if one does. Stats change without a
    /// new version and fire no watch, as in the real server.
    fn add_usage(&mut self, path: &str, count: i64, bytes: i64) {
        let Some(target) = self.quotas.nearest(path) else {
            return;
        };
        let Some(id) = self.find(&quota::stats_path(target)) else {
            return;
        };
        self.change(id, |node| {
            let mut numbers = QuotaNumbers::parse(node.data().unwrap_or_default());
            numbers.set_usage(numbers.count() + count, numbers.bytes() + bytes);
            node.set_data(Some(numbers.to_text().as_bytes()));
        });
    }
}

/// The paths after one that need not be among them.
fn all_after<'a>(
    paths: &'a BTreeSet<Box<str>>,
    path: Option<&str>,
) -> impl Iterator<Item = &'a str> {
    use std::ops::Bound::{Excluded, Unbounded};
    let after = path.map_or(Unbounded, Excluded);
    paths.range::<str, _>((after, Unbounded)).map(AsRef::as_ref)
}
