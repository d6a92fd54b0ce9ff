//! Shell: binds the listeners, accepts connections within the configured limits, ends them when the server stops.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use crate::api::context::Services;
use crate::config::broker::BrokerConfig;
use crate::config::listeners::{Endpoint, SecurityProtocol};
use crate::net::connection::{self, Terms};
use crate::net::threads::NetworkThreads;

/// Pause after a failed accept, e.g. for want of file descriptors, so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often at most the log says that connections cannot be accepted.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Why a listener cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is taken, not ours, or not resolvable.
    #[error(
        "Socket server failed to bind to {host}:{port}: {source}; check what uses that port, and listeners"
    )]
    Bind {
        /// The host as configured, or `0.0.0.0` for all interfaces.
        host: String,
        /// The port as configured.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// A protocol that this broker does not speak.
    #[error(
        "listener {listener}: protocol {protocol} is not supported, only PLAINTEXT is (listener.security.protocol.map)"
    )]
    Protocol {
        /// The listener's name.
        listener: String,
        /// The protocol's name.
        protocol: &'static str,
    },
}

/// A listener whose port is taken, but which does not answer yet.
#[derive(Debug)]
pub struct BoundListener {
    /// The listener's name.
    pub name: Arc<str>,
    /// The address that is really bound; tells the port when 0 was asked for.
    pub address: SocketAddr,
    listener: TcpListener,
}

/// Binds one listener, so that its port is known; connections wait in the backlog until `serve`.
///
/// # Errors
/// When the port is taken, the host unknown or the protocol not spoken.
pub fn bind(endpoint: &Endpoint, config: &BrokerConfig) -> Result<BoundListener, ListenError> {
    if endpoint.protocol != SecurityProtocol::Plaintext {
        return Err(ListenError::Protocol {
            listener: endpoint.listener.clone(),
            protocol: endpoint.protocol.name(),
        });
    }
    let failed = |source| ListenError::Bind {
        host: if endpoint.host.is_empty() {
            "0.0.0.0".into()
        } else {
            endpoint.host.clone()
        },
        port: endpoint.port,
        source,
    };
    let listener = open(endpoint, config).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(BoundListener {
        name: endpoint.listener.as_str().into(),
        address,
        listener,
    })
}

fn open(endpoint: &Endpoint, config: &BrokerConfig) -> io::Result<TcpListener> {
    if endpoint.host.is_empty() {
        // All interfaces, of both families if the machine has IPv6.
        let both = SocketAddr::from(([0_u16; 8], endpoint.port));
        let v4 = SocketAddr::from(([0_u8; 4], endpoint.port));
        return match open_at(both, config) {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => open_at(v4, config),
            result => result,
        };
    }
    let mut last = io::Error::new(io::ErrorKind::NotFound, "unresolved address");
    for address in (endpoint.host.as_str(), endpoint.port).to_socket_addrs()? {
        match open_at(address, config) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn open_at(address: SocketAddr, config: &BrokerConfig) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // As Java's server sockets on Linux: a restart need not wait for old connections to fade.
    socket.set_reuse_address(true)?;
    if let Ok(bytes) = usize::try_from(config.socket_receive_buffer_bytes) {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(config.socket_listen_backlog_size)?;
    TcpListener::from_std(socket.into())
}

/// The limits on connections that all listeners share.
#[derive(Debug)]
pub struct ConnectionLimits {
    slots: Arc<Semaphore>,
    max_per_ip: usize,
    ip_overrides: HashMap<IpAddr, usize>,
    per_ip: Mutex<HashMap<IpAddr, usize>>,
}

impl ConnectionLimits {
    /// `max.connections`, `max.connections.per.ip` and its overrides (`host:count,...`).
    pub fn new(config: &BrokerConfig) -> Arc<Self> {
        let limit = |value: i32| usize::try_from(value).unwrap_or(0);
        let overrides = config.raw.items("max.connections.per.ip.overrides");
        let ip_overrides = overrides
            .iter()
            .filter_map(|item| {
                let (host, count) = item.rsplit_once(':')?;
                let address = (host.trim(), 0).to_socket_addrs().ok()?.next()?;
                Some((address.ip().to_canonical(), count.trim().parse().ok()?))
            })
            .collect();
        Arc::new(Self {
            slots: Arc::new(Semaphore::new(
                limit(config.max_connections).min(Semaphore::MAX_PERMITS),
            )),
            max_per_ip: limit(config.max_connections_per_ip),
            ip_overrides,
            per_ip: Mutex::default(),
        })
    }

    /// Counts a connection in, or refuses it.
    fn admit(self: &Arc<Self>, ip: IpAddr) -> Option<Admission> {
        let ip = ip.to_canonical();
        let max = self
            .ip_overrides
            .get(&ip)
            .copied()
            .unwrap_or(self.max_per_ip);
        let mut per_ip = self.per_ip.lock();
        let count = per_ip.entry(ip).or_insert(0);
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Admission {
            limits: self.clone(),
            ip,
            _slot: None,
        })
    }
}

/// Keeps a connection counted until it ends.
struct Admission {
    limits: Arc<ConnectionLimits>,
    ip: IpAddr,
    _slot: Option<OwnedSemaphorePermit>,
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut per_ip = self.limits.per_ip.lock();
        if let Some(count) = per_ip.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                per_ip.remove(&self.ip);
            }
        }
    }
}

