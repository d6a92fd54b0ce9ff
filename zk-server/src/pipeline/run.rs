//! Shell: the one place where the state is: takes frames, answers reads, passes writes on,
//! applies what is durable, and routes replies and events.
//!
//! Everything here runs on one thread and none of it waits. A client's requests are answered in
//! its order: a read that comes after a write of the same client waits for that write; reads of
//! others are answered at once, from what has been applied.

use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use common::zk::code::{ErrorCode, OpCode};
use common::zk::data::perms;
use common::zk::jute::Reader as JuteReader;
use common::zk::request::{Request, RequestHeader, XID_PING};
use tokio::sync::Notify;

use crate::auth::options::AuthOptions;
use crate::metrics::server::ServerStats;
use crate::pipeline::audit::Audit;
use crate::pipeline::clients::{Client, Clients, Link, Phase, Queued, UNSENT_LIMIT_BYTES};
use crate::pipeline::clock::Clock;
use crate::pipeline::commit::{Commit, Committed, Ticket};
use crate::pipeline::containers::{self, Check};
use crate::pipeline::counting::Turn;
use crate::pipeline::reply;
use crate::pipeline::throttle::ThrottleOptions;
use crate::pipeline::token_bucket::Bucket;
use crate::state::apply::{Outcome, apply};
use crate::state::database::{Database, Event};
use crate::state::odd::OddAnswer;
use crate::state::permission;
use crate::state::read::{Reader, read};
use crate::state::request::{Write, WriteBody};
use crate::state::watches::ConnectionId;

/// The zxid in the answer to an unknown request, which never got as far as to have one.
const NO_ZXID: i64 = -1;

/// Limits and settings of the run loop.
#[derive(Clone, Debug)]
pub struct PipelineOptions {
    /// Shortest session timeout granted, in milliseconds.
    pub min_session_timeout_ms: i32,
    /// Longest session timeout granted, in milliseconds.
    pub max_session_timeout_ms: i32,
    /// Connections from one address; 0 is no limit.
    pub max_client_connections: usize,
    /// Connections at all; 0 is no limit.
    pub max_connections: usize,
    /// Requests in process beyond which a client with requests in process is not read.
    pub outstanding_limit: usize,
    /// What a server with too much to do puts off or refuses.
    pub throttles: ThrottleOptions,
    /// Whom to believe.
    pub auth: AuthOptions,
}

/// The state, the clients, and what makes writes durable.
#[derive(Debug)]
pub struct Pipeline<C> {
    /// Tree, sessions, watches.
    pub db: Database,
    /// What makes writes durable.
    pub commit: C,
    /// The connections.
    pub clients: Clients,
    /// Counters.
    pub stats: ServerStats,
    /// The clocks.
    pub clock: Clock,
    /// Monotonic time when the loop last looked, in milliseconds.
    pub(super) now_ms: i64,
    /// Woken when there is something to flush.
    pub work: Rc<Notify>,
    pub(super) options: PipelineOptions,
    /// The audit log, if there is one.
    pub audit: Option<Audit>,
    pub(super) turn: Turn,
    /// The throttle of connections.
    pub bucket: Bucket,
    pub(super) luck: u64,
    pub(super) large_bytes: usize,
    events: Vec<Event>,
    throttled: Vec<ConnectionId>,
}

impl<C: Commit> Pipeline<C> {
    /// A pipeline without clients.
    pub fn new(mut db: Database, commit: C, options: PipelineOptions, clock: Clock) -> Self {
        db.schemes = options.auth.schemes.clone();
        let bucket = Bucket::new(options.throttles.connections, clock.mono_ms());
        Self {
            db,
            commit,
            clients: Clients::default(),
            stats: ServerStats::default(),
            now_ms: clock.mono_ms(),
            clock,
            work: Rc::new(Notify::new()),
            options,
            audit: None,
            turn: Turn::default(),
            bucket,
            luck: clock.wall_ms().unsigned_abs() | 1,
            large_bytes: 0,
            events: Vec::new(),
            throttled: Vec::new(),
        }
    }

    /// Takes a connection in, or says why not.
    pub fn accept(&mut self, link: Rc<Link>, peer: SocketAddr) -> Result<ConnectionId, String> {
        self.admit(peer)?;
        let subject = link.subject.clone();
        let id = self.clients.add(link, peer, self.clock.wall_ms());
        if let Some(subject) = subject {
            let proved = self.options.auth.certificate_ids(&subject);
            self.identify(id, proved);
        }
        Ok(id)
    }

