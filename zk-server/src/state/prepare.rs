//! Pure: decides what a write does: a transaction, or the error that it fails with
//! (PrepRequestProcessor.java). Either takes a zxid.

use bytestring::ByteString;
use common::zk::code::{ErrorCode, OpCode};
use common::zk::data::{Acl, Id, perms};
use common::zk::path;
use common::zk::request::{
    CheckVersionRequest, CreateMode, CreateRequest, CreateTtlRequest, DeleteRequest, Request,
    SetAclRequest, SetDataRequest,
};
use common::zk::txn::{
    CheckVersionTxn, CloseSessionTxn, CreateContainerTxn, CreateSessionTxn, CreateTtlTxn,
    CreateTxn, DeleteTxn, ErrorTxn, SetAclTxn, SetDataTxn, TxnBody, TxnDigest, TxnEntry, TxnHeader,
};

use crate::state::acl_cache::SharedAcl;
use crate::state::database::Database;
use crate::state::digest;
use crate::state::pending::PendingNode;
use crate::state::permission;
use crate::state::prepare_multi;
use crate::state::quota::{self, QuotaNumbers};
use crate::state::request::{Write, WriteBody};
use crate::state::tree::{is_special, split};
use crate::state::znode::{ExtendedTypes, Lifetime, MAX_TTL_MS, created_stat};

/// Decides on a write at wall clock `time_ms`. The decision counts at once for the next one, and
/// for clients once it has been logged and applied.
pub fn prepare(db: &mut Database, write: &Write, time_ms: i64) -> TxnEntry {
    let zxid = db.next_zxid();
    let op = write.body.op();
    let mut decision = Decision {
        db,
        zxid,
        time_ms,
        session: write.session,
        ids: &write.ids,
    };
    let decided = decision.decide(&write.body);
    let mut header = TxnHeader {
        client_id: write.session,
        cxid: write.cxid,
        zxid,
        time_ms,
        op: op.code(),
    };
    match decided {
        Ok(body) => {
            let digest = decision.digest();
            TxnEntry {
                header,
                body,
                digest,
            }
        }
        Err(error) => {
            header.op = OpCode::Error.code();
            let body = TxnBody::Error(ErrorTxn { err: error.code() });
            TxnEntry {
                header,
                body,
                digest: None,
            }
        }
    }
}

/// One decision that is being made.
pub(super) struct Decision<'a> {
    pub(super) db: &'a mut Database,
    pub(super) zxid: i64,
    time_ms: i64,
    session: i64,
    ids: &'a [Id],
}

/// What all kinds of create have in common.
struct NewNode<'r> {
    op: OpCode,
    path: &'r ByteString,
    data: &'r Option<bytes::Bytes>,
    acl: &'r [Acl],
    flags: i32,
    ttl_ms: i64,
}

