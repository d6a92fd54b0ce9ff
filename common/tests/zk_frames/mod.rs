//! Shell: the golden records of ZooKeeper's own classes, and how to read each.

use std::path::Path;

use bytes::{Bytes, BytesMut};
use common::zk::code::OpCode;
use common::zk::connect::{ConnectRequest, ConnectResponse};
use common::zk::data::{Id, Stat, StatPersisted};
use common::zk::jute::{JuteError, Reader, Record};
use common::zk::request::{Request, RequestHeader, XID_NOTIFICATION};
use common::zk::response::{ReplyHeader, Response, WatcherEvent};
use common::zk::txn::TxnEntry;

/// Where `ZkGolden.java` wrote.
pub fn directory() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/zk"))
}

/// The golden record `name`.
pub fn golden(name: &str) -> Bytes {
    let path = directory().join(format!("{name}.bin"));
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .into()
}

/// Names of all golden records, sorted.
pub fn names() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory())
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_suffix(".bin").map(str::to_owned)
        })
        .collect();
    names.sort();
    names
}

/// Reads `bytes` as what the record `name` is, and writes it again.
pub fn recode(name: &str, bytes: Bytes) -> Result<Bytes, JuteError> {
    let mut reader = Reader::new(bytes);
    let mut out = BytesMut::new();
    let (kind, rest) = name.split_once('.').unwrap();
    match kind {
        "connect" if rest.starts_with("request") => {
            reader.read::<ConnectRequest>()?.encode(&mut out);
        }
        "connect" => reader.read::<ConnectResponse>()?.encode(&mut out),
        "data" => match rest {
            "stat" => reader.read::<Stat>()?.encode(&mut out),
            "stat_persisted" => reader.read::<StatPersisted>()?.encode(&mut out),
            _ => reader.read::<Id>()?.encode(&mut out),
        },
        "request" => {
            let header: RequestHeader = reader.read()?;
            let op = OpCode::from_code(header.op).ok_or(JuteError::Type(header.op))?;
            let request = Request::decode(op, &mut reader)?;
            assert_eq!(request.op(), op);
            header.encode(&mut out);
            request.encode(&mut out);
        }
        "reply" => {
            let header: ReplyHeader = reader.read()?;
            header.encode(&mut out);
            if header.xid == XID_NOTIFICATION {
                reader.read::<WatcherEvent>()?.encode(&mut out);
            } else {
                Response::decode(op_named(rest), &mut reader)?.encode(&mut out);
            }
        }
        "txn" => reader.read::<TxnEntry>()?.encode(&mut out),
        _ => panic!("a golden record of no known kind: {name}"),
    }
    out.extend_from_slice(&reader.take_rest());
    Ok(out.freeze())
}

/// The operation a reply's file is named after, up to a `_`.
fn op_named(name: &str) -> OpCode {
    let name = name.split_once('_').map_or(name, |(op, _)| op);
    *OpCode::ALL
        .iter()
        .find(|op| op.name() == name)
        .unwrap_or(&OpCode::Ping)
}
