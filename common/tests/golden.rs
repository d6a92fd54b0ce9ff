//! Shell: our codec against records that ZooKeeper's own classes wrote
//! (`integration-tests/peers/java/ZkGolden.java`).

#![allow(clippy::unwrap_used, reason = "this is a test")]

mod zk_frames;

use bytes::Bytes;
use bytestring::ByteString;
use common::zk::code::{ErrorCode, OpCode};
use common::zk::connect::{ConnectRequest, ConnectResponse};
use common::zk::data::{Acl, ClientInfo, Id, Stat, StatPersisted, perms};
use common::zk::jute::{Reader, Record};
use common::zk::multi::{MultiOp, MultiResponse, MultiResult};
use common::zk::path;
use common::zk::request::*;
use common::zk::response::*;
use common::zk::txn::*;
use zk_frames::{golden, names, recode};

const PATH: ByteString = ByteString::from_static("/golden/å中");
const DATA: &[u8] = &[0, 1, 2, 255];
const SESSION: i64 = 0x100_0000_0000_0006;

fn acls() -> Vec<Acl> {
    vec![
        Acl::new(perms::ALL, Id::anyone()),
        Acl::new(perms::READ, Id::new("digest", "bob:aGFzaA==")),
    ]
}

fn data() -> Option<Bytes> {
    Some(Bytes::from_static(DATA))
}

fn stat() -> Stat {
    Stat {
        czxid: 0x1_0000_0001,
        mzxid: 0x1_0000_0002,
        ctime: 1_700_000_000_001,
        mtime: 1_700_000_000_002,
        version: 3,
        cversion: 4,
        aversion: -5,
        ephemeral_owner: SESSION,
        data_length: 7,
        num_children: 8,
        pzxid: 0x1_0000_0009,
    }
}

fn request(name: &str) -> Request {
    let mut reader = Reader::new(golden(&format!("request.{name}")));
    let header: RequestHeader = reader.read().unwrap();
    assert_eq!(header.xid, 7);
    let request = Request::decode(OpCode::from_code(header.op).unwrap(), &mut reader).unwrap();
    assert_eq!(reader.remaining(), 0, "{name}");
    request
}

fn response(name: &str, op: OpCode) -> Response {
    let mut reader = Reader::new(golden(&format!("reply.{name}")));
    let header: ReplyHeader = reader.read().unwrap();
    assert_eq!(
        header,
        ReplyHeader {
            xid: 7,
            zxid: 0x1_0000_000a,
            err: 0
        }
    );
    let response = Response::decode(op, &mut reader).unwrap();
    assert_eq!(reader.remaining(), 0, "{name}");
    response
}

fn txn(name: &str) -> TxnEntry {
    let mut reader = Reader::new(golden(&format!("txn.{name}")));
    let entry: TxnEntry = reader.read().unwrap();
    assert_eq!(reader.remaining(), 0, "{name}");
    entry
}

#[test]
fn every_record_is_written_again_byte_for_byte() {
    let names = names();
    assert!(names.len() >= 76, "golden records are missing");
    for name in names {
        let bytes = golden(&name);
        match name.as_str() {
            // Read as ZooKeeper reads them, which is not how they were written: see below.
            "txn.create_v0" | "data.id_surrogates" => {}
            _ => assert_eq!(recode(&name, bytes.clone()).unwrap(), bytes, "{name}"),
        }
    }
}

#[test]
fn the_handshake() {
    let password = Some(Bytes::from_static(&[9; 16]));
    let mut ask = ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: 0x1_0000_0001,
        timeout_ms: 30_000,
        session_id: SESSION,
        password: password.clone(),
        read_only: Some(true),
    };
    assert_eq!(
        Reader::new(golden("connect.request")).read(),
        Ok(ask.clone())
    );
    ask.read_only = None;
    assert_eq!(Reader::new(golden("connect.request_old")).read(), Ok(ask));
    let answer = ConnectResponse {
        protocol_version: 0,
        timeout_ms: 20_000,
        session_id: SESSION,
        password,
        read_only: Some(false),
    };
    assert_eq!(Reader::new(golden("connect.response")).read(), Ok(answer));
}

