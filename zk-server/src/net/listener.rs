//! Shell: the port that clients connect to.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use socket2::{Domain, Socket, TcpKeepalive, Type};
use tokio::net::TcpListener;

use crate::net::connection::{self, Server};
use crate::pipeline::commit::Commit;
use crate::pipeline::transport::Transport;

/// How long accepting pauses when the process has no file descriptors left.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// Binds the port. A dual-stack socket takes IPv4 clients too.
pub fn bind(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    TcpListener::from_std(socket.into())
}

/// Accepts connections for ever; each gets a task on this thread.
pub async fn accept<C: Commit + 'static>(server: Rc<Server<C>>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let _ = stream.set_nodelay(true);
                if server.tcp_keep_alive {
                    let socket = socket2::SockRef::from(&stream);
                    let _ = socket.set_tcp_keepalive(&TcpKeepalive::new());
                }
                let transport = Transport::plain(stream);
                let serving = connection::serve(server.clone(), transport, None, peer);
                tokio::task::spawn_local(serving);
            }
            Err(error) => {
                tracing::warn!("Error accepting new connection: {error}");
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }
}
