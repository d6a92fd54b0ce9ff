//! Shell: the client's operations, one method each.
//!
//! Every method queues its request before it returns its future, so requests go out in the
//! order of the calls whether or not the futures are polled yet.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::zk::client::client::{Answer, ZkClient, ended};
use crate::zk::client::connect_string::ConnectString;
use crate::zk::client::error::{MultiError, ZkError};
use crate::zk::client::session::Call;
use crate::zk::client::watches::WatchChange;
use crate::zk::code::{ErrorCode, OpCode};
use crate::zk::data::{Acl, ClientInfo, Stat};
use crate::zk::multi::{MultiOp, MultiRequest, MultiResponse, MultiResult};
use crate::zk::path;
use crate::zk::request::{
    AddWatchMode, AddWatchRequest, CreateMode, CreateRequest, CreateTtlRequest, DeleteRequest,
    PathRequest, ReconfigRequest, Request, SetAclRequest, SetDataRequest, WatchableRequest,
    WatcherType, WatchesRequest,
};
use crate::zk::response::{
    Create2Response, CreateResponse, GetAclResponse, GetAllChildrenNumberResponse,
    GetChildren2Response, GetDataResponse, GetEphemeralsResponse, StatResponse, WhoAmIResponse,
};

/// The node with the ensemble's configuration: outside of any chroot.
const CONFIG_NODE: &str = "/zookeeper/config";

impl ZkClient {
    /// Creates a node and gives its path, which has a number added if the mode is sequential.
    /// For a TTL mode there is [`ZkClient::create_ttl`].
    pub fn create(
        &self,
        path: &str,
        data: Option<Bytes>,
        acl: &[Acl],
        mode: CreateMode,
    ) -> impl Future<Output = Result<String, ZkError>> + Send + use<> {
        let asked = self.ask_create(path, data, acl, mode, OpCode::Create);
        let (connect, path) = (Arc::clone(&self.connect), path.to_owned());
        async move {
            let reader = &mut asked.await.body(&path)?;
            let created = match mode {
                CreateMode::Container => reader.read::<Create2Response>()?.path,
                _ => reader.read::<CreateResponse>()?.path,
            };
            Ok(connect.to_client(&created))
        }
    }

    /// Creates a node and gives its path and stat.
    pub fn create2(
        &self,
        path: &str,
        data: Option<Bytes>,
        acl: &[Acl],
        mode: CreateMode,
    ) -> impl Future<Output = Result<(String, Stat), ZkError>> + Send + use<> {
        let asked = self.ask_create(path, data, acl, mode, OpCode::Create2);
        created2(Arc::clone(&self.connect), asked, path.to_owned())
    }

    /// Creates a node that goes when it has no children and was not set for `ttl_ms`.
    pub fn create_ttl(
        &self,
        path: &str,
        data: Option<Bytes>,
        acl: &[Acl],
        mode: CreateMode,
        ttl_ms: i64,
    ) -> impl Future<Output = Result<(String, Stat), ZkError>> + Send + use<> {
        let request = CreateTtlRequest {
            path: self.server_path(path),
            data,
            acl: acl.to_vec(),
            flags: mode.flags(),
            ttl_ms,
        };
        let valid = path::validate_for_create(path, mode.is_sequential());
        let asked = self.ask(valid, Request::CreateTtl(request), None);
        created2(Arc::clone(&self.connect), asked, path.to_owned())
    }

    fn ask_create(
        &self,
        path: &str,
        data: Option<Bytes>,
        acl: &[Acl],
        mode: CreateMode,
        op: OpCode,
    ) -> impl Future<Output = Answer> + Send + use<> {
        let path_sent = self.server_path(path);
        let flags = mode.flags();
        let record = CreateRequest {
            path: path_sent,
            data,
            acl: acl.to_vec(),
            flags,
        };
        let request = match op {
            _ if mode == CreateMode::Container => Request::CreateContainer(record),
            OpCode::Create2 => Request::Create2(record),
            _ => Request::Create(record),
        };
        self.ask(
            path::validate_for_create(path, mode.is_sequential()),
            request,
            None,
        )
    }

