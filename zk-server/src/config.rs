//! Shell: the configuration: zoo.cfg or TOML, the command line, defaults (QuorumPeerConfig.java).
//!
//! A key that ZooKeeper's file does not know becomes the system property `zookeeper.<key>`
//! there; so `-Dzookeeper.<key>=value`, in `SERVER_JVMFLAGS` or on the command line, and `<key>`
//! in the file mean the same here, and the file wins.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::config::{ConfigError, Definition, Kind, Origin, Rule, Settings, TypedSettings};
use common::zk::jute::DEFAULT_MAX_BUFFER_BYTES;

use crate::state::database::DatabaseOptions;
use crate::state::tree::TreeOptions;
use crate::storage::log_writer::LogOptions;

const fn row(
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    rule: Rule,
) -> Definition {
    Definition {
        name,
        kind,
        default,
        rule,
    }
}

const BOOL: Kind = Kind::Boolean;
const INT: Kind = Kind::Int;
const LONG: Kind = Kind::Long;
const TEXT: Kind = Kind::String;
const PORT: Rule = Rule::Between(0.0, 65535.0);

/// Every key that has an effect, or is accepted because the stock files set it.
pub const KEYS: &[Definition] = &[
    row("dataDir", TEXT, None, Rule::NonEmpty),
    row("dataLogDir", TEXT, None, Rule::NonEmpty),
    row("clientPort", INT, None, PORT),
    row("clientPortAddress", TEXT, None, Rule::NonEmpty),
    row(
        "clientPortListenBacklog",
        INT,
        Some("-1"),
        Rule::AtLeast(-1),
    ),
    row("tickTime", INT, Some("3000"), Rule::AtLeast(1)),
    row("initLimit", INT, None, Rule::AtLeast(1)),
    row("syncLimit", INT, None, Rule::AtLeast(1)),
    row("maxClientCnxns", INT, Some("60"), Rule::AtLeast(0)),
    row("maxCnxns", INT, Some("0"), Rule::AtLeast(0)),
    row("minSessionTimeout", INT, Some("-1"), Rule::AtLeast(-1)),
    row("maxSessionTimeout", INT, Some("-1"), Rule::AtLeast(-1)),
    row("autopurge.snapRetainCount", INT, Some("3"), Rule::Any),
    row("autopurge.purgeInterval", INT, Some("0"), Rule::Any),
    row("electionAlg", INT, Some("3"), Rule::Between(3.0, 3.0)),
    row("standaloneEnabled", BOOL, Some("true"), Rule::Any),
    row("reconfigEnabled", BOOL, Some("false"), Rule::Any),
    row("admin.enableServer", BOOL, Some("true"), Rule::Any),
    row("admin.serverPort", INT, Some("8080"), PORT),
    row("admin.serverAddress", TEXT, Some("0.0.0.0"), Rule::Any),
    row("admin.commandURL", TEXT, Some("/commands"), Rule::Any),
    row("4lw.commands.whitelist", TEXT, Some("srvr"), Rule::Any),
    row("snapCount", INT, Some("100000"), Rule::Any),
    row("snapSizeLimitInKb", LONG, Some("4194304"), Rule::Any),
    row("preAllocSize", LONG, Some("65536"), Rule::AtLeast(0)),
    row("txnLogSizeLimitInKb", LONG, Some("-1"), Rule::AtLeast(-1)),
    row(
        "forceSync",
        TEXT,
        Some("yes"),
        Rule::OneOf(&["yes", "no", "true", "false"]),
    ),
    row(
        "fsync.warningthresholdms",
        LONG,
        Some("1000"),
        Rule::AtLeast(0),
    ),
    row(
        "globalOutstandingLimit",
        INT,
        Some("1000"),
        Rule::AtLeast(1),
    ),
    row("digest.enabled", BOOL, Some("true"), Rule::Any),
    row("closeSessionTxn.enabled", BOOL, Some("true"), Rule::Any),
    row("extendedTypesEnabled", BOOL, Some("false"), Rule::Any),
    row("enforceQuota", BOOL, Some("false"), Rule::Any),
    row("skipACL", TEXT, Some("no"), Rule::Any),
    row("snapshot.trust.empty", BOOL, Some("false"), Rule::Any),
    row("datadir.autocreate", BOOL, Some("true"), Rule::Any),
    row("tcpKeepAlive", BOOL, Some("false"), Rule::Any),
    row(
        "nio.sessionlessCnxnTimeout",
        INT,
        Some("10000"),
        Rule::AtLeast(1),
    ),
    row(
        "DigestAuthenticationProvider.superDigest",
        Kind::Password,
        None,
        Rule::Any,
    ),
    row(
        "DigestAuthenticationProvider.enabled",
        BOOL,
        Some("true"),
        Rule::Any,
    ),
];

