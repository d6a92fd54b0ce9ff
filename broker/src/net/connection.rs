//! Shell: one client's connection: requests in, handlers started in order, replies out in order.
//!
//! Kafka mutes a connection while a request is being answered. So do we, but for a produce whose records are
//! already appended and which only waits for other replicas: the next request may start then, and its reply queues
//! behind. Produce requests that have arrived together are appended together (`log/leader_append.rs` says why). Replies that
//! are ready at once are collected and sent together.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::api::context::Services;
use crate::api::data::produce;
use crate::api::table::{self, PendingReply, Reply, Started};
use crate::net::frames::{BadSize, Frames};
use crate::net::reply::Outbox;

/// How many produce requests of one connection may wait for their acks at the same time.
const MAX_STAGED: usize = 64;
/// How much is put off at most to be appended together, in bytes; little enough to stay in a core's cache meanwhile.
const MAX_APPEND_BYTES: usize = 256 * 1024;
/// Replies beyond this size are sent before the next request is looked at, in bytes.
const FLUSH_BYTES: usize = 64 * 1024;
/// After this long without a request a connection gives its buffer back.
const SHRINK_AFTER: Duration = Duration::from_secs(2);

/// What a connection must know besides its socket.
#[derive(Clone)]
pub struct Terms {
    /// The name of the listener that accepted it.
    pub listener: Arc<str>,
    /// `socket.request.max.bytes`.
    pub max_request_bytes: usize,
    /// `connections.max.idle.ms`; `None` for no limit.
    pub max_idle: Option<Duration>,
    /// Becomes true when the server stops.
    pub closing: watch::Receiver<bool>,
}

