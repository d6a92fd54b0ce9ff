//! Shell: what every handler may use: the broker's parts, and who asks.

use std::net::IpAddr;
use std::sync::Arc;

use kafka_wire::header::RequestHeader;

use crate::config::broker::BrokerConfig;

/// The parts of one broker, shared by all its handlers.
#[derive(Debug)]
pub struct Services {
    /// The static configuration.
    pub config: Arc<BrokerConfig>,
    /// This broker's id.
    pub broker_id: i32,
    /// Who a client is that did not authenticate: `User:ANONYMOUS`.
    pub anonymous: Arc<str>,
}

/// Who asks what, and where the request came in.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// API, version, correlation id, client id.
    pub header: RequestHeader,
    /// Who the client is, e.g. `User:ANONYMOUS`.
    pub principal: Arc<str>,
    /// The name of the listener that accepted the connection.
    pub listener: Arc<str>,
    /// The client's address.
    pub client_address: IpAddr,
}

impl RequestContext {
    /// The client id, empty when none was sent.
    pub fn client_id(&self) -> &str {
        self.header.client_id.as_deref().unwrap_or_default()
    }
}
