//! Shell: the client against a ZooKeeper server at `TANDEM_TEST_ZOOKEEPER` (`host:port`), if there
//! is one. A proxy in between cuts connections.

#![allow(clippy::unwrap_used, reason = "this is a test")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::zk::client::client::{ZkClient, ZkClientConfig};
use common::zk::client::error::ZkError;
use common::zk::client::event::{SessionState, ZkEvent};
use common::zk::code::ErrorCode;
use common::zk::data::Acl;
use common::zk::multi::{MultiOp, MultiResult};
use common::zk::request::*;
use common::zk::response::EventType;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;

const TIMEOUT: Duration = Duration::from_secs(6);

fn server() -> Option<String> {
    std::env::var("TANDEM_TEST_ZOOKEEPER").ok()
}

async fn connect(connect: &str) -> (ZkClient, UnboundedReceiver<ZkEvent>) {
    let (client, mut events) = ZkClient::start(ZkClientConfig::new(connect, TIMEOUT)).unwrap();
    client.wait_connected(TIMEOUT).await.unwrap();
    assert_eq!(
        events.recv().await,
        Some(ZkEvent::Session(SessionState::Connected))
    );
    (client, events)
}

fn node(kind: EventType, path: &str) -> Option<ZkEvent> {
    Some(ZkEvent::Node {
        kind,
        path: path.to_owned(),
    })
}

fn data(text: &'static str) -> Option<Bytes> {
    Some(Bytes::from_static(text.as_bytes()))
}

/// A fresh node to work under.
async fn playground(client: &ZkClient, name: &str) -> String {
    let path = format!("/{name}-");
    let mode = CreateMode::PersistentSequential;
    client
        .create(&path, None, &Acl::open(), mode)
        .await
        .unwrap()
}

#[tokio::test]
async fn operations() {
    let Some(server) = server() else { return };
    let (client, mut events) = connect(&server).await;
    let top = playground(&client, "operations").await;
    let root = &format!("{server}{top}");
    let (inner, mut inner_events) = connect(root).await;
    let open = Acl::open();

    assert_eq!(inner.exists("/a", true).await, Ok(None));
    let created = inner
        .create("/a", None, &open, CreateMode::Persistent)
        .await;
    assert_eq!(created, Ok("/a".to_owned()));
    assert_eq!(
        inner_events.recv().await,
        node(EventType::NodeCreated, "/a")
    );
    let (nothing, stat) = inner.get_data("/a", true).await.unwrap();
    assert_eq!((nothing, stat.version), (None, 0));
    let stat = inner.set_data("/a", Some(Bytes::new()), 0).await.unwrap();
    assert_eq!(stat.version, 1);
    assert_eq!(
        inner_events.recv().await,
        node(EventType::NodeDataChanged, "/a")
    );
    assert_eq!(
        inner.get_data("/a", false).await.unwrap().0,
        Some(Bytes::new())
    );
    let error = inner.set_data("/a", data("x"), 0).await.unwrap_err();
    assert!(error.is(ErrorCode::BadVersion), "{error}");

    let seq = inner
        .create("/a/", data("s"), &open, CreateMode::EphemeralSequential)
        .await;
    assert_eq!(seq, Ok("/a/0000000000".to_owned()));
    let (path, stat) = inner
        .create2("/a/b", data("b"), &open, CreateMode::Ephemeral)
        .await
        .unwrap();
    assert_eq!(
        (path.as_str(), stat.ephemeral_owner),
        ("/a/b", inner.session_id())
    );
    inner
        .create("/c", None, &open, CreateMode::Container)
        .await
        .unwrap();
    let ttl = CreateMode::PersistentWithTtl;
    assert!(
        inner
            .create_ttl("/t", None, &open, ttl, 60_000)
            .await
            .is_ok()
    );
    let (mut names, stat) = inner.get_children("/", false).await.unwrap();
    names.sort();
    assert_eq!(
        (names, stat.num_children),
        (vec!["a".into(), "c".into(), "t".into()], 3)
    );
    let mut mine = inner.get_ephemerals("/").await.unwrap();
    mine.sort();
    assert_eq!(mine, ["/a/0000000000", "/a/b"]);
    assert_eq!(inner.get_all_children_number("/").await, Ok(5));
    assert_eq!(inner.get_acl("/a").await.unwrap().0, open);
    assert_eq!(
        inner
            .set_acl("/a", &Acl::read_only(), -1)
            .await
            .unwrap()
            .aversion,
        1
    );
    let error = inner.set_data("/a", None, -1).await.unwrap_err();
    assert!(error.is(ErrorCode::NoAuth));
    assert_eq!(inner.sync("/").await, Ok(()));
    inner
        .add_auth("digest", Bytes::from_static(b"bob:pw"))
        .await
        .unwrap();
    let who = inner.who_am_i().await.unwrap();
    assert!(
        who.iter()
            .any(|who| who.auth_scheme == "digest" && who.user == "bob"),
        "{who:?}"
    );
    assert!(matches!(
        inner.get_data("a", false).await,
        Err(ZkError::Path(_))
    ));
    let results = inner
        .multi_read(vec![
            MultiOp::GetData("/a/b".into()),
            MultiOp::GetChildren("/no".into()),
        ])
        .await
        .unwrap();
    assert!(matches!(&results[0], MultiResult::GetData { data, .. } if *data == self::data("b")));
    assert_eq!(results[1], MultiResult::Error(ErrorCode::NoNode.code()));

    inner.close().await;
    assert_eq!(inner.state(), SessionState::Closed);
    assert_eq!(inner.sync("/").await, Err(ZkError::Closed));
    assert!(events.try_recv().is_err());
    let (names, _) = client
        .get_children(&format!("{top}/a"), false)
        .await
        .unwrap();
    assert!(
        names.is_empty(),
        "ephemeral nodes went with their session: {names:?}"
    );
}

