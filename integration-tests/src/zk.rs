//! Shell: a ZooKeeper client that sends requests without waiting and hands out replies and events
//! in the order they come.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use bytes::{Bytes, BytesMut};
use common::zk::code::{ErrorCode, OpCode};
use common::zk::jute::{Reader, Record};
use common::zk::request::{Request, RequestHeader, XID_NOTIFICATION};
use common::zk::response::{ReplyHeader, Response, WatcherEvent};

use crate::raw::{Body, Got, Hello, Raw, Welcome};

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The reply to a request.
    Reply(ReplyHeader, Bytes),
    /// A watch fired.
    Event(WatcherEvent),
    /// The server hung up.
    Closed,
}

/// A connection with a session.
#[derive(Debug)]
pub struct Client {
    raw: Raw,
    xid: i32,
    /// Its session.
    pub welcome: Welcome,
}

impl Client {
    /// Begins a session.
    ///
    /// # Errors
    /// When none is granted.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        Self::greet(address, &Hello::default())
    }

    /// Begins a session, or goes on with one.
    ///
    /// # Errors
    /// When it is not granted.
    pub fn greet(address: SocketAddr, hello: &Hello) -> Result<Self> {
        let (raw, welcome) = Raw::with_session(address, hello)?;
        Ok(Self {
            raw,
            xid: 0,
            welcome,
        })
    }

    /// What to say to go on with this session.
    #[must_use]
    pub fn hello_again(&self) -> Hello {
        Hello {
            session: self.welcome.session,
            password: Some(self.welcome.password.clone()),
            ..Hello::default()
        }
    }

    /// Sends a request; returns its number.
    pub fn send(&mut self, request: &Request) -> i32 {
        self.send_all(std::slice::from_ref(request))
    }

    /// Sends requests in one piece; returns the number of the last one.
    pub fn send_all(&mut self, requests: &[Request]) -> i32 {
        let mut bytes = Vec::new();
        for request in requests {
            self.xid += 1;
            let mut body = BytesMut::new();
            let op = request.op().code();
            RequestHeader { xid: self.xid, op }.encode(&mut body);
            request.encode(&mut body);
            bytes.extend(Body(body.to_vec()).framed());
        }
        self.raw.send(&bytes);
        self.xid
    }

    /// The next reply or event.
    ///
    /// # Errors
    /// When nothing comes for long, or it cannot be read.
    pub fn receive(&mut self) -> Result<Frame> {
        let bytes = match self.raw.receive()? {
            Got::Frame(bytes) => Bytes::from(bytes),
            _ => return Ok(Frame::Closed),
        };
        let mut reader = Reader::new(bytes);
        let header: ReplyHeader = reader.read()?;
        Ok(match header.xid {
            XID_NOTIFICATION => Frame::Event(reader.read()?),
            _ => Frame::Reply(header, reader.take_rest()),
        })
    }

    /// The events that have come until now: those before the answer to a ping.
    ///
    /// # Errors
    /// When the server hangs up or does not answer.
    pub fn events(&mut self) -> Result<Vec<WatcherEvent>> {
        self.send(&Request::Ping);
        let mut events = Vec::new();
        loop {
            match self.receive()? {
                Frame::Event(event) => events.push(event),
                Frame::Reply(..) => return Ok(events),
                Frame::Closed => bail!("the server hung up"),
            }
        }
    }

    /// Sends a request and waits for its reply; events before it are dropped.
    ///
    /// # Errors
    /// When the server hangs up or does not answer.
    pub fn call(&mut self, request: &Request) -> Result<(i64, Result<Response, ErrorCode>)> {
        self.send(request);
        loop {
            match self.receive()? {
                Frame::Event(_) => {}
                Frame::Reply(header, body) => {
                    return Ok((header.zxid, response(request.op(), header, body)?));
                }
                Frame::Closed => bail!("the server hung up"),
            }
        }
    }
}

/// The record of a reply, or its error.
///
/// # Errors
/// When the record cannot be read or the error is unknown.
pub fn response(
    op: OpCode,
    header: ReplyHeader,
    body: Bytes,
) -> Result<Result<Response, ErrorCode>> {
    let error = ErrorCode::from_code(header.err).context("an unknown error code")?;
    Ok(match error {
        ErrorCode::Ok => Ok(Response::decode(op, &mut Reader::new(body))?),
        error => Err(error),
    })
}
