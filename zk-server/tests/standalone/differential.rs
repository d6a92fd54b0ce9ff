//! Shell: the same random requests to our server and to Apache's, and the answers compared.
//!
//! `TANDEM_TEST_FRESH_ZOOKEEPER` (`host:port`) names an Apache server that has just started on an
//! empty directory, with `extendedTypesEnabled=true`, `maxClientCnxns=0`,
//! `minSessionTimeout=600000` and `maxSessionTimeout=6000000`; without it there is nothing to
//! compare with. `DIFF_SEED` chooses the requests.

use std::net::SocketAddr;

use bytes::Bytes;
use common::zk::data::{Acl, Id, Stat};
use common::zk::multi::{MultiOp, MultiRequest, MultiResult};
use common::zk::request::*;
use common::zk::response::Response;

use crate::client::{Client, Frame, decode};
use crate::server::{Server, configure};

const STEPS: u64 = 3000;

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize]
    }

    fn path(&mut self) -> String {
        const ODD: [&str; 14] = [
            "/",
            "x",
            "/a/",
            "//a",
            "/a//b",
            "/a/.",
            "/a/../b",
            "/zookeeper",
            "/zookeeper/quota",
            "/zookeeper/config",
            "/zookeeperx",
            "/.a",
            "/\u{e9}",
            "/\u{e000}",
        ];
        if self.below(30) == 0 {
            return self.pick(&ODD).to_owned();
        }
        let depth = 1 + self.below(3);
        (0..depth)
            .map(|_| format!("/{}", self.pick(&["a", "b", "c"])))
            .collect()
    }

    fn data(&mut self) -> Option<Bytes> {
        let length = self.below(40) as usize;
        self.pick(&[true, true, false])
            .then(|| Bytes::from(vec![b'x'; length]))
    }

    fn version(&mut self) -> i32 {
        self.pick(&[-1, -1, -1, 0, 0, 1, 2, -2])
    }

    fn acl(&mut self) -> Vec<Acl> {
        let entry = |perms, scheme: &'static str, id: &'static str| {
            vec![Acl::new(perms, Id::new(scheme, id))]
        };
        match self.below(24) {
            0 => Acl::read_only(),
            1 => Acl::creator_all(),
            2 => entry(31, "digest", "u:x"),
            3 => entry(31, "ip", "127.0.0.1"),
            4 => entry(31, "ip", "10.0.0.0/8"),
            5 => entry(31, "bogus", "x"),
            6 => entry(31, "world", "nobody"),
            7 => entry(31, "ip", "127.0.0.1/33"),
            8 => entry(23, "world", "anyone"),
            9 => Vec::new(),
            10 => [Acl::read_only(), Acl::read_only()].concat(),
            _ => Acl::open(),
        }
    }

    fn create(&mut self, flags: &[i32]) -> CreateRequest {
        let (path, data, acl) = (self.path().into(), self.data(), self.acl());
        CreateRequest {
            path,
            data,
            acl,
            flags: self.pick(flags),
        }
    }

    fn watchable(&mut self) -> WatchableRequest {
        WatchableRequest {
            path: self.path().into(),
            watch: self.pick(&[true, false]),
        }
    }

    fn path_request(&mut self) -> PathRequest {
        PathRequest {
            path: self.path().into(),
        }
    }

    fn paths<T: From<String>>(&mut self) -> Vec<T> {
        (0..self.below(3)).map(|_| T::from(self.path())).collect()
    }

    fn delete(&mut self) -> DeleteRequest {
        DeleteRequest {
            path: self.path().into(),
            version: self.version(),
        }
    }

    fn set_data(&mut self) -> SetDataRequest {
        SetDataRequest {
            path: self.path().into(),
            data: self.data(),
            version: self.version(),
        }
    }

    fn check(&mut self) -> CheckVersionRequest {
        CheckVersionRequest {
            path: self.path().into(),
            version: self.version(),
        }
    }

    fn create_ttl(&mut self) -> CreateTtlRequest {
        let CreateRequest {
            path,
            data,
            acl,
            flags,
        } = self.create(&[5, 6]);
        let ttl_ms = self.pick(&[10_000_000, 10_000_000, 0, -1, 0x100_0000_0000]);
        CreateTtlRequest {
            path,
            data,
            acl,
            flags,
            ttl_ms,
        }
    }

    fn multi_op(&mut self) -> MultiOp {
        match self.below(7) {
            0 => MultiOp::Create(self.create(&[0, 0, 1, 2, 3])),
            1 => MultiOp::Create2(self.create(&[0, 1, 2])),
            2 => MultiOp::CreateContainer(self.create(&[4])),
            3 => MultiOp::CreateTtl(self.create_ttl()),
            4 => MultiOp::Delete(self.delete()),
            5 => MultiOp::SetData(self.set_data()),
            _ => MultiOp::Check(self.check()),
        }
    }

    fn multi_read_op(&mut self) -> MultiOp {
        let path = self.path().into();
        if self.pick(&[true, false]) {
            MultiOp::GetData(path)
        } else {
            MultiOp::GetChildren(path)
        }
    }

    fn request(&mut self, last_zxid: i64) -> Request {
        match self.below(40) {
            0..=9 => Request::Create(self.create(&[0, 0, 0, 0, 1, 1, 2, 3, 5, 7, -1])),
            10..=12 => Request::Create2(self.create(&[0, 0, 1, 2])),
            13 => Request::CreateContainer(self.create(&[4])),
            14 => Request::CreateTtl(self.create_ttl()),
            15..=19 => Request::Delete(self.delete()),
            20..=22 => Request::SetData(self.set_data()),
            23 | 24 => {
                let (path, acl, version) = (self.path().into(), self.acl(), self.version());
                Request::SetAcl(SetAclRequest { path, acl, version })
            }
            25 => Request::Exists(self.watchable()),
            26 => Request::GetData(self.watchable()),
            27 => Request::GetChildren(self.watchable()),
            28 => Request::GetChildren2(self.watchable()),
            29 => Request::GetAcl(self.path_request()),
            30 => Request::Sync(self.path_request()),
            31 => Request::GetAllChildrenNumber(self.path_request()),
            32 => Request::GetEphemerals(self.path_request()),
            33 | 34 => {
                let ops = (0..self.below(5)).map(|_| self.multi_op()).collect();
                Request::Multi(MultiRequest { ops })
            }
            35 => {
                let ops = (0..1 + self.below(4))
                    .map(|_| self.multi_read_op())
                    .collect();
                Request::MultiRead(MultiRequest { ops })
            }
            36 => Request::SetWatches2(SetWatches2 {
                relative_zxid: self.below(last_zxid as u64 + 1) as i64,
                data: self.paths(),
                exist: self.paths(),
                child: self.paths(),
                persistent: self.paths(),
                persistent_recursive: self.paths(),
            }),
            37 => {
                let request = WatchesRequest {
                    path: format!("/{}", self.pick(&["a", "b", "c"])).into(),
                    kind: self.pick(&[1, 2, 3]),
                };
                match self.pick(&[true, false]) {
                    true => Request::CheckWatches(request),
                    false => Request::RemoveWatches(request),
                }
            }
            38 => {
                let mode = self.pick(&[0, 1, 1]);
                Request::AddWatch(AddWatchRequest {
                    path: self.path().into(),
                    mode,
                })
            }
            _ => match self.below(3) {
                0 => Request::CloseSession,
                1 => Request::WhoAmI,
                _ => Request::Auth(AuthPacket {
                    kind: 0,
                    scheme: Some("digest".into()),
                    auth: Some(Bytes::from(self.pick(&["u:p", "v:q"]))),
                }),
            },
        }
    }
}

