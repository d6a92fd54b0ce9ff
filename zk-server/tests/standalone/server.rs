//! Shell: a zk-server process on a free port, in a directory of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// A running server; it is killed when it is dropped.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

/// Writes a configuration file.
pub fn configure(home: &Path, more: &str) {
    let data = home.join("data");
    let text = format!(
        "dataDir={}\nclientPort=0\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n{more}\n",
        data.display()
    );
    std::fs::write(home.join("zoo.cfg"), text).unwrap();
}

fn command(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zk-server"));
    command
        .arg(home.join("zoo.cfg"))
        .env_remove("RUST_LOG")
        .env_remove("SERVER_JVMFLAGS");
    command
}

/// Runs a server that is expected to end by itself.
pub fn run_to_end(home: &Path) -> Output {
    command(home).output().unwrap()
}

impl Server {
    /// Starts a server and waits until it tells its port.
    pub fn start(home: &Path) -> Self {
        let mut child = command(home).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = String::new();
        let address = loop {
            let Some(Ok(line)) = lines.next() else {
                panic!("the server ended: {seen}")
            };
            if let Some((_, address)) = line.split_once("listening on /") {
                break address.split_whitespace().next().unwrap().parse().unwrap();
            }
            seen.push_str(&line);
        };
        // What it says later must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }

    /// kill -9.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The answer to a four-letter word.
    pub fn ask(&self, word: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream.write_all(word.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