    /// Whether one more connection from there may be, or why not.
    pub fn admit(&mut self, peer: SocketAddr) -> Result<(), String> {
        let (max, max_each) = (
            self.options.max_connections,
            self.options.max_client_connections,
        );
        let refusal = if max > 0 && self.clients.len() >= max {
            Some(format!("Too many connections max allowed is {max}"))
        } else if max_each > 0 && self.clients.count_from(peer.ip()) >= max_each {
            Some(format!(
                "Too many connections from {} - max is {max_each}",
                peer.ip()
            ))
        } else {
            None
        };
        if let Some(refusal) = refusal {
            self.stats.connections.rejected += 1;
            return Err(refusal);
        }
        Ok(())
    }

    /// A connection has ended: its watches go, its session stays.
    pub fn disconnected(&mut self, id: ConnectionId) {
        self.release_all_bytes(id);
        let Some(client) = self.clients.remove(id) else {
            return;
        };
        self.db.watches.remove_connection(id);
        let session = client.session;
        if self
            .db
            .sessions
            .get(session)
            .is_some_and(|s| s.connection == Some(id))
        {
            self.db.sessions.set_connection(session, None);
        }
    }

    /// Handles one frame of a client. An error text is the reason to end the connection.
    pub fn frame(&mut self, id: ConnectionId, frame: Bytes) -> Result<(), String> {
        self.count_received(id, frame.len());
        self.admit_bytes(id, frame.len())?;
        match self.clients.get(id).map(|client| client.phase) {
            Some(Phase::New) => self.connect(id, frame),
            Some(Phase::Open) => self.request(id, frame),
            _ => Ok(()),
        }
    }

    /// Ends a connection without sending what waits.
    pub(super) fn cut(&mut self, id: ConnectionId) {
        self.db.watches.remove_connection(id);
        if let Some(client) = self.clients.to_send(id) {
            client.queue.clear();
            client.abandon();
        }
    }

    fn request(&mut self, id: ConnectionId, frame: Bytes) -> Result<(), String> {
        let mut reader = JuteReader::new(frame);
        let header: RequestHeader = reader
            .read()
            .map_err(|e| format!("no request header: {e}"))?;
        let now = self.now_ms;
        let Some(client) = self.clients.get(id) else {
            return Ok(());
        };
        let (session, timeout_ms) = (client.session, client.timeout_ms);
        let op = OpCode::from_code(header.op);
        match op {
            Some(OpCode::Auth) => return self.authenticate(id, header.xid, &mut reader),
            Some(OpCode::Sasl) => return self.sasl(id, header.xid, &mut reader),
            _ if !self.may_request(id, header.xid) => return Ok(()),
            _ => {}
        }
        if self.refuses(id, header.xid, op, now)? {
            return Ok(());
        }
        // What comes after the end of a session is dropped without an answer.
        if !self.db.sessions.touch(session, timeout_ms, now) {
            return Ok(());
        }
        let Some(op) = op.filter(|op| !matches!(op, OpCode::Notification | OpCode::Error)) else {
            tracing::warn!("Received packet at server of unknown type {}", header.op);
            let error = Err(ErrorCode::Unimplemented);
            self.send(id, |out| {
                reply::put_bare_reply(header.xid, NO_ZXID, error, out)
            });
            self.close(id);
            return Ok(());
        };
        match Request::decode(op, &mut reader) {
            Ok(request) if !reader.read_null() => {
                if op.is_write() {
                    self.write(id, header.xid, op, WriteBody::Client(request), now);
                } else {
                    self.enqueue_read(id, header.xid, op, Ok(request), now);
                }
            }
            _ => self.odd(id, header, op, &mut reader, now),
        }
        self.throttle(id);
        if self.large_bytes > 0 {
            self.release_bytes(id);
        }
        Ok(())
    }

    pub(super) fn write(
        &mut self,
        id: ConnectionId,
        xid: i32,
        op: OpCode,
        body: WriteBody,
        now: i64,
    ) {
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        client.queue.push_back(Queued::Write);
        let (session, ids) = (client.session, client.ids.clone());
        let ticket = Ticket {
            connection: Some(id),
            xid,
            op,
            received_ms: now,
        };
        self.submit(
            Write {
                session,
                cxid: xid,
                ids,
                body,
            },
            ticket,
        );
    }

    pub(super) fn submit(&mut self, write: Write, ticket: Ticket) {
        self.stats.requests.prepared += 1;
        self.stats.disk.queued += 1;
        if let Some(audit) = &mut self.audit {
            let client = ticket.connection.and_then(|id| self.clients.get(id));
            audit.submitted(&write, client, &self.options.auth.schemes);
        }
        // Anything else is decided in much less than a millisecond.
        let slow = matches!(ticket.op, OpCode::CloseSession | OpCode::Multi);
        let began_ms = slow.then(|| self.clock.mono_ms());
        self.commit
            .submit(&mut self.db, &write, ticket, self.clock.wall_ms());
        if let Some(began_ms) = began_ms {
            let took_ms = self.clock.mono_ms() - began_ms;
            self.stats.requests.prepare_ms.observe_signed(took_ms);
            if ticket.op == OpCode::CloseSession {
                let times = &mut self.stats.requests.close_session_prepare_ms;
                times.observe_signed(took_ms);
            }
        }
        self.work.notify_one();
    }

