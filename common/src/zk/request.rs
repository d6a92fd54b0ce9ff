//! Pure: requests (`zookeeper.jute`, module `org.apache.zookeeper.proto`; `ZooDefs.java`).
//!
//! A frame from a client is `RequestHeader{int xid, int type}` and the type's record.

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;

use crate::zk::code::OpCode;
use crate::zk::data::Acl;
use crate::zk::jute::{JuteError, Reader, Record, records};
use crate::zk::multi::MultiRequest;

/// The xid of watch events.
pub const XID_NOTIFICATION: i32 = -1;
/// The xid of pings.
pub const XID_PING: i32 = -2;
/// The xid of auth packets.
pub const XID_AUTH: i32 = -4;
/// The xid of setWatches and setWatches2.
pub const XID_SET_WATCHES: i32 = -8;

/// What kind of node to create (`CreateMode.java`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CreateMode {
    /// Stays.
    Persistent = 0,
    /// Goes with its session.
    Ephemeral = 1,
    /// Stays; a number is added to its name.
    PersistentSequential = 2,
    /// Goes with its session; a number is added to its name.
    EphemeralSequential = 3,
    /// Goes after its last child went.
    Container = 4,
    /// Goes when it has no children and was not set for its time to live.
    PersistentWithTtl = 5,
    /// The same, and a number is added to its name.
    PersistentSequentialWithTtl = 6,
}

impl CreateMode {
    /// The mode that a request's flags name, if any.
    #[must_use]
    pub const fn from_flags(flags: i32) -> Option<Self> {
        Some(match flags {
            0 => Self::Persistent,
            1 => Self::Ephemeral,
            2 => Self::PersistentSequential,
            3 => Self::EphemeralSequential,
            4 => Self::Container,
            5 => Self::PersistentWithTtl,
            6 => Self::PersistentSequentialWithTtl,
            _ => return None,
        })
    }

    /// The flags on the wire.
    #[must_use]
    pub const fn flags(self) -> i32 {
        self as i32
    }

    /// Whether a number is added to the name.
    #[must_use]
    pub const fn is_sequential(self) -> bool {
        matches!(
            self,
            Self::PersistentSequential
                | Self::EphemeralSequential
                | Self::PersistentSequentialWithTtl
        )
    }

    /// Whether the node goes with its session.
    #[must_use]
    pub const fn is_ephemeral(self) -> bool {
        matches!(self, Self::Ephemeral | Self::EphemeralSequential)
    }

    /// Whether the node has a time to live.
    #[must_use]
    pub const fn is_ttl(self) -> bool {
        matches!(
            self,
            Self::PersistentWithTtl | Self::PersistentSequentialWithTtl
        )
    }
}

/// How an added watch behaves (`AddWatchMode.java`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddWatchMode {
    /// Stays when it fires.
    Persistent = 0,
    /// Stays, and watches everything below too.
    PersistentRecursive = 1,
}

impl AddWatchMode {
    /// The mode that a request names, if any.
    #[must_use]
    pub const fn from_code(code: i32) -> Option<Self> {
        match code {
            0 => Some(Self::Persistent),
            1 => Some(Self::PersistentRecursive),
            _ => None,
        }
    }

    /// The code on the wire.
    #[must_use]
    pub const fn code(self) -> i32 {
        self as i32
    }
}

/// Which watches to check or remove (`Watcher.WatcherType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WatcherType {
    /// Those on children.
    Children = 1,
    /// Those on data and existence.
    Data = 2,
    /// All of them.
    Any = 3,
}

impl WatcherType {
    /// The type that a request names, if any.
    #[must_use]
    pub const fn from_code(code: i32) -> Option<Self> {
        match code {
            1 => Some(Self::Children),
            2 => Some(Self::Data),
            3 => Some(Self::Any),
            _ => None,
        }
    }

    /// The code on the wire.
    #[must_use]
    pub const fn code(self) -> i32 {
        self as i32
    }
}

