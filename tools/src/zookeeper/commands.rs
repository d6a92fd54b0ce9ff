//! Shell: the commands that need a session, as 3.8.4's shell has them (`org.apache.zookeeper.cli`).

use std::time::Duration;

use bytes::Bytes;
use common::zk::client::client::ZkClient;
use common::zk::client::error::ZkError;
use common::zk::code::ErrorCode;
use common::zk::data::{Acl, Stat};
use common::zk::multi::{MAX_TTL_MS, MultiOp};
use common::zk::path;
use common::zk::request::{AddWatchMode, CreateMode, DeleteRequest, ReconfigRequest, WatcherType};

use crate::zookeeper::command_line::{Choice, CommandLine, Opt, flag, parse, value};
use crate::zookeeper::quota::{self, StatsTrack};
use crate::zookeeper::session::{Failure, Session, keeper_message};
use crate::zookeeper::{reconfig, text};

/// Every command of the shell and its arguments, sorted.
pub const USAGE: &[(&str, &str)] = &[
    (
        "addWatch",
        "[-m mode] path # optional mode is one of [PERSISTENT, PERSISTENT_RECURSIVE] - default \
         is PERSISTENT_RECURSIVE",
    ),
    ("addauth", "scheme auth"),
    ("close", ""),
    ("config", "[-c] [-w] [-s]"),
    ("connect", "host:port"),
    ("create", "[-s] [-e] [-c] [-t ttl] path [data] [acl]"),
    ("delete", "[-v version] path"),
    ("deleteall", "path [-b batch size]"),
    ("delquota", "[-n|-b|-N|-B] path"),
    ("get", "[-s] [-w] path"),
    ("getAcl", "[-s] path"),
    ("getAllChildrenNumber", "path"),
    ("getEphemerals", "path"),
    ("history", ""),
    ("listquota", "path"),
    ("ls", "[-s] [-w] [-R] path"),
    ("printwatches", "on|off"),
    ("quit", ""),
    (
        "reconfig",
        "[-s] [-v version] [[-file path] | [-members serverID=host:port1:port2;port3[,...]*]] | \
         [-add serverId=host:port1:port2;port3[,...]]* [-remove serverId[,...]*]",
    ),
    ("redo", "cmdno"),
    ("removewatches", "path [-c|-d|-a] [-l]"),
    ("set", "[-s] [-v version] path data"),
    ("setAcl", "[-s] [-v version] [-R] path acl"),
    ("setquota", "-n|-b|-N|-B val path"),
    ("stat", "[-w] path"),
    ("sync", "path"),
    ("version", ""),
    ("whoami", ""),
];

/// How long sync may take.
const SYNC_TIMEOUT: Duration = Duration::from_secs(30);

/// Operations of one multi in deleteall, unless asked otherwise, and how many multis may be on
/// their way (`ZKUtil.deleteInBatch`).
const DELETE_BATCH: i32 = 1000;
const DELETE_BATCHES_IN_FLIGHT: usize = 10;

/// Runs a command. One that needs no session does nothing here.
pub async fn run(session: &mut Session, words: &[String]) -> Result<(), Failure> {
    match words.first().map(String::as_str).unwrap_or_default() {
        "addWatch" => add_watch(session, words).await,
        "addauth" => add_auth(session, words),
        "close" => {
            session.close().await;
            Ok(())
        }
        "config" => config(session, words).await,
        "create" => create(session, words).await,
        "delete" => delete(session, words).await,
        "deleteall" => delete_all(session, words).await,
        "delquota" => del_quota(session, words).await,
        "get" => get(session, words).await,
        "getAcl" => get_acl(session, words).await,
        "getAllChildrenNumber" => get_all_children_number(session, words).await,
        "getEphemerals" => get_ephemerals(session, words).await,
        "listquota" => {
            let line = with_args(&[], Choice::Free, words, 2)?;
            quota::list(session, &line.args[1]).await
        }
        "ls" => ls(session, words).await,
        "reconfig" => run_reconfig(session, words).await,
        "removewatches" => remove_watches(session, words).await,
        "set" => set(session, words).await,
        "setAcl" => set_acl(session, words).await,
        "setquota" => set_quota(session, words).await,
        "stat" => stat(session, words).await,
        "sync" => sync(session, words).await,
        "version" => version(session, words),
        "whoami" => who_am_i(session).await,
        _ => Ok(()),
    }
}