/// Properties that only the command line sets, without the prefix `zookeeper.`.
const COMMAND_LINE_ONLY: &[&str] = &[
    "jute.maxbuffer",
    "znode.container.checkIntervalMs",
    "znode.container.maxPerMinute",
    "znode.container.maxNeverUsedIntervalMs",
];

/// Keys of features that are not there yet: setting one must not pass in silence.
const NOT_THERE: &[(&str, &str)] = &[
    (
        "secureClientPort",
        "TLS is not available yet; use clientPort",
    ),
    (
        "dynamicConfigFile",
        "ensembles are not available yet; configure a single server",
    ),
];

/// What the command line says besides the file.
#[derive(Clone, Debug, Default)]
pub struct CommandLine {
    /// `-Dkey=value`, those of `SERVER_JVMFLAGS` first.
    pub properties: Vec<(String, String)>,
    /// The configuration file, or `port dataDir [tickTime] [maxClientCnxns]`.
    pub arguments: Vec<String>,
}

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
    pub listen: SocketAddr,
    /// Connections that the system keeps waiting for the server.
    pub backlog: i32,
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
    /// Transactions between snapshots.
    pub snap_count: u64,
    /// Bytes of log between snapshots; 0 is no limit.
    pub snap_size_limit_bytes: u64,
    /// How the log is written.
    pub log: LogOptions,
    /// What requests may do.
    pub database: DatabaseOptions,
    /// `snapshot.trust.empty`.
    pub trust_empty: bool,
    /// Four-letter words that are answered.
    pub four_letter_words: Vec<String>,
    /// Largest frame from a client in bytes.
    pub max_frame_bytes: usize,
    /// Requests in process beyond which connections with requests in process are not read.
    pub outstanding_limit: usize,
    /// How long a connection may be without a session.
    pub sessionless_timeout: Duration,
    /// `tcpKeepAlive`.
    pub tcp_keep_alive: bool,
    /// `user:digest` of the super user.
    pub super_digest: Option<String>,
    /// `DigestAuthenticationProvider.enabled`.
    pub digest_auth: bool,
    /// How containers and TTL znodes are cleaned up.
    pub containers: ContainerConfig,
    /// `admin.enableServer`.
    pub admin_enabled: bool,
}

/// How containers and TTL znodes are cleaned up (ContainerManager.java).
#[derive(Clone, Copy, Debug)]
pub struct ContainerConfig {
    /// Time between checks.
    pub check_interval: Duration,
    /// Deletions a minute at most.
    pub max_per_minute: u64,
    /// A container that never had a child goes after so long, in milliseconds; 0: never.
    pub max_never_used_ms: i64,
}

impl ServerConfig {
    /// Reads everything. The second value holds warnings to log.
    pub fn load(command_line: &CommandLine) -> Result<(Self, Vec<String>), ConfigError> {
        let mut warnings = Vec::new();
        let mut settings = match command_line.arguments.as_slice() {
            [file] => Settings::load(Path::new(file))?,
            arguments => positional(arguments)?,
        };
        let mut only = Vec::new();
        for (key, value) in &command_line.properties {
            if COMMAND_LINE_ONLY.contains(&key.as_str()) {
                only.push((key.as_str(), value.as_str()));
            } else if let Some(key) = key.strip_prefix("zookeeper.")
                && settings.get(key).is_none()
            {
                settings.insert(key.to_owned(), value.clone(), Origin::CommandLine);
            }
        }
        single_server(&mut settings, &mut warnings)?;
        let typed = TypedSettings::new(settings, KEYS)?;
        for (key, setting) in typed.unknown() {
            if let Some((_, reason)) = NOT_THERE.iter().find(|(name, _)| *name == key) {
                return Err(typed.reject(key, (*reason).to_owned()));
            }
            warnings.push(unknown_key(key, &setting.origin));
        }
        let config = Self::from_settings(&typed, &only)?;
        Ok((config, warnings))
    }