    /// Deletes a node that has this version (-1: any).
    pub fn delete(
        &self,
        path: &str,
        version: i32,
    ) -> impl Future<Output = Result<(), ZkError>> + Send + use<> {
        let request = DeleteRequest {
            path: self.server_path(path),
            version,
        };
        self.tell(path, Request::Delete(request), None)
    }

    /// The node's stat, or none if there is no such node. With `watch` its creation, change or
    /// deletion will be an event.
    pub fn exists(
        &self,
        path: &str,
        watch: bool,
    ) -> impl Future<Output = Result<Option<Stat>, ZkError>> + Send + use<> {
        let path_sent = self.server_path(path);
        let change = watch.then(|| WatchChange::Exist(path_sent.to_string()));
        let request = Request::Exists(WatchableRequest {
            path: path_sent,
            watch,
        });
        let asked = self.ask(path::validate(path), request, change);
        let path = path.to_owned();
        async move {
            match asked.await.record::<StatResponse>(&path) {
                Ok(response) => Ok(Some(response.stat)),
                Err(error) if error.is(ErrorCode::NoNode) => Ok(None),
                Err(error) => Err(error),
            }
        }
    }

    /// A node's data and stat. With `watch` its change or deletion will be an event.
    pub fn get_data(
        &self,
        path: &str,
        watch: bool,
    ) -> impl Future<Output = Result<(Option<Bytes>, Stat), ZkError>> + Send + use<> {
        let path_sent = self.server_path(path);
        let change = watch.then(|| WatchChange::Data(path_sent.to_string()));
        let request = Request::GetData(WatchableRequest {
            path: path_sent,
            watch,
        });
        let asked = self.ask(path::validate(path), request, change);
        let path = path.to_owned();
        async move {
            let response: GetDataResponse = asked.await.record(&path)?;
            Ok((response.data, response.stat))
        }
    }

    /// Sets the data of a node that has this version (-1: any).
    pub fn set_data(
        &self,
        path: &str,
        data: Option<Bytes>,
        version: i32,
    ) -> impl Future<Output = Result<Stat, ZkError>> + Send + use<> {
        let request = SetDataRequest {
            path: self.server_path(path),
            data,
            version,
        };
        let asked = self.ask(path::validate(path), Request::SetData(request), None);
        let path = path.to_owned();
        async move { Ok(asked.await.record::<StatResponse>(&path)?.stat) }
    }

    /// The names of a node's children, in no order, and its stat. With `watch` the creation or
    /// deletion of a child, and its own deletion, will be an event.
    pub fn get_children(
        &self,
        path: &str,
        watch: bool,
    ) -> impl Future<Output = Result<(Vec<String>, Stat), ZkError>> + Send + use<> {
        let path_sent = self.server_path(path);
        let change = watch.then(|| WatchChange::Child(path_sent.to_string()));
        let request = Request::GetChildren2(WatchableRequest {
            path: path_sent,
            watch,
        });
        let asked = self.ask(path::validate(path), request, change);
        let path = path.to_owned();
        async move {
            let response: GetChildren2Response = asked.await.record(&path)?;
            let names = response
                .children
                .iter()
                .map(|name| name.to_string())
                .collect();
            Ok((names, response.stat))
        }
    }

    /// A node's ACL and stat.
    pub fn get_acl(
        &self,
        path: &str,
    ) -> impl Future<Output = Result<(Vec<Acl>, Stat), ZkError>> + Send + use<> {
        let request = Request::GetAcl(PathRequest {
            path: self.server_path(path),
        });
        let asked = self.ask(path::validate(path), request, None);
        let path = path.to_owned();
        async move {
            let response: GetAclResponse = asked.await.record(&path)?;
            Ok((response.acl, response.stat))
        }
    }

    /// Sets the ACL of a node whose ACL has this version (-1: any).
    pub fn set_acl(
        &self,
        path: &str,
        acl: &[Acl],
        version: i32,
    ) -> impl Future<Output = Result<Stat, ZkError>> + Send + use<> {
        let request = SetAclRequest {
            path: self.server_path(path),
            acl: acl.to_vec(),
            version,
        };
        let asked = self.ask(path::validate(path), Request::SetAcl(request), None);
        let path = path.to_owned();
        async move { Ok(asked.await.record::<StatResponse>(&path)?.stat) }
    }

