//! Shell: the operators' four-letter words, answered in ZooKeeper's words
//! (org.apache.zookeeper.server.command).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use crate::metrics::connection::ConnectionStats;
use crate::metrics::table::Number;
use crate::operator::environment::{self, VERSION};
use crate::operator::facts::Facts;
use crate::operator::{commands, java_text, monitor};
use crate::pipeline::clients::Client;
use crate::pipeline::commit::Commit;
use crate::pipeline::run::Pipeline;
use crate::storage::files::Directories;

/// Java's interest sets of a socket, as `cons` shows them.
const READ_INTEREST: u8 = 1;
const WRITE_INTEREST: u8 = 4;

/// All words there are.
const WORDS: [&str; 18] = [
    "conf", "cons", "crst", "dirs", "dump", "envi", "gtmk", "ruok", "stmk", "srvr", "srst", "stat",
    "wchc", "wchp", "wchs", "mntr", "isro", "hash",
];

/// One of the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word(&'static str);

impl Word {
    /// The word that these bytes begin with. Anything else is the length of a frame.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let first = bytes.get(..4)?;
        WORDS
            .iter()
            .find(|word| word.as_bytes() == first)
            .map(|word| Self(word))
    }
}

impl Facts {
    /// The answer to a word; `bytes` is all that has come of the packet.
    pub fn answer<C: Commit>(
        &self,
        word: Word,
        bytes: &[u8],
        pipeline: &mut Pipeline<C>,
    ) -> String {
        let Word(word) = word;
        if !self.allows(word) {
            return format!("{word} is not executed because it is not in the whitelist.\n");
        }
        let mut text = String::new();
        match word {
            "ruok" => text.push_str("imok"),
            "isro" => text.push_str("rw"),
            "srvr" => put_server(&mut text, pipeline, false),
            "stat" => put_server(&mut text, pipeline, true),
            "cons" => put_connections(&mut text, pipeline),
            "conf" => self.put_configuration(&mut text),
            "mntr" => put_monitor(self, &mut text, pipeline),
            "wchs" => put_watch_summary(&mut text, pipeline),
            "wchc" => put_watches_by_connection(&mut text, pipeline),
            "wchp" => put_watches_by_path(&mut text, pipeline),
            "dump" => put_dump(self, &mut text, pipeline),
            "envi" => put_environment(&mut text),
            "dirs" => {
                let size = Directories::size(&self.directories.snapshots);
                let log_size = Directories::size(&self.directories.logs);
                let _ = writeln!(text, "datadir_size: {size}\nlogdir_size: {log_size}");
            }
            "hash" => put_digests(&mut text, pipeline),
            "crst" => {
                commands::reset_connections(pipeline);
                text.push_str("Connection stats reset.\n");
            }
            "srst" => {
                monitor::reset(pipeline, self.metrics);
                text.push_str("Server stats reset.\n");
            }
            "gtmk" => {
                let _ = write!(text, "{}", self.trace_mask.get());
            }
            "stmk" => {
                let mask = bytes.get(4..12).and_then(|mask| mask.try_into().ok());
                let mask = i64::from_be_bytes(mask.unwrap_or_default());
                self.trace_mask.set(mask);
                let _ = write!(text, "{mask}");
            }
            _ => text.push('\n'),
        }
        text
    }

    fn put_configuration(&self, text: &mut String) {
        let _ = writeln!(
            text,
            "clientPort={}\nsecureClientPort={}\ndataDir={}\ndataDirSize={}\ndataLogDir={}\ndataLogSize={}\ntickTime={}\nmaxClientCnxns={}\nminSessionTimeout={}\nmaxSessionTimeout={}\nclientPortListenBacklog={}\nserverId=0",
            self.client_port,
            self.secure_client_port,
            absolute(&self.directories.snapshots),
            Directories::size(&self.directories.snapshots),
            absolute(&self.directories.logs),
            Directories::size(&self.directories.logs),
            self.tick_ms,
            self.max_client_connections,
            self.min_session_timeout_ms,
            self.max_session_timeout_ms,
            self.backlog,
        );
    }
}

