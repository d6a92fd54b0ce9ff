//! Pure: answers reads, and sets the watches that come with them (FinalRequestProcessor.java).
//!
//! Answers are written straight into the connection's buffer: nothing of the tree is copied
//! on the way.

use bytes::{BufMut, Bytes, BytesMut};
use common::zk::code::ErrorCode;
use common::zk::data::{Acl, Id, perms};
use common::zk::jute::{Record, encode_buffer, encode_str};
use common::zk::multi::{MultiOp, MultiResponse, MultiResult};
use common::zk::request::{
    AddWatchMode, Request, SetWatches2, WatchableRequest, WatcherType, WatchesRequest,
};
use common::zk::response::{ErrorResponse, EventType, WhoAmIResponse};

use crate::auth::schemes::Schemes;
use crate::state::acl_cache::SharedAcl;
use crate::state::database::{Database, Event};
use crate::state::nodes::NodeRef;
use crate::state::permission;
use crate::state::text::java_length;
use crate::state::watches::{ConnectionId, WatchMode};
use crate::state::znode::ExtendedTypes;

/// What a Stat counts for in `read_per_namespace`, in bytes.
const STAT_BYTES: usize = 6 * 8 + 5 * 4;

/// Who reads.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    /// The connection, which gets the watches.
    pub connection: ConnectionId,
    /// Its session.
    pub session: i64,
    /// Its identities.
    pub ids: &'a [Id],
}

/// Writes the record of the answer; what has been written before an error does not count.
/// `setWatches` has events that go out before the answer.
pub fn read(
    db: &mut Database,
    request: &Request,
    reader: Reader<'_>,
    out: &mut BytesMut,
    events: &mut Vec<Event>,
) -> Result<(), ErrorCode> {
    match request {
        Request::Exists(r) => exists(db, r, reader, out),
        Request::GetData(r) => get_data(db, r, reader, out),
        Request::GetChildren(r) => get_children(db, r, reader, out).map(|_| ()),
        Request::GetChildren2(r) => {
            let stat = get_children(db, r, reader, out)?;
            stat.encode(out);
            Ok(())
        }
        Request::GetAcl(r) => get_acl(db, &r.path, reader, out),
        Request::Sync(r) => {
            r.path.encode(out);
            Ok(())
        }
        Request::MultiRead(r) => multi_read(db, &r.ops, reader, out),
        Request::CheckWatches(r) => check_watches(db, r),
        Request::RemoveWatches(r) => remove_watches(db, r, reader),
        Request::SetWatches(r) => {
            let r = SetWatches2 {
                relative_zxid: r.relative_zxid,
                data: r.data.clone(),
                exist: r.exist.clone(),
                child: r.child.clone(),
                ..SetWatches2::default()
            };
            set_watches(db, &r, reader.connection, events);
            Ok(())
        }
        Request::SetWatches2(r) => {
            set_watches(db, r, reader.connection, events);
            Ok(())
        }
        Request::AddWatch(r) => {
            let mode = match AddWatchMode::from_code(r.mode) {
                Some(AddWatchMode::Persistent) => WatchMode::Persistent,
                Some(AddWatchMode::PersistentRecursive) => WatchMode::Recursive,
                None => return Err(ErrorCode::MarshallingError),
            };
            db.watches.add_lasting(&r.path, reader.connection, mode);
            ErrorResponse { err: 0 }.encode(out);
            Ok(())
        }
        Request::GetEphemerals(r) => get_ephemerals(db, &r.path, reader.session, out),
        Request::GetAllChildrenNumber(r) => {
            readable(db, &r.path, reader, perms::READ)?;
            i32::try_from(db.tree.descendants(&r.path))
                .unwrap_or(i32::MAX)
                .encode(out);
            Ok(())
        }
        Request::WhoAmI => {
            who_am_i(&db.schemes, reader.ids).encode(out);
            Ok(())
        }
        Request::Ping => Ok(()),
        _ => Err(ErrorCode::Unimplemented),
    }
}

