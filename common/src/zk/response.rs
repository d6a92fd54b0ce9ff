//! Pure: replies and watch events (`zookeeper.jute`, module `org.apache.zookeeper.proto`).
//!
//! A frame to a client is `ReplyHeader{int xid, long zxid, int err}` and, if err is 0, the
//! record that belongs to the request's type. A watch event has xid -1 and a [`WatcherEvent`].

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use crate::zk::code::OpCode;
use crate::zk::data::{Acl, ClientInfo, Stat};
use crate::zk::jute::{JuteError, Reader, Record, records};
use crate::zk::multi::MultiResponse;
use crate::zk::request::SaslToken;

/// What happened to a node (`Watcher.Event.EventType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventType {
    /// Nothing: the connection's state changed. Never sent by servers.
    None = -1,
    /// It was created.
    NodeCreated = 1,
    /// It was deleted.
    NodeDeleted = 2,
    /// Its data was set.
    NodeDataChanged = 3,
    /// A child was created or deleted.
    NodeChildrenChanged = 4,
    /// A watch on data was removed. Never sent by servers.
    DataWatchRemoved = 5,
    /// A watch on children was removed. Never sent by servers.
    ChildWatchRemoved = 6,
    /// A persistent watch was removed. Never sent by servers.
    PersistentWatchRemoved = 7,
}

impl EventType {
    /// What a code on the wire means, if anything.
    #[must_use]
    pub const fn from_code(code: i32) -> Option<Self> {
        Some(match code {
            -1 => Self::None,
            1 => Self::NodeCreated,
            2 => Self::NodeDeleted,
            3 => Self::NodeDataChanged,
            4 => Self::NodeChildrenChanged,
            5 => Self::DataWatchRemoved,
            6 => Self::ChildWatchRemoved,
            7 => Self::PersistentWatchRemoved,
            _ => return None,
        })
    }

    /// The code on the wire.
    #[must_use]
    pub const fn code(self) -> i32 {
        self as i32
    }
}

/// `KeeperState.SyncConnected`, the state in every event a server sends.
pub const STATE_SYNC_CONNECTED: i32 = 3;

records! {
    /// What opens every reply.
    #[derive(Copy)]
    pub struct ReplyHeader {
        /// The request's xid, or one of the special ones.
        pub xid: i32,
        /// For a write its zxid, for a read the last one applied; -1 for events.
        pub zxid: i64,
        /// An [`crate::zk::code::ErrorCode`].
        pub err: i32,
    }

    /// A watch fired.
    pub struct WatcherEvent {
        /// An [`EventType`].
        pub kind: i32,
        /// [`STATE_SYNC_CONNECTED`].
        pub state: i32,
        /// The node.
        pub path: ByteString,
    }

    /// To create.
    pub struct CreateResponse {
        /// The node, with its number if sequential.
        pub path: ByteString,
    }

    /// To create2, createContainer, createTTL.
    pub struct Create2Response {
        /// The node, with its number if sequential.
        pub path: ByteString,
        /// Its stat.
        pub stat: Stat,
    }

    /// To exists, setData, setACL, and check outside of a multi.
    pub struct StatResponse {
        /// The node's stat.
        pub stat: Stat,
    }

    /// To getData and reconfig.
    pub struct GetDataResponse {
        /// The data.
        pub data: Option<Bytes>,
        /// The node's stat.
        pub stat: Stat,
    }

    /// To getACL.
    pub struct GetAclResponse {
        /// The ACL.
        pub acl: Vec<Acl>,
        /// The node's stat.
        pub stat: Stat,
    }

    /// To getChildren.
    pub struct GetChildrenResponse {
        /// Names, in no order.
        pub children: Vec<ByteString>,
    }

    /// To getChildren2.
    pub struct GetChildren2Response {
        /// Names, in no order.
        pub children: Vec<ByteString>,
        /// The node's stat.
        pub stat: Stat,
    }

    /// To sync.
    pub struct SyncResponse {
        /// The path asked for.
        pub path: ByteString,
    }

    /// To getEphemerals.
    pub struct GetEphemeralsResponse {
        /// Paths, in no order.
        pub ephemerals: Vec<ByteString>,
    }

    /// To getAllChildrenNumber.
    pub struct GetAllChildrenNumberResponse {
        /// Number of descendants.
        pub total: i32,
    }

    /// To addWatch (where it is 0), and for each failure in a multi.
    pub struct ErrorResponse {
        /// An [`crate::zk::code::ErrorCode`].
        pub err: i32,
    }

    /// To whoAmI.
    pub struct WhoAmIResponse {
        /// The connection's identities.
        pub client_info: Vec<ClientInfo>,
    }
}

