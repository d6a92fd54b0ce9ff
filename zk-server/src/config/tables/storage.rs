//! Pure: keys of logs, snapshots and their directories.

use crate::config::keys::Form::{Flag, IntOrDefault, LongOrDefault, Text};
use crate::config::keys::Key;

/// The rows.
pub const KEYS: &[Key] = &[
    Key::both("snapCount", IntOrDefault).default("100000"),
    Key::both("snapSizeLimitInKb", LongOrDefault).default("4194304"),
    Key::both("preAllocSize", LongOrDefault).default("65536"),
    Key::both("txnLogSizeLimitInKb", LongOrDefault).default("-1"),
    Key::both("forceSync", Text).default("yes"),
    Key::both("fsync.warningthresholdms", LongOrDefault).default("1000"),
    Key::property("fsync.warningthresholdms", LongOrDefault).default("1000"),
    Key::both("snapshot.compression.method", Text).default(""),
    Key::both("db.autocreate", Flag).default("true"),
    Key::both("snapshot.trust.empty", Flag).default("false"),
    Key::both("datadir.autocreate", Flag).default("true"),
];
