//! Shell: the task that keeps a session: connects, writes requests in order, hands out replies
//! and events in the order they come, reconnects, and ends when the server says so.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use rand::seq::SliceRandom;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::net::frame::{FrameReader, put_frame};
use crate::zk::client::connect_string::ConnectString;
use crate::zk::client::error::ZkError;
use crate::zk::client::event::{SessionState, ZkEvent};
use crate::zk::client::watches::{WatchChange, Watches};
use crate::zk::code::OpCode;
use crate::zk::connect::{ConnectRequest, ConnectResponse};
use crate::zk::jute::{Reader, Record};
use crate::zk::response::{EventType, ReplyHeader};

/// The longest pause between two rounds of connection attempts.
const MAX_BACKOFF: Duration = Duration::from_secs(1);

/// The longest that closing waits for an attempt to connect that is under way.
const CLOSE_PATIENCE: Duration = Duration::from_secs(3);

/// A session as the server knows it.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// Its id; 0 before the first connection.
    pub id: i64,
    /// Its password.
    pub password: Bytes,
    /// The timeout the server granted, in ms; 0 before the first connection.
    pub timeout_ms: i32,
    /// The server connected to last, as `host:port`.
    pub server: String,
}

/// What a session needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Servers and chroot.
    pub connect: ConnectString,
    /// The session timeout to ask for.
    pub session_timeout: Duration,
    /// Whether a server that only reads will do.
    pub read_only: bool,
    /// The largest frame to take, in bytes.
    pub max_frame_bytes: usize,
}

/// The reply to a request: header and what follows.
pub type Reply = Result<(ReplyHeader, Reader), ZkError>;

/// Something for the session to do.
#[derive(Debug)]
pub enum Call {
    /// Send a request.
    Request {
        /// Its type.
        op: OpCode,
        /// Its record.
        body: Bytes,
        /// What it does to watches.
        watch: Option<WatchChange>,
        /// Where its reply goes.
        reply: oneshot::Sender<Reply>,
    },
    /// Authenticate, on this connection and on later ones.
    Auth {
        /// The scheme.
        scheme: String,
        /// The proof.
        auth: Bytes,
        /// Told when a server has accepted it.
        reply: oneshot::Sender<Result<(), ZkError>>,
    },
    /// End the session.
    Close,
    /// Leave without a word: the session lives on until the server finds it silent.
    Abandon,
}

/// An authentication, for each connection again.
pub(super) struct Auth {
    pub(super) scheme: String,
    pub(super) auth: Bytes,
    pub(super) reply: Option<oneshot::Sender<Result<(), ZkError>>>,
}

/// Why a connection ended.
pub(super) enum Ended {
    /// It broke, or the server is silent or makes no sense.
    Lost(String),
    /// The session is over.
    Over(SessionState),
}

/// The session: lives in a task of its own.
pub struct Session {
    pub(super) settings: Settings,
    pub(super) calls: mpsc::UnboundedReceiver<Call>,
    /// Calls that came while there was no connection.
    pub(super) waiting: VecDeque<Call>,
    pub(super) events: mpsc::UnboundedSender<ZkEvent>,
    state: watch::Sender<SessionState>,
    identity: Arc<Mutex<Identity>>,
    pub(super) watches: Arc<Mutex<Watches>>,
    pub(super) auths: Vec<Auth>,
    pub(super) last_zxid: i64,
    pub(super) xid: i32,
    /// The next server to try.
    next_server: usize,
}

impl Session {
    /// A session that is not connected yet.
    #[must_use]
    pub fn new(
        mut settings: Settings,
        calls: mpsc::UnboundedReceiver<Call>,
        events: mpsc::UnboundedSender<ZkEvent>,
        state: watch::Sender<SessionState>,
        identity: Arc<Mutex<Identity>>,
        watches: Arc<Mutex<Watches>>,
    ) -> Self {
        settings.connect.servers.shuffle(&mut rand::rng());
        Self {
            settings,
            calls,
            waiting: VecDeque::new(),
            events,
            state,
            identity,
            watches,
            auths: Vec::new(),
            last_zxid: 0,
            xid: 0,
            next_server: 0,
        }
    }

    /// Keeps the session until it ends.
    pub async fn run(mut self) {
        let mut failed_attempts: u32 = 0;
        let end = loop {
            match self.connect_next(failed_attempts).await {
                Ok((stream, frames, response)) => {
                    failed_attempts = 0;
                    match self.serve(stream, frames, response).await {
                        Ended::Lost(reason) => self.lost(&reason),
                        Ended::Over(end) => break end,
                    }
                }
                Err(Ended::Lost(reason)) => {
                    failed_attempts = failed_attempts.saturating_add(1);
                    self.attempt_failed(&reason);
                }
                Err(Ended::Over(end)) => break end,
            }
        };
        self.finish(end);
    }

