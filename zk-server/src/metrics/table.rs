//! Pure: the metrics by ZooKeeper's names, in the order of its `mntr` (ServerMetrics.java).
//!
//! Those of parts that this server has not (elections, followers, the caches of serialised
//! replies, the JVM) are there as well and stay 0, as they do in a standalone ZooKeeper.

use crate::metrics::namespaces::Namespaces;
use crate::metrics::percentiles::Percentiles;
use crate::metrics::server::ServerStats;
use crate::metrics::state::{ChangeStats, StateStats, WatchStats};
use crate::metrics::summary::Summary;

/// The percentiles that are told, by the name that ZooKeeper gives them.
pub const PERCENTILES: [(&str, f64); 4] =
    [("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("p999", 0.999)];

/// Where the numbers are.
#[derive(Clone, Copy, Debug)]
pub struct Stats<'a> {
    /// Of the server.
    pub server: &'a ServerStats,
    /// Of the tree.
    pub state: &'a StateStats,
    /// Of the watches.
    pub watches: &'a WatchStats,
    /// Of the decisions.
    pub changes: ChangeStats,
}

/// A number as it is shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A whole one.
    Whole(i64),
    /// One that always has a decimal point.
    Double(f64),
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Self::Whole(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

/// The summaries by namespace.
pub fn namespaces(stats: Stats<'_>) -> [(&'static str, &Namespaces); 2] {
    [
        ("read_per_namespace", &stats.state.reads),
        ("write_per_namespace", &stats.state.writes),
    ]
}

/// The counters by namespace.
pub fn namespace_counters(stats: Stats<'_>) -> [(&'static str, &Namespaces); 1] {
    [(
        "quota_exceeded_error_per_namespace",
        &stats.state.quota_exceeded,
    )]
}

/// All metrics, with each part of a summary under its own name.
pub fn each(stats: Stats<'_>, mut sink: impl FnMut(&str, Number)) {
    for (name, count) in counters(stats) {
        sink(name, count.into());
    }
    for (name, set) in namespace_counters(stats) {
        for (namespace, summary) in set.iter() {
            sink(
                &format!("{namespace}_{name}"),
                summary.summary().sum().into(),
            );
        }
    }
    for (name, all) in summaries(stats) {
        each_part(name, &all.summary(), &mut sink);
    }
    for (name, all) in percentiles(stats) {
        each_part(name, &all.summary(), &mut sink);
        for (short, part) in PERCENTILES {
            sink(&format!("{short}_{name}"), all.percentile(part).into());
        }
    }
    for (name, set) in namespaces(stats) {
        for (namespace, summary) in set.iter() {
            each_part(
                &format!("{namespace}_{name}"),
                &summary.summary(),
                &mut sink,
            );
        }
    }
}

fn each_part(name: &str, summary: &Summary, sink: &mut impl FnMut(&str, Number)) {
    sink(&format!("avg_{name}"), Number::Double(summary.mean()));
    sink(&format!("min_{name}"), summary.min().into());
    sink(&format!("max_{name}"), summary.max().into());
    sink(&format!("cnt_{name}"), summary.count().into());
    sink(&format!("sum_{name}"), summary.sum().into());
}

/// The counters.
pub fn counters(stats: Stats<'_>) -> [(&'static str, u64); 47] {
    let (s, t) = (stats.server, stats.state);
    let (r, c, d) = (&s.requests, &s.connections, &s.disk);
    [
        ("proposal_count", 0),
        ("watch_bytes", s.watch_bytes),
        ("outstanding_changes_removed", stats.changes.removed),
        ("throttled_ops", r.throttled_ops),
        ("stale_requests_dropped", r.stale_dropped),
        ("large_requests_rejected", r.large_rejected),
        ("insecure_admin_count", c.insecure_admin),
        ("connection_rejected", c.rejected),
        ("cnxn_closed_without_zk_server_running", 0),
        ("sessionless_connections_expired", c.sessionless_expired),
        ("looking_count", 0),
        ("dead_watchers_queued", 0),
        ("stale_requests", r.stale),
        ("connection_drop_count", c.dropped),
        ("learner_proposal_received_count", 0),
        ("digest_mismatches_count", t.digest_mismatches),
        ("dead_watchers_cleared", 0),
        ("response_packet_cache_hits", 0),
        ("bytes_received_count", s.bytes_received),
        ("add_dead_watcher_stall_time", 0),
        ("request_throttle_wait_count", r.throttle_waits),
        ("requests_not_forwarded_to_commit_processor", 0),
        ("response_packet_cache_misses", 0),
        ("ensemble_auth_success", c.ensemble_auth_success),
        ("prep_processor_request_queued", r.prepared),
        ("learner_commit_received_count", 0),
        ("stale_replies", r.stale_replies),
        ("connection_request_count", c.requested),
        ("response_bytes", s.response_bytes),
        ("ensemble_auth_fail", c.ensemble_auth_fail),
        ("diff_count", 0),
        ("response_packet_get_children_cache_misses", 0),
        ("connection_revalidate_count", c.revalidated),
        ("quit_leading_due_to_disloyal_voter", 0),
        ("snap_count", 0),
        ("unrecoverable_error_count", r.unrecoverable_errors),
        ("unsuccessful_handshake", c.failed_handshakes),
        ("commit_count", 0),
        ("stale_sessions_expired", c.sessions_expired),
        ("response_packet_get_children_cache_hits", 0),
        ("sync_processor_request_queued", d.queued),
        ("outstanding_changes_queued", stats.changes.queued),
        ("request_commit_queued", 0),
        ("ensemble_auth_skip", c.ensemble_auth_skip),
        ("skip_learner_request_to_next_processor_count", 0),
        ("tls_handshake_exceeded", c.handshakes_exceeded),
        ("revalidate_count", 0),
    ]
}