#[test]
fn requests_have_the_right_fields() {
    let create = |data, flags| {
        Request::Create(CreateRequest {
            path: PATH,
            data,
            acl: acls(),
            flags,
        })
    };
    assert_eq!(request("create"), create(data(), 3));
    assert_eq!(request("create_null_data"), create(None, 0));
    assert_eq!(request("create_empty_data"), create(Some(Bytes::new()), 0));
    let set_data = SetDataRequest {
        path: PATH,
        data: data(),
        version: 3,
    };
    assert_eq!(request("setData"), Request::SetData(set_data));
    let get = WatchableRequest {
        path: PATH,
        watch: true,
    };
    assert_eq!(request("getChildren2"), Request::GetChildren2(get));
    let reconfig = ReconfigRequest {
        joining: Some("server.4=h:1:2;3".into()),
        leaving: None,
        new_members: Some("".into()),
        current_config: 0x1_0000_0000,
    };
    assert_eq!(request("reconfig"), Request::Reconfig(reconfig));
    let watches = SetWatches2 {
        relative_zxid: 5,
        data: vec![PATH],
        exist: vec!["/e".into()],
        child: vec!["/c".into()],
        persistent: vec!["/p".into()],
        persistent_recursive: vec!["/r".into()],
    };
    assert_eq!(request("setWatches2"), Request::SetWatches2(watches));
    let add = AddWatchRequest {
        path: PATH,
        mode: AddWatchMode::PersistentRecursive.code(),
    };
    assert_eq!(request("addWatch"), Request::AddWatch(add));
}

#[test]
fn a_multi_has_the_right_operations() {
    let Request::Multi(multi) = request("multi") else {
        panic!("not a multi")
    };
    let create = |path: &'static str, data, flags| CreateRequest {
        path: path.into(),
        data,
        acl: acls(),
        flags,
    };
    let expected = vec![
        MultiOp::Check(CheckVersionRequest {
            path: "/c".into(),
            version: 4,
        }),
        MultiOp::Create(CreateRequest {
            path: PATH,
            ..create("", data(), 3)
        }),
        MultiOp::CreateTtl(CreateTtlRequest {
            path: "/ttl".into(),
            data: None,
            acl: acls(),
            flags: 5,
            ttl_ms: 60_000,
        }),
        MultiOp::CreateContainer(create("/cont", Some(Bytes::new()), 4)),
        MultiOp::Create2(create("/two", data(), 0)),
        MultiOp::SetData(SetDataRequest {
            path: "/s".into(),
            data: data(),
            version: 3,
        }),
        MultiOp::Delete(DeleteRequest {
            path: "/d".into(),
            version: -1,
        }),
    ];
    assert_eq!(multi.ops, expected);
    let Request::MultiRead(read) = request("multiRead") else {
        panic!("not a multiRead")
    };
    assert_eq!(
        read.ops,
        vec![MultiOp::GetData(PATH), MultiOp::GetChildren("/c".into())]
    );
}

#[test]
fn replies_have_the_right_fields() {
    assert_eq!(Reader::new(golden("data.stat")).read(), Ok(stat()));
    let get = GetDataResponse {
        data: data(),
        stat: stat(),
    };
    assert_eq!(response("getData", OpCode::GetData), Response::GetData(get));
    let get = GetDataResponse {
        data: None,
        stat: stat(),
    };
    assert_eq!(
        response("getData_null", OpCode::GetData),
        Response::GetData(get)
    );
    let names: Vec<ByteString> = vec!["a".into(), "å".into(), "".into()];
    let list = GetChildren2Response {
        children: names.clone(),
        stat: stat(),
    };
    assert_eq!(
        response("getChildren2", OpCode::GetChildren2),
        Response::GetChildren2(list)
    );
    let who = WhoAmIResponse {
        client_info: vec![
            ClientInfo {
                auth_scheme: "ip".into(),
                user: "127.0.0.1".into(),
            },
            ClientInfo {
                auth_scheme: "digest".into(),
                user: "bob".into(),
            },
        ],
    };
    assert_eq!(response("whoAmI", OpCode::WhoAmI), Response::WhoAmI(who));
    let results = vec![
        MultiResult::Check,
        MultiResult::Create { path: PATH },
        MultiResult::Create2 {
            path: "/two".into(),
            stat: stat(),
        },
        MultiResult::SetData(stat()),
        MultiResult::Delete,
    ];
    assert_eq!(
        response("multi", OpCode::Multi),
        Response::Multi(MultiResponse { results })
    );
    let results = vec![
        MultiResult::GetData {
            data: data(),
            stat: stat(),
        },
        MultiResult::GetChildren(names),
        MultiResult::Error(ErrorCode::NoNode.code()),
    ];
    let multi = Response::Multi(MultiResponse { results });
    assert_eq!(response("multiRead", OpCode::MultiRead), multi);

    let mut event = Reader::new(golden("reply.event"));
    let header = ReplyHeader {
        xid: XID_NOTIFICATION,
        zxid: -1,
        err: 0,
    };
    assert_eq!(event.read(), Ok(header));
    let kind = EventType::NodeDataChanged.code();
    assert_eq!(
        event.read(),
        Ok(WatcherEvent {
            kind,
            state: STATE_SYNC_CONNECTED,
            path: PATH
        })
    );
}

