//! Pure: which containers and TTL znodes have had their time (ContainerManager.java).

use crate::state::tree::Tree;
use crate::state::znode::{Lifetime, Znode};

/// Paths to delete at wall clock `now_ms`, at most `limit`.
pub fn candidates(tree: &Tree, now_ms: i64, max_never_used_ms: i64, limit: usize) -> Vec<String> {
    let unchanged_ms = |node: &Znode| now_ms.saturating_sub(node.stat.mtime);
    let containers = tree.containers().filter(|path| {
        tree.get(path).is_some_and(|node| {
            // A new one waits for its first child, unless it has waited too long.
            let never_used = max_never_used_ms != 0 && unchanged_ms(&node) > max_never_used_ms;
            node.child_count() == 0 && (node.stat.cversion > 0 || never_used)
        })
    });
    let extended = tree.options().extended_types;
    let ttls = tree.ttls().filter(|path| {
        tree.get(path).is_some_and(|node| {
            let Lifetime::Ttl(ttl_ms) = Lifetime::of(node.stat.ephemeral_owner, extended) else {
                return false;
            };
            node.child_count() == 0 && ttl_ms != 0 && unchanged_ms(&node) > ttl_ms
        })
    });
    containers
        .chain(ttls)
        .take(limit)
        .map(str::to_owned)
        .collect()
}
