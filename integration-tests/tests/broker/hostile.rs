//! Shell: bytes that no client sends: the broker closes that connection and serves the others.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Result, ensure};
use integration_tests::stack::{Maker, Stack};
use integration_tests::stock_tools::{self, class};

/// Sends bytes and waits for the broker to close, or to say something.
fn send(address: SocketAddr, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    // The broker may close before it has read everything.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    Ok(answer)
}

/// A frame with its length.
fn frame(body: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(body.len())
        .unwrap_or(u32::MAX)
        .to_be_bytes()
        .to_vec();
    bytes.extend(body);
    bytes
}

#[test]
fn hostile_bytes_end_only_their_own_connection() -> Result<()> {
    let mut stack = Stack::start(Maker::Ours, Maker::Ours)?;
    let address = stack.broker.address();
    let header = |api: i16, version: i16| {
        let mut bytes = api.to_be_bytes().to_vec();
        bytes.extend(version.to_be_bytes());
        bytes.extend(7_i32.to_be_bytes());
        bytes.extend([0xff, 0xff]);
        bytes
    };
    let with_rest = |api, version, rest: &[u8]| {
        let mut body = header(api, version);
        body.extend(rest);
        frame(&body)
    };
    let huge = [0x7f, 0xff, 0xff, 0xff];
    for bytes in [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        vec![0x7f, 0xff, 0xff, 0xff, 0],
        vec![0xff, 0xff, 0xff, 0xff],
        vec![0, 0, 0, 0],
        frame(&[0]),
        frame(&[0xff; 20]),
        // An API that is not there, and versions that are not.
        with_rest(999, 0, &[]),
        with_rest(0, 99, &[]),
        with_rest(3, -1, &[]),
        // Arrays and strings that say they are longer than the frame.
        with_rest(3, 1, &huge),
        with_rest(
            0,
            3,
            &[0xff, 0xff, 0, 1, 0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff],
        ),
        with_rest(1, 4, &huge.repeat(8)),
        with_rest(3, 12, &[0, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        with_rest(19, 5, &[0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        // Half a request, then the end.
        frame(&header(3, 1)).into_iter().take(9).collect(),
    ] {
        send(address, &bytes)?;
    }
    // Noise, the same in every run.
    let mut state = 0x9e37_79b9_u32;
    for api in 0..68_i16 {
        let noise: Vec<u8> = (0..200)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                state.to_le_bytes()[0]
            })
            .collect();
        send(address, &with_rest(api, api % 5, &noise))?;
    }
    let resident = stack.broker.process()?.resident_bytes()?;
    ensure!(
        resident < 300 << 20,
        "{resident} bytes of memory after small frames"
    );
    let finished = stock_tools::run(
        class::TOPICS,
        &[
            "--create",
            "--topic",
            "alive",
            "--bootstrap-server",
            &stack.broker.bootstrap(),
        ],
    )?;
    ensure!(finished.code == 0, "{}{}", finished.stdout, finished.stderr);
    let process = stack.broker.process()?;
    ensure!(!process.tail().contains("panicked"), "{}", process.tail());
    Ok(())
}
