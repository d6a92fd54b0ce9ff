//! Pure: everything the server knows, in one hand.

use std::rc::Rc;

use common::zk::response::EventType;

use crate::auth::schemes::Schemes;
use crate::metrics::state::StateStats;
use crate::state::acl_cache::SharedAcl;
use crate::state::digest::DigestHistory;
use crate::state::pending::Pending;
use crate::state::sessions::Sessions;
use crate::state::tree::{Tree, TreeOptions};
use crate::state::watches::{ConnectionId, Watches};

/// Settings that change what requests may do.
#[derive(Clone, Copy, Debug)]
pub struct DatabaseOptions {
    /// What the tree keeps.
    pub tree: TreeOptions,
    /// `skipACL=yes`: no ACL is looked at.
    pub skip_acl: bool,
    /// `enforceQuota`: hard limits hold.
    pub enforce_quota: bool,
    /// `reconfigEnabled`.
    pub reconfig_enabled: bool,
    /// `closeSessionTxn.enabled`: the end of a session is logged with its paths.
    pub close_session_txn: bool,
}

impl Default for DatabaseOptions {
    fn default() -> Self {
        Self {
            tree: TreeOptions::default(),
            skip_acl: false,
            enforce_quota: false,
            reconfig_enabled: false,
            close_session_txn: true,
        }
    }
}

/// An event on its way to one connection.
#[derive(Clone, Debug)]
pub struct Event {
    /// Who hears of it, if its identities may read the znode.
    pub connection: ConnectionId,
    /// What happened.
    pub kind: EventType,
    /// To which znode.
    pub path: Rc<str>,
    /// The znode's ACL before the change.
    pub acl: SharedAcl,
}

/// Tree, sessions, watches, and what has been decided but not applied.
#[derive(Debug)]
pub struct Database {
    /// The znodes.
    pub tree: Tree,
    /// The sessions.
    pub sessions: Sessions,
    /// The watches.
    pub watches: Watches,
    /// Decided, not yet applied.
    pub pending: Pending,
    /// The last zxid given to a transaction.
    pub last_zxid: i64,
    /// The last zxid applied.
    pub applied_zxid: i64,
    /// Settings.
    pub options: DatabaseOptions,
    /// The authentication schemes that ACLs may name.
    pub schemes: Schemes,
    /// Transactions applied by this process.
    pub applied_count: u64,
    /// Digests of the tree as it was, for the operators to compare servers by.
    pub digests: DigestHistory,
    /// Counters.
    pub stats: StateStats,
}

impl Database {
    /// What recovery found.
    pub fn new(tree: Tree, sessions: Sessions, zxid: i64, options: DatabaseOptions) -> Self {
        Self {
            tree,
            sessions,
            watches: Watches::default(),
            pending: Pending::default(),
            last_zxid: zxid,
            applied_zxid: zxid,
            options,
            schemes: Schemes::default(),
            applied_count: 0,
            digests: DigestHistory::default(),
            stats: StateStats::default(),
        }
    }

    /// The zxid for the next transaction.
    pub fn next_zxid(&mut self) -> i64 {
        self.last_zxid += 1;
        self.last_zxid
    }
}
