//! Shell: the AdminServer's commands and their answers (org.apache.zookeeper.server.admin.Commands).

use crate::metrics::server::Sizes;
use crate::operator::environment::{self, VERSION};
use crate::operator::facts::Facts;
use crate::operator::four_letter::interest_ops;
use crate::operator::json::{Json, map};
use crate::operator::{java_text, monitor};
use crate::pipeline::clients::Client;
use crate::pipeline::commit::Commit;
use crate::pipeline::run::Pipeline;
use crate::state::digest;

/// The names of each command, the one that answers say first; in alphabetical order of that.
const COMMANDS: [&[&str]; 26] = [
    &["configuration", "conf", "config"],
    &["connection_stat_reset", "crst"],
    &["connections", "cons"],
    &["dirs"],
    &["dump"],
    &["environment", "env", "envi"],
    &["get_trace_mask", "gtmk"],
    &["hash"],
    &["initial_configuration", "icfg"],
    &["is_read_only", "isro"],
    &["last_snapshot", "lsnp"],
    &["leader", "lead"],
    &["monitor", "mntr"],
    &["observer_connection_stat_reset", "orst"],
    &["observers", "obsr"],
    &["ruok"],
    &["server_stats", "srvr"],
    &["set_trace_mask", "stmk"],
    &["stat_reset", "srst"],
    &["stats", "stat"],
    &["system_properties", "sysp"],
    &["voting_view"],
    &["watch_summary", "wchs"],
    &["watches", "wchc"],
    &["watches_by_path", "wchp"],
    &["zabstate"],
];

/// Commands that a server answers even while it loads its data.
const ALWAYS: [&str; 5] = [
    "environment",
    "get_trace_mask",
    "set_trace_mask",
    "system_properties",
    "zabstate",
];

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Call {
    /// The first of the command's names.
    pub command: &'static str,
    /// The parameter `traceMask`.
    pub trace_mask: Option<String>,
    /// What the disk holds.
    pub disk: Disk,
}

/// What the disk holds; found out before the loop is asked, because it takes time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk {
    /// Size of the snapshots' directory in bytes.
    pub snapshot_bytes: u64,
    /// Size of the logs' directory in bytes.
    pub log_bytes: u64,
    /// Zxid of the last snapshot, and when it was written in seconds since 1970; -1 if there is
    /// none.
    pub last_snapshot: (i64, i64),
}

/// The first of a command's names.
pub fn primary_name(name: &str) -> Option<&'static str> {
    COMMANDS
        .iter()
        .find(|names| names.contains(&name))
        .map(|names| names[0])
}

/// The first names of all commands.
pub fn primary_names() -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().map(|names| names[0])
}

/// Whether a command needs the data.
pub fn needs_server(command: &str) -> bool {
    !ALWAYS.contains(&command)
}

/// The answer of a command that failed before it began.
pub fn failure(command: &str, error: &str) -> Json {
    map([("command", command.into()), ("error", error.into())])
}

type Entries = Vec<(String, Json)>;

/// Runs a command.
pub fn run<C: Commit>(facts: &Facts, pipeline: &mut Pipeline<C>, call: &Call) -> Json {
    let mut entries = Entries::new();
    let mut put = |key: &str, value: Json| entries.push((key.to_owned(), value));
    match call.command {
        "configuration" => entries = configuration(facts),
        "connection_stat_reset" => reset_connections(pipeline),
        "connections" => entries = connections(pipeline, false),
        "dirs" => {
            put("datadir_size", call.disk.snapshot_bytes.into());
            put("logdir_size", call.disk.log_bytes.into());
        }
        "dump" => entries = dump(pipeline),
        "environment" => {
            for (key, value) in environment::list() {
                put(key, value.into());
            }
        }
        "get_trace_mask" => put("tracemask", facts.trace_mask.get().into()),
        "hash" => put("digests", digests(pipeline)),
        "initial_configuration" => put(
            "initial_configuration",
            facts
                .initial_configuration
                .as_deref()
                .map_or(Json::Null, Json::from),
        ),
        "is_read_only" => put("read_only", false.into()),
        "last_snapshot" => {
            let (zxid, seconds) = call.disk.last_snapshot;
            put("zxid", format!("{zxid:x}").into());
            put("timestamp", seconds.into());
        }
        "leader" => put("error", "server is not initialized".into()),
        "monitor" => {
            put("version", VERSION.as_str().into());
            put("server_state", "standalone".into());
            monitor::each(facts, pipeline, |name, number| put(name, number.into()));
        }
        "observers" => {
            put("synced_observers", 0.into());
            put("observers", Json::List(Vec::new()));
        }
        "server_stats" => entries = server_stats(pipeline, call.disk),
        "set_trace_mask" => entries = vec![set_trace_mask(facts, call.trace_mask.as_deref())],
        "stat_reset" => monitor::reset(pipeline, facts.metrics),
        "stats" => {
            entries = server_stats(pipeline, call.disk);
            entries.extend(connections(pipeline, true));
        }
        "system_properties" => {
            for (key, value) in properties(facts) {
                put(&key, value.into());
            }
        }
        "voting_view" => put("current_config", map([])),
        "watch_summary" => entries = watch_summary(pipeline),
        "watches" => put("session_id_to_watched_paths", watches(pipeline)),
        "watches_by_path" => put("path_to_session_ids", watches_by_path(pipeline)),
        "zabstate" => {
            put("voting", false.into());
            put("zabstate", "".into());
        }
        // `ruok`, and what is about an ensemble's observers.
        _ => {}
    }
    entries.push(("command".to_owned(), call.command.into()));
    if entries.iter().all(|(key, _)| key != "error") {
        entries.push(("error".to_owned(), Json::Null));
    }
    Json::Map(entries)
}