/// Why a connection ended; only worth a debug line, since clients come and go.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("closed by the client")]
    ByClient,
    #[error("idle for longer than connections.max.idle.ms")]
    Idle,
    #[error("the server is stopping")]
    Stopping,
    #[error("closed as the answer to its last request")]
    AsAnswer,
    #[error(transparent)]
    BadSize(#[from] BadSize),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Serves a connection until either side ends it.
pub async fn serve(stream: TcpStream, peer: SocketAddr, services: Arc<Services>, terms: Terms) {
    let mut connection = Connection {
        frames: Frames::new(terms.max_request_bytes),
        stream,
        peer,
        services,
        terms,
        outbox: Outbox::default(),
        staged: VecDeque::new(),
        appends: Vec::new(),
        append_bytes: 0,
    };
    let ended = connection.run().await;
    match ended {
        Ended::BadSize(_) => tracing::warn!(%peer, "closing connection: {ended}"),
        _ => tracing::debug!(%peer, "connection ended: {ended}"),
    }
}

struct Connection {
    frames: Frames,
    stream: TcpStream,
    peer: SocketAddr,
    services: Arc<Services>,
    terms: Terms,
    outbox: Outbox,
    staged: VecDeque<PendingReply>,
    /// Produce requests that are appended together, before anything else is done or waited for.
    appends: Vec<produce::Pending>,
    append_bytes: usize,
}

impl Connection {
    async fn run(&mut self) -> Ended {
        loop {
            if let Err(ended) = self.step().await {
                if matches!(ended, Ended::AsAnswer) {
                    // Requests before the one that ends the connection are still answered.
                    let _ = self.outbox.flush(&self.stream).await;
                }
                return ended;
            }
        }
    }

    /// Handles one request that has arrived, or waits for one.
    async fn step(&mut self) -> Result<(), Ended> {
        let next = match self.staged.len() + self.appends.len() < MAX_STAGED {
            true => self.frames.take(),
            false => Ok(None),
        };
        if let Ok(Some(request)) = next {
            self.start(request).await?;
            if self.outbox.queued_bytes() >= FLUSH_BYTES {
                self.outbox.flush(&self.stream).await?;
            }
            return Ok(());
        }
        if !self.appends.is_empty() {
            // Nothing else is here that could be written with these. What follows may be no request at all.
            self.append()?;
            return next.map(|_| ()).map_err(Ended::from);
        }
        next?;
        self.outbox.flush(&self.stream).await?;
        if self.staged.is_empty() {
            return self.receive_or_idle().await;
        }
        self.receive_or_reply().await
    }

    async fn start(&mut self, request: bytes::Bytes) -> Result<(), Ended> {
        let origin = table::Origin {
            listener: &self.terms.listener,
            client_address: self.peer.ip(),
        };
        let started = table::start(&self.services, origin, request);
        if let Started::Append(pending) = started {
            self.append_bytes += pending.bytes();
            let is_last = pending.may_close() || self.append_bytes >= MAX_APPEND_BYTES;
            self.appends.push(*pending);
            return if is_last { self.append() } else { Ok(()) };
        }
        self.append()?;
        let Started::Serial(mut reply) = started else {
            return self.queue(started);
        };
        while let Some(earlier) = self.staged.pop_front() {
            let earlier = self.finished(earlier).await?;
            self.take(earlier)?;
        }
        // Most handlers are done at the first look; only one that really waits lets go what is queued.
        let first = poll_fn(|context| Poll::Ready(reply.as_mut().poll(context))).await;
        let reply = match first {
            Poll::Ready(reply) => reply,
            Poll::Pending => {
                self.outbox.flush(&self.stream).await?;
                self.finished(reply).await?
            }
        };
        self.take(reply)
    }

    /// Appends what was put off so far.
    fn append(&mut self) -> Result<(), Ended> {
        if self.appends.is_empty() {
            return Ok(());
        }
        self.append_bytes = 0;
        let appends = std::mem::take(&mut self.appends);
        for started in produce::append_all(&self.services, appends) {
            self.queue(started)?;
        }
        Ok(())
    }

    /// Queues a reply, ready or not, behind those of earlier requests.
    fn queue(&mut self, started: Started) -> Result<(), Ended> {
        match started {
            Started::Done(reply) if self.staged.is_empty() => return self.take(reply),
            Started::Done(reply) => self.staged.push_back(Box::pin(std::future::ready(reply))),
            Started::Staged(reply) | Started::Serial(reply) => self.staged.push_back(reply),
            Started::Append(pending) => self.appends.push(*pending),
        }
        Ok(())
    }

    /// Waits for a reply, but not beyond the end of the server.
    async fn finished(&mut self, reply: PendingReply) -> Result<Reply, Ended> {
        let mut closing = self.terms.closing.clone();
        tokio::select! {
            biased;
            reply = reply => Ok(reply),
            _ = closing.wait_for(|closing| *closing) => Err(Ended::Stopping),
        }
    }

    fn take(&mut self, reply: Reply) -> Result<(), Ended> {
        match reply {
            Reply::Send(frame) => {
                self.outbox.push(frame);
                Ok(())
            }
            Reply::Nothing => Ok(()),
            Reply::Close => Err(Ended::AsAnswer),
        }
    }

    /// Waits for bytes or for the oldest staged reply, whichever is first.
    async fn receive_or_reply(&mut self) -> Result<(), Ended> {
        let may_read = self.staged.len() < MAX_STAGED;
        let Some(oldest) = self.staged.front_mut() else {
            return Ok(());
        };
        let mut spare = self.frames.spare();
        let reply = tokio::select! {
            biased;
            reply = oldest => Some(reply),
            read = self.stream.read_buf(&mut spare), if may_read => match read? {
                0 => return Err(Ended::ByClient),
                bytes => {
                    self.frames.received(bytes);
                    None
                }
            },
            _ = self.terms.closing.wait_for(|closing| *closing) => return Err(Ended::Stopping),
        };
        if let Some(reply) = reply {
            self.staged.pop_front();
            self.take(reply)?;
        }
        Ok(())
    }

    /// Waits for bytes; gives memory back after a while, and the connection up after a long while.
    async fn receive_or_idle(&mut self) -> Result<(), Ended> {
        let idle_since = Instant::now();
        let mut spare = self.frames.spare();
        tokio::select! {
            biased;
            read = self.stream.read_buf(&mut spare) => {
                let bytes = read?;
                self.frames.received(bytes);
                return if bytes == 0 { Err(Ended::ByClient) } else { Ok(()) };
            }
            _ = self.terms.closing.wait_for(|closing| *closing) => return Err(Ended::Stopping),
            () = tokio::time::sleep(SHRINK_AFTER) => {}
        }
        self.frames.shrink();
        let max_idle = self.terms.max_idle;
        let idle_limit = async {
            match max_idle {
                Some(max_idle) => tokio::time::sleep_until(idle_since + max_idle).await,
                None => std::future::pending().await,
            }
        };
        // Only looks: room is made again once something has arrived.
        tokio::select! {
            ready = self.stream.readable() => Ok(ready?),
            _ = self.terms.closing.wait_for(|closing| *closing) => Err(Ended::Stopping),
            () = idle_limit => Err(Ended::Idle),
        }
    }
}