fn usage(words: &[String]) -> Failure {
    let name = words.first().map(String::as_str).unwrap_or_default();
    let arguments = USAGE
        .iter()
        .find(|(command, _)| *command == name)
        .map(|(_, usage)| *usage);
    Failure::new(format!("{name} {}", arguments.unwrap_or_default()))
}

/// Sorts the words; there must be `least` of them besides options, the command's name included.
fn with_args(
    options: &[Opt],
    choice: Choice,
    words: &[String],
    least: usize,
) -> Result<CommandLine, Failure> {
    let line = parse(options, choice, words)?;
    if line.args.len() < least {
        Err(usage(words))
    } else {
        Ok(line)
    }
}

/// The old form `get path watch`: its third word is replaced by `-w`, wherever it stands, and
/// the words are sorted anew.
fn with_old_watch(
    session: &Session,
    options: &[Opt],
    words: &[String],
    line: CommandLine,
    new_form: &str,
) -> Result<CommandLine, Failure> {
    if line.args.len() <= 2 {
        return Ok(line);
    }
    let name = &words[0];
    session.err(&format!(
        "'{name} path [watch]' has been deprecated. Please use '{new_form}' instead."
    ));
    let mut words = words.to_vec();
    words[2] = "-w".to_owned();
    Ok(parse(options, Choice::Free, &words)?)
}

/// The value of -v, -1 if it is not there. The original dies of one that is no number.
fn expected_version(line: &CommandLine) -> Result<i32, Failure> {
    match line.value("v") {
        None => Ok(-1),
        Some(text) => text.parse().map_err(|_| {
            let exception = "java.lang.NumberFormatException: For input string:";
            Failure::Uncaught(format!("{exception} \"{text}\""))
        }),
    }
}

fn show_stat(session: &Session, line: &CommandLine, stat: &Stat) {
    if line.has("s") {
        session.out(&text::stat(stat, &session.zone));
    }
}

/// Waits for the answer about `path`.
async fn ask<T>(
    session: &mut Session,
    path: &str,
    asked: impl Future<Output = Result<T, ZkError>>,
) -> Result<T, Failure> {
    session
        .wait(asked)
        .await
        .map_err(|error| Failure::from_zk(&error, path))
}

async fn add_watch(session: &mut Session, words: &[String]) -> Result<(), Failure> {
    let line = parse(&[value("m")], Choice::Free, words)?;
    if line.args.len() != 2 {
        return Err(usage(words));
    }
    match line.value("m").map(str::to_uppercase).as_deref() {
        None => {}
        Some("PERSISTENT") => session.watch_mode = AddWatchMode::Persistent,
        Some("PERSISTENT_RECURSIVE") => session.watch_mode = AddWatchMode::PersistentRecursive,
        Some(_) => return Err(usage(words)),
    }
    let node = &line.args[1];
    path::validate(node).map_err(|error| {
        Failure::Uncaught(format!("java.lang.IllegalArgumentException: {error}"))
    })?;
    let asked = session.client.add_watch(node, session.watch_mode);
    ask(session, node, asked).await
}

fn add_auth(session: &mut Session, words: &[String]) -> Result<(), Failure> {
    let line = with_args(&[], Choice::Free, words, 2)?;
    let auth = line.args.get(2).cloned().unwrap_or_default();
    // Nobody waits for the answer: a refusal comes as an event.
    drop(session.client.add_auth(&line.args[1], Bytes::from(auth)));
    Ok(())
}

async fn config(session: &mut Session, words: &[String]) -> Result<(), Failure> {
    let line = parse(&[flag("s"), flag("w"), flag("c")], Choice::Free, words)?;
    let asked = session.client.get_config(line.has("w"));
    let (data, stat) = ask(session, "/zookeeper/config", asked).await?;
    let data = shown(data);
    if line.has("c") {
        session.out(&reconfig::client_addresses(&data));
    } else {
        session.out(&data);
    }
    show_stat(session, &line, &stat);
    Ok(())
}

fn shown(data: Option<Bytes>) -> String {
    match data {
        None => "null".to_owned(),
        Some(data) => String::from_utf8_lossy(&data).into_owned(),
    }
}

