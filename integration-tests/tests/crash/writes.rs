//! Shell: many clients write while the server is killed again and again; whoever checks knows what each write was
//! answered, and so what must be there, what may be there, and what must not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use common::zk::client::client::{ZkClient, ZkClientConfig};
use common::zk::client::error::ZkError;
use common::zk::code::ErrorCode;
use common::zk::data::Acl;
use common::zk::multi::MultiOp;
use common::zk::request::{CheckVersionRequest, CreateMode, SetDataRequest};
use integration_tests::process;
use integration_tests::stack::{Maker, ZooKeeper};
use integration_tests::workspace;
use tokio::task::JoinSet;

const LIMIT: Duration = Duration::from_secs(60);
const SESSION: Duration = Duration::from_secs(30);
/// The shortest that the server grants with its tick.
const SHORT_SESSION: Duration = Duration::from_secs(4);
/// How long a session may take to begin before the server is held for dead.
const PATIENCE: Duration = Duration::from_secs(1);
const CLIENTS: usize = 4;
const LANES: usize = 16;

/// What is known of a znode.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Absent,
    There {
        version: i32,
        tag: String,
        owner: i64,
    },
}

/// One client's writes to one znode, one after the other; other lanes go on meanwhile.
#[derive(Debug)]
struct Lane {
    path: String,
    /// As it was acknowledged last.
    known: State,
    /// What it may be instead: a write whose answer was lost.
    maybe: Option<State>,
    /// Sequential znodes by name, with what they hold.
    made: Vec<(String, String)>,
    /// What sequential znodes hold that may have been made.
    unsure: BTreeSet<String>,
    random: u64,
    step: u64,
}

impl Lane {
    fn new(client: usize, lane: usize) -> Self {
        Self {
            path: format!("/w{client}/{lane}"),
            known: State::Absent,
            maybe: None,
            made: Vec::new(),
            unsure: BTreeSet::new(),
            random: 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul((client * LANES + lane + 1) as u64),
            step: 0,
        }
    }

    fn draw(&mut self, choices: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % choices
    }

    fn tag(&mut self) -> String {
        self.step += 1;
        format!(
            "{}#{}{}",
            self.path,
            self.step,
            "x".repeat(self.step as usize % 90)
        )
    }

    /// Writes until the connection is lost.
    async fn run(mut self, client: ZkClient) -> Result<Self> {
        while self.write(&client).await? {}
        Ok(self)
    }

    /// One write; false if its answer never came.
    async fn write(&mut self, client: &ZkClient) -> Result<bool> {
        if self.draw(4) == 0 {
            return self.make_sequential(client).await;
        }
        let tag = self.tag();
        let (next, done) = match self.known.clone() {
            State::Absent => {
                let ephemeral = self.draw(3) == 0;
                let (mode, owner) = match ephemeral {
                    true => (CreateMode::Ephemeral, client.session_id()),
                    false => (CreateMode::Persistent, 0),
                };
                let data = Some(Bytes::from(tag.clone()));
                let create = client.create(&self.path, data, &Acl::open(), mode);
                let next = State::There {
                    version: 0,
                    tag,
                    owner,
                };
                (next, create.await.map(drop))
            }
            State::There { version, .. } if self.draw(3) == 0 => {
                (State::Absent, client.delete(&self.path, version).await)
            }
            State::There { version, owner, .. } => {
                let done = self.set(client, version, tag.clone()).await;
                (
                    State::There {
                        version: version + 1,
                        tag,
                        owner,
                    },
                    done,
                )
            }
        };
        match done {
            Ok(()) => self.known = next,
            Err(ZkError::ConnectionLoss) => self.maybe = Some(next),
            // Nobody else writes there: any other answer is wrong.
            Err(error) => bail!("{}, known as {:?}: {error}", self.path, self.known),
        }
        Ok(self.maybe.is_none())
    }

    async fn set(&mut self, client: &ZkClient, version: i32, tag: String) -> Result<(), ZkError> {
        let data = Some(Bytes::from(tag));
        if self.draw(2) == 0 {
            return client.set_data(&self.path, data, version).await.map(drop);
        }
        let path = self.path.as_str();
        let check = CheckVersionRequest {
            path: path.into(),
            version,
        };
        let set = SetDataRequest {
            path: path.into(),
            data,
            version,
        };
        let both = vec![MultiOp::Check(check), MultiOp::SetData(set)];
        client.multi(both).await.map(drop).map_err(|e| e.error)
    }

