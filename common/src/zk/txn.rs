//! Pure: logged transactions (`zookeeper.jute`, module `org.apache.zookeeper.txn`;
//! `SerializeUtils.deserializeTxn`).
//!
//! An entry of a log or a proposal is `TxnHeader`, the type's record, and since 3.6 (if digests
//! are on) a `TxnDigest`.

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use crate::zk::code::OpCode;
use crate::zk::data::Acl;
use crate::zk::jute::{JuteError, Reader, Record, records};

records! {
    /// What opens every transaction.
    #[derive(Copy)]
    pub struct TxnHeader {
        /// The session it was made for.
        pub client_id: i64,
        /// The client's xid.
        pub cxid: i32,
        /// Its number.
        pub zxid: i64,
        /// When the leader made it, wall clock in ms.
        pub time_ms: i64,
        /// An [`OpCode`].
        pub op: i32,
    }

    /// The tree's digest after the transaction.
    #[derive(Copy)]
    pub struct TxnDigest {
        /// Version of the algorithm: 2.
        pub version: i32,
        /// The digest.
        pub tree_digest: i64,
    }

    /// create and create2.
    pub struct CreateTxn {
        /// The node.
        pub path: ByteString,
        /// Its data.
        pub data: Option<Bytes>,
        /// Its ACL.
        pub acl: Vec<Acl>,
        /// Whether it goes with the header's session.
        pub ephemeral: bool,
        /// The parent's new cversion; -1 in entries of servers that did not log it.
        pub parent_cversion: i32,
    }

    /// create, as servers before 3.4 logged it.
    pub struct CreateTxnV0 {
        /// The node.
        pub path: ByteString,
        /// Its data.
        pub data: Option<Bytes>,
        /// Its ACL.
        pub acl: Vec<Acl>,
        /// Whether it goes with the header's session.
        pub ephemeral: bool,
    }

    /// createContainer.
    pub struct CreateContainerTxn {
        /// The node.
        pub path: ByteString,
        /// Its data.
        pub data: Option<Bytes>,
        /// Its ACL.
        pub acl: Vec<Acl>,
        /// The parent's new cversion.
        pub parent_cversion: i32,
    }

    /// createTTL.
    pub struct CreateTtlTxn {
        /// The node.
        pub path: ByteString,
        /// Its data.
        pub data: Option<Bytes>,
        /// Its ACL.
        pub acl: Vec<Acl>,
        /// The parent's new cversion.
        pub parent_cversion: i32,
        /// Its time to live in ms.
        pub ttl_ms: i64,
    }

    /// delete and deleteContainer.
    pub struct DeleteTxn {
        /// The node.
        pub path: ByteString,
    }

    /// setData and reconfig.
    pub struct SetDataTxn {
        /// The node.
        pub path: ByteString,
        /// Its new data.
        pub data: Option<Bytes>,
        /// Its new version.
        pub version: i32,
    }

    /// setACL.
    pub struct SetAclTxn {
        /// The node.
        pub path: ByteString,
        /// Its new ACL.
        pub acl: Vec<Acl>,
        /// Its new aversion.
        pub version: i32,
    }

    /// check.
    pub struct CheckVersionTxn {
        /// The node.
        pub path: ByteString,
        /// The version it has.
        pub version: i32,
    }

    /// createSession.
    pub struct CreateSessionTxn {
        /// The session's timeout in ms.
        pub timeout_ms: i32,
    }

    /// closeSession.
    pub struct CloseSessionTxn {
        /// The session's ephemeral nodes.
        pub paths: Vec<ByteString>,
    }

    /// A write that failed and yet took a zxid.
    pub struct ErrorTxn {
        /// An [`crate::zk::code::ErrorCode`].
        pub err: i32,
    }

    /// An operation of a multi as it is logged: its record as a buffer.
    struct RawTxn {
        kind: i32,
        data: Option<Bytes>,
    }
}

/// What a transaction does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TxnBody {
    /// create and create2.
    Create(CreateTxn),
    /// createContainer.
    CreateContainer(CreateContainerTxn),
    /// createTTL.
    CreateTtl(CreateTtlTxn),
    /// delete and deleteContainer.
    Delete(DeleteTxn),
    /// setData and reconfig.
    SetData(SetDataTxn),
    /// setACL.
    SetAcl(SetAclTxn),
    /// check.
    Check(CheckVersionTxn),
    /// multi.
    Multi(MultiTxn),
    /// createSession.
    CreateSession(CreateSessionTxn),
    /// closeSession; none as servers before 3.6, or with `closeSessionTxn.enabled=false`, log
    /// it: the session's ephemeral nodes are looked up when it is applied.
    CloseSession(Option<CloseSessionTxn>),
    /// A failed write.
    Error(ErrorTxn),
}

/// The operations of a multi, each with its type.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MultiTxn {
    /// In order. In a failed multi they are all of type [`OpCode::Error`].
    pub txns: Vec<(OpCode, TxnBody)>,
}

