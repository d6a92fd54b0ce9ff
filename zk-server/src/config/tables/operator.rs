//! Pure: keys of the four-letter words, the AdminServer, metrics and the audit log.

use common::config::Rule;

use crate::config::keys::Form::{Flag, Int, IntOrDefault, Secret, Text};
use crate::config::keys::Key;

const PORT: Rule = Rule::Between(0.0, 65535.0);

const NO_WORKERS: &str = "counting needs neither threads nor a queue here";

/// The rows.
pub const KEYS: &[Key] = &[
    Key::both("4lw.commands.whitelist", Text).default("srvr"),
    Key::both("admin.enableServer", Text).default("true"),
    Key::both("admin.serverPort", IntOrDefault)
        .default("8080")
        .rule(PORT),
    Key::both("admin.serverAddress", Text).default("0.0.0.0"),
    Key::both("admin.commandURL", Text).default("/commands"),
    Key::both("admin.idleTimeout", IntOrDefault).default("30000"),
    Key::both("admin.httpVersion", IntOrDefault)
        .default("11")
        .none("the AdminServer speaks HTTP/1.1"),
    Key::both("admin.portUnification", Flag).default("false"),
    Key::both("admin.forceHttps", Flag).default("false"),
    // The AdminServer's TLS has the stores that servers of an ensemble use among themselves.
    Key::both("ssl.quorum.keyStore.location", Text),
    Key::both("ssl.quorum.keyStore.password", Secret),
    Key::both("ssl.quorum.keyStore.passwordPath", Text),
    Key::both("ssl.quorum.keyStore.type", Text),
    Key::both("audit.enable", Flag).default("false"),
    Key::both("audit.file", Text),
    Key::both("audit.impl.class", Text)
        .none("classes of one's own cannot be loaded; set audit.file for a file of its own"),
    Key::file("metricsProvider.className", Text)
        .default("org.apache.zookeeper.metrics.impl.DefaultMetricsProvider"),
    Key::file("metricsProvider.httpHost", Text).default("0.0.0.0"),
    Key::file("metricsProvider.httpPort", Int)
        .default("7000")
        .rule(PORT),
    Key::file("metricsProvider.exportJvmInfo", Flag).default("true"),
    Key::file("metricsProvider.numWorkerThreads", Int).none(NO_WORKERS),
    Key::file("metricsProvider.maxQueueSize", Int).none(NO_WORKERS),
    Key::file("metricsProvider.workerShutdownTimeoutMs", Int).none(NO_WORKERS),
    Key::file("metricsProvider.*", Text).none("no metrics provider reads it"),
];