/// `crst`: the connections count anew.
pub fn reset_connections<C>(pipeline: &mut Pipeline<C>) {
    pipeline
        .clients
        .iter_mut()
        .for_each(|(_, client)| client.stats.reset());
}

/// System properties by name: those of a native process, and those that were set.
fn properties(facts: &Facts) -> std::collections::BTreeMap<String, String> {
    let own = environment::properties()
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value));
    own.chain(facts.properties.iter().cloned()).collect()
}

fn configuration(facts: &Facts) -> Entries {
    let path = |path| Json::from(crate::operator::four_letter::absolute(path));
    let entries = [
        ("client_port", facts.client_port.into()),
        ("data_dir", path(&facts.directories.snapshots)),
        ("data_log_dir", path(&facts.directories.logs)),
        ("tick_time", facts.tick_ms.into()),
        ("max_client_cnxns", facts.max_client_connections.into()),
        ("min_session_timeout", facts.min_session_timeout_ms.into()),
        ("max_session_timeout", facts.max_session_timeout_ms.into()),
        ("server_id", 0.into()),
        ("client_port_listen_backlog", facts.backlog.into()),
    ];
    owned(entries)
}

fn owned<const N: usize>(entries: [(&str, Json); N]) -> Entries {
    entries
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

fn connections<C>(pipeline: &Pipeline<C>, brief: bool) -> Entries {
    let of = |secure: bool| {
        let some = pipeline
            .clients
            .iter()
            .filter(|(_, client)| client.link.transport.is_secure() == secure);
        Json::List(some.map(|(_, client)| connection(client, brief)).collect())
    };
    owned([("connections", of(false)), ("secure_connections", of(true))])
}

fn connection(client: &Client, brief: bool) -> Json {
    let stats = &client.stats;
    let mut entries = owned([
        (
            "remote_socket_address",
            java_text::socket_address(client.peer).into(),
        ),
        ("interest_ops", i64::from(interest_ops(client)).into()),
        ("outstanding_requests", client.queue.len().into()),
        ("packets_received", stats.received.into()),
        ("packets_sent", stats.sent.into()),
    ]);
    if !brief {
        entries.extend(owned([
            ("session_id", client.session.into()),
            ("last_operation", stats.last_operation.into()),
            ("established", stats.established_ms.into()),
            ("session_timeout", client.timeout_ms.into()),
            ("last_cxid", stats.last_cxid.into()),
            ("last_zxid", stats.last_zxid.into()),
            ("last_response_time", stats.last_response_ms.into()),
            ("last_latency", stats.last_latency_ms.into()),
            ("min_latency", stats.latency.min().into()),
            ("avg_latency", stats.latency.whole_mean().into()),
            ("max_latency", stats.latency.max().into()),
        ]));
    }
    Json::Map(entries)
}

fn dump<C>(pipeline: &Pipeline<C>) -> Entries {
    let db = &pipeline.db;
    let expiry = db.sessions.buckets().map(|(time, ids)| {
        let ids = ids.iter().map(|id| Json::from(*id)).collect();
        (time.to_string(), Json::List(ids))
    });
    let ephemerals = db.tree.ephemeral_sessions().map(|(session, paths)| {
        let paths = paths.iter().map(|path| Json::from(&**path)).collect();
        (session.to_string(), Json::List(paths))
    });
    owned([
        ("expiry_time_to_session_ids", Json::Map(expiry.collect())),
        (
            "session_id_to_ephemeral_paths",
            Json::Map(ephemerals.collect()),
        ),
    ])
}

fn digests<C>(pipeline: &Pipeline<C>) -> Json {
    let history = pipeline.db.digests.iter().map(|(zxid, digest)| {
        map([
            ("zxid", zxid.into()),
            ("digest", digest.cast_signed().into()),
            ("digest_version", digest::VERSION.into()),
        ])
    });
    Json::List(history.collect())
}

fn sizes(sizes: &Sizes) -> Json {
    map([
        ("last_buffer_size", sizes.last.into()),
        ("min_buffer_size", sizes.min().into()),
        ("max_buffer_size", sizes.max.into()),
    ])
}

fn server_stats<C: Commit>(pipeline: &Pipeline<C>, disk: Disk) -> Entries {
    let stats = &pipeline.stats;
    let latency = stats.latency();
    let replies = sizes(&stats.reply_sizes);
    let server = map([
        ("packets_sent", stats.packets_sent.into()),
        ("packets_received", stats.packets_received.into()),
        ("fsync_threshold_exceed_count", stats.disk.slow_syncs.into()),
        ("client_response_stats", replies.clone()),
        ("data_dir_size", disk.snapshot_bytes.into()),
        ("log_dir_size", disk.log_bytes.into()),
        ("provider_null", false.into()),
        ("last_processed_zxid", pipeline.db.applied_zxid.into()),
        ("outstanding_requests", pipeline.commit.outstanding().into()),
        ("server_state", "standalone".into()),
        ("avg_latency", Json::Double(latency.mean())),
        ("max_latency", latency.max().into()),
        ("min_latency", latency.min().into()),
        (
            "num_alive_client_connections",
            pipeline.clients.len().into(),
        ),
        ("uptime", pipeline.clock.mono_ms().into()),
        ("auth_failed_count", stats.connections.auth_failures.into()),
        (
            "non_mtlsremote_conn_count",
            stats.connections.non_mtls_remote.into(),
        ),
        (
            "non_mtlslocal_conn_count",
            stats.connections.non_mtls_local.into(),
        ),
    ]);
    owned([
        ("version", VERSION.as_str().into()),
        ("read_only", false.into()),
        ("server_stats", server),
        ("client_response", replies),
        ("node_count", pipeline.db.tree.node_count().into()),
    ])
}

fn set_trace_mask(facts: &Facts, asked: Option<&str>) -> (String, Json) {
    const NEEDS: &str = "setTraceMask requires long traceMask argument";
    let wrong = |text: String| ("error".to_owned(), text.into());
    let Some(asked) = asked else {
        return wrong(NEEDS.to_owned());
    };
    match asked.parse::<i64>() {
        Ok(mask) => {
            facts.trace_mask.set(mask);
            ("tracemask".to_owned(), mask.into())
        }
        Err(_) => wrong(format!("{NEEDS}, got {asked}")),
    }
}

fn watch_summary<C>(pipeline: &Pipeline<C>) -> Entries {
    // As in the real server this and the next two are about watches on data.
    let watches = &pipeline.db.watches.data;
    owned([
        ("num_connections", watches.connection_count().into()),
        ("num_paths", watches.path_count().into()),
        ("num_total_watches", watches.len().into()),
    ])
}

fn watches<C>(pipeline: &Pipeline<C>) -> Json {
    let watches = pipeline.db.watches.data.by_connection();
    let by_session = watches.map(|(id, paths)| {
        let session = pipeline.clients.get(id).map_or(0, |client| client.session);
        (
            session.to_string(),
            Json::List(paths.map(Json::from).collect()),
        )
    });
    Json::Map(by_session.collect())
}

fn watches_by_path<C>(pipeline: &Pipeline<C>) -> Json {
    let watches = pipeline.db.watches.data.by_path();
    let by_path = watches.map(|(path, ids)| {
        let sessions = ids.map(|id| pipeline.clients.get(id).map_or(0, |client| client.session));
        (
            path.to_owned(),
            Json::List(sessions.map(Json::from).collect()),
        )
    });
    Json::Map(by_path.collect())
}