/// What differs between two servers though they do the same: clocks, session ids, and the order
/// of things that have none.
struct Normaliser {
    sessions: Vec<i64>,
}

impl Normaliser {
    fn stat(&self, stat: &mut Stat) {
        stat.mtime = i64::from(stat.mtime == stat.ctime);
        stat.ctime = 0;
        if let Some(index) = self
            .sessions
            .iter()
            .position(|id| *id == stat.ephemeral_owner)
        {
            stat.ephemeral_owner = index as i64 + 1;
        }
    }

    fn response(&self, response: &mut Response) {
        match response {
            Response::Create2(r) => self.stat(&mut r.stat),
            Response::Stat(r) => self.stat(&mut r.stat),
            Response::GetData(r) => self.stat(&mut r.stat),
            Response::GetAcl(r) => {
                r.acl.sort();
                self.stat(&mut r.stat);
            }
            Response::GetChildren(r) => r.children.sort(),
            Response::GetChildren2(r) => {
                r.children.sort();
                self.stat(&mut r.stat);
            }
            Response::GetEphemerals(r) => r.ephemerals.sort(),
            Response::WhoAmI(r) => r.client_info.sort_by_key(|info| format!("{info:?}")),
            Response::Multi(r) => r.results.iter_mut().for_each(|result| match result {
                MultiResult::Create2 { stat, .. }
                | MultiResult::SetData(stat)
                | MultiResult::GetData { stat, .. } => self.stat(stat),
                MultiResult::GetChildren(children) => children.sort(),
                _ => {}
            }),
            _ => {}
        }
    }
}

