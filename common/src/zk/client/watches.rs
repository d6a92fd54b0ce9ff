//! Pure: which watches the server holds for us, so that they can be set again on another
//! connection (`ZKWatchManager.java`). All paths are the server's.

use std::collections::BTreeSet;

use bytestring::ByteString;

use crate::zk::jute::Record;
use crate::zk::request::{AddWatchMode, Request, SetWatches, SetWatches2, WatcherType};
use crate::zk::response::EventType;

/// The most bytes of paths in one frame that sets watches again, as Java's client has it: well
/// below what any server takes.
const MAX_FRAME_BYTES: usize = 128 << 10;

/// A table of [`Watches`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Table {
    Data,
    Exist,
    Child,
    Persistent,
    Recursive,
}

/// What a request does to the watches once its reply is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchChange {
    /// getData left a watch, if it succeeded.
    Data(String),
    /// exists left a watch, on the node's creation if it does not exist.
    Exist(String),
    /// getChildren left a watch, if it succeeded.
    Child(String),
    /// addWatch added one.
    Add(String, AddWatchMode),
    /// removeWatches took some off. With `local` ours go even if the server could not be asked.
    Remove {
        /// The node.
        path: String,
        /// Which.
        kind: WatcherType,
        /// Whether to forget them whatever the server says.
        local: bool,
    },
}

/// The watches the server holds for this client.
#[derive(Debug, Default)]
pub struct Watches {
    sets: [BTreeSet<String>; 5],
}

impl Watches {
    fn set(&mut self, table: Table) -> &mut BTreeSet<String> {
        &mut self.sets[table as usize]
    }

    /// Takes a reply into account. Gives the kinds of watches that were removed from `path`.
    pub fn replied(&mut self, change: &WatchChange, ok: bool, no_node: bool) -> Vec<EventType> {
        match change {
            WatchChange::Data(path) if ok => self.set(Table::Data).insert(path.clone()),
            WatchChange::Exist(path) if ok => self.set(Table::Data).insert(path.clone()),
            WatchChange::Exist(path) if no_node => self.set(Table::Exist).insert(path.clone()),
            WatchChange::Child(path) if ok => self.set(Table::Child).insert(path.clone()),
            WatchChange::Add(path, mode) if ok => {
                let (to, from) = match mode {
                    AddWatchMode::Persistent => (Table::Persistent, Table::Recursive),
                    AddWatchMode::PersistentRecursive => (Table::Recursive, Table::Persistent),
                };
                // A server holds one mode for a path: the last one asked for.
                self.set(from).remove(path);
                self.set(to).insert(path.clone())
            }
            WatchChange::Remove { path, kind, local } if ok || *local => {
                return self.remove(path, *kind);
            }
            _ => false,
        };
        Vec::new()
    }

    /// Whether there is a watch that a removal of this kind would take off.
    #[must_use]
    pub fn has(&self, path: &str, kind: WatcherType) -> bool {
        removal(kind)
            .iter()
            .any(|(table, _)| self.sets[*table as usize].contains(path))
    }

    fn remove(&mut self, path: &str, kind: WatcherType) -> Vec<EventType> {
        let mut removed = Vec::new();
        for (table, event) in removal(kind) {
            if self.set(*table).remove(path) && !removed.contains(event) {
                removed.push(*event);
            }
        }
        removed
    }

    /// A watch fired: the ones that fire once are gone.
    pub fn fired(&mut self, kind: EventType, path: &str) {
        let tables: &[Table] = match kind {
            EventType::NodeCreated | EventType::NodeDataChanged => &[Table::Data, Table::Exist],
            EventType::NodeDeleted => &[Table::Data, Table::Exist, Table::Child],
            EventType::NodeChildrenChanged => &[Table::Child],
            _ => &[],
        };
        for table in tables {
            self.set(*table).remove(path);
        }
    }

