//! Pure: random requests from a seed, and what of their answers two servers must have in common.

use bytes::Bytes;
use common::zk::data::{Acl, Id, Stat};
use common::zk::multi::{MultiOp, MultiRequest, MultiResult};
use common::zk::request::*;
use common::zk::response::Response;

/// Random numbers that a seed decides (xorshift).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The numbers of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `limit`, which is at least 1.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    /// One of them.
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[usize::try_from(self.below(items.len() as u64)).unwrap_or(0)]
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
        let length = usize::try_from(self.below(40)).unwrap_or(0);
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

    /// Up to two paths.
    pub fn paths<T: From<String>>(&mut self) -> Vec<T> {
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

    /// Any request but closeSession; `last_zxid` bounds what setWatches claims to have seen.
    pub fn request(&mut self, last_zxid: i64) -> Request {
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
                relative_zxid: i64::try_from(self.below(last_zxid.unsigned_abs() + 1)).unwrap_or(0),
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
                0 => Request::GetChildren2(self.watchable()),
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
#[derive(Debug, Default)]
pub struct Sameness {
    /// The sessions so far, in the order they began.
    pub sessions: Vec<i64>,
}

impl Sameness {
    /// Takes clocks and session ids out of a Stat.
    pub fn stat(&self, stat: &mut Stat) {
        stat.mtime = stat.mtime.signum();
        stat.ctime = stat.ctime.signum();
        if let Some(index) = self
            .sessions
            .iter()
            .position(|id| *id == stat.ephemeral_owner)
        {
            stat.ephemeral_owner = i64::try_from(index).unwrap_or(0) + 1;
        }
    }

    /// Takes out of a response what may differ.
    pub fn response(&self, response: &mut Response) {
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
