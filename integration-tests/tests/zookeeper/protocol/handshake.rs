//! Shell: the first frame: good ones, odd ones, broken ones.

use anyhow::Result;
use integration_tests::raw::{Body, Got, Hello, Raw};

use super::lab::{Lab, same};

/// Greets as told, with more bytes behind, and writes down what comes.
fn greet(lab: &mut Lab, title: &str, bytes: &[u8], exists: bool) -> Result<()> {
    let mut raw = Raw::connect(lab.address)?;
    raw.send(bytes);
    let mut lines = Vec::new();
    match raw.listen()? {
        Got::Frame(answer) => {
            if let (Some(session), Some(password)) = (answer.get(8..16), answer.get(20..36))
                && session != [0; 8]
            {
                lab.name(session, "{session}");
                lab.name(password, "{password}");
            }
            lines.push(format!("{} bytes", answer.len()));
            lines.push(lab.show_bytes(&answer));
            if exists {
                raw.send(&Body::request(1, 3).string("/").byte(0).framed());
            }
            lines.extend(lab.collect(&mut raw)?);
        }
        Got::Closed => lines.push("closed".to_owned()),
        Got::Silence => lines.push("silent".to_owned()),
    }
    lab.note(title, lines)
}

fn hello(lab: &mut Lab, title: &str, hello: Hello) -> Result<()> {
    greet(lab, title, &hello.body().framed(), true)
}

#[test]
fn greetings_are_answered_the_same() -> Result<()> {
    same("", |lab| {
        hello(lab, "a new session", Hello::default())?;
        for version in [1, -1, i32::MAX] {
            let odd = Hello {
                version,
                ..Hello::default()
            };
            hello(lab, &format!("protocol version {version}"), odd)?;
        }
        for flag in [None, Some(1), Some(2), Some(255)] {
            let odd = Hello {
                read_only: flag,
                ..Hello::default()
            };
            hello(lab, &format!("read-only flag {flag:?}"), odd)?;
        }
        for password in [None, Some(vec![]), Some(vec![7; 3]), Some(vec![7; 20])] {
            let odd = Hello {
                password: password.clone(),
                ..Hello::default()
            };
            hello(
                lab,
                &format!("a new session with password {password:?}"),
                odd,
            )?;
        }
        for timeout_ms in [i32::MIN, -1, 0, 1, 600_001, 5_999_999, i32::MAX] {
            let odd = Hello {
                timeout_ms,
                ..Hello::default()
            };
            hello(lab, &format!("timeout {timeout_ms}"), odd)?;
        }
        for last_zxid in [i64::MIN, -1, 1, 0x7777, i64::MAX] {
            let odd = Hello {
                last_zxid,
                ..Hello::default()
            };
            hello(lab, &format!("last zxid {last_zxid}"), odd)?;
        }
        for session in [1, -1, i64::MIN, 0x0100_0000_0000_0000] {
            let odd = Hello {
                session,
                ..Hello::default()
            };
            hello(lab, &format!("unknown session {session}"), odd.clone())?;
            for password in [None, Some(vec![]), Some(vec![1; 15]), Some(vec![1; 17])] {
                let title = format!("unknown session {session}, password {password:?}");
                hello(
                    lab,
                    &title,
                    Hello {
                        password,
                        ..odd.clone()
                    },
                )?;
            }
            let old = Hello {
                read_only: None,
                ..odd
            };
            hello(
                lab,
                &format!("unknown session {session} of an old client"),
                old,
            )?;
        }
        Ok(())
    })
}

#[test]
fn broken_greetings_are_answered_the_same() -> Result<()> {
    same("", |lab| {
        let whole = Hello::default().body();
        for cut in [1, 2, 16, 17, 18, 20, 21, 30, 44, 45] {
            let title = format!("a greeting without its last {cut} bytes");
            greet(lab, &title, &whole.clone().cut(cut).framed(), true)?;
        }
        let long = whole.clone().bytes(&[1, 2, 3, 4, 5]);
        greet(lab, "more bytes than fields", &long.framed(), true)?;
        for length in [-1, -2, i32::MIN, i32::MAX, 0x0010_0000, 1_195_725_856, 0] {
            let bytes = Body::new().int(length).bytes(&whole.0);
            greet(lab, &format!("a frame of length {length}"), &bytes.0, false)?;
        }
        for length in [-2, 17, i32::MAX, 0x0020_0000] {
            let bytes = Body::new()
                .int(0)
                .long(0)
                .int(9)
                .long(0)
                .int(length)
                .bytes(&[0; 17]);
            greet(
                lab,
                &format!("a password of length {length}"),
                &bytes.framed(),
                true,
            )?;
        }
        let request = Body::request(1, 3).string("/").byte(0).framed();
        let both = [whole.framed(), request.clone()].concat();
        greet(lab, "a greeting and a request at once", &both, false)?;
        greet(lab, "a request instead of a greeting", &request, false)?;
        let odd: [(&str, Vec<u8>); 6] = [
            ("another greeting", whole.framed()),
            ("a four-letter word", b"ruok".to_vec()),
            ("an empty frame", Body::new().framed()),
            ("half a header", Body::new().bytes(&[0; 7]).framed()),
            ("a negative length", vec![0xff; 4]),
            ("a length beyond the limit", Body::new().int(0x0010_0000).0),
        ];
        for (title, bytes) in odd {
            let mut raw = lab.client()?;
            raw.send(&bytes);
            let lines = lab.collect(&mut raw)?;
            lab.note(&format!("{title} after the greeting"), lines)?;
        }
        Ok(())
    })
}