/// The summaries without percentiles.
pub fn summaries(stats: Stats<'_>) -> [(&'static str, Percentiles); 41] {
    let (s, w) = (stats.server, stats.watches);
    let (r, c, d) = (&s.requests, &s.connections, &s.disk);
    let none = Percentiles::none;
    [
        ("socket_closing_time", none()),
        ("proposal_process_time", Percentiles::zeros(r.prepared)),
        ("leader_unavailable_time", none()),
        ("node_created_watch_count", w.created.clone()),
        ("session_queues_drained", none()),
        ("write_commit_proc_req_queued", none()),
        ("connection_token_deficit", c.token_deficit.clone()),
        ("read_commit_proc_req_queued", none()),
        ("node_deleted_watch_count", w.deleted.clone()),
        ("startup_txns_load_time", d.transactions_load_ms.clone()),
        ("sync_processor_queue_size", d.queue_sizes.clone()),
        ("follower_sync_time", none()),
        ("prep_processor_queue_size", Percentiles::zeros(r.prepared)),
        ("fsynctime", d.sync_ms.clone()),
        ("inflight_snap_count", none()),
        ("reads_issued_from_session_queue", none()),
        ("learner_request_processor_queue_size", none()),
        ("snapshottime", d.snapshot_ms.clone()),
        ("unavailable_time", none()),
        ("startup_txns_loaded", d.transactions_loaded.clone()),
        ("reads_after_write_in_session_queue", none()),
        ("requests_in_session_queue", none()),
        ("write_commit_proc_issued", none()),
        ("prep_process_time", r.prepare_ms.clone().filled(r.prepared)),
        ("pending_session_queue_size", none()),
        (
            "time_waiting_empty_pool_in_commit_processor_read_ms",
            none(),
        ),
        ("commit_process_time", none()),
        ("dbinittime", d.load_ms.clone()),
        ("inflight_diff_count", none()),
        ("netty_queued_buffer_capacity", none()),
        ("election_time", none()),
        ("commit_commit_proc_req_queued", none()),
        ("sync_processor_batch_size", d.batch_sizes.clone()),
        ("node_children_watch_count", w.children.clone()),
        ("write_batch_time_in_commit_processor", none()),
        ("read_commit_proc_issued", none()),
        ("concurrent_request_processing_in_commit_processor", none()),
        ("observer_sync_time", none()),
        ("node_changed_watch_count", w.changed.clone()),
        ("sync_process_time", d.append_ms.clone()),
        ("startup_snap_load_time", d.snapshot_load_ms.clone()),
    ]
}

/// The summaries with percentiles.
pub fn percentiles(stats: Stats<'_>) -> [(&'static str, Percentiles); 23] {
    let s = stats.server;
    let (r, d) = (&s.requests, &s.disk);
    let none = Percentiles::default;
    [
        (
            "prep_processor_queue_time_ms",
            Percentiles::zeros(r.prepared),
        ),
        ("jvm_pause_time_ms", none()),
        (
            "close_session_prep_time",
            r.close_session_prepare_ms.clone(),
        ),
        ("read_commitproc_time_ms", none()),
        ("updatelatency", s.update_latency.clone()),
        ("local_write_committed_time_ms", none()),
        (
            "request_throttle_queue_time_ms",
            r.throttle_queue_ms.clone().filled(r.prepared),
        ),
        ("readlatency", s.read_latency.clone()),
        ("quorum_ack_latency", none()),
        ("om_commit_process_time_ms", none()),
        ("read_final_proc_time_ms", none()),
        ("commit_propagation_latency", none()),
        ("dead_watchers_cleaner_latency", none()),
        ("write_final_proc_time_ms", none()),
        ("proposal_ack_creation_latency", none()),
        ("proposal_latency", none()),
        ("om_proposal_process_time_ms", none()),
        (
            "sync_processor_queue_and_flush_time_ms",
            d.queue_and_flush_ms.clone(),
        ),
        ("propagation_latency", r.propagation_ms.clone()),
        ("server_write_committed_time_ms", none()),
        ("sync_processor_queue_time_ms", d.queue_ms.clone()),
        ("sync_processor_queue_flush_time_ms", d.flush_ms.clone()),
        ("write_commitproc_time_ms", none()),
    ]
}