impl TxnBody {
    /// Reads the record of a transaction of type `op`.
    pub fn decode(op: OpCode, reader: &mut Reader) -> Result<Self, JuteError> {
        Ok(match op {
            OpCode::Create => Self::Create(decode_create(reader)?),
            OpCode::Create2 => Self::Create(reader.read()?),
            OpCode::CreateContainer => Self::CreateContainer(reader.read()?),
            OpCode::CreateTtl => Self::CreateTtl(reader.read()?),
            OpCode::Delete | OpCode::DeleteContainer => Self::Delete(reader.read()?),
            OpCode::SetData | OpCode::Reconfig => Self::SetData(reader.read()?),
            OpCode::SetAcl => Self::SetAcl(reader.read()?),
            OpCode::Check => Self::Check(reader.read()?),
            OpCode::Multi => Self::Multi(reader.read()?),
            OpCode::CreateSession => Self::CreateSession(reader.read()?),
            OpCode::CloseSession => Self::CloseSession(decode_close_session(reader)?),
            OpCode::Error => Self::Error(reader.read()?),
            _ => return Err(JuteError::Type(op.code())),
        })
    }

    /// Appends the record, without a header.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Create(r) => r.encode(out),
            Self::CreateContainer(r) => r.encode(out),
            Self::CreateTtl(r) => r.encode(out),
            Self::Delete(r) => r.encode(out),
            Self::SetData(r) => r.encode(out),
            Self::SetAcl(r) => r.encode(out),
            Self::Check(r) => r.encode(out),
            Self::Multi(r) => r.encode(out),
            Self::CreateSession(r) => r.encode(out),
            Self::CloseSession(r) => {
                if let Some(r) = r {
                    r.encode(out);
                }
            }
            Self::Error(r) => r.encode(out),
        }
    }
}

/// A create whose record ends before the parent's cversion is one of an old server.
fn decode_create(reader: &mut Reader) -> Result<CreateTxn, JuteError> {
    let mut old = reader.clone();
    match reader.read::<CreateTxn>() {
        Err(JuteError::Eof { .. }) => {
            let CreateTxnV0 {
                path,
                data,
                acl,
                ephemeral,
            } = old.read()?;
            *reader = old;
            Ok(CreateTxn {
                path,
                data,
                acl,
                ephemeral,
                parent_cversion: -1,
            })
        }
        result => result,
    }
}

/// The list of paths may be missing, with or without a digest after it.
fn decode_close_session(reader: &mut Reader) -> Result<Option<CloseSessionTxn>, JuteError> {
    // Twelve bytes that begin with 2 are a digest: as a list of two paths they would name the
    // empty path twice.
    let only_digest = matches!(reader.peek(), [0, 0, 0, 2, rest @ ..]
        if rest.len() == 8 && rest != [0; 8]);
    if reader.remaining() == 0 || only_digest {
        return Ok(None);
    }
    reader.read().map(Some)
}

impl Record for MultiTxn {
    const MIN_BYTES: usize = 4;

    fn decode(reader: &mut Reader) -> Result<Self, JuteError> {
        let raw: Vec<RawTxn> = reader.read()?;
        let mut txns = Vec::with_capacity(raw.len());
        for RawTxn { kind, data } in raw {
            let op = match OpCode::from_code(kind) {
                // No multi is logged within another.
                None | Some(OpCode::Multi) => return Err(JuteError::Type(kind)),
                Some(op) => op,
            };
            let mut inner = Reader::new(data.unwrap_or_default());
            txns.push((op, TxnBody::decode(op, &mut inner)?));
        }
        Ok(Self { txns })
    }

    fn encode(&self, out: &mut BytesMut) {
        let raw: Vec<RawTxn> = self
            .txns
            .iter()
            .map(|(op, body)| {
                let mut data = BytesMut::new();
                body.encode(&mut data);
                RawTxn {
                    kind: op.code(),
                    data: Some(data.freeze()),
                }
            })
            .collect();
        raw.encode(out);
    }
}

/// A whole entry: of a log (between length and end mark), or of a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxnEntry {
    /// Who, when, which.
    pub header: TxnHeader,
    /// What.
    pub body: TxnBody,
    /// The tree's digest after it, if it was logged.
    pub digest: Option<TxnDigest>,
}

impl Record for TxnEntry {
    const MIN_BYTES: usize = TxnHeader::MIN_BYTES;

    fn decode(reader: &mut Reader) -> Result<Self, JuteError> {
        let header: TxnHeader = reader.read()?;
        let op = OpCode::from_code(header.op).ok_or(JuteError::Type(header.op))?;
        let body = TxnBody::decode(op, reader)?;
        let digest = match reader.read::<TxnDigest>() {
            Err(JuteError::Eof { .. }) => None,
            result => Some(result?),
        };
        Ok(Self {
            header,
            body,
            digest,
        })
    }

    fn encode(&self, out: &mut BytesMut) {
        self.header.encode(out);
        self.body.encode(out);
        if let Some(digest) = &self.digest {
            digest.encode(out);
        }
    }
}
