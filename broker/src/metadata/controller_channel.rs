//! Shell: requests of this broker to whoever is the controller now (`NodeToControllerChannelManager.scala`).

use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use kafka_wire::client::connection::{Connection, ConnectionError, ConnectionOptions};
use kafka_wire::message::Request;

use crate::metadata::cache::MetadataCache;

/// Why the controller did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// No controller is known.
    #[error("no controller is known")]
    NoController,
    /// The controller is known, but its broker is not, or has not the listener.
    #[error("broker {0}, the controller, is not alive on listener {1}")]
    NoAddress(i32, String),
    /// The connection failed.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
}

/// The way to the controller; one connection, kept while it works and while the controller stays.
#[derive(Debug)]
pub struct ControllerChannel {
    metadata: Arc<MetadataCache>,
    listener: String,
    client_id: ByteString,
    /// The controller's address and the connection to it. Held while connecting, so that only one is made.
    current: tokio::sync::Mutex<Option<(String, Connection)>>,
}

impl ControllerChannel {
    /// Talks over `listener` (`inter.broker.listener.name`) in the name of `broker_id`.
    pub fn new(metadata: Arc<MetadataCache>, listener: &str, broker_id: i32) -> Self {
        Self {
            metadata,
            listener: listener.to_string(),
            client_id: ByteString::from(broker_id.to_string()),
            current: tokio::sync::Mutex::new(None),
        }
    }

    /// Sends one request; `limit` bounds connecting and answering, each.
    ///
    /// # Errors
    /// [`ChannelError`]; the next request tries a new connection.
    pub async fn send<R: Request>(
        &self,
        request: &R,
        version: i16,
        limit: Duration,
    ) -> Result<R::Response, ChannelError> {
        let connection = self.connection(limit).await?;
        Ok(connection.send(request, version, limit).await?)
    }

    async fn connection(&self, limit: Duration) -> Result<Connection, ChannelError> {
        let address = self.address()?;
        let mut current = self.current.lock().await;
        if let Some((known, connection)) = &*current
            && *known == address
            && connection.ended().is_none()
        {
            return Ok(connection.clone());
        }
        *current = None;
        let options = ConnectionOptions {
            client_id: self.client_id.clone(),
            connect_timeout: limit,
            ..ConnectionOptions::default()
        };
        let connection = Connection::connect(&address, &options).await?;
        *current = Some((address, connection.clone()));
        Ok(connection)
    }

    fn address(&self) -> Result<String, ChannelError> {
        let snapshot = self.metadata.snapshot();
        let controller = snapshot.controller_id.ok_or(ChannelError::NoController)?;
        let broker = snapshot.brokers.get(&controller);
        let endpoint = broker
            .and_then(|broker| broker.endpoint(&self.listener))
            .ok_or_else(|| ChannelError::NoAddress(controller, self.listener.clone()))?;
        Ok(if endpoint.host.contains(':') {
            format!("[{}]:{}", endpoint.host, endpoint.port)
        } else {
            format!("{}:{}", endpoint.host, endpoint.port)
        })
    }
}
