//! Pure: a write on its way from a client to the log.

use std::rc::Rc;

use common::zk::code::{ErrorCode, OpCode};
use common::zk::data::Id;
use common::zk::request::Request;

/// What a write asks for.
#[derive(Clone, Debug)]
pub enum WriteBody {
    /// A client's request.
    Client(Request),
    /// A request that fails as it is; it uses a zxid like any other.
    Failed(OpCode, ErrorCode),
    /// A session begins, with this timeout in milliseconds.
    CreateSession(i32),
    /// The server's own: this container or TTL znode has had its time.
    DeleteContainer(String),
}

impl WriteBody {
    /// The operation code for the transaction's header.
    pub fn op(&self) -> OpCode {
        match self {
            Self::Client(request) => request.op(),
            Self::Failed(op, _) => *op,
            Self::CreateSession(_) => OpCode::CreateSession,
            Self::DeleteContainer(_) => OpCode::DeleteContainer,
        }
    }
}

/// A write, with who asks for it.
#[derive(Clone, Debug)]
pub struct Write {
    /// The session; 0 for the server itself.
    pub session: i64,
    /// The client's number of the request.
    pub cxid: i32,
    /// The client's identities.
    pub ids: Rc<[Id]>,
    /// What is to be done.
    pub body: WriteBody,
}
