//! Shell: the broker's session with `ZooKeeper`: retries until connected, a new session after an
//! expired one, events for whoever subscribes, and writes that only the present controller may do
//! (`zk/KafkaZkClient.scala`, `zookeeper/ZooKeeperClient.scala`).
//!
//! An operation that a lost connection interrupts is tried again once there is a connection; it may
//! have taken place already. When the session has expired, operations fail until all subscribers
//! have let go of [`StoreEvent::Expired`]; only then there is a new session. So a controller can lay
//! down its office before anything is done under the new session.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use bytes::Bytes;
use bytestring::ByteString;
use common::zk::client::client::{ZkClient, ZkClientConfig};
use common::zk::client::connect_string::ConnectString;
use common::zk::client::error::{MultiError, ZkError};
use common::zk::client::event::{SessionState, ZkEvent};
use common::zk::code::ErrorCode;
use common::zk::data::{Acl, Stat};
use common::zk::multi::{MultiOp, MultiResult};
use common::zk::request::{
    CheckVersionRequest, CreateMode, CreateRequest, DeleteRequest, SetDataRequest,
};
use common::zk::response::EventType;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::zk::error::StoreError;
use crate::zk::paths;

/// Requests of one batch that wait for replies at the same time.
const MAX_IN_FLIGHT: usize = 500;
/// Matches any version of a node.
pub const ANY_VERSION: i32 = -1;

/// How to reach `ZooKeeper`.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// `zookeeper.connect`.
    pub connect: String,
    /// `zookeeper.session.timeout.ms`.
    pub session_timeout: Duration,
    /// `zookeeper.connection.timeout.ms`.
    pub connection_timeout: Duration,
    /// `zookeeper.set.acl`.
    pub secure: bool,
}

/// What subscribers hear, in order.
#[derive(Debug, Clone)]
pub enum StoreEvent {
    /// A watch fired.
    Node {
        /// What happened.
        kind: EventType,
        /// The node, without the chroot.
        path: String,
    },
    /// The session is over; the next one waits until all clones of the guard are dropped.
    Expired(ExpiryGuard),
    /// There is a new session; watches and ephemeral nodes of the old one are gone.
    Renewed,
}

/// Holds back the next session while it lives.
#[derive(Debug, Clone)]
pub struct ExpiryGuard {
    _alive: mpsc::Sender<()>,
}

/// Kafka's part of `ZooKeeper`, shared by the whole broker.
#[derive(Debug)]
pub struct ZkStore {
    settings: StoreSettings,
    client: ArcSwap<ZkClient>,
    /// Locked for the time of a push or a walk through the list, never across an await.
    subscribers: Mutex<Vec<mpsc::UnboundedSender<StoreEvent>>>,
    /// Session under which this process registered its broker last; 0 before.
    pub(super) registered_session: Mutex<i64>,
}

impl ZkStore {
    /// Connects, creates the chroot if there is one, and looks after the session from then on.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`] when no server answers within the connection timeout,
    /// [`StoreError::Connect`] when the connect string is wrong.
    pub async fn connect(settings: StoreSettings) -> Result<Arc<Self>, StoreError> {
        let connect =
            ConnectString::parse(&settings.connect).map_err(|error| StoreError::Connect {
                connect: settings.connect.clone(),
                reason: error.to_string(),
            })?;
        if !connect.chroot.is_empty() {
            let hosts = settings
                .connect
                .split('/')
                .next()
                .unwrap_or_default()
                .to_string();
            let root = Self::start(StoreSettings {
                connect: hosts,
                ..settings.clone()
            })
            .await?
            .0;
            let created = root.ensure_path(&connect.chroot).await;
            root.close().await;
            created?;
        }
        let (store, events) = Self::start(settings).await?;
        let store = Arc::new(store);
        tokio::spawn(dispatch(Arc::downgrade(&store), events));
        Ok(store)
    }

    async fn start(
        settings: StoreSettings,
    ) -> Result<(Self, mpsc::UnboundedReceiver<ZkEvent>), StoreError> {
        let (client, events) = start_client(&settings)?;
        match client.wait_connected(settings.connection_timeout).await {
            Ok(()) => {}
            Err(ZkError::ConnectTimeout { waited_ms, .. }) => {
                client.close().await;
                return Err(StoreError::Unreachable {
                    connect: settings.connect,
                    waited_ms,
                });
            }
            Err(error) => return Err(error.into()),
        }
        let store = Self {
            settings,
            client: ArcSwap::from_pointee(client),
            subscribers: Mutex::new(Vec::new()),
            registered_session: Mutex::new(0),
        };
        Ok((store, events))
    }