    fn from_settings(typed: &TypedSettings, only: &[(&str, &str)]) -> Result<Self, ConfigError> {
        let data_dir = PathBuf::from(required_text(typed, "dataDir")?);
        let data_log_dir = typed
            .text("dataLogDir")
            .map_or_else(|| data_dir.clone(), PathBuf::from);
        let tick_ms: i32 = typed.required("tickTime")?;
        let session_limit = |key: &str, ticks: i32| -> Result<i32, ConfigError> {
            Ok(match typed.required(key)? {
                -1 => tick_ms.saturating_mul(ticks),
                limit => limit,
            })
        };
        let min_session_timeout_ms = session_limit("minSessionTimeout", 2)?;
        let max_session_timeout_ms = session_limit("maxSessionTimeout", 20)?;
        if min_session_timeout_ms > max_session_timeout_ms {
            let reason = "minSessionTimeout must not be larger than maxSessionTimeout".to_owned();
            return Err(typed.reject("minSessionTimeout", reason));
        }
        let configured_backlog: i32 = typed.required("clientPortListenBacklog")?;
        let kb = |key: &str| -> Result<u64, ConfigError> {
            Ok(u64::try_from(typed.required::<i64>(key)?)
                .unwrap_or(0)
                .saturating_mul(1024))
        };
        Ok(Self {
            data_dir,
            data_log_dir,
            data_dir_autocreate: typed.required("datadir.autocreate")?,
            listen: listen_address(typed)?,
            // Java listens with 50 where nothing is set.
            backlog: if configured_backlog == -1 {
                50
            } else {
                configured_backlog
            },
            configured_backlog,
            tick_ms,
            max_client_connections: typed.required("maxClientCnxns")?,
            max_connections: typed.required("maxCnxns")?,
            min_session_timeout_ms,
            max_session_timeout_ms,
            snapshots_retained: typed.required::<i64>("autopurge.snapRetainCount")?.max(3) as usize,
            purge_interval_hours: u64::try_from(typed.required::<i64>("autopurge.purgeInterval")?)
                .unwrap_or(0),
            snap_count: typed.required::<i64>("snapCount")?.max(2) as u64,
            snap_size_limit_bytes: kb("snapSizeLimitInKb")?,
            log: LogOptions {
                preallocate_bytes: kb("preAllocSize")?,
                force_sync: !matches!(typed.text("forceSync"), Some("no" | "false")),
                size_limit_bytes: kb("txnLogSizeLimitInKb")?,
                warn_sync_after: Duration::from_millis(typed.required("fsync.warningthresholdms")?),
            },
            database: DatabaseOptions {
                tree: TreeOptions {
                    digests: typed.required("digest.enabled")?,
                    extended_types: typed.required("extendedTypesEnabled")?,
                },
                skip_acl: typed.text("skipACL") == Some("yes"),
                enforce_quota: typed.required("enforceQuota")?,
                reconfig_enabled: typed.required("reconfigEnabled")?,
                close_session_txn: typed.required("closeSessionTxn.enabled")?,
            },
            trust_empty: typed.required("snapshot.trust.empty")?,
            four_letter_words: typed.items("4lw.commands.whitelist"),
            max_frame_bytes: number(only, "jute.maxbuffer", DEFAULT_MAX_BUFFER_BYTES)?,
            outstanding_limit: typed.required("globalOutstandingLimit")?,
            sessionless_timeout: Duration::from_millis(
                typed.required("nio.sessionlessCnxnTimeout")?,
            ),
            tcp_keep_alive: typed.required("tcpKeepAlive")?,
            super_digest: typed
                .text("DigestAuthenticationProvider.superDigest")
                .map(str::to_owned),
            digest_auth: typed.required("DigestAuthenticationProvider.enabled")?,
            containers: ContainerConfig {
                check_interval: Duration::from_millis(
                    number(only, "znode.container.checkIntervalMs", 60_000)?.max(1),
                ),
                max_per_minute: number(only, "znode.container.maxPerMinute", 10_000)?.max(1),
                max_never_used_ms: number(only, "znode.container.maxNeverUsedIntervalMs", 0)?,
            },
            admin_enabled: typed.required("admin.enableServer")?,
        })
    }
}

