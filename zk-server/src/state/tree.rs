//! Pure: the znodes, and what hangs on their coming and going.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use common::zk::data::{Acl, StatPersisted};

use crate::state::acl_cache::{AclCache, SharedAcl};
use crate::state::checkpoint::{Checkpoint, Frozen};
use crate::state::digest;
use crate::state::quota::{self, QuotaNumbers, QuotaPaths};
use crate::state::znode::{Lifetime, Znode, created_stat};

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
    /// `extendedTypesEnabled`: TTL znodes.
    pub extended_types: bool,
}

impl Default for TreeOptions {
    fn default() -> Self {
        Self {
            digests: true,
            extended_types: false,
        }
    }
}

/// What a new znode is made of.
#[derive(Debug)]
pub struct NewNode<'a> {
    /// Where.
    pub path: &'a str,
    /// Its data.
    pub data: Option<Bytes>,
    /// Its ACL.
    pub acl: &'a [Acl],
    /// `ephemeralOwner`.
    pub owner: i64,
    /// The parent's cversion from now on, or -1 for one more than it is.
    pub parent_cversion: i32,
}

/// Znodes by path. They are boxed so that the map can grow without moving them.
pub type Nodes = HashMap<Box<str>, Box<Znode>>;

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

impl Tree {
    /// The tree of a server that has never run.
    pub fn new(options: TreeOptions) -> Self {
        let mut tree = Self::empty(options);
        let plain = || Znode::new(Some(Bytes::new()), -1, StatPersisted::default());
        for path in ["", "/zookeeper", quota::QUOTA_ROOT, CONFIG_NODE] {
            tree.put(path, plain());
        }
        for path in ["/zookeeper", quota::QUOTA_ROOT, CONFIG_NODE] {
            tree.link(path);
        }
        // The real server sets this ACL with aversion -1.
        let _ = tree.set_acl(CONFIG_NODE, &Acl::read_only(), -1);
        tree
    }

    /// A tree without even a root, to be filled from a snapshot.
    pub fn empty(options: TreeOptions) -> Self {
        Self {
            nodes: Nodes::new(),
            acls: AclCache::default(),
            ephemerals: HashMap::new(),
            containers: BTreeSet::new(),
            ttls: BTreeSet::new(),
            quotas: QuotaPaths::default(),
            digest: 0,
            data_bytes: 0,
            options,
            checkpoint: None,
        }
    }

    /// The settings it was made with.
    pub fn options(&self) -> TreeOptions {
        self.options
    }

    /// A znode.
    pub fn get(&self, path: &str) -> Option<&Znode> {
        self.nodes.get(key(path)).map(AsRef::as_ref)
    }

