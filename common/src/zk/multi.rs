//! Pure: multi and multiRead (`MultiOperationRecord.java`, `MultiResponse.java`).
//!
//! Both ways a list of `MultiHeader{int type, boolean done, int err}` and a record, closed by
//! `MultiHeader{-1, true, -1}`.

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use crate::zk::code::OpCode;
use crate::zk::data::{Acl, Stat};
use crate::zk::jute::{JuteError, Reader, Record, records};
use crate::zk::request::{
    CheckVersionRequest, CreateMode, CreateRequest, CreateTtlRequest, DeleteRequest,
    SetDataRequest, WatchableRequest,
};
use crate::zk::response::{
    Create2Response, CreateResponse, ErrorResponse, GetChildrenResponse, GetDataResponse,
    StatResponse,
};

records! {
    /// Stands before each operation or result, and alone at the end.
    #[derive(Copy)]
    pub struct MultiHeader {
        /// An [`OpCode`]; -1 for an error and at the end.
        pub kind: i32,
        /// Whether this is the end.
        pub done: bool,
        /// -1 in requests and at the end, otherwise 0 or an error code.
        pub err: i32,
    }
}

const END: MultiHeader = MultiHeader {
    kind: -1,
    done: true,
    err: -1,
};

/// The longest time to live of a node, in ms (`EphemeralType.TTL`): 40 bits.
pub const MAX_TTL_MS: i64 = 0xff_ffff_ffff;

/// One operation of a multi; the last two are for multiRead only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MultiOp {
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
    /// Write data.
    SetData(SetDataRequest),
    /// Compare a version.
    Check(CheckVersionRequest),
    /// Read data; never leaves a watch.
    GetData(ByteString),
    /// List children; never leaves a watch.
    GetChildren(ByteString),
}

impl MultiOp {
    /// The type for the header.
    #[must_use]
    pub const fn op(&self) -> OpCode {
        match self {
            Self::Create(_) => OpCode::Create,
            Self::Create2(_) => OpCode::Create2,
            Self::CreateContainer(_) => OpCode::CreateContainer,
            Self::CreateTtl(_) => OpCode::CreateTtl,
            Self::Delete(_) => OpCode::Delete,
            Self::SetData(_) => OpCode::SetData,
            Self::Check(_) => OpCode::Check,
            Self::GetData(_) => OpCode::GetData,
            Self::GetChildren(_) => OpCode::GetChildren,
        }
    }

    /// The node it is about.
    #[must_use]
    pub const fn path(&self) -> &ByteString {
        match self {
            Self::Create(r) | Self::Create2(r) | Self::CreateContainer(r) => &r.path,
            Self::CreateTtl(r) => &r.path,
            Self::Delete(r) => &r.path,
            Self::SetData(r) => &r.path,
            Self::Check(r) => &r.path,
            Self::GetData(path) | Self::GetChildren(path) => path,
        }
    }

    /// Whether it belongs into multiRead.
    #[must_use]
    pub const fn is_read(&self) -> bool {
        matches!(self, Self::GetData(_) | Self::GetChildren(_))
    }

    /// Reads the record of an operation of type `kind`.
    pub fn decode(kind: i32, reader: &mut Reader) -> Result<Self, JuteError> {
        Ok(match OpCode::from_code(kind) {
            Some(OpCode::Create | OpCode::Create2 | OpCode::CreateContainer) => {
                let CreateRequest {
                    path,
                    data,
                    acl,
                    flags,
                } = reader.read()?;
                return Self::from_create(kind, path, data, acl, flags, None);
            }
            Some(OpCode::CreateTtl) => {
                let CreateTtlRequest {
                    path,
                    data,
                    acl,
                    flags,
                    ttl_ms,
                } = reader.read()?;
                return Self::from_create(kind, path, data, acl, flags, Some(ttl_ms));
            }
            Some(OpCode::Delete) => Self::Delete(reader.read()?),
            Some(OpCode::SetData) => Self::SetData(reader.read()?),
            Some(OpCode::Check) => Self::Check(reader.read()?),
            Some(OpCode::GetData) => Self::GetData(reader.read::<WatchableRequest>()?.path),
            Some(OpCode::GetChildren) => Self::GetChildren(reader.read::<WatchableRequest>()?.path),
            _ => return Err(JuteError::Type(kind)),
        })
    }

    /// The operation that the parts of a create of type `kind` come to.
    ///
    /// # Errors
    /// When its flags name no mode, or one that the record has no time to live for.
    pub fn from_create(
        kind: i32,
        path: ByteString,
        data: Option<Bytes>,
        acl: Vec<Acl>,
        flags: i32,
        ttl_ms: Option<i64>,
    ) -> Result<Self, JuteError> {
        let mode = CreateMode::from_flags(flags);
        if let Some(ttl_ms) = ttl_ms
            && mode.is_some_and(CreateMode::is_ttl)
        {
            return Ok(Self::CreateTtl(CreateTtlRequest {
                path,
                data,
                acl,
                flags,
                ttl_ms,
            }));
        }
        let create = CreateRequest {
            path,
            data,
            acl,
            flags,
        };
        Ok(match mode {
            Some(CreateMode::Container) => Self::CreateContainer(create),
            // The real server falls back to a plain create where no time to live is needed.
            _ if ttl_ms.is_some() => Self::Create(create),
            None => return Err(JuteError::CreateFlags(flags)),
            // These modes need a time to live, which this record does not have.
            Some(mode) if mode.is_ttl() => return Err(JuteError::MixedMulti),
            Some(_) => match OpCode::from_code(kind) {
                Some(OpCode::Create) => Self::Create(create),
                Some(OpCode::Create2) => Self::Create2(create),
                _ => Self::CreateContainer(create),
            },
        })
    }

    fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Create(r) | Self::Create2(r) | Self::CreateContainer(r) => r.encode(out),
            Self::CreateTtl(r) => r.encode(out),
            Self::Delete(r) => r.encode(out),
            Self::SetData(r) => r.encode(out),
            Self::Check(r) => r.encode(out),
            Self::GetData(path) | Self::GetChildren(path) => {
                path.encode(out);
                false.encode(out);
            }
        }
    }
}

/// The operations of a multi or multiRead: all writes or all reads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MultiRequest {
    /// In the order they are to be done.
    pub ops: Vec<MultiOp>,
}

impl Record for MultiRequest {
    const MIN_BYTES: usize = MultiHeader::MIN_BYTES;

    fn decode(reader: &mut Reader) -> Result<Self, JuteError> {
        let mut ops: Vec<MultiOp> = Vec::new();
        loop {
            let header: MultiHeader = reader.read()?;
            if header.done {
                return Ok(Self { ops });
            }
            let op = MultiOp::decode(header.kind, reader)?;
            if ops
                .first()
                .is_some_and(|first| first.is_read() != op.is_read())
            {
                return Err(JuteError::MixedMulti);
            }
            ops.push(op);
        }
    }

    fn encode(&self, out: &mut BytesMut) {
        for op in &self.ops {
            MultiHeader {
                kind: op.op().code(),
                done: false,
                err: -1,
            }
            .encode(out);
            op.encode(out);
        }
        END.encode(out);
    }
}

/// What became of one operation of a multi.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MultiResult {
    /// Created.
    Create {
        /// The node, with its number if sequential.
        path: ByteString,
    },
    /// Created by create2, createContainer or createTTL.
    Create2 {
        /// The node, with its number if sequential.
        path: ByteString,
        /// Its stat.
        stat: Stat,
    },
    /// Deleted.
    Delete,
    /// Data written.
    SetData(Stat),
    /// The version was right.
    Check,
    /// Data read.
    GetData {
        /// The data.
        data: Option<Bytes>,
        /// The node's stat.
        stat: Stat,
    },
    /// Children listed.
    GetChildren(Vec<ByteString>),
    /// An [`crate::zk::code::ErrorCode`]; in a failed multi 0 before the culprit.
    Error(i32),
}

impl MultiResult {
    const fn header(&self) -> MultiHeader {
        let (op, err) = match self {
            Self::Create { .. } => (OpCode::Create, 0),
            Self::Create2 { .. } => (OpCode::Create2, 0),
            Self::Delete => (OpCode::Delete, 0),
            Self::SetData(_) => (OpCode::SetData, 0),
            Self::Check => (OpCode::Check, 0),
            Self::GetData { .. } => (OpCode::GetData, 0),
            Self::GetChildren(_) => (OpCode::GetChildren, 0),
            Self::Error(err) => (OpCode::Error, *err),
        };
        MultiHeader {
            kind: op.code(),
            done: false,
            err,
        }
    }

    fn decode(kind: i32, reader: &mut Reader) -> Result<Self, JuteError> {
        Ok(match OpCode::from_code(kind) {
            Some(OpCode::Create) => Self::Create {
                path: reader.read::<CreateResponse>()?.path,
            },
            Some(OpCode::Create2) => {
                let Create2Response { path, stat } = reader.read()?;
                Self::Create2 { path, stat }
            }
            Some(OpCode::Delete) => Self::Delete,
            Some(OpCode::SetData) => Self::SetData(reader.read::<StatResponse>()?.stat),
            Some(OpCode::Check) => Self::Check,
            Some(OpCode::GetData) => {
                let GetDataResponse { data, stat } = reader.read()?;
                Self::GetData { data, stat }
            }
            Some(OpCode::GetChildren) => {
                Self::GetChildren(reader.read::<GetChildrenResponse>()?.children)
            }
            Some(OpCode::Error) => Self::Error(reader.read::<ErrorResponse>()?.err),
            _ => return Err(JuteError::Type(kind)),
        })
    }

    fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Create { path } => path.encode(out),
            Self::Create2 { path, stat } => {
                path.encode(out);
                stat.encode(out);
            }
            Self::Delete | Self::Check => {}
            Self::SetData(stat) => stat.encode(out),
            Self::GetData { data, stat } => {
                data.encode(out);
                stat.encode(out);
            }
            Self::GetChildren(children) => children.encode(out),
            Self::Error(err) => err.encode(out),
        }
    }
}

/// The results of a multi or multiRead.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MultiResponse {
    /// One for each operation, in order.
    pub results: Vec<MultiResult>,
}

impl Record for MultiResponse {
    const MIN_BYTES: usize = MultiHeader::MIN_BYTES;

    fn decode(reader: &mut Reader) -> Result<Self, JuteError> {
        let mut results = Vec::new();
        loop {
            let header: MultiHeader = reader.read()?;
            if header.done {
                return Ok(Self { results });
            }
            results.push(MultiResult::decode(header.kind, reader)?);
        }
    }

    fn encode(&self, out: &mut BytesMut) {
        for result in &self.results {
            result.header().encode(out);
            result.encode(out);
        }
        END.encode(out);
    }
}
