//! Pure: the settings of TLS from their keys (X509Util.java, QuorumPeerConfig.configureSSLAuth).

use std::net::SocketAddr;
use std::path::PathBuf;

use common::config::ConfigError;

use crate::config::values::Values;
use crate::net::ports::PortOptions;
use crate::tls::options::{ClientAuth, StoreKind, StoreOptions, TlsOptions};

/// The factory of connections that speaks TLS in ZooKeeper.
const NETTY: &str = "org.apache.zookeeper.server.NettyServerCnxnFactory";

/// Connections that the system keeps waiting for the server where nothing is set.
/// Java listens with 50, and makes the rest of a storm wait a second.
const DEFAULT_BACKLOG: i32 = 4096;

/// Whether TLS is spoken on any port.
#[must_use]
pub fn is_spoken(values: &Values) -> bool {
    values.is_set("secureClientPort") || is_unified(values)
}

/// Whether the plain port takes TLS as well: in ZooKeeper only Netty's connections do.
fn is_unified(values: &Values) -> bool {
    values.flag("client.portUnification")
        && values.text("serverCnxnFactory").map(str::trim) == Some(NETTY)
}

/// The ports, with TLS if one of them speaks it.
///
/// # Errors
/// No port at all, and what `options` refuses.
pub fn ports(
    values: &mut Values,
    plain: Option<SocketAddr>,
    secure: Option<SocketAddr>,
) -> Result<PortOptions, ConfigError> {
    if plain.is_none() && secure.is_none() {
        return Err(values.conflict("clientPort is not set".to_owned()));
    }
    let unified = is_unified(values) && plain.is_some();
    if values.flag("client.portUnification") && !unified {
        let text = format!(
            "client.portUnification has no effect, as in ZooKeeper, without serverCnxnFactory={NETTY}"
        );
        values.note(true, text);
    }
    let tls = if unified || secure.is_some() {
        Some(options(values)?)
    } else {
        None
    };
    let backlog: i32 = values.required("clientPortListenBacklog")?;
    Ok(PortOptions {
        plain,
        secure,
        unified,
        netty: values.text("serverCnxnFactory").map(str::trim) == Some(NETTY),
        tls,
        backlog: if backlog < 1 {
            DEFAULT_BACKLOG
        } else {
            backlog
        },
    })
}

/// The settings of ports that speak TLS.
///
/// # Errors
/// Values that mean nothing, and keys that ask for what only a Java virtual machine can do.
fn options(values: &Values) -> Result<TlsOptions, ConfigError> {
    refuse_java(values)?;
    let client_auth = values.text("ssl.clientAuth").unwrap_or_default();
    let client_auth = ClientAuth::of_name(client_auth).ok_or_else(|| {
        let reason = "it is need, want or none".to_owned();
        values.reject("ssl.clientAuth", reason)
    })?;
    let key_store = store(
        values,
        [
            "ssl.keyStore.location",
            "ssl.keyStore.password",
            "ssl.keyStore.passwordPath",
            "ssl.keyStore.type",
        ],
    )?;
    let Some(key_store) = key_store else {
        return Err(values.conflict(
            "ssl.keyStore.location is not set, and a port that speaks TLS needs a key".to_owned(),
        ));
    };
    let list = |key: &str| -> Option<Vec<String>> {
        let items = values.text(key)?.split(',');
        Some(items.map(|item| item.trim().to_owned()).collect())
    };
    let protocols = match list("ssl.enabledProtocols") {
        Some(protocols) => protocols,
        None => list("ssl.protocol").unwrap_or_default(),
    };
    let limit: i64 = values.required("netty.server.outstandingHandshake.limit")?;
    Ok(TlsOptions {
        key_store,
        trust_store: store(
            values,
            [
                "ssl.trustStore.location",
                "ssl.trustStore.password",
                "ssl.trustStore.passwordPath",
                "ssl.trustStore.type",
            ],
        )?,
        client_auth,
        protocols,
        cipher_suites: list("ssl.ciphersuites"),
        handshake_limit: usize::try_from(limit).ok().filter(|limit| *limit > 0),
    })
}

/// What would be insecure to pass over is refused.
fn refuse_java(values: &Values) -> Result<(), ConfigError> {
    if values.is_set("ssl.context.supplier.class") {
        let reason = "a Java class cannot be loaded; set ssl.keyStore.* and ssl.trustStore.*";
        return Err(values.reject("ssl.context.supplier.class", reason.to_owned()));
    }
    for key in ["ssl.crl", "ssl.ocsp"] {
        if values.flag(key) {
            let reason = "certificates are not checked for revocation; issue short-lived ones, or keep revoked ones' issuers out of the trust store";
            return Err(values.reject(key, reason.to_owned()));
        }
    }
    if values.text("ssl.authProvider") != Some("x509") {
        let reason = "own authentication providers are Java classes; only x509 is available";
        return Err(values.reject("ssl.authProvider", reason.to_owned()));
    }
    Ok(())
}

/// A store from the keys of its file, password, file with the password, and type.
///
/// # Errors
/// A type that there is not.
pub fn store(
    values: &Values,
    [location, password, password_path, kind]: [&'static str; 4],
) -> Result<Option<StoreOptions>, ConfigError> {
    let Some(path) = values.text(location).filter(|path| !path.is_empty()) else {
        return Ok(None);
    };
    let text = |key: &str| values.text(key).filter(|text| !text.is_empty());
    let kind = match text(kind) {
        None => None,
        Some(name) => Some(
            StoreKind::of_name(name)
                .ok_or_else(|| values.reject(kind, "it is JKS, PKCS12 or PEM".to_owned()))?,
        ),
    };
    Ok(Some(StoreOptions {
        key: location,
        path: PathBuf::from(path),
        password: text(password).unwrap_or_default().to_owned(),
        password_path: text(password_path).map(PathBuf::from),
        kind,
    }))
}
