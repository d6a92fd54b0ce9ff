//! Requests, replies and logged transactions of ZooKeeper from any bytes; the first byte chooses.
#![no_main]

use bytes::{Bytes, BytesMut};
use common::zk::code::OpCode;
use common::zk::jute::Reader;
use common::zk::request::Request;
use common::zk::response::Response;
use common::zk::txn::TxnBody;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [kind, code, body @ ..] = data else { return };
    let Some(op) = OpCode::from_code(i32::from(*code as i8)) else { return };
    let mut reader = Reader::new(Bytes::copy_from_slice(body));
    let mut out = BytesMut::new();
    match kind % 3 {
        0 => {
            if let Ok(request) = Request::decode(op, &mut reader) {
                request.encode(&mut out);
            }
        }
        1 => {
            if let Ok(response) = Response::decode(op, &mut reader) {
                response.encode(&mut out);
            }
        }
        _ => {
            if let Ok(txn) = TxnBody::decode(op, &mut reader) {
                txn.encode(&mut out);
            }
        }
    }
});
