//! Shell: setquota, listquota and delquota: nodes below `/zookeeper/quota`
//! (`SetQuotaCommand.java`, `DelQuotaCommand.java`, `Quotas.java`, `StatsTrack.java`).

use std::collections::BTreeMap;

use bytes::Bytes;
use common::zk::client::error::ZkError;
use common::zk::code::ErrorCode;
use common::zk::data::Acl;
use common::zk::path;
use common::zk::request::CreateMode;

use crate::zookeeper::session::{Failure, Session};
use crate::zookeeper::text::java_split;

const PROC: &str = "/zookeeper";
const ROOT: &str = "/zookeeper/quota";
const LIMITS: &str = "zookeeper_limits";
const STATS: &str = "zookeeper_stats";

/// The four limits, or the two counts of what is used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatsTrack {
    values: BTreeMap<String, i64>,
}

impl StatsTrack {
    /// Reads `count=N,bytes=N=;byteHardLimit=N;countHardLimit=N`, in which the odd `=;` keeps
    /// older readers away from the rest.
    fn parse(text: &str) -> Result<Self, Failure> {
        let mut values = BTreeMap::new();
        for pair in text.split([',', ';']).filter(|pair| !pair.is_empty()) {
            let mut parts = pair.split('=');
            let (key, value) = (parts.next().unwrap_or_default(), parts.next());
            let number = match value {
                None => {
                    return Err(Failure::Uncaught(
                        "java.lang.ArrayIndexOutOfBoundsException: Index 1 out of bounds for \
                         length 1"
                            .to_owned(),
                    ));
                }
                Some("") => -1,
                Some(value) => value.parse().map_err(|_| {
                    // The original's NumberFormatException is an IllegalArgumentException, and
                    // is reported like one.
                    Failure::new(format!("For input string: \"{value}\""))
                })?,
            };
            values.insert(key.to_owned(), number);
        }
        Ok(Self { values })
    }

    /// The value, -1 if there is none.
    pub fn get(&self, key: &str) -> i64 {
        self.values.get(key).copied().unwrap_or(-1)
    }

    /// Sets a value.
    pub fn set(&mut self, key: &str, value: i64) {
        self.values.insert(key.to_owned(), value);
    }
}

impl std::fmt::Display for StatsTrack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "count={},bytes={}", self.get("count"), self.get("bytes"))?;
        let rest: Vec<_> = self
            .values
            .iter()
            .filter(|(key, _)| !matches!(key.as_str(), "count" | "bytes"))
            .collect();
        if !rest.is_empty() {
            f.write_str("=")?;
        }
        for (key, value) in rest {
            write!(f, ";{key}={value}")?;
        }
        Ok(())
    }
}

/// The node with the limits of `path`.
pub fn limit_path(path: &str) -> String {
    format!("{ROOT}{path}/{LIMITS}")
}

fn stat_path(path: &str) -> String {
    format!("{ROOT}{path}/{STATS}")
}

/// Whether `path` is among the nodes that keep the quotas.
pub fn is_quota_node(path: &str) -> bool {
    path.starts_with(ROOT)
}

fn failed(path: &str) -> impl Fn(ZkError) -> Failure {
    move |error| Failure::from_zk(&error, path)
}

async fn read(session: &mut Session, path: &str) -> Result<StatsTrack, ZkOrShell> {
    let read = session.client.get_data(path, false);
    let (data, _) = session.wait(read).await?;
    let text = String::from_utf8_lossy(&data.unwrap_or_default()).into_owned();
    StatsTrack::parse(&text).map_err(ZkOrShell::Shell)
}

/// Either kind of failure, while the missing node is still to be told apart.
enum ZkOrShell {
    Zk(ZkError),
    Shell(Failure),
}

impl From<ZkError> for ZkOrShell {
    fn from(error: ZkError) -> Self {
        Self::Zk(error)
    }
}

impl ZkOrShell {
    fn at(self, path: &str) -> Failure {
        match self {
            Self::Zk(error) => Failure::from_zk(&error, path),
            Self::Shell(failure) => failure,
        }
    }
}