/// The znode, if it is there and its ACL lets the reader.
fn readable<'d>(
    db: &'d Database,
    path: &str,
    reader: Reader<'_>,
    perm: i32,
) -> Result<(NodeRef<'d>, SharedAcl), ErrorCode> {
    let node = db.tree.get(path).ok_or(ErrorCode::NoNode)?;
    let acl = db.tree.acl_of(node);
    if db.options.skip_acl || permission::allows(&db.schemes, &acl, perm, reader.ids) {
        Ok((node, acl))
    } else {
        Err(ErrorCode::NoAuth)
    }
}

fn count_read(db: &mut Database, path: &str, bytes: usize) {
    let bytes = java_length(path.as_bytes()) + bytes + STAT_BYTES;
    db.stats.reads.observe(path, bytes as u64);
}

fn extended(db: &Database) -> ExtendedTypes {
    db.options.tree.extended_types
}

fn exists(
    db: &mut Database,
    r: &WatchableRequest,
    reader: Reader<'_>,
    out: &mut BytesMut,
) -> Result<(), ErrorCode> {
    if r.path.contains('\0') {
        return Err(ErrorCode::BadArguments);
    }
    let found = readable(db, &r.path, reader, perms::READ);
    match &found {
        Ok((node, _)) => node.client_stat(extended(db)).encode(out),
        Err(ErrorCode::NoNode) => {}
        Err(error) => return Err(*error),
    }
    let result = found.map(|_| ());
    if result.is_ok() {
        count_read(db, &r.path, 0);
    }
    if r.watch {
        db.watches
            .data
            .add(&r.path, reader.connection, WatchMode::OneShot);
    }
    result
}

fn get_data(
    db: &mut Database,
    r: &WatchableRequest,
    reader: Reader<'_>,
    out: &mut BytesMut,
) -> Result<(), ErrorCode> {
    let (node, _) = readable(db, &r.path, reader, perms::READ)?;
    let bytes = node.data_len();
    encode_buffer(node.data(), out);
    node.client_stat(extended(db)).encode(out);
    count_read(db, &r.path, bytes);
    if r.watch {
        db.watches
            .data
            .add(&r.path, reader.connection, WatchMode::OneShot);
    }
    Ok(())
}

fn get_children(
    db: &mut Database,
    r: &WatchableRequest,
    reader: Reader<'_>,
    out: &mut BytesMut,
) -> Result<common::zk::data::Stat, ErrorCode> {
    let (node, _) = readable(db, &r.path, reader, perms::READ)?;
    let stat = node.client_stat(extended(db));
    out.put_i32(stat.num_children);
    let mut bytes = 0;
    for child in node.children() {
        encode_str(child, out);
        bytes += java_length(child.as_bytes());
    }
    count_read(db, &r.path, bytes);
    if r.watch {
        db.watches
            .child
            .add(&r.path, reader.connection, WatchMode::OneShot);
    }
    Ok(stat)
}

fn get_acl(
    db: &Database,
    path: &str,
    reader: Reader<'_>,
    out: &mut BytesMut,
) -> Result<(), ErrorCode> {
    let (node, acl) = readable(db, path, reader, perms::READ | perms::ADMIN)?;
    let shown: Vec<Acl> = if readable(db, path, reader, perms::ADMIN).is_ok() {
        acl.to_vec()
    } else {
        acl.iter().map(masked).collect()
    };
    shown.encode(out);
    node.client_stat(extended(db)).encode(out);
    Ok(())
}

/// Who may not administer a znode is not shown the digests of passwords.
fn masked(entry: &Acl) -> Acl {
    match entry.id.id.split_once(':') {
        Some((user, _)) if &*entry.id.scheme == "digest" => Acl::new(
            entry.perms,
            Id::new(entry.id.scheme.clone(), format!("{user}:x")),
        ),
        _ => entry.clone(),
    }
}

