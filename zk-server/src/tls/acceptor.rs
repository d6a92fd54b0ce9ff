//! Shell: TLS handshakes, on threads of their own.
//!
//! A handshake costs about a millisecond of asymmetric cryptography, in which the loop can answer
//! hundreds of requests. So a connection goes to another runtime for its handshake, and comes back
//! when only symmetric records are left to do.

use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::{Error, InvalidMessage, ServerConfig, ServerConnection};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

use crate::tls::certificate::Certificate;

/// How long a handshake may take, as in Netty.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// Threads at most.
const MAX_THREADS: usize = 4;

/// Does handshakes.
#[derive(Debug)]
pub struct Acceptor {
    config: Arc<ServerConfig>,
    runtime: Option<Runtime>,
    limit: usize,
    /// Its strong count, less one, is how many handshakes are under way.
    under_way: Rc<()>,
}

/// A connection whose handshake is over.
#[derive(Debug)]
pub struct Established {
    /// The socket, known to the runtime that asked.
    pub stream: TcpStream,
    /// The session.
    pub session: ServerConnection,
    /// The subject of the client's certificate, if it has shown one.
    pub subject: Option<Rc<str>>,
}

impl Acceptor {
    /// Starts the threads; `limit`: handshakes at a time.
    ///
    /// # Errors
    /// The system's, if there can be no threads.
    pub fn start(config: Arc<ServerConfig>, limit: Option<usize>) -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let runtime = Builder::new_multi_thread()
            .worker_threads((cores - 1).clamp(1, MAX_THREADS))
            .thread_name("tls-handshake")
            .enable_all()
            .build()?;
        Ok(Self {
            config,
            runtime: Some(runtime),
            limit: limit.unwrap_or(usize::MAX),
            under_way: Rc::new(()),
        })
    }

    /// How many handshakes are under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        Rc::strong_count(&self.under_way) - 1
    }

    /// Whether there are so many handshakes under way that no more are begun.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.under_way() >= self.limit
    }

    /// Does the handshake of a connection and answers when it is over.
    ///
    /// # Errors
    /// Whatever ends the connection: the client's or the server's refusal, or its time is over.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<Established> {
        let Some(runtime) = &self.runtime else {
            return Err(ErrorKind::NotConnected.into());
        };
        let counted = self.under_way.clone();
        let (stream, config) = (stream.into_std()?, self.config.clone());
        let done = runtime
            .spawn(async move {
                let stream = TcpStream::from_std(stream)?;
                let shaking = shake_hands(&stream, config);
                let session = tokio::time::timeout(HANDSHAKE_WITHIN, shaking).await??;
                Ok::<_, io::Error>((stream.into_std()?, session))
            })
            .await;
        drop(counted);
        let (stream, session) = done.map_err(io::Error::other)??;
        let stream = TcpStream::from_std(stream)?;
        let subject = match session.peer_certificates().and_then(<[_]>::first) {
            None => None,
            Some(der) => {
                let subject = Certificate::parse(der).and_then(|c| c.subject_text());
                Some(subject.map_err(io::Error::other)?)
            }
        };
        Ok(Established {
            stream,
            session,
            subject: subject.map(Rc::from),
        })
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        // A runtime must not be waited for on another runtime's thread.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn shake_hands(
    stream: &TcpStream,
    config: Arc<ServerConfig>,
) -> io::Result<ServerConnection> {
    let mut session = ServerConnection::new(config).map_err(io::Error::other)?;
    loop {
        write_all(stream, &mut session).await?;
        if !session.is_handshaking() {
            return Ok(session);
        }
        stream.readable().await?;
        match session.read_tls(&mut Socket(stream)) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => continue,
            Err(e) => return Err(e),
        }
        if let Err(error) = session.process_new_packets() {
            // The alert tells the client why, if it speaks TLS at all.
            if !matches!(
                error,
                Error::InvalidMessage(InvalidMessage::InvalidContentType)
            ) {
                let _ = write_all(stream, &mut session).await;
            }
            return Err(io::Error::new(ErrorKind::InvalidData, error));
        }
    }
}

async fn write_all(stream: &TcpStream, session: &mut ServerConnection) -> io::Result<()> {
    while session.wants_write() {
        match session.write_tls(&mut Socket(stream)) {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => stream.writable().await?,
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// The socket as the session sees it.
struct Socket<'a>(&'a TcpStream);

impl io::Read for Socket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl io::Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
