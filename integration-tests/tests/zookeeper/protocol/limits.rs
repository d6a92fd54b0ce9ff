//! Shell: limits of connections, sessions and requests, and clients that strain them.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use integration_tests::raw::{Body, Got, Hello, Raw};
use integration_tests::stack::{Maker, ZooKeeper};

use super::lab::{Lab, same, same_settings};
use super::requests::{ask, create};

/// Connects and greets; whether a session was granted.
fn try_client(lab: &mut Lab, kept: &mut Vec<Raw>) -> Result<String> {
    let mut raw = Raw::connect(lab.address)?;
    raw.send(&Hello::default().body().framed());
    let got = raw.receive()?;
    kept.push(raw);
    Ok(match got {
        Got::Frame(_) => "a session".to_owned(),
        other => format!("{other:?}"),
    })
}

fn storm(lab: &mut Lab) -> Result<()> {
    let mut kept = Vec::new();
    let mut lines = Vec::new();
    for _ in 0..6 {
        lines.push(try_client(lab, &mut kept)?);
    }
    lab.note("six clients one after the other", lines)?;
    for raw in &mut kept {
        raw.send(&ask(3).string("/").byte(0).framed());
    }
    let mut lines = Vec::new();
    for raw in &mut kept {
        lines.extend(lab.collect(raw)?);
    }
    lab.note("those that have a session go on", lines)
}

#[test]
fn connections_are_limited_the_same() -> Result<()> {
    same("maxClientCnxns=4", storm)?;
    same("maxCnxns=3", storm)?;
    same(
        "connection_throttle_tokens=3\nconnection_throttle_fill_time=10000000",
        storm,
    )?;
    let weights = "connection_throttle_tokens=3\nconnection_throttle_fill_time=10000000\n\
                   connection_throttle_weight_enabled=true";
    same(weights, |lab| {
        let (_first, welcome) = lab.client_with(&Hello::default())?;
        let again = Hello {
            session: welcome.session,
            password: Some(welcome.password),
            ..Hello::default()
        };
        let mut lines = Vec::new();
        for _ in 0..4 {
            let mut raw = Raw::connect(lab.address)?;
            raw.send(&again.body().framed());
            lines.push(matches!(raw.receive()?, Got::Frame(_)).to_string());
        }
        lab.note("a session that goes on takes fewer tokens", lines)
    })
}

#[test]
fn requests_are_limited_the_same() -> Result<()> {
    let data = |bytes: usize| ask(5).string("/d").string(vec![b'x'; bytes]).int(-1);
    same(
        "largeRequestThreshold=1000\nlargeRequestMaxBytes=3000",
        |lab| {
            lab.exchange("a znode", &[create(1, "/d").int(0)])?;
            for bytes in [900, 1100, 2900, 3100, 5000] {
                lab.exchange(&format!("{bytes} bytes"), &[data(bytes)])?;
            }
            let many: Vec<Body> = (0..20).map(|_| data(900)).collect();
            lab.exchange("many that are small", &many)
        },
    )?;
    same(
        "request_throttle_max_requests=2\nglobalOutstandingLimit=5",
        |lab| {
            lab.exchange("a znode", &[create(1, "/d").int(0)])?;
            let many: Vec<Body> = (0..300)
                .map(|n| {
                    if n % 3 == 0 {
                        ask(4).string("/d").byte(0)
                    } else {
                        data(n)
                    }
                })
                .collect();
            lab.exchange("many at once", &many)
        },
    )
}

#[test]
fn a_session_expires_the_same() -> Result<()> {
    same_settings(
        "tickTime=500\nminSessionTimeout=1000\nmaxSessionTimeout=600000",
        |lab| {
            let hello = Hello {
                timeout_ms: 1,
                ..Hello::default()
            };
            let (mut silent, welcome) = lab.client_with(&hello)?;
            let mut watcher = lab
                .client_with(&Hello {
                    timeout_ms: 600_000,
                    ..hello.clone()
                })?
                .0;
            for request in [
                create(1, "/e").int(1),
                create(1, "/f").int(0),
                ask(106).string("/f").int(1),
            ] {
                silent.send(&request.framed());
                silent.receive()?;
            }
            let watches = [
                ask(3).string("/e").byte(1),
                ask(8).string("/e").byte(1),
                ask(12).string("/").byte(1),
            ];
            for request in watches {
                watcher.send(&request.framed());
                watcher.receive()?;
            }
            // The server ends the connection without a word.
            let mut lines = vec![
                format!("{:?}", silent.receive()?),
                welcome.timeout_ms.to_string(),
            ];
            lines.extend(lab.collect(&mut watcher)?);
            lab.note("a silent session", lines)?;
            let again = Hello {
                session: welcome.session,
                password: Some(welcome.password),
                ..hello
            };
            let mut late = Raw::connect(lab.address)?;
            late.send(&again.body().framed());
            let mut lines = match late.receive()? {
                Got::Frame(bytes) => vec![lab.show_bytes(&bytes)],
                other => vec![format!("{other:?}")],
            };
            lines.extend(lab.collect(&mut late)?);
            lab.note("back too late", lines)
        },
    )
}

