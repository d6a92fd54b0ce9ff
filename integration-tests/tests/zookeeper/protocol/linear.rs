//! Shell: many clients at once, and the server killed under them: what they saw could have
//! happened one after the other.
//!
//! `TANDEM_SEED` and `TANDEM_ROUNDS` (how often the server is killed) make it longer.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use common::zk::code::ErrorCode;
use common::zk::data::Acl;
use common::zk::request::{
    CreateRequest, DeleteRequest, Request, SetDataRequest, WatchableRequest,
};
use common::zk::response::Response;
use integration_tests::environment;
use integration_tests::history::{self, Input, Operation, Output};
use integration_tests::raw::Hello;
use integration_tests::requests::Random;
use integration_tests::stack::{Maker, ZooKeeper};
use integration_tests::zk::Client;

const CLIENTS: u64 = 8;
const ZNODES: [&str; 3] = ["/x", "/y", "/z"];

/// What all clients share.
struct Scene {
    address: SocketAddr,
    moment: AtomicU64,
    value: AtomicU64,
    over: AtomicBool,
}

impl Scene {
    fn now(&self) -> u64 {
        self.moment.fetch_add(1, Ordering::SeqCst)
    }

    /// A client of this server, as soon as there is one; its session goes on if it can.
    fn connect(&self, hello: &Hello) -> Result<Client> {
        for _ in 0..3000 {
            if let Ok(client) = Client::greet(self.address, hello) {
                if client.welcome.session != 0 {
                    return Ok(client);
                }
                return Client::connect(self.address);
            }
            thread::sleep(Duration::from_millis(20));
        }
        bail!("the server does not come back")
    }

    /// Does random things until it is over; what was done to each znode.
    fn act(&self, seed: u64) -> Result<Vec<Vec<Operation>>> {
        let mut random = Random::new(seed);
        let mut client = self.connect(&Hello::default())?;
        let mut histories = vec![Vec::new(); ZNODES.len()];
        while !self.over.load(Ordering::SeqCst) {
            let which = usize::try_from(random.below(ZNODES.len() as u64))?;
            let value = self.value.fetch_add(1, Ordering::SeqCst);
            let version = random.pick(&[-1, -1, 0, 1, 2, 3]);
            let input = match random.below(10) {
                0 | 1 => Input::Create(value),
                2 => Input::Delete(version),
                3..=5 => Input::Set(value, version),
                _ => Input::Get,
            };
            let called = self.now();
            let answer = client.call(&request(ZNODES[which], input));
            let returned = match answer {
                Ok((_, answer)) => Some((self.now(), output(input, answer)?)),
                Err(_) => None,
            };
            histories[which].push(Operation {
                called,
                returned,
                input,
            });
            if returned.is_none() {
                client = self.connect(&client.hello_again())?;
            }
        }
        Ok(histories)
    }
}

fn request(path: &str, input: Input) -> Request {
    let path = path.into();
    let data = |value: u64| Some(Bytes::copy_from_slice(&value.to_be_bytes()));
    match input {
        Input::Create(value) => Request::Create(CreateRequest {
            path,
            data: data(value),
            acl: Acl::open(),
            flags: 0,
        }),
        Input::Delete(version) => Request::Delete(DeleteRequest { path, version }),
        Input::Set(value, version) => Request::SetData(SetDataRequest {
            path,
            data: data(value),
            version,
        }),
        Input::Get => Request::GetData(WatchableRequest { path, watch: false }),
    }
}

fn output(input: Input, answer: Result<Response, ErrorCode>) -> Result<Output> {
    Ok(match answer {
        Ok(Response::Create(_) | Response::Empty) => Output::Done,
        Ok(Response::Stat(r)) => Output::Version(r.stat.version),
        Ok(Response::GetData(r)) => {
            let data = r.data.context("a znode without data")?;
            let value = u64::from_be_bytes(data.as_ref().try_into()?);
            Output::Value(value, r.stat.version)
        }
        Err(ErrorCode::NoNode) => Output::NoNode,
        Err(ErrorCode::NodeExists) => Output::NodeExists,
        Err(ErrorCode::BadVersion) => Output::BadVersion,
        other => bail!("{other:?} to {input:?}"),
    })
}

#[test]
fn concurrent_histories_are_linearizable_whatever_is_killed() -> Result<()> {
    let seed = environment::number("TANDEM_SEED", 1)?;
    let rounds = environment::number("TANDEM_ROUNDS", 3)?;
    let mut server = ZooKeeper::start_with(Maker::Ours, "snapCount=300")?;
    let scene = Scene {
        address: server.address(),
        moment: AtomicU64::new(1),
        value: AtomicU64::new(1),
        over: AtomicBool::new(false),
    };
    let histories = thread::scope(|scope| -> Result<Vec<Vec<Operation>>> {
        let scene = &scene;
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| scope.spawn(move || scene.act(seed * 1000 + client)))
            .collect();
        let killed = (0..rounds).try_for_each(|round| {
            thread::sleep(Duration::from_millis(
                300 + (seed * 7919 + round * 104_729) % 700,
            ));
            server.kill()?;
            server.start_again()
        });
        thread::sleep(Duration::from_millis(300));
        scene.over.store(true, Ordering::SeqCst);
        let mut all = vec![Vec::new(); ZNODES.len()];
        for client in clients {
            let Ok(histories) = client.join() else {
                bail!("a client panicked")
            };
            for (all, mut own) in all.iter_mut().zip(histories?) {
                all.append(&mut own);
            }
        }
        killed.map(|()| all)
    })?;
    for (znode, history) in ZNODES.iter().zip(&histories) {
        let unknown = history.iter().filter(|o| o.returned.is_none()).count();
        println!(
            "{znode}: {} operations, {unknown} of them unknown",
            history.len()
        );
        if let Err(reason) = history::check(history) {
            bail!("{znode}, TANDEM_SEED={seed}: {reason}");
        }
    }
    Ok(())
}
