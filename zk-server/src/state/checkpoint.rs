//! Pure: the tree as it was after one zxid, read in parts while the tree goes on changing.
//!
//! Every znode carries a mark that says whether the checkpoint has it. Before one that it has not
//! changes or goes, its form is put into a queue. A reader takes what is queued, then the
//! next znode without a mark; those that are younger than the checkpoint are born with it. Before
//! any znode come its ancestors. So a snapshot is exact, though nothing is copied but what
//! changes while it is written.
//!
//! What the mark of a znode that the checkpoint has looks like changes from one checkpoint to the
//! next, so that none need be wiped.

use std::collections::VecDeque;

use common::zk::data::StatPersisted;

use crate::state::nodes::{NodeId, NodeRef, Nodes};

/// A znode as a snapshot holds it.
#[derive(Clone, Copy, Debug)]
pub struct Frozen<'a> {
    /// Its data.
    pub data: Option<&'a [u8]>,
    /// Number of its ACL.
    pub acl: i64,
    /// Its Stat.
    pub stat: StatPersisted,
}

impl<'a> From<NodeRef<'a>> for Frozen<'a> {
    fn from(node: NodeRef<'a>) -> Self {
        Self {
            data: node.data(),
            acl: node.acl,
            stat: node.stat,
        }
    }
}

/// The form of a znode that has changed since.
#[derive(Debug)]
struct OldForm {
    path: Box<str>,
    data: Option<Box<[u8]>>,
    acl: i64,
    stat: StatPersisted,
}

/// How far the tree has been read.
#[derive(Debug, Default)]
pub struct Checkpoint {
    queue: VecDeque<OldForm>,
    /// Znodes below this number have been read.
    next: u32,
}

impl Checkpoint {
    /// Keeps the form of a znode that is about to change, unless `mark` says that it is had.
    pub fn keep(&mut self, id: NodeId, nodes: &mut Nodes, mark: bool) {
        if nodes.get(id).mark == mark {
            return;
        }
        let mut line = vec![id];
        while let Some(parent) = line.last().and_then(|id| nodes.parent(*id))
            && nodes.get(parent).mark != mark
        {
            line.push(parent);
        }
        for id in line.into_iter().rev() {
            nodes.get_mut(id).mark = mark;
            let node = nodes.get(id);
            self.queue.push_back(OldForm {
                path: node.path().into(),
                data: node.data().map(Into::into),
                acl: node.acl,
                stat: node.stat,
            });
        }
    }

    /// Hands the next znode to `take`; false after the last.
    pub fn next(
        &mut self,
        nodes: &mut Nodes,
        mark: bool,
        take: impl FnOnce(&str, &Frozen<'_>),
    ) -> bool {
        if let Some(old) = self.queue.pop_front() {
            let (data, acl, stat) = (old.data.as_deref(), old.acl, old.stat);
            take(&old.path, &Frozen { data, acl, stat });
            return true;
        }
        while self.next < nodes.end() {
            let mut id = NodeId(self.next);
            let node = nodes.get(id);
            if node.mark == mark || !nodes.is_used(id) {
                self.next += 1;
                continue;
            }
            // The farthest ancestor that is not had; mostly there is none, as parents are older.
            while let Some(parent) = nodes.parent(id)
                && nodes.get(parent).mark != mark
            {
                id = parent;
            }
            nodes.get_mut(id).mark = mark;
            let node = nodes.get(id);
            take(node.path(), &node.into());
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use common::zk::data::Acl;

    use crate::state::tree::{NewNode, Tree, TreeOptions};

    fn create(tree: &mut Tree, path: &str, zxid: i64) {
        let new = NewNode {
            path,
            data: Some(b"new"),
            acl: &Acl::open(),
            owner: 0,
            parent_cversion: -1,
        };
        tree.create(new, zxid, 0).unwrap();
    }

    fn change(tree: &mut Tree, random: u64, zxid: i64) {
        let (a, b) = (random % 7, random / 7 % 7);
        let path = match random / 49 % 2 {
            0 => format!("/n{a}"),
            _ => format!("/n{a}/m{b}"),
        };
        match (
            random / 98 % 3,
            tree.get(&path).map(|node| node.child_count()),
        ) {
            (0, Some(0)) => tree.delete(&path, zxid).unwrap(),
            (_, Some(_)) => tree.set_data(&path, Some(b"set"), 1, zxid, 1).unwrap(),
            (_, None) if tree.get(&format!("/n{a}")).is_some() || !path.contains('m') => {
                create(tree, &path, zxid);
            }
            _ => {}
        }
    }

    fn all(tree: &Tree) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        tree.each(|path, node| {
            all.insert(path.to_owned(), format!("{:?} {:?}", node.data, node.stat));
        });
        all
    }

    #[test]
    fn what_is_read_is_the_tree_as_it_was_with_parents_before_children() {
        let mut tree = Tree::new(TreeOptions::default());
        let mut random = 0x9e37_79b9_u64;
        let mut next = move || {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            random >> 33
        };
        let mut zxid = 0;
        for round in 0..300 {
            let expected = all(&tree);
            let mut read = BTreeMap::new();
            tree.start_checkpoint();
            let mut more = true;
            while more {
                for _ in 0..next() % 4 {
                    zxid += 1;
                    change(&mut tree, next(), zxid);
                }
                for _ in 0..next() % 5 {
                    more = tree.next_of_checkpoint(|path, node| {
                        let parent = path.rfind('/').map(|slash| path[..slash].to_owned());
                        assert!(
                            parent.is_none_or(|parent| read.contains_key(&parent)),
                            "{path}"
                        );
                        let form = format!("{:?} {:?}", node.data, node.stat);
                        assert_eq!(read.insert(path.to_owned(), form), None, "{path}");
                    });
                    // Now and then one is given up.
                    more &= round % 10 != 3;
                }
            }
            if round % 10 != 3 {
                assert_eq!(read, expected, "round {round}");
            }
            tree.end_checkpoint();
        }
    }

    #[test]
    fn a_replayed_deletion_takes_what_came_later_with_it() {
        let mut tree = Tree::new(TreeOptions::default());
        let (before, bytes) = (all(&tree).len(), tree.data_bytes());
        for (path, zxid) in [("/p", 5), ("/p/a", 6), ("/p/a/b", 7), ("/p/c", 8)] {
            create(&mut tree, path, zxid);
        }
        tree.delete("/p", 2).unwrap();
        assert_eq!((all(&tree).len(), tree.data_bytes()), (before, bytes));
        for path in ["/p", "/p/c", "/p/a"] {
            create(&mut tree, path, 9);
        }
        let names: Vec<&str> = tree.get("/p").unwrap().children().collect();
        assert_eq!(names, ["c", "a"]);
    }
}
