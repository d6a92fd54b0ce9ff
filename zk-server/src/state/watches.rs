//! Pure: who watches which path, and who hears of a change (WatchManager.java).

use std::rc::Rc;

use common::zk::request::WatcherType;
use common::zk::response::EventType;

use crate::metrics::percentiles::Percentiles;
use crate::metrics::state::WatchStats;
use crate::state::watch_table::WatchTable;

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
    pub fn created(&mut self, path: &str) -> Vec<ConnectionId> {
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
            .filter(|connection| by_data.binary_search(connection).is_err());
        let rest: Vec<ConnectionId> = rest.collect();
        by_data.into_iter().chain(rest).collect()
    }

    /// Who hears that data changed.
    pub fn data_changed(&mut self, path: &str) -> Vec<ConnectionId> {
        let hit = self.data.trigger(path, EventType::NodeDataChanged);
        count(&mut self.stats.changed, hit.len());
        hit
    }

    /// Who hears that children came or went.
    pub fn children_changed(&mut self, path: &str) -> Vec<ConnectionId> {
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
        assert_eq!(watches.created("/a/b"), [A, B]);
        assert_eq!(watches.created("/ab"), [B]);
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
