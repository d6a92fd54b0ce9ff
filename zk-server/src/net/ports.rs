//! Shell: the ports that clients connect to, and what is spoken on each.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::error::ServerError;
use crate::net::connection::{self, Server};
use crate::net::listener;
use crate::pipeline::commit::Commit;
use crate::pipeline::transport::Transport;
use crate::tls::acceptor::Acceptor;
use crate::tls::options::TlsOptions;
use crate::tls::settings;

/// How long accepting pauses when the process has no file descriptors left.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// The first byte of a TLS connection: a handshake record (RFC 8446, section 5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// Which ports there are.
#[derive(Clone, Debug)]
pub struct PortOptions {
    /// `clientPort`
    pub plain: Option<SocketAddr>,
    /// `secureClientPort`
    pub secure: Option<SocketAddr>,
    /// Whether the plain port takes TLS too.
    pub unified: bool,
    /// `serverCnxnFactory` is Netty's, which counts connections to the plain port.
    pub netty: bool,
    /// How TLS is spoken, if it is.
    pub tls: Option<TlsOptions>,
    /// Connections that the system keeps waiting for the server.
    pub backlog: i32,
}

/// What is spoken on a port.
#[derive(Clone, Debug)]
enum Speaks {
    Plain,
    Tls(Rc<Acceptor>),
    Either(Rc<Acceptor>),
}

struct Port {
    key: &'static str,
    listener: TcpListener,
    address: SocketAddr,
    speaks: Speaks,
    counted: bool,
}

/// The open ports.
pub struct Ports(Vec<Port>);

impl Ports {
    /// Opens the ports; from then on clients can connect, though nobody answers yet.
    ///
    /// # Errors
    /// Ports that are taken, stores that cannot be used.
    pub fn open(options: &PortOptions) -> Result<Self, ServerError> {
        let acceptor = options.tls.as_ref().map(start_tls).transpose()?;
        let plain = match &acceptor {
            Some(acceptor) if options.unified => Speaks::Either(acceptor.clone()),
            _ => Speaks::Plain,
        };
        let mut ports = Vec::new();
        if let Some(address) = options.plain {
            ports.push(bind("clientPort", address, options.backlog, plain)?);
        }
        if let (Some(address), Some(acceptor)) = (options.secure, acceptor) {
            let speaks = Speaks::Tls(acceptor);
            ports.push(bind("secureClientPort", address, options.backlog, speaks)?);
        }
        for port in &mut ports {
            port.counted = options.netty && !matches!(port.speaks, Speaks::Tls(_));
        }
        Ok(Self(ports))
    }

    /// The number of the port that a key has opened, or -1.
    #[must_use]
    pub fn number(&self, key: &str) -> i32 {
        let port = self.0.iter().find(|port| port.key == key);
        port.map_or(-1, |port| i32::from(port.address.port()))
    }

    /// The addresses in Java's form, which ZooKeeper users look for: host, slash, address.
    #[must_use]
    pub fn names(&self) -> String {
        let name = |port: &Port| {
            let tls = if port.key == "clientPort" {
                ""
            } else {
                " (TLS)"
            };
            format!("{}{tls}", java_address(port.address))
        };
        let names: Vec<String> = self.0.iter().map(name).collect();
        names.join(", ")
    }

    /// Takes connections from now on; each gets a task on this thread.
    pub fn accept<C: Commit + 'static>(self, server: &Rc<Server<C>>) -> Vec<JoinHandle<()>> {
        let start = |port: Port| {
            let accepting = accept(server.clone(), port);
            tokio::task::spawn_local(accepting)
        };
        self.0.into_iter().map(start).collect()
    }
}

fn start_tls(options: &TlsOptions) -> Result<Rc<Acceptor>, ServerError> {
    let prepared = settings::prepare(options)?;
    for warning in prepared.warnings {
        tracing::warn!("{warning}");
    }
    let acceptor = Acceptor::start(prepared.config, options.handshake_limit);
    acceptor.map(Rc::new).map_err(ServerError::Runtime)
}