#[tokio::test]
async fn multis() {
    let Some(server) = server() else { return };
    let (client, _events) = connect(&server).await;
    let top = playground(&client, "multis").await;
    let (client, _events) = connect(&format!("{server}{top}")).await;
    let create = |path: &'static str| {
        MultiOp::Create(CreateRequest {
            path: path.into(),
            data: None,
            acl: Acl::open(),
            flags: CreateMode::Persistent.flags(),
        })
    };
    let check = |path: &'static str, version| {
        MultiOp::Check(CheckVersionRequest {
            path: path.into(),
            version,
        })
    };
    let results = client
        .multi(vec![create("/a"), create("/b"), check("/a", 0)])
        .await
        .unwrap();
    let path = |path: &'static str| MultiResult::Create { path: path.into() };
    assert_eq!(results, [path("/a"), path("/b"), MultiResult::Check]);
    let delete = MultiOp::Delete(DeleteRequest {
        path: "/a".into(),
        version: -1,
    });
    let failed = client
        .multi(vec![delete, check("/b", 7), create("/c")])
        .await
        .unwrap_err();
    assert_eq!(failed.index, Some(1));
    assert!(failed.error.is(ErrorCode::BadVersion));
    assert_eq!(failed.results.len(), 3);
    assert!(client.exists("/a", false).await.unwrap().is_some());
}

#[tokio::test]
async fn requests_go_out_in_the_order_of_the_calls() {
    let Some(server) = server() else { return };
    let (client, mut events) = connect(&server).await;
    let top = playground(&client, "pipeline").await;
    let _ = client.get_children(&top, true).await.unwrap();
    let open = Acl::open();
    let mut futures = Vec::new();
    for _ in 0..1000 {
        let path = format!("{top}/n");
        futures.push(client.create(&path, None, &open, CreateMode::PersistentSequential));
    }
    // Polled backwards, sent forwards.
    for (i, created) in futures.into_iter().enumerate().rev() {
        assert_eq!(created.await, Ok(format!("{top}/n{i:010}")));
    }
    assert_eq!(
        events.recv().await,
        node(EventType::NodeChildrenChanged, &top)
    );
}

#[tokio::test]
async fn persistent_watches() {
    let Some(server) = server() else { return };
    let (client, mut events) = connect(&server).await;
    let top = playground(&client, "watches").await;
    client
        .add_watch(&top, AddWatchMode::PersistentRecursive)
        .await
        .unwrap();
    for i in 0..3 {
        let path = format!("{top}/{i}");
        client
            .create(&path, None, &Acl::open(), CreateMode::Persistent)
            .await
            .unwrap();
        assert_eq!(events.recv().await, node(EventType::NodeCreated, &path));
    }
    client
        .remove_watches(&top, WatcherType::Any, false)
        .await
        .unwrap();
    assert_eq!(
        events.recv().await,
        node(EventType::PersistentWatchRemoved, &top)
    );
    let error = client
        .remove_watches(&top, WatcherType::Any, false)
        .await
        .unwrap_err();
    assert!(error.is(ErrorCode::NoWatcher));
}

/// Passes connections on while its switch is on.
async fn proxy(server: String) -> (String, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (switch, on) = watch::channel(true);
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let (server, mut on) = (server.clone(), on.clone());
            tokio::spawn(async move {
                if !*on.borrow() {
                    return;
                }
                let mut far = TcpStream::connect(server).await.unwrap();
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    _ = on.wait_for(|on| !on) => {}
                }
            });
        }
    });
    (address, switch)
}

