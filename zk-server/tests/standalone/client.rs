//! Shell: a client that sends exactly what it is told to and returns exactly what comes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use common::net::frame::put_frame;
use common::zk::code::{ErrorCode, OpCode};
use common::zk::connect::{ConnectRequest, ConnectResponse};
use common::zk::data::Acl;
use common::zk::jute::{Reader, Record};
use common::zk::request::*;
use common::zk::response::{ReplyHeader, Response, WatcherEvent};

/// A frame from the server.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// A reply: xid, zxid, error, body.
    Reply(ReplyHeader, Bytes),
    /// A watch event.
    Event(WatcherEvent),
}

/// A connection with a session.
pub struct Client {
    stream: TcpStream,
    xid: i32,
    /// What the server answered to the request for a session.
    pub session: ConnectResponse,
}

impl Client {
    /// Asks for a new session.
    pub fn connect(address: SocketAddr) -> Self {
        Self::connect_with(address, 0, Bytes::from_static(&[0; 16]), 30_000)
    }

    /// Asks for a session, or for an old one back.
    pub fn connect_with(
        address: SocketAddr,
        session_id: i64,
        password: Bytes,
        timeout_ms: i32,
    ) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let mut client = Self {
            stream,
            xid: 0,
            session: ConnectResponse::default(),
        };
        let request = ConnectRequest {
            timeout_ms,
            session_id,
            password: Some(password),
            read_only: Some(false),
            ..ConnectRequest::default()
        };
        client.send_raw(&request.to_bytes());
        client.session = Reader::new(client.frame().unwrap()).read().unwrap();
        client
    }

    /// Sends one frame.
    pub fn send_raw(&mut self, body: &[u8]) {
        let mut out = BytesMut::new();
        put_frame(&mut out, |out| out.extend_from_slice(body));
        self.stream.write_all(&out).unwrap();
    }

    /// Sends a request and does not wait; returns its xid.
    pub fn send(&mut self, request: &Request) -> i32 {
        self.xid += 1;
        let mut body = BytesMut::new();
        RequestHeader {
            xid: self.xid,
            op: request.op().code(),
        }
        .encode(&mut body);
        request.encode(&mut body);
        self.send_raw(&body);
        self.xid
    }

    /// The next frame's bytes; `None` if the server hung up.
    fn frame(&mut self) -> Option<Bytes> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).ok()?;
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut body).ok()?;
        Some(Bytes::from(body))
    }

    /// The next reply or event; `None` if the server hung up.
    pub fn receive(&mut self) -> Option<Frame> {
        let mut reader = Reader::new(self.frame()?);
        let header: ReplyHeader = reader.read().unwrap();
        Some(match header.xid {
            XID_NOTIFICATION => Frame::Event(reader.read().unwrap()),
            _ => Frame::Reply(header, reader.take_rest()),
        })
    }

    /// Sends a request and waits for its reply; no event may come before it.
    pub fn call(&mut self, request: Request) -> Result<Response, ErrorCode> {
        let op = request.op();
        let xid = self.send(&request);
        let Some(Frame::Reply(header, body)) = self.receive() else {
            panic!("no reply")
        };
        assert!(header.xid == xid || header.xid < 0, "{header:?}");
        decode(op, header, body)
    }
}

/// The record of a reply.
pub fn decode(op: OpCode, header: ReplyHeader, body: Bytes) -> Result<Response, ErrorCode> {
    match ErrorCode::from_code(header.err).unwrap() {
        ErrorCode::Ok => Ok(Response::decode(op, &mut Reader::new(body)).unwrap()),
        error => Err(error),
    }
}

pub fn create(path: &str, data: &str, mode: CreateMode) -> Request {
    Request::Create(CreateRequest {
        path: path.into(),
        data: Some(Bytes::from(data.to_owned())),
        acl: Acl::open(),
        flags: mode.flags(),
    })
}

pub fn set_data(path: &str, data: &str) -> Request {
    let data = Some(Bytes::from(data.to_owned()));
    Request::SetData(SetDataRequest {
        path: path.into(),
        data,
        version: -1,
    })
}

pub fn get_data(path: &str, watch: bool) -> Request {
    Request::GetData(WatchableRequest {
        path: path.into(),
        watch,
    })
}

pub fn exists(path: &str, watch: bool) -> Request {
    Request::Exists(WatchableRequest {
        path: path.into(),
        watch,
    })
}

pub fn delete(path: &str) -> Request {
    Request::Delete(DeleteRequest {
        path: path.into(),
        version: -1,
    })
}
