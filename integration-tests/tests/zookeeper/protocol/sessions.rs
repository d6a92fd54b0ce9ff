//! Shell: how sessions go on, move, and end.

use anyhow::{Result, ensure};
use integration_tests::raw::{Body, Got, Hello, Raw};
use integration_tests::stack::{Maker, ZooKeeper};

use super::lab::{Lab, same};

fn create(path: &str, flags: i32) -> Body {
    Body::request(7, 1)
        .string(path)
        .string("")
        .open_acl()
        .int(flags)
}

fn close() -> Body {
    Body::request(9, -11)
}

fn exists(path: &str, watch: bool) -> Body {
    Body::request(8, 3).string(path).byte(u8::from(watch))
}

/// Comes back to a session on a new connection.
fn again(lab: &mut Lab, hello: &Hello) -> Result<(Raw, Got)> {
    let mut raw = Raw::connect(lab.address)?;
    raw.send(&hello.body().framed());
    let got = raw.receive()?;
    Ok((raw, got))
}

fn shown(lab: &Lab, got: &Got) -> String {
    match got {
        Got::Frame(bytes) => lab.show_bytes(bytes),
        other => format!("{other:?}"),
    }
}

#[test]
fn the_end_of_a_session_is_the_same() -> Result<()> {
    same("", |lab| {
        lab.exchange("close", &[close()])?;
        // What is sent behind it is dropped by ours; with Apache's server it depends on its threads
        // whether it still takes a zxid.
        lab.exchange("close with a record", &[close().bytes(&[1, 2, 3])])?;
        lab.exchange(
            "close with ephemerals",
            &[create("/e1", 1), create("/e2", 1), close()],
        )?;
        let mut watcher = lab.client()?;
        watcher.send(&exists("/e1", true).framed());
        watcher.send(&Body::request(8, 8).string("/").byte(1).framed());
        watcher.receive()?;
        watcher.receive()?;
        lab.exchange("close while somebody watches", &[create("/e1", 1), close()])?;
        let lines = lab.collect(&mut watcher)?;
        lab.note("what the watcher saw", lines)
    })
}

#[test]
fn coming_back_is_the_same() -> Result<()> {
    same("", |lab| {
        let (mut first, welcome) = lab.client_with(&Hello::default())?;
        first.send(&create("/mine", 1).framed());
        first.receive()?;
        first.send(&exists("/none", true).framed());
        first.receive()?;
        let hello = Hello {
            session: welcome.session,
            password: Some(welcome.password.clone()),
            timeout_ms: 700_000,
            ..Hello::default()
        };
        let (mut second, got) = again(lab, &hello)?;
        let mut lines = vec![shown(lab, &got)];
        lines.extend(lab.collect(&mut first)?);
        second.send(&Body::request(8, 103).string("/").framed());
        lines.extend(lab.collect(&mut second)?);
        lab.note("back with the old connection open", lines)?;

        // The watch of the first connection is gone.
        let mut other = lab.client()?;
        other.send(&create("/none", 0).framed());
        other.receive()?;
        let lines = lab.collect(&mut second)?;
        lab.note("a watch of the old connection", lines)?;

        for password in [
            vec![],
            vec![0; 16],
            welcome.password[..15].to_vec(),
            [&welcome.password[..], &[0]].concat(),
        ] {
            let wrong = Hello {
                password: Some(password),
                ..hello.clone()
            };
            let (mut third, got) = again(lab, &wrong)?;
            let mut lines = vec![shown(lab, &got)];
            lines.extend(lab.collect(&mut third)?);
            lab.note("back with a wrong password", lines)?;
        }
        let (mut fourth, _) = again(lab, &hello)?;
        fourth.send(&close().framed());
        lab.closing = true;
        let lines = lab.collect(&mut fourth)?;
        lab.closing = false;
        lab.note("closed", lines)?;
        let (mut fifth, got) = again(lab, &hello)?;
        let mut lines = vec![shown(lab, &got)];
        lines.extend(lab.collect(&mut fifth)?);
        lab.note("back after the end", lines)?;
        lab.exchange("its ephemeral is gone", &[exists("/mine", false)])
    })
}

#[test]
fn writes_on_a_connection_that_is_left_behind_still_count() -> Result<()> {
    same("", |lab| {
        let (mut first, welcome) = lab.client_with(&Hello::default())?;
        let many: Vec<u8> = (0..200)
            .flat_map(|n| create(&format!("/left-{n}"), 1).framed())
            .collect();
        first.send(&many);
        // The first answer shows that the server has begun to read them.
        ensure!(matches!(first.receive()?, Got::Frame(_)));
        std::thread::sleep(std::time::Duration::from_millis(500));
        let hello = Hello {
            session: welcome.session,
            password: Some(welcome.password),
            ..Hello::default()
        };
        let (mut second, _) = again(lab, &hello)?;
        second.send(&exists("/left-199", false).framed());
        let lines = lab.collect(&mut second)?;
        lab.note("the last of them", lines)
    })
}

/// Who knows no more than the id of a session cannot cut it off; at Apache's server anybody can.
#[test]
fn a_wrong_password_leaves_the_connection_of_the_session_alone() -> Result<()> {
    for (maker, expected) in [(Maker::Apache, false), (Maker::Ours, true)] {
        let server = ZooKeeper::start(maker)?;
        let (mut owner, welcome) = Raw::with_session(server.address(), &Hello::default())?;
        let wrong = Hello {
            session: welcome.session,
            ..Hello::default()
        };
        let mut other = Raw::connect(server.address())?;
        other.send(&wrong.body().framed());
        other.receive()?;
        owner.send(&exists("/", false).framed());
        let goes_on = matches!(owner.receive()?, Got::Frame(_));
        ensure!(goes_on == expected, "{maker:?}: {goes_on}");
    }
    Ok(())
}
