//! Pure: why something that touches `ZooKeeper` failed.

use common::zk::client::error::ZkError;
use common::zk::code::ErrorCode;
use thiserror::Error;

use crate::zk::znodes::ZnodeError;

/// Why an operation on Kafka's znodes failed.
#[derive(Debug, Error)]
pub enum StoreError {
    /// No server of `zookeeper.connect` answered in time.
    #[error(
        "no connection to zookeeper at {connect} within {waited_ms} ms; check that it runs and that \
         zookeeper.connect is right"
    )]
    Unreachable {
        /// `zookeeper.connect`.
        connect: String,
        /// `zookeeper.connection.timeout.ms`.
        waited_ms: u128,
    },
    /// `zookeeper.connect` is not a list of servers.
    #[error("zookeeper.connect {connect:?}: {reason}")]
    Connect {
        /// The value.
        connect: String,
        /// What is wrong with it.
        reason: String,
    },
    /// `ZooKeeper` refused, or the session is gone.
    #[error("{0}")]
    Zk(#[from] ZkError),
    /// Another controller was elected.
    #[error("the controller has moved to another broker")]
    ControllerMoved,
    /// There is no controller whose consent a change needs.
    #[error("cannot change the config of {entity}: there is no controller")]
    NoController {
        /// As in `topics/t`.
        entity: String,
    },
    /// Data that Kafka would not have written.
    #[error("{path}: {source}")]
    Malformed {
        /// The node.
        path: String,
        /// What is wrong.
        source: ZnodeError,
    },
    /// Another broker has this broker's id.
    #[error(
        "broker id {id} is already registered at {path} by {owner} (NodeExists); stop that broker or \
         choose another broker.id"
    )]
    BrokerIdTaken {
        /// `broker.id`.
        id: i32,
        /// The node.
        path: String,
        /// The addresses that the other broker advertises.
        owner: String,
    },
    /// Another broker advertises one of this broker's addresses.
    #[error(
        "configured end points {endpoints} in advertised.listeners are already registered by broker \
         {other}"
    )]
    EndpointTaken {
        /// The addresses.
        endpoints: String,
        /// The other broker's id.
        other: i32,
    },
}

impl StoreError {
    /// Whether `ZooKeeper` answered with `code`.
    #[must_use]
    pub fn is(&self, code: ErrorCode) -> bool {
        matches!(self, Self::Zk(error) if error.is(code))
    }

    /// Whether the session that the operation was part of is over.
    #[must_use]
    pub fn is_session_over(&self) -> bool {
        matches!(
            self,
            Self::Zk(ZkError::SessionExpired | ZkError::Closed | ZkError::AuthFailed)
        )
    }
}
