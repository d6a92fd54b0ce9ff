//! Pure: frames to clients.

use bytes::{BufMut, Bytes, BytesMut};
use common::zk::code::{ErrorCode, OpCode};
use common::zk::connect::{ConnectResponse, PASSWORD_BYTES};
use common::zk::jute::{Record, encode_str};
use common::zk::multi::MultiResponse;
use common::zk::request::{SaslToken, XID_NOTIFICATION};
use common::zk::response::{
    Create2Response, EventType, ReplyHeader, STATE_SYNC_CONNECTED, StatResponse,
};

use crate::state::apply::Outcome;
use crate::state::sessions;

/// Bytes before a frame's body: its length.
const LENGTH_BYTES: usize = 4;

/// Offset of the error code in a frame: after length, xid and zxid.
const ERR_AT: usize = LENGTH_BYTES + 4 + 8;

/// Bytes of length and reply header.
const HEAD_BYTES: usize = ERR_AT + 4;

/// Begins a reply; [`end_reply`] completes it. Returns where it begins.
pub fn begin_reply(xid: i32, zxid: i64, out: &mut BytesMut) -> usize {
    let start = out.len();
    out.put_i32(0);
    ReplyHeader { xid, zxid, err: 0 }.encode(out);
    start
}

/// Completes the reply that began at `start`; one that failed has no body. Returns its length.
pub fn end_reply(start: usize, result: Result<(), ErrorCode>, out: &mut BytesMut) -> u64 {
    if let Err(error) = result {
        out.truncate(start + HEAD_BYTES);
        out[start + ERR_AT..start + HEAD_BYTES].copy_from_slice(&error.code().to_be_bytes());
    }
    let length = out.len() - start - LENGTH_BYTES;
    // Nothing of that size fits into memory.
    let field = i32::try_from(length).unwrap_or(i32::MAX);
    out[start..start + LENGTH_BYTES].copy_from_slice(&field.to_be_bytes());
    length as u64
}

/// Completes the reply that began at `start`; it keeps its body whatever its error is.
pub fn end_odd_reply(start: usize, error: ErrorCode, out: &mut BytesMut) -> u64 {
    out[start + ERR_AT..start + HEAD_BYTES].copy_from_slice(&error.code().to_be_bytes());
    end_reply(start, Ok(()), out)
}

/// Puts a reply without a body. Returns its length.
pub fn put_bare_reply(
    xid: i32,
    zxid: i64,
    result: Result<(), ErrorCode>,
    out: &mut BytesMut,
) -> u64 {
    let start = begin_reply(xid, zxid, out);
    end_reply(start, result, out)
}

/// Puts the reply to a write. Returns its length.
pub fn put_outcome(op: OpCode, xid: i32, zxid: i64, outcome: Outcome, out: &mut BytesMut) -> u64 {
    let start = begin_reply(xid, zxid, out);
    let result = match outcome {
        Outcome::Done => Ok(()),
        Outcome::Failed(error) => Err(error),
        Outcome::Created(path, _) if op == OpCode::Create => {
            path.encode(out);
            Ok(())
        }
        Outcome::Created(path, stat) => {
            Create2Response { path, stat }.encode(out);
            Ok(())
        }
        Outcome::Changed(stat) => {
            StatResponse { stat }.encode(out);
            Ok(())
        }
        Outcome::Multi(results) => {
            MultiResponse { results }.encode(out);
            Ok(())
        }
    };
    end_reply(start, result, out)
}

/// Puts a watch event. Its zxid is -1, as ZooKeeper 3.8 has it.
pub fn put_event(kind: EventType, path: &str, out: &mut BytesMut) -> u64 {
    let start = begin_reply(XID_NOTIFICATION, -1, out);
    out.put_i32(kind.code());
    out.put_i32(STATE_SYNC_CONNECTED);
    encode_str(path, out);
    end_reply(start, Ok(()), out)
}

/// Puts the answer to a request for a session; session 0 says that there is none any more.
pub fn put_connect_response(
    session: i64,
    timeout_ms: i32,
    knows_read_only: bool,
    out: &mut BytesMut,
) -> u64 {
    let password = match session {
        0 => [0; PASSWORD_BYTES],
        session => sessions::password(session),
    };
    let response = ConnectResponse {
        protocol_version: 0,
        timeout_ms: if session == 0 { 0 } else { timeout_ms },
        session_id: session,
        password: Some(Bytes::copy_from_slice(&password)),
        read_only: knows_read_only.then_some(false),
    };
    let start = out.len();
    out.put_i32(0);
    response.encode(out);
    end_reply(start, Ok(()), out)
}

/// Puts the answer to a SASL token. One that says no has a body, too: no token.
pub fn put_sasl(
    xid: i32,
    result: Result<(), ErrorCode>,
    token: Option<&[u8]>,
    out: &mut BytesMut,
) -> u64 {
    let start = out.len();
    out.put_i32(0);
    let err = result.err().map_or(0, ErrorCode::code);
    ReplyHeader { xid, zxid: 0, err }.encode(out);
    SaslToken {
        token: token.map(Bytes::copy_from_slice),
    }
    .encode(out);
    end_reply(start, Ok(()), out)
}

/// The name of an operation in `cons` (FinalRequestProcessor's lastOp).
pub fn operation_name(op: OpCode) -> &'static str {
    match op {
        OpCode::Ping => "PING",
        OpCode::CreateSession => "SESS",
        OpCode::CloseSession => "CLOS",
        OpCode::Create | OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl => "CREA",
        OpCode::Delete | OpCode::DeleteContainer => "DELE",
        OpCode::SetData => "SETD",
        OpCode::SetAcl => "SETA",
        OpCode::Multi => "MULT",
        OpCode::MultiRead => "MLTR",
        OpCode::Reconfig => "RECO",
        OpCode::Sync => "SYNC",
        OpCode::Check => "CHEC",
        OpCode::Exists => "EXIS",
        OpCode::GetData => "GETD",
        OpCode::GetAcl => "GETA",
        OpCode::GetChildren | OpCode::GetChildren2 => "GETC",
        OpCode::GetAllChildrenNumber => "GETACN",
        OpCode::SetWatches => "SETW",
        OpCode::SetWatches2 => "STW2",
        OpCode::AddWatch => "ADDW",
        OpCode::CheckWatches => "CHKW",
        OpCode::RemoveWatches => "REMW",
        OpCode::WhoAmI => "HOMI",
        OpCode::GetEphemerals => "GETE",
        OpCode::Notification | OpCode::Auth | OpCode::Sasl | OpCode::Error => "NA",
    }
}
