//! Pure: keys of TLS (X509Util.java, NettyServerCnxnFactory.java).

use crate::config::keys::Key;

/// The rows.
pub const KEYS: &[Key] = &[];
