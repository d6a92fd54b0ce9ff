//! Shell: the operators' four-letter words, answered in ZooKeeper's words
//! (org.apache.zookeeper.server.command).

use std::fmt::Write as _;
use std::path::PathBuf;

use common::logging::civil_from_days;

use crate::metrics::connection::ConnectionStats;
use crate::metrics::table::{self, Number};
use crate::net::monitor;
use crate::pipeline::clients::Client;
use crate::pipeline::commit::Commit;
use crate::pipeline::run::Pipeline;
use crate::storage::files::Directories;

/// The version that clients and monitors are told: what it is compatible with, then what it is.
pub const VERSION: &str = concat!(
    "3.8.4-tandem-",
    env!("CARGO_PKG_VERSION"),
    ", built on 2024-02-12 22:16 UTC"
);

/// The mask that `gtmk` shows of a server whose mask was never set (ZooTrace.java).
const TRACE_MASK: i64 = 306;

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

/// What the answers need besides the state.
#[derive(Clone, Debug)]
pub struct Operator {
    /// `4lw.commands.whitelist`.
    pub whitelist: Vec<String>,
    /// Where the data is.
    pub directories: Directories,
    /// The port that clients connect to; -1: there is none.
    pub client_port: i32,
    /// The port that they connect to through TLS.
    pub secure_client_port: i32,
    /// `tickTime` in milliseconds.
    pub tick_ms: i32,
    /// `maxClientCnxns`.
    pub max_client_connections: usize,
    /// Shortest session timeout in milliseconds.
    pub min_session_timeout_ms: i32,
    /// Longest session timeout in milliseconds.
    pub max_session_timeout_ms: i32,
    /// `clientPortListenBacklog`.
    pub backlog: i32,
}

impl Operator {
    fn allows(&self, word: &str) -> bool {
        word == "srvr"
            || self
                .whitelist
                .iter()
                .any(|allowed| allowed == word || allowed == "*")
    }

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
            "mntr" => put_monitor(&mut text, pipeline),
            "wchs" => put_watch_summary(&mut text, pipeline),
            "wchc" => put_watches_by_connection(&mut text, pipeline),
            "wchp" => put_watches_by_path(&mut text, pipeline),
            "dump" => put_dump(&mut text, pipeline),
            "envi" => put_environment(&mut text),
            "dirs" => {
                let size = Directories::size(&self.directories.snapshots);
                let log_size = Directories::size(&self.directories.logs);
                let _ = writeln!(text, "datadir_size: {size}\nlogdir_size: {log_size}");
            }
            "crst" => {
                pipeline
                    .clients
                    .iter_mut()
                    .for_each(|(_, client)| client.stats.reset());
                text.push_str("Connection stats reset.\n");
            }
            "srst" => {
                monitor::reset(pipeline);
                text.push_str("Server stats reset.\n");
            }
            "gtmk" => {
                let _ = write!(text, "{TRACE_MASK}");
            }
            "stmk" => {
                // There is no tracing to mask: the mask is only told back.
                let mask = bytes.get(4..12).and_then(|mask| mask.try_into().ok());
                let _ = write!(text, "{}", i64::from_be_bytes(mask.unwrap_or_default()));
            }
            _ => text.push('\n'),
        }
        text
    }

    fn put_configuration(&self, text: &mut String) {
        let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let _ = writeln!(
            text,
            "clientPort={}\nsecureClientPort={}\ndataDir={}\ndataDirSize={}\ndataLogDir={}\ndataLogSize={}\ntickTime={}\nmaxClientCnxns={}\nminSessionTimeout={}\nmaxSessionTimeout={}\nclientPortListenBacklog={}\nserverId=0",
            self.client_port,
            self.secure_client_port,
            absolute(&self.directories.snapshots).display(),
            Directories::size(&self.directories.snapshots),
            absolute(&self.directories.logs).display(),
            Directories::size(&self.directories.logs),
            self.tick_ms,
            self.max_client_connections,
            self.min_session_timeout_ms,
            self.max_session_timeout_ms,
            self.backlog,
        );
    }
}

/// A double as Java prints it: with one decimal at least.
fn java_double(number: f64) -> String {
    if number.fract() == 0.0 {
        format!("{number:.1}")
    } else {
        number.to_string()
    }
}

/// A time as Java's `Date` prints it in UTC.
fn date_text(epoch_ms: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let days = epoch_ms.div_euclid(86_400_000);
    let seconds = epoch_ms.rem_euclid(86_400_000) / 1000;
    let (year, month, day) = civil_from_days(days);
    let month = usize::try_from(month - 1)
        .ok()
        .and_then(|month| MONTHS.get(month));
    let weekday = DAYS[days.rem_euclid(7) as usize];
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let month = month.copied().unwrap_or_default();
    format!("{weekday} {month} {day:02} {hour:02}:{minute:02}:{second:02} UTC {year}")
}

fn put_server<C: Commit>(text: &mut String, pipeline: &Pipeline<C>, clients: bool) {
    let stats = &pipeline.stats;
    let latency = stats.latency();
    let _ = writeln!(text, "Zookeeper version: {VERSION}");
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
        java_double(latency.mean()),
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

fn put_client(text: &mut String, client: &Client, brief: bool) {
    let stats: &ConnectionStats = &client.stats;
    // A connection that asks with a four-letter word is not listened to any more.
    let reads = if client.session != 0 && client.wants_input() {
        READ_INTEREST
    } else {
        0
    };
    let writes = if client.blocked { WRITE_INTEREST } else { 0 };
    let _ = write!(
        text,
        " /{}[{}](queued={},recved={},sent={}",
        client.peer,
        reads | writes,
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

fn put_dump<C: Commit>(text: &mut String, pipeline: &Pipeline<C>) {
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
            date_text(wall + time - mono)
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
    let _ = writeln!(text, "Connections Sets (1)/({}):", pipeline.clients.len());
    for (_, client) in pipeline.clients.iter() {
        let _ = writeln!(
            text,
            "\tip: /{} sessionId: 0x{:x}",
            client.peer, client.session
        );
    }
}

fn put_environment(text: &mut String) {
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| "<NA>".to_owned());
    let directory = std::env::current_dir().unwrap_or_default();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let _ = writeln!(
        text,
        "Environment:\nzookeeper.version={VERSION}\nhost.name={}\nos.name={}\nos.arch={}\nos.version={}\nuser.name={}\nuser.home={}\nuser.dir={}",
        host.trim(),
        std::env::consts::OS,
        std::env::consts::ARCH,
        release.trim(),
        variable("USER"),
        variable("HOME"),
        directory.display()
    );
}

fn put_monitor<C: Commit>(text: &mut String, pipeline: &Pipeline<C>) {
    let _ = writeln!(text, "zk_version\t{VERSION}\nzk_server_state\tstandalone");
    let mut put = |name: &str, number: Number| {
        let _ = match number {
            Number::Whole(number) => writeln!(text, "zk_{name}\t{number}"),
            Number::Double(number) => writeln!(text, "zk_{name}\t{}", java_double(number)),
        };
    };
    for (name, number) in monitor::gauges(pipeline) {
        put(name, number);
    }
    table::each(monitor::stats(pipeline), put);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_dates_look_like_javas() {
        assert_eq!(java_double(0.0), "0.0");
        assert_eq!(java_double(1.2346), "1.2346");
        assert_eq!(date_text(1_795_440_935_000), "Mon Nov 23 13:35:35 UTC 2026");
    }
}