fn create_mode(line: &CommandLine) -> Result<(CreateMode, Option<i64>), Failure> {
    let (ephemeral, sequential, container) = (line.has("e"), line.has("s"), line.has("c"));
    if container && (ephemeral || sequential) {
        return Err(Failure::new(
            "-c cannot be combined with -s or -e. Containers cannot be ephemeral or sequential.",
        ));
    }
    let ttl = line.value("t").map(|text| {
        text.parse::<i64>()
            .map_err(|_| Failure::new("-t argument must be a long value"))
    });
    let ttl = ttl.transpose()?;
    if ttl.is_some() && ephemeral {
        return Err(Failure::new("TTLs cannot be used with Ephemeral znodes"));
    }
    if ttl.is_some() && container {
        return Err(Failure::new("TTLs cannot be used with Container znodes"));
    }
    if ttl.is_some_and(|ttl| !(1..=MAX_TTL_MS).contains(&ttl)) {
        return Err(Failure::new(format!(
            "ttl must be positive and cannot be larger than: {MAX_TTL_MS}"
        )));
    }
    let mode = match (ephemeral, sequential, ttl) {
        (true, true, _) => CreateMode::EphemeralSequential,
        (true, false, _) => CreateMode::Ephemeral,
        (false, true, None) => CreateMode::PersistentSequential,
        (false, true, Some(_)) => CreateMode::PersistentSequentialWithTtl,
        _ if container => CreateMode::Container,
        (false, false, None) => CreateMode::Persistent,
        (false, false, Some(_)) => CreateMode::PersistentWithTtl,
    };
    Ok((mode, ttl))
}

/// An ACL that has no entry is refused before it is sent.
fn read_acl(session: &Session, text: &str) -> Vec<Acl> {
    let (acl, complaints) = text::parse_acl(text);
    for complaint in complaints {
        session.err(&complaint);
    }
    acl
}

async fn create(session: &mut Session, words: &[String]) -> Result<(), Failure> {
    let options = [flag("e"), flag("s"), flag("c"), value("t")];
    let line = with_args(&options, Choice::Free, words, 2)?;
    let (mode, ttl) = create_mode(&line)?;
    let node = &line.args[1];
    let data = line.args.get(2).map(|data| Bytes::from(data.clone()));
    let acl = match line.args.get(3) {
        Some(text) => read_acl(session, text),
        None => Acl::open(),
    };
    path::validate_for_create(node, mode.is_sequential())
        .map_err(|error| Failure::new(error.to_string()))?;
    if acl.is_empty() {
        session.err(&keeper_message(ErrorCode::InvalidAcl, ""));
        return Err(Failure::new("Acl is not valid : null"));
    }
    let client = session.client.clone();
    let created = match ttl {
        Some(ttl) => {
            let asked = client.create_ttl(node, data, &acl, mode, ttl);
            session.wait(asked).await.map(|(path, _)| path)
        }
        None => session.wait(client.create(node, data, &acl, mode)).await,
    };
    match created {
        Ok(path) => {
            session.err(&format!("Created {path}"));
            Ok(())
        }
        Err(error) => {
            match error.code() {
                ErrorCode::EphemeralOnLocalSession => {
                    session.err("Unable to create ephemeral node on a local session");
                }
                ErrorCode::InvalidAcl => {
                    session.err(&keeper_message(ErrorCode::InvalidAcl, node));
                }
                _ => {}
            }
            Err(Failure::from_zk(&error, node))
        }
    }
}

async fn delete(session: &mut Session, words: &[String]) -> Result<(), Failure> {
    let line = with_args(&[value("v")], Choice::Free, words, 2)?;
    if line.args.len() > 2 {
        session.err(
            "'delete path [version]' has been deprecated. Please use 'delete [-v version] path' \
             instead.",
        );
    }
    let version = expected_version(&line)?;
    let asked = session.client.delete(&line.args[1], version);
    ask(session, &line.args[1], asked).await
}

async fn delete_all(session: &mut Session, words: &[String]) -> Result<(), Failure> {
    let line = with_args(&[value("b")], Choice::Free, words, 2)?;
    let batch = line.value("b").map_or(Ok(DELETE_BATCH), str::parse);
    let batch = batch.map_err(|_| Failure::new("-b argument must be an int value"))?;
    let top = &line.args[1];
    let mut nodes = vec![top.clone()];
    let mut next = 0;
    while next < nodes.len() {
        let node = nodes[next].clone();
        let asked = session.client.get_children(&node, false);
        let (children, _) = ask(session, &node, asked).await?;
        nodes.extend(children.iter().map(|child| path::join(&node, child)));
        next += 1;
    }
    // The leaves first.
    nodes.reverse();
    match usize::try_from(batch) {
        Ok(batch) if batch > 0 => {
            let client = session.client.clone();
            if !session.wait(delete_batches(&client, &nodes, batch)).await {
                session.err("Failed to delete some node(s) in the subtree!");
            }
        }
        _ => {
            for node in &nodes {
                let asked = session.client.delete(node, -1);
                ask(session, node, asked).await?;
            }
        }
    }
    Ok(())
}