    pub(super) fn enqueue_read(
        &mut self,
        id: ConnectionId,
        xid: i32,
        op: OpCode,
        request: Result<Request, Box<OddAnswer>>,
        now: i64,
    ) {
        self.stats.requests.prepared += 1;
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        if op == OpCode::Sync && self.commit.outstanding() > 0 {
            // Everything that anybody wrote before is to be seen after it.
            client.queue.push_back(Queued::Write);
            let ticket = Ticket {
                connection: Some(id),
                xid,
                op,
                received_ms: now,
            };
            self.commit.barrier(ticket);
            self.work.notify_one();
        }
        if client.queue.is_empty() {
            self.answer(id, xid, &request, now);
        } else {
            client.queue.push_back(Queued::Read {
                xid,
                request,
                ids: client.ids.clone(),
                received_ms: now,
            });
        }
    }

    /// Answers a read from what has been applied.
    fn answer(
        &mut self,
        id: ConnectionId,
        xid: i32,
        request: &Result<Request, Box<OddAnswer>>,
        received_ms: i64,
    ) {
        let zxid = self.db.applied_zxid;
        let Some(client) = self.clients.to_send(id) else {
            return;
        };
        let op = request.as_ref().map_or(OpCode::Error, Request::op);
        let xid = if op == OpCode::Ping { XID_PING } else { xid };
        let start = reply::begin_reply(xid, zxid, &mut client.out);
        let bytes = match request {
            Err(odd) => self.put_odd_answer(id, start, odd),
            Ok(request) => {
                let result = read_for(&mut self.db, &mut self.events, id, client, request);
                reply::end_reply(start, result, &mut client.out)
            }
        };
        if !self.events.is_empty() {
            // The events of setWatches come before its reply.
            let Some(client) = self.clients.get_mut(id) else {
                return;
            };
            let answer = client.out.split_off(start);
            self.route_events();
            if let Some(client) = self.clients.get_mut(id) {
                client.out.unsplit(answer);
            }
        }
        self.count_reply(id, xid, op, bytes, received_ms);
    }

    /// Appends the record of a read's answer to what a client is sent.
    pub(super) fn read(&mut self, id: ConnectionId, request: &Request) -> Result<(), ErrorCode> {
        let Some(client) = self.clients.get_mut(id) else {
            return Ok(());
        };
        read_for(&mut self.db, &mut self.events, id, client, request)
    }

    pub(super) fn send(&mut self, id: ConnectionId, put: impl FnOnce(&mut bytes::BytesMut) -> u64) {
        if let Some(client) = self.clients.to_send(id) {
            let bytes = put(&mut client.out);
            client.stats.sent += 1;
            self.stats.sent(bytes);
        }
    }

    /// Ends a connection once everything is sent.
    pub(super) fn close(&mut self, id: ConnectionId) {
        self.db.watches.remove_connection(id);
        if let Some(client) = self.clients.to_send(id) {
            client.phase = Phase::Closing;
            client.queue.clear();
        }
    }

    /// Stops reading a client that has requests in process while there are too many of them.
    fn throttle(&mut self, id: ConnectionId) {
        let limit = self.options.outstanding_limit;
        let busy = self.commit.outstanding() > limit;
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        if busy && !client.queue.is_empty() || client.queue.len() > limit {
            self.wait_for_room(id);
        }
    }

    /// Reads nothing more from a client until something is done.
    pub(super) fn wait_for_room(&mut self, id: ConnectionId) {
        if let Some(client) = self.clients.get_mut(id)
            && !client.throttled
        {
            client.throttled = true;
            self.throttled.push(id);
        }
    }

    /// Starts to make durable what waits, and applies what is durable.
    pub fn turn(&mut self) {
        self.look_at_clock();
        self.commit.flush();
        let committed = self.commit.take_committed();
        let any = !committed.is_empty();
        if any {
            self.begin_turn();
        }
        for done in committed {
            self.committed(done);
        }
        if any {
            self.commit.flush();
            self.unthrottle();
        }
        self.send_dirty();
    }

    fn unthrottle(&mut self) {
        for id in std::mem::take(&mut self.throttled) {
            if let Some(client) = self.clients.get_mut(id) {
                client.throttled = false;
                client.link.wake.notify_one();
            }
        }
    }

