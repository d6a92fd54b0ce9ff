//! Pure: the distinct ACLs of the tree, each stored once under a number.
//!
//! The numbers go into snapshots, so they are given out as ReferenceCountedACLCache.java does.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytestring::ByteString;
use common::zk::data::{Acl, Id};

/// The number that stands for world:anyone with all permissions, without being in the cache.
pub const OPEN_UNSAFE: i64 = -1;

/// A shared ACL.
pub type SharedAcl = Arc<[Acl]>;

#[derive(Clone, Debug)]
struct Entry {
    acl: SharedAcl,
    users: u64,
}

/// ACLs by number and back.
#[derive(Clone, Debug)]
pub struct AclCache {
    by_number: BTreeMap<i64, Entry>,
    numbers: HashMap<SharedAcl, i64>,
    last: i64,
    open: SharedAcl,
}

impl Default for AclCache {
    fn default() -> Self {
        let open: SharedAcl = Arc::from(Acl::open());
        Self {
            by_number: BTreeMap::new(),
            numbers: HashMap::new(),
            last: 0,
            open,
        }
    }
}

impl AclCache {
    /// The number of this ACL, counting one more user.
    pub fn acquire(&mut self, acl: &[Acl]) -> i64 {
        let number = match self.numbers.get(acl) {
            Some(number) => *number,
            None => {
                self.last += 1;
                // The entries of a request are slices of its frame: what stays is copied.
                let shared: SharedAcl = acl.iter().map(copied).collect();
                self.numbers.insert(shared.clone(), self.last);
                self.by_number.insert(
                    self.last,
                    Entry {
                        acl: shared,
                        users: 0,
                    },
                );
                self.last
            }
        };
        self.add_user(number);
        number
    }

    /// Counts one more user; numbers that are not here are passed over, as they may be in a
    /// snapshot that was written while the tree changed.
    pub fn add_user(&mut self, number: i64) {
        if let Some(entry) = self.by_number.get_mut(&number) {
            entry.users += 1;
        }
    }

    /// Counts one user less and forgets an ACL that nobody uses.
    pub fn release(&mut self, number: i64) {
        let Some(entry) = self.by_number.get_mut(&number) else {
            return;
        };
        entry.users = entry.users.saturating_sub(1);
        if entry.users == 0 {
            let acl = entry.acl.clone();
            self.by_number.remove(&number);
            self.numbers.remove(&acl);
        }
    }

    /// The ACL of a number; an unknown number is answered with an ACL that lets nobody in.
    pub fn get(&self, number: i64) -> SharedAcl {
        if number == OPEN_UNSAFE {
            return self.open.clone();
        }
        match self.by_number.get(&number) {
            Some(entry) => entry.acl.clone(),
            None => {
                let nobody = Id::new("unknown-acl", number.to_string());
                Arc::from(vec![Acl::new(0, nobody)])
            }
        }
    }

    /// Puts an ACL from a snapshot in, without users.
    pub fn insert(&mut self, number: i64, acl: Vec<Acl>) {
        let shared: SharedAcl = Arc::from(acl);
        self.last = self.last.max(number);
        self.numbers.insert(shared.clone(), number);
        self.by_number.insert(
            number,
            Entry {
                acl: shared,
                users: 0,
            },
        );
    }

    /// Forgets the ACLs that nobody uses, after a snapshot has been read.
    pub fn purge_unused(&mut self) {
        let unused: Vec<i64> = self
            .by_number
            .iter()
            .filter(|(_, e)| e.users == 0)
            .map(|(number, _)| *number)
            .collect();
        for number in unused {
            self.release(number);
        }
    }

    /// All numbers and ACLs.
    pub fn entries(&self) -> impl Iterator<Item = (i64, &SharedAcl)> {
        self.by_number
            .iter()
            .map(|(number, entry)| (*number, &entry.acl))
    }

    /// How many ACLs there are.
    pub fn len(&self) -> usize {
        self.by_number.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }
}

fn copied(acl: &Acl) -> Acl {
    let copy = |text: &str| ByteString::from(text.to_owned());
    Acl::new(
        acl.perms,
        Id {
            scheme: copy(&acl.id.scheme),
            id: copy(&acl.id.id),
        },
    )
}