impl Decision<'_> {
    fn decide(&mut self, body: &WriteBody) -> Result<TxnBody, ErrorCode> {
        match body {
            WriteBody::Failed(_, error) => Err(*error),
            WriteBody::CreateSession(timeout_ms) => Ok(TxnBody::CreateSession(CreateSessionTxn {
                timeout_ms: *timeout_ms,
            })),
            WriteBody::DeleteContainer(path) => self.delete_container(path),
            WriteBody::Client(Request::CloseSession) => Ok(self.close_session()),
            WriteBody::Client(request) => {
                self.check_session()?;
                self.decide_request(request)
            }
        }
    }

    fn decide_request(&mut self, request: &Request) -> Result<TxnBody, ErrorCode> {
        match request {
            Request::Create(r) => self.create(OpCode::Create, r),
            Request::Create2(r) => self.create(OpCode::Create2, r),
            Request::CreateContainer(r) => self.create(OpCode::CreateContainer, r),
            Request::CreateTtl(r) => self.create_ttl(r),
            Request::Delete(r) => self.delete(r),
            Request::SetData(r) => self.set_data(r),
            Request::SetAcl(r) => self.set_acl(r),
            Request::Check(r) => self.check(r),
            Request::Multi(r) => prepare_multi::decide(self, r),
            // The real server takes the whole packet, header included, for the path.
            Request::DeleteContainer(_) => Err(ErrorCode::BadArguments),
            Request::Reconfig(_) if !self.db.options.reconfig_enabled => {
                Err(ErrorCode::ReconfigDisabled)
            }
            // A standalone server has no ensemble to change.
            _ => Err(ErrorCode::Unimplemented),
        }
    }

    /// The digest for the transaction, once its changes are pending.
    pub(super) fn digest(&self) -> Option<TxnDigest> {
        let tree = &self.db.tree;
        tree.options().digests.then(|| TxnDigest {
            version: digest::VERSION,
            tree_digest: self.db.pending.digest(tree) as i64,
        })
    }

    fn check_session(&self) -> Result<(), ErrorCode> {
        match self.db.sessions.get(self.session) {
            None => Err(ErrorCode::UnknownSession),
            Some(session) if session.closing => Err(ErrorCode::SessionExpired),
            Some(_) => Ok(()),
        }
    }

    fn node(&self, path: &str) -> Result<PendingNode, ErrorCode> {
        self.db.pending.node(&self.db.tree, path)
    }

    fn set(&mut self, path: &str, node: PendingNode) {
        self.db.pending.set(&self.db.tree, path, node);
    }

    fn check_acl(&self, node: &PendingNode, perm: i32) -> Result<(), ErrorCode> {
        if self.db.options.skip_acl
            || permission::allows(&self.db.schemes, &node.acl, perm, self.ids)
        {
            Ok(())
        } else {
            Err(ErrorCode::NoAuth)
        }
    }

    pub(super) fn create(&mut self, op: OpCode, r: &CreateRequest) -> Result<TxnBody, ErrorCode> {
        let (path, data, acl) = (&r.path, &r.data, &r.acl);
        self.create_node(&NewNode {
            op,
            path,
            data,
            acl,
            flags: r.flags,
            ttl_ms: -1,
        })
    }

    pub(super) fn create_ttl(&mut self, r: &CreateTtlRequest) -> Result<TxnBody, ErrorCode> {
        let (path, data, acl, op) = (&r.path, &r.data, &r.acl, OpCode::CreateTtl);
        self.create_node(&NewNode {
            op,
            path,
            data,
            acl,
            flags: r.flags,
            ttl_ms: r.ttl_ms,
        })
    }

    fn create_node(&mut self, new: &NewNode<'_>) -> Result<TxnBody, ErrorCode> {
        let mode = CreateMode::from_flags(new.flags).ok_or(ErrorCode::BadArguments)?;
        check_mode(mode, new.ttl_ms, self.db.options.tree.extended_types)?;
        let (parent_path, _) = split_valid(new.path)?;
        let acl = permission::resolve(&self.db.schemes, new.acl, self.ids)?;
        let mut parent = self.node(parent_path)?;
        self.check_acl(&parent, perms::CREATE)?;

        let parent_stat = parent.stat.ok_or(ErrorCode::NoNode)?;
        let path = if mode.is_sequential() {
            ByteString::from(path::sequential(new.path, parent_stat.cversion))
        } else {
            new.path.clone()
        };
        path::validate(&path).map_err(|_| ErrorCode::BadArguments)?;
        if self.db.pending.exists(&self.db.tree, &path) {
            return Err(ErrorCode::NodeExists);
        }
        let extended = self.db.options.tree.extended_types;
        if let Lifetime::Session(_) = Lifetime::of(parent_stat.ephemeral_owner, extended) {
            return Err(ErrorCode::NoChildrenForEphemerals);
        }
        let bytes = new.data.as_ref().map_or(0, |data| data.len() as i64);
        self.check_quota(&path, 1, bytes)?;

        if new.op == OpCode::CreateTtl && !mode.is_ttl() {
            // The real server would fail while applying this, and stop.
            return Err(ErrorCode::BadArguments);
        }

        let cversion = parent_stat.cversion.wrapping_add(1);
        let lifetime = match new.op {
            OpCode::CreateContainer => Lifetime::Container,
            OpCode::CreateTtl => Lifetime::Ttl(new.ttl_ms),
            _ if mode.is_ephemeral() => Lifetime::Session(self.session),
            _ => Lifetime::Persistent,
        };
        parent.zxid = self.zxid;
        parent.child_count += 1;
        if let Some(stat) = &mut parent.stat {
            stat.cversion = cversion;
            stat.pzxid = self.zxid;
        }
        self.set(parent_path, parent);
        let stat = created_stat(self.zxid, self.time_ms, lifetime.owner());
        let shared = SharedAcl::from(acl.as_slice());
        self.set(
            &path,
            PendingNode::new(self.zxid, stat, shared, new.data.clone()),
        );

        let (data, parent_cversion) = (new.data.clone(), cversion);
        Ok(match new.op {
            OpCode::CreateContainer => TxnBody::CreateContainer(CreateContainerTxn {
                path,
                data,
                acl,
                parent_cversion,
            }),
            OpCode::CreateTtl => {
                let ttl_ms = new.ttl_ms;
                TxnBody::CreateTtl(CreateTtlTxn {
                    path,
                    data,
                    acl,
                    parent_cversion,
                    ttl_ms,
                })
            }
            _ => {
                let ephemeral = mode.is_ephemeral();
                TxnBody::Create(CreateTxn {
                    path,
                    data,
                    acl,
                    ephemeral,
                    parent_cversion,
                })
            }
        })
    }

    pub(super) fn delete(&mut self, r: &DeleteRequest) -> Result<TxnBody, ErrorCode> {
        let (parent_path, _) = split_deletable(&r.path)?;
        let parent = self.node(parent_path)?;
        self.check_acl(&parent, perms::DELETE)?;
        let node = self.node(&r.path)?;
        next_version(node.stat.map_or(0, |stat| stat.version), r.version)?;
        self.remove(&r.path, parent_path, parent, &node)
    }

    fn delete_container(&mut self, path: &str) -> Result<TxnBody, ErrorCode> {
        let (parent_path, _) = split_deletable(path)?;
        let node = self.node(path)?;
        if node.child_count > 0 {
            return Err(ErrorCode::NotEmpty);
        }
        let owner = node.stat.map_or(0, |stat| stat.ephemeral_owner);
        if let Lifetime::Session(_) = Lifetime::of(owner, self.db.options.tree.extended_types) {
            return Err(ErrorCode::BadVersion);
        }
        let parent = self.node(parent_path)?;
        self.remove(path, parent_path, parent, &node)
    }

    fn remove(
        &mut self,
        path: &str,
        parent_path: &str,
        mut parent: PendingNode,
        node: &PendingNode,
    ) -> Result<TxnBody, ErrorCode> {
        if node.child_count > 0 {
            return Err(ErrorCode::NotEmpty);
        }
        parent.zxid = self.zxid;
        parent.child_count = parent.child_count.saturating_sub(1);
        if let Some(stat) = &mut parent.stat {
            stat.pzxid = self.zxid;
        }
        self.set(parent_path, parent);
        self.db.pending.set_deleted(&self.db.tree, path, self.zxid);
        Ok(TxnBody::Delete(DeleteTxn {
            path: ByteString::from(path),
        }))
    }

    pub(super) fn set_data(&mut self, r: &SetDataRequest) -> Result<TxnBody, ErrorCode> {
        path::validate(&r.path).map_err(|_| ErrorCode::BadArguments)?;
        let mut node = self.node(&r.path)?;
        self.check_acl(&node, perms::WRITE)?;
        let bytes = r.data.as_ref().map_or(0, |data| data.len() as i64);
        self.check_quota(&r.path, 0, bytes - node.data_len as i64)?;
        let version = next_version(node.stat.map_or(0, |stat| stat.version), r.version)?;
        node.zxid = self.zxid;
        node.set_data(r.data.clone());
        if let Some(stat) = &mut node.stat {
            stat.version = version;
            stat.mtime = self.time_ms;
            stat.mzxid = self.zxid;
        }
        self.set(&r.path, node);
        Ok(TxnBody::SetData(SetDataTxn {
            path: r.path.clone(),
            data: r.data.clone(),
            version,
        }))
    }

    fn set_acl(&mut self, r: &SetAclRequest) -> Result<TxnBody, ErrorCode> {
        path::validate(&r.path).map_err(|_| ErrorCode::BadArguments)?;
        let acl = permission::resolve(&self.db.schemes, &r.acl, self.ids)?;
        let mut node = self.node(&r.path)?;
        self.check_acl(&node, perms::ADMIN)?;
        let version = next_version(node.stat.map_or(0, |stat| stat.aversion), r.version)?;
        node.zxid = self.zxid;
        node.acl = SharedAcl::from(acl.as_slice());
        if let Some(stat) = &mut node.stat {
            stat.aversion = version;
        }
        self.set(&r.path, node);
        Ok(TxnBody::SetAcl(SetAclTxn {
            path: r.path.clone(),
            acl,
            version,
        }))
    }

    pub(super) fn check(&mut self, r: &CheckVersionRequest) -> Result<TxnBody, ErrorCode> {
        path::validate(&r.path).map_err(|_| ErrorCode::BadArguments)?;
        let node = self.node(&r.path)?;
        self.check_acl(&node, perms::READ)?;
        let version = next_version(node.stat.map_or(0, |stat| stat.version), r.version)?;
        Ok(TxnBody::Check(CheckVersionTxn {
            path: r.path.clone(),
            version,
        }))
    }

    /// Ends a session: its ephemeral znodes go, those included whose creation is only decided.
    fn close_session(&mut self) -> TxnBody {
        let mut paths: std::collections::BTreeSet<String> = self
            .db
            .tree
            .ephemerals(self.session)
            .map(str::to_owned)
            .collect();
        for (path, owner) in self.db.pending.owners() {
            match owner {
                None => {
                    paths.remove(path);
                }
                Some(owner) if owner == self.session => {
                    paths.insert(path.to_owned());
                }
                Some(_) => {}
            }
        }
        for path in &paths {
            let Some((parent_path, _)) = split(path) else {
                continue;
            };
            if let Ok(mut parent) = self.node(parent_path) {
                parent.zxid = self.zxid;
                parent.child_count = parent.child_count.saturating_sub(1);
                if let Some(stat) = &mut parent.stat {
                    stat.pzxid = self.zxid;
                }
                self.set(parent_path, parent);
            }
            self.db.pending.set_deleted(&self.db.tree, path, self.zxid);
        }
        self.db.sessions.set_closing(self.session);
        let paths = paths.into_iter().map(ByteString::from).collect();
        TxnBody::CloseSession(
            self.db
                .options
                .close_session_txn
                .then_some(CloseSessionTxn { paths }),
        )
    }

    fn check_quota(&mut self, path: &str, count: i64, bytes: i64) -> Result<(), ErrorCode> {
        if !self.db.options.enforce_quota {
            return Ok(());
        }
        let tree = &self.db.tree;
        let Some(target) = tree.quota_of(path) else {
            return Ok(());
        };
        // What cannot be read is no reason to let everything pass.
        let numbers = |path: String| match tree.get(&path) {
            None => Ok(None),
            Some(node) => QuotaNumbers::read(node.data())
                .map(Some)
                .ok_or(ErrorCode::MarshallingError),
        };
        let Some(limits) = numbers(quota::limits_path(target))? else {
            return Ok(());
        };
        let (limits_count, limits_bytes) = limits.limits();
        let (check_count, check_bytes) = (limits_count && count != 0, limits_bytes && bytes != 0);
        if !check_count && !check_bytes {
            return Ok(());
        }
        let Some(used) = numbers(quota::stats_path(target))? else {
            return Ok(());
        };
        let sums = [
            (
                check_count,
                "count",
                used.count(),
                count,
                limits.count_hard_limit(),
                limits.count(),
            ),
            (
                check_bytes,
                "bytes",
                used.bytes(),
                bytes,
                limits.byte_hard_limit(),
                limits.bytes(),
            ),
        ];
        for (check, what, used, more, hard, soft) in sums {
            let sum = used.saturating_add(more);
            if check && hard > -1 && sum > hard {
                self.db.stats.quota_exceeded.observe(path, 1);
                return Err(ErrorCode::QuotaExceeded);
            }
            if check && hard == -1 && sum > soft && used <= soft {
                tracing::warn!(
                    "Quota exceeded: {target} [current {what}={sum}, soft limit={soft}]"
                );
            }
        }
        Ok(())
    }
}

