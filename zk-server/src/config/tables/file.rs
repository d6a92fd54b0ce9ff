//! Pure: the keys of a single server that only the file sets (QuorumPeerConfig.java).

use common::config::Rule;

use crate::config::keys::Form::{Boolean, Int, Text};
use crate::config::keys::Key;

const PORT: Rule = Rule::Between(0.0, 65535.0);

/// The rows.
pub const KEYS: &[Key] = &[
    Key::file("dataDir", Text).rule(Rule::NonEmpty),
    Key::file("dataLogDir", Text).rule(Rule::NonEmpty),
    Key::file("clientPort", Int).rule(PORT),
    Key::file("clientPortAddress", Text).rule(Rule::NonEmpty),
    Key::file("clientPortListenBacklog", Int)
        .default("-1")
        .rule(Rule::AtLeast(-1)),
    Key::file("tickTime", Int)
        .default("3000")
        .rule(Rule::AtLeast(1)),
    Key::file("maxClientCnxns", Int)
        .default("60")
        .rule(Rule::AtLeast(0)),
    Key::file("minSessionTimeout", Int)
        .default("-1")
        .rule(Rule::AtLeast(-1)),
    Key::file("maxSessionTimeout", Int)
        .default("-1")
        .rule(Rule::AtLeast(-1)),
    Key::file("autopurge.snapRetainCount", Int).default("3"),
    Key::file("autopurge.purgeInterval", Int).default("0"),
    Key::file("electionAlg", Int)
        .default("3")
        .rule(Rule::Between(3.0, 3.0)),
    Key::file("standaloneEnabled", Boolean).default("true"),
    Key::file("reconfigEnabled", Boolean).default("false"),
];
