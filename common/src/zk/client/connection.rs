//! Shell: one connection of a session: requests out in order, replies and events in.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::net::frame::{FrameReader, put_frame};
use crate::zk::client::error::ZkError;
use crate::zk::client::event::{SessionState, ZkEvent};
use crate::zk::client::session::{Auth, Call, Ended, Reply, Session};
use crate::zk::client::watches::WatchChange;
use crate::zk::code::{ErrorCode, OpCode};
use crate::zk::connect::ConnectResponse;
use crate::zk::jute::{Reader, Record};
use crate::zk::request::{
    AuthPacket, RequestHeader, XID_AUTH, XID_NOTIFICATION, XID_PING, XID_SET_WATCHES,
};
use crate::zk::response::{EventType, ReplyHeader, WatcherEvent};

/// Bytes written into the queue for the socket before requests wait in theirs.
const WRITE_AHEAD_BYTES: usize = 1 << 20;

/// The longest the line stays silent, however long the session's timeout.
const MAX_PING_INTERVAL: Duration = Duration::from_secs(10);

/// One connection.
struct Link {
    frames: FrameReader,
    read: OwnedReadHalf,
    write: OwnedWriteHalf,
    out: BytesMut,
    in_flight: VecDeque<InFlight>,
    /// Indices into the session's authentications that await their answer.
    auths: VecDeque<usize>,
    last_sent: Instant,
    last_heard: Instant,
    /// closeSession was sent: nothing follows it.
    closing: bool,
}

impl Link {
    fn put(&mut self, xid: i32, op: OpCode, body: &[u8]) {
        put_frame(&mut self.out, |out| {
            RequestHeader { xid, op: op.code() }.encode(out);
            out.extend_from_slice(body);
        });
        self.last_sent = Instant::now();
    }
}

/// A request that was written and has no reply yet.
struct InFlight {
    xid: i32,
    op: OpCode,
    watch: Option<WatchChange>,
    reply: Option<oneshot::Sender<Reply>>,
}

impl Session {
    /// Carries requests and replies until the connection ends.
    pub(super) async fn serve(
        &mut self,
        stream: TcpStream,
        frames: FrameReader,
        response: ConnectResponse,
    ) -> Ended {
        let (read, write) = stream.into_split();
        let now = Instant::now();
        let mut link = Link {
            frames,
            read,
            write,
            out: BytesMut::new(),
            in_flight: VecDeque::new(),
            auths: VecDeque::new(),
            last_sent: now,
            last_heard: now,
            closing: false,
        };
        self.enter(if response.read_only == Some(true) {
            SessionState::ConnectedReadOnly
        } else {
            SessionState::Connected
        });
        self.introduce(&mut link);
        let session_timeout =
            Duration::from_millis(u64::try_from(response.timeout_ms).unwrap_or(0));
        let ended = match self.carry(&mut link, session_timeout).await {
            Ok(end) => Ended::Over(end),
            // The server hangs up after the last reply, or before it: closed either way.
            Err(Ended::Lost(_)) if link.closing => Ended::Over(SessionState::Closed),
            Err(ended) => ended,
        };
        let error = match &ended {
            Ended::Over(state) => state.end().unwrap_or(ZkError::Closed),
            Ended::Lost(_) => ZkError::ConnectionLoss,
        };
        for request in link.in_flight {
            self.forget_locally(request.watch.as_ref());
            if let Some(reply) = request.reply {
                let _ = reply.send(Err(error.clone()));
            }
        }
        ended
    }

    /// What a new connection begins with: authentications, then watches.
    fn introduce(&mut self, link: &mut Link) {
        for index in 0..self.auths.len() {
            self.put_auth(link, index);
        }
        for request in self.watches.lock().set_again(self.last_zxid) {
            let mut body = BytesMut::new();
            request.encode(&mut body);
            link.put(XID_SET_WATCHES, request.op(), &body);
            let (xid, op) = (XID_SET_WATCHES, request.op());
            link.in_flight.push_back(InFlight {
                xid,
                op,
                watch: None,
                reply: None,
            });
        }
    }

    fn put_auth(&self, link: &mut Link, index: usize) {
        let Auth { scheme, auth, .. } = &self.auths[index];
        let packet = AuthPacket {
            kind: 0,
            scheme: Some(scheme.as_str().into()),
            auth: Some(auth.clone()),
        };
        link.put(XID_AUTH, OpCode::Auth, &packet.to_bytes());
        link.auths.push_back(index);
    }