/// Deletes nodes in multis of `batch`, some of them on their way at once; stops at a failure.
async fn delete_batches(client: &ZkClient, nodes: &[String], batch: usize) -> bool {
    let delete = |node: &String| {
        MultiOp::Delete(DeleteRequest {
            path: node.as_str().into(),
            version: -1,
        })
    };
    let mut on_their_way = std::collections::VecDeque::new();
    let mut good = true;
    for part in nodes.chunks(batch) {
        if on_their_way.len() == DELETE_BATCHES_IN_FLIGHT
            && let Some(first) = on_their_way.pop_front()
        {
            good &= wait_for(first).await;
        }
        if !good {
            break;
        }
        on_their_way.push_back(client.multi(part.iter().map(delete).collect()));
    }
    for left in on_their_way {
        good &= wait_for(left).await;
    }
    good
}

async fn wait_for<T, E>(asked: impl Future<Output = Result<T, E>>) -> bool {
    asked.await.is_ok()
}

async fn del_quota(session: &mut Session, words: &[String]) -> Result<(), Failure> {
    let options = [flag("n"), flag("b"), flag("N"), flag("B")];
    let line = with_args(&options, Choice::AtMostOne, words, 2)?;
    let keys: Vec<&str> = QUOTA_KEYS
        .iter()
        .filter(|(option, _)| line.has(option))
        .map(|(_, key)| *key)
        .collect();
    quota::delete(session, &line.args[1], &keys).await
}

async fn get(session: &mut Session, words: &[String]) -> Result<(), Failure> {
    let options = [flag("s"), flag("w")];
    let line = with_args(&options, Choice::Free, words, 2)?;
    let line = with_old_watch(session, &options, words, line, "get [-s] [-w] path")?;
    let Some(node) = line.args.get(1) else {
        return Err(out_of_bounds(1));
    };
    let asked = session.client.get_data(node, line.has("w"));
    let (data, stat) = ask(session, node, asked).await?;
    session.out(&shown(data));
    show_stat(session, &line, &stat);
    Ok(())
}

/// What the original dies of when `-w` has taken the place of the path.
fn out_of_bounds(index: usize) -> Failure {
    Failure::Uncaught(format!(
        "java.lang.ArrayIndexOutOfBoundsException: Index {index} out of bounds for length {index}"
    ))
}

async fn get_acl(session: &mut Session, words: &[String]) -> Result<(), Failure> {
    let line = with_args(&[flag("s")], Choice::Free, words, 2)?;
    let asked = session.client.get_acl(&line.args[1]);
    let (acls, stat) = ask(session, &line.args[1], asked).await?;
    for acl in &acls {
        session.out(&text::acl(acl));
    }
    show_stat(session, &line, &stat);
    Ok(())
}

async fn get_all_children_number(session: &mut Session, words: &[String]) -> Result<(), Failure> {
    let line = with_args(&[], Choice::Free, words, 2)?;
    let asked = session.client.get_all_children_number(&line.args[1]);
    let number = ask(session, &line.args[1], asked).await?;
    session.out(&number.to_string());
    Ok(())
}

async fn get_ephemerals(session: &mut Session, words: &[String]) -> Result<(), Failure> {
    let line = parse(&[], Choice::Free, words)?;
    let prefix = line.args.get(1).map_or("/", String::as_str);
    let asked = session.client.get_ephemerals(prefix);
    let ephemerals = ask(session, "", asked).await?;
    session.out(&text::list(&ephemerals));
    Ok(())
}

async fn ls(session: &mut Session, words: &[String]) -> Result<(), Failure> {
    let options = [flag("?"), flag("s"), flag("w"), flag("R")];
    let line = parse(&options, Choice::Free, words)?;
    if line.has("?") {
        session.out("usage: ls [options] path\n -?   help\n -R   recurse\n -s   stat\n -w   watch");
    }
    let line = with_old_watch(session, &options, words, line, "ls [-w] path")?;
    let Some(node) = line.args.get(1) else {
        return Err(usage(words));
    };
    let watch = line.has("w");
    if line.has("R") {
        subtree(session, node, watch, true).await?;
        return Ok(());
    }
    let asked = session.client.get_children(node, watch);
    let (mut children, stat) = ask(session, node, asked).await?;
    children.sort();
    session.out(&text::list(&children));
    show_stat(session, &line, &stat);
    Ok(())
}

