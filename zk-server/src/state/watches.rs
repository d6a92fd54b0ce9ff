//! Pure: who watches which path, and who hears of a change (WatchManager.java).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use common::zk::request::WatcherType;
use common::zk::response::EventType;

use crate::metrics::percentiles::Percentiles;
use crate::metrics::state::WatchStats;

/// Number of a client connection; never used twice in the life of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// How long a watch stays and how far it sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchMode {
    /// One event, then it is gone.
    OneShot,
    /// Stays.
    Persistent,
    /// Stays, and sees the descendants too, but never `childrenChanged`.
    Recursive,
}

type Path = Rc<str>;

/// One table of watches; a server has one for data and one for children.
#[derive(Debug, Default)]
pub struct WatchTable {
    by_path: HashMap<Path, BTreeMap<ConnectionId, WatchMode>>,
    by_connection: HashMap<ConnectionId, BTreeSet<Path>>,
    recursive: usize,
}

impl WatchTable {
    /// Adds a watch. A connection has one watch on a path: the last mode wins.
    pub fn add(&mut self, path: &str, connection: ConnectionId, mode: WatchMode) {
        let path = match self.by_path.get_key_value(path) {
            Some((path, _)) => path.clone(),
            None => Path::from(path),
        };
        let old = self
            .by_path
            .entry(path.clone())
            .or_default()
            .insert(connection, mode);
        self.recursive += usize::from(mode == WatchMode::Recursive);
        self.recursive -= usize::from(old == Some(WatchMode::Recursive));
        self.by_connection
            .entry(connection)
            .or_default()
            .insert(path);
    }

    /// Takes one watch off; false if there is none.
    pub fn remove(&mut self, path: &str, connection: ConnectionId) -> bool {
        let Some(paths) = self.by_connection.get_mut(&connection) else {
            return false;
        };
        if !paths.remove(path) {
            return false;
        }
        if paths.is_empty() {
            self.by_connection.remove(&connection);
        }
        self.unlink(path, connection);
        true
    }

    /// Takes all watches of a connection off.
    pub fn remove_connection(&mut self, connection: ConnectionId) {
        for path in self.by_connection.remove(&connection).unwrap_or_default() {
            self.unlink(&path, connection);
        }
    }

    fn unlink(&mut self, path: &str, connection: ConnectionId) {
        let Some(watchers) = self.by_path.get_mut(path) else {
            return;
        };
        if watchers.remove(&connection) == Some(WatchMode::Recursive) {
            self.recursive -= 1;
        }
        if watchers.is_empty() {
            self.by_path.remove(path);
        }
    }

    /// Whether `checkWatches` finds a watch: anybody's on this path, as the real server looks.
    pub fn contains(&self, path: &str) -> bool {
        self.by_path.contains_key(path)
    }

    /// Who hears of a change of `path`, in the order of their connections. One-shot watches that
    /// fire are gone.
    pub fn trigger(&mut self, path: &str, change: EventType) -> BTreeSet<ConnectionId> {
        let mut hit = BTreeSet::new();
        let mut spent = Vec::new();
        if let Some(watchers) = self.by_path.get(path) {
            for (connection, mode) in watchers {
                match mode {
                    WatchMode::Recursive if change == EventType::NodeChildrenChanged => continue,
                    WatchMode::OneShot => spent.push(*connection),
                    _ => {}
                }
                hit.insert(*connection);
            }
        }
        for connection in spent {
            self.remove(path, connection);
        }
        if self.recursive > 0 && change != EventType::NodeChildrenChanged {
            self.trigger_ancestors(path, &mut hit);
        }
        hit
    }

    fn trigger_ancestors(&self, path: &str, hit: &mut BTreeSet<ConnectionId>) {
        let mut rest = path;
        while rest != "/" {
            let Some(slash) = rest.rfind('/') else { return };
            rest = if slash == 0 { "/" } else { &rest[..slash] };
            let watchers = self.by_path.get(rest).into_iter().flatten();
            hit.extend(
                watchers
                    .filter(|(_, mode)| **mode == WatchMode::Recursive)
                    .map(|(c, _)| *c),
            );
        }
    }

    /// How many watches there are.
    pub fn len(&self) -> usize {
        self.by_path.values().map(BTreeMap::len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_path.is_empty()
    }

    /// How many connections have watches.
    pub fn connection_count(&self) -> usize {
        self.by_connection.len()
    }

    /// How many paths are watched.
    pub fn path_count(&self) -> usize {
        self.by_path.len()
    }

    /// Paths by connection.
    pub fn by_connection(
        &self,
    ) -> impl Iterator<Item = (ConnectionId, impl Iterator<Item = &str>)> {
        self.by_connection
            .iter()
            .map(|(c, paths)| (*c, paths.iter().map(AsRef::as_ref)))
    }

    /// Connections by path.
    pub fn by_path(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = ConnectionId>)> {
        self.by_path
            .iter()
            .map(|(path, watchers)| (path.as_ref(), watchers.keys().copied()))
    }
}

/// Both tables.
#[derive(Debug, Default)]
pub struct Watches {
    /// Set by `getData` and `exists`.
    pub data: WatchTable,
    /// Set by `getChildren`.
    pub child: WatchTable,
    /// Counters.
    pub stats: WatchStats,
}

/// An event for one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Who hears of it.
    pub connection: ConnectionId,
    /// What happened.
    pub change: EventType,
    /// To which znode.
    pub path: Rc<str>,
}

