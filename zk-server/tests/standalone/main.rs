//! The zk-server binary as its clients and operators see it.

#![allow(clippy::unwrap_used, reason = "this is a test")]

mod client;
mod server;

use std::path::Path;

use bytes::{BufMut, Bytes, BytesMut};
use common::zk::code::{ErrorCode, OpCode};
use common::zk::request::{CreateMode, PathRequest, Request};
use common::zk::response::{EventType, Response};

use client::*;
use server::{Server, configure, run_to_end};

fn home(more: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    configure(home.path(), more);
    home
}

fn data_of(response: Result<Response, ErrorCode>) -> Bytes {
    match response {
        Ok(Response::GetData(r)) => r.data.unwrap(),
        other => panic!("{other:?}"),
    }
}

fn replies(client: &mut Client, count: usize) -> Vec<Frame> {
    (0..count).map(|_| client.receive().unwrap()).collect()
}

#[test]
fn a_read_sees_the_writes_before_it_and_replies_keep_their_order() {
    let home = home("");
    let server = Server::start(home.path());
    let mut client = Client::connect(server.address);
    client.send(&create("/a", "1", CreateMode::Persistent));
    client.send(&get_data("/a", true));
    client.send(&Request::Ping);
    client.send(&set_data("/a", "2"));
    client.send(&get_data("/a", false));
    client.send(&Request::Sync(PathRequest { path: "/a".into() }));
    client.send(&delete("/a"));
    client.send(&exists("/a", false));
    let frames = replies(&mut client, 9);
    let mut xids = Vec::new();
    let mut data = Vec::new();
    for (i, frame) in frames.into_iter().enumerate() {
        match frame {
            Frame::Event(event) => {
                // Before the reply of the write that set it off, and of the one after it.
                assert_eq!((i, event.kind), (3, EventType::NodeDataChanged.code()));
            }
            Frame::Reply(header, body) => {
                xids.push(header.xid);
                if let Ok(Response::GetData(r)) = decode_get(header.xid, body, header) {
                    data.push(r.data.unwrap());
                }
            }
        }
    }
    assert_eq!(xids, [1, 2, -2, 4, 5, 6, 7, 8]);
    assert_eq!(data, ["1", "2"]);
}

fn decode_get(
    xid: i32,
    body: Bytes,
    header: common::zk::response::ReplyHeader,
) -> Result<Response, ErrorCode> {
    match xid {
        2 | 5 => decode(OpCode::GetData, header, body),
        8 => {
            assert_eq!(header.err, ErrorCode::NoNode.code());
            Ok(Response::Empty)
        }
        _ => Ok(Response::Empty),
    }
}

#[test]
fn an_event_comes_before_any_reply_that_shows_its_change() {
    let home = home("");
    let server = Server::start(home.path());
    let (mut watcher, mut writer) = (
        Client::connect(server.address),
        Client::connect(server.address),
    );
    for round in 0..50 {
        assert_eq!(watcher.call(exists("/w", true)), Err(ErrorCode::NoNode));
        writer
            .call(create("/w", "x", CreateMode::Persistent))
            .unwrap();
        watcher.send(&exists("/w", false));
        let frames = replies(&mut watcher, 2);
        assert!(
            matches!(frames[0], Frame::Event(_)),
            "round {round}: {frames:?}"
        );
        writer.call(delete("/w")).unwrap();
    }
}

#[test]
fn an_acknowledged_write_survives_kill_9() {
    let home = home("snapCount=40\npreAllocSize=16\nautopurge.purgeInterval=1");
    let mut expected: Vec<String> = Vec::new();
    for life in 0..6 {
        let server = Server::start(home.path());
        let mut client = Client::connect(server.address);
        for (i, data) in expected.iter().enumerate() {
            let found = data_of(client.call(get_data(&format!("/n{i}"), false)));
            assert_eq!(found, data.as_bytes(), "life {life}");
        }
        let first = expected.len();
        for i in first..first + 100 {
            client.send(&create(
                &format!("/n{i}"),
                &format!("{life}"),
                CreateMode::Persistent,
            ));
        }
        // Some are acknowledged when the server dies.
        for _ in 0..60 {
            let Some(Frame::Reply(header, _)) = client.receive() else {
                panic!("no reply")
            };
            // What was not acknowledged in the last life may be there.
            let known = [ErrorCode::Ok.code(), ErrorCode::NodeExists.code()];
            assert!(known.contains(&header.err), "{header:?}");
        }
        server.kill();
        let server = Server::start(home.path());
        let mut client = Client::connect(server.address);
        for i in first..first + 60 {
            let data = data_of(client.call(get_data(&format!("/n{i}"), false)));
            expected.push(String::from_utf8(data.to_vec()).unwrap());
        }
        server.kill();
    }
}

