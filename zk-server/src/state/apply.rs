//! Pure: applies a logged transaction to the tree and the sessions, and finds who hears of it
//! (DataTree.processTxn).
//!
//! The same function serves recovery, where a transaction may already be part of the snapshot:
//! then it fails here and there, and what it leaves is right all the same.

use std::rc::Rc;

use bytes::Bytes;
use bytestring::ByteString;
use common::zk::code::{ErrorCode, OpCode};
use common::zk::data::{Acl, Stat};
use common::zk::multi::MultiResult;
use common::zk::response::EventType;
use common::zk::txn::{CloseSessionTxn, TxnBody, TxnEntry, TxnHeader};

use crate::state::acl_cache::SharedAcl;
use crate::state::database::{Database, Event};
use crate::state::digest::DigestHistory;
use crate::state::text::java_length;
use crate::state::tree::{NewNode, Tree, TreeError, split};
use crate::state::watches::ConnectionId;
use crate::state::znode::Lifetime;

/// What a transaction came to, for the reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing to tell.
    Done,
    /// A znode was created.
    Created(ByteString, Stat),
    /// A znode has this Stat now.
    Changed(Stat),
    /// The operations of a multi.
    Multi(Vec<MultiResult>),
    /// The write failed.
    Failed(ErrorCode),
}

/// Applies one transaction; `now_ms` is the monotonic clock for sessions that begin.
pub fn apply(db: &mut Database, entry: &TxnEntry, now_ms: i64, events: &mut Vec<Event>) -> Outcome {
    let header = &entry.header;
    let outcome = match &entry.body {
        TxnBody::Multi(multi) => apply_multi(db, header, &multi.txns, events),
        TxnBody::CreateSession(txn) => {
            db.sessions.commit(header.client_id, txn.timeout_ms, now_ms);
            Outcome::Done
        }
        TxnBody::CloseSession(txn) => {
            close_session(db, header, txn.as_ref(), events);
            Outcome::Done
        }
        body => {
            let op = OpCode::from_code(header.op).unwrap_or(OpCode::Error);
            apply_one(db, header, op, body, events)
        }
    };
    db.applied_zxid = db.applied_zxid.max(header.zxid);
    db.last_zxid = db.last_zxid.max(header.zxid);
    db.applied_count += 1;
    db.pending.applied(header.zxid);
    if DigestHistory::keeps(header.zxid) && db.options.tree.digests {
        db.digests.add(header.zxid, db.tree.digest());
    }
    outcome
}

fn apply_multi(
    db: &mut Database,
    header: &TxnHeader,
    txns: &[(OpCode, TxnBody)],
    events: &mut Vec<Event>,
) -> Outcome {
    let culprit = txns.iter().position(|(op, _)| *op == OpCode::Error);
    let mut results = Vec::with_capacity(txns.len());
    for (i, (op, body)) in txns.iter().enumerate() {
        let result = match (culprit, body) {
            (_, TxnBody::Error(error)) => MultiResult::Error(error.err),
            (Some(culprit), _) if i < culprit => MultiResult::Error(ErrorCode::Ok.code()),
            (Some(_), _) => MultiResult::Error(ErrorCode::RuntimeInconsistency.code()),
            (None, body) => multi_result(*op, apply_one(db, header, *op, body, events)),
        };
        results.push(result);
    }
    Outcome::Multi(results)
}

fn multi_result(op: OpCode, outcome: Outcome) -> MultiResult {
    match outcome {
        Outcome::Created(path, _) if op == OpCode::Create => MultiResult::Create { path },
        Outcome::Created(path, stat) => MultiResult::Create2 { path, stat },
        Outcome::Changed(_) if op == OpCode::Check => MultiResult::Check,
        Outcome::Changed(stat) => MultiResult::SetData(stat),
        Outcome::Failed(code) => MultiResult::Error(code.code()),
        Outcome::Done if op == OpCode::Check => MultiResult::Check,
        Outcome::Done | Outcome::Multi(_) => MultiResult::Delete,
    }
}

fn apply_one(
    db: &mut Database,
    header: &TxnHeader,
    op: OpCode,
    body: &TxnBody,
    events: &mut Vec<Event>,
) -> Outcome {
    match body {
        TxnBody::Create(txn) => {
            let lifetime = match txn.ephemeral {
                true => Lifetime::Session(header.client_id),
                false => Lifetime::Persistent,
            };
            let new = New::of(
                &txn.path,
                &txn.data,
                &txn.acl,
                txn.parent_cversion,
                lifetime,
            );
            let outcome = create(db, header, &new, events);
            // The real server makes up for a znode that a snapshot already has here only.
            if op == OpCode::Create && outcome == Outcome::Failed(ErrorCode::NodeExists) {
                raise_parent(&mut db.tree, &txn.path, txn.parent_cversion, header.zxid);
            }
            outcome
        }
        TxnBody::CreateContainer(txn) => {
            let (cversion, lifetime) = (txn.parent_cversion, Lifetime::Container);
            create(
                db,
                header,
                &New::of(&txn.path, &txn.data, &txn.acl, cversion, lifetime),
                events,
            )
        }
        TxnBody::CreateTtl(txn) => {
            let (cversion, lifetime) = (txn.parent_cversion, Lifetime::Ttl(txn.ttl_ms));
            create(
                db,
                header,
                &New::of(&txn.path, &txn.data, &txn.acl, cversion, lifetime),
                events,
            )
        }
        TxnBody::Delete(txn) => match delete(db, &txn.path, header.zxid, events) {
            Ok(()) => Outcome::Done,
            Err(error) => failed(error),
        },
        TxnBody::SetData(txn) => {
            let (zxid, time_ms) = (header.zxid, header.time_ms);
            match db
                .tree
                .set_data(&txn.path, txn.data.as_deref(), txn.version, zxid, time_ms)
            {
                Ok(()) => {
                    count_write(db, &txn.path, txn.data.as_ref());
                    let hit = db.watches.data_changed(&txn.path);
                    tell(db, hit, EventType::NodeDataChanged, &txn.path, events);
                    changed(db, &txn.path)
                }
                Err(error) => failed(error),
            }
        }
        TxnBody::SetAcl(txn) => match db.tree.set_acl(&txn.path, &txn.acl, txn.version) {
            Ok(()) => changed(db, &txn.path),
            Err(error) => failed(error),
        },
        TxnBody::Check(txn) => changed(db, &txn.path),
        TxnBody::Error(txn) => {
            Outcome::Failed(ErrorCode::from_code(txn.err).unwrap_or(ErrorCode::SystemError))
        }
        TxnBody::Multi(_) | TxnBody::CreateSession(_) | TxnBody::CloseSession(_) => Outcome::Done,
    }
}

