//! Pure: what a session tells its owner.

use crate::zk::client::error::ZkError;
use crate::zk::response::EventType;

/// How a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionState {
    /// No connection yet.
    Connecting,
    /// Connected, for the first time or again.
    Connected,
    /// Connected to a server that only reads.
    ConnectedReadOnly,
    /// The connection is gone; the session may live on.
    Disconnected,
    /// The server has ended the session. Final.
    Expired,
    /// The server refused an authentication. Final.
    AuthFailed,
    /// Closed from our side. Final.
    Closed,
}

impl SessionState {
    /// Whether requests reach a server now.
    #[must_use]
    pub const fn is_connected(self) -> bool {
        matches!(self, Self::Connected | Self::ConnectedReadOnly)
    }

    /// Whether this is the end, and what requests then fail with.
    #[must_use]
    pub const fn end(self) -> Option<ZkError> {
        match self {
            Self::Expired => Some(ZkError::SessionExpired),
            Self::AuthFailed => Some(ZkError::AuthFailed),
            Self::Closed => Some(ZkError::Closed),
            _ => None,
        }
    }
}

/// What happened, in the order of the server's frames: an event stands before the reply that
/// shows the change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ZkEvent {
    /// A watch fired, or was removed.
    Node {
        /// What happened.
        kind: EventType,
        /// Where, seen from the chroot.
        path: String,
    },
    /// The session's state changed.
    Session(SessionState),
}