records! {
    /// What opens every request.
    #[derive(Copy)]
    pub struct RequestHeader {
        /// The client's number for it, from 1; below 0 for the special ones.
        pub xid: i32,
        /// An [`OpCode`], if it is known.
        pub op: i32,
    }

    /// create, create2, createContainer.
    pub struct CreateRequest {
        /// The node, or the start of its name if sequential.
        pub path: ByteString,
        /// Its data.
        pub data: Option<Bytes>,
        /// Its ACL.
        pub acl: Vec<Acl>,
        /// A [`CreateMode`].
        pub flags: i32,
    }

    /// createTTL.
    pub struct CreateTtlRequest {
        /// The node, or the start of its name if sequential.
        pub path: ByteString,
        /// Its data.
        pub data: Option<Bytes>,
        /// Its ACL.
        pub acl: Vec<Acl>,
        /// A [`CreateMode`].
        pub flags: i32,
        /// Its time to live in ms.
        pub ttl_ms: i64,
    }

    /// delete.
    pub struct DeleteRequest {
        /// The node.
        pub path: ByteString,
        /// The version expected, -1 for any.
        pub version: i32,
    }

    /// exists, getData, getChildren, getChildren2.
    pub struct WatchableRequest {
        /// The node.
        pub path: ByteString,
        /// Whether to leave a watch.
        pub watch: bool,
    }

    /// setData.
    pub struct SetDataRequest {
        /// The node.
        pub path: ByteString,
        /// Its new data.
        pub data: Option<Bytes>,
        /// The version expected, -1 for any.
        pub version: i32,
    }

    /// getACL, sync, getEphemerals (a prefix), getAllChildrenNumber.
    pub struct PathRequest {
        /// The node.
        pub path: ByteString,
    }

    /// setACL.
    pub struct SetAclRequest {
        /// The node.
        pub path: ByteString,
        /// Its new ACL.
        pub acl: Vec<Acl>,
        /// The aversion expected, -1 for any.
        pub version: i32,
    }

    /// check.
    pub struct CheckVersionRequest {
        /// The node.
        pub path: ByteString,
        /// The version expected, -1 for any.
        pub version: i32,
    }

    /// reconfig.
    pub struct ReconfigRequest {
        /// Servers to add, as `server.N=...` separated by commas.
        pub joining: Option<ByteString>,
        /// Ids of servers to take out, separated by commas.
        pub leaving: Option<ByteString>,
        /// The whole new membership instead.
        pub new_members: Option<ByteString>,
        /// The configuration version expected, -1 for any.
        pub current_config: i64,
    }

    /// checkWatches, removeWatches.
    pub struct WatchesRequest {
        /// The node.
        pub path: ByteString,
        /// A [`WatcherType`].
        pub kind: i32,
    }

    /// auth.
    pub struct AuthPacket {
        /// 0.
        pub kind: i32,
        /// The scheme; a client that sends none is none of the known ones.
        pub scheme: Option<ByteString>,
        /// What the scheme takes for proof.
        pub auth: Option<Bytes>,
    }

    /// sasl, and its answer.
    pub struct SaslToken {
        /// One step of the exchange.
        pub token: Option<Bytes>,
    }

    /// setWatches.
    pub struct SetWatches {
        /// The newest zxid the client has heard of.
        pub relative_zxid: i64,
        /// Nodes whose data is watched.
        pub data: Vec<ByteString>,
        /// Missing nodes whose creation is watched.
        pub exist: Vec<ByteString>,
        /// Nodes whose children are watched.
        pub child: Vec<ByteString>,
    }

    /// setWatches2.
    pub struct SetWatches2 {
        /// The newest zxid the client has heard of.
        pub relative_zxid: i64,
        /// Nodes whose data is watched.
        pub data: Vec<ByteString>,
        /// Missing nodes whose creation is watched.
        pub exist: Vec<ByteString>,
        /// Nodes whose children are watched.
        pub child: Vec<ByteString>,
        /// Nodes with a persistent watch.
        pub persistent: Vec<ByteString>,
        /// Nodes with a persistent recursive watch.
        pub persistent_recursive: Vec<ByteString>,
    }

    /// addWatch.
    pub struct AddWatchRequest {
        /// The node.
        pub path: ByteString,
        /// An [`AddWatchMode`].
        pub mode: i32,
    }
}

