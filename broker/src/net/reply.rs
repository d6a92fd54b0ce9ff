//! Shell: puts replies onto a socket: memory with writev, ranges of segment files with sendfile.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem;

use bytes::Buf;
use kafka_wire::writer::Segment;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{SendAncillaryBuffer, SendFlags};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// How many pieces of memory go into one system call.
const MAX_SLICES: usize = 64;
/// How much goes out before other tasks of this thread get their turn, in bytes.
const TURN_BYTES: usize = 1 << 20;

/// Replies on their way out, in order.
#[derive(Debug, Default)]
pub struct Outbox {
    segments: VecDeque<Segment>,
    queued_bytes: usize,
    /// Whether the last system call took less than it was given.
    was_short: bool,
}

impl Outbox {
    /// Queues one reply, its size in front (`Writer::into_frame`).
    pub fn push(&mut self, frame: Vec<Segment>) {
        self.queued_bytes += frame.iter().map(Segment::len).sum::<usize>();
        self.segments.extend(frame);
    }

    /// Whether everything is out.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// How many bytes wait, in bytes.
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Sends everything.
    ///
    /// # Errors
    /// When the peer is gone, or when a file got shorter than what was promised from it: the connection must be
    /// closed then, because the size is already out.
    pub async fn flush(&mut self, stream: &TcpStream) -> io::Result<()> {
        let mut turn = 0;
        while !self.segments.is_empty() {
            match stream.try_io(Interest::WRITABLE, || self.send_some(stream)) {
                Ok(sent) => {
                    self.queued_bytes = self.queued_bytes.saturating_sub(sent);
                    turn += sent;
                    if turn >= TURN_BYTES {
                        turn = 0;
                        tokio::task::yield_now().await;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    stream.writable().await?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.queued_bytes = 0;
        Ok(())
    }

    /// One system call: as much memory as stands in front, or a part of the file that does.
    fn send_some(&mut self, stream: &TcpStream) -> io::Result<usize> {
        // A look costs much less than a sendfile that finds pages for nothing; it also asks to be told of room.
        if mem::take(&mut self.was_short) && !is_writable(stream)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if let Some(Segment::File {
            file,
            position,
            len,
        }) = self.segments.front_mut()
        {
            let mut offset = *position;
            let sent = rustix::fs::sendfile(stream, &**file, Some(&mut offset), *len as usize)?;
            if sent == 0 && *len > 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "segment file is shorter than what was promised from it",
                ));
            }
            *position += sent as u64;
            *len -= sent as u32;
            if *len == 0 {
                self.segments.pop_front();
            } else {
                self.was_short = true;
            }
            return Ok(sent);
        }
        self.send_memory(stream)
    }

    fn send_memory(&mut self, stream: &TcpStream) -> io::Result<usize> {
        let mut slices = Vec::with_capacity(self.segments.len().min(MAX_SLICES));
        let mut more = false;
        for segment in &self.segments {
            match segment {
                Segment::Bytes(bytes) if slices.len() < MAX_SLICES => {
                    slices.push(IoSlice::new(bytes));
                }
                _ => {
                    // What follows belongs into the same packets.
                    more = true;
                    break;
                }
            }
        }
        let flags = if more {
            SendFlags::NOSIGNAL | SendFlags::MORE
        } else {
            SendFlags::NOSIGNAL
        };
        let mut no_control = SendAncillaryBuffer::default();
        let sent = rustix::net::sendmsg(stream, &slices, &mut no_control, flags)?;
        self.consume(sent);
        Ok(sent)
    }

    fn consume(&mut self, mut sent: usize) {
        while let Some(Segment::Bytes(bytes)) = self.segments.front_mut() {
            if bytes.len() > sent {
                bytes.advance(sent);
                return;
            }
            sent -= bytes.len();
            self.segments.pop_front();
        }
    }
}

/// Whether the system has room for more, without waiting. If not, the next room is an event for the selector.
fn is_writable(stream: &TcpStream) -> io::Result<bool> {
    let mut sockets = [PollFd::new(stream, PollFlags::OUT)];
    let at_once = Timespec::default();
    Ok(rustix::event::poll(&mut sockets, Some(&at_once))? > 0)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use bytes::Bytes;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        (client.unwrap(), accepted.unwrap().0)
    }

    #[tokio::test]
    async fn memory_and_files_arrive_in_order() {
        let (mut client, server) = pair().await;
        let mut file = tempfile::tempfile().unwrap();
        let content: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
        file.write_all(&content).unwrap();
        let file = Arc::new(file);
        let range = |position: u64, len: u32| Segment::File {
            file: file.clone(),
            position,
            len,
        };

        let mut outbox = Outbox::default();
        let bytes = |text: &'static str| Segment::Bytes(Bytes::from_static(text.as_bytes()));
        outbox.push(vec![
            bytes("ab"),
            range(1, 2_900_000),
            bytes("cd"),
            range(5, 2),
            bytes(""),
        ]);
        outbox.push(vec![bytes("next")]);
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            client.read_to_end(&mut all).await.unwrap();
            all
        });
        outbox.flush(&server).await.unwrap();
        assert!(outbox.is_empty());
        drop(server);

        let mut expected = b"ab".to_vec();
        expected.extend_from_slice(&content[1..2_900_001]);
        expected.extend_from_slice(b"cd");
        expected.extend_from_slice(&content[5..7]);
        expected.extend_from_slice(b"next");
        assert!(reading.await.unwrap() == expected);
    }

    #[tokio::test]
    async fn a_file_that_shrank_is_an_error() {
        let (_client, server) = pair().await;
        let file = Arc::new(tempfile::tempfile().unwrap());
        let mut outbox = Outbox::default();
        outbox.push(vec![Segment::File {
            file,
            position: 0,
            len: 10,
        }]);
        let error = outbox.flush(&server).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
