//! Pure: random writes of random sessions, good ones and bad ones.

use std::rc::Rc;

use bytes::Bytes;
use common::zk::data::{Acl, Id};
use common::zk::multi::{MultiOp, MultiRequest};
use common::zk::request::{
    CheckVersionRequest, CreateRequest, CreateTtlRequest, DeleteRequest, Request, SetAclRequest,
    SetDataRequest,
};
use common::zk::txn::TxnEntry;
use zk_server::state::database::Database;
use zk_server::state::prepare::prepare;
use zk_server::state::request::{Write, WriteBody};
use zk_server::state::watches::ConnectionId;

use crate::random::Random;

/// The sessions that write, and a clock.
pub struct Writes {
    sessions: Vec<i64>,
    time_ms: i64,
}

impl Writes {
    /// Goes on with the sessions of a recovered server.
    pub fn new(db: &Database) -> Self {
        Self {
            sessions: db.sessions.committed().iter().map(|(id, _)| *id).collect(),
            time_ms: 1,
        }
    }

    /// Decides on one more write.
    pub fn next(&mut self, db: &mut Database, random: &mut Random) -> TxnEntry {
        self.time_ms += random.below(1000) as i64;
        let (session, body) = self.choose(db, random);
        let ids: Rc<[Id]> = Rc::from([Id::new("ip", "127.0.0.1"), Id::new("digest", "u:h")]);
        prepare(
            db,
            &Write {
                session,
                cxid: 1,
                ids,
                body,
            },
            self.time_ms,
        )
    }

    fn choose(&mut self, db: &mut Database, random: &mut Random) -> (i64, WriteBody) {
        if self.sessions.is_empty() || self.sessions.len() < 5 && random.one_in(15) {
            let id = db.sessions.create(10_000, ConnectionId(1), 0);
            self.sessions.push(id);
            return (id, WriteBody::CreateSession(10_000));
        }
        let at = random.below(self.sessions.len() as u64) as usize;
        let session = self.sessions[at];
        if random.one_in(25) {
            self.sessions.swap_remove(at);
            return (session, WriteBody::Client(Request::CloseSession));
        }
        if random.one_in(30) {
            return (0, WriteBody::DeleteContainer(path(random)));
        }
        (session, WriteBody::Client(request(random)))
    }
}

fn path(random: &mut Random) -> String {
    let depth = 1 + random.below(3);
    (0..depth)
        .map(|_| format!("/{}", random.pick(&["a", "b", "c", "d"])))
        .collect()
}

fn data(random: &mut Random) -> Option<Bytes> {
    match random.below(4) {
        0 => None,
        1 => Some(Bytes::new()),
        // Now and then more than a sector, and zeros at that.
        2 => Some(Bytes::from(vec![0; random.below(3000) as usize])),
        _ => Some(Bytes::from(random.next().to_string())),
    }
}

fn acl(random: &mut Random) -> Vec<Acl> {
    match random.below(6) {
        0 => vec![Acl::new(31, Id::new("auth", ""))],
        1 => vec![Acl::new(31, Id::new("ip", "127.0.0.0/8"))],
        2 => Vec::new(),
        _ => Acl::open(),
    }
}

fn version(random: &mut Random) -> i32 {
    *random.pick(&[-1, -1, -1, 0, 1])
}

fn create(random: &mut Random, flags: i32) -> CreateRequest {
    CreateRequest {
        path: path(random).into(),
        data: data(random),
        acl: acl(random),
        flags,
    }
}

fn delete(random: &mut Random) -> DeleteRequest {
    DeleteRequest {
        path: path(random).into(),
        version: version(random),
    }
}

fn set_data(random: &mut Random) -> SetDataRequest {
    SetDataRequest {
        path: path(random).into(),
        data: data(random),
        version: version(random),
    }
}

fn request(random: &mut Random) -> Request {
    match random.below(12) {
        0..=2 => {
            let flags = *random.pick(&[0, 0, 0, 1, 2, 3]);
            Request::Create(create(random, flags))
        }
        3 => Request::Create2(create(random, 0)),
        4 => Request::CreateContainer(create(random, 4)),
        5 => {
            let CreateRequest {
                path, data, acl, ..
            } = create(random, 5);
            Request::CreateTtl(CreateTtlRequest {
                path,
                data,
                acl,
                flags: 5,
                ttl_ms: 1000,
            })
        }
        6 | 7 => Request::Delete(delete(random)),
        8 => Request::SetData(set_data(random)),
        9 => {
            let (path, version) = (path(random).into(), version(random));
            Request::SetAcl(SetAclRequest {
                path,
                acl: acl(random),
                version,
            })
        }
        _ => {
            let count = random.below(5);
            Request::Multi(MultiRequest {
                ops: (0..count).map(|_| op(random)).collect(),
            })
        }
    }
}

fn op(random: &mut Random) -> MultiOp {
    match random.below(5) {
        0 | 1 => {
            let flags = *random.pick(&[0, 1, 2]);
            MultiOp::Create(create(random, flags))
        }
        2 => MultiOp::Delete(delete(random)),
        3 => MultiOp::SetData(set_data(random)),
        _ => MultiOp::Check(CheckVersionRequest {
            path: path(random).into(),
            version: version(random),
        }),
    }
}
