//! Shell: the typed configuration, and the rules over several keys (QuorumPeerConfig.java).

use std::path::PathBuf;
use std::time::Duration;

use common::config::ConfigError;

use crate::auth::options::AuthOptions;
use crate::config::authentication;
use crate::config::load::{self, CommandLine};
use crate::config::operator::{self, OperatorOptions};
use crate::config::standalone;
use crate::config::throttles;
use crate::config::tls;
use crate::config::values::{Note, Values};
use crate::net::ports::PortOptions;
use crate::pipeline::snapshots::SnapshotOptions;
use crate::pipeline::throttle::ThrottleOptions;
use crate::state::database::DatabaseOptions;
use crate::state::tree::TreeOptions;
use crate::state::znode::ExtendedTypes;
use crate::storage::compression::Compression;
use crate::storage::log_writer::LogOptions;

/// Where and how the server runs.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Parent of the snapshots' `version-2`.
    pub data_dir: PathBuf,
    /// Parent of the logs' `version-2`.
    pub data_log_dir: PathBuf,
    /// `datadir.autocreate`.
    pub data_dir_autocreate: bool,
    /// Where clients connect.
    pub ports: PortOptions,
    /// `clientPortListenBacklog` as it was set.
    pub configured_backlog: i32,
    /// `tickTime` in milliseconds.
    pub tick_ms: i32,
    /// Connections from one address; 0 is no limit.
    pub max_client_connections: usize,
    /// Connections at all; 0 is no limit.
    pub max_connections: usize,
    /// Shortest session timeout granted, in milliseconds.
    pub min_session_timeout_ms: i32,
    /// Longest session timeout granted, in milliseconds.
    pub max_session_timeout_ms: i32,
    /// Snapshots kept by autopurge.
    pub snapshots_retained: usize,
    /// Hours between purges; 0 switches them off.
    pub purge_interval_hours: u64,
    /// When snapshots are written, and how.
    pub snapshots: SnapshotOptions,
    /// How the log is written.
    pub log: LogOptions,
    /// What requests may do.
    pub database: DatabaseOptions,
    /// `snapshot.trust.empty`.
    pub trust_empty: bool,
    /// `db.autocreate`: an empty data directory is one to begin in.
    pub may_begin: bool,
    /// Four-letter words that are answered.
    pub four_letter_words: Vec<String>,
    /// Largest frame from a client in bytes.
    pub max_frame_bytes: usize,
    /// Requests in process beyond which connections with requests in process are not read.
    pub outstanding_limit: usize,
    /// How long a connection may be without a session.
    pub sessionless_timeout: Duration,
    /// What a server with too much to do puts off or refuses.
    pub throttles: ThrottleOptions,
    /// `clientTcpKeepAlive`.
    pub tcp_keep_alive: bool,
    /// Whom to believe.
    pub auth: AuthOptions,
    /// How containers and TTL znodes are cleaned up.
    pub containers: ContainerConfig,
    /// What operators are shown, and where.
    pub operator: OperatorOptions,
}

/// How containers and TTL znodes are cleaned up (ContainerManager.java).
#[derive(Clone, Copy, Debug)]
pub struct ContainerConfig {
    /// Time between checks.
    pub check_interval: Duration,
    /// Time after each deletion; `None`: nothing is ever deleted.
    pub pause: Option<Duration>,
    /// A container that never had a child goes after so long, in milliseconds; 0: never.
    pub max_never_used_ms: i64,
}

impl ServerConfig {
    /// Reads everything. The second value is to be logged.
    ///
    /// # Errors
    /// What makes the server exit with code 2.
    pub fn load(command_line: &CommandLine) -> Result<(Self, Vec<Note>), ConfigError> {
        let mut values = load::load(command_line)?;
        check_quorum_auth(&values)?;
        note_relative_paths(&mut values);
        note_kept_containers(&mut values)?;
        let plain = standalone::plain_address(&mut values)?;
        let secure = standalone::secure_address(&mut values)?;
        let auth = authentication::options(&values, &command_line.properties)?;
        let ports = tls::ports(&mut values, plain, secure)?;
        let config = Self::from_values(&values, ports, auth)?;
        Ok((config, values.notes().to_vec()))
    }

