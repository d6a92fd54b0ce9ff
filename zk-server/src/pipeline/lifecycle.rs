//! Shell: how sessions begin, move to another connection, and end.

use std::rc::Rc;

use bytes::Bytes;
use common::zk::code::OpCode;
use common::zk::connect::ConnectRequest;
use common::zk::jute::Reader as JuteReader;
use common::zk::request::Request;

use crate::pipeline::clients::{Phase, Queued};
use crate::pipeline::commit::{Commit, Ticket};
use crate::pipeline::reply;
use crate::pipeline::run::Pipeline;
use crate::state::apply::Outcome;
use crate::state::request::{Write, WriteBody};
use crate::state::sessions;
use crate::state::watches::ConnectionId;

impl<C: Commit> Pipeline<C> {
    /// Handles the first frame of a connection: it asks for a session, or for its old one.
    pub(super) fn connect(&mut self, id: ConnectionId, frame: Bytes) -> Result<(), String> {
        let request: ConnectRequest = JuteReader::new(frame)
            .read()
            .map_err(|e| format!("no connect request: {e}"))?;
        let now = self.clock.mono_ms();
        self.admits_session(request.session_id != 0, now)?;
        self.stats.connections.requested += 1;
        if request.last_zxid_seen > self.db.applied_zxid {
            return Err(format!(
                "Refusing session request as the client has seen zxid 0x{:x} our last zxid is 0x{:x} client must try another server",
                request.last_zxid_seen, self.db.applied_zxid
            ));
        }
        let timeout_ms = request.timeout_ms.clamp(
            self.options.min_session_timeout_ms,
            self.options.max_session_timeout_ms,
        );
        let Some(client) = self.clients.get_mut(id) else {
            return Ok(());
        };
        client.knows_read_only = request.read_only.is_some();
        client.timeout_ms = timeout_ms;
        if request.session_id != 0 {
            let password = request.password.unwrap_or_default();
            return self.reconnect(id, request.session_id, &password, timeout_ms, now);
        }
        client.phase = Phase::Opening;
        client.session = self.db.sessions.create(timeout_ms, id, now);
        client.queue.push_back(Queued::Write);
        let (session, ids) = (client.session, client.ids.clone());
        let body = WriteBody::CreateSession(timeout_ms);
        let op = OpCode::CreateSession;
        let ticket = Ticket {
            connection: Some(id),
            xid: 0,
            op,
            received_ms: now,
        };
        self.submit(
            Write {
                session,
                cxid: 0,
                ids,
                body,
            },
            ticket,
        );
        Ok(())
    }

    fn reconnect(
        &mut self,
        id: ConnectionId,
        session: i64,
        password: &[u8],
        timeout_ms: i32,
        now: i64,
    ) -> Result<(), String> {
        self.stats.connections.revalidated += 1;
        let valid = password == sessions::password(session)
            && self.db.sessions.touch(session, timeout_ms, now);
        if valid {
            let old = self.db.sessions.get(session).and_then(|s| s.connection);
            self.db.sessions.set_connection(session, Some(id));
            if let Some(old) = old.filter(|old| *old != id) {
                self.cut(old);
            }
        } else {
            tracing::info!("Invalid session 0x{session:x}, probably expired");
        }
        let Some(client) = self.clients.to_send(id) else {
            return Ok(());
        };
        let known = client.knows_read_only;
        client.session = if valid { session } else { 0 };
        reply::put_connect_response(client.session, timeout_ms, known, &mut client.out);
        client.phase = if valid { Phase::Open } else { Phase::Closing };
        client.stats.sent += 1;
        self.stats.packets_sent += 1;
        Ok(())
    }

    /// The creation of a session has been applied.
    pub(super) fn session_created(&mut self, ticket: &Ticket) {
        let Some(id) = ticket.connection else { return };
        let Some(client) = self.clients.to_send(id) else {
            return;
        };
        let (session, timeout_ms, known) =
            (client.session, client.timeout_ms, client.knows_read_only);
        reply::put_connect_response(session, timeout_ms, known, &mut client.out);
        client.phase = Phase::Open;
        client.link.wake.notify_one();
        self.stats.packets_sent += 1;
        self.count_latency(id, ticket.xid, ticket.op, ticket.received_ms);
    }

    /// The end of a session has been applied.
    pub(super) fn session_closed(
        &mut self,
        ticket: &Ticket,
        connection: Option<ConnectionId>,
        outcome: Outcome,
    ) {
        self.reply_to_write(ticket, outcome);
        match (ticket.connection, connection) {
            (Some(id), _) => self.close(id),
            // A client that is silent may not read either.
            (None, Some(id)) => self.cut(id),
            (None, None) => {}
        }
    }

    /// Ends the sessions whose time is over.
    pub fn expire_sessions(&mut self) {
        let now = self.clock.mono_ms();
        for session in self.db.sessions.expired(now) {
            let timeout_ms = self.db.sessions.get(session).map_or(0, |s| s.timeout_ms);
            tracing::info!("Expiring session 0x{session:x}, timeout of {timeout_ms}ms exceeded");
            self.stats.connections.sessions_expired += 1;
            let body = WriteBody::Client(Request::CloseSession);
            let ids = Rc::from([]);
            let ticket = Ticket {
                connection: None,
                xid: 0,
                op: OpCode::CloseSession,
                received_ms: now,
            };
            self.submit(
                Write {
                    session,
                    cxid: 0,
                    ids,
                    body,
                },
                ticket,
            );
        }
    }
}
