//! Pure: keys of authentication and of access control.

use crate::config::keys::Form::{Flag, Secret, Text};
use crate::config::keys::Key;

/// The rows.
pub const KEYS: &[Key] = &[
    Key::both("skipACL", Text).default("no"),
    Key::both("DigestAuthenticationProvider.superDigest", Secret),
    Key::both("DigestAuthenticationProvider.enabled", Flag).default("true"),
];