    async fn carry(
        &mut self,
        link: &mut Link,
        session_timeout: Duration,
    ) -> Result<SessionState, Ended> {
        let silence_limit = session_timeout * 2 / 3;
        let ping_interval = (session_timeout / 3).min(MAX_PING_INTERVAL);
        let timer = sleep_until(Instant::now());
        tokio::pin!(timer);
        loop {
            tokio::select! {
                read = link.frames.fill(&mut link.read) => {
                    match read {
                        Ok(0) => return Err(Ended::Lost("closed by the server".to_owned())),
                        Ok(_) => link.last_heard = Instant::now(),
                        Err(error) => return Err(Ended::Lost(error.to_string())),
                    }
                    loop {
                        match link.frames.take() {
                            Ok(Some(frame)) => self.take_frame(link, frame)?,
                            Ok(None) => break,
                            Err(error) => return Err(Ended::Lost(error.to_string())),
                        }
                    }
                }
                call = next_call(&mut self.waiting, &mut self.calls),
                    if !link.closing && link.out.len() < WRITE_AHEAD_BYTES =>
                {
                    let mut call = Some(call);
                    while let Some(next) = call {
                        if matches!(next, Call::Abandon) {
                            return Ok(SessionState::Closed);
                        }
                        self.put_call(link, next);
                        let more = !link.closing && link.out.len() < WRITE_AHEAD_BYTES;
                        call = if more { self.calls.try_recv().ok() } else { None };
                    }
                }
                written = link.write.write_buf(&mut link.out), if !link.out.is_empty() => {
                    if let Err(error) = written {
                        return Err(Ended::Lost(error.to_string()));
                    }
                }
                () = &mut timer => {
                    let now = Instant::now();
                    if now >= link.last_heard + silence_limit {
                        let silent_ms = (now - link.last_heard).as_millis();
                        let reason = format!("not heard from the server for {silent_ms} ms");
                        return Err(Ended::Lost(reason));
                    }
                    if now >= link.last_sent + ping_interval && !link.closing {
                        link.put(XID_PING, OpCode::Ping, &[]);
                    }
                    let wake = link.last_sent + ping_interval;
                    timer.as_mut().reset(wake.min(link.last_heard + silence_limit).max(
                        now + Duration::from_millis(1),
                    ));
                }
            }
        }
    }

    fn put_call(&mut self, link: &mut Link, call: Call) {
        match call {
            Call::Request {
                op,
                body,
                watch,
                reply,
            } => {
                let xid = self.next_xid();
                link.put(xid, op, &body);
                link.in_flight.push_back(InFlight {
                    xid,
                    op,
                    watch,
                    reply: Some(reply),
                });
            }
            Call::Auth {
                scheme,
                auth,
                reply,
            } => {
                self.auths.push(Auth {
                    scheme,
                    auth,
                    reply: Some(reply),
                });
                self.put_auth(link, self.auths.len() - 1);
            }
            Call::Close | Call::Abandon => {
                let (xid, op) = (self.next_xid(), OpCode::CloseSession);
                link.put(xid, op, &[]);
                link.in_flight.push_back(InFlight {
                    xid,
                    op,
                    watch: None,
                    reply: None,
                });
                link.closing = true;
            }
        }
    }

    /// From 1 on; the ones below 0 are special, so it starts again when it would get there.
    fn next_xid(&mut self) -> i32 {
        self.xid = self.xid.checked_add(1).unwrap_or(1);
        self.xid
    }

    fn take_frame(&mut self, link: &mut Link, frame: Bytes) -> Result<(), Ended> {
        let mut reader = Reader::new(frame);
        let header: ReplyHeader = reader
            .read()
            .map_err(|error| Ended::Lost(error.to_string()))?;
        match header.xid {
            XID_PING => Ok(()),
            XID_AUTH => self.take_auth(link, header),
            XID_NOTIFICATION => self.take_event(&mut reader),
            _ => self.take_reply(link, header, reader),
        }
    }

    fn take_auth(&mut self, link: &mut Link, header: ReplyHeader) -> Result<(), Ended> {
        if header.err == ErrorCode::AuthFailed.code() {
            return Err(Ended::Over(SessionState::AuthFailed));
        }
        let index = link.auths.pop_front();
        let auth = index.and_then(|index| self.auths.get_mut(index));
        if let Some(reply) = auth.and_then(|auth| auth.reply.take()) {
            let _ = reply.send(match header.err {
                0 => Ok(()),
                code => Err(ZkError::from_reply(code, "")),
            });
        }
        Ok(())
    }

    fn take_event(&mut self, reader: &mut Reader) -> Result<(), Ended> {
        let event: WatcherEvent = reader
            .read()
            .map_err(|error| Ended::Lost(format!("watch event: {error}")))?;
        let Some(kind) = EventType::from_code(event.kind) else {
            return Err(Ended::Lost(format!(
                "watch event of unknown type {}",
                event.kind
            )));
        };
        self.watches.lock().fired(kind, &event.path);
        let path = self.settings.connect.to_client(&event.path);
        let _ = self.events.send(ZkEvent::Node { kind, path });
        Ok(())
    }

    fn take_reply(
        &mut self,
        link: &mut Link,
        header: ReplyHeader,
        reader: Reader,
    ) -> Result<(), Ended> {
        let Some(request) = link.in_flight.pop_front() else {
            return Err(Ended::Lost(format!(
                "reply {} to nothing asked",
                header.xid
            )));
        };
        if request.xid != header.xid {
            let reason = format!("reply {} where {} was due", header.xid, request.xid);
            link.in_flight.push_front(request);
            return Err(Ended::Lost(reason));
        }
        if header.zxid > 0 {
            self.last_zxid = header.zxid;
        }
        if let Some(change) = &request.watch {
            let no_node = header.err == ErrorCode::NoNode.code();
            let removed = self
                .watches
                .lock()
                .replied(change, header.err == 0, no_node);
            if let WatchChange::Remove { path, .. } = change {
                self.report_removed(path, removed);
            }
        }
        if let Some(reply) = request.reply {
            let _ = reply.send(Ok((header, reader)));
        }
        match request.op {
            OpCode::CloseSession => Err(Ended::Over(SessionState::Closed)),
            _ => Ok(()),
        }
    }
}

/// The next call, those that waited for a connection first.
async fn next_call(
    waiting: &mut VecDeque<Call>,
    calls: &mut mpsc::UnboundedReceiver<Call>,
) -> Call {
    match waiting.pop_front() {
        Some(call) => call,
        None => calls.recv().await.unwrap_or(Call::Close),
    }
}