/// Does everything and writes down what comes.
fn transcript(address: SocketAddr, seed: u64) -> Vec<String> {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut clients: Vec<Client> = (0..3).map(|_| Client::connect(address)).collect();
    let sessions = clients
        .iter()
        .map(|client| client.session.session_id)
        .collect();
    let mut normaliser = Normaliser { sessions };
    let mut lines = Vec::new();
    let mut last_zxid = 0;
    for step in 0..STEPS {
        let which = random.below(3) as usize;
        let request = random.request(last_zxid);
        let (op, closes) = (request.op(), request == Request::CloseSession);
        clients[which].send(&request);
        let mut events = Vec::new();
        let answer = loop {
            match clients[which].receive() {
                Some(Frame::Event(event)) => events.push(format!("{which} {event:?}")),
                Some(Frame::Reply(header, body)) => {
                    last_zxid = last_zxid.max(header.zxid);
                    let mut result = decode(op, header, body);
                    if let Ok(response) = &mut result {
                        normaliser.response(response);
                    }
                    break format!("0x{:x} {result:?}", header.zxid);
                }
                None => break "hung up".to_owned(),
            }
        };
        if closes {
            clients[which] = Client::connect(address);
            normaliser.sessions.push(clients[which].session.session_id);
        }
        for (i, client) in clients.iter_mut().enumerate() {
            client.send(&Request::Ping);
            while let Some(Frame::Event(event)) = client.receive() {
                events.push(format!("{i} {event:?}"));
            }
        }
        if closes {
            // The ephemeral znodes of a session go in no order.
            events.sort();
        }
        lines.push(format!(
            "{step}: {which} {request:?}\n  -> {answer}\n  events {events:?}"
        ));
    }
    lines
}

#[test]
fn apaches_server_answers_the_same() {
    let Ok(apache) = std::env::var("TANDEM_TEST_FRESH_ZOOKEEPER") else {
        return;
    };
    let seed = std::env::var("DIFF_SEED").map_or(1, |seed| seed.parse().unwrap());
    let home = tempfile::tempdir().unwrap();
    configure(
        home.path(),
        "extendedTypesEnabled=true\nmaxClientCnxns=0\nminSessionTimeout=600000\nmaxSessionTimeout=6000000",
    );
    let server = Server::start(home.path());
    let theirs = transcript(apache.parse().unwrap(), seed);
    let ours = transcript(server.address, seed);
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs, "DIFF_SEED={seed}");
    }
}