fn failed(error: TreeError) -> Outcome {
    Outcome::Failed(match error {
        TreeError::NoNode => ErrorCode::NoNode,
        TreeError::NodeExists => ErrorCode::NodeExists,
    })
}

fn changed(db: &Database, path: &str) -> Outcome {
    match db.tree.get(path) {
        Some(node) => Outcome::Changed(node.client_stat(db.options.tree.extended_types)),
        None => Outcome::Failed(ErrorCode::NoNode),
    }
}

/// What the three kinds of create have in common.
struct New<'a> {
    path: &'a ByteString,
    data: &'a Option<Bytes>,
    acl: &'a [Acl],
    parent_cversion: i32,
    owner: i64,
}

impl<'a> New<'a> {
    fn of(
        path: &'a ByteString,
        data: &'a Option<Bytes>,
        acl: &'a [Acl],
        parent_cversion: i32,
        lifetime: Lifetime,
    ) -> Self {
        Self {
            path,
            data,
            acl,
            parent_cversion,
            owner: lifetime.owner(),
        }
    }
}

fn create(
    db: &mut Database,
    header: &TxnHeader,
    new: &New<'_>,
    events: &mut Vec<Event>,
) -> Outcome {
    let node = NewNode {
        path: new.path,
        data: new.data.as_deref(),
        acl: new.acl,
        owner: new.owner,
        parent_cversion: new.parent_cversion,
    };
    if let Err(error) = db.tree.create(node, header.zxid, header.time_ms) {
        return failed(error);
    }
    count_write(db, new.path, new.data.as_ref());
    let hit = db.watches.created(new.path);
    tell(db, hit, EventType::NodeCreated, new.path, events);
    tell_parent(db, new.path, events);
    match changed(db, new.path) {
        Outcome::Changed(stat) => Outcome::Created(new.path.clone(), stat),
        other => other,
    }
}

fn delete(
    db: &mut Database,
    path: &str,
    zxid: i64,
    events: &mut Vec<Event>,
) -> Result<(), TreeError> {
    let acl = db.tree.get(path).map(|node| db.tree.acl_of(node));
    db.tree.delete(path, zxid)?;
    count_write(db, path, None);
    let hit = db.watches.deleted(path);
    if let Some(acl) = acl {
        push(events, hit, EventType::NodeDeleted, path, &acl);
    }
    tell_parent(db, path, events);
    Ok(())
}

fn count_write(db: &mut Database, path: &str, data: Option<&Bytes>) {
    let bytes = java_length(path.as_bytes()) + data.map_or(0, Bytes::len);
    db.stats.writes.observe(path, bytes as u64);
}

fn raise_parent(tree: &mut Tree, path: &str, cversion: i32, zxid: i64) {
    if let Some((parent, _)) = split(path) {
        // The child exists, so its parent does.
        let _ = tree.raise_cversion(parent, cversion, zxid);
    }
}

fn close_session(
    db: &mut Database,
    header: &TxnHeader,
    txn: Option<&CloseSessionTxn>,
    events: &mut Vec<Event>,
) {
    db.sessions.remove(header.client_id);
    let mut left = db.tree.take_ephemerals(header.client_id);
    for path in txn.into_iter().flat_map(|txn| &txn.paths) {
        left.remove::<str>(path);
        // Missing ones are not in a snapshot that was written while they went.
        let _ = delete(db, path, header.zxid, events);
    }
    for path in left {
        let _ = delete(db, &path, header.zxid, events);
    }
}

fn tell_parent(db: &mut Database, path: &str, events: &mut Vec<Event>) {
    let Some((parent, _)) = split(path) else {
        return;
    };
    let parent = if parent.is_empty() { "/" } else { parent };
    let hit = db.watches.children_changed(parent);
    tell(db, hit, EventType::NodeChildrenChanged, parent, events);
}

fn tell(
    db: &Database,
    hit: impl IntoIterator<Item = ConnectionId>,
    kind: EventType,
    path: &str,
    events: &mut Vec<Event>,
) {
    let mut hit = hit.into_iter().peekable();
    if hit.peek().is_none() {
        return;
    }
    if let Some(node) = db.tree.get(path) {
        push(events, hit, kind, path, &db.tree.acl_of(node));
    }
}

fn push(
    events: &mut Vec<Event>,
    hit: impl IntoIterator<Item = ConnectionId>,
    kind: EventType,
    path: &str,
    acl: &SharedAcl,
) {
    let shared = Rc::<str>::from(path);
    events.extend(hit.into_iter().map(|connection| Event {
        connection,
        kind,
        path: shared.clone(),
        acl: acl.clone(),
    }));
}