    /// The ACL of a znode.
    pub fn acl_of(&self, node: &Znode) -> SharedAcl {
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

    /// Paths of all container znodes.
    pub fn containers(&self) -> impl Iterator<Item = &str> {
        self.containers.iter().map(AsRef::as_ref)
    }

    /// Paths of all TTL znodes.
    pub fn ttls(&self) -> impl Iterator<Item = &str> {
        self.ttls.iter().map(AsRef::as_ref)
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
        let mut count = 0;
        let mut stack = vec![path.to_owned()];
        while let Some(path) = stack.pop() {
            let Some(node) = self.get(&path) else {
                continue;
            };
            count += node.child_count();
            stack.extend(node.children().map(|child| format!("{path}/{child}")));
        }
        count
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

    /// Creates a znode. Its data is copied, as it is a slice of a request's frame.
    ///
    /// The parent's cversion and pzxid never go back: a transaction may be replayed over a
    /// snapshot that has seen later ones.
    pub fn create(&mut self, new: NewNode<'_>, zxid: i64, time_ms: i64) -> Result<(), TreeError> {
        let (parent_key, name) = split(new.path).ok_or(TreeError::NoNode)?;
        let parent = self.nodes.get(parent_key).ok_or(TreeError::NoNode)?;
        if parent.has_child(name) {
            return Err(TreeError::NodeExists);
        }
        let cversion = match new.parent_cversion {
            -1 => parent.stat.cversion.wrapping_add(1),
            given => given,
        };
        let acl = self.acls.acquire(new.acl);
        self.change(parent_key, |parent| {
            if cversion > parent.stat.cversion {
                parent.stat.cversion = cversion;
                parent.stat.pzxid = zxid;
            }
            parent.add_child(name);
        });
        let data = new.data.map(|data| Bytes::copy_from_slice(&data));
        let bytes = data.as_ref().map_or(0, Bytes::len) as i64;
        self.put(
            new.path,
            Znode::new(data, acl, created_stat(zxid, time_ms, new.owner)),
        );
        self.note_owner(new.path, new.owner);
        self.note_quota_created(new.path, parent_key, name);
        self.add_usage(new.path, 1, bytes);
        Ok(())
    }

    /// Deletes a znode. The parent's pzxid moves even if the znode is missing.
    pub fn delete(&mut self, path: &str, zxid: i64) -> Result<(), TreeError> {
        let (parent_key, name) = split(path).ok_or(TreeError::NoNode)?;
        if !self.nodes.contains_key(parent_key) {
            return Err(TreeError::NoNode);
        }
        if let (Some(checkpoint), Some(node)) = (&mut self.checkpoint, self.nodes.get(path)) {
            checkpoint.keep(path, node);
            checkpoint.keep_deleted_child(parent_key, name, node);
        }
        self.change(parent_key, |parent| {
            parent.remove_child(name);
            parent.stat.pzxid = parent.stat.pzxid.max(zxid);
        });
        let node = self.nodes.remove(path).ok_or(TreeError::NoNode)?;
        self.digest = self.digest.wrapping_sub(u64::from(node.digest));
        self.data_bytes -= (path.len() + node.data_len()) as i64;
        self.acls.release(node.acl);
        self.forget_owner(path, node.stat.ephemeral_owner);
        if name == quota::LIMITS && parent_key.starts_with(quota::QUOTA_ROOT) {
            self.quotas.remove(&parent_key[quota::QUOTA_ROOT.len()..]);
        }
        self.add_usage(path, -1, -(node.data_len() as i64));
        Ok(())
    }

    /// Sets data and version. The data is copied.
    pub fn set_data(
        &mut self,
        path: &str,
        data: Option<Bytes>,
        version: i32,
        zxid: i64,
        time_ms: i64,
    ) -> Result<(), TreeError> {
        let old_len = self.get(path).ok_or(TreeError::NoNode)?.data_len() as i64;
        let data = data.map(|data| Bytes::copy_from_slice(&data));
        let growth = data.as_ref().map_or(0, Bytes::len) as i64 - old_len;
        self.change(key(path), |node| {
            node.data = data;
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
        let old = self.get(path).ok_or(TreeError::NoNode)?.acl;
        self.acls.release(old);
        let acl = self.acls.acquire(acl);
        self.change(key(path), |node| {
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
        let current = self.get(path).ok_or(TreeError::NoNode)?.stat.cversion;
        let cversion = if cversion == -1 {
            current.wrapping_add(1)
        } else {
            cversion
        };
        if cversion > current {
            self.change(key(path), |node| {
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
        if !path.is_empty() {
            let (parent_key, name) = split(path).ok_or(TreeError::NoNode)?;
            let parent = self.nodes.get_mut(parent_key).ok_or(TreeError::NoNode)?;
            parent.add_child(name);
            self.note_owner(path, stat.ephemeral_owner);
        }
        let data = data.map(Bytes::copy_from_slice);
        self.put(path, Znode::new(data, acl, stat));
        Ok(())
    }

    /// Ends the reading of a snapshot: finds the quotas and drops ACLs that nobody uses.
    pub fn finish_restore(&mut self) {
        self.quotas.clear();
        let mut stack = vec![quota::QUOTA_ROOT.to_owned()];
        while let Some(path) = stack.pop() {
            let Some(node) = self.get(&path) else {
                continue;
            };
            if let Some((parent, quota::LIMITS)) = split(&path) {
                let target = parent[quota::QUOTA_ROOT.len()..].to_owned();
                self.quotas.add(&target);
                self.recount_usage(&target);
                continue;
            }
            stack.extend(node.children().map(|child| format!("{path}/{child}")));
        }
        self.acls.purge_unused();
    }

    /// Freezes the tree as it is after `zxid`; the copy is read in parts with
    /// [`Tree::next_of_checkpoint`] while the tree changes.
    pub fn start_checkpoint(&mut self, zxid: i64) {
        self.checkpoint = Some(Checkpoint::new(zxid));
    }

    /// Hands the next znode of the frozen copy to `take`; false after the last one, or if there
    /// is no frozen copy.
    pub fn next_of_checkpoint(&mut self, take: impl FnOnce(&str, &Frozen)) -> bool {
        let Some(checkpoint) = &mut self.checkpoint else {
            return false;
        };
        match checkpoint.next(&self.nodes) {
            Some((path, node)) => {
                take(path, &node);
                true
            }
            None => false,
        }
    }

    /// The same for a walk over a tree that nobody changes.
    pub fn next_frozen(&self, walk: &mut Checkpoint, take: impl FnOnce(&str, &Frozen)) -> bool {
        match walk.next(&self.nodes) {
            Some((path, node)) => {
                take(path, &node);
                true
            }
            None => false,
        }
    }

    /// Lets the frozen copy go.
    pub fn end_checkpoint(&mut self) {
        self.checkpoint = None;
    }

    fn put(&mut self, path: &str, mut node: Znode) {
        if self.options.digests {
            node.digest = digest::of_node(path, node.data.as_deref(), &node.stat);
        }
        self.digest = self.digest.wrapping_add(u64::from(node.digest));
        self.data_bytes += (path.len() + node.data_len()) as i64;
        if let Some(old) = self.nodes.insert(path.into(), Box::new(node)) {
            self.digest = self.digest.wrapping_sub(u64::from(old.digest));
            self.data_bytes -= (path.len() + old.data_len()) as i64;
        }
    }

    fn link(&mut self, path: &str) {
        if let Some((parent, name)) = split(path)
            && let Some(parent) = self.nodes.get_mut(parent)
        {
            parent.add_child(name);
        }
    }

    /// Changes a znode that is there; keeps its old form for the checkpoint, and its digest.
    fn change(&mut self, key: &str, change: impl FnOnce(&mut Znode)) {
        let Some(node) = self.nodes.get_mut(key) else {
            return;
        };
        if let Some(checkpoint) = &mut self.checkpoint {
            checkpoint.keep(key, node);
        }
        change(node);
        if self.options.digests {
            let new = digest::of_node(key, node.data.as_deref(), &node.stat);
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
        let mut stack = vec![target.to_owned()];
        while let Some(path) = stack.pop() {
            let Some(node) = self.get(&path) else {
                continue;
            };
            count += 1;
            bytes += node.data_len() as i64;
            stack.extend(node.children().map(|child| format!("{path}/{child}")));
        }
        let mut numbers = QuotaNumbers::default();
        numbers.set_usage(count, bytes);
        self.change(&quota::stats_path(target), |node| {
            node.data = Some(numbers.to_text().into())
        });
    }

    /// Adds to the stats of the quota that governs `path`, if one does. Stats change without a
    /// new version and fire no watch, as in the real server.
    fn add_usage(&mut self, path: &str, count: i64, bytes: i64) {
        let Some(target) = self.quotas.nearest(path) else {
            return;
        };
        self.change(&quota::stats_path(target), |node| {
            let mut numbers = QuotaNumbers::parse(node.data.as_deref().unwrap_or_default());
            numbers.set_usage(numbers.count() + count, numbers.bytes() + bytes);
            node.data = Some(numbers.to_text().into());
        });
    }
}
