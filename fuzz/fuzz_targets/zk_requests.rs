//! Frames of a client from any bytes, decided on and applied or answered, as the server does it.
//! Nothing may panic, and what is decided ahead must be what is applied.
#![no_main]

use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use common::zk::code::OpCode;
use common::zk::data::Id;
use common::zk::jute::Reader;
use common::zk::request::{Request, RequestHeader};
use libfuzzer_sys::fuzz_target;
use zk_server::state::apply::apply;
use zk_server::state::database::{Database, DatabaseOptions};
use zk_server::state::odd::{Odd, OddAnswer, look_again};
use zk_server::state::prepare::prepare;
use zk_server::state::read::{Reader as Who, read};
use zk_server::state::request::{Write, WriteBody};
use zk_server::state::sessions::Sessions;
use zk_server::state::tree::{Tree, TreeOptions};
use zk_server::state::watches::ConnectionId;
use zk_server::state::znode::ExtendedTypes;

/// Bytes of a request's header.
const HEADER_BYTES: usize = 8;

fn answer(db: &mut Database, request: &Request, session: i64, ids: &[Id]) {
    let connection = ConnectionId(1);
    let who = Who { connection, session, ids };
    let _ = read(db, request, who, &mut BytesMut::new(), &mut Vec::new());
}

fn frame(db: &mut Database, session: i64, ids: &Rc<[Id]>, bytes: Bytes) {
    let mut reader = Reader::new(bytes);
    let Ok(header) = reader.read::<RequestHeader>() else { return };
    let Some(op) = OpCode::from_code(header.op) else { return };
    if matches!(op, OpCode::CreateSession | OpCode::CloseSession | OpCode::Auth | OpCode::Sasl) {
        return;
    }
    let decoded = match Request::decode(op, &mut reader) {
        Ok(request) if !reader.read_null() => Odd::Request(request),
        _ => {
            reader.rewind(HEADER_BYTES);
            look_again(op, &mut reader, ExtendedTypes::On)
        }
    };
    let body = match decoded {
        Odd::Request(request) if op.is_write() => WriteBody::Client(request),
        Odd::Failed(error) => WriteBody::Failed(op, error),
        Odd::Request(request) => return answer(db, &request, session, ids),
        Odd::Answer(OddAnswer { first, .. }) | Odd::AnswerAndGap(OddAnswer { first, .. }) => {
            if let Some(request) = first {
                answer(db, &request, session, ids);
            }
            return;
        }
    };
    let write = Write { session, cxid: header.xid, ids: ids.clone(), body };
    let entry = prepare(db, &write, 1);
    apply(db, &entry, 0, &mut Vec::new());
    assert!(db.pending.is_empty(), "{entry:?}");
    if let Some(digest) = entry.digest {
        assert_eq!(digest.tree_digest as u64, db.tree.digest(), "{entry:?}");
    }
}

fuzz_target!(|data: &[u8]| {
    let options = DatabaseOptions {
        tree: TreeOptions { digests: true, extended_types: ExtendedTypes::On },
        ..DatabaseOptions::default()
    };
    let mut db = Database::new(Tree::new(options.tree), Sessions::new(2000, 7), 0, options);
    let session = db.sessions.create(10_000, ConnectionId(1), 0);
    let ids: Rc<[Id]> = Rc::from([Id::new("ip", "127.0.0.1"), Id::new("digest", "u:h")]);
    let mut rest = data;
    // Each frame has its length in one byte before it.
    while let [length, bytes @ ..] = rest {
        let (bytes, after) = bytes.split_at(usize::from(*length).min(bytes.len()));
        frame(&mut db, session, &ids, Bytes::copy_from_slice(bytes));
        rest = after;
    }
});
