//! Shell: one client's socket: bytes in, frames to the pipeline, replies out.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use common::net::frame::{FrameError, FrameReader};
use tokio::io::Interest;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::operator::facts::Facts;
use crate::operator::four_letter;
use crate::pipeline::clients::{Link, Phase};
use crate::pipeline::commit::Commit;
use crate::pipeline::run::Pipeline;
use crate::pipeline::transport::Transport;
use crate::state::watches::ConnectionId;

/// Frames handled before other connections get their turn.
const FRAMES_IN_A_ROW: usize = 256;

/// What all connections share.
#[derive(Debug)]
pub struct Server<C> {
    /// The state and the clients.
    pub pipeline: RefCell<Pipeline<C>>,
    /// What four-letter words need to know besides.
    pub operator: Facts,
    /// Largest frame in bytes.
    pub max_frame_bytes: usize,
    /// Whether requests in process, or their bytes, are limited.
    pub throttles: bool,
    /// How long a connection may be without a session.
    pub sessionless_timeout: Duration,
    /// Whether sockets get TCP keep-alives.
    pub tcp_keep_alive: bool,
}

/// Why a connection ends.
enum Ending {
    /// The client went away.
    Eof,
    /// Everything was sent and the server is done with it.
    Finished,
    /// Something is wrong.
    Error(String),
}

impl From<FrameError> for Ending {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Io(_) | FrameError::Truncated { .. } => Self::Eof,
            error @ FrameError::Length { .. } => Self::Error(format!("Len error. {error}")),
        }
    }
}

/// Serves one connection to its end.
pub async fn serve<C: Commit>(
    server: Rc<Server<C>>,
    transport: Transport,
    subject: Option<Rc<str>>,
    peer: SocketAddr,
) {
    let link = Rc::new(Link {
        transport,
        subject,
        wake: Notify::new(),
    });
    let accepted = server.pipeline.borrow_mut().accept(link.clone(), peer);
    let id = match accepted {
        Ok(id) => id,
        Err(refusal) => {
            tracing::warn!("{refusal}");
            return;
        }
    };
    let connection = Connection {
        server: &server,
        link: &link,
        id,
    };
    match connection.run().await {
        Ending::Eof => server.pipeline.borrow_mut().stats.connections.dropped += 1,
        Ending::Finished => {}
        Ending::Error(reason) => tracing::warn!("Closing the connection of {peer}: {reason}"),
    }
    link.transport.say_end();
    server.pipeline.borrow_mut().disconnected(id);
}

struct Connection<'a, C> {
    server: &'a Server<C>,
    link: &'a Link,
    id: ConnectionId,
}