fn count(watchers: &mut Percentiles, hit: usize) {
    if hit > 0 {
        watchers.observe(hit as u64);
    }
}

impl Watches {
    /// Who hears that a znode was created.
    pub fn created(&mut self, path: &str) -> BTreeSet<ConnectionId> {
        let hit = self.data.trigger(path, EventType::NodeCreated);
        count(&mut self.stats.created, hit.len());
        hit
    }

    /// Who hears that a znode was deleted: first those of the data table, then those of the
    /// child table who have not just heard it.
    pub fn deleted(&mut self, path: &str) -> Vec<ConnectionId> {
        let by_data = self.data.trigger(path, EventType::NodeDeleted);
        let by_child = self.child.trigger(path, EventType::NodeDeleted);
        count(&mut self.stats.deleted, by_data.len());
        count(&mut self.stats.deleted, by_child.len());
        let rest = by_child
            .into_iter()
            .filter(|connection| !by_data.contains(connection));
        let rest: Vec<ConnectionId> = rest.collect();
        by_data.into_iter().chain(rest).collect()
    }

    /// Who hears that data changed.
    pub fn data_changed(&mut self, path: &str) -> BTreeSet<ConnectionId> {
        let hit = self.data.trigger(path, EventType::NodeDataChanged);
        count(&mut self.stats.changed, hit.len());
        hit
    }

    /// Who hears that children came or went.
    pub fn children_changed(&mut self, path: &str) -> BTreeSet<ConnectionId> {
        let hit = self.child.trigger(path, EventType::NodeChildrenChanged);
        count(&mut self.stats.children, hit.len());
        hit
    }

    /// A persistent or recursive watch sits in both tables.
    pub fn add_lasting(&mut self, path: &str, connection: ConnectionId, mode: WatchMode) {
        self.child.add(path, connection, mode);
        self.data.add(path, connection, mode);
    }

    /// Takes watches off; false if there was none.
    pub fn remove(&mut self, path: &str, connection: ConnectionId, kind: WatcherType) -> bool {
        let child = kind != WatcherType::Data && self.child.remove(path, connection);
        let data = kind != WatcherType::Children && self.data.remove(path, connection);
        child || data
    }

    /// Whether there is such a watch.
    pub fn contains(&self, path: &str, kind: WatcherType) -> bool {
        kind != WatcherType::Data && self.child.contains(path)
            || kind != WatcherType::Children && self.data.contains(path)
    }

    /// A connection has gone, and its watches with it.
    pub fn remove_connection(&mut self, connection: ConnectionId) {
        self.data.remove_connection(connection);
        self.child.remove_connection(connection);
    }

    /// All watches of both tables.
    pub fn len(&self) -> usize {
        self.data.len() + self.child.len()
    }

    /// Whether nobody watches anything.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty() && self.child.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ConnectionId = ConnectionId(1);
    const B: ConnectionId = ConnectionId(2);

    #[test]
    fn a_deletion_is_told_once_to_each() {
        let mut watches = Watches::default();
        watches.child.add("/a", A, WatchMode::OneShot);
        watches.data.add("/a", B, WatchMode::OneShot);
        watches.child.add("/a", B, WatchMode::OneShot);
        assert_eq!(watches.deleted("/a"), [B, A]);
        assert!(
            watches.is_empty(),
            "one-shot watches are spent, told or not"
        );
    }

    #[test]
    fn recursive_watches_see_descendants_but_never_their_lists() {
        let mut watches = Watches::default();
        watches.add_lasting("/a", A, WatchMode::Recursive);
        watches.add_lasting("/", B, WatchMode::Recursive);
        assert_eq!(watches.created("/a/b"), BTreeSet::from([A, B]));
        assert_eq!(watches.created("/ab"), BTreeSet::from([B]));
        assert!(watches.children_changed("/a").is_empty());
        assert!(watches.remove("/a", A, WatcherType::Any));
        assert!(!watches.remove("/a", A, WatcherType::Any));
        watches.remove_connection(B);
        assert!(watches.is_empty() && watches.created("/a/b").is_empty());
    }

    #[test]
    fn the_last_mode_wins() {
        let mut watches = Watches::default();
        watches.data.add("/a", A, WatchMode::Persistent);
        watches.data.add("/a", A, WatchMode::OneShot);
        assert_eq!(watches.data_changed("/a").len(), 1);
        assert!(watches.data_changed("/a").is_empty());
    }
}
