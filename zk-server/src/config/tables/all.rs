//! Pure: the list of the tables.

use crate::config::keys::Key;
use crate::config::tables::{auth, ensemble, file, jvm, operator, protocol, storage, tls};

/// Every row there is.
pub const TABLES: &[&[Key]] = &[
    file::KEYS,
    protocol::KEYS,
    storage::KEYS,
    auth::KEYS,
    tls::KEYS,
    operator::KEYS,
    ensemble::KEYS,
    jvm::KEYS,
];