/// Accepts and serves connections until `closing` becomes true; then waits for its connections to end.
pub async fn serve(
    bound: BoundListener,
    services: Arc<Services>,
    limits: Arc<ConnectionLimits>,
    threads: Arc<NetworkThreads>,
    closing: watch::Receiver<bool>,
) {
    let config = &services.config;
    let terms = terms(&bound, config, &closing);
    // The brokers' own listener is exempt from max.connections, as in Kafka, when it is not the only one.
    let is_protected =
        config.listeners.len() > 1 && *bound.name == *config.inter_broker_listener_name.as_str();
    let mut closing = closing;
    let mut connections = JoinSet::new();
    let mut troubles = Troubles::default();
    loop {
        let slot = async {
            if is_protected {
                None
            } else {
                limits.slots.clone().acquire_owned().await.ok()
            }
        };
        let accepted = tokio::select! {
            _ = closing.wait_for(|closing| *closing) => break,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!("a connection ended with a defect of this broker: {error}");
                }
                continue;
            }
            accepted = async { (slot.await, bound.listener.accept().await) } => accepted,
        };
        let (slot, (stream, peer)) = match accepted {
            (slot, Ok(accepted)) => (slot, accepted),
            (_, Err(error)) => {
                troubles.failed(&bound.name, &error);
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(mut admission) = limits.admit(peer.ip()) else {
            tracing::info!(
                "Rejected connection from {}, max.connections.per.ip reached",
                peer.ip()
            );
            continue;
        };
        admission._slot = slot;
        set_options(&stream, config.socket_send_buffer_bytes);
        // From the selector that accepts to that of its own thread.
        let stream = stream.into_std();
        let (services, terms) = (services.clone(), terms.clone());
        let serve = async move {
            match stream.and_then(TcpStream::from_std) {
                Ok(stream) => connection::serve(stream, peer, services, terms).await,
                Err(error) => tracing::error!(%peer, "cannot serve a connection: {error}"),
            }
            drop(admission);
        };
        connections.spawn_on(serve, threads.next());
    }
    drop(bound);
    while connections.join_next().await.is_some() {}
}

fn terms(bound: &BoundListener, config: &BrokerConfig, closing: &watch::Receiver<bool>) -> Terms {
    Terms {
        listener: bound.name.clone(),
        max_request_bytes: usize::try_from(config.socket_request_max_bytes).unwrap_or(0),
        max_idle: u64::try_from(config.connections_max_idle_ms)
            .ok()
            .map(Duration::from_millis),
        closing: closing.clone(),
    }
}

/// Attempts to accept that failed: without file descriptors there are ten a second, of which few are told.
#[derive(Default)]
struct Troubles {
    attempts: u64,
    told: Option<Instant>,
}

impl Troubles {
    fn failed(&mut self, listener: &str, error: &io::Error) {
        self.attempts += 1;
        if self.told.is_some_and(|at| at.elapsed() < TELL_EVERY) {
            return;
        }
        tracing::error!(
            listener,
            failed_attempts = self.attempts,
            "cannot accept a connection: {error}"
        );
        *self = Self {
            attempts: 0,
            told: Some(Instant::now()),
        };
    }
}

/// Socket options as Kafka's acceptor sets them; a socket that died meanwhile is noticed by its first read.
fn set_options(stream: &TcpStream, send_buffer_bytes: i32) {
    let socket = socket2::SockRef::from(stream);
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_keepalive(true);
    if let Ok(bytes) = usize::try_from(send_buffer_bytes) {
        let _ = socket.set_send_buffer_size(bytes);
    }
}
