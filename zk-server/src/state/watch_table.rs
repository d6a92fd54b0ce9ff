//! Pure: one table of watches, small enough for hundreds of thousands.
//!
//! A watched path is kept once, under a number. Most paths have one watcher and most
//! watchers of many paths are clients that watch each once, so a watcher alone on its path stands beside
//! it, and a connection keeps the numbers of its paths.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::BuildHasher;

use common::zk::response::EventType;
use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::state::watches::{ConnectionId, WatchMode};

/// Number of a watched path.
type PathId = u32;

/// Who watches one path. Boxed, as most have one watcher only.
#[allow(clippy::box_collection)]
#[derive(Debug, Default)]
enum Watchers {
    #[default]
    Nobody,
    One(ConnectionId, WatchMode),
    Many(Box<BTreeMap<ConnectionId, WatchMode>>),
}

impl Watchers {
    /// Adds one; returns the mode it had.
    fn insert(&mut self, connection: ConnectionId, mode: WatchMode) -> Option<WatchMode> {
        match self {
            Self::Nobody => {
                *self = Self::One(connection, mode);
                None
            }
            Self::One(one, old) if *one == connection => Some(std::mem::replace(old, mode)),
            Self::One(one, old) => {
                let both = BTreeMap::from([(*one, *old), (connection, mode)]);
                *self = Self::Many(Box::new(both));
                None
            }
            Self::Many(many) => many.insert(connection, mode),
        }
    }

    fn remove(&mut self, connection: ConnectionId) -> Option<WatchMode> {
        match self {
            Self::One(one, mode) if *one == connection => {
                let mode = *mode;
                *self = Self::Nobody;
                Some(mode)
            }
            Self::Many(many) => {
                let mode = many.remove(&connection);
                if many.is_empty() {
                    *self = Self::Nobody;
                }
                mode
            }
            _ => None,
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::Nobody)
    }

