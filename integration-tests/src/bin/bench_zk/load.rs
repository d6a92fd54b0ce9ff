//! Shell: many connections on one thread: requests go out in batches as answers come in.
//!
//! One epoll, no runtime, frames written by hand: it must cost less than any server it measures.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use crate::histogram::Histogram;
use crate::wire::{self, Answer};

/// Longer than any pass, so that nobody need ping.
pub const SESSION_TIMEOUT_MS: i32 = 40_000;
/// Without any answer for so long a pass has failed.
const STALL_LIMIT: Duration = Duration::from_secs(60);
/// Space to read into.
const READ_BYTES: usize = 256 << 10;
/// A negative xid would mean something else.
const LAST_XID: i32 = i32::MAX - 1;

/// Writes the next request of a connection.
pub type Source<'a> = dyn FnMut(i32, &mut Vec<u8>) + 'a;

/// One session.
#[derive(Debug)]
pub struct Link {
    stream: TcpStream,
    unsent: Vec<u8>,
    unread: Vec<u8>,
    sent: VecDeque<(Instant, u64)>,
    xid: i32,
    /// Its id and password.
    pub session: (i64, [u8; 16]),
}

/// How long a pass lasts.
#[derive(Debug, Clone, Copy)]
pub enum Limit {
    /// Until the time is over.
    Time(Duration),
    /// Until so many operations are answered.
    Operations(u64),
}

/// What a pass showed.
#[derive(Debug)]
pub struct Pass {
    /// Operations answered.
    pub operations: u64,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// Of each operation.
    pub latencies: Histogram,
}

/// Connections of one thread.
#[derive(Debug)]
pub struct Load {
    epoll: OwnedFd,
    links: Vec<Link>,
    buffer: Vec<u8>,
}

impl Link {
    /// Opens a connection and sends the request for a session; [`Link::finish_connect`] waits for the answer.
    pub fn begin_connect(address: SocketAddr, session: (i64, [u8; 16])) -> Result<Self> {
        let mut stream = TcpStream::connect(address).context("cannot connect")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(STALL_LIMIT))?;
        let mut request = Vec::new();
        wire::put_connect(SESSION_TIMEOUT_MS, session, &mut request);
        stream.write_all(&request)?;
        Ok(Self {
            stream,
            unsent: Vec::new(),
            unread: Vec::new(),
            sent: VecDeque::new(),
            xid: 0,
            session,
        })
    }

    /// Waits for the session.
    pub fn finish_connect(&mut self) -> Result<()> {
        let frame = self
            .read_frame()
            .context("no answer to a request for a session")?;
        self.session = wire::session_of(&frame).context("the session was refused")?;
        Ok(())
    }

    /// Sends one request, written by `put`, and waits for its reply.
    pub fn call(&mut self, put: impl FnOnce(i32, &mut Vec<u8>)) -> Result<()> {
        self.send(put)?;
        self.wait_for_reply()
    }

    /// Sends one request, written by `put`.
    pub fn send(&mut self, put: impl FnOnce(i32, &mut Vec<u8>)) -> Result<()> {
        self.xid += 1;
        let mut request = Vec::new();
        put(self.xid, &mut request);
        Ok(self.stream.write_all(&request)?)
    }

    /// Waits for one reply; events on the way are passed over.
    pub fn wait_for_reply(&mut self) -> Result<()> {
        loop {
            let mut frame = vec![0; wire::LENGTH_BYTES];
            let body = self.read_frame()?;
            frame.copy_from_slice(&u32::try_from(body.len())?.to_be_bytes());
            frame.extend_from_slice(&body);
            match wire::next_answer(&frame) {
                Some((Answer::Reply { error: 0, .. }, _)) => return Ok(()),
                Some((Answer::Reply { error, .. }, _)) => bail!("a request failed with {error}"),
                _ => {}
            }
        }
    }

    fn read_frame(&mut self) -> Result<Vec<u8>> {
        let mut length = [0; wire::LENGTH_BYTES];
        self.stream.read_exact(&mut length)?;
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length))?];
        self.stream.read_exact(&mut frame)?;
        Ok(frame)
    }

    /// Sends what is waiting; what the socket does not take stays.
    fn flush(&mut self) -> Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    fn put_requests(&mut self, count: u64, now: Instant, source: &mut Source<'_>) {
        for _ in 0..count {
            self.xid = if self.xid == LAST_XID {
                1
            } else {
                self.xid + 1
            };
            source(self.xid, &mut self.unsent);
        }
        if count > 0 {
            self.sent.push_back((now, count));
        }
    }

    /// Counts the answers that are there into `latencies`; returns replies and events.
    fn take_answers(&mut self, now: Instant, latencies: &mut Histogram) -> Result<(u64, u64)> {
        let (mut at, mut replies, mut events) = (0, 0, 0);
        while let Some((answer, length)) = wire::next_answer(&self.unread[at..]) {
            at += length;
            match answer {
                Answer::Event => events += 1,
                Answer::Reply { error: 0, .. } => replies += 1,
                Answer::Reply { xid, error } => bail!("request {xid} failed with {error}"),
            }
        }
        self.unread.drain(..at);
        let mut left = replies;
        while left > 0 {
            let (since, waiting) = self
                .sent
                .front_mut()
                .context("an answer that nobody asked for")?;
            let part = left.min(*waiting);
            latencies.add(nanos(now - *since), part);
            *waiting -= part;
            left -= part;
            if *waiting == 0 {
                self.sent.pop_front();
            }
        }
        Ok((replies, events))
    }
}

