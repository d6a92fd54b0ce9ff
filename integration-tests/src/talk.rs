//! Shell: one connection to a broker on which any request is sent in any version and the whole answer is read.

use std::fmt::Debug;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use kafka_wire::api_key::ApiKey;
use kafka_wire::header::{RequestHeader, ResponseHeader};
use kafka_wire::message::{Message, Request};
use kafka_wire::reader::Reader;
use kafka_wire::writer::{Segment, Writer};

/// How long a broker may take to answer on a busy machine.
const ANSWER: Duration = Duration::from_secs(60);

/// One connection and what was said on it.
#[derive(Debug)]
pub struct Talk {
    stream: TcpStream,
    address: SocketAddr,
    client_id: String,
    /// What was noted, in order.
    pub lines: Vec<String>,
}

impl Talk {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn with(address: SocketAddr) -> Result<Self> {
        Ok(Self {
            stream: connect(address)?,
            address,
            client_id: "answers".to_owned(),
            lines: Vec::new(),
        })
    }

    /// Says who it is from now on.
    #[must_use]
    pub fn named(mut self, client_id: &str) -> Self {
        self.client_id = client_id.to_owned();
        self
    }

    /// Sends a request; `None` when the broker closes the connection instead of answering.
    ///
    /// # Errors
    /// When the answer does not come in time or is not an answer.
    pub fn ask<R: Request>(&mut self, version: i16, request: &R) -> Result<Option<R::Response>> {
        self.send(version, request)?;
        self.answer::<R>(version)
    }

    /// Sends a request and does not wait.
    ///
    /// # Errors
    /// When the request does not fit the version, or the connection is gone.
    pub fn send<R: Request>(&mut self, version: i16, request: &R) -> Result<()> {
        let frame = self.encode(version, request)?;
        Ok(self.stream.write_all(&frame)?)
    }

    /// A request as it is sent, to be sent with others at once.
    ///
    /// # Errors
    /// When the request does not fit the version.
    pub fn encode<R: Request>(&self, version: i16, request: &R) -> Result<Vec<u8>> {
        let api_key = ApiKey::from_code(R::API_KEY).context("unknown api")?;
        let header = RequestHeader {
            api_key,
            api_version: version,
            correlation_id: 5,
            client_id: Some(self.client_id.as_str().into()),
        };
        let mut writer = Writer::new();
        header.encode(&mut writer)?;
        request.encode(&mut writer, version)?;
        let mut frame = Vec::new();
        for segment in writer.into_frame()? {
            if let Segment::Bytes(bytes) = segment {
                frame.extend_from_slice(&bytes);
            }
        }
        Ok(frame)
    }

    /// Reads the answer to a request that was sent; `None` when the broker has closed the connection, and then it is
    /// opened again.
    ///
    /// # Errors
    /// When the answer does not come in time or is not an answer.
    pub fn answer<R: Request>(&mut self, version: i16) -> Result<Option<R::Response>> {
        let api_key = ApiKey::from_code(R::API_KEY).context("unknown api")?;
        let Some(body) = self.frame()? else {
            return Ok(None);
        };
        let mut reader = Reader::new(body);
        ResponseHeader::decode(&mut reader, api_key, version)?;
        let answer = R::Response::decode(&mut reader, version)?;
        ensure!(
            reader.remaining() == 0,
            "{} bytes after the answer",
            reader.remaining()
        );
        Ok(Some(answer))
    }

    /// An answer, or the end of the connection, is there to be read, or comes while waiting.
    ///
    /// # Errors
    /// When the connection cannot be asked.
    pub fn is_answered(&self, wait: Duration) -> Result<bool> {
        self.stream.set_read_timeout(Some(wait))?;
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_read_timeout(Some(ANSWER))?;
        Ok(match peeked {
            Ok(_) => true,
            Err(error) => !matches!(
                error.kind(),
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
            ),
        })
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        // A broker that has hung up shows when its answer is read.
        let _ = self.stream.write_all(bytes);
    }

    /// The next frame without its length; `None` when the broker has closed the connection, and then it is opened again.
    ///
    /// # Errors
    /// When nothing comes in time.
    pub fn frame(&mut self) -> Result<Option<Bytes>> {
        let mut size = [0; 4];
        if let Err(error) = self.stream.read_exact(&mut size) {
            let late = matches!(
                error.kind(),
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
            );
            ensure!(!late, "no answer in {ANSWER:?}");
            self.stream = connect(self.address)?;
            return Ok(None);
        }
        let mut body = vec![0; u32::from_be_bytes(size) as usize];
        match self.stream.read_exact(&mut body) {
            Ok(()) => Ok(Some(Bytes::from(body))),
            // Apache's broker hangs up within an answer when it cannot convert a record.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                self.stream = connect(self.address)?;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Asks and notes the answer.
    ///
    /// # Errors
    /// As [`Talk::ask`].
    pub fn note<R: Request>(&mut self, what: &str, version: i16, request: &R) -> Result<()>
    where
        R::Response: Debug,
    {
        let answer = self.ask(version, request)?;
        self.lines
            .push(format!("{} v{version} {what}: {answer:?}", R::NAME));
        Ok(())
    }
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_write_timeout(Some(ANSWER))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The versions of an API that Kafka 3.7.1 has.
pub fn versions(key: ApiKey) -> std::ops::RangeInclusive<i16> {
    let (lowest, highest) = key.versions();
    lowest..=highest
}
