//! Shell: what every handler may use: the broker's parts, and who asks.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytestring::ByteString;
use kafka_wire::header::RequestHeader;

use crate::admin::topics::TopicAdmin;
use crate::config::broker::BrokerConfig;
use crate::controller::handle::ControllerHandle;
use crate::coordinator::group::coordinator::GroupCoordinator;
use crate::coordinator::transaction::coordinator::TransactionCoordinator;
use crate::log::manager::LogManager;
use crate::metadata::cache::MetadataCache;
use crate::metadata::controller_channel::ControllerChannel;
use crate::replica::manager::ReplicaManager;
use crate::replica::topic_configs::TopicConfigs;
use crate::zk::store::ZkStore;

/// The parts of one broker, shared by all its handlers.
pub struct Services {
    /// The static configuration.
    pub config: Arc<BrokerConfig>,
    /// This broker's id.
    pub broker_id: i32,
    /// The cluster's id.
    pub cluster_id: ByteString,
    /// Who a client is that did not authenticate: `User:ANONYMOUS`.
    pub anonymous: Arc<str>,
    /// The epoch of this broker's registration; another one after an expired session.
    pub broker_epoch: Arc<AtomicI64>,
    /// The logs on disk.
    pub logs: Arc<LogManager>,
    /// The configuration of each topic.
    pub topic_configs: Arc<TopicConfigs>,
    /// The partitions led and followed here.
    pub replicas: Arc<ReplicaManager>,
    /// What the controller last said of the cluster.
    pub metadata: Arc<MetadataCache>,
    /// ZooKeeper.
    pub zk: Arc<ZkStore>,
    /// The controller, if this broker is it; also knows this broker's epoch.
    pub controller: ControllerHandle,
    /// The way to whoever is the controller.
    pub to_controller: Arc<ControllerChannel>,
    /// Creates, deletes and grows topics.
    pub topics: Arc<TopicAdmin>,
    /// The groups coordinated here.
    pub groups: Arc<GroupCoordinator>,
    /// The transactions coordinated here, and ids for all producers.
    pub transactions: Arc<TransactionCoordinator>,
    /// The epoch of the finalized features: the version of `/feature`, -1 while unknown.
    pub features_epoch: Arc<AtomicI64>,
}

impl Services {
    /// Whether a controller's request was meant for an earlier registration of this broker; -1 skips the check.
    pub fn is_stale_broker_epoch(&self, requested: i64) -> bool {
        requested >= 0 && requested < self.broker_epoch.load(Ordering::Acquire)
    }
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