fn multi_read(
    db: &mut Database,
    ops: &[MultiOp],
    reader: Reader<'_>,
    out: &mut BytesMut,
) -> Result<(), ErrorCode> {
    let mut results = Vec::with_capacity(ops.len());
    for op in ops {
        if !op.is_read() {
            return Err(ErrorCode::MarshallingError);
        }
        let (result, bytes) = match readable(db, op.path(), reader, perms::READ) {
            Err(error) => {
                results.push(MultiResult::Error(error.code()));
                continue;
            }
            Ok((node, _)) => match op {
                MultiOp::GetData(_) => {
                    let data = node.data().map(Bytes::copy_from_slice);
                    let (stat, bytes) = (node.client_stat(extended(db)), node.data_len());
                    (MultiResult::GetData { data, stat }, bytes)
                }
                _ => (
                    MultiResult::GetChildren(node.children().map(Into::into).collect()),
                    node.children().map(|c| java_length(c.as_bytes())).sum(),
                ),
            },
        };
        count_read(db, op.path(), bytes);
        results.push(result);
    }
    MultiResponse { results }.encode(out);
    Ok(())
}

fn check_watches(db: &Database, r: &WatchesRequest) -> Result<(), ErrorCode> {
    let kind = WatcherType::from_code(r.kind).ok_or(ErrorCode::MarshallingError)?;
    if !r.path.is_empty() && !r.path.contains('/') {
        // The real server trips over a path that has no parent.
        return Err(ErrorCode::MarshallingError);
    }
    if db.watches.contains(&r.path, kind) {
        Ok(())
    } else {
        Err(ErrorCode::NoWatcher)
    }
}

fn remove_watches(
    db: &mut Database,
    r: &WatchesRequest,
    reader: Reader<'_>,
) -> Result<(), ErrorCode> {
    let kind = WatcherType::from_code(r.kind).ok_or(ErrorCode::MarshallingError)?;
    if db.watches.remove(&r.path, reader.connection, kind) {
        Ok(())
    } else {
        Err(ErrorCode::NoWatcher)
    }
}

fn get_ephemerals(
    db: &Database,
    prefix: &str,
    session: i64,
    out: &mut BytesMut,
) -> Result<(), ErrorCode> {
    let all = matches!(prefix.trim(), "" | "/");
    let paths = db
        .tree
        .ephemerals(session)
        .filter(|path| all || path.starts_with(prefix));
    let count_at = out.len();
    out.put_i32(0);
    let mut count = 0_i32;
    for path in paths {
        encode_str(path, out);
        count += 1;
    }
    out[count_at..count_at + 4].copy_from_slice(&count.to_be_bytes());
    Ok(())
}

fn who_am_i(schemes: &Schemes, ids: &[Id]) -> WhoAmIResponse {
    let client_info = ids
        .iter()
        .map(|id| common::zk::data::ClientInfo {
            auth_scheme: id.scheme.clone(),
            user: schemes.user(id).into(),
        })
        .collect();
    WhoAmIResponse { client_info }
}

/// Watches of a client that comes back: what changed meanwhile is told at once, the rest is
/// watched again.
fn set_watches(
    db: &mut Database,
    r: &SetWatches2,
    connection: ConnectionId,
    events: &mut Vec<Event>,
) {
    let open = SharedAcl::from([]);
    let mut tell = |kind, path: &str| {
        events.push(Event {
            connection,
            kind,
            path: path.into(),
            acl: open.clone(),
        });
    };
    let (tree, watches) = (&db.tree, &mut db.watches);
    for path in &r.data {
        match tree.get(path) {
            None => tell(EventType::NodeDeleted, path),
            Some(node) if node.stat.mzxid > r.relative_zxid => {
                tell(EventType::NodeDataChanged, path);
            }
            Some(_) => watches.data.add(path, connection, WatchMode::OneShot),
        }
    }
    for path in &r.exist {
        match tree.get(path) {
            Some(_) => tell(EventType::NodeCreated, path),
            None => watches.data.add(path, connection, WatchMode::OneShot),
        }
    }
    for path in &r.child {
        match tree.get(path) {
            None => tell(EventType::NodeDeleted, path),
            Some(node) if node.stat.pzxid > r.relative_zxid => {
                tell(EventType::NodeChildrenChanged, path);
            }
            Some(_) => watches.child.add(path, connection, WatchMode::OneShot),
        }
    }
    for path in &r.persistent {
        watches.add_lasting(path, connection, WatchMode::Persistent);
    }
    for path in &r.persistent_recursive {
        watches.add_lasting(path, connection, WatchMode::Recursive);
    }
}