/// A directory's absolute path.
pub fn absolute(path: &Path) -> String {
    std::path::absolute(path)
        .unwrap_or_else(|_| path.to_owned())
        .display()
        .to_string()
}

fn put_server<C: Commit>(text: &mut String, pipeline: &Pipeline<C>, clients: bool) {
    let stats = &pipeline.stats;
    let latency = stats.latency();
    let _ = writeln!(text, "Zookeeper version: {}", *VERSION);
    if clients {
        text.push_str("Clients:\n");
        for (_, client) in pipeline.clients.iter() {
            put_client(text, client, true);
        }
        text.push('\n');
    }
    let _ = writeln!(
        text,
        "Latency min/avg/max: {}/{}/{}\nReceived: {}\nSent: {}\nConnections: {}\nOutstanding: {}\nZxid: 0x{:x}\nMode: standalone\nNode count: {}",
        latency.min(),
        java_text::double(latency.mean()),
        latency.max(),
        stats.packets_received,
        stats.packets_sent,
        pipeline.clients.len(),
        pipeline.commit.outstanding(),
        pipeline.db.applied_zxid,
        pipeline.db.tree.node_count(),
    );
}

fn put_connections<C: Commit>(text: &mut String, pipeline: &Pipeline<C>) {
    for (_, client) in pipeline.clients.iter() {
        put_client(text, client, false);
    }
    text.push('\n');
}

/// What the server waits for at a client's socket, as Java's set of interests.
pub fn interest_ops(client: &Client) -> u8 {
    // A connection that asks with a four-letter word is not listened to any more.
    let reads = if client.session != 0 && client.wants_input() {
        READ_INTEREST
    } else {
        0
    };
    let writes = if client.blocked { WRITE_INTEREST } else { 0 };
    reads | writes
}

fn put_client(text: &mut String, client: &Client, brief: bool) {
    let stats: &ConnectionStats = &client.stats;
    let _ = write!(
        text,
        " /{}[{:x}](queued={},recved={},sent={}",
        java_text::socket_address(client.peer),
        interest_ops(client),
        client.queue.len(),
        stats.received,
        stats.sent
    );
    if !brief && client.session != 0 {
        let _ = write!(
            text,
            ",sid=0x{:x},lop={},est={},to={}",
            client.session, stats.last_operation, stats.established_ms, client.timeout_ms
        );
        if stats.last_cxid >= 0 {
            let _ = write!(text, ",lcxid=0x{:x}", stats.last_cxid);
        }
        let _ = write!(
            text,
            ",lzxid=0x{:x},lresp={},llat={},minlat={},avglat={},maxlat={}",
            stats.last_zxid,
            stats.last_response_ms,
            stats.last_latency_ms,
            stats.latency.min(),
            stats.latency.whole_mean(),
            stats.latency.max()
        );
    }
    text.push_str(")\n");
}

fn put_watch_summary<C: Commit>(text: &mut String, pipeline: &Pipeline<C>) {
    // As in the real server this is about watches on data.
    let watches = &pipeline.db.watches.data;
    let _ = writeln!(
        text,
        "{} connections watching {} paths\nTotal watches:{}",
        watches.connection_count(),
        watches.path_count(),
        watches.len()
    );
}

fn put_watches_by_connection<C: Commit>(text: &mut String, pipeline: &Pipeline<C>) {
    for (id, paths) in pipeline.db.watches.data.by_connection() {
        let session = pipeline.clients.get(id).map_or(0, |client| client.session);
        let _ = writeln!(text, "0x{session:x}");
        for path in paths {
            let _ = writeln!(text, "\t{path}");
        }
    }
    text.push('\n');
}

