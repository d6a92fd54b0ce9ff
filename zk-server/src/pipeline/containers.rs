//! Pure: which containers and TTL znodes have had their time (ContainerManager.java).

use crate::state::tree::Tree;
use crate::state::znode::Lifetime;

/// Znodes looked at in one part of a check, so that clients need not wait for the whole of it.
const PART: usize = 1000;

/// How far a check has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Check {
    /// Nothing has been looked at.
    #[default]
    Begun,
    /// Containers up to this path.
    Containers(Box<str>),
    /// All containers, and TTL znodes up to this path.
    Ttls(Option<Box<str>>),
    /// Everything.
    Done,
}

impl Check {
    /// Looks at the next part, at wall clock `now_ms`: what may go, or `None` when there is nothing
    /// left to look at.
    pub fn next(
        &mut self,
        tree: &Tree,
        now_ms: i64,
        max_never_used_ms: i64,
    ) -> Option<Vec<String>> {
        let part: Vec<&str> = match self {
            Self::Begun => tree.containers_after(None).take(PART).collect(),
            Self::Containers(path) => tree.containers_after(Some(path)).take(PART).collect(),
            Self::Ttls(path) => tree.ttls_after(path.as_deref()).take(PART).collect(),
            Self::Done => return None,
        };
        let last = part.last().map(|path| Box::from(*path));
        *self = match (&*self, last) {
            (Self::Ttls(_), Some(last)) => Self::Ttls(Some(last)),
            (Self::Ttls(_), None) => Self::Done,
            (_, Some(last)) => Self::Containers(last),
            (_, None) => Self::Ttls(None),
        };
        let had_its_time = |path: &&str| is_over(tree, path, now_ms, max_never_used_ms);
        Some(
            part.into_iter()
                .filter(had_its_time)
                .map(str::to_owned)
                .collect(),
        )
    }
}

/// Whether a container or TTL znode may go.
pub fn is_over(tree: &Tree, path: &str, now_ms: i64, max_never_used_ms: i64) -> bool {
    let Some(node) = tree.get(path).filter(|node| node.child_count() == 0) else {
        return false;
    };
    let unchanged_ms = now_ms.saturating_sub(node.stat.mtime);
    match Lifetime::of(node.stat.ephemeral_owner, tree.options().extended_types) {
        Lifetime::Container => {
            // A new one waits for its first child, unless it has waited too long.
            let never_used = max_never_used_ms != 0 && unchanged_ms > max_never_used_ms;
            node.stat.cversion > 0 || never_used
        }
        Lifetime::Ttl(ttl_ms) => ttl_ms != 0 && unchanged_ms > ttl_ms,
        Lifetime::Persistent | Lifetime::Session(_) => false,
    }
}
