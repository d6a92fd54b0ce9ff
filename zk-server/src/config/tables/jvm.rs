//! Pure: settings that only a Java virtual machine, or a part that is not here, has a use for.

use crate::config::keys::Key;

/// The rows.
pub const KEYS: &[Key] = &[];