/// A time to live belongs to the modes that have one and to nothing else; `extended` tells whether
/// there are such modes.
pub(super) fn check_mode(
    mode: CreateMode,
    ttl_ms: i64,
    extended: ExtendedTypes,
) -> Result<(), ErrorCode> {
    if mode.is_ttl() && extended == ExtendedTypes::Off {
        return Err(ErrorCode::Unimplemented);
    }
    let fits = if mode.is_ttl() {
        (1..=MAX_TTL_MS).contains(&ttl_ms)
    } else {
        ttl_ms < 0
    };
    if fits {
        Ok(())
    } else {
        Err(ErrorCode::BadArguments)
    }
}

/// Parent and name of a path that has both and no NUL in it.
fn split_valid(path: &str) -> Result<(&str, &str), ErrorCode> {
    if path.contains('\0') {
        return Err(ErrorCode::BadArguments);
    }
    split(path).ok_or(ErrorCode::BadArguments)
}

fn split_deletable(path: &str) -> Result<(&str, &str), ErrorCode> {
    if is_special(path) {
        return Err(ErrorCode::BadArguments);
    }
    split_valid(path)
}

/// One more than the current version, if that is the expected one; -1 expects any.
fn next_version(current: i32, expected: i32) -> Result<i32, ErrorCode> {
    if expected != -1 && expected != current {
        return Err(ErrorCode::BadVersion);
    }
    Ok(current.wrapping_add(1))
}
