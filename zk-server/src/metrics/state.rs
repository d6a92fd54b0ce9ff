//! Pure: what the tree and the watches count.

use crate::metrics::namespaces::Namespaces;
use crate::metrics::percentiles::Percentiles;

/// Watchers told of a change, one value for each change that had any in a table.
#[derive(Clone, Debug, Default)]
pub struct WatchStats {
    /// `node_created_watch_count`.
    pub created: Percentiles,
    /// `node_deleted_watch_count`.
    pub deleted: Percentiles,
    /// `node_changed_watch_count`.
    pub changed: Percentiles,
    /// `node_children_watch_count`.
    pub children: Percentiles,
}

/// Znodes that decisions have changed ahead of the tree.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChangeStats {
    /// `outstanding_changes_queued`.
    pub queued: u64,
    /// `outstanding_changes_removed`: the tree has them too.
    pub removed: u64,
}

/// Counters of the tree.
#[derive(Clone, Debug, Default)]
pub struct StateStats {
    /// `read_per_namespace`: bytes of paths, data and Stats read.
    pub reads: Namespaces,
    /// `write_per_namespace`: bytes of paths and data written.
    pub writes: Namespaces,
    /// `quota_exceeded_error_per_namespace`: writes refused for a quota; each counts as 1.
    pub quota_exceeded: Namespaces,
    /// `digest_mismatches_count`.
    pub digest_mismatches: u64,
}

impl StateStats {
    /// `srst`: everything begins anew.
    pub fn reset(&mut self) {
        let mut sets = (
            std::mem::take(&mut self.reads),
            std::mem::take(&mut self.writes),
            std::mem::take(&mut self.quota_exceeded),
        );
        sets.0.reset();
        sets.1.reset();
        sets.2.reset();
        *self = Self {
            reads: sets.0,
            writes: sets.1,
            quota_exceeded: sets.2,
            ..Self::default()
        };
    }
}