fn bind(
    key: &'static str,
    address: SocketAddr,
    backlog: i32,
    speaks: Speaks,
) -> Result<Port, ServerError> {
    tracing::info!("binding to port {}", java_address(address));
    let listener = listener::bind(address, backlog).map_err(|source| ServerError::Bind {
        address,
        hint: match source.kind() {
            io::ErrorKind::AddrInUse => {
                format!("; another server runs there: stop it or change {key}")
            }
            io::ErrorKind::PermissionDenied => "; ports below 1024 need privileges".to_owned(),
            io::ErrorKind::AddrNotAvailable => {
                format!("; this machine does not have {key}Address")
            }
            _ => String::new(),
        },
        source,
    })?;
    let address = listener.local_addr().unwrap_or(address);
    Ok(Port {
        key,
        listener,
        address,
        speaks,
        counted: false,
    })
}

fn java_address(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        return format!("0.0.0.0/0.0.0.0:{}", address.port());
    }
    format!("/{address}")
}

async fn accept<C: Commit + 'static>(server: Rc<Server<C>>, port: Port) {
    let Port {
        listener,
        speaks,
        counted,
        ..
    } = port;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let _ = stream.set_nodelay(true);
                if server.tcp_keep_alive {
                    let _ = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new());
                }
                if counted {
                    let connections = &mut server.pipeline.borrow_mut().stats.connections;
                    match peer.ip().to_canonical().is_loopback() {
                        true => connections.non_mtls_local += 1,
                        false => connections.non_mtls_remote += 1,
                    }
                }
                let server = server.clone();
                match &speaks {
                    Speaks::Plain => {
                        let transport = Transport::plain(stream);
                        tokio::task::spawn_local(connection::serve(server, transport, None, peer));
                    }
                    Speaks::Tls(acceptor) => {
                        let acceptor = acceptor.clone();
                        tokio::task::spawn_local(serve_tls(server, acceptor, stream, peer));
                    }
                    Speaks::Either(acceptor) => {
                        let acceptor = acceptor.clone();
                        tokio::task::spawn_local(serve_either(server, acceptor, stream, peer));
                    }
                }
            }
            Err(error) => {
                tracing::warn!("Error accepting new connection: {error}");
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }
}

/// Does the handshake elsewhere and serves the connection.
async fn serve_tls<C: Commit>(
    server: Rc<Server<C>>,
    acceptor: Rc<Acceptor>,
    stream: TcpStream,
    peer: SocketAddr,
) {
    // Who would be turned away afterwards gets no handshake.
    if let Err(refusal) = server.pipeline.borrow_mut().admit(peer) {
        tracing::warn!("{refusal}");
        return;
    }
    if acceptor.is_full() {
        let mut pipeline = server.pipeline.borrow_mut();
        pipeline.stats.connections.handshakes_exceeded += 1;
        return;
    }
    let shaking = acceptor.accept(stream);
    server
        .pipeline
        .borrow_mut()
        .stats
        .connections
        .handshakes_under_way += 1;
    let established = shaking.await;
    let failed = {
        let mut pipeline = server.pipeline.borrow_mut();
        let counts = &mut pipeline.stats.connections;
        counts.handshakes_under_way = counts.handshakes_under_way.saturating_sub(1);
        counts.failed_handshakes += u64::from(established.is_err());
        counts.auth_failures += u64::from(established.is_err());
        established
    };
    match failed {
        Ok(established) => {
            let transport = Transport::secure(established.stream, established.session);
            connection::serve(server, transport, established.subject, peer).await;
        }
        Err(error) => tracing::warn!("Unsuccessful handshake with {peer}: {error}"),
    }
}

/// Looks at the first byte, which tells TLS from everything else.
async fn serve_either<C: Commit>(
    server: Rc<Server<C>>,
    acceptor: Rc<Acceptor>,
    stream: TcpStream,
    peer: SocketAddr,
) {
    let mut first = [0];
    let peeking = tokio::time::timeout(server.sessionless_timeout, stream.peek(&mut first));
    match peeking.await {
        Ok(Ok(1)) if first == [HANDSHAKE_RECORD] => {
            serve_tls(server, acceptor, stream, peer).await;
        }
        Ok(Ok(1)) => connection::serve(server, Transport::plain(stream), None, peer).await,
        _ => {}
    }
}