    /// In the order of the connections.
    fn iter(&self) -> impl Iterator<Item = (ConnectionId, WatchMode)> {
        let one = match self {
            Self::One(connection, mode) => Some((*connection, *mode)),
            _ => None,
        };
        let many = match self {
            Self::Many(many) => Some(many.iter().map(|(connection, mode)| (*connection, *mode))),
            _ => None,
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

/// The paths of one connection.
#[allow(clippy::box_collection)]
#[derive(Debug)]
enum Paths {
    One(PathId),
    Many(Box<HashSet<PathId, RandomState>>),
}

impl Paths {
    fn insert(&mut self, path: PathId) {
        match self {
            Self::One(one) if *one == path => {}
            Self::One(one) => {
                let mut many = HashSet::with_hasher(RandomState::default());
                many.extend([*one, path]);
                *self = Self::Many(Box::new(many));
            }
            Self::Many(many) => {
                many.insert(path);
            }
        }
    }

    /// Removes a path that is there; true if it was the last.
    fn remove(&mut self, path: PathId) -> bool {
        match self {
            Self::One(one) => *one == path,
            Self::Many(many) => {
                many.remove(&path);
                many.is_empty()
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = PathId> {
        let one = match self {
            Self::One(one) => Some(*one),
            Self::Many(_) => None,
        };
        let many = match self {
            Self::One(_) => None,
            Self::Many(many) => Some(many.iter().copied()),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

#[derive(Debug, Default)]
struct Watched {
    path: Box<str>,
    watchers: Watchers,
}

/// One table of watches; a server has one for data and one for children.
#[derive(Debug, Default)]
pub struct WatchTable {
    paths: Vec<Watched>,
    free: Vec<PathId>,
    numbers: HashTable<PathId>,
    by_connection: HashMap<ConnectionId, Paths, RandomState>,
    hasher: RandomState,
    count: usize,
    recursive: usize,
}

impl WatchTable {
    fn find(&self, path: &str) -> Option<PathId> {
        if self.count == 0 {
            return None;
        }
        let hash = self.hasher.hash_one(path);
        let wanted = |id: &PathId| *self.paths[*id as usize].path == *path;
        self.numbers.find(hash, wanted).copied()
    }

    /// The number of a path that is watched from now on.
    fn number(&mut self, path: &str) -> PathId {
        if let Some(id) = self.find(path) {
            return id;
        }
        let watched = Watched {
            path: path.into(),
            watchers: Watchers::Nobody,
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.paths[id as usize] = watched;
                id
            }
            None => {
                self.paths.push(watched);
                // Memory ends long before the numbers do.
                self.paths.len() as PathId - 1
            }
        };
        let (hasher, paths) = (&self.hasher, &self.paths);
        let hash = |id: &PathId| hasher.hash_one(&*paths[*id as usize].path);
        self.numbers.insert_unique(hash(&id), id, hash);
        id
    }

    /// Adds a watch. A connection has one watch on a path: the last mode wins.
    pub fn add(&mut self, path: &str, connection: ConnectionId, mode: WatchMode) {
        let id = self.number(path);
        let old = self.paths[id as usize].watchers.insert(connection, mode);
        self.count += usize::from(old.is_none());
        self.recursive += usize::from(mode == WatchMode::Recursive);
        self.recursive -= usize::from(old == Some(WatchMode::Recursive));
        self.by_connection
            .entry(connection)
            .and_modify(|paths| paths.insert(id))
            .or_insert(Paths::One(id));
    }

    /// Takes one watch off; false if there is none.
    pub fn remove(&mut self, path: &str, connection: ConnectionId) -> bool {
        let Some(id) = self.find(path) else {
            return false;
        };
        if !self.unlink(id, connection) {
            return false;
        }
        self.forget(id, connection);
        true
    }

    /// Takes all watches of a connection off.
    pub fn remove_connection(&mut self, connection: ConnectionId) {
        if let Some(paths) = self.by_connection.remove(&connection) {
            for id in paths.iter() {
                self.unlink(id, connection);
            }
        }
    }

    /// Takes a path off a connection's list.
    fn forget(&mut self, id: PathId, connection: ConnectionId) {
        if let Some(paths) = self.by_connection.get_mut(&connection)
            && paths.remove(id)
        {
            self.by_connection.remove(&connection);
        }
    }

    /// Takes a connection off a path; false if it was not there.
    fn unlink(&mut self, id: PathId, connection: ConnectionId) -> bool {
        let Some(mode) = self.paths[id as usize].watchers.remove(connection) else {
            return false;
        };
        self.count -= 1;
        self.recursive -= usize::from(mode == WatchMode::Recursive);
        self.drop_if_unwatched(id);
        true
    }

    fn drop_if_unwatched(&mut self, id: PathId) {
        if !self.paths[id as usize].watchers.is_empty() {
            return;
        }
        let watched = std::mem::take(&mut self.paths[id as usize]);
        let hash = self.hasher.hash_one(&*watched.path);
        if let Ok(entry) = self.numbers.find_entry(hash, |other| *other == id) {
            entry.remove();
        }
        self.free.push(id);
    }

    /// Whether `checkWatches` finds a watch: anybody's on this path, as the real server looks.
    pub fn contains(&self, path: &str) -> bool {
        self.find(path).is_some()
    }

    /// Who hears of a change of `path`, in the order of their connections. One-shot watches that
    /// fire are gone.
    pub fn trigger(&mut self, path: &str, change: EventType) -> Vec<ConnectionId> {
        let mut hit = Vec::new();
        if self.count == 0 {
            return hit;
        }
        if let Some(id) = self.find(path) {
            self.trigger_path(id, change, &mut hit);
        }
        if self.recursive > 0 && change != EventType::NodeChildrenChanged {
            self.trigger_ancestors(path, &mut hit);
            hit.sort_unstable();
            hit.dedup();
        }
        hit
    }

    fn trigger_path(&mut self, id: PathId, change: EventType, hit: &mut Vec<ConnectionId>) {
        let mut spent = Vec::new();
        for (connection, mode) in self.paths[id as usize].watchers.iter() {
            match mode {
                WatchMode::Recursive if change == EventType::NodeChildrenChanged => continue,
                WatchMode::OneShot => spent.push(connection),
                _ => {}
            }
            hit.push(connection);
        }
        for connection in spent {
            self.unlink(id, connection);
            self.forget(id, connection);
        }
    }

    fn trigger_ancestors(&self, path: &str, hit: &mut Vec<ConnectionId>) {
        let mut rest = path;
        while rest != "/" {
            let Some(slash) = rest.rfind('/') else { return };
            rest = if slash == 0 { "/" } else { &rest[..slash] };
            let Some(id) = self.find(rest) else { continue };
            let watchers = self.paths[id as usize].watchers.iter();
            hit.extend(
                watchers
                    .filter(|(_, mode)| *mode == WatchMode::Recursive)
                    .map(|(connection, _)| connection),
            );
        }
    }

    /// How many watches there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many connections have watches.
    pub fn connection_count(&self) -> usize {
        self.by_connection.len()
    }

    /// How many paths are watched.
    pub fn path_count(&self) -> usize {
        self.numbers.len()
    }

    /// Paths by connection.
    pub fn by_connection(
        &self,
    ) -> impl Iterator<Item = (ConnectionId, impl Iterator<Item = &str>)> {
        self.by_connection.iter().map(|(connection, paths)| {
            let paths = paths.iter().map(|id| &*self.paths[id as usize].path);
            (*connection, paths)
        })
    }

    /// Connections by path.
    pub fn by_path(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = ConnectionId>)> {
        let watched = self.paths.iter().filter(|w| !w.watchers.is_empty());
        watched.map(|w| {
            (
                &*w.path,
                w.watchers.iter().map(|(connection, _)| connection),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The same, simply.
    #[derive(Default)]
    struct Model(BTreeMap<(String, ConnectionId), WatchMode>);

    impl Model {
        fn trigger(&mut self, path: &str, change: EventType) -> Vec<ConnectionId> {
            let list = change == EventType::NodeChildrenChanged;
            let above = |at: &str| at == "/" || path.starts_with(&format!("{at}/"));
            let mut hit = BTreeSet::new();
            self.0.retain(|(at, connection), mode| {
                let hears = match mode {
                    WatchMode::Recursive => !list && (at == path || above(at)),
                    _ => at == path,
                };
                if hears {
                    hit.insert(*connection);
                }
                !(hears && *mode == WatchMode::OneShot)
            });
            hit.into_iter().collect()
        }
    }

    #[test]
    fn it_does_what_a_simple_table_does() {
        let mut random = 7_u64;
        let mut next = move |below: u64| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 33) % below
        };
        let paths = ["/", "/a", "/a/b", "/a/b/c", "/ab", "/d"];
        let (mut table, mut model) = (WatchTable::default(), Model::default());
        for step in 0..20_000 {
            let path = paths[next(6) as usize];
            let connection = ConnectionId(next(5));
            match next(8) {
                0..4 => {
                    let modes = [
                        WatchMode::OneShot,
                        WatchMode::Persistent,
                        WatchMode::Recursive,
                    ];
                    let mode = modes[next(3) as usize];
                    table.add(path, connection, mode);
                    model.0.insert((path.to_owned(), connection), mode);
                }
                4 => {
                    let had = model.0.remove(&(path.to_owned(), connection)).is_some();
                    assert_eq!(table.remove(path, connection), had, "{step}");
                }
                5 if next(4) == 0 => {
                    table.remove_connection(connection);
                    model.0.retain(|(_, other), _| *other != connection);
                }
                _ => {
                    let changes = [EventType::NodeDataChanged, EventType::NodeChildrenChanged];
                    let change = changes[next(2) as usize];
                    assert_eq!(
                        table.trigger(path, change),
                        model.trigger(path, change),
                        "{step}"
                    );
                }
            }
            let connections: BTreeSet<_> = model.0.keys().map(|(_, c)| *c).collect();
            let watched: BTreeSet<_> = model.0.keys().map(|(path, _)| &**path).collect();
            assert_eq!(table.len(), model.0.len());
            assert_eq!(table.connection_count(), connections.len());
            assert_eq!(
                table
                    .by_path()
                    .map(|(path, _)| path)
                    .collect::<BTreeSet<_>>(),
                watched
            );
        }
    }
}