    /// Ends the session; its ephemeral nodes go.
    pub async fn close(&self) {
        self.client.load_full().close().await;
    }

    /// All events from now on.
    #[must_use]
    pub fn subscribe(&self) -> mpsc::UnboundedReceiver<StoreEvent> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.subscribers.lock().push(sender);
        receiver
    }

    /// The id of the present session.
    #[must_use]
    pub fn session_id(&self) -> i64 {
        self.client.load().session_id()
    }

    /// The session timeout that was asked for.
    #[must_use]
    pub fn session_timeout(&self) -> Duration {
        self.settings.session_timeout
    }

    fn publish(&self, event: &StoreEvent) {
        self.subscribers
            .lock()
            .retain(|subscriber| subscriber.send(event.clone()).is_ok());
    }

    /// The ACL of a new node (`ZkData.defaultAcls`).
    pub(super) fn acl(&self, path: &str) -> Vec<Acl> {
        let is_under = |parent: &str| {
            path.strip_prefix(parent)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if !self.settings.secure || is_under("/consumers") {
            return Acl::open();
        }
        let mut acl = Acl::creator_all();
        if ![
            "/config/users",
            "/config/brokers",
            "/delegation_token/tokens",
        ]
        .into_iter()
        .any(is_under)
        {
            acl.extend(Acl::read_only());
        }
        acl
    }

    /// Does something until it is done or fails for another reason than a lost connection.
    pub(super) async fn retry<T, F>(
        &self,
        operation: impl Fn(&ZkClient) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, ZkError>>,
    {
        loop {
            let client = self.client.load_full();
            match operation(&client).await {
                Err(ZkError::ConnectionLoss) => until_connected(&client).await?,
                result => return Ok(result?),
            }
        }
    }

    /// Does something for each item, many at a time, each until it is done or fails for another
    /// reason than a lost connection. Results come in the order of the items.
    pub(super) async fn batch<I, T, F, E>(
        &self,
        items: &[I],
        operation: impl Fn(&ZkClient, &I) -> F,
    ) -> Result<Vec<Result<T, E>>, StoreError>
    where
        F: Future<Output = Result<T, E>>,
        E: AsZkError,
    {
        let mut results: Vec<Option<Result<T, E>>> = items.iter().map(|_| None).collect();
        let mut left: Vec<usize> = (0..items.len()).collect();
        while !left.is_empty() {
            let client = self.client.load_full();
            let mut again = Vec::new();
            for chunk in left.chunks(MAX_IN_FLIGHT) {
                // Creating a future sends its request, so that the whole chunk is on its way before
                // the first reply is waited for.
                let sent = chunk
                    .iter()
                    .filter_map(|at| Some((*at, operation(&client, items.get(*at)?))));
                for (at, future) in sent.collect::<Vec<_>>() {
                    let result = future.await;
                    match result.as_ref().err().map(AsZkError::as_zk_error) {
                        Some(ZkError::ConnectionLoss) => again.push(at),
                        Some(error) if is_over(error) => return Err(error.clone().into()),
                        _ => {
                            if let Some(slot) = results.get_mut(at) {
                                *slot = Some(result);
                            }
                        }
                    }
                }
            }
            if !again.is_empty() {
                until_connected(&client).await?;
            }
            left = again;
        }
        Ok(results.into_iter().flatten().collect())
    }

    /// The data of a node and its stat, none if there is no such node.
    ///
    /// # Errors
    /// When `ZooKeeper` refuses or the session is over.
    pub async fn get(
        &self,
        path: &str,
        watch: bool,
    ) -> Result<Option<(Option<Bytes>, Stat)>, StoreError> {
        match self.retry(|client| client.get_data(path, watch)).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is(ErrorCode::NoNode) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The data of many nodes, in their order.
    pub(super) async fn get_all(
        &self,
        paths: &[String],
        watch: bool,
    ) -> Result<Vec<Option<(Option<Bytes>, Stat)>>, StoreError> {
        let results = self
            .batch(paths, |client, path| client.get_data(path, watch))
            .await?;
        let found = |result: Result<_, ZkError>| match result {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is(ErrorCode::NoNode) => Ok(None),
            Err(error) => Err(error.into()),
        };
        results.into_iter().map(found).collect()
    }

    /// The children of a node, none if there is no such node.
    ///
    /// # Errors
    /// When `ZooKeeper` refuses or the session is over.
    pub async fn children(&self, path: &str, watch: bool) -> Result<Vec<String>, StoreError> {
        match self.retry(|client| client.get_children(path, watch)).await {
            Ok((children, _)) => Ok(children),
            Err(error) if error.is(ErrorCode::NoNode) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Whether a node exists; with `watch` its creation, change or deletion will be an event.
    ///
    /// # Errors
    /// When `ZooKeeper` refuses or the session is over.
    pub async fn exists(&self, path: &str, watch: bool) -> Result<bool, StoreError> {
        Ok(self
            .retry(|client| client.exists(path, watch))
            .await?
            .is_some())
    }

    pub(super) async fn create(
        &self,
        path: &str,
        data: Option<Bytes>,
        mode: CreateMode,
    ) -> Result<String, StoreError> {
        let acl = self.acl(path);
        self.retry(|client| client.create(path, data.clone(), &acl, mode))
            .await
    }

    /// Creates a persistent node, and its parents with null data.
    pub(super) async fn create_recursive(
        &self,
        path: &str,
        data: Option<Bytes>,
    ) -> Result<(), StoreError> {
        match self
            .create(path, data.clone(), CreateMode::Persistent)
            .await
        {
            Err(error) if error.is(ErrorCode::NoNode) => {
                Box::pin(self.ensure_path(paths::parent(path))).await?;
                self.create(path, data, CreateMode::Persistent)
                    .await
                    .map(|_| ())
            }
            result => result.map(|_| ()),
        }
    }

    /// Creates a persistent node with null data unless it is there, and its parents.
    ///
    /// # Errors
    /// When `ZooKeeper` refuses or the session is over.
    pub async fn ensure_path(&self, path: &str) -> Result<(), StoreError> {
        match self.create_recursive(path, None).await {
            Err(error) if error.is(ErrorCode::NodeExists) => Ok(()),
            result => result,
        }
    }

    pub(super) async fn set(
        &self,
        path: &str,
        data: Option<Bytes>,
        version: i32,
    ) -> Result<Stat, StoreError> {
        self.retry(|client| client.set_data(path, data.clone(), version))
            .await
    }

    /// Deletes a node; it may be gone already.
    pub(super) async fn delete(&self, path: &str) -> Result<(), StoreError> {
        match self.retry(|client| client.delete(path, ANY_VERSION)).await {
            Err(error) if error.is(ErrorCode::NoNode) => Ok(()),
            result => result,
        }
    }

    pub(super) async fn multi(&self, ops: Vec<MultiOp>) -> Result<Vec<MultiResult>, StoreError> {
        self.retry(|client| {
            let done = client.multi(ops.clone());
            async move { done.await.map_err(|failed| failed.error) }
        })
        .await
    }

    /// Does each write only if `/controller_epoch` still has the version `epoch_version`. Each
    /// result is what `ZooKeeper` said of the write.
    ///
    /// # Errors
    /// [`StoreError::ControllerMoved`] when the epoch has another version.
    pub(super) async fn as_controller(
        &self,
        epoch_version: i32,
        writes: &[MultiOp],
    ) -> Result<Vec<Result<MultiResult, ZkError>>, StoreError> {
        let guarded = |client: &ZkClient, write: &MultiOp| {
            let check = check(paths::CONTROLLER_EPOCH, epoch_version);
            client.multi(vec![check, write.clone()])
        };
        let mut out = Vec::with_capacity(writes.len());
        for result in self.batch(writes, guarded).await? {
            out.push(match result {
                Ok(results) => results
                    .into_iter()
                    .nth(1)
                    .ok_or(ZkError::Arguments("no result")),
                Err(MultiError {
                    error,
                    index: Some(0),
                    ..
                }) if error.is(ErrorCode::BadVersion) || error.is(ErrorCode::NoNode) => {
                    return Err(StoreError::ControllerMoved);
                }
                Err(failed) => Err(failed.error),
            });
        }
        Ok(out)
    }

    /// Deletes nodes as controller; they may be gone already.
    pub(super) async fn delete_as_controller(
        &self,
        epoch_version: i32,
        paths: &[String],
    ) -> Result<(), StoreError> {
        let deletes: Vec<_> = paths.iter().map(|path| delete(path)).collect();
        for result in self.as_controller(epoch_version, &deletes).await? {
            match result {
                Err(error) if !error.is(ErrorCode::NoNode) => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn create_op(&self, path: &str, data: Option<Bytes>, mode: CreateMode) -> MultiOp {
        MultiOp::Create(CreateRequest {
            path: ByteString::from(path),
            data,
            acl: self.acl(path),
            flags: mode.flags(),
        })
    }
}

/// An error that has a `ZooKeeper` error in it.
pub(super) trait AsZkError {
    /// That error.
    fn as_zk_error(&self) -> &ZkError;
}

impl AsZkError for ZkError {
    fn as_zk_error(&self) -> &ZkError {
        self
    }
}

impl AsZkError for MultiError {
    fn as_zk_error(&self) -> &ZkError {
        &self.error
    }
}

pub(super) fn check(path: &str, version: i32) -> MultiOp {
    MultiOp::Check(CheckVersionRequest {
        path: ByteString::from(path),
        version,
    })
}

pub(super) fn delete(path: &str) -> MultiOp {
    MultiOp::Delete(DeleteRequest {
        path: ByteString::from(path),
        version: ANY_VERSION,
    })
}

pub(super) fn set_data(path: &str, data: Vec<u8>, version: i32) -> MultiOp {
    let data = Some(Bytes::from(data));
    MultiOp::SetData(SetDataRequest {
        path: ByteString::from(path),
        data,
        version,
    })
}

/// Wall clock time in ms since 1970.
pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn is_over(error: &ZkError) -> bool {
    matches!(
        error,
        ZkError::SessionExpired | ZkError::Closed | ZkError::AuthFailed
    )
}

fn start_client(
    settings: &StoreSettings,
) -> Result<(ZkClient, mpsc::UnboundedReceiver<ZkEvent>), StoreError> {
    let config = ZkClientConfig::new(settings.connect.clone(), settings.session_timeout);
    ZkClient::start(config).map_err(|error| StoreError::Connect {
        connect: settings.connect.clone(),
        reason: error.to_string(),
    })
}

/// Waits for a connection, however long it takes; fails when the session is over.
async fn until_connected(client: &ZkClient) -> Result<(), StoreError> {
    loop {
        match client.wait_connected(Duration::from_secs(60)).await {
            Err(ZkError::ConnectTimeout { .. }) => {}
            result => return Ok(result?),
        }
    }
}

/// Hands events to the subscribers and replaces a session that has expired.
async fn dispatch(store: std::sync::Weak<ZkStore>, mut events: mpsc::UnboundedReceiver<ZkEvent>) {
    while let Some(event) = events.recv().await {
        let Some(alive) = store.upgrade() else { return };
        match event {
            ZkEvent::Node { kind, path } => alive.publish(&StoreEvent::Node { kind, path }),
            ZkEvent::Session(SessionState::Expired) => {
                tracing::warn!("zookeeper session expired, starting a new one");
                let Some(renewed) = renew(&alive).await else {
                    return;
                };
                events = renewed;
                alive.publish(&StoreEvent::Renewed);
            }
            ZkEvent::Session(SessionState::Closed) => return,
            ZkEvent::Session(state) => tracing::info!(?state, "zookeeper session"),
        }
    }
}

/// Waits until everyone has let go of the old session, then makes a new one.
async fn renew(store: &ZkStore) -> Option<mpsc::UnboundedReceiver<ZkEvent>> {
    let (alive, mut released) = mpsc::channel(1);
    store.publish(&StoreEvent::Expired(ExpiryGuard { _alive: alive }));
    // Nobody sends: this ends when the last guard is dropped.
    let _ = released.recv().await;
    match start_client(&store.settings) {
        Ok((client, events)) => {
            let started = client.clone();
            store.client.store(Arc::new(client));
            if let Err(error) = until_connected(&started).await {
                tracing::error!(%error, "no new zookeeper session");
            }
            Some(events)
        }
        Err(error) => {
            tracing::error!(%error, "no new zookeeper session");
            None
        }
    }
}