/// Prints limits and use of a path.
pub async fn list(session: &mut Session, path: &str) -> Result<(), Failure> {
    let limits = limit_path(path);
    session.err(&format!("absolute path is {limits}"));
    let mut tracks = Vec::new();
    for node in [limits, stat_path(path)] {
        match read(session, &node).await {
            Ok(track) => tracks.push(track),
            Err(ZkOrShell::Zk(error)) if error.is(ErrorCode::NoNode) => {
                session.err(&format!("quota for {path} does not exist."));
                return Ok(());
            }
            Err(error) => return Err(error.at(&node)),
        }
    }
    session.out(&format!("Output quota for {path} {}", tracks[0]));
    session.out(&format!("Output stat for {path} {}", tracks[1]));
    Ok(())
}

/// Takes the named limits off a path, or all of them and the nodes that held them.
pub async fn delete(session: &mut Session, path: &str, keys: &[&str]) -> Result<(), Failure> {
    match try_delete(session, path, keys).await {
        Err(ZkOrShell::Zk(error)) if error.is(ErrorCode::NoNode) => {
            session.err(&format!("quota for {path} does not exist."));
            Ok(())
        }
        Err(error) => Err(error.at(&limit_path(path))),
        Ok(()) => Ok(()),
    }
}

async fn try_delete(session: &mut Session, path: &str, keys: &[&str]) -> Result<(), ZkOrShell> {
    let limits = limit_path(path);
    let exists = session.client.exists(&limits, false);
    if session.wait(exists).await?.is_none() {
        session.out(&format!("Quota does not exist for {path}"));
        return Ok(());
    }
    let mut track = read(session, &limits).await?;
    if !keys.is_empty() {
        for key in keys {
            track.set(key, -1);
        }
        let data = Some(Bytes::from(track.to_string()));
        let set = session.client.set_data(&limits, data, -1);
        session.wait(set).await?;
        return Ok(());
    }
    let mut node = format!("{ROOT}{path}");
    let list = session.client.get_children(&node, false);
    for child in session.wait(list).await?.0 {
        let delete = session.client.delete(&path::join(&node, &child), -1);
        session.wait(delete).await?;
    }
    // Upwards, as long as nothing else is there.
    while node != ROOT {
        let list = session.client.get_children(&node, false);
        if !session.wait(list).await?.0.is_empty() {
            break;
        }
        let delete = session.client.delete(&node, -1);
        session.wait(delete).await?;
        node.truncate(node.rfind('/').unwrap_or(0));
    }
    Ok(())
}

/// Puts limits on a path, in addition to those it has.
pub async fn set(session: &mut Session, path: &str, limits: &StatsTrack) -> Result<(), Failure> {
    let exists = session.client.exists(path, false);
    if session.wait(exists).await.map_err(failed(path))?.is_none() {
        return Err(Failure::new(format!("{path} does not exist.")));
    }
    check_below(session, path).await?;
    check_above(session, path).await?;
    let open = Acl::open();
    let mut node = String::new();
    let quota_path = format!("{ROOT}{path}");
    for part in java_split(&quota_path, '/').into_iter().skip(1) {
        node = format!("{node}/{part}");
        if node != PROC {
            ensure(session, &node).await?;
        }
    }
    let (limit_node, stat_node) = (format!("{node}/{LIMITS}"), format!("{node}/{STATS}"));
    let exists = session.client.exists(&limit_node, false);
    let found = session
        .wait(exists)
        .await
        .map_err(failed(&limit_node))?
        .is_some();
    if !found {
        let mut unused = StatsTrack::default();
        unused.set("count", 0);
        unused.set("bytes", 0);
        for (node, track) in [(&limit_node, limits), (&stat_node, &unused)] {
            let data = Some(Bytes::from(track.to_string()));
            let create = session
                .client
                .create(node, data, &open, CreateMode::Persistent);
            session.wait(create).await.map_err(failed(node))?;
        }
    }
    let mut all = read(session, &limit_node)
        .await
        .map_err(|error| error.at(&limit_node))?;
    if found {
        for (key, value) in limits.values.iter().filter(|(_, value)| **value > -1) {
            all.set(key, *value);
        }
    }
    let used = read(session, &stat_node)
        .await
        .map_err(|error| error.at(&stat_node))?;
    warn(session, &all, &used);
    if found {
        let data = Some(Bytes::from(all.to_string()));
        let set = session.client.set_data(&limit_node, data, -1);
        session.wait(set).await.map_err(failed(&limit_node))?;
    }
    Ok(())
}

