//! Shell: the values operators set for what they see: words, AdminServer, metrics.

use std::path::{Path, PathBuf};
use std::time::Duration;

use common::config::ConfigError;

use crate::config::keys::{self, Form, Place};
use crate::config::tls;
use crate::config::values::Values;
use crate::operator::admin::{AdminOptions, MetricsOptions};
use crate::operator::facts::MetricsProvider;
use crate::tls::options::{ClientAuth, StoreOptions, TlsOptions};

const DEFAULT_PROVIDER: &str = "org.apache.zookeeper.metrics.impl.DefaultMetricsProvider";
const NULL_PROVIDER: &str = "org.apache.zookeeper.metrics.impl.NullMetricsProvider";
const PROMETHEUS: &str = "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider";

/// What operators are shown, and where.
#[derive(Clone, Debug)]
pub struct OperatorOptions {
    /// The AdminServer, if there is to be one.
    pub admin: Option<AdminOptions>,
    /// What `mntr` tells.
    pub metrics: MetricsProvider,
    /// The endpoint for Prometheus, if there is to be one.
    pub endpoint: Option<MetricsOptions>,
    /// `audit.enable`.
    pub audit: bool,
    /// `audit.file`: where the audit log goes, if not to the server's own.
    pub audit_file: Option<PathBuf>,
    /// The file's text without passwords, if there is a file.
    pub initial_configuration: Option<String>,
    /// System properties that are set, without passwords.
    pub properties: Vec<(String, String)>,
}

/// Reads what is set for operators.
///
/// # Errors
/// A metrics provider that is not there, or a number that is out of range.
pub fn options(values: &Values) -> Result<OperatorOptions, ConfigError> {
    let class = values.required_text("metricsProvider.className")?;
    let (metrics, endpoint) = match class {
        DEFAULT_PROVIDER => (MetricsProvider::Default, None),
        NULL_PROVIDER => (MetricsProvider::Null, None),
        PROMETHEUS => {
            let process = values.flag("metricsProvider.exportJvmInfo");
            let endpoint = MetricsOptions {
                address: values.required_text("metricsProvider.httpHost")?.to_owned(),
                port: values.required("metricsProvider.httpPort")?,
            };
            (MetricsProvider::Prometheus { process }, Some(endpoint))
        }
        _ => {
            let reason = format!(
                "classes of one's own cannot be loaded; use {DEFAULT_PROVIDER}, {NULL_PROVIDER} or {PROMETHEUS}"
            );
            return Err(values.reject("metricsProvider.className", reason));
        }
    };
    let admin = (values.text("admin.enableServer") != Some("false"))
        .then(|| admin(values))
        .transpose()?;
    Ok(OperatorOptions {
        admin,
        metrics,
        endpoint,
        audit: values.flag("audit.enable"),
        audit_file: values.text("audit.file").map(PathBuf::from),
        initial_configuration: initial_configuration(values.path()),
        properties: properties(values),
    })
}

fn admin(values: &Values) -> Result<AdminOptions, ConfigError> {
    let url = values.required_text("admin.commandURL")?;
    Ok(AdminOptions {
        address: values.required_text("admin.serverAddress")?.to_owned(),
        port: values.required("admin.serverPort")?,
        idle: Duration::from_millis(
            values
                .required::<i64>("admin.idleTimeout")?
                .max(1)
                .unsigned_abs(),
        ),
        command_url: format!("/{}", url.trim_matches('/')),
        tls: admin_tls(values)?,
    })
}

/// The AdminServer's TLS, and whether it speaks nothing else.
fn admin_tls(values: &Values) -> Result<Option<(TlsOptions, bool)>, ConfigError> {
    let only = values.flag("admin.forceHttps");
    if !only && !values.flag("admin.portUnification") {
        return Ok(None);
    }
    let key_store = tls::store(
        values,
        [
            "ssl.quorum.keyStore.location",
            "ssl.quorum.keyStore.password",
            "ssl.quorum.keyStore.passwordPath",
            "ssl.quorum.keyStore.type",
        ],
    )?;
    let options = TlsOptions {
        // Without one there is no AdminServer, but a server; so it is with the real one.
        key_store: key_store.unwrap_or(StoreOptions {
            key: "ssl.quorum.keyStore.location",
            path: PathBuf::new(),
            password: String::new(),
            password_path: None,
            kind: None,
        }),
        trust_store: None,
        client_auth: ClientAuth::None,
        protocols: vec!["TLS".to_owned()],
        cipher_suites: None,
        handshake_limit: None,
    };
    Ok(Some((options, only)))
}

/// The file as it is, but for the values of passwords.
fn initial_configuration(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let mut shown = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let key = line.split(['=', ':']).next().unwrap_or_default();
        let name = key.trim().trim_matches('"');
        if is_secret(name) && line.len() > key.len() {
            shown.push_str(&line[..=key.len()]);
            shown.push_str(HIDDEN);
            shown.push('\n');
        } else {
            shown.push_str(line);
        }
    }
    Some(shown)
}

const HIDDEN: &str = "(hidden)";

fn is_secret(name: &str) -> bool {
    let bare = name.strip_prefix("zookeeper.").unwrap_or(name);
    let places = [Place::File, Place::Both, Place::Property];
    [name, bare]
        .iter()
        .any(|name| keys::find(name, &places).is_some_and(|key| key.form == Form::Secret))
}

/// What is set and would be a system property of the real server.
fn properties(values: &Values) -> Vec<(String, String)> {
    values
        .beginning_with("")
        .filter_map(|(name, value)| {
            let property = match keys::find(name, &[Place::Both, Place::Property])?.place {
                Place::Both => format!("zookeeper.{name}"),
                _ => name.to_owned(),
            };
            let value = if is_secret(name) { HIDDEN } else { value };
            Some((property, value.to_owned()))
        })
        .collect()
}