impl<C: Commit> Connection<'_, C> {
    async fn run(&self) -> Ending {
        let mut frames = FrameReader::new(self.server.max_frame_bytes);
        let session_by = Instant::now() + self.server.sessionless_timeout;
        let mut asked = false;
        let mut end_by = None;
        if self.link.transport.is_secure()
            // What came with the end of the handshake makes no socket readable any more.
            && let Err(ending) = self.read(&mut frames)
        {
            return ending;
        }
        loop {
            let more = match self.handle(&mut frames, &mut asked) {
                Ok(more) => more,
                Err(ending) => return ending,
            };
            if more {
                tokio::task::yield_now().await;
                continue;
            }
            let Some((interest, closing)) = self.interest() else {
                self.link.wake.notified().await;
                continue;
            };
            if closing {
                end_by.get_or_insert_with(|| Instant::now() + self.server.sessionless_timeout);
            }
            tokio::select! {
                ready = self.link.transport.ready(interest) => {
                    let Ok(ready) = ready else { return Ending::Eof };
                    if ready.is_writable() {
                        self.send();
                    }
                    if ready.is_readable() && interest.is_readable()
                        && let Err(ending) = self.read(&mut frames)
                    {
                        return ending;
                    }
                }
                () = self.link.wake.notified() => {}
                () = tokio::time::sleep_until(end_by.unwrap_or(session_by)), if !asked || closing => {
                    if closing {
                        return Ending::Error("the last answers are not read".to_owned());
                    }
                    let stats = &mut self.server.pipeline.borrow_mut().stats;
                    stats.connections.sessionless_expired += 1;
                    return Ending::Error("no session was asked for in time".to_owned());
                }
            }
        }
    }

    /// What the socket is to be watched for, and whether the connection ends once everything is
    /// sent; `None`: only the pipeline has the next word.
    fn interest(&self) -> Option<(Interest, bool)> {
        let pipeline = self.server.pipeline.borrow();
        let client = pipeline.clients.get(self.id)?;
        let interest = match (client.wants_input(), client.blocked) {
            (true, true) => Interest::READABLE | Interest::WRITABLE,
            (true, false) => Interest::READABLE,
            (false, true) => Interest::WRITABLE,
            (false, false) => return None,
        };
        Some((interest, client.phase == Phase::Closing))
    }

    /// Reads what the socket has.
    fn read(&self, frames: &mut FrameReader) -> Result<(), Ending> {
        match frames.try_fill(|buffer| self.link.transport.try_read_buf(buffer)) {
            Ok(0) => Err(Ending::Eof),
            Ok(_) => self.came(frames),
            Err(FrameError::Io(e)) if e.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Bytes have come: what waited has been looked at, and the next frame's size may be known.
    fn came(&self, frames: &FrameReader) -> Result<(), Ending> {
        if !self.server.throttles {
            return Ok(());
        }
        let mut pipeline = self.server.pipeline.borrow_mut();
        if let Some(client) = pipeline.clients.get_mut(self.id) {
            client.stalled_ms = None;
        }
        match frames.announced() {
            Ok(Some(length)) => pipeline.may_announce(length).map_err(Ending::Error),
            // A four-letter word is no length.
            _ => Ok(()),
        }
    }

    fn send(&self) {
        let mut pipeline = self.server.pipeline.borrow_mut();
        // Marks it, so that the one place that sends does it.
        let _ = pipeline.clients.to_send(self.id);
        pipeline.send_dirty();
    }

    /// Hands the frames that are there to the pipeline; true if there are more.
    fn handle(&self, frames: &mut FrameReader, asked: &mut bool) -> Result<bool, Ending> {
        let mut pipeline = self.server.pipeline.borrow_mut();
        pipeline.look_at_clock();
        let mut handled = 0;
        let mut more = false;
        while let Some(client) = pipeline.clients.get(self.id)
            && client.wants_input()
        {
            if handled == FRAMES_IN_A_ROW {
                more = true;
                break;
            }
            if client.phase == Phase::New
                && let Some(answer) = self.four_letter_word(&mut pipeline, frames.buffered())
            {
                if let Some(client) = pipeline.clients.to_send(self.id) {
                    client.out.extend_from_slice(answer.as_bytes());
                    client.phase = Phase::Closing;
                }
                break;
            }
            if pipeline.stalls(self.id) {
                break;
            }
            let Some(frame) = frames.take()? else { break };
            *asked = true;
            handled += 1;
            pipeline.frame(self.id, frame).map_err(Ending::Error)?;
        }
        pipeline.send_dirty();
        match pipeline.clients.get(self.id) {
            Some(client) if !client.is_finished() => {
                // It may have stopped for a client that did not read, and has read by now.
                let more = more || client.wants_input() && frames.has_frame();
                frames.shrink();
                Ok(more)
            }
            _ => Err(Ending::Finished),
        }
    }

    /// The answer to a four-letter word, if the connection begins with one.
    fn four_letter_word(&self, pipeline: &mut Pipeline<C>, bytes: &[u8]) -> Option<String> {
        let word = four_letter::Word::parse(bytes)?;
        pipeline.count_received(self.id, 0);
        let answer = self.server.operator.answer(word, bytes, pipeline);
        pipeline.stats.packets_sent += 1;
        Some(answer)
    }
}