#[tokio::test]
async fn a_session_survives_its_connection_and_its_watches_come_back() {
    let Some(server) = server() else { return };
    let (other, _events) = connect(&server).await;
    let top = playground(&other, "reconnect").await;
    let (address, switch) = proxy(server.clone()).await;
    let (client, mut events) = connect(&format!("{address}{top}")).await;
    let open = Acl::open();
    client
        .create("/mine", None, &open, CreateMode::Ephemeral)
        .await
        .unwrap();
    client
        .create("/data", None, &open, CreateMode::Persistent)
        .await
        .unwrap();
    client.get_data("/data", true).await.unwrap();
    client.exists("/later", true).await.unwrap();
    client
        .add_watch("/data", AddWatchMode::Persistent)
        .await
        .unwrap();
    client.get_children("/", true).await.unwrap();
    let session = client.session_id();

    switch.send(false).unwrap();
    assert_eq!(
        events.recv().await,
        Some(ZkEvent::Session(SessionState::Disconnected))
    );
    assert_eq!(
        client.get_data("/data", false).await,
        Err(ZkError::ConnectionLoss)
    );
    other
        .create(&format!("{top}/later"), None, &open, CreateMode::Persistent)
        .await
        .unwrap();
    switch.send(true).unwrap();
    assert_eq!(
        events.recv().await,
        Some(ZkEvent::Session(SessionState::Connected))
    );
    assert_eq!(client.session_id(), session);
    let mut seen = vec![events.recv().await, events.recv().await];
    seen.sort_by_key(|event| format!("{event:?}"));
    let expected = [
        node(EventType::NodeChildrenChanged, "/"),
        node(EventType::NodeCreated, "/later"),
    ];
    assert_eq!(seen, expected);
    other
        .set_data(&format!("{top}/data"), None, -1)
        .await
        .unwrap();
    // One event for two watches: the server tells a connection once.
    assert_eq!(
        events.recv().await,
        node(EventType::NodeDataChanged, "/data")
    );
    assert!(client.exists("/mine", false).await.unwrap().is_some());
}

#[tokio::test]
async fn only_the_server_ends_a_session() {
    let Some(server) = server() else { return };
    let (address, switch) = proxy(server.clone()).await;
    let (client, mut events) = connect(&address).await;
    // The session is taken over and closed by another client.
    let mut config = ZkClientConfig::new(server, TIMEOUT);
    config.resume = Some((client.session_id(), client.session_password()));
    switch.send(false).unwrap();
    assert_eq!(
        events.recv().await,
        Some(ZkEvent::Session(SessionState::Disconnected))
    );
    let (heir, _heir_events) = ZkClient::start(config).unwrap();
    heir.wait_connected(TIMEOUT).await.unwrap();
    assert_eq!(heir.session_id(), client.session_id());
    heir.close().await;
    switch.send(true).unwrap();
    assert_eq!(
        events.recv().await,
        Some(ZkEvent::Session(SessionState::Expired))
    );
    assert_eq!(client.sync("/").await, Err(ZkError::SessionExpired));
    assert_eq!(
        client.wait_connected(TIMEOUT).await,
        Err(ZkError::SessionExpired)
    );
}

#[tokio::test]
async fn a_refused_authentication_is_final() {
    let Some(server) = server() else { return };
    let (client, mut events) = connect(&server).await;
    let asked = client.add_auth("nonsense", Bytes::from_static(b"x")).await;
    assert_eq!(asked, Err(ZkError::AuthFailed));
    assert_eq!(
        events.recv().await,
        Some(ZkEvent::Session(SessionState::AuthFailed))
    );
    assert_eq!(client.sync("/").await, Err(ZkError::AuthFailed));
}

#[tokio::test]
async fn a_session_nobody_uses_is_kept_alive_and_an_abandoned_one_is_not_closed() {
    let Some(server) = server() else { return };
    let mut config = ZkClientConfig::new(server.clone(), Duration::from_secs(1));
    let (client, mut events) = ZkClient::start(config.clone()).unwrap();
    client.wait_connected(TIMEOUT).await.unwrap();
    let top = playground(&client, "idle").await;
    let path = format!("{top}/mine");
    client
        .create(&path, None, &Acl::open(), CreateMode::Ephemeral)
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(client.exists(&path, false).await.unwrap().is_some());
    assert_eq!(
        events.recv().await,
        Some(ZkEvent::Session(SessionState::Connected))
    );
    assert!(events.try_recv().is_err());
    client.abandon().await;
    config.resume = Some((client.session_id(), client.session_password()));
    let (again, _events) = ZkClient::start(config).unwrap();
    assert!(
        Arc::new(again)
            .exists(&path, false)
            .await
            .unwrap()
            .is_some()
    );
}
