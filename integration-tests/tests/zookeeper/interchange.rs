//! Shell: data directories that go back and forth between every version of Apache's server and ours: same tree,
//! same sessions, through the servers' answers and through what their snapshots hold.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use common::zk::client::client::{ZkClient, ZkClientConfig};
use common::zk::code::ErrorCode;
use common::zk::data::{Acl, Id, Stat};
use common::zk::multi::MultiOp;
use common::zk::request::{
    CheckVersionRequest, CreateMode, CreateRequest, DeleteRequest, SetDataRequest,
};
use integration_tests::process::{self, Finished};
use integration_tests::stack::{Maker, ZooKeeper};
use integration_tests::workspace;
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(60);
/// Longer than any test, so that sessions without a client stay.
const SESSION: Duration = Duration::from_secs(600);

/// Snapshots and logs follow each other quickly.
const SETTINGS: &str =
    "extendedTypesEnabled=true\nsnapCount=60\npreAllocSize=64\nmaxSessionTimeout=600000";

/// What clients see of a znode.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    data: Option<Bytes>,
    acl: Vec<Acl>,
    stat: Stat,
}

type Tree = BTreeMap<String, Seen>;

fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

async fn connect(server: &ZooKeeper) -> Result<ZkClient> {
    join(ZkClientConfig::new(server.connect(), SESSION)).await
}

async fn join(config: ZkClientConfig) -> Result<ZkClient> {
    let (client, _events) = ZkClient::start(config)?;
    client.wait_connected(LIMIT).await?;
    let secret = Bytes::from_static(b"user:secret");
    client.add_auth("digest", secret).await?;
    Ok(client)
}

fn data(bytes: &[u8]) -> Option<Bytes> {
    Some(Bytes::copy_from_slice(bytes))
}

/// Writes of every kind below `/<name>`; the session that is left with ephemeral znodes.
async fn write(server: &ZooKeeper, name: &str, extended: bool) -> Result<(i64, Bytes)> {
    let client = connect(server).await?;
    let open = &Acl::open();
    let top = &format!("/{name}");
    let at = |path: &str| format!("{top}/{path}");
    let stays = CreateMode::Persistent;
    client.create(top, data(b"top"), open, stays).await?;
    client.create(&at("null"), None, open, stays).await?;
    client.create(&at("empty"), data(b""), open, stays).await?;
    client
        .create(&at("ångström 中"), data(&[0, 255, 7]), open, stays)
        .await?;
    client
        .create(&at("large"), data(&[b'x'; 20_000]), open, stays)
        .await?;
    for _ in 0..40 {
        let sequential = CreateMode::PersistentSequential;
        client
            .create(&at("s-"), data(b"s"), open, sequential)
            .await?;
    }
    client.delete(&at("s-0000000004"), -1).await.ok();
    let (children, _) = client.get_children(top, false).await?;
    for child in children.iter().filter(|child| child.ends_with('7')) {
        client.delete(&at(child), -1).await?;
    }
    access(&client, top).await?;
    quota(&client, top).await?;
    together(&client, top).await?;
    if extended {
        client
            .create(&at("box"), None, open, CreateMode::Container)
            .await?;
        client
            .create(&at("box/in"), data(b"1"), open, stays)
            .await?;
        let ttl = CreateMode::PersistentWithTtl;
        client
            .create_ttl(&at("ttl"), data(b"t"), open, ttl, 3_600_000)
            .await?;
    }
    // A session that ends, and takes a znode along.
    let other = connect(server).await?;
    other
        .create(&at("gone"), None, open, CreateMode::Ephemeral)
        .await?;
    other.close().await;
    let left = connect(server).await?;
    left.create(&at("here"), data(b"e"), open, CreateMode::Ephemeral)
        .await?;
    left.create(&at("here-"), None, open, CreateMode::EphemeralSequential)
        .await?;
    let session = (left.session_id(), left.session_password());
    left.abandon().await;
    for round in 0..60 {
        client
            .set_data(top, data(format!("{round}").as_bytes()), -1)
            .await?;
    }
    client.abandon().await;
    Ok(session)
}

async fn access(client: &ZkClient, top: &str) -> Result<()> {
    let own = format!("{top}/own");
    let mine = [Acl::new(31, Id::new("auth", ""))];
    client
        .create(&own, data(b"mine"), &mine, CreateMode::Persistent)
        .await?;
    let shared = format!("{top}/shared");
    client
        .create(&shared, None, &Acl::open(), CreateMode::Persistent)
        .await?;
    let several = [
        Acl::new(31, Id::new("auth", "")),
        Acl::new(1, Id::anyone()),
        Acl::new(3, Id::new("ip", "10.1.2.3")),
    ];
    client.set_acl(&shared, &several, 0).await?;
    Ok(())
}

