//! Pure: keys of the four-letter words, the AdminServer, metrics and the audit log.

use common::config::Rule;

use crate::config::keys::Form::{IntOrDefault, Text};
use crate::config::keys::Key;

const PORT: Rule = Rule::Between(0.0, 65535.0);

/// The rows.
pub const KEYS: &[Key] = &[
    Key::both("4lw.commands.whitelist", Text).default("srvr"),
    Key::both("admin.enableServer", Text).default("true"),
    Key::both("admin.serverPort", IntOrDefault)
        .default("8080")
        .rule(PORT),
    Key::both("admin.serverAddress", Text).default("0.0.0.0"),
    Key::both("admin.commandURL", Text).default("/commands"),
];
