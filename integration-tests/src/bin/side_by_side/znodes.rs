//! Shell: reads and writes of znodes, pipelined over several sessions, with the CPU time the server took.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use common::zk::client::client::{ZkClient, ZkClientConfig};
use common::zk::client::error::ZkError;
use common::zk::data::Acl;
use common::zk::request::CreateMode;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::servers::Pair;

const SESSIONS: usize = 4;
/// Requests on their way in each session.
const DEPTH: usize = 64;
const NODES: u64 = 1000;
const DATA: &[u8] = &[b'x'; 100];
const ROOT: &str = "/bench";
/// How long one pass may take.
const LIMIT: Duration = Duration::from_secs(120);

/// What a pass does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Reads 100 bytes of one of a thousand nodes.
    GetData,
    /// Writes 100 bytes to one of a thousand nodes.
    SetData,
    /// Creates a persistent node with 100 bytes.
    Create,
}

impl Operation {
    /// As ZooKeeper's API calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::GetData => "getData",
            Self::SetData => "setData",
            Self::Create => "create",
        }
    }
}

/// What one pass showed.
#[derive(Debug, Clone, Copy)]
pub struct Pass {
    /// Operations that were answered, per second.
    pub per_second: f64,
    /// User and system time of the server per 100,000 operations.
    pub cpu_seconds_per_100k: f64,
}

/// Makes the nodes that passes read and set.
///
/// # Errors
/// When the server refuses.
pub async fn prepare(pair: &Pair) -> Result<()> {
    let client = connect(pair).await?;
    create(&client, ROOT).await?;
    for number in 0..NODES {
        create(&client, &node(number)).await?;
    }
    client.close().await;
    Ok(())
}

/// Does `count` operations over several sessions.
///
/// # Errors
/// When one fails or all take longer than two minutes.
pub async fn load(pair: &Pair, operation: Operation, pass: usize, count: u64) -> Result<Pass> {
    let mut clients = Vec::new();
    for _ in 0..SESSIONS {
        clients.push(connect(pair).await?);
    }
    // Nodes that are created go below a parent of their own, as the tree of a real cluster would have it.
    let parent = format!("{ROOT}/pass-{pass}");
    if operation == Operation::Create {
        create(&clients[0], &parent).await?;
    }
    let work = Arc::new(Work {
        operation,
        parent,
        nodes: (0..NODES).map(node).collect(),
        count,
        next: AtomicU64::new(0),
    });
    let cpu_before = pair.zookeeper_cpu_seconds()?;
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for client in clients.iter().cycle().take(SESSIONS * DEPTH) {
        tasks.spawn(Arc::clone(&work).run(client.clone()));
    }
    let all = async {
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        anyhow::Ok(())
    };
    let ended = timeout(LIMIT, all).await;
    ended.with_context(|| format!("{count} {} take too long", operation.name()))??;
    let elapsed = begun.elapsed().as_secs_f64();
    let cpu_seconds = pair.zookeeper_cpu_seconds()? - cpu_before;
    for client in &clients {
        client.close().await;
    }
    Ok(Pass {
        per_second: count as f64 / elapsed,
        cpu_seconds_per_100k: cpu_seconds / count as f64 * 1e5,
    })
}

/// What the tasks of a pass share.
struct Work {
    operation: Operation,
    parent: String,
    nodes: Vec<String>,
    count: u64,
    next: AtomicU64,
}

impl Work {
    /// Does one operation after the other until all are done.
    async fn run(self: Arc<Self>, client: ZkClient) -> Result<()> {
        let data = || Some(Bytes::from_static(DATA));
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.count {
                return Ok(());
            }
            let path = &self.nodes[(number % NODES) as usize];
            match self.operation {
                Operation::GetData => {
                    let (found, _) = client.get_data(path, false).await?;
                    ensure!(found.as_deref() == Some(DATA), "{path} holds {found:?}");
                }
                Operation::SetData => drop(client.set_data(path, data(), -1).await?),
                Operation::Create => create(&client, &format!("{}/{number}", self.parent)).await?,
            }
        }
    }
}

async fn connect(pair: &Pair) -> Result<ZkClient> {
    let address = pair.zookeeper_address().to_string();
    let config = ZkClientConfig::new(address, Duration::from_secs(30));
    // The events go nowhere; nothing is watched.
    let (client, _) = ZkClient::start(config)?;
    client.wait_connected(Duration::from_secs(30)).await?;
    Ok(client)
}

async fn create(client: &ZkClient, path: &str) -> Result<(), ZkError> {
    let data = Some(Bytes::from_static(DATA));
    let created = client.create(path, data, &Acl::open(), CreateMode::Persistent);
    created.await.map(drop)
}

fn node(number: u64) -> String {
    format!("{ROOT}/node-{number}")
}