async fn quota(client: &ZkClient, top: &str) -> Result<()> {
    let place = format!("/zookeeper/quota{top}");
    let (open, stays) = (Acl::open(), CreateMode::Persistent);
    client.create(&place, data(b""), &open, stays).await?;
    let limits = data(b"count=1000,bytes=-1");
    client
        .create(&format!("{place}/zookeeper_limits"), limits, &open, stays)
        .await?;
    let stats = data(b"count=0,bytes=0");
    client
        .create(&format!("{place}/zookeeper_stats"), stats, &open, stays)
        .await?;
    client
        .create(&format!("{top}/counted"), data(b"12345"), &open, stays)
        .await?;
    Ok(())
}

async fn together(client: &ZkClient, top: &str) -> Result<()> {
    let create = |name: &str| CreateRequest {
        path: format!("{top}/{name}").into(),
        data: data(name.as_bytes()),
        acl: Acl::open(),
        flags: 0,
    };
    let check = |version| CheckVersionRequest {
        path: top.into(),
        version,
    };
    let set = SetDataRequest {
        path: format!("{top}/m1").into(),
        data: data(b"set"),
        version: 0,
    };
    let delete = DeleteRequest {
        path: format!("{top}/m2").into(),
        version: 0,
    };
    let good = vec![
        MultiOp::Check(check(0)),
        MultiOp::Create(create("m1")),
        MultiOp::Create(create("m2")),
        MultiOp::SetData(set),
        MultiOp::Delete(delete),
    ];
    client.multi(good).await.map_err(|e| e.error)?;
    let bad = vec![MultiOp::Create(create("m3")), MultiOp::Check(check(77))];
    let failed = client
        .multi(bad)
        .await
        .err()
        .context("the multi must fail")?;
    ensure!(failed.error.is(ErrorCode::BadVersion), "{:?}", failed.error);
    Ok(())
}

/// All znodes as a client finds them. What a server counts itself below `/zookeeper` is left out.
async fn tree(server: &ZooKeeper) -> Result<Tree> {
    let client = connect(server).await?;
    let mut seen = Tree::new();
    let mut open = vec!["/".to_owned()];
    while let Some(path) = open.pop() {
        let (names, _) = client.get_children(&path, false).await?;
        let below = if path == "/" { "" } else { &path };
        open.extend(names.iter().map(|name| format!("{below}/{name}")));
        let (data, stat) = client.get_data(&path, false).await?;
        let (acl, _) = client.get_acl(&path).await?;
        if path != "/zookeeper/config" && !path.ends_with("/zookeeper_stats") {
            seen.insert(path, Seen { data, acl, stat });
        }
    }
    client.close().await;
    Ok(seen)
}

fn same(before: &Tree, after: &Tree) -> Result<()> {
    for (path, seen) in before {
        let now = after.get(path).with_context(|| format!("{path} is gone"))?;
        // Up to 3.4 there was no /zookeeper/config.
        ensure!(
            path == "/zookeeper" || now == seen,
            "{path}: {seen:?} became {now:?}"
        );
    }
    let new: Vec<&String> = after
        .keys()
        .filter(|path| !before.contains_key(*path))
        .collect();
    ensure!(new.is_empty(), "new znodes: {new:?}");
    Ok(())
}

/// Neither server has found that the tree is not what was logged.
fn digests_hold(server: &mut ZooKeeper) -> Result<()> {
    let process = server.process()?;
    let told = process.stdout() + &process.stderr();
    let complaint = told.lines().find(|line| line.contains("mismatch"));
    ensure!(complaint.is_none(), "{complaint:?}");
    Ok(())
}

/// The sessions of both rounds can still be joined with their passwords, and own what they did.
async fn sessions_live(server: &ZooKeeper, sessions: &[(i64, Bytes)]) -> Result<()> {
    for session in sessions {
        let config = ZkClientConfig {
            resume: Some(session.clone()),
            ..ZkClientConfig::new(server.connect(), SESSION)
        };
        let client = join(config).await.context("a session is lost")?;
        ensure!(client.session_id() == session.0, "another session");
        client.abandon().await;
    }
    Ok(())
}

fn offline(words: &[&str]) -> Result<Finished> {
    process::run(workspace::binary("zk-server")?, words, "", LIMIT)
}