async fn ensure(session: &mut Session, node: &str) -> Result<(), Failure> {
    let exists = session.client.exists(node, false);
    if session.wait(exists).await.map_err(failed(node))?.is_some() {
        return Ok(());
    }
    let create = session
        .client
        .create(node, None, &Acl::open(), CreateMode::Persistent);
    match session.wait(create).await {
        Err(error) if !error.is(ErrorCode::NodeExists) => Err(failed(node)(error)),
        _ => Ok(()),
    }
}

fn warn(session: &Session, limits: &StatsTrack, used: &StatsTrack) {
    for (key, hard_key) in [("count", "countHardLimit"), ("bytes", "byteHardLimit")] {
        let used = used.get(key);
        if [key, hard_key]
            .iter()
            .any(|key| (0..used).contains(&limits.get(key)))
        {
            session.out(&format!(
                "[Warning]: the {key} quota you create is less than the existing {key}:{used}"
            ));
        }
    }
}

/// A node below must not have a quota of its own.
async fn check_below(session: &mut Session, path: &str) -> Result<(), Failure> {
    let top = format!("{ROOT}{path}");
    let get = session.client.get_data(&top, false);
    match session.wait(get).await {
        Err(error) if error.is(ErrorCode::NoNode) => return Ok(()),
        Err(error) => return Err(failed(&top)(error)),
        Ok(_) => {}
    }
    let mut nodes = vec![top];
    while let Some(node) = nodes.pop() {
        let mut below: Vec<String> = children(session, &node).await?;
        below.sort();
        below
            .iter_mut()
            .for_each(|child| *child = path::join(&node, child));
        for child in &below {
            if children(session, child)
                .await?
                .iter()
                .any(|name| name == LIMITS)
            {
                let child = &child[ROOT.len()..];
                return Err(Failure::new(format!(
                    "{path} has a child {child} which has a quota"
                )));
            }
        }
        nodes.extend(below.into_iter().rev());
    }
    Ok(())
}

/// The children of a node; none if it is gone.
async fn children(session: &mut Session, node: &str) -> Result<Vec<String>, Failure> {
    let list = session.client.get_children(node, false);
    match session.wait(list).await {
        Err(error) if error.is(ErrorCode::NoNode) => Ok(Vec::new()),
        Err(error) => Err(failed(node)(error)),
        Ok((children, _)) => Ok(children),
    }
}

/// Nor must a node above.
async fn check_above(session: &mut Session, path: &str) -> Result<(), Failure> {
    let parts = java_split(path, '/');
    let mut node = ROOT.to_owned();
    for part in parts.iter().take(parts.len().saturating_sub(1)).skip(1) {
        node = format!("{node}/{part}");
        let children = children(session, &node).await?;
        if children.is_empty() {
            return Ok(());
        }
        if children.iter().any(|child| child == LIMITS) {
            let parent = &node[ROOT.len()..];
            return Err(Failure::new(format!(
                "{path} has a parent {parent} which has a quota"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_written_as_the_server_reads_them() {
        let mut track = StatsTrack::default();
        assert_eq!(track.to_string(), "count=-1,bytes=-1");
        track.set("count", 5);
        track.set("countHardLimit", 7);
        track.set("byteHardLimit", -1);
        let text = "count=5,bytes=-1=;byteHardLimit=-1;countHardLimit=7";
        assert_eq!(track.to_string(), text);
        let back = StatsTrack::parse(text);
        assert_eq!(back.map(|track| track.to_string()), Ok(text.to_owned()));
    }
}
