//! Shell: the brokers of a cluster and one connection to each.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytestring::ByteString;
use kafka_wire::api_key::ApiKey;
use kafka_wire::client::connection::{Connection, ConnectionError, ConnectionOptions};
use kafka_wire::client::versions::BrokerVersions;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::message::Request;
use kafka_wire::messages::api_versions::ApiVersionsRequest;
use kafka_wire::messages::find_coordinator::FindCoordinatorRequest;
use kafka_wire::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use tokio::time::Instant;

use crate::client::error::ClientError;
use crate::client::log;
use crate::client::settings::{ClusterOptions, host_and_port};

const NETWORK_CLIENT: &str = "org.apache.kafka.clients.NetworkClient";
/// The last version of Metadata that names topics by name alone.
const METADATA_CAP: i16 = 12;
/// The last version of FindCoordinator for a single key.
const FIND_COORDINATOR_CAP: i16 = 3;

/// A connection to a broker with the versions that it knows.
#[derive(Debug)]
pub struct Link {
    connection: Connection,
    versions: BrokerVersions,
    request_timeout: Duration,
}

impl Link {
    /// The version to use: the highest that both know, and at most `cap`.
    ///
    /// # Errors
    /// [`ClientError::Api`] with `UnsupportedVersion`.
    pub fn version(&self, api_key: ApiKey, cap: i16) -> Result<i16, ClientError> {
        let (min, _) = self.versions.advertised(api_key).unwrap_or((i16::MAX, 0));
        let best = self.versions.best(api_key).map(|best| best.min(cap));
        best.filter(|best| *best >= min)
            .ok_or_else(|| ClientError::Api {
                code: ErrorCode::UnsupportedVersion,
                message: format!("The broker does not support {}", api_key.name()),
            })
    }

    /// Sends a request in the highest version that both know, and at most `cap`; queued at once.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn send<R: Request>(
        &self,
        request: &R,
        cap: i16,
    ) -> impl Future<Output = Result<R::Response, ClientError>> + Send + use<R> {
        self.send_within(request, cap, self.request_timeout)
    }

    /// As [`Link::send`], with a limit of its own.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn send_within<R: Request>(
        &self,
        request: &R,
        cap: i16,
        limit: Duration,
    ) -> impl Future<Output = Result<R::Response, ClientError>> + Send + use<R> {
        let key = ApiKey::from_code(R::API_KEY).unwrap_or(ApiKey::ApiVersions);
        let answer = self
            .version(key, cap)
            .map(|version| self.connection.send(request, version, limit));
        async move { Ok(answer?.await?) }
    }

    /// Sends a request that is not answered.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn send_unanswered<R: Request>(&self, request: &R, cap: i16) -> Result<(), ClientError> {
        let key = ApiKey::from_code(R::API_KEY).unwrap_or(ApiKey::ApiVersions);
        Ok(self
            .connection
            .send_unanswered(request, self.version(key, cap)?)?)
    }
}

#[derive(Debug, Default)]
struct State {
    links: HashMap<i32, Arc<Link>>,
    /// Host and port of each broker that metadata named.
    brokers: BTreeMap<i32, String>,
    controller: Option<i32>,
    failures: u32,
    metadata_requests: u32,
}

/// The brokers that are known and the connections to them.
#[derive(Debug)]
pub struct Cluster {
    /// As given.
    pub options: ClusterOptions,
    state: Mutex<State>,
}