    /// Waits until the server has caught up with the leader.
    pub fn sync(&self, path: &str) -> impl Future<Output = Result<(), ZkError>> + Send + use<> {
        let request = Request::Sync(PathRequest {
            path: self.server_path(path),
        });
        self.tell(path, request, None)
    }

    /// Does all of these writes, or none.
    pub fn multi(
        &self,
        ops: Vec<MultiOp>,
    ) -> impl Future<Output = Result<Vec<MultiResult>, MultiError>> + Send + use<> {
        let valid = ops.iter().try_for_each(|op| match op {
            MultiOp::Create(create) | MultiOp::Create2(create) => {
                let mode = CreateMode::from_flags(create.flags);
                path::validate_for_create(&create.path, mode.is_some_and(|m| m.is_sequential()))
            }
            MultiOp::CreateTtl(create) => {
                let mode = CreateMode::from_flags(create.flags);
                path::validate_for_create(&create.path, mode.is_some_and(|m| m.is_sequential()))
            }
            op => path::validate(op.path()),
        });
        let ops = ops.into_iter().map(|op| self.rooted(op)).collect();
        let asked = self.ask(valid, Request::Multi(MultiRequest { ops }), None);
        let connect = Arc::clone(&self.connect);
        async move {
            let mut results = asked.await.record::<MultiResponse>("")?.results;
            for result in &mut results {
                if let MultiResult::Create { path } | MultiResult::Create2 { path, .. } = result {
                    *path = connect.to_client(path).into();
                }
            }
            let failed = results
                .iter()
                .enumerate()
                .find_map(|(index, result)| match result {
                    MultiResult::Error(code) if *code != 0 => Some((index, *code)),
                    _ => None,
                });
            match failed {
                None => Ok(results),
                Some((index, code)) => {
                    let error = ZkError::from_reply(code, "");
                    Err(MultiError {
                        error,
                        index: Some(index),
                        results,
                    })
                }
            }
        }
    }

    /// Does all of these reads ([`MultiOp::GetData`], [`MultiOp::GetChildren`]); each result may
    /// be an error of its own.
    pub fn multi_read(
        &self,
        ops: Vec<MultiOp>,
    ) -> impl Future<Output = Result<Vec<MultiResult>, ZkError>> + Send + use<> {
        let valid = ops.iter().try_for_each(|op| path::validate(op.path()));
        let ops = ops.into_iter().map(|op| self.rooted(op)).collect();
        let asked = self.ask(valid, Request::MultiRead(MultiRequest { ops }), None);
        async move { Ok(asked.await.record::<MultiResponse>("")?.results) }
    }

    /// The operation with its path seen from the server.
    fn rooted(&self, mut op: MultiOp) -> MultiOp {
        let path = self.server_path(op.path());
        match &mut op {
            MultiOp::Create(r) | MultiOp::Create2(r) | MultiOp::CreateContainer(r) => r.path = path,
            MultiOp::CreateTtl(r) => r.path = path,
            MultiOp::Delete(r) => r.path = path,
            MultiOp::SetData(r) => r.path = path,
            MultiOp::Check(r) => r.path = path,
            MultiOp::GetData(p) | MultiOp::GetChildren(p) => *p = path,
        }
        op
    }

    /// Adds a watch that stays when it fires.
    pub fn add_watch(
        &self,
        path: &str,
        mode: AddWatchMode,
    ) -> impl Future<Output = Result<(), ZkError>> + Send + use<> {
        let path_sent = self.server_path(path);
        let change = WatchChange::Add(path_sent.to_string(), mode);
        let request = AddWatchRequest {
            path: path_sent,
            mode: mode.code(),
        };
        self.tell(path, Request::AddWatch(request), Some(change))
    }

