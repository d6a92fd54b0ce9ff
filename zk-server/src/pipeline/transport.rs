//! Shell: a client's stream of bytes, in the clear or through TLS, with the same few operations.
//!
//! None of them waits. TLS handshakes are over before a stream comes here; what is left are
//! records, which are sealed and opened in place.

use std::cell::{Cell, RefCell};
use std::io::{self, BufRead, IoSlice, Read, Write};

use bytes::BytesMut;
use rustls::ServerConnection;
use tokio::io::{Interest, Ready};
use tokio::net::TcpStream;

/// A connected stream.
#[derive(Debug)]
pub struct Transport {
    stream: TcpStream,
    tls: Option<Box<Tls>>,
}

/// The TLS side of a stream.
#[derive(Debug)]
struct Tls {
    session: RefCell<ServerConnection>,
    /// Nobody waits any more for what could not be sent yet.
    abandoned: Cell<bool>,
}

impl Transport {
    /// Bytes go as they are.
    #[must_use]
    pub fn plain(stream: TcpStream) -> Self {
        Self { stream, tls: None }
    }

    /// Bytes go through a TLS session that is established.
    #[must_use]
    pub fn secure(stream: TcpStream, session: ServerConnection) -> Self {
        let tls = Tls {
            session: RefCell::new(session),
            abandoned: Cell::new(false),
        };
        Self {
            stream,
            tls: Some(Box::new(tls)),
        }
    }

    /// Whether this is TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// Waits until the socket may be read or written.
    pub async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        self.stream.ready(interest).await
    }

    /// Appends what has come to the buffer; 0 at the end of the stream, `WouldBlock` if nothing
    /// is there. Nothing that came stays behind: the next bytes make the socket readable again.
    pub fn try_read_buf(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        match &self.tls {
            None => self.stream.try_read_buf(buffer),
            Some(tls) => tls.read(&self.stream, buffer),
        }
    }

    /// Takes some of the bytes; `WouldBlock` if the socket is full.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match &self.tls {
            None => self.stream.try_write(bytes),
            Some(tls) => tls.write(&self.stream, bytes),
        }
    }

    /// Sends what was taken and is not sent yet; false if the socket is full.
    pub fn try_flush(&self) -> io::Result<bool> {
        match &self.tls {
            None => Ok(true),
            Some(tls) => tls.flush(&self.stream),
        }
    }

    /// Gives up what was taken and is not sent yet.
    pub fn abandon(&self) {
        if let Some(tls) = &self.tls {
            tls.abandoned.set(true);
        }
    }

    /// Says the end of the stream, as far as the socket takes it.
    pub fn say_end(&self) {
        if let Some(tls) = &self.tls
            && !tls.abandoned.get()
        {
            tls.session.borrow_mut().send_close_notify();
            // The connection ends either way.
            let _ = tls.flush(&self.stream);
        }
    }
}

impl Tls {
    fn read(&self, stream: &TcpStream, buffer: &mut BytesMut) -> io::Result<usize> {
        let mut session = self.session.borrow_mut();
        loop {
            // The first round finds what came together with the end of the handshake.
            if let Some(count) = take_plaintext(&mut session, buffer)? {
                return Ok(count);
            }
            if session.read_tls(&mut Socket(stream))? == 0 {
                return Ok(0);
            }
            if let Err(error) = session.process_new_packets() {
                // There may be an alert that tells the client why.
                let _ = session.write_tls(&mut Socket(stream));
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
    }

    fn write(&self, stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
        loop {
            // Takes nothing as long as too much is sealed and not sent.
            let count = self.session.borrow_mut().writer().write(bytes)?;
            let sent = self.flush(stream)?;
            if count > 0 || bytes.is_empty() || self.abandoned.get() {
                return Ok(count);
            }
            if !sent {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
    }

    fn flush(&self, stream: &TcpStream) -> io::Result<bool> {
        let mut session = self.session.borrow_mut();
        while session.wants_write() && !self.abandoned.get() {
            match session.write_tls(&mut Socket(stream)) {
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) => return Err(e),
            }
        }
        Ok(true)
    }
}

/// Appends all that is opened; none if there is nothing, 0 at the end of the stream.
fn take_plaintext(
    session: &mut ServerConnection,
    buffer: &mut BytesMut,
) -> io::Result<Option<usize>> {
    let mut reader = session.reader();
    let mut total = 0;
    loop {
        let count = match reader.fill_buf() {
            Ok([]) => return Ok(Some(total)),
            Ok(chunk) => {
                buffer.extend_from_slice(chunk);
                chunk.len()
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                return Ok(Some(total).filter(|total| *total > 0));
            }
            Err(e) => return Err(e),
        };
        reader.consume(count);
        total += count;
    }
}

/// The socket as the TLS session sees it.
struct Socket<'a>(&'a TcpStream);

impl Read for Socket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
