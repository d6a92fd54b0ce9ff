//! Pure: what the tree and the watches count.

use crate::metrics::namespaces::Namespaces;
use crate::metrics::summary::Summary;

/// Counters of the state.
#[derive(Clone, Debug, Default)]
pub struct StateStats {
    /// `read_per_namespace`: bytes of paths, data and Stats read.
    pub reads: Namespaces,
    /// `write_per_namespace`: bytes of paths and data written.
    pub writes: Namespaces,
    /// `quota_exceeded_error_per_namespace`: writes refused for a quota; each counts as 1.
    pub quota_exceeded: Namespaces,
    /// `node_created_watch_count`: watchers told at each creation that had any.
    pub created_watches: Summary,
    /// `node_deleted_watch_count`.
    pub deleted_watches: Summary,
    /// `node_changed_watch_count`.
    pub changed_watches: Summary,
    /// `node_children_watch_count`.
    pub children_watches: Summary,
    /// `outstanding_changes_queued`: znodes changed by decisions that were not applied yet.
    pub changes_queued: u64,
    /// `outstanding_changes_removed`.
    pub changes_removed: u64,
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
