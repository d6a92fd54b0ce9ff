//! Shell: all that can be measured of a running server, under ZooKeeper's names and in the order
//! in which it tells them (ZooKeeperServer.registerMetrics, DefaultMetricsProvider.java).

use std::collections::BTreeMap;

use crate::metrics::namespaces::namespace;
use crate::metrics::state::{ChangeStats, WatchStats};
use crate::metrics::table::{self, Number, Stats};
use crate::operator::environment;
use crate::operator::facts::{Facts, MetricsProvider};
use crate::operator::prometheus;
use crate::pipeline::commit::Commit;
use crate::pipeline::run::Pipeline;
use crate::state::quota::{LIMITS, QUOTA_ROOT, QuotaNumbers, STATS};
use crate::state::tree::Tree;

/// The counters of a pipeline.
pub fn stats<C>(pipeline: &Pipeline<C>) -> Stats<'_> {
    Stats {
        server: &pipeline.stats,
        state: &pipeline.db.stats,
        watches: &pipeline.db.watches.stats,
        changes: pipeline.db.pending.stats,
    }
}

/// `srst`: the counters begin anew. Prometheus wants counters that never go back: then only what
/// `srvr` tells does.
pub fn reset<C>(pipeline: &mut Pipeline<C>, provider: MetricsProvider) {
    if matches!(provider, MetricsProvider::Prometheus { .. }) {
        pipeline.stats.reset_packets();
        return;
    }
    pipeline.stats.reset();
    pipeline.db.stats.reset();
    pipeline.db.watches.stats = WatchStats::default();
    pipeline.db.pending.stats = ChangeStats::default();
}

/// What `mntr` tells after version and state.
pub fn each<C: Commit>(facts: &Facts, pipeline: &Pipeline<C>, mut sink: impl FnMut(&str, Number)) {
    match facts.metrics {
        MetricsProvider::Null => {}
        MetricsProvider::Default => {
            for (name, number) in gauges(pipeline) {
                sink(name, number);
            }
            for (name, numbers) in quota_gauges(&pipeline.db.tree) {
                for (namespace, number) in numbers {
                    sink(&format!("{namespace}_{name}"), Number::Whole(number));
                }
            }
            table::each(stats(pipeline), sink);
        }
        MetricsProvider::Prometheus { process } => {
            for family in prometheus::families(pipeline, process) {
                for sample in &family.samples {
                    sink(&sample.key(&family.name), Number::Double(sample.value));
                }
            }
        }
    }
}

/// What is so at this moment.
pub fn gauges<C: Commit>(pipeline: &Pipeline<C>) -> [(&'static str, Number); 24] {
    let (stats, db) = (&pipeline.stats, &pipeline.db);
    let (latency, sizes) = (stats.latency(), &stats.reply_sizes);
    let connections = &stats.connections;
    let (open_files, max_files) = environment::file_descriptors();
    let count = |count: usize| Number::from(count as u64);
    [
        ("ephemerals_count", count(db.tree.ephemeral_count())),
        ("num_alive_connections", count(pipeline.clients.len())),
        ("avg_latency", Number::Double(latency.mean())),
        ("outstanding_requests", count(pipeline.commit.outstanding())),
        ("znode_count", count(db.tree.node_count())),
        ("global_sessions", count(db.sessions.committed_count())),
        (
            "non_mtls_remote_conn_count",
            connections.non_mtls_remote.into(),
        ),
        ("last_client_response_size", Number::Whole(sizes.last)),
        ("packets_sent", stats.packets_sent.into()),
        ("packets_received", stats.packets_received.into()),
        ("max_client_response_size", Number::Whole(sizes.max)),
        (
            "connection_drop_probability",
            Number::Double(pipeline.bucket.drop_chance()),
        ),
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

/// Limits and use of quotas by namespace (QuotaMetricsUtils.java); a hard limit goes before the
/// other.
pub fn quota_gauges(tree: &Tree) -> [(&'static str, BTreeMap<String, i64>); 4] {
    let mut gauges = [
        "quota_bytes_limit_per_namespace",
        "quota_count_usage_per_namespace",
        "quota_count_limit_per_namespace",
        "quota_bytes_usage_per_namespace",
    ]
    .map(|name| (name, BTreeMap::new()));
    let mut paths = vec![QUOTA_ROOT.to_owned()];
    while let Some(path) = paths.pop() {
        let Some(node) = tree.get(&path) else {
            continue;
        };
        if node.child_count() > 0 {
            paths.extend(node.children().map(|child| format!("{path}/{child}")));
            continue;
        }
        let below = path.strip_prefix(QUOTA_ROOT).unwrap_or_default();
        let (Some(name), Some(data)) = (namespace(below), node.data()) else {
            continue;
        };
        let numbers = QuotaNumbers::parse(data);
        let limit = |hard: i64, soft: i64| if hard > -1 { hard } else { soft };
        let mut add = |gauge: usize, number: i64| {
            *gauges[gauge].1.entry(name.to_owned()).or_default() += number;
        };
        if path.ends_with(&format!("/{LIMITS}")) {
            add(0, limit(numbers.byte_hard_limit(), numbers.bytes()));
            add(2, limit(numbers.count_hard_limit(), numbers.count()));
        } else if path.ends_with(&format!("/{STATS}")) {
            add(1, numbers.count());
            add(3, numbers.bytes());
        }
    }
    gauges
}
