//! Shell: a ZooKeeper client that sends any bytes and shows what comes back, byte for byte.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// How long a server that should say nothing is listened to.
const SILENCE: Duration = Duration::from_millis(1500);
/// How long a server may take to answer on a busy machine.
const ANSWER: Duration = Duration::from_secs(30);

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Got {
    /// A frame, without its length.
    Frame(Vec<u8>),
    /// The server hung up.
    Closed,
    /// Nothing for a while.
    Silence,
}

/// The bytes of a frame, put together field by field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Body(pub Vec<u8>);

impl Body {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One that begins with a request's header.
    #[must_use]
    pub fn request(xid: i32, op: i32) -> Self {
        Self::new().int(xid).int(op)
    }

    /// Appends an int.
    #[must_use]
    pub fn int(self, value: i32) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    /// Appends a long.
    #[must_use]
    pub fn long(self, value: i64) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    /// Appends a byte, such as a boolean.
    #[must_use]
    pub fn byte(self, value: u8) -> Self {
        self.bytes(&[value])
    }

    /// Appends a string or buffer with its length.
    #[must_use]
    pub fn string(self, value: impl AsRef<[u8]>) -> Self {
        let bytes = value.as_ref();
        let length = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
        self.int(length).bytes(bytes)
    }

    /// Appends what stands for null in place of a string, buffer or vector.
    #[must_use]
    pub fn null(self) -> Self {
        self.int(-1)
    }

    /// Appends bytes as they are.
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Appends an ACL that lets everybody do everything.
    #[must_use]
    pub fn open_acl(self) -> Self {
        self.int(1).int(31).string("world").string("anyone")
    }

    /// Appends a multi's header of one operation, or of its end with type -1.
    #[must_use]
    pub fn multi_header(self, kind: i32) -> Self {
        self.int(kind).byte(u8::from(kind == -1)).int(-1)
    }

    /// The same without its last bytes.
    #[must_use]
    pub fn cut(mut self, bytes: usize) -> Self {
        self.0.truncate(self.0.len().saturating_sub(bytes));
        self
    }

    /// With its length before it, ready to be sent.
    #[must_use]
    pub fn framed(&self) -> Vec<u8> {
        Self::new().string(&self.0).0
    }
}

/// What a client says first; the fields are public so that a test can spoil one.
#[derive(Debug, Clone)]
pub struct Hello {
    /// Protocol version; 0.
    pub version: i32,
    /// The newest zxid the client has seen.
    pub last_zxid: i64,
    /// Session timeout asked for, in milliseconds.
    pub timeout_ms: i32,
    /// The session, or 0 for a new one.
    pub session: i64,
    /// Its password; `None` is null.
    pub password: Option<Vec<u8>>,
    /// The byte of the read-only flag; `None` is a client from before 3.4.
    pub read_only: Option<u8>,
}

impl Default for Hello {
    fn default() -> Self {
        Self {
            version: 0,
            last_zxid: 0,
            timeout_ms: 30_000,
            session: 0,
            password: Some(vec![0; 16]),
            read_only: Some(0),
        }
    }
}

impl Hello {
    /// Its bytes.
    #[must_use]
    pub fn body(&self) -> Body {
        let body = Body::new()
            .int(self.version)
            .long(self.last_zxid)
            .int(self.timeout_ms)
            .long(self.session);
        let body = match &self.password {
            Some(password) => body.string(password),
            None => body.null(),
        };
        match self.read_only {
            Some(flag) => body.byte(flag),
            None => body,
        }
    }
}

/// What a server answers to [`Hello`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The session timeout granted, in milliseconds.
    pub timeout_ms: i32,
    /// The session.
    pub session: i64,
    /// Its password.
    pub password: Vec<u8>,
    /// All the bytes.
    pub bytes: Vec<u8>,
}

/// A connection.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
}

impl Raw {
    /// Connects and says nothing.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_write_timeout(Some(ANSWER))?;
        Ok(Self { stream })
    }

    /// Connects and asks for a session.
    ///
    /// # Errors
    /// When no session is granted.
    pub fn with_session(address: SocketAddr, hello: &Hello) -> Result<(Self, Welcome)> {
        let mut raw = Self::connect(address)?;
        raw.send(&hello.body().framed());
        let Got::Frame(bytes) = raw.receive()? else {
            anyhow::bail!("no session was granted")
        };
        ensure!(bytes.len() >= 36, "a strange welcome: {bytes:?}");
        let long = |at: usize| bytes[at..at + 8].try_into().map(i64::from_be_bytes);
        let int = |at: usize| bytes[at..at + 4].try_into().map(i32::from_be_bytes);
        let welcome = Welcome {
            timeout_ms: int(4)?,
            session: long(8)?,
            password: bytes[20..36].to_vec(),
            bytes,
        };
        Ok((raw, welcome))
    }

    /// Sends bytes as they are. A server that has hung up shows when its answer is read.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Says that nothing more will be sent.
    pub fn finish(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }

    /// The socket, for tests that do what no client does.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The next frame, or the end of the connection.
    ///
    /// # Errors
    /// When nothing comes for half a minute.
    pub fn receive(&mut self) -> Result<Got> {
        match self.receive_within(ANSWER)? {
            Got::Silence => anyhow::bail!("no answer in {ANSWER:?}"),
            got => Ok(got),
        }
    }

    /// The next frame, if one comes within a while.
    ///
    /// # Errors
    /// When a frame is cut off by silence.
    pub fn listen(&mut self) -> Result<Got> {
        self.receive_within(SILENCE)
    }

    fn receive_within(&mut self, limit: Duration) -> Result<Got> {
        self.stream.set_read_timeout(Some(limit))?;
        let mut length = [0; 4];
        match self.stream.read_exact(&mut length) {
            Ok(()) => {}
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Ok(Got::Silence);
            }
            Err(_) => return Ok(Got::Closed),
        }
        self.stream.set_read_timeout(Some(ANSWER))?;
        let mut body = vec![0; usize::try_from(i32::from_be_bytes(length))?];
        match self.stream.read_exact(&mut body) {
            Ok(()) => Ok(Got::Frame(body)),
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => Ok(Got::Closed),
            Err(e) => Err(e).context("within a frame"),
        }
    }
}