/// A path or name that must be set.
fn required_text(typed: &TypedSettings, key: &str) -> Result<String, ConfigError> {
    typed
        .text(key)
        .map(str::to_owned)
        .ok_or_else(|| ConfigError::Conflict {
            path: typed.settings().path().to_owned(),
            reason: format!("{key} is not set"),
        })
}

fn unknown_key(key: &str, origin: &Origin) -> String {
    if COMMAND_LINE_ONLY.contains(&key) {
        return format!("{origin}: {key} has no effect here; pass -D{key}=... instead");
    }
    format!("{origin}: unknown or unsupported key {key} has no effect")
}

/// `port dataDir [tickTime] [maxClientCnxns]`, as ZooKeeperServerMain takes it.
fn positional(arguments: &[String]) -> Result<Settings, ConfigError> {
    let mut settings = Settings::default();
    let keys = ["clientPort", "dataDir", "tickTime", "maxClientCnxns"];
    for (key, value) in keys.iter().zip(arguments) {
        settings.insert((*key).to_owned(), value.clone(), Origin::CommandLine);
    }
    Ok(settings)
}

/// One `server.N` line is a standalone server; more are an ensemble.
fn single_server(settings: &mut Settings, warnings: &mut Vec<String>) -> Result<(), ConfigError> {
    let servers: Vec<(String, String)> = settings
        .iter()
        .filter(|(key, _)| key.starts_with("server."))
        .map(|(key, setting)| (key.to_owned(), setting.value.clone()))
        .collect();
    match servers.as_slice() {
        [] => {}
        [(key, value)] => {
            warnings.push(format!(
                "{key} is the only server: running in standalone mode"
            ));
            if settings.get("clientPort").is_none()
                && let Some((_, client)) = value.split_once(';')
            {
                let port = client.rsplit(':').next().unwrap_or(client);
                settings.insert(
                    "clientPort".to_owned(),
                    port.to_owned(),
                    Origin::CommandLine,
                );
            }
        }
        [(key, _), ..] => {
            return Err(ConfigError::Conflict {
                path: settings.path().to_owned(),
                reason: format!(
                    "{key} and other server.N lines describe an ensemble, which is not available yet; remove them to run a single server"
                ),
            });
        }
    }
    Ok(())
}

fn listen_address(typed: &TypedSettings) -> Result<SocketAddr, ConfigError> {
    required_text(typed, "clientPort")?;
    let port: u16 = typed.required("clientPort")?;
    let Some(host) = typed.text("clientPortAddress") else {
        // Java listens on all addresses of both kinds where there is IPv6.
        let any = match std::net::TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)) {
            Ok(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            Err(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        return Ok(SocketAddr::new(any, port));
    };
    let mut addresses = (host, port).to_socket_addrs().map_err(|e| {
        typed.reject(
            "clientPortAddress",
            format!("the host cannot be resolved: {e}"),
        )
    })?;
    addresses
        .next()
        .ok_or_else(|| typed.reject("clientPortAddress", "the host has no address".to_owned()))
}

fn number<T: std::str::FromStr>(
    only: &[(&str, &str)],
    key: &str,
    default: T,
) -> Result<T, ConfigError> {
    let Some((_, value)) = only.iter().rev().find(|(name, _)| *name == key) else {
        return Ok(default);
    };
    // Java reads these with Integer.getInteger, which also takes hexadecimal.
    let parsed = match value.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16)
            .ok()
            .and_then(|n| n.to_string().parse().ok()),
        None => value.parse().ok(),
    };
    parsed.ok_or_else(|| ConfigError::BadOverride(format!("-D{key}={value}")))
}

/// The `-Dkey=value` parts of a command line's text.
pub fn java_properties(text: &str) -> Vec<(String, String)> {
    text.split_whitespace()
        .filter_map(|word| word.strip_prefix("-D"))
        .map(|property| property.split_once('=').unwrap_or((property, "")))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}