impl Load {
    /// Opens so many sessions.
    pub fn connect(address: SocketAddr, count: usize) -> Result<Self> {
        let mut links = Vec::with_capacity(count);
        for _ in 0..count {
            let mut link = Link::begin_connect(address, (0, [0; 16]))?;
            link.finish_connect()?;
            links.push(link);
        }
        Self::over(links)
    }

    /// Takes sessions that are open.
    pub fn over(links: Vec<Link>) -> Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        for (number, link) in links.iter().enumerate() {
            link.stream.set_nonblocking(true)?;
            let data = EventData::new_u64(number as u64);
            epoll::add(&epoll, &link.stream, data, EventFlags::IN)?;
        }
        Ok(Self {
            epoll,
            links,
            buffer: vec![0; READ_BYTES],
        })
    }

    /// Keeps `depth` requests of each session on their way until the limit, then waits for what is left.
    pub fn run(&mut self, depth: u64, limit: Limit, source: &mut Source<'_>) -> Result<Pass> {
        let begun = Instant::now();
        let mut pass = Pass {
            operations: 0,
            elapsed: Duration::ZERO,
            latencies: Histogram::default(),
        };
        let most = match limit {
            Limit::Operations(count) => count,
            Limit::Time(_) => u64::MAX,
        };
        let mut asked = 0;
        for link in &mut self.links {
            let count = depth.min(most - asked);
            link.put_requests(count, Instant::now(), source);
            asked += count;
            link.flush()?;
        }
        while pass.operations < asked {
            self.each_ready(STALL_LIMIT, |link, now| {
                let (replies, _) = link.take_answers(now, &mut pass.latencies)?;
                pass.operations += replies;
                let over = matches!(limit, Limit::Time(time) if now - begun >= time);
                if !over {
                    let count = replies.min(most - asked);
                    link.put_requests(count, now, source);
                    asked += count;
                }
                link.flush()
            })?;
        }
        pass.elapsed = begun.elapsed();
        Ok(pass)
    }

    /// One request of each session, all at once; waits for all replies.
    pub fn each_once(&mut self, source: &mut Source<'_>) -> Result<Pass> {
        let count = self.links.len() as u64;
        self.run(1, Limit::Operations(count), source)
    }

    /// Waits for so many events.
    pub fn wait_for_events(&mut self, count: u64) -> Result<()> {
        let mut seen = 0;
        let mut ignored = Histogram::default();
        while seen < count {
            self.each_ready(STALL_LIMIT, |link, now| {
                seen += link.take_answers(now, &mut ignored)?.1;
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Waits until something is there to be read, reads it, and hands each such session over.
    fn each_ready(
        &mut self,
        limit: Duration,
        mut handle: impl FnMut(&mut Link, Instant) -> Result<()>,
    ) -> Result<()> {
        let mut ready = Vec::with_capacity(256);
        let limit = Timespec::try_from(limit)?;
        // A socket that took only a part of a batch answers what it took, and is ready again then.
        epoll::wait(&self.epoll, spare_capacity(&mut ready), Some(&limit))?;
        ensure!(!ready.is_empty(), "no answer for {} s", limit.tv_sec);
        for event in ready {
            let link = &mut self.links[usize::try_from(event.data.u64())?];
            match link.stream.read(&mut self.buffer) {
                Ok(0) => bail!("the server closed a connection"),
                Ok(count) => link.unread.extend_from_slice(&self.buffer[..count]),
                Err(e) if e.kind() == ErrorKind::WouldBlock => continue,
                Err(e) => return Err(e.into()),
            }
            handle(link, Instant::now())?;
        }
        Ok(())
    }

    /// Ends the sessions, so that the server has no more to do for them.
    pub fn close(mut self) -> Result<()> {
        for link in &mut self.links {
            link.stream.set_nonblocking(false)?;
            link.send(wire::put_close)?;
        }
        for link in &mut self.links {
            link.wait_for_reply()?;
        }
        Ok(())
    }
}

impl Pass {
    /// Both one after the other.
    pub fn and(mut self, other: Self) -> Self {
        self.operations += other.operations;
        self.elapsed += other.elapsed;
        self.latencies.add_all(&other.latencies);
        self
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