fn put_watches_by_path<C: Commit>(text: &mut String, pipeline: &Pipeline<C>) {
    for (path, ids) in pipeline.db.watches.data.by_path() {
        let _ = writeln!(text, "{path}");
        for id in ids {
            let session = pipeline.clients.get(id).map_or(0, |client| client.session);
            let _ = writeln!(text, "\t0x{session:x}");
        }
    }
    text.push('\n');
}

fn put_dump<C: Commit>(facts: &Facts, text: &mut String, pipeline: &Pipeline<C>) {
    let sessions = &pipeline.db.sessions;
    let (wall, mono) = (pipeline.clock.wall_ms(), pipeline.clock.mono_ms());
    let sets = sessions.buckets().count();
    let _ = writeln!(
        text,
        "SessionTracker dump:\nSession Sets ({sets})/({}):",
        sessions.len()
    );
    for (time, ids) in sessions.buckets() {
        let _ = writeln!(
            text,
            "{} expire at {}:",
            ids.len(),
            java_text::date(wall + time - mono)
        );
        for id in ids {
            let _ = writeln!(text, "\t0x{id:x}");
        }
    }
    let owners: Vec<_> = pipeline.db.tree.ephemeral_sessions().collect();
    let _ = writeln!(
        text,
        "ephemeral nodes dump:\nSessions with Ephemerals ({}):",
        owners.len()
    );
    for (session, paths) in owners {
        let _ = writeln!(text, "0x{session:x}:");
        for path in paths {
            let _ = writeln!(text, "\t{path}");
        }
    }
    text.push_str("Connections dump:\n");
    let mut sets: BTreeMap<i64, Vec<&Client>> = BTreeMap::new();
    for (_, client) in pipeline.clients.iter() {
        let expires_at = expiry(client, pipeline, facts.sessionless_timeout_ms);
        sets.entry(expires_at).or_default().push(client);
    }
    let (count, all) = (sets.len(), pipeline.clients.len());
    let _ = writeln!(text, "Connections Sets ({count})/({all}):");
    for (time, clients) in sets {
        let date = java_text::date(wall + time - mono);
        let _ = writeln!(text, "{} expire at {date}:", clients.len());
        for client in clients {
            let _ = writeln!(
                text,
                "\tip: /{} sessionId: 0x{:x}",
                java_text::socket_address(client.peer),
                client.session
            );
        }
    }
}

/// When a connection ends unless something comes, on the monotonic clock: with its session, or
/// when it has none for too long. It is rounded up as NIOServerCnxnFactory does it.
fn expiry<C>(client: &Client, pipeline: &Pipeline<C>, sessionless_timeout_ms: i64) -> i64 {
    let step = sessionless_timeout_ms.max(1);
    let session = pipeline.db.sessions.get(client.session);
    let at = match session {
        Some(session) => session.expires_at() - 1,
        None => {
            let age_ms = pipeline.clock.wall_ms() - client.stats.established_ms;
            pipeline.clock.mono_ms() - age_ms + sessionless_timeout_ms
        }
    };
    (at.div_euclid(step) + 1).saturating_mul(step)
}

fn put_environment(text: &mut String) {
    text.push_str("Environment:\n");
    for (key, value) in environment::list() {
        let _ = writeln!(text, "{key}={value}");
    }
}

fn put_monitor<C: Commit>(facts: &Facts, text: &mut String, pipeline: &Pipeline<C>) {
    let _ = writeln!(
        text,
        "zk_version\t{}\nzk_server_state\tstandalone",
        *VERSION
    );
    monitor::each(facts, pipeline, |name, number| {
        let _ = match number {
            Number::Whole(number) => writeln!(text, "zk_{name}\t{number}"),
            Number::Double(number) => writeln!(text, "zk_{name}\t{}", java_text::double(number)),
        };
    });
}

fn put_digests<C>(text: &mut String, pipeline: &Pipeline<C>) {
    for (zxid, digest) in pipeline.db.digests.iter() {
        let _ = writeln!(text, "{zxid:x}: {}", digest.cast_signed());
    }
}