    /// The requests that set all watches again on a new connection.
    #[must_use]
    pub fn set_again(&self, last_zxid: i64) -> Vec<Request> {
        let tables = [
            Table::Data,
            Table::Exist,
            Table::Child,
            Table::Persistent,
            Table::Recursive,
        ];
        let all = tables.into_iter().flat_map(|table| {
            self.sets[table as usize]
                .iter()
                .map(move |path| (table, path))
        });
        let mut requests = Vec::new();
        let mut batch = SetWatches2 {
            relative_zxid: last_zxid,
            ..SetWatches2::default()
        };
        let mut bytes = 0;
        for (table, path) in all {
            if bytes + path.len() > MAX_FRAME_BYTES && bytes > 0 {
                requests.push(request(std::mem::take(&mut batch)));
                batch.relative_zxid = last_zxid;
                bytes = 0;
            }
            bytes += path.len() + ByteString::MIN_BYTES;
            let list = match table {
                Table::Data => &mut batch.data,
                Table::Exist => &mut batch.exist,
                Table::Child => &mut batch.child,
                Table::Persistent => &mut batch.persistent,
                Table::Recursive => &mut batch.persistent_recursive,
            };
            list.push(ByteString::from(path.as_str()));
        }
        if bytes > 0 {
            requests.push(request(batch));
        }
        requests
    }
}

/// The tables a removal looks at, and the event if it finds something. Persistent watches go
/// only with all others.
const fn removal(kind: WatcherType) -> &'static [(Table, EventType)] {
    match kind {
        WatcherType::Children => &[(Table::Child, EventType::ChildWatchRemoved)],
        WatcherType::Data => &[
            (Table::Data, EventType::DataWatchRemoved),
            (Table::Exist, EventType::DataWatchRemoved),
        ],
        WatcherType::Any => &[
            (Table::Child, EventType::ChildWatchRemoved),
            (Table::Data, EventType::DataWatchRemoved),
            (Table::Exist, EventType::DataWatchRemoved),
            (Table::Persistent, EventType::PersistentWatchRemoved),
            (Table::Recursive, EventType::PersistentWatchRemoved),
        ],
    }
}

/// As Java's client: the older request will do if there are no persistent watches, and servers
/// before 3.6 know no other.
fn request(watches: SetWatches2) -> Request {
    if watches.persistent.is_empty() && watches.persistent_recursive.is_empty() {
        let SetWatches2 {
            relative_zxid,
            data,
            exist,
            child,
            ..
        } = watches;
        Request::SetWatches(SetWatches {
            relative_zxid,
            data,
            exist,
            child,
        })
    } else {
        Request::SetWatches2(watches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watches_are_kept_until_they_fire() {
        let mut watches = Watches::default();
        watches.replied(&WatchChange::Data("/d".into()), true, false);
        watches.replied(&WatchChange::Data("/gone".into()), false, true);
        watches.replied(&WatchChange::Exist("/e".into()), false, true);
        watches.replied(&WatchChange::Child("/c".into()), true, false);
        watches.replied(
            &WatchChange::Add("/p".into(), AddWatchMode::Persistent),
            true,
            false,
        );
        watches.fired(EventType::NodeDataChanged, "/d");
        watches.fired(EventType::NodeDataChanged, "/p");
        let expected = SetWatches2 {
            relative_zxid: 9,
            exist: vec!["/e".into()],
            child: vec!["/c".into()],
            persistent: vec!["/p".into()],
            ..SetWatches2::default()
        };
        assert_eq!(watches.set_again(9), [Request::SetWatches2(expected)]);
        let change = WatchChange::Remove {
            path: "/p".into(),
            kind: WatcherType::Any,
            local: false,
        };
        assert!(!watches.has("/p", WatcherType::Data) && watches.has("/p", WatcherType::Any));
        assert_eq!(watches.replied(&change, false, false), []);
        assert_eq!(
            watches.replied(&change, true, false),
            [EventType::PersistentWatchRemoved]
        );
        assert!(!watches.has("/p", WatcherType::Any));
    }

    #[test]
    fn many_watches_take_several_frames() {
        let mut watches = Watches::default();
        for i in 0..3000 {
            watches.replied(&WatchChange::Child(format!("/{i:0>100}")), true, false);
        }
        let requests = watches.set_again(1);
        assert_eq!(requests.len(), 3);
        let total: usize = requests
            .iter()
            .map(|request| match request {
                Request::SetWatches(watches) => watches.child.len(),
                _ => 0,
            })
            .sum();
        assert_eq!(total, 3000);
    }
}