impl Cluster {
    /// Checks that a bootstrap host can be resolved; connects to nobody yet.
    ///
    /// # Errors
    /// [`ClientError::Config`].
    pub async fn new(options: ClusterOptions) -> Result<Arc<Self>, ClientError> {
        let mut resolvable = 0;
        for url in &options.bootstrap {
            let (host, port) = host_and_port(url).unwrap_or_default();
            if tokio::net::lookup_host((host, port)).await.is_ok() {
                resolvable += 1;
            } else {
                let message = format!(
                    "Couldn't resolve server {url} from bootstrap.servers as DNS resolution \
                     failed for {host}"
                );
                log::warn("org.apache.kafka.clients.ClientUtils", &message);
            }
        }
        if resolvable == 0 {
            let message = "No resolvable bootstrap urls given in bootstrap.servers".to_owned();
            return Err(ClientError::Config(message));
        }
        Ok(Arc::new(Self {
            options,
            state: Mutex::default(),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A log line with the client's prefix.
    pub fn warn(&self, class: &str, message: &str) {
        log::warn(class, &format!("{} {message}", self.options.log_prefix));
    }

    /// The connection to a broker.
    ///
    /// # Errors
    /// [`ClientError`], also when metadata named no such broker.
    pub async fn node(&self, node: i32) -> Result<Arc<Link>, ClientError> {
        let address = {
            let mut state = self.state();
            match state.links.get(&node) {
                Some(link) if link.connection.ended().is_none() => return Ok(Arc::clone(link)),
                _ => state.links.remove(&node),
            };
            let bootstrap = usize::try_from(-1 - i64::from(node)).ok();
            match bootstrap.and_then(|index| self.options.bootstrap.get(index)) {
                Some(url) => Some(url.clone()),
                None => state.brokers.get(&node).cloned(),
            }
        };
        let code = ErrorCode::LeaderNotAvailable.code();
        let address = address.ok_or_else(|| ClientError::api(code, None))?;
        let link = Arc::new(self.connect(node, &address).await?);
        self.state().links.insert(node, Arc::clone(&link));
        Ok(link)
    }

    async fn connect(&self, node: i32, address: &str) -> Result<Link, ClientError> {
        let options = ConnectionOptions {
            client_id: self.options.client_id.clone(),
            connect_timeout: self.options.connect_timeout,
            ..ConnectionOptions::default()
        };
        let opened = async {
            let connection = Connection::connect(address, &options).await?;
            let versions = BrokerVersions::ask(&connection, self.options.request_timeout).await?;
            Ok::<_, ConnectionError>((connection, versions))
        };
        match opened.await {
            Ok((connection, versions)) => {
                self.state().failures = 0;
                let request_timeout = self.options.request_timeout;
                Ok(Link {
                    connection,
                    versions,
                    request_timeout,
                })
            }
            Err(error) => {
                self.report_unreachable(node, address).await;
                Err(error.into())
            }
        }
    }

    async fn report_unreachable(&self, node: i32, address: &str) {
        self.state().failures += 1;
        let (host, port) = host_and_port(address).unwrap_or_default();
        let ip = match host.parse::<IpAddr>() {
            Ok(ip) => format!("/{ip}"),
            Err(_) => match tokio::net::lookup_host((host, port)).await {
                Ok(mut found) => found
                    .next()
                    .map_or(host.to_owned(), |ip| format!("{host}/{}", ip.ip())),
                Err(_) => host.to_owned(),
            },
        };
        self.warn(
            NETWORK_CLIENT,
            &format!(
                "Connection to node {node} ({ip}:{port}) could not be established. Node may not \
                 be available."
            ),
        );
        if node < 0 && !self.options.log_prefix.starts_with("[AdminClient") {
            let message =
                format!("Bootstrap broker {address} (id: {node} rack: null) disconnected");
            self.warn(NETWORK_CLIENT, &message);
        }
    }

    /// A connection to some broker: one that is open, else the first that answers.
    ///
    /// # Errors
    /// The last broker's [`ClientError`].
    pub async fn any(&self) -> Result<Arc<Link>, ClientError> {
        let candidates = {
            let state = self.state();
            let open = |link: &&Arc<Link>| link.connection.ended().is_none();
            if let Some(link) = state.links.values().find(open) {
                return Ok(Arc::clone(link));
            }
            let bootstrap = (1..=self.options.bootstrap.len() as i32).map(|index| -index);
            let mut nodes: Vec<i32> = state.brokers.keys().copied().collect();
            nodes.extend(bootstrap);
            nodes
        };
        let mut last = ClientError::Config("no broker is known".to_owned());
        for node in candidates {
            match self.node(node).await {
                Ok(link) => return Ok(link),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Waits until the brokers have read all that was sent to them: an answer to a last request
    /// says so. Requests without an answer would be lost otherwise when the process ends.
    pub async fn drain(&self) {
        let links: Vec<Arc<Link>> = self.state().links.values().map(Arc::clone).collect();
        for link in links {
            // A broker that has closed the connection reads nothing more.
            let _ = link.send(&ApiVersionsRequest::default(), 0).await;
        }
    }

    /// How long to wait before brokers that could not be reached are tried again.
    #[must_use]
    pub fn backoff(&self) -> Duration {
        let (first, largest) = self.options.reconnect_backoff;
        let doubled = first.saturating_mul(1 << self.state().failures.min(10));
        doubled
            .min(largest)
            .max(self.options.retry_backoff.min(largest))
    }

    /// Asks some broker, again and again until the deadline while brokers cannot be reached.
    ///
    /// # Errors
    /// The last [`ClientError`].
    pub async fn ask_any<R: Request>(
        &self,
        request: &R,
        cap: i16,
        deadline: Instant,
    ) -> Result<R::Response, ClientError> {
        loop {
            let asked = async { self.any().await?.send(request, cap).await };
            match asked.await {
                Err(error) if error.is_retriable() && Instant::now() < deadline => {
                    tokio::time::sleep_until(deadline.min(Instant::now() + self.backoff())).await;
                }
                result => return result,
            }
        }
    }

    /// Asks for topics by name (`None`: all), and remembers the brokers that the answer names.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn metadata(
        &self,
        topics: Option<&[ByteString]>,
        allow_auto_topic_creation: bool,
        deadline: Instant,
    ) -> Result<MetadataResponse, ClientError> {
        let topic = |name: &ByteString| MetadataRequestTopic {
            name: Some(name.clone()),
            ..MetadataRequestTopic::default()
        };
        let request = MetadataRequest {
            topics: topics.map(|topics| topics.iter().map(topic).collect()),
            allow_auto_topic_creation,
            ..MetadataRequest::default()
        };
        self.metadata_of(&request, deadline).await
    }

    /// Sends a metadata request as it is, and remembers the brokers that the answer names.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn metadata_of(
        &self,
        request: &MetadataRequest,
        deadline: Instant,
    ) -> Result<MetadataResponse, ClientError> {
        self.state().metadata_requests += 1;
        let response = self.ask_any(request, METADATA_CAP, deadline).await?;
        let mut state = self.state();
        let brokers = response.brokers.iter();
        let brokers: BTreeMap<i32, String> = brokers
            .map(|broker| (broker.node_id, address(&broker.host, broker.port)))
            .collect();
        // A broker that came back at another address needs a new connection.
        let moved: Vec<i32> = state
            .brokers
            .iter()
            .filter(|(id, old)| brokers.get(id).is_some_and(|new| new != *old))
            .map(|(id, _)| *id)
            .collect();
        for id in moved {
            state.links.remove(&id);
        }
        if !brokers.is_empty() {
            state.brokers = brokers;
        }
        state.controller = Some(response.controller_id).filter(|id| *id >= 0);
        Ok(response)
    }

    /// How often metadata was asked for; log lines number the answers with it.
    #[must_use]
    pub fn metadata_requests(&self) -> u32 {
        self.state().metadata_requests
    }

    /// The connection to the controller.
    ///
    /// # Errors
    /// [`ClientError`]; `LeaderNotAvailable` while there is none.
    pub async fn controller(&self, deadline: Instant) -> Result<Arc<Link>, ClientError> {
        self.metadata(Some(&[]), false, deadline).await?;
        let controller = self.state().controller;
        match controller {
            Some(controller) => self.node(controller).await,
            None => Err(ClientError::api(ErrorCode::LeaderNotAvailable.code(), None)),
        }
    }

    /// The connection to the coordinator of a group.
    ///
    /// # Errors
    /// [`ClientError`]; a retriable one while there is none.
    pub async fn group_coordinator(
        &self,
        group: &ByteString,
        deadline: Instant,
    ) -> Result<Arc<Link>, ClientError> {
        let request = FindCoordinatorRequest {
            key: group.clone(),
            ..Default::default()
        };
        let found = self
            .ask_any(&request, FIND_COORDINATOR_CAP, deadline)
            .await?;
        let message = found
            .error_message
            .as_deref()
            .filter(|message| !message.is_empty());
        ClientError::check(found.error_code, message)?;
        self.state()
            .brokers
            .insert(found.node_id, address(&found.host, found.port));
        self.node(found.node_id).await
    }
}

fn address(host: &str, port: i32) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}