    fn session_hex(&self) -> String {
        format!("0x{:x}", self.identity.lock().id)
    }

    fn lost(&mut self, reason: &str) {
        let session = self.session_hex();
        tracing::warn!(session, reason, "connection to zookeeper lost");
        self.enter(SessionState::Disconnected);
        self.fail_waiting(&ZkError::ConnectionLoss);
    }

    fn attempt_failed(&mut self, reason: &str) {
        tracing::warn!(reason, "could not connect to zookeeper");
        self.fail_waiting(&ZkError::ConnectionLoss);
    }

    pub(super) fn enter(&mut self, state: SessionState) {
        self.state.send_replace(state);
        // Nobody has to listen.
        let _ = self.events.send(ZkEvent::Session(state));
    }

    fn finish(mut self, end: SessionState) {
        let session = self.session_hex();
        tracing::info!(session, state = ?end, "zookeeper session ended");
        // First the state: a call that finds the queue closed looks there for the reason.
        self.enter(end);
        self.calls.close();
        let error = end.end().unwrap_or(ZkError::Closed);
        self.fail_waiting(&error);
        for auth in &mut self.auths {
            if let Some(reply) = auth.reply.take() {
                let _ = reply.send(Err(error.clone()));
            }
        }
    }

    /// Fails what is queued, so that nobody waits longer than an attempt to connect takes.
    /// Authentications are remembered instead, and a wish to close stays.
    fn fail_waiting(&mut self, error: &ZkError) {
        while let Ok(call) = self.calls.try_recv() {
            self.waiting.push_back(call);
        }
        for call in std::mem::take(&mut self.waiting) {
            match call {
                Call::Request { watch, reply, .. } => {
                    self.forget_locally(watch.as_ref());
                    // The caller may have gone.
                    let _ = reply.send(Err(error.clone()));
                }
                Call::Auth {
                    scheme,
                    auth,
                    reply,
                } => {
                    self.auths.push(Auth {
                        scheme,
                        auth,
                        reply: Some(reply),
                    });
                }
                close @ (Call::Close | Call::Abandon) => self.waiting.push_back(close),
            }
        }
    }

    /// Watches that were to be removed whatever the server says go although it was not asked.
    pub(super) fn forget_locally(&self, watch: Option<&WatchChange>) {
        if let Some(
            change @ WatchChange::Remove {
                path, local: true, ..
            },
        ) = watch
        {
            let removed = self.watches.lock().replied(change, false, false);
            self.report_removed(path, removed);
        }
    }

    pub(super) fn report_removed(&self, path: &str, removed: Vec<EventType>) {
        for kind in removed {
            let path = self.settings.connect.to_client(path);
            let _ = self.events.send(ZkEvent::Node { kind, path });
        }
    }

    fn wants_to_end(&self) -> bool {
        self.waiting
            .iter()
            .any(|call| matches!(call, Call::Close | Call::Abandon))
    }

    /// The longest an attempt to connect may take: all servers get their turn within the
    /// session's timeout.
    fn connect_timeout(&self) -> Duration {
        let granted = self.identity.lock().timeout_ms;
        let session = match u64::try_from(granted) {
            Ok(ms) if ms > 0 => Duration::from_millis(ms),
            _ => self.settings.session_timeout,
        };
        session / u32::try_from(self.settings.connect.servers.len()).unwrap_or(u32::MAX)
    }