fn verify(server: &ZooKeeper) -> Result<()> {
    let directory = server.data_directory();
    let told = offline(&["verify", &directory.display().to_string()])?;
    ensure!(told.code == 0, "{}{}", told.stdout, told.stderr);
    Ok(())
}

/// What the newest snapshot holds, as our tool prints it: znodes by path, with ACLs instead of their numbers.
fn stored(server: &ZooKeeper) -> Result<BTreeMap<String, Value>> {
    let path = server.newest("snapshot")?;
    let told = offline(&["dump-snapshot", &path.display().to_string(), "--json"])?;
    ensure!(told.code == 0, "{}", told.stderr);
    let document: Value = serde_json::from_str(&told.stdout)?;
    let list = |key: &str| document[key].as_array().cloned().unwrap_or_default();
    let acls: BTreeMap<i64, Value> = list("acls")
        .iter()
        .map(|entry| (entry["number"].as_i64().unwrap_or(0), entry["acl"].clone()))
        .collect();
    let mut znodes = BTreeMap::new();
    for mut znode in list("znodes") {
        let path = znode["path"].as_str().unwrap_or_default().to_owned();
        znode["acl"] = znode["acl"]
            .as_i64()
            .and_then(|number| acls.get(&number).cloned())
            .unwrap_or(Value::Null);
        if !path.starts_with("/zookeeper") {
            znodes.insert(path, znode);
        }
    }
    Ok(znodes)
}

/// Apache's server writes, ours goes on, Apache's again, and ours; each is killed in the middle of its work.
fn goes_back_and_forth(version: &'static str, extra: &str) -> Result<()> {
    let other = Some(version).filter(|version| *version != "3.8.4");
    let extended = version != "3.4.14";
    let settings = format!("{SETTINGS}\n{extra}");
    let mut server = ZooKeeper::start_version(Maker::Apache, other, &settings)?;
    let mut sessions = vec![block_on(write(&server, "first", extended))?];
    let before = block_on(tree(&server))?;
    server.kill()?;
    verify(&server).context("what Apache's server left")?;

    server.hand_over_to(Maker::Ours);
    server.start_again()?;
    same(&before, &block_on(tree(&server))?).context("on ours")?;
    digests_hold(&mut server)?;
    block_on(sessions_live(&server, &sessions))?;
    sessions.push(block_on(write(&server, "second", extended))?);
    let before = block_on(tree(&server))?;
    server.kill()?;
    verify(&server).context("what our server left")?;

    server.hand_over_to(Maker::Apache);
    server.start_again()?;
    same(&before, &block_on(tree(&server))?).context("back on Apache's")?;
    digests_hold(&mut server)?;
    block_on(sessions_live(&server, &sessions))?;
    server.stop()?;
    let theirs = stored(&server)?;

    server.hand_over_to(Maker::Ours);
    server.start_again()?;
    same(&before, &block_on(tree(&server))?).context("on ours again")?;
    digests_hold(&mut server)?;
    block_on(sessions_live(&server, &sessions))?;
    server.stop()?;
    if version == "3.4.14" {
        // It writes no snapshot when it starts.
        return Ok(());
    }
    let ours = stored(&server)?;
    let own = |path: &&String| !path.starts_with("/zookeeper");
    ensure!(theirs.len() == before.keys().filter(own).count());
    for (path, znode) in &theirs {
        let now = ours.get(path);
        ensure!(now == Some(znode), "{path}: {znode} became {now:?}");
    }
    ensure!(ours.len() == theirs.len(), "znodes were added");
    Ok(())
}

#[test]
fn a_directory_goes_between_3_4_and_ours() -> Result<()> {
    goes_back_and_forth("3.4.14", "")
}

#[test]
fn a_directory_goes_between_3_5_and_ours() -> Result<()> {
    goes_back_and_forth("3.5.10", "")
}

#[test]
fn a_directory_goes_between_3_6_and_ours() -> Result<()> {
    goes_back_and_forth("3.6.4", "snapshot.compression.method=gz")
}

#[test]
fn a_directory_goes_between_3_7_and_ours() -> Result<()> {
    goes_back_and_forth("3.7.2", "snapshot.compression.method=snappy")
}

#[test]
fn a_directory_goes_between_3_8_and_ours() -> Result<()> {
    goes_back_and_forth("3.8.4", "")
}

#[test]
fn a_directory_goes_between_3_9_and_ours() -> Result<()> {
    goes_back_and_forth("3.9.4", "")
}