/// Everything a client may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Create a node.
    Create(CreateRequest),
    /// Create a node, answer with its stat.
    Create2(CreateRequest),
    /// Create a container.
    CreateContainer(CreateRequest),
    /// Create a node with a time to live.
    CreateTtl(CreateTtlRequest),
    /// Delete a node.
    Delete(DeleteRequest),
    /// The server's own deletion: the body is the bare path, without a length.
    DeleteContainer(Bytes),
    /// Look whether a node exists.
    Exists(WatchableRequest),
    /// Read data.
    GetData(WatchableRequest),
    /// Write data.
    SetData(SetDataRequest),
    /// Read an ACL.
    GetAcl(PathRequest),
    /// Write an ACL.
    SetAcl(SetAclRequest),
    /// List children.
    GetChildren(WatchableRequest),
    /// List children, with the stat.
    GetChildren2(WatchableRequest),
    /// Catch up with the leader.
    Sync(PathRequest),
    /// Keep the session alive.
    Ping,
    /// Compare a version.
    Check(CheckVersionRequest),
    /// Several writes or none.
    Multi(MultiRequest),
    /// Several reads.
    MultiRead(MultiRequest),
    /// Change the ensemble.
    Reconfig(ReconfigRequest),
    /// Ask whether a watch is there.
    CheckWatches(WatchesRequest),
    /// Take watches off.
    RemoveWatches(WatchesRequest),
    /// Authenticate.
    Auth(AuthPacket),
    /// Set watches again.
    SetWatches(SetWatches),
    /// Set watches again, persistent ones too.
    SetWatches2(SetWatches2),
    /// A step of a SASL exchange.
    Sasl(SaslToken),
    /// List this session's ephemeral nodes below a prefix.
    GetEphemerals(PathRequest),
    /// Count a node's descendants.
    GetAllChildrenNumber(PathRequest),
    /// Add a persistent watch.
    AddWatch(AddWatchRequest),
    /// Tell this connection's identities.
    WhoAmI,
    /// End the session.
    CloseSession,
}

impl Request {
    /// Reads the record that follows a header of type `op`.
    pub fn decode(op: OpCode, reader: &mut Reader) -> Result<Self, JuteError> {
        Ok(match op {
            OpCode::Create => Self::Create(reader.read()?),
            OpCode::Create2 => Self::Create2(reader.read()?),
            OpCode::CreateContainer => Self::CreateContainer(reader.read()?),
            OpCode::CreateTtl => Self::CreateTtl(reader.read()?),
            OpCode::Delete => Self::Delete(reader.read()?),
            OpCode::DeleteContainer => Self::DeleteContainer(reader.take_rest()),
            OpCode::Exists => Self::Exists(reader.read()?),
            OpCode::GetData => Self::GetData(reader.read()?),
            OpCode::SetData => Self::SetData(reader.read()?),
            OpCode::GetAcl => Self::GetAcl(reader.read()?),
            OpCode::SetAcl => Self::SetAcl(reader.read()?),
            OpCode::GetChildren => Self::GetChildren(reader.read()?),
            OpCode::GetChildren2 => Self::GetChildren2(reader.read()?),
            OpCode::Sync => Self::Sync(reader.read()?),
            OpCode::Ping => Self::Ping,
            OpCode::Check => Self::Check(reader.read()?),
            OpCode::Multi => Self::Multi(reader.read()?),
            OpCode::MultiRead => {
                let multi: MultiRequest = reader.read()?;
                if multi.ops.first().is_some_and(|op| !op.is_read()) {
                    return Err(JuteError::MixedMulti);
                }
                Self::MultiRead(multi)
            }
            OpCode::Reconfig => Self::Reconfig(reader.read()?),
            OpCode::CheckWatches => Self::CheckWatches(reader.read()?),
            OpCode::RemoveWatches => Self::RemoveWatches(reader.read()?),
            OpCode::Auth => Self::Auth(reader.read()?),
            OpCode::SetWatches => Self::SetWatches(reader.read()?),
            OpCode::SetWatches2 => Self::SetWatches2(reader.read()?),
            OpCode::Sasl => Self::Sasl(reader.read()?),
            OpCode::GetEphemerals => Self::GetEphemerals(reader.read()?),
            OpCode::GetAllChildrenNumber => Self::GetAllChildrenNumber(reader.read()?),
            OpCode::AddWatch => Self::AddWatch(reader.read()?),
            OpCode::WhoAmI => Self::WhoAmI,
            OpCode::CloseSession => Self::CloseSession,
            OpCode::Notification | OpCode::Error | OpCode::CreateSession => {
                return Err(JuteError::Type(op.code()));
            }
        })
    }

