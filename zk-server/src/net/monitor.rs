//! Shell: all that can be measured of a running server, under ZooKeeper's names and in the order
//! in which it tells them (ZooKeeperServer.registerMetrics, DefaultMetricsProvider.java).

use crate::metrics::state::{ChangeStats, WatchStats};
use crate::metrics::table::{Number, Stats};
use crate::pipeline::commit::Commit;
use crate::pipeline::run::Pipeline;

/// The counters of a pipeline.
pub fn stats<C>(pipeline: &Pipeline<C>) -> Stats<'_> {
    Stats {
        server: &pipeline.stats,
        state: &pipeline.db.stats,
        watches: &pipeline.db.watches.stats,
        changes: pipeline.db.pending.stats,
    }
}

/// `srst`: the counters begin anew.
pub fn reset<C>(pipeline: &mut Pipeline<C>) {
    pipeline.stats.reset();
    pipeline.db.stats.reset();
    pipeline.db.watches.stats = WatchStats::default();
    pipeline.db.pending.stats = ChangeStats::default();
}

/// What is so at this moment.
pub fn gauges<C: Commit>(pipeline: &Pipeline<C>) -> [(&'static str, Number); 24] {
    let (stats, db) = (&pipeline.stats, &pipeline.db);
    let (latency, sizes) = (stats.latency(), &stats.reply_sizes);
    let connections = &stats.connections;
    let (open_files, max_files) = file_descriptors();
    let count = |count: usize| Number::from(count as u64);
    [
        ("ephemerals_count", count(db.tree.ephemeral_count())),
        ("num_alive_connections", count(pipeline.clients.len())),
        ("avg_latency", Number::Double(latency.mean())),
        ("outstanding_requests", count(pipeline.commit.outstanding())),
        ("znode_count", count(db.tree.node_count())),
        ("global_sessions", count(db.sessions.committed().len())),
        (
            "non_mtls_remote_conn_count",
            connections.non_mtls_remote.into(),
        ),
        ("last_client_response_size", Number::Whole(sizes.last)),
        ("packets_sent", stats.packets_sent.into()),
        ("packets_received", stats.packets_received.into()),
        ("max_client_response_size", Number::Whole(sizes.max)),
        ("connection_drop_probability", Number::Double(0.0)),
        ("watch_count", count(db.watches.len())),
        ("auth_failed_count", connections.auth_failures.into()),
        ("min_latency", latency.min().into()),
        ("max_file_descriptor_count", Number::Whole(max_files)),
        ("approximate_data_size", Number::Whole(db.tree.data_bytes())),
        ("open_file_descriptor_count", Number::Whole(open_files)),
        ("local_sessions", Number::Whole(0)),
        ("uptime", Number::Whole(pipeline.clock.mono_ms())),
        ("max_latency", latency.max().into()),
        (
            "outstanding_tls_handshake",
            connections.handshakes_under_way.into(),
        ),
        ("min_client_response_size", Number::Whole(sizes.min())),
        (
            "non_mtls_local_conn_count",
            connections.non_mtls_local.into(),
        ),
    ]
}

/// Open file descriptors, and how many there may be.
fn file_descriptors() -> (i64, i64) {
    let open = std::fs::read_dir("/proc/self/fd").map_or(-1, |entries| entries.count() as i64);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    (
        open,
        limit
            .and_then(|limit| i64::try_from(limit).ok())
            .unwrap_or(-1),
    )
}
