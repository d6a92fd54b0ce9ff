//! Shell: the connected clients: what each has sent, waits for, and has not yet been told.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use bytes::BytesMut;
use common::zk::data::Id;
use common::zk::request::Request;
use tokio::sync::Notify;

use crate::auth::ip;
use crate::auth::sasl::Exchange;
use crate::metrics::connection::ConnectionStats;
use crate::pipeline::transport::Transport;
use crate::state::odd::OddAnswer;
use crate::state::watches::ConnectionId;

/// A client that does not read is not read from either once this much waits for it, in bytes.
const UNSENT_PAUSE_BYTES: usize = 1 << 20;

/// A client that does not read its events is cut off once this much waits for it, in bytes.
pub const UNSENT_LIMIT_BYTES: usize = 256 << 20;

/// A send buffer that grew beyond this is given back once it is empty, in bytes.
const KEPT_BUFFER_BYTES: usize = 16 << 10;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No session was asked for yet.
    New,
    /// Its session is being created: nothing is read meanwhile.
    Opening,
    /// It has a session.
    Open,
    /// Nothing more is read; it ends once everything is sent.
    Closing,
}

/// A request that waits for its turn.
#[derive(Debug)]
pub enum Queued {
    /// A write on its way to the log, or a barrier.
    Write,
    /// A read behind a write of the same client.
    Read {
        /// The client's number of it.
        xid: i32,
        /// What it asks for, or what an odd request is answered.
        request: Result<Request, Box<OddAnswer>>,
        /// Who the client was when it asked.
        ids: Rc<[Id]>,
        /// Monotonic time when it came, in milliseconds.
        received_ms: i64,
    },
}

/// The socket, and how its task is woken.
#[derive(Debug)]
pub struct Link {
    /// The socket.
    pub transport: Transport,
    /// The subject of the certificate by which the client proved itself.
    pub subject: Option<Rc<str>>,
    /// Wakes the connection's task to look at its client again.
    pub wake: Notify,
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    /// How far it has come.
    pub phase: Phase,
    /// Its session, or 0.
    pub session: i64,
    /// The session timeout it negotiated, in milliseconds.
    pub timeout_ms: i32,
    /// Whether it knows of read-only servers, as all since 3.4 do.
    pub knows_read_only: bool,
    /// Its identities.
    pub ids: Rc<[Id]>,
    /// How far it has come with proving who it is by SASL.
    pub sasl: Exchange,
    /// Its address.
    pub peer: SocketAddr,
    /// What it counts.
    pub stats: ConnectionStats,
    /// Requests that wait, in order.
    pub queue: VecDeque<Queued>,
    /// What is to be sent.
    pub out: BytesMut,
    /// Whether the socket takes no more for now.
    pub blocked: bool,
    /// Whether the task waits for other clients' requests to finish.
    pub throttled: bool,
    /// Since when what it has sent waits for room, in milliseconds of the monotonic clock.
    pub stalled_ms: Option<i64>,
    /// Bytes of its large requests in process.
    pub large_bytes: usize,
    /// Socket and task.
    pub link: Rc<Link>,
    dirty: bool,
}

impl Client {
    /// The identity that its address gives it.
    pub fn address_id(&self) -> Id {
        address_id(self.peer.ip())
    }

    /// Whether its requests may be read now.
    pub fn wants_input(&self) -> bool {
        matches!(self.phase, Phase::New | Phase::Open)
            && self.out.len() < UNSENT_PAUSE_BYTES
            && !self.throttled
    }

    /// Whether it is over: everything is sent.
    pub fn is_finished(&self) -> bool {
        self.phase == Phase::Closing && self.out.is_empty() && !self.blocked
    }

    /// Gives up what was not sent yet; the connection ends.
    pub fn abandon(&mut self) {
        self.phase = Phase::Closing;
        self.out.clear();
        self.blocked = false;
        self.link.transport.abandon();
    }

    /// Sends what the socket takes. An error is the end of the connection.
    pub fn send(&mut self) -> std::io::Result<()> {
        self.blocked = false;
        while !self.out.is_empty() {
            match self.link.transport.try_write(&self.out) {
                Ok(0) => return Err(std::io::ErrorKind::WriteZero.into()),
                Ok(count) => bytes::Buf::advance(&mut self.out, count),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                    self.blocked = true;
                    return Ok(());
                }
                Err(e) => return Err(e),
            }
        }
        if !self.link.transport.try_flush()? {
            self.blocked = true;
        }
        if self.out.capacity() > KEPT_BUFFER_BYTES {
            self.out = BytesMut::new();
        }
        Ok(())
    }
}

fn address_id(address: IpAddr) -> Id {
    Id::new("ip", ip::text(address))
}

/// All connections.
#[derive(Debug, Default)]
pub struct Clients {
    by_id: BTreeMap<ConnectionId, Client>,
    by_address: HashMap<IpAddr, usize>,
    last: u64,
    dirty: Vec<ConnectionId>,
}

impl Clients {
    /// Takes a connection in.
    pub fn add(&mut self, link: Rc<Link>, peer: SocketAddr, now_ms: i64) -> ConnectionId {
        self.last += 1;
        let id = ConnectionId(self.last);
        let address = peer.ip().to_canonical();
        *self.by_address.entry(address).or_default() += 1;
        let client = Client {
            phase: Phase::New,
            session: 0,
            timeout_ms: 0,
            knows_read_only: true,
            ids: Rc::from([address_id(address)]),
            sasl: Exchange::default(),
            peer: SocketAddr::new(address, peer.port()),
            stats: ConnectionStats::new(now_ms),
            queue: VecDeque::new(),
            out: BytesMut::new(),
            blocked: false,
            throttled: false,
            stalled_ms: None,
            large_bytes: 0,
            link,
            dirty: false,
        };
        self.by_id.insert(id, client);
        id
    }

    /// Lets a connection go.
    pub fn remove(&mut self, id: ConnectionId) -> Option<Client> {
        let client = self.by_id.remove(&id)?;
        let address = client.peer.ip();
        if let Some(count) = self.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
        Some(client)
    }

    /// How many connections there are from an address.
    pub fn count_from(&self, address: IpAddr) -> usize {
        self.by_address
            .get(&address.to_canonical())
            .copied()
            .unwrap_or(0)
    }

    /// A connection.
    pub fn get(&self, id: ConnectionId) -> Option<&Client> {
        self.by_id.get(&id)
    }

    /// A connection.
    pub fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Client> {
        self.by_id.get_mut(&id)
    }

    /// A connection that something will be sent to.
    pub fn to_send(&mut self, id: ConnectionId) -> Option<&mut Client> {
        let client = self.by_id.get_mut(&id)?;
        if !client.dirty {
            client.dirty = true;
            self.dirty.push(id);
        }
        Some(client)
    }

    /// The connections that something has been put into since the last call.
    pub fn take_dirty(&mut self) -> Vec<ConnectionId> {
        let dirty = std::mem::take(&mut self.dirty);
        for id in &dirty {
            if let Some(client) = self.by_id.get_mut(id) {
                client.dirty = false;
            }
        }
        dirty
    }

    /// All connections in the order they came.
    pub fn iter(&self) -> impl Iterator<Item = (ConnectionId, &Client)> {
        self.by_id.iter().map(|(id, client)| (*id, client))
    }

    /// All connections in the order they came.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (ConnectionId, &mut Client)> {
        self.by_id.iter_mut().map(|(id, client)| (*id, client))
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}
