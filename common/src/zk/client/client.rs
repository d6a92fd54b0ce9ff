//! Shell: the client's handle on a session.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};

use crate::zk::client::connect_string::{ConnectString, ConnectStringError};
use crate::zk::client::error::ZkError;
use crate::zk::client::event::{SessionState, ZkEvent};
use crate::zk::client::session::{Call, Identity, Reply, Session, Settings};
use crate::zk::client::watches::{WatchChange, Watches};
use crate::zk::jute::{Reader, Record};
use crate::zk::path;
use crate::zk::request::Request;

/// The largest frame to take from a server unless told otherwise, in bytes.
const DEFAULT_MAX_FRAME_BYTES: usize = 64 << 20;

/// How to reach ZooKeeper.
#[derive(Debug, Clone)]
pub struct ZkClientConfig {
    /// `host:port,host:port/chroot`.
    pub connect: String,
    /// The session timeout to ask for; the server has the last word.
    pub session_timeout: Duration,
    /// Whether a server that only reads will do.
    pub read_only: bool,
    /// The largest frame to take, in bytes.
    pub max_frame_bytes: usize,
    /// A session to go on with instead of a new one: id and password.
    pub resume: Option<(i64, Bytes)>,
}

impl ZkClientConfig {
    /// The defaults with these servers and this session timeout.
    pub fn new(connect: impl Into<String>, session_timeout: Duration) -> Self {
        Self {
            connect: connect.into(),
            session_timeout,
            read_only: false,
            max_frame_bytes: DEFAULT_MAX_FRAME_BYTES,
            resume: None,
        }
    }
}

/// A handle on a session. Clones share it; when the last one is dropped the session is closed.
#[derive(Debug, Clone)]
pub struct ZkClient {
    pub(super) calls: mpsc::UnboundedSender<Call>,
    pub(super) connect: Arc<ConnectString>,
    pub(super) state: watch::Receiver<SessionState>,
    identity: Arc<Mutex<Identity>>,
    pub(super) watches: Arc<Mutex<Watches>>,
}

impl ZkClient {
    /// Starts a session without waiting for it, within a tokio runtime. The receiver gets all
    /// events of the session, in order; it may be dropped.
    pub fn start(
        config: ZkClientConfig,
    ) -> Result<(Self, mpsc::UnboundedReceiver<ZkEvent>), ConnectStringError> {
        let connect = ConnectString::parse(&config.connect)?;
        let (calls, call_queue) = mpsc::unbounded_channel();
        let (events, event_queue) = mpsc::unbounded_channel();
        let (state_out, state) = watch::channel(SessionState::Connecting);
        let identity = match config.resume {
            Some((id, password)) => Identity {
                id,
                password,
                ..Identity::default()
            },
            None => Identity::default(),
        };
        let identity = Arc::new(Mutex::new(identity));
        let watches = Arc::new(Mutex::new(Watches::default()));
        let settings = Settings {
            connect: connect.clone(),
            session_timeout: config.session_timeout,
            read_only: config.read_only,
            max_frame_bytes: config.max_frame_bytes,
        };
        let session = Session::new(
            settings,
            call_queue,
            events,
            state_out,
            Arc::clone(&identity),
            Arc::clone(&watches),
        );
        tokio::spawn(session.run());
        let connect = Arc::new(connect);
        Ok((
            Self {
                calls,
                connect,
                state,
                identity,
                watches,
            },
            event_queue,
        ))
    }

    /// Waits until the session is connected.
    pub async fn wait_connected(&self, longest: Duration) -> Result<(), ZkError> {
        let mut state = self.state.clone();
        let settled = state.wait_for(|state| state.is_connected() || state.end().is_some());
        let servers = || {
            let servers: Vec<String> = self
                .connect
                .servers
                .iter()
                .map(|(host, port)| format!("{host}:{port}"))
                .collect();
            servers.join(",")
        };
        match tokio::time::timeout(longest, settled).await {
            Ok(Ok(state)) => state.end().map_or(Ok(()), Err),
            Ok(Err(_)) => Err(ZkError::Closed),
            Err(_) => Err(ZkError::ConnectTimeout {
                servers: servers(),
                waited_ms: longest.as_millis(),
            }),
        }
    }