    /// The type for the header.
    #[must_use]
    pub const fn op(&self) -> OpCode {
        match self {
            Self::Create(_) => OpCode::Create,
            Self::Create2(_) => OpCode::Create2,
            Self::CreateContainer(_) => OpCode::CreateContainer,
            Self::CreateTtl(_) => OpCode::CreateTtl,
            Self::Delete(_) => OpCode::Delete,
            Self::DeleteContainer(_) => OpCode::DeleteContainer,
            Self::Exists(_) => OpCode::Exists,
            Self::GetData(_) => OpCode::GetData,
            Self::SetData(_) => OpCode::SetData,
            Self::GetAcl(_) => OpCode::GetAcl,
            Self::SetAcl(_) => OpCode::SetAcl,
            Self::GetChildren(_) => OpCode::GetChildren,
            Self::GetChildren2(_) => OpCode::GetChildren2,
            Self::Sync(_) => OpCode::Sync,
            Self::Ping => OpCode::Ping,
            Self::Check(_) => OpCode::Check,
            Self::Multi(_) => OpCode::Multi,
            Self::MultiRead(_) => OpCode::MultiRead,
            Self::Reconfig(_) => OpCode::Reconfig,
            Self::CheckWatches(_) => OpCode::CheckWatches,
            Self::RemoveWatches(_) => OpCode::RemoveWatches,
            Self::Auth(_) => OpCode::Auth,
            Self::SetWatches(_) => OpCode::SetWatches,
            Self::SetWatches2(_) => OpCode::SetWatches2,
            Self::Sasl(_) => OpCode::Sasl,
            Self::GetEphemerals(_) => OpCode::GetEphemerals,
            Self::GetAllChildrenNumber(_) => OpCode::GetAllChildrenNumber,
            Self::AddWatch(_) => OpCode::AddWatch,
            Self::WhoAmI => OpCode::WhoAmI,
            Self::CloseSession => OpCode::CloseSession,
        }
    }

    /// Appends the record, without a header.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Create(r) | Self::Create2(r) | Self::CreateContainer(r) => r.encode(out),
            Self::CreateTtl(r) => r.encode(out),
            Self::Delete(r) => r.encode(out),
            Self::DeleteContainer(path) => out.put_slice(path),
            Self::Exists(r) | Self::GetData(r) | Self::GetChildren(r) | Self::GetChildren2(r) => {
                r.encode(out);
            }
            Self::SetData(r) => r.encode(out),
            Self::GetAcl(r)
            | Self::Sync(r)
            | Self::GetEphemerals(r)
            | Self::GetAllChildrenNumber(r) => r.encode(out),
            Self::SetAcl(r) => r.encode(out),
            Self::Check(r) => r.encode(out),
            Self::Multi(r) | Self::MultiRead(r) => r.encode(out),
            Self::Reconfig(r) => r.encode(out),
            Self::CheckWatches(r) | Self::RemoveWatches(r) => r.encode(out),
            Self::Auth(r) => r.encode(out),
            Self::SetWatches(r) => r.encode(out),
            Self::SetWatches2(r) => r.encode(out),
            Self::Sasl(r) => r.encode(out),
            Self::AddWatch(r) => r.encode(out),
            Self::Ping | Self::WhoAmI | Self::CloseSession => {}
        }
    }
}
