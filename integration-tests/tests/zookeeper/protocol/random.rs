//! Shell: random requests of several clients that come and go, to Apache's server and to ours.
//!
//! `TANDEM_SEED` chooses the requests, `TANDEM_STEPS` how many steps there are.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use common::zk::multi::MultiRequest;
use common::zk::request::{AuthPacket, PathRequest, Request, SetWatches2, WatchableRequest};
use common::zk::response::Response;
use integration_tests::environment;
use integration_tests::requests::{Random, Sameness};
use integration_tests::stack::{Maker, ZooKeeper};
use integration_tests::zk::{Client, Frame, response};

/// The digest is that of `super:test`, as ZooKeeper's documentation has it.
const SETTINGS: &str = "extendedTypesEnabled=true\nminSessionTimeout=600000\nmaxSessionTimeout=6000000\n\
                        DigestAuthenticationProvider.superDigest=super:D/InIHSb7yEEbrWz8b9l71RjZJU=";

const CLIENTS: usize = 4;

/// The clients, and what they saw.
struct Play {
    address: SocketAddr,
    random: Random,
    clients: Vec<Client>,
    sameness: Sameness,
    last_zxid: i64,
    lines: Vec<String>,
}

impl Play {
    fn begin(address: SocketAddr, seed: u64) -> Result<Self> {
        let clients = (0..CLIENTS)
            .map(|_| Client::connect(address))
            .collect::<Result<Vec<_>>>()?;
        let sessions = clients
            .iter()
            .map(|client| client.welcome.session)
            .collect();
        Ok(Self {
            address,
            random: Random::new(seed),
            clients,
            sameness: Sameness { sessions },
            last_zxid: 0,
            lines: Vec::new(),
        })
    }

    fn step(&mut self) -> Result<()> {
        let which = usize::try_from(self.random.below(CLIENTS as u64))?;
        match self.random.below(40) {
            0 => self.end_session(which),
            1 => self.come_back(which, false),
            2 => self.come_back(which, true),
            3..=9 => {
                let count = 2 + self.random.below(30);
                self.requests(which, count)
            }
            _ => self.requests(which, 1),
        }
    }

    /// One client sends requests in one piece; it and the others tell what comes.
    fn requests(&mut self, which: usize, count: u64) -> Result<()> {
        let requests: Vec<Request> = (0..count)
            .map(|_| self.random.request(self.last_zxid))
            // Apache's server answers auth at once, before what was sent earlier, and goes on to
            // use the old ACL for writes that follow a setACL too soon.
            .filter(|request| {
                count == 1 || !matches!(request, Request::Auth(_) | Request::SetAcl(_))
            })
            .collect();
        self.clients[which].send_all(&requests);
        let mut lines = vec![format!("client {which} sends {count}")];
        for request in &requests {
            lines.push(format!("{request:?}"));
            let answer = self.answer(which, request);
            lines.push(answer.with_context(|| format!("{request:?} among {requests:?}"))?);
        }
        self.others_hear(&mut lines, false)?;
        self.lines.push(lines.join("\n  "));
        Ok(())
    }

    fn answer(&mut self, which: usize, request: &Request) -> Result<String> {
        let mut events = String::new();
        loop {
            match self.clients[which].receive()? {
                Frame::Event(event) => events.push_str(&format!("{event:?} ")),
                Frame::Reply(header, body) => {
                    self.last_zxid = self.last_zxid.max(header.zxid);
                    let mut result = response(request.op(), header, body)
                        .with_context(|| format!("{header:?} to {request:?}"))?;
                    if let Ok(response) = &mut result {
                        self.sameness.response(response);
                    }
                    return Ok(format!("{events}-> {:#x} {result:?}", header.zxid));
                }
                Frame::Closed => return Ok(format!("{events}-> closed")),
            }
        }
    }

    fn others_hear(&mut self, lines: &mut Vec<String>, in_no_order: bool) -> Result<()> {
        for (number, client) in self.clients.iter_mut().enumerate() {
            let mut events: Vec<String> = client
                .events()?
                .iter()
                .map(|event| format!("client {number} hears {event:?}"))
                .collect();
            if in_no_order {
                events.sort();
            }
            lines.append(&mut events);
        }
        Ok(())
    }

    fn end_session(&mut self, which: usize) -> Result<()> {
        self.clients[which].send(&Request::CloseSession);
        let mut lines = vec![format!("client {which} ends its session")];
        // Its own ephemeral znodes go in no order.
        let mut own = Vec::new();
        loop {
            match self.clients[which].receive()? {
                Frame::Event(event) => own.push(format!("{event:?}")),
                Frame::Reply(header, _) => own.push(format!("-> {header:?}")),
                Frame::Closed => break,
            }
        }
        own.sort();
        lines.append(&mut own);
        self.clients[which] = Client::connect(self.address)?;
        self.sameness
            .sessions
            .push(self.clients[which].welcome.session);
        self.others_hear(&mut lines, true)?;
        self.lines.push(lines.join("\n  "));
        Ok(())
    }