/// The record of a reply without an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// Nothing follows the header.
    Empty,
    /// To create.
    Create(CreateResponse),
    /// To create2, createContainer, createTTL.
    Create2(Create2Response),
    /// To exists, setData, setACL, check.
    Stat(StatResponse),
    /// To getData and reconfig.
    GetData(GetDataResponse),
    /// To getACL.
    GetAcl(GetAclResponse),
    /// To getChildren.
    GetChildren(GetChildrenResponse),
    /// To getChildren2.
    GetChildren2(GetChildren2Response),
    /// To sync.
    Sync(SyncResponse),
    /// To multi and multiRead.
    Multi(MultiResponse),
    /// To sasl.
    Sasl(SaslToken),
    /// To getEphemerals.
    GetEphemerals(GetEphemeralsResponse),
    /// To getAllChildrenNumber.
    GetAllChildrenNumber(GetAllChildrenNumberResponse),
    /// To addWatch.
    Error(ErrorResponse),
    /// To whoAmI.
    WhoAmI(WhoAmIResponse),
}

impl Response {
    /// Reads the record of a reply to a request of type `op`.
    pub fn decode(op: OpCode, reader: &mut Reader) -> Result<Self, JuteError> {
        Ok(match op {
            OpCode::Create => Self::Create(reader.read()?),
            OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl => {
                Self::Create2(reader.read()?)
            }
            OpCode::Exists | OpCode::SetData | OpCode::SetAcl | OpCode::Check => {
                Self::Stat(reader.read()?)
            }
            OpCode::GetData | OpCode::Reconfig => Self::GetData(reader.read()?),
            OpCode::GetAcl => Self::GetAcl(reader.read()?),
            OpCode::GetChildren => Self::GetChildren(reader.read()?),
            OpCode::GetChildren2 => Self::GetChildren2(reader.read()?),
            OpCode::Sync => Self::Sync(reader.read()?),
            OpCode::Multi | OpCode::MultiRead => Self::Multi(reader.read()?),
            OpCode::Sasl => Self::Sasl(reader.read()?),
            OpCode::GetEphemerals => Self::GetEphemerals(reader.read()?),
            OpCode::GetAllChildrenNumber => Self::GetAllChildrenNumber(reader.read()?),
            OpCode::AddWatch => Self::Error(reader.read()?),
            OpCode::WhoAmI => Self::WhoAmI(reader.read()?),
            OpCode::Delete
            | OpCode::DeleteContainer
            | OpCode::Ping
            | OpCode::Auth
            | OpCode::SetWatches
            | OpCode::SetWatches2
            | OpCode::CheckWatches
            | OpCode::RemoveWatches
            | OpCode::CreateSession
            | OpCode::CloseSession => Self::Empty,
            OpCode::Notification | OpCode::Error => return Err(JuteError::Type(op.code())),
        })
    }

    /// Appends the record, without a header.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Empty => {}
            Self::Create(r) => r.encode(out),
            Self::Create2(r) => r.encode(out),
            Self::Stat(r) => r.encode(out),
            Self::GetData(r) => r.encode(out),
            Self::GetAcl(r) => r.encode(out),
            Self::GetChildren(r) => r.encode(out),
            Self::GetChildren2(r) => r.encode(out),
            Self::Sync(r) => r.encode(out),
            Self::Multi(r) => r.encode(out),
            Self::Sasl(r) => r.encode(out),
            Self::GetEphemerals(r) => r.encode(out),
            Self::GetAllChildrenNumber(r) => r.encode(out),
            Self::Error(r) => r.encode(out),
            Self::WhoAmI(r) => r.encode(out),
        }
    }
}