    fn committed(&mut self, done: Committed) {
        let Committed { ticket, entry } = done;
        let Some(entry) = entry else {
            if let Some(id) = ticket.connection {
                self.next_in_queue(id);
            }
            return;
        };
        let session = entry.header.client_id;
        let session_connection = self.db.sessions.get(session).and_then(|s| s.connection);
        let now = self.now_ms;
        self.count_committed(&ticket, entry.header.time_ms, now);
        if let Some(audit) = &mut self.audit {
            audit.done(&entry, &self.db);
        }
        let outcome = apply(&mut self.db, &entry, now, &mut self.events);
        self.route_events();
        match ticket.op {
            OpCode::CreateSession if outcome == Outcome::Done => self.session_created(&ticket),
            OpCode::CloseSession => {
                self.session_closed(&ticket, session_connection, outcome);
            }
            _ => self.reply_to_write(&ticket, outcome),
        }
        if let Some(id) = ticket.connection {
            self.next_in_queue(id);
        }
    }

    pub(super) fn reply_to_write(&mut self, ticket: &Ticket, outcome: Outcome) {
        let Some(id) = ticket.connection else { return };
        let zxid = self.db.applied_zxid;
        let Some(client) = self
            .clients
            .to_send(id)
            .filter(|c| c.phase != Phase::Closing)
        else {
            return;
        };
        let bytes = reply::put_outcome(ticket.op, ticket.xid, zxid, outcome, &mut client.out);
        self.count_reply(id, ticket.xid, ticket.op, bytes, ticket.received_ms);
    }

    /// A client's write is done: the reads behind it are answered, up to its next write.
    fn next_in_queue(&mut self, id: ConnectionId) {
        if let Some(client) = self.clients.get_mut(id)
            && matches!(client.queue.front(), Some(Queued::Write))
        {
            client.queue.pop_front();
        }
        while let Some(client) = self.clients.get_mut(id)
            && matches!(client.queue.front(), Some(Queued::Read { .. }))
        {
            if let Some(Queued::Read {
                xid,
                request,
                ids,
                received_ms,
            }) = client.queue.pop_front()
            {
                // What it has proved since does not count.
                let proved = std::mem::replace(&mut client.ids, ids);
                self.answer(id, xid, &request, received_ms);
                if let Some(client) = self.clients.get_mut(id) {
                    client.ids = proved;
                }
            }
        }
        if self.large_bytes > 0 {
            self.release_bytes(id);
        }
    }

    fn route_events(&mut self) {
        let skip_acl = self.db.options.skip_acl;
        let mut events = std::mem::take(&mut self.events);
        for event in events.drain(..) {
            let Some(client) = self.clients.to_send(event.connection) else {
                continue;
            };
            if client.phase == Phase::Closing
                || !skip_acl
                    && !permission::allows(&self.db.schemes, &event.acl, perms::READ, &client.ids)
            {
                continue;
            }
            let bytes = reply::put_event(event.kind, &event.path, &mut client.out);
            client.stats.sent += 1;
            self.stats.notified(bytes);
            if client.out.len() > UNSENT_LIMIT_BYTES {
                tracing::warn!("{} does not read its events and is cut off", client.peer);
                client.abandon();
            }
        }
        self.events = events;
    }

    /// Sends what has been put into the clients' buffers.
    pub fn send_dirty(&mut self) {
        for id in self.clients.take_dirty() {
            let Some(client) = self.clients.get_mut(id) else {
                continue;
            };
            if client.send().is_err() {
                client.abandon();
            }
            if client.blocked || client.phase == Phase::Closing {
                client.link.wake.notify_one();
            }
        }
    }

    /// The next part of a check for containers and TTL znodes that have had their time.
    pub fn check_containers(
        &self,
        check: &mut Check,
        max_never_used_ms: i64,
    ) -> Option<Vec<String>> {
        check.next(&self.db.tree, self.clock.wall_ms(), max_never_used_ms)
    }

    /// Deletes a container or TTL znode that a check has found, if it still has had its time.
    pub fn delete_container(&mut self, path: String, max_never_used_ms: i64) {
        let wall_ms = self.clock.wall_ms();
        if !containers::is_over(&self.db.tree, &path, wall_ms, max_never_used_ms) {
            return;
        }
        tracing::info!("Attempting to delete candidate container: {path}");
        let received_ms = self.clock.mono_ms();
        let op = OpCode::DeleteContainer;
        let ticket = Ticket {
            connection: None,
            xid: 0,
            op,
            received_ms,
        };
        let body = WriteBody::DeleteContainer(path);
        self.submit(
            Write {
                session: 0,
                cxid: 0,
                ids: Rc::from([]),
                body,
            },
            ticket,
        );
    }
}

/// Appends the record of a read's answer to what this client is sent.
fn read_for(
    db: &mut Database,
    events: &mut Vec<Event>,
    connection: ConnectionId,
    client: &mut Client,
    request: &Request,
) -> Result<(), ErrorCode> {
    let reader = Reader {
        connection,
        session: client.session,
        ids: &client.ids,
    };
    read(db, request, reader, &mut client.out, events)
}