/// A node and all below it: at each node first its children, then what is below each of them
/// (`ZKUtil.visitSubTreeDFS`). With `print` they are printed as they are found.
async fn subtree(
    session: &mut Session,
    top: &str,
    watch: bool,
    print: bool,
) -> Result<Vec<String>, Failure> {
    let asked = session.client.get_data(top, watch);
    ask(session, top, asked).await?;
    let mut all = vec![top.to_owned()];
    if print {
        session.out(top);
    }
    let mut pending = vec![top.to_owned()];
    while let Some(node) = pending.pop() {
        let asked = session.client.get_children(&node, watch);
        let mut children = match session.wait(asked).await {
            Ok((children, _)) => children,
            Err(error) if error.is(ErrorCode::NoNode) => continue,
            Err(error) => return Err(Failure::from_zk(&error, &node)),
        };
        children.sort();
        let children: Vec<String> = children
            .iter()
            .map(|child| path::join(&node, child))
            .collect();
        for child in &children {
            if print {
                session.out(child);
            }
            all.push(child.clone());
        }
        pending.extend(children.into_iter().rev());
    }
    Ok(all)
}

async fn run_reconfig(session: &mut Session, words: &[String]) -> Result<(), Failure> {
    let options = [
        flag("s"),
        value("v"),
        value("file"),
        value("members"),
        value("add"),
        value("remove"),
    ];
    let line = parse(&options, Choice::Free, words)?;
    let whole = line.has("file") || line.has("members");
    let parts = line.has("add") || line.has("remove");
    if !whole && !parts {
        return Err(usage(words));
    }
    let current_config = match line.value("v") {
        None => -1,
        Some(text) => i64::from_str_radix(text, 16)
            .map_err(|_| Failure::new("-v must be followed by a long (configuration version)"))?,
    };
    if whole && parts {
        return Err(Failure::new(
            "Can't use -file or -members together with -add or -remove (mixing incremental and \
             non-incremental modes is not allowed)",
        ));
    }
    if line.has("file") && line.has("members") {
        return Err(Failure::new(
            "Can't use -file and -members together (conflicting non-incremental modes)",
        ));
    }
    let lower = |name| line.value(name).map(|text: &str| text.to_lowercase());
    let mut new_members = lower("members");
    if let Some(file) = line.value("file") {
        let members = match std::fs::read(file) {
            Ok(content) => reconfig::members_of_file(&content),
            Err(_) => Err(format!("{file} (No such file or directory)")),
        };
        let members =
            members.map_err(|why| Failure::new(format!("Error processing {file}{why}")))?;
        new_members = Some(members);
    }
    let request = ReconfigRequest {
        joining: lower("add").map(Into::into),
        leaving: lower("remove").map(Into::into),
        new_members: new_members.map(Into::into),
        current_config,
    };
    let asked = session.client.reconfig(request);
    let (data, stat) = ask(session, "", asked).await?;
    session.out(&format!("Committed new configuration:\n{}", shown(data)));
    show_stat(session, &line, &stat);
    Ok(())
}

async fn remove_watches(session: &mut Session, words: &[String]) -> Result<(), Failure> {
    let options = [flag("c"), flag("d"), flag("a"), flag("l")];
    let line = with_args(&options, Choice::Free, words, 2)?;
    let kind = if line.has("c") {
        WatcherType::Children
    } else if line.has("d") {
        WatcherType::Data
    } else {
        WatcherType::Any
    };
    let asked = session
        .client
        .remove_watches(&line.args[1], kind, line.has("l"));
    ask(session, &line.args[1], asked).await
}

async fn set(session: &mut Session, words: &[String]) -> Result<(), Failure> {
    let line = with_args(&[flag("s"), value("v")], Choice::Free, words, 3)?;
    let version = expected_version(&line)?;
    let data = Bytes::from(line.args[2].clone());
    let asked = session.client.set_data(&line.args[1], Some(data), version);
    let stat = ask(session, &line.args[1], asked).await?;
    show_stat(session, &line, &stat);
    Ok(())
}

