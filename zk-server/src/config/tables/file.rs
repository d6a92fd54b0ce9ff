//! Pure: the keys of a single server that only the file sets (QuorumPeerConfig.java).

use common::config::Rule;

use crate::config::keys::Form::{Boolean, Int, Long, Text};
use crate::config::keys::Key;

const PORT: Rule = Rule::Between(0.0, 65535.0);
const NO_PAUSES: &str = "there is no garbage collector that could stop this server";

/// The rows.
pub const KEYS: &[Key] = &[
    Key::file("dataDir", Text).rule(Rule::NonEmpty),
    Key::file("dataLogDir", Text).rule(Rule::NonEmpty),
    Key::file("clientPort", Int).rule(PORT),
    Key::file("clientPortAddress", Text),
    Key::file("clientPortListenBacklog", Int).default("-1"),
    Key::file("tickTime", Int)
        .default("3000")
        .rule(Rule::AtLeast(1)),
    Key::file("maxClientCnxns", Int).default("60"),
    Key::file("minSessionTimeout", Int).default("-1"),
    Key::file("maxSessionTimeout", Int).default("-1"),
    Key::file("autopurge.snapRetainCount", Int).default("3"),
    Key::file("autopurge.purgeInterval", Int).default("0"),
    Key::file("electionAlg", Int)
        .default("3")
        .rule(Rule::Between(3.0, 3.0)),
    Key::file("standaloneEnabled", Boolean).default("true"),
    Key::file("reconfigEnabled", Boolean).default("false"),
    Key::file("dynamicConfigFile", Text).rule(Rule::NonEmpty),
    Key::file("server.*", Text),
    Key::file("group*", Text),
    Key::file("weight*", Text),
    // Written into old dynamic files; a static one may still have it.
    Key::file("version", Text),
    Key::file("jvm.pause.monitor", Boolean).idle(NO_PAUSES),
    Key::file("jvm.pause.info-threshold.ms", Long).idle(NO_PAUSES),
    Key::file("jvm.pause.warn-threshold.ms", Long).idle(NO_PAUSES),
    Key::file("jvm.pause.sleep.time.ms", Long).idle(NO_PAUSES),
];