    /// Removes this client's watches of a kind; each table that had one gives an event. With
    /// `local` they are forgotten here even if the server cannot be asked or refuses.
    pub fn remove_watches(
        &self,
        path: &str,
        kind: WatcherType,
        local: bool,
    ) -> impl Future<Output = Result<(), ZkError>> + Send + use<> {
        let path_sent = self.server_path(path);
        let known = self.watches.lock().has(&path_sent, kind);
        let change = WatchChange::Remove {
            path: path_sent.to_string(),
            kind,
            local,
        };
        let request = WatchesRequest {
            path: path_sent,
            kind: kind.code(),
        };
        let request = Request::RemoveWatches(request);
        let asked = self.tell(path, request, known.then_some(change));
        let path = path.to_owned();
        async move {
            match asked.await {
                Err(error @ ZkError::Path(_)) => Err(error),
                _ if !known => Err(ZkError::Api {
                    code: ErrorCode::NoWatcher,
                    path,
                }),
                Err(error) if !local => Err(error),
                _ => Ok(()),
            }
        }
    }

    /// Authenticates, on this connection and on every later one.
    pub fn add_auth(
        &self,
        scheme: &str,
        auth: Bytes,
    ) -> impl Future<Output = Result<(), ZkError>> + Send + use<> {
        let (reply, answer) = oneshot::channel();
        let call = Call::Auth {
            scheme: scheme.to_owned(),
            auth,
            reply,
        };
        // A closed queue drops the sender, and the answer below says why.
        let _ = self.calls.send(call);
        let state = self.state.clone();
        async move { answer.await.unwrap_or_else(|_| Err(ended(&state))) }
    }

    /// This connection's identities.
    pub fn who_am_i(
        &self,
    ) -> impl Future<Output = Result<Vec<ClientInfo>, ZkError>> + Send + use<> {
        let asked = self.ask(Ok(()), Request::WhoAmI, None);
        async move { Ok(asked.await.record::<WhoAmIResponse>("")?.client_info) }
    }

    /// This session's ephemeral nodes whose paths begin with `prefix`, in no order.
    pub fn get_ephemerals(
        &self,
        prefix: &str,
    ) -> impl Future<Output = Result<Vec<String>, ZkError>> + Send + use<> {
        let request = PathRequest {
            path: self.server_path(prefix),
        };
        let asked = self.ask(
            path::validate(prefix),
            Request::GetEphemerals(request),
            None,
        );
        let (connect, prefix) = (Arc::clone(&self.connect), prefix.to_owned());
        async move {
            let response: GetEphemeralsResponse = asked.await.record(&prefix)?;
            Ok(response
                .ephemerals
                .iter()
                .map(|path| connect.to_client(path))
                .collect())
        }
    }

    /// How many nodes are below this one.
    pub fn get_all_children_number(
        &self,
        path: &str,
    ) -> impl Future<Output = Result<i32, ZkError>> + Send + use<> {
        let request = Request::GetAllChildrenNumber(PathRequest {
            path: self.server_path(path),
        });
        let asked = self.ask(path::validate(path), request, None);
        let path = path.to_owned();
        async move {
            Ok(asked
                .await
                .record::<GetAllChildrenNumberResponse>(&path)?
                .total)
        }
    }

    /// The ensemble's configuration and its stat.
    pub fn get_config(
        &self,
        watch: bool,
    ) -> impl Future<Output = Result<(Option<Bytes>, Stat), ZkError>> + Send + use<> {
        let change = watch.then(|| WatchChange::Data(CONFIG_NODE.to_owned()));
        let request = WatchableRequest {
            path: CONFIG_NODE.into(),
            watch,
        };
        let asked = self.ask(Ok(()), Request::GetData(request), change);
        async move {
            let response: GetDataResponse = asked.await.record(CONFIG_NODE)?;
            Ok((response.data, response.stat))
        }
    }

    /// Changes the ensemble; gives the new configuration.
    pub fn reconfig(
        &self,
        request: ReconfigRequest,
    ) -> impl Future<Output = Result<(Option<Bytes>, Stat), ZkError>> + Send + use<> {
        let asked = self.ask(Ok(()), Request::Reconfig(request), None);
        async move {
            let response: GetDataResponse = asked.await.record("")?;
            Ok((response.data, response.stat))
        }
    }
}

/// Path and stat out of the reply to a create.
async fn created2<F: Future<Output = Answer> + Send>(
    connect: Arc<ConnectString>,
    asked: F,
    path: String,
) -> Result<(String, Stat), ZkError> {
    let created: Create2Response = asked.await.record(&path)?;
    Ok((connect.to_client(&created.path), created.stat))
}