    /// The same session on another connection, while the old one is open or after it.
    fn come_back(&mut self, which: usize, overlap: bool) -> Result<()> {
        let hello = self.clients[which].hello_again();
        let mut lines = vec![format!("client {which} comes back, overlap {overlap}")];
        let old = if overlap {
            let new = Client::greet(self.address, &hello)?;
            let mut old = std::mem::replace(&mut self.clients[which], new);
            lines.push(format!("the old connection: {:?}", old.receive()?));
            None
        } else {
            // A connection cannot be replaced before it is gone.
            let placeholder = Client::connect(self.address)?;
            self.sameness.sessions.push(placeholder.welcome.session);
            Some(std::mem::replace(&mut self.clients[which], placeholder))
        };
        if let Some(old) = old {
            drop(old);
            self.clients[which] = Client::greet(self.address, &hello)?;
        }
        let back = self.clients[which].welcome.session == hello.session;
        lines.push(format!("the same session: {back}"));
        let relative_zxid = i64::try_from(self.random.below(self.last_zxid.unsigned_abs() + 1))?;
        let request = Request::SetWatches2(SetWatches2 {
            relative_zxid,
            data: self.random.paths(),
            exist: self.random.paths(),
            child: self.random.paths(),
            persistent: self.random.paths(),
            persistent_recursive: self.random.paths(),
        });
        self.clients[which].send(&request);
        lines.push(format!("{request:?}"));
        lines.push(self.answer(which, &request)?);
        self.others_hear(&mut lines, false)?;
        self.lines.push(lines.join("\n  "));
        Ok(())
    }

    /// Everything below a path, as the super user sees it.
    fn tree(&mut self) -> Result<()> {
        let mut all = Client::connect(self.address)?;
        self.sameness.sessions.push(all.welcome.session);
        let auth = AuthPacket {
            kind: 0,
            scheme: Some("digest".into()),
            auth: Some("super:test".into()),
        };
        ensure!(
            all.call(&Request::Auth(auth))?.1.is_ok(),
            "not the super user"
        );
        let mut paths = vec!["/".to_owned()];
        while let Some(path) = paths.pop() {
            let node = || PathRequest {
                path: path.as_str().into(),
            };
            let watchable = || WatchableRequest {
                path: path.as_str().into(),
                watch: false,
            };
            for request in [
                Request::GetData(watchable()),
                Request::GetAcl(node()),
                Request::GetAllChildrenNumber(node()),
                Request::MultiRead(MultiRequest::default()),
                Request::GetChildren2(watchable()),
            ] {
                let (zxid, mut answer) = all.call(&request)?;
                if let Ok(answer) = &mut answer {
                    self.sameness.response(answer);
                }
                self.lines.push(format!("{path}: {zxid:#x} {answer:?}"));
                if let Ok(Response::GetChildren2(list)) = answer {
                    let base = path.trim_end_matches('/');
                    paths.extend(
                        list.children
                            .iter()
                            .rev()
                            .map(|name| format!("{base}/{name}")),
                    );
                }
            }
        }
        Ok(())
    }
}

fn play(maker: Maker, seed: u64, steps: u64) -> Result<Vec<String>> {
    let server = ZooKeeper::start_with(maker, SETTINGS)?;
    let mut play = Play::begin(server.address(), seed)?;
    for step in 0..steps {
        play.step().with_context(|| {
            format!(
                "{maker:?}, TANDEM_SEED={seed}, step {step}, after {:?}",
                play.lines.last()
            )
        })?;
    }
    play.tree()?;
    Ok(play.lines)
}

#[test]
fn clients_that_come_and_go_see_the_same() -> Result<()> {
    let seed = environment::number("TANDEM_SEED", 1)?;
    let steps = environment::number("TANDEM_STEPS", 2000)?;
    // Once in some ten thousand steps Apache's server loses an answer.
    let theirs = play(Maker::Apache, seed, steps).or_else(|_| play(Maker::Apache, seed, steps))?;
    let ours = play(Maker::Ours, seed, steps)?;
    for (step, (theirs, ours)) in theirs.iter().zip(&ours).enumerate() {
        let differ = theirs.lines().zip(ours.lines()).find(|(a, b)| a != b);
        ensure!(
            theirs == ours,
            "TANDEM_SEED={seed}, step {step}: {differ:#?}\n--- Apache's:\n{theirs}\n--- ours:\n{ours}"
        );
    }
    ensure!(
        theirs.len() == ours.len(),
        "TANDEM_SEED={seed}: the trees differ in size"
    );
    Ok(())
}