#[test]
fn a_connection_that_asks_for_nothing_ends_the_same() -> Result<()> {
    same("nio.sessionlessCnxnTimeout=1000", |lab| {
        let mut silent = Raw::connect(lab.address)?;
        let mut half = Raw::connect(lab.address)?;
        half.send(&[0, 0, 0]);
        let lines = vec![
            format!("{:?}", silent.receive()?),
            format!("{:?}", half.receive()?),
        ];
        lab.note("silence", lines)
    })
}

/// A client that asks for much and reads nothing costs little, and nobody else waits for it.
#[test]
fn slow_readers_are_bounded() -> Result<()> {
    let mut server = ZooKeeper::start(Maker::Ours)?;
    let (mut writer, _) = Raw::with_session(server.address(), &Hello::default())?;
    let large = ask(1)
        .string("/large")
        .string(vec![b'x'; 900_000])
        .open_acl()
        .int(0);
    writer.send(&large.framed());
    ensure!(matches!(writer.receive()?, Got::Frame(_)));
    let before = server.process()?.resident_bytes()?;
    let mut slow = Vec::new();
    for _ in 0..10 {
        let (mut raw, _) = Raw::with_session(server.address(), &Hello::default())?;
        let reads = ask(4).string("/large").byte(0).framed().repeat(500);
        raw.send(&reads);
        slow.push(raw);
    }
    let begin = Instant::now();
    for _ in 0..100 {
        writer.send(&ask(3).string("/large").byte(0).framed());
        ensure!(matches!(writer.receive()?, Got::Frame(_)));
    }
    println!("others wait {:?}", begin.elapsed() / 100);
    let after = server.process()?.resident_bytes()?;
    ensure!(
        after < before + (100 << 20),
        "{} MiB for ten slow readers",
        (after - before) >> 20
    );
    // Nothing is lost for a client that reads in the end.
    let mut last = slow.pop().context("there are ten")?;
    for _ in 0..500 {
        let Got::Frame(bytes) = last.receive()? else {
            anyhow::bail!("the slow client was cut off")
        };
        ensure!(bytes.len() > 900_000);
    }
    Ok(())
}

/// Thousands of sessions come, keep ephemeral znodes, and expire together.
#[test]
fn thousands_of_sessions_come_and_expire() -> Result<()> {
    let settings = "tickTime=1000\nminSessionTimeout=8000\nmaxSessionTimeout=600000";
    let server = ZooKeeper::start_with(Maker::Ours, settings)?;
    let patient = Hello {
        timeout_ms: 600_000,
        ..Hello::default()
    };
    let (mut watcher, _) = Raw::with_session(server.address(), &patient)?;
    let count = 3000;
    let mut sessions = Vec::new();
    let hello = Hello {
        timeout_ms: 8000,
        ..Hello::default()
    };
    for number in 0..count {
        let mut raw = Raw::connect(server.address())?;
        let ephemeral = create(1, &format!("/e{number}")).int(1);
        raw.send(&[hello.body().framed(), ephemeral.framed()].concat());
        sessions.push(raw);
    }
    for raw in &mut sessions {
        for what in ["greeting", "create"] {
            ensure!(
                matches!(raw.receive()?, Got::Frame(_)),
                "no answer to a {what}"
            );
        }
    }
    let ephemerals = |watcher: &mut Raw| -> Result<i32> {
        watcher.send(&ask(104).string("/").framed());
        let Got::Frame(bytes) = watcher.receive()? else {
            anyhow::bail!("the patient client was cut off")
        };
        let total = bytes.get(16..20).context("a short reply")?;
        Ok(i32::from_be_bytes(total.try_into()?))
    };
    let with_them = ephemerals(&mut watcher)?;
    for raw in &mut sessions {
        ensure!(raw.receive()? == Got::Closed, "a silent session goes on");
    }
    let without = ephemerals(&mut watcher)?;
    // On a slow machine the first ones are gone before the last ones are there.
    ensure!(with_them > count / 2, "{with_them}");
    ensure!(without < 10, "{without} are left");
    Ok(())
}