async fn set_acl(session: &mut Session, words: &[String]) -> Result<(), Failure> {
    let options = [flag("s"), value("v"), flag("R")];
    let line = with_args(&options, Choice::Free, words, 3)?;
    let acl = read_acl(session, &line.args[2]);
    let version = expected_version(&line)?;
    let node = &line.args[1];
    let client = session.client.clone();
    if line.has("R") {
        for node in subtree(session, node, false, false).await? {
            let refused = if acl.is_empty() {
                Some(keeper_message(ErrorCode::InvalidAcl, ""))
            } else {
                let set = session.wait(client.set_acl(&node, &acl, version)).await;
                set.err().map(|error| keeper_message(error.code(), &node))
            };
            if let Some(message) = refused {
                session.out_part(&message);
            }
        }
        return Ok(());
    }
    path::validate(node).map_err(|error| Failure::new(error.to_string()))?;
    if acl.is_empty() {
        return Err(Failure::new("Acl is not valid : null"));
    }
    let stat = ask(session, node, client.set_acl(node, &acl, version)).await?;
    show_stat(session, &line, &stat);
    Ok(())
}

/// Options of setquota and delquota, and what they are called in the quota's node.
const QUOTA_KEYS: [(&str, &str); 4] = [
    ("n", "count"),
    ("b", "bytes"),
    ("N", "countHardLimit"),
    ("B", "byteHardLimit"),
];

async fn set_quota(session: &mut Session, words: &[String]) -> Result<(), Failure> {
    let option = |name, description| Opt {
        name,
        has_value: true,
        description,
    };
    let options = [
        option("n", "num soft quota"),
        option("b", "bytes soft quota"),
        option("N", "num hard quota"),
        option("B", "bytes hard quota"),
    ];
    let line = with_args(&options, Choice::One, words, 2)?;
    let node = &line.args[1];
    if quota::is_quota_node(node) {
        session.err("cannot set a quota under the path: /zookeeper/quota");
        return Ok(());
    }
    let mut limits = StatsTrack::default();
    for (option, key) in QUOTA_KEYS {
        limits.set(key, -1);
        let Some(text) = line.value(option) else {
            continue;
        };
        let counts = matches!(option, "n" | "N");
        let number = if counts {
            text.parse::<i32>().map(i64::from)
        } else {
            text.parse::<i64>()
        };
        let Ok(number) = number else {
            session.err("NumberFormatException happens when parsing the option value");
            return Ok(());
        };
        if counts && number <= 0 {
            session.err("the num quota must be greater than zero");
            return Ok(());
        }
        if number < 0 {
            session.err("the bytes quota must be greater than or equal to zero");
            return Ok(());
        }
        limits.set(key, number);
    }
    quota::set(session, node, &limits).await
}

async fn stat(session: &mut Session, words: &[String]) -> Result<(), Failure> {
    let options = [flag("w")];
    let line = with_args(&options, Choice::Free, words, 2)?;
    let line = with_old_watch(session, &options, words, line, "stat [-w] path")?;
    let Some(node) = line.args.get(1) else {
        return Err(out_of_bounds(1));
    };
    let asked = session.client.exists(node, line.has("w"));
    match ask(session, node, asked).await? {
        Some(stat) => {
            session.out(&text::stat(&stat, &session.zone));
            Ok(())
        }
        None => Err(Failure::new(format!("Node does not exist: {node}"))),
    }
}

async fn sync(session: &mut Session, words: &[String]) -> Result<(), Failure> {
    let line = with_args(&[], Choice::Free, words, 2)?;
    let asked = tokio::time::timeout(SYNC_TIMEOUT, session.client.sync(&line.args[1]));
    match session.wait(asked).await {
        Ok(Ok(())) => session.out("Sync is OK"),
        Ok(Err(ZkError::Path(error))) => return Err(Failure::new(error.to_string())),
        Ok(Err(error)) => {
            session.out(&format!("Sync has failed. rc={}", error.code().code()));
        }
        Err(_) => return Err(Failure::new("null")),
    }
    Ok(())
}

fn version(session: &Session, words: &[String]) -> Result<(), Failure> {
    let line = parse(&[], Choice::Free, words)?;
    if line.args.len() > 1 {
        return Err(usage(words));
    }
    session.out(&format!("ZooKeeper CLI version: {}", text::FULL_VERSION));
    Ok(())
}

async fn who_am_i(session: &mut Session) -> Result<(), Failure> {
    let asked = session.client.who_am_i();
    // As the original, which looks at no error here.
    let infos = session.wait(asked).await.unwrap_or_default();
    session.out("Auth scheme: User");
    for info in infos {
        session.out(&format!("{}: {}", info.auth_scheme, info.user));
    }
    Ok(())
}