    /// How the session stands.
    #[must_use]
    pub fn state(&self) -> SessionState {
        *self.state.borrow()
    }

    /// The session's id; 0 before the first connection.
    #[must_use]
    pub fn session_id(&self) -> i64 {
        self.identity.lock().id
    }

    /// The session's password; empty before the first connection.
    #[must_use]
    pub fn session_password(&self) -> Bytes {
        self.identity.lock().password.clone()
    }

    /// The session timeout the server granted, in ms; 0 before the first connection.
    #[must_use]
    pub fn session_timeout_ms(&self) -> i32 {
        self.identity.lock().timeout_ms
    }

    /// The server connected to last, as `host:port`; empty before the first connection.
    #[must_use]
    pub fn server(&self) -> String {
        self.identity.lock().server.clone()
    }

    /// Ends the session and waits for that. Without a connection the server is left to find
    /// out by itself.
    pub async fn close(&self) {
        self.end(Call::Close).await;
    }

    /// Leaves without a word, as a crash would: the session and its ephemeral nodes live on
    /// until the server finds the session silent.
    pub async fn abandon(&self) {
        self.end(Call::Abandon).await;
    }

    async fn end(&self, call: Call) {
        // A closed queue means that it has ended already.
        let _ = self.calls.send(call);
        let mut state = self.state.clone();
        let _ = state.wait_for(|state| state.end().is_some()).await;
    }

    pub(super) fn server_path(&self, path: &str) -> bytestring::ByteString {
        self.connect.to_server(path).into()
    }

    /// Queues a request whose reply has no record of interest.
    pub(super) fn tell(
        &self,
        path: &str,
        request: Request,
        watch: Option<WatchChange>,
    ) -> impl Future<Output = Result<(), ZkError>> + Send + use<> {
        let asked = self.ask(path::validate(path), request, watch);
        let path = path.to_owned();
        async move { asked.await.body(&path).map(|_| ()) }
    }

    /// Queues a request, unless its path was found wanting.
    pub(super) fn ask(
        &self,
        valid: Result<(), path::PathError>,
        request: Request,
        watch: Option<WatchChange>,
    ) -> impl Future<Output = Answer> + Send + use<> {
        let waiting = valid.map(|()| {
            let mut body = BytesMut::new();
            request.encode(&mut body);
            let (reply, answer) = oneshot::channel();
            let (op, body) = (request.op(), body.freeze());
            // A closed queue drops the sender, and the answer below says why.
            let _ = self.calls.send(Call::Request {
                op,
                body,
                watch,
                reply,
            });
            answer
        });
        let state = self.state.clone();
        async move {
            Answer(match waiting {
                Err(error) => Err(ZkError::Path(error)),
                Ok(answer) => answer.await.unwrap_or_else(|_| Err(ended(&state))),
            })
        }
    }
}

/// Why the session takes no more calls.
pub(super) fn ended(state: &watch::Receiver<SessionState>) -> ZkError {
    state.borrow().end().unwrap_or(ZkError::Closed)
}

/// What came of a request.
pub(super) struct Answer(Reply);

impl Answer {
    /// What follows the header, if the server did as asked.
    pub(super) fn body(self, path: &str) -> Result<Reader, ZkError> {
        let (header, reader) = self.0?;
        match header.err {
            0 => Ok(reader),
            code => Err(ZkError::from_reply(code, path)),
        }
    }

    /// The record that follows the header.
    pub(super) fn record<T: Record>(self, path: &str) -> Result<T, ZkError> {
        Ok(self.body(path)?.read()?)
    }
}