    /// Tries the next server, after a pause if all of them were tried.
    async fn connect_next(
        &mut self,
        failed_attempts: u32,
    ) -> Result<(TcpStream, FrameReader, ConnectResponse), Ended> {
        self.pause(failed_attempts).await?;
        let index = self.next_server % self.settings.connect.servers.len();
        self.next_server = index + 1;
        let (host, port) = self.settings.connect.servers[index].clone();
        let server = format!("{host}:{port}");
        let request = self.connect_request();
        let limit = self.settings.max_frame_bytes;
        let longest = self.connect_timeout();
        let attempt = async {
            tracing::debug!(server, "connecting to zookeeper");
            match timeout(longest, handshake(&host, port, &request, limit)).await {
                Ok(Ok(connected)) => Ok(connected),
                Ok(Err(reason)) => Err(format!("{server}: {reason}")),
                Err(_) => Err(format!(
                    "{server}: no answer within {} ms",
                    longest.as_millis()
                )),
            }
        };
        tokio::pin!(attempt);
        // A session that this attempt gets is closed in order, so closing waits for it a while.
        let patience = sleep(CLOSE_PATIENCE);
        tokio::pin!(patience);
        let mut closing = false;
        loop {
            tokio::select! {
                connected = &mut attempt => {
                    let (stream, frames, response) = connected.map_err(Ended::Lost)?;
                    return self.admit(server.clone(), stream, frames, response);
                }
                call = self.calls.recv(), if !closing => {
                    // All handles dropped is a wish to close.
                    let call = call.unwrap_or(Call::Close);
                    if matches!(call, Call::Abandon) {
                        return Err(Ended::Over(SessionState::Closed));
                    }
                    closing = matches!(call, Call::Close);
                    self.waiting.push_back(call);
                    patience.as_mut().reset(Instant::now() + CLOSE_PATIENCE);
                }
                () = &mut patience, if closing => {
                    return Err(Ended::Over(SessionState::Closed));
                }
            }
        }
    }

    /// Waits before another round through the servers, unless the session is to end.
    async fn pause(&mut self, failed_attempts: u32) -> Result<(), Ended> {
        let servers = u32::try_from(self.settings.connect.servers.len()).unwrap_or(u32::MAX);
        let round = failed_attempts / servers;
        if self.wants_to_end() {
            return Err(Ended::Over(SessionState::Closed));
        }
        if !failed_attempts.is_multiple_of(servers) || round == 0 {
            return Ok(());
        }
        let longest = Duration::from_millis(100)
            .saturating_mul(1 << round.min(8))
            .min(MAX_BACKOFF);
        let pause = sleep(longest.mul_f64(rand::random_range(0.5..1.0)));
        tokio::pin!(pause);
        loop {
            if self.wants_to_end() {
                return Err(Ended::Over(SessionState::Closed));
            }
            tokio::select! {
                biased;
                () = &mut pause => return Ok(()),
                call = self.calls.recv() => self.waiting.push_back(call.unwrap_or(Call::Close)),
            }
        }
    }

    fn connect_request(&self) -> ConnectRequest {
        let identity = self.identity.lock();
        let password = match identity.id {
            0 => Bytes::from_static(&[0; 16]),
            _ => identity.password.clone(),
        };
        let asked = i32::try_from(self.settings.session_timeout.as_millis());
        ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: self.last_zxid,
            timeout_ms: asked.unwrap_or(i32::MAX),
            session_id: identity.id,
            password: Some(password),
            read_only: Some(self.settings.read_only),
        }
    }

    /// The server has answered: with our session, or with its end.
    fn admit(
        &mut self,
        server: String,
        stream: TcpStream,
        frames: FrameReader,
        response: ConnectResponse,
    ) -> Result<(TcpStream, FrameReader, ConnectResponse), Ended> {
        if response.timeout_ms <= 0 {
            return Err(Ended::Over(SessionState::Expired));
        }
        let session = format!("0x{:x}", response.session_id);
        let timeout_ms = response.timeout_ms;
        tracing::info!(session, server, timeout_ms, "zookeeper session established");
        *self.identity.lock() = Identity {
            id: response.session_id,
            password: response.password.clone().unwrap_or_default(),
            timeout_ms,
            server,
        };
        Ok((stream, frames, response))
    }
}

/// Connects and asks for the session.
async fn handshake(
    host: &str,
    port: u16,
    request: &ConnectRequest,
    limit: usize,
) -> Result<(TcpStream, FrameReader, ConnectResponse), String> {
    let mut stream = TcpStream::connect((host, port))
        .await
        .map_err(|error| error.to_string())?;
    stream
        .set_nodelay(true)
        .map_err(|error| error.to_string())?;
    let mut out = BytesMut::new();
    put_frame(&mut out, |out| request.encode(out));
    stream
        .write_all(&out)
        .await
        .map_err(|error| error.to_string())?;
    let mut frames = FrameReader::new(limit);
    let frame = frames
        .next(&mut stream)
        .await
        .map_err(|error| error.to_string())?;
    let Some(frame) = frame else {
        return Err("closed by the server instead of an answer to the handshake".to_owned());
    };
    let response = Reader::new(frame)
        .read::<ConnectResponse>()
        .map_err(|error| format!("answer to the handshake: {error}"))?;
    Ok((stream, frames, response))
}