#[test]
fn logged_transactions_have_the_right_fields() {
    let entry = txn("create");
    let header = TxnHeader {
        client_id: SESSION,
        cxid: 7,
        zxid: 0x1_0000_000b,
        time_ms: 1_700_000_000_003,
        op: OpCode::Create.code(),
    };
    assert_eq!(entry.header, header);
    let digest = TxnDigest {
        version: 2,
        tree_digest: 0x1122_3344_5566_7788,
    };
    assert_eq!(entry.digest, Some(digest));
    let create = |ephemeral, parent_cversion| {
        let (path, data, acl) = (PATH, data(), acls());
        TxnBody::Create(CreateTxn {
            path,
            data,
            acl,
            ephemeral,
            parent_cversion,
        })
    };
    assert_eq!(entry.body, create(true, 9));

    let old = txn("create_v0");
    assert_eq!((old.body, old.digest), (create(true, -1), None));
    let empty = txn("closeSession_empty");
    assert_eq!(
        (empty.body, empty.digest),
        (TxnBody::CloseSession(None), None)
    );
    let paths = vec![PATH, "/b".into()];
    let close = TxnBody::CloseSession(Some(CloseSessionTxn { paths }));
    assert_eq!(txn("closeSession").body, close);

    let TxnBody::Multi(multi) = txn("multi").body else {
        panic!("not a multi")
    };
    let ops: Vec<OpCode> = multi.txns.iter().map(|(op, _)| *op).collect();
    use OpCode::{Check, Create, CreateContainer, CreateTtl, Delete, SetData};
    assert_eq!(
        ops,
        [Check, Create, CreateTtl, CreateContainer, SetData, Delete]
    );
    assert_eq!(multi.txns[1].1, create(false, 9));

    let persisted: StatPersisted = Reader::new(golden("data.stat_persisted")).read().unwrap();
    assert_eq!((persisted.aversion, persisted.pzxid), (-5, 0x1_0000_0009));
}

#[test]
fn a_closed_session_without_paths_may_have_a_digest() {
    let digest = TxnDigest {
        version: 2,
        tree_digest: 77,
    };
    let header = TxnHeader {
        op: OpCode::CloseSession.code(),
        ..TxnHeader::default()
    };
    let entry = TxnEntry {
        header,
        body: TxnBody::CloseSession(None),
        digest: Some(digest),
    };
    assert_eq!(Reader::new(entry.to_bytes()).read(), Ok(entry));
}

#[test]
fn characters_beyond_the_basic_plane_are_written_as_jute_writes_them() {
    let id = Id::new("digest", "a\u{1f600}");
    assert_eq!(id.to_bytes(), golden("data.id_surrogates"));
}

fn unhex(text: &str) -> String {
    let digits: Vec<char> = text.chars().collect();
    let bytes = digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap());
    String::from_utf8(bytes.collect()).unwrap()
}

#[test]
fn paths_are_judged_as_path_utils_judges_them() {
    let table = std::fs::read_to_string(zk_frames::directory().join("paths.tsv")).unwrap();
    for line in table.lines() {
        let (path, told) = line.split_once('\t').unwrap();
        let path = unhex(path);
        let ours = path::validate(&path).err().map(|error| error.to_string());
        assert_eq!(ours.unwrap_or_default(), unhex(told), "{path:?}");
    }
}

#[test]
fn errors_are_named_as_keeper_exception_names_them() {
    let table = std::fs::read_to_string(zk_frames::directory().join("codes.tsv")).unwrap();
    for line in table.lines() {
        let (code, told) = line.split_once('\t').unwrap();
        let code = ErrorCode::from_code(code.parse().unwrap()).unwrap();
        assert_eq!(format!("KeeperErrorCode = {code} for /p"), told);
    }
}
