//! Shell: the bytes of one HTTP connection, plain or through TLS.
//!
//! Handshakes happen on the thread of the HTTP server, which has nothing else to do.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use bytes::BytesMut;
use rustls::{ServerConfig, ServerConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bytes that are taken from a TLS session at once.
const CHUNK_BYTES: usize = 4096;

/// A connection.
#[derive(Debug)]
pub struct Stream {
    socket: TcpStream,
    session: Option<ServerConnection>,
}

/// A socket as rustls wants it.
struct Ready<'a>(&'a TcpStream);

impl Read for Ready<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for Ready<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream {
    /// One without TLS.
    pub fn plain(socket: TcpStream) -> Self {
        Self {
            socket,
            session: None,
        }
    }

    /// One with TLS; the handshake happens while it is read.
    ///
    /// # Errors
    /// Those of rustls, for settings that contradict each other.
    pub fn secure(socket: TcpStream, config: Arc<ServerConfig>) -> io::Result<Self> {
        let session = ServerConnection::new(config).map_err(io::Error::other)?;
        Ok(Self {
            socket,
            session: Some(session),
        })
    }

    /// Whether it is one with TLS.
    pub fn is_secure(&self) -> bool {
        self.session.is_some()
    }

    /// Appends what comes; 0 at the end.
    ///
    /// # Errors
    /// Those of the socket, and of what is no proper TLS.
    pub async fn read_buf(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        let Some(session) = &mut self.session else {
            return self.socket.read_buf(buffer).await;
        };
        loop {
            flush(&self.socket, session).await?;
            let mut chunk = [0; CHUNK_BYTES];
            match session.reader().read(&mut chunk) {
                Ok(count) => {
                    buffer.extend_from_slice(&chunk[..count]);
                    return Ok(count);
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
            self.socket.readable().await?;
            match session.read_tls(&mut Ready(&self.socket)) {
                Ok(0) => return Ok(0),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => continue,
                Err(e) => return Err(e),
            }
            if let Err(error) = session.process_new_packets() {
                // The client is told why.
                let _ = flush(&self.socket, session).await;
                return Err(io::Error::other(error));
            }
        }
    }

    /// Sends all bytes.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let Some(session) = &mut self.session else {
            return self.socket.write_all(bytes).await;
        };
        while !bytes.is_empty() {
            let count = session.writer().write(bytes)?;
            bytes = bytes.get(count..).unwrap_or_default();
            flush(&self.socket, session).await?;
        }
        Ok(())
    }

    /// Says that nothing more will be sent.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        if let Some(session) = &mut self.session {
            session.send_close_notify();
            flush(&self.socket, session).await?;
        }
        self.socket.shutdown().await
    }
}

/// Sends what a session has for its client.
async fn flush(socket: &TcpStream, session: &mut ServerConnection) -> io::Result<()> {
    while session.wants_write() {
        match session.write_tls(&mut Ready(socket)) {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => socket.writable().await?,
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