    fn from_values(
        values: &Values,
        ports: PortOptions,
        auth: AuthOptions,
    ) -> Result<Self, ConfigError> {
        let data_dir = PathBuf::from(values.required_text("dataDir")?);
        let data_log_dir = values
            .text("dataLogDir")
            .map_or_else(|| data_dir.clone(), PathBuf::from);
        let tick_ms: i32 = values.required("tickTime")?;
        let session_limit = |key: &str, ticks: i32| -> Result<i32, ConfigError> {
            Ok(match values.required(key)? {
                // Java does not look for overflows, and so finds the shortest longer than the longest.
                -1 => tick_ms.wrapping_mul(ticks),
                limit => limit,
            })
        };
        let min_session_timeout_ms = session_limit("minSessionTimeout", 2)?;
        let max_session_timeout_ms = session_limit("maxSessionTimeout", 20)?;
        if min_session_timeout_ms > max_session_timeout_ms {
            let reason = "minSessionTimeout must not be larger than maxSessionTimeout".to_owned();
            return Err(values.reject("minSessionTimeout", reason));
        }
        let configured_backlog: i32 = values.required("clientPortListenBacklog")?;
        let kb = |key: &str| -> Result<u64, ConfigError> {
            Ok(u64::try_from(values.required::<i64>(key)?)
                .unwrap_or(0)
                .saturating_mul(1024))
        };
        Ok(Self {
            data_dir,
            data_log_dir,
            data_dir_autocreate: values.flag("datadir.autocreate"),
            ports,
            configured_backlog,
            tick_ms,
            max_client_connections: at_least_0(values, "maxClientCnxns")?,
            max_connections: at_least_0(values, "maxCnxns")?,
            min_session_timeout_ms,
            max_session_timeout_ms,
            snapshots_retained: values.required::<i64>("autopurge.snapRetainCount")?.max(3)
                as usize,
            purge_interval_hours: u64::try_from(values.required::<i64>("autopurge.purgeInterval")?)
                .unwrap_or(0),
            snapshots: SnapshotOptions {
                count: values.required::<i64>("snapCount")?.max(2) as u64,
                size_limit_bytes: kb("snapSizeLimitInKb")?,
                compression: Compression::of_name(
                    values.text("snapshot.compression.method").unwrap_or(""),
                ),
            },
            log: LogOptions {
                preallocate_bytes: kb("preAllocSize")?,
                force_sync: values.text("forceSync") != Some("no"),
                size_limit_bytes: kb("txnLogSizeLimitInKb")?,
                warn_sync_after: Duration::from_millis(at_least_0(
                    values,
                    "fsync.warningthresholdms",
                )? as u64),
            },
            database: DatabaseOptions {
                tree: TreeOptions {
                    digests: values.flag("digest.enabled"),
                    extended_types: match (
                        values.flag("extendedTypesEnabled"),
                        values.flag("emulate353TTLNodes"),
                    ) {
                        (false, _) => ExtendedTypes::Off,
                        (true, false) => ExtendedTypes::On,
                        (true, true) => ExtendedTypes::Emulate353,
                    },
                },
                skip_acl: values.text("skipACL") == Some("yes"),
                enforce_quota: values.flag("enforceQuota"),
                reconfig_enabled: values.flag("reconfigEnabled"),
                close_session_txn: values.flag("closeSessionTxn.enabled"),
            },
            trust_empty: values.flag("snapshot.trust.empty"),
            may_begin: values.flag("db.autocreate"),
            four_letter_words: four_letter_words(values),
            max_frame_bytes: values.required("jute.maxbuffer")?,
            outstanding_limit: at_least_0(values, "globalOutstandingLimit")?,
            throttles: throttles::throttles(values)?,
            sessionless_timeout: Duration::from_millis(
                values.required("nio.sessionlessCnxnTimeout")?,
            ),
            tcp_keep_alive: values.flag("clientTcpKeepAlive"),
            auth,
            containers: ContainerConfig {
                check_interval: Duration::from_millis(
                    values
                        .required::<i64>("znode.container.checkIntervalMs")?
                        .max(1) as u64,
                ),
                pause: match values.required::<i64>("znode.container.maxPerMinute")? {
                    0 => None,
                    most => Some(Duration::from_millis(
                        u64::try_from(60_000 / most).unwrap_or(0),
                    )),
                },
                max_never_used_ms: values.required("znode.container.maxNeverUsedIntervalMs")?,
            },
            operator: operator::options(values)?,
        })
    }
}

/// A path below the current directory is often a slip, unless it begins with a dot.
fn note_relative_paths(values: &mut Values) {
    for key in ["dataDir", "dataLogDir"] {
        let relative = |path: &&str| !path.starts_with(['/', '.']);
        if let Some(path) = values.text(key).filter(relative).map(str::to_owned) {
            let text = format!("{key}={path} is relative; write ./{path} if that is meant");
            values.note(true, text);
        }
    }
}

fn note_kept_containers(values: &mut Values) -> Result<(), ConfigError> {
    if values.required::<i64>("znode.container.maxPerMinute")? == 0 {
        let text = "znode.container.maxPerMinute=0: containers and TTL znodes are never deleted";
        values.note(true, text.to_owned());
    }
    Ok(())
}

/// The words that are answered; `FourLetterCommands` adds `isro` where a server may be read-only.
fn four_letter_words(values: &Values) -> Vec<String> {
    let mut words = values.items("4lw.commands.whitelist");
    if values.text("readonlymode.enabled") == Some("true") {
        words.push("isro".to_owned());
    }
    words
}

/// A limit where everything below 1 is none.
fn at_least_0(values: &Values, key: &str) -> Result<usize, ConfigError> {
    Ok(usize::try_from(values.required::<i64>(key)?).unwrap_or(0))
}

/// The settings of SASL between servers, which must fit together even where nobody uses them.
fn check_quorum_auth(values: &Values) -> Result<(), ConfigError> {
    let [enabled, server, learner] = [
        "quorum.auth.enableSasl",
        "quorum.auth.serverRequireSasl",
        "quorum.auth.learnerRequireSasl",
    ];
    for (needs, needed) in [(server, enabled), (learner, enabled), (server, learner)] {
        if values.flag(needs) && !values.flag(needed) {
            return Err(values.reject(needs, format!("{needed} must be true as well")));
        }
    }
    Ok(())
}