    async fn make_sequential(&mut self, client: &ZkClient) -> Result<bool> {
        let tag = self.tag();
        let (data, mode) = (
            Some(Bytes::from(tag.clone())),
            CreateMode::PersistentSequential,
        );
        match client.create("/seq/n-", data, &Acl::open(), mode).await {
            Ok(name) => {
                self.made.push((name, tag));
                Ok(true)
            }
            Err(ZkError::ConnectionLoss) => {
                self.unsure.insert(tag);
                Ok(false)
            }
            Err(error) => bail!("sequential: {error}"),
        }
    }

    /// The znode must be what was acknowledged, or what was under way; from now on it is known.
    async fn check(&mut self, client: &ZkClient) -> Result<()> {
        let found = match client.get_data(&self.path, false).await {
            Ok((data, stat)) => State::There {
                version: stat.version,
                tag: String::from_utf8_lossy(&data.unwrap_or_default()).into_owned(),
                owner: stat.ephemeral_owner,
            },
            Err(error) if error.is(ErrorCode::NoNode) => State::Absent,
            Err(error) => return Err(error.into()),
        };
        let maybe = self.maybe.take();
        ensure!(
            found == self.known || Some(&found) == maybe.as_ref(),
            "{} is {found:?}; acknowledged was {:?}, under way {maybe:?}",
            self.path,
            self.known
        );
        self.known = found;
        Ok(())
    }
}

/// Sessions that come, make ephemeral znodes and go; the paths of those whose end was acknowledged.
async fn come_and_go(connect: String, round: u32) -> Result<Vec<String>> {
    let mut gone = Vec::new();
    for number in 0.. {
        let config = ZkClientConfig::new(&connect, SHORT_SESSION);
        let (client, _events) = ZkClient::start(config)?;
        if client.wait_connected(PATIENCE).await.is_err() {
            break;
        }
        let mut paths = Vec::new();
        for of in ["a", "b", "c"] {
            let path = format!("/eph/{round}-{number}-{of}");
            let mode = CreateMode::Ephemeral;
            let created = client.create(&path, None, &Acl::open(), mode).await;
            if created.is_ok() {
                paths.push(path);
            }
        }
        if paths.len() < 3 {
            client.abandon().await;
            break;
        }
        // Closing waits for the answer of the server, or for the end of the connection.
        let answered = tokio::time::timeout(SHORT_SESSION, client.delete("/eph/none", -1)).await;
        client.close().await;
        if matches!(answered, Ok(Err(error)) if error.is(ErrorCode::NoNode)) {
            gone.extend(paths);
        }
    }
    // The last close may have met a dead server.
    gone.truncate(gone.len().saturating_sub(3));
    Ok(gone)
}

struct Checker {
    clients: Vec<ZkClient>,
    lanes: Vec<Lane>,
    gone: Vec<String>,
}

impl Checker {
    async fn start(server: &ZooKeeper) -> Result<Self> {
        let mut clients = Vec::new();
        let mut lanes = Vec::new();
        for number in 0..CLIENTS {
            let (client, _events) =
                ZkClient::start(ZkClientConfig::new(server.connect(), SESSION))?;
            client.wait_connected(LIMIT).await?;
            let (open, stays) = (Acl::open(), CreateMode::Persistent);
            client
                .create(&format!("/w{number}"), None, &open, stays)
                .await?;
            if number == 0 {
                client.create("/seq", None, &open, stays).await?;
                client.create("/eph", None, &open, stays).await?;
            }
            lanes.extend((0..LANES).map(|lane| Lane::new(number, lane)));
            clients.push(client);
        }
        Ok(Self {
            clients,
            lanes,
            gone: Vec::new(),
        })
    }

    /// Writes for a time, then kills the server in the middle of it.
    async fn write_and_kill(&mut self, server: &mut ZooKeeper, round: u32) -> Result<()> {
        let mut running = JoinSet::new();
        for (number, lane) in self.lanes.drain(..).enumerate() {
            running.spawn(lane.run(self.clients[number / LANES].clone()));
        }
        let passing = tokio::spawn(come_and_go(server.connect(), round));
        tokio::time::sleep(Duration::from_millis(crate::random_delay_ms(round, 1200))).await;
        server.kill()?;
        while let Some(lane) = running.join_next().await {
            self.lanes.push(lane??);
        }
        self.lanes.sort_by_key(|lane| client_and_lane(&lane.path));
        self.gone.extend(passing.await??);
        Ok(())
    }