#[test]
fn a_session_moves_to_a_new_connection_and_survives_a_restart() {
    let home = home("");
    let server = Server::start(home.path());
    let mut old = Client::connect(server.address);
    old.call(create("/e", "", CreateMode::Ephemeral)).unwrap();
    let (id, password) = (
        old.session.session_id,
        old.session.password.clone().unwrap(),
    );
    let again = Client::connect_with(server.address, id, password.clone(), 10_000);
    assert_eq!(
        (again.session.session_id, again.session.timeout_ms),
        (id, 10_000)
    );
    assert_eq!(old.receive(), None, "the old connection ends");

    server.kill();
    let server = Server::start(home.path());
    let mut again = Client::connect_with(server.address, id, password, 10_000);
    assert_eq!(again.session.session_id, id);
    let owner = match again.call(exists("/e", false)) {
        Ok(Response::Stat(r)) => r.stat.ephemeral_owner,
        other => panic!("{other:?}"),
    };
    assert_eq!(owner, id);

    let wrong = Client::connect_with(server.address, id, Bytes::from_static(&[1; 16]), 10_000);
    assert_eq!((wrong.session.session_id, wrong.session.timeout_ms), (0, 0));
    again.call(Request::CloseSession).unwrap();
    assert_eq!(again.receive(), None);
}

#[test]
fn an_expired_session_loses_its_znodes_and_cannot_come_back() {
    let home = home("tickTime=100");
    let server = Server::start(home.path());
    let none = Bytes::from_static(&[0; 16]);
    let mut watcher = Client::connect_with(server.address, 0, none.clone(), 2000);
    let mut silent = Client::connect_with(server.address, 0, none, 200);
    assert_eq!(silent.session.timeout_ms, 200);
    silent
        .call(create("/e", "", CreateMode::Ephemeral))
        .unwrap();
    watcher.call(exists("/e", true)).unwrap();
    assert_eq!(
        silent.receive(),
        None,
        "the connection ends with the session"
    );
    let Some(Frame::Event(event)) = watcher.receive() else {
        panic!("no event")
    };
    assert_eq!(
        (event.kind, &*event.path),
        (EventType::NodeDeleted.code(), "/e")
    );
    let (id, password) = (silent.session.session_id, silent.session.password.unwrap());
    let back = Client::connect_with(server.address, id, password, 200);
    assert_eq!(back.session.session_id, 0);
}

#[test]
fn hostile_bytes_end_their_connection_and_nothing_else() {
    let home = home("4lw.commands.whitelist=ruok");
    let server = Server::start(home.path());
    let mut state = 88_172_645_463_325_252_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let ops: Vec<i32> = OpCode::ALL.iter().map(|op| op.code()).collect();
    for _ in 0..300 {
        let mut client = Client::connect(server.address);
        let mut body = BytesMut::new();
        body.put_i32(1);
        body.put_i32(ops[random() as usize % ops.len()]);
        for _ in 0..random() % 40 {
            // Lengths and counts that promise much, among noise.
            match random() % 4 {
                0 => body.put_i32(i32::MAX),
                1 => body.put_i32(random() as i32 % 8),
                _ => body.put_u8(random() as u8),
            }
        }
        client.send_raw(&body);
        // An answer, an end, or (for what is dropped) nothing: the next request tells.
        client.send_raw(&body[..random() as usize % body.len()]);
    }
    assert_eq!(server.ask("ruok"), "imok");
}

#[test]
fn four_letter_words_need_to_be_allowed() {
    let home = home("4lw.commands.whitelist=ruok, conf");
    let server = Server::start(home.path());
    assert_eq!(server.ask("ruok"), "imok");
    assert!(
        server
            .ask("conf")
            .starts_with(&format!("clientPort={}\n", server.address.port()))
    );
    assert!(
        server
            .ask("srvr")
            .contains("\nMode: standalone\nNode count: 5\n")
    );
    assert_eq!(
        server.ask("mntr"),
        "mntr is not executed because it is not in the whitelist.\n"
    );
}

#[test]
fn what_is_wrong_is_told_in_one_line_with_zookeepers_exit_code() {
    let home = home("tickTime=soon");
    let output = run_to_end(home.path());
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        told.contains("zoo.cfg:5: ") && told.contains("tickTime"),
        "{told}"
    );
    assert_eq!(told.lines().count(), 1);

    configure(home.path(), "");
    let first = Server::start(home.path());
    let output = run_to_end(home.path());
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(told.contains("in use by another server"), "{told}");

    let taken = format!("clientPort={}", first.address.port());
    configure(home.path(), &taken);
    let output = run_to_end(home.path());
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(told.contains("cannot listen on 127.0.0.1:"), "{told}");
}

#[test]
fn old_snapshots_and_logs_are_purged() {
    let home = home("snapCount=10\npreAllocSize=4\nautopurge.purgeInterval=1");
    for life in 0..2 {
        let server = Server::start(home.path());
        let mut client = Client::connect(server.address);
        for i in 0..200 {
            client
                .call(create(&format!("/{life}-{i}"), "", CreateMode::Persistent))
                .unwrap();
        }
        server.kill();
    }
    let server = Server::start(home.path());
    let version_2 = home.path().join("data/version-2");
    let count = |prefix: &str| {
        names(&version_2)
            .iter()
            .filter(|n| n.starts_with(prefix))
            .count()
    };
    // The purge runs beside the server: ask until it is through. The server may write one more
    // snapshot after it.
    let done = (0..10_000).any(|_| {
        server.ask("srvr");
        count("snapshot.") <= 4
    });
    assert!(done, "{:?}", names(&version_2));
    let mut client = Client::connect(server.address);
    client.call(exists("/0-0", false)).unwrap();
    client.call(exists("/1-199", false)).unwrap();
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}
