//! Pure: keys of connections, sessions, requests and znodes.

use common::config::Rule;

use crate::config::keys::Form::{Flag, IntOrDefault, LongOrDefault};
use crate::config::keys::Key;

/// The rows.
pub const KEYS: &[Key] = &[
    Key::both("maxCnxns", IntOrDefault)
        .default("0")
        .rule(Rule::AtLeast(0)),
    Key::both("tcpKeepAlive", Flag).default("false"),
    Key::both("nio.sessionlessCnxnTimeout", IntOrDefault)
        .default("10000")
        .rule(Rule::AtLeast(1)),
    Key::both("globalOutstandingLimit", IntOrDefault)
        .default("1000")
        .rule(Rule::AtLeast(1)),
    Key::both("digest.enabled", Flag).default("true"),
    Key::both("closeSessionTxn.enabled", Flag).default("true"),
    Key::both("extendedTypesEnabled", Flag).default("false"),
    Key::both("enforceQuota", Flag).default("false"),
    Key::property("jute.maxbuffer", IntOrDefault).default("1048575"),
    Key::property("znode.container.checkIntervalMs", IntOrDefault).default("60000"),
    Key::property("znode.container.maxPerMinute", IntOrDefault).default("10000"),
    Key::property("znode.container.maxNeverUsedIntervalMs", LongOrDefault).default("0"),
];
