//! Shell: this broker's node under `/brokers/ids` (`KafkaZkClient.registerBroker`,
//! `KafkaServer.createBrokerInfo`).
//!
//! The node is ephemeral; its czxid is the broker's epoch. It is created with null data and filled
//! in the same multi, as Kafka does it, so that its data version is 1. A node that exists already is
//! - ours, if its session is the present one: a lost connection hid our own success;
//! - ours from an earlier session of this process: it is deleted and created again;
//! - that of an earlier process of this broker, if it advertises exactly our addresses, which we have
//!   bound: it goes when that session expires, and we wait for that;
//! - another broker's: starting fails.

use std::time::Duration;

use bytes::Bytes;
use common::zk::client::error::ZkError;
use common::zk::code::ErrorCode;
use common::zk::data::Stat;
use common::zk::multi::MultiResult;
use common::zk::request::CreateMode;

use crate::zk::cluster::malformed;
use crate::zk::error::StoreError;
use crate::zk::paths;
use crate::zk::store::{StoreEvent, ZkStore, now_ms, set_data};
use crate::zk::znodes::BrokerRegistration;

/// What a broker without JMX registers.
const NO_JMX_PORT: i32 = -1;

/// Whose node is in the way.
enum Holder {
    /// Nobody's any more.
    Gone,
    /// This session's; its stat.
    ThisSession(Stat),
    /// An earlier session's of this process.
    FormerSession,
    /// An earlier process's of this broker.
    FormerProcess,
    /// Another broker's, that advertises these addresses.
    Other(String),
}

impl ZkStore {
    /// Fails if another broker advertises one of this broker's addresses.
    ///
    /// # Errors
    /// [`StoreError::EndpointTaken`], or when `ZooKeeper` refuses.
    pub async fn check_endpoints(&self, own: &BrokerRegistration) -> Result<(), StoreError> {
        for (other, _) in self.brokers(false).await? {
            if other.id == own.id {
                continue;
            }
            let is_taken = |endpoint: &&crate::zk::znodes::Endpoint| {
                other
                    .endpoints
                    .iter()
                    .any(|e| e.host == endpoint.host && e.port == endpoint.port)
            };
            let taken: Vec<_> = own.endpoints.iter().filter(is_taken).collect();
            if !taken.is_empty() {
                let shown: Vec<_> = taken
                    .iter()
                    .map(|e| format!("{}:{}", e.host, e.port))
                    .collect();
                let endpoints = shown.join(",");
                return Err(StoreError::EndpointTaken {
                    endpoints,
                    other: other.id,
                });
            }
        }
        Ok(())
    }

    /// Registers this broker under the present session and returns its epoch.
    ///
    /// # Errors
    /// [`StoreError::BrokerIdTaken`] when another broker has the id, or when `ZooKeeper` refuses.
    pub async fn register_broker(&self, broker: &BrokerRegistration) -> Result<i64, StoreError> {
        let path = paths::broker(broker.id);
        let mut events = self.subscribe();
        // The owner's session timeout is not known; it was most likely configured as ours.
        let patience = self.session_timeout() * 2 + Duration::from_secs(5);
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            match self.try_register(&path, broker).await {
                Ok(czxid) => {
                    *self.registered_session.lock() = self.session_id();
                    tracing::info!(broker = broker.id, epoch = czxid, path, "registered broker");
                    return Ok(czxid);
                }
                Err(error) if error.is(ErrorCode::NodeExists) => {}
                Err(error) => return Err(error),
            }
            let taken = |owner| {
                let (id, path) = (broker.id, path.clone());
                StoreError::BrokerIdTaken { id, path, owner }
            };
            match self.holder(&path, broker).await? {
                Holder::Gone => {}
                Holder::ThisSession(stat) => {
                    *self.registered_session.lock() = self.session_id();
                    return Ok(stat.czxid);
                }
                Holder::FormerSession => self.delete(&path).await?,
                Holder::Other(owner) => return Err(taken(owner)),
                Holder::FormerProcess => {
                    tracing::warn!(path, "waiting for this broker's former session to expire");
                    self.exists(&path, true).await?;
                    let gone = until_event(&mut events, &path);
                    if tokio::time::timeout_at(deadline, gone).await.is_err() {
                        let own = broker.endpoints.iter().map(|e| e.connection_string());
                        return Err(taken(own.collect::<Vec<_>>().join(",")));
                    }
                }
            }
        }
    }

    async fn try_register(
        &self,
        path: &str,
        broker: &BrokerRegistration,
    ) -> Result<i64, StoreError> {
        let ops = vec![
            self.create_op(path, None, CreateMode::Ephemeral),
            set_data(path, broker.encode(now_ms(), NO_JMX_PORT), 0),
        ];
        match self.multi(ops).await?.get(1) {
            Some(MultiResult::SetData(stat)) => Ok(stat.czxid),
            _ => Err(ZkError::Arguments("registration has no result").into()),
        }
    }

    async fn holder(&self, path: &str, broker: &BrokerRegistration) -> Result<Holder, StoreError> {
        let Some((data, stat)) = self.get(path, false).await? else {
            return Ok(Holder::Gone);
        };
        if stat.ephemeral_owner == self.session_id() {
            return Ok(Holder::ThisSession(stat));
        }
        if stat.ephemeral_owner == *self.registered_session.lock() {
            return Ok(Holder::FormerSession);
        }
        let data: Bytes = data.unwrap_or_default();
        let holder = BrokerRegistration::decode(broker.id, &data).map_err(malformed(path))?;
        if stat.ephemeral_owner != 0 && holder.endpoints == broker.endpoints {
            return Ok(Holder::FormerProcess);
        }
        let owner = holder
            .endpoints
            .iter()
            .map(|endpoint| endpoint.connection_string());
        Ok(Holder::Other(owner.collect::<Vec<_>>().join(",")))
    }
}

/// Waits until a watch on the node fires.
async fn until_event(events: &mut tokio::sync::mpsc::UnboundedReceiver<StoreEvent>, wanted: &str) {
    while let Some(event) = events.recv().await {
        match event {
            StoreEvent::Node { path, .. } if path == wanted => return,
            StoreEvent::Node { .. } => {}
            // The watch is lost with its session: look again.
            StoreEvent::Expired(_) | StoreEvent::Renewed => return,
        }
    }
}
