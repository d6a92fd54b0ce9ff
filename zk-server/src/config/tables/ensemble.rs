//! Pure: keys that only the servers of an ensemble have a use for.

use common::config::Rule;

use crate::config::keys::Form::{Int, Text};
use crate::config::keys::Key;

const ENSEMBLE: &str = "only servers of an ensemble use it";

/// The rows.
pub const KEYS: &[Key] = &[
    Key::file("initLimit", Int)
        .rule(Rule::AtLeast(1))
        .idle(ENSEMBLE),
    Key::file("syncLimit", Int)
        .rule(Rule::AtLeast(1))
        .idle(ENSEMBLE),
    Key::file("server.*", Text),
];