    async fn check(&mut self) -> Result<()> {
        for client in &self.clients {
            // The same sessions go on.
            client
                .wait_connected(LIMIT)
                .await
                .context("a session is lost")?;
        }
        for (number, lane) in self.lanes.iter_mut().enumerate() {
            lane.check(&self.clients[number / LANES]).await?;
        }
        let client = &self.clients[0];
        self.check_sequential(client).await?;
        let (left, _) = client.get_children("/eph", false).await?;
        let left: BTreeSet<String> = left.iter().map(|name| format!("/eph/{name}")).collect();
        let back: Vec<&String> = self
            .gone
            .iter()
            .filter(|path| left.contains(*path))
            .collect();
        ensure!(
            back.is_empty(),
            "ephemeral znodes of closed sessions are there: {back:?}"
        );
        for (number, client) in self.clients.iter().enumerate() {
            let (names, _) = client.get_children(&format!("/w{number}"), false).await?;
            let there = |lane: &&Lane| lane.known != State::Absent;
            let lanes = &self.lanes[number * LANES..(number + 1) * LANES];
            ensure!(
                names.len() == lanes.iter().filter(there).count(),
                "strange znodes: {names:?}"
            );
        }
        Ok(())
    }

    async fn check_sequential(&self, client: &ZkClient) -> Result<()> {
        let (names, _) = client.get_children("/seq", false).await?;
        let asked: Vec<_> = names
            .iter()
            .map(|name| format!("/seq/{name}"))
            .map(|path| (client.get_data(&path, false), path))
            .collect();
        let mut found = BTreeMap::new();
        for (answer, path) in asked {
            let (data, _) = answer.await?;
            let tag = String::from_utf8_lossy(&data.unwrap_or_default()).into_owned();
            let twice = found.insert(tag, path);
            ensure!(twice.is_none(), "one create made two znodes: {twice:?}");
        }
        for lane in &self.lanes {
            for (name, tag) in &lane.made {
                let at = found.remove(tag);
                ensure!(
                    at.as_ref() == Some(name),
                    "{name} is lost: {tag} is at {at:?}"
                );
            }
            for tag in &lane.unsure {
                found.remove(tag);
            }
        }
        ensure!(found.is_empty(), "nobody made these: {found:?}");
        Ok(())
    }

    fn acknowledged(&self) -> usize {
        self.lanes.iter().map(|lane| lane.step as usize).sum()
    }
}

fn client_and_lane(path: &str) -> (usize, usize) {
    let (client, lane) = path[2..].split_once('/').unwrap_or_default();
    (client.parse().unwrap_or(0), lane.parse().unwrap_or(0))
}

/// Nothing is wrong with the files, whenever the server was killed.
fn verified(server: &ZooKeeper) -> Result<()> {
    let directory = server.data_directory().display().to_string();
    let told = process::run(
        workspace::binary("zk-server")?,
        &["verify", &directory],
        "",
        LIMIT,
    )?;
    ensure!(told.code == 0, "{}{}", told.stdout, told.stderr);
    Ok(())
}

async fn kill_in_a_loop(settings: &str) -> Result<()> {
    let mut server = ZooKeeper::start_with(Maker::Ours, settings)?;
    let mut checker = Checker::start(&server).await?;
    for round in 1..=crate::rounds() {
        checker.write_and_kill(&mut server, round).await?;
        verified(&server)?;
        server.start_again()?;
        let writes = checker.acknowledged();
        let place = || format!("after kill {round} and {writes} writes");
        checker.check().await.with_context(place)?;
    }
    println!("{} writes", checker.acknowledged());
    // Apache's server finds the same in what ours leaves behind.
    checker.write_and_kill(&mut server, 0).await?;
    server.hand_over_to(Maker::Apache);
    server.start_again()?;
    checker.check().await.context("on Apache's server")?;
    no_ephemeral_stays(&checker).await
}

/// When every client has closed its session, or let it expire, none of their ephemeral znodes is left.
async fn no_ephemeral_stays(checker: &Checker) -> Result<()> {
    let (last, others) = checker.clients.split_last().context("no clients")?;
    let mut owners = BTreeSet::new();
    for client in others {
        owners.insert(client.session_id());
        client.close().await;
    }
    for lane in &checker.lanes {
        if let State::There { owner, .. } = &lane.known
            && owners.contains(owner)
        {
            let there = last.exists(&lane.path, false).await?;
            ensure!(there.is_none(), "{} outlives its session", lane.path);
        }
    }
    let deadline = Instant::now() + LIMIT;
    loop {
        let (left, _) = last.get_children("/eph", false).await?;
        if left.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "ephemeral znodes stay: {left:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn block_on(work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

#[test]
fn every_acknowledged_write_survives_sigkill_and_none_comes_twice() -> Result<()> {
    // Snapshots are being written nearly all the time.
    block_on(kill_in_a_loop("snapCount=300\npreAllocSize=256"))
}

#[test]
fn the_same_with_compressed_snapshots_and_small_logs() -> Result<()> {
    let settings = "snapCount=500\npreAllocSize=16\ntxnLogSizeLimitInKb=64\nsnapshot.compression.method=snappy";
    block_on(kill_in_a_loop(settings))
}
