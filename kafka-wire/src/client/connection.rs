//! Shell: one outbound connection; requests are pipelined and answered in order.
//!
//! A request is encoded and queued before `send` returns its future, so the order of calls is the
//! order on the wire. One task writes what is queued, another reads answers and hands each to the
//! oldest request that waits. When either fails, all waiting requests fail with the reason.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;
use common::net::frame::{FrameError, FrameReader};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::api_key::ApiKey;
use crate::header::{RequestHeader, ResponseHeader};
use crate::message::{Message, Request};
use crate::reader::Reader;
use crate::wire::WireError;
use crate::writer::{Segment, Writer};

/// Requests that may wait for their answer on one connection; a caller that has more outstanding
/// is broken.
const MAX_IN_FLIGHT: usize = 10_000;
/// Segments up to this many bytes in all are joined into one write.
const JOINED_BYTES: usize = 64 << 10;

/// Why a request got no answer.
#[derive(Debug, Clone, Error)]
pub enum ConnectionError {
    /// No connection could be made.
    #[error("could not connect to {address}: {reason}")]
    Connect {
        /// Host and port.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// The peer closed the connection, or it broke.
    #[error("connection to {address} was lost: {reason}")]
    Lost {
        /// Host and port.
        address: String,
        /// How it ended.
        reason: String,
    },
    /// No answer came in time; the connection is still open.
    #[error("no answer from {address} to {api} within {timeout_ms} ms")]
    Timeout {
        /// Host and port.
        address: String,
        /// Name of the API.
        api: &'static str,
        /// The caller's limit.
        timeout_ms: u128,
    },
    /// The request cannot be written, or the answer cannot be read.
    #[error("{message} version {version}: {source}")]
    Wire {
        /// Name of the message.
        message: &'static str,
        /// Its version.
        version: i16,
        /// What is wrong with it.
        source: WireError,
    },
    /// Too many requests wait on this connection.
    #[error("more than {MAX_IN_FLIGHT} requests wait for {address}")]
    TooManyInFlight {
        /// Host and port.
        address: String,
    },
}

/// How to connect.
#[derive(Debug, Clone)]
pub struct ConnectionOptions {
    /// Sent with each request.
    pub client_id: ByteString,
    /// Limit for making the connection.
    pub connect_timeout: Duration,
    /// The largest answer that is read, in bytes.
    pub max_frame_bytes: usize,
}

impl Default for ConnectionOptions {
    fn default() -> Self {
        Self {
            client_id: ByteString::new(),
            connect_timeout: Duration::from_secs(10),
            max_frame_bytes: 100 << 20,
        }
    }
}

/// A connection that may be cloned; it closes when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Connection {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    address: String,
    client_id: ByteString,
    state: Arc<Mutex<State>>,
    tasks: [AbortHandle; 2],
}

impl Drop for Shared {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// What the callers and the two tasks share; locked for moments only.
#[derive(Debug)]
struct State {
    next_correlation_id: i32,
    waiting: VecDeque<Waiting>,
    queue: mpsc::UnboundedSender<Vec<Segment>>,
    /// Set once, when the connection has ended.
    ended: Option<ConnectionError>,
}

#[derive(Debug)]
struct Waiting {
    correlation_id: i32,
    answer: oneshot::Sender<Result<Bytes, ConnectionError>>,
}

impl State {
    fn end(&mut self, error: ConnectionError) {
        let error = self.ended.get_or_insert(error).clone();
        for waiting in self.waiting.drain(..) {
            // A caller that gave up no longer listens.
            let _ = waiting.answer.send(Err(error.clone()));
        }
    }
}

impl Connection {
    /// Connects to `host:port`.
    ///
    /// # Errors
    /// [`ConnectionError::Connect`].
    pub async fn connect(
        address: &str,
        options: &ConnectionOptions,
    ) -> Result<Self, ConnectionError> {
        let failed = |reason: String| ConnectionError::Connect {
            address: address.into(),
            reason,
        };
        let stream = timeout(options.connect_timeout, TcpStream::connect(address))
            .await
            .map_err(|_| {
                failed(format!(
                    "no answer in {} ms",
                    options.connect_timeout.as_millis()
                ))
            })?
            .map_err(|error| failed(error.to_string()))?;
        stream
            .set_nodelay(true)
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self::over(stream, address, options))
    }

    /// Uses a stream that is already open, e.g. one with TLS on it.
    pub fn over<S>(stream: S, address: &str, options: &ConnectionOptions) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (read_half, write_half) = tokio::io::split(stream);
        let (queue, queued) = mpsc::unbounded_channel();
        let state = Arc::new(Mutex::new(State {
            next_correlation_id: 0,
            waiting: VecDeque::new(),
            queue,
            ended: None,
        }));
        let lost = Lost {
            address: address.to_owned(),
            state: Arc::clone(&state),
        };
        let reader = tokio::spawn(read_answers(
            read_half,
            options.max_frame_bytes,
            lost.clone(),
        ));
        let writer = tokio::spawn(write_queued(write_half, queued, lost));
        let shared = Shared {
            address: address.to_owned(),
            client_id: options.client_id.clone(),
            state,
            tasks: [reader.abort_handle(), writer.abort_handle()],
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Host and port of the peer.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.shared.address
    }

    /// Why the connection has ended, if it has.
    #[must_use]
    pub fn ended(&self) -> Option<ConnectionError> {
        self.shared.state.lock().ended.clone()
    }

    /// Queues a request at once; the future waits for its answer.
    ///
    /// # Errors
    /// [`ConnectionError`]; after a timeout the answer is thrown away when it comes.
    pub fn send<R: Request>(
        &self,
        request: &R,
        version: i16,
        limit: Duration,
    ) -> impl Future<Output = Result<R::Response, ConnectionError>> + Send + use<R> {
        let answer = self.send_raw(request, version, limit);
        async move {
            let mut r = Reader::new(answer.await?);
            let wire = |source| ConnectionError::Wire {
                message: R::Response::NAME,
                version,
                source,
            };
            R::Response::decode(&mut r, version).map_err(wire)
        }
    }

    /// As [`Connection::send`], but leaves the answer's body undecoded.
    ///
    /// # Errors
    /// [`ConnectionError`].
    pub fn send_raw<R: Request>(
        &self,
        request: &R,
        version: i16,
        limit: Duration,
    ) -> impl Future<Output = Result<Bytes, ConnectionError>> + Send + use<R> {
        let (sender, receiver) = oneshot::channel();
        let queued = self.queue(request, version, Some(sender));
        let address = self.shared.address.clone();
        async move {
            let api_key = queued?;
            let Ok(answer) = timeout(limit, receiver).await else {
                let timeout_ms = limit.as_millis();
                return Err(ConnectionError::Timeout {
                    address,
                    api: api_key.name(),
                    timeout_ms,
                });
            };
            let closed = ConnectionError::Lost {
                address,
                reason: "it was closed".into(),
            };
            let mut r = Reader::new(answer.unwrap_or(Err(closed))?);
            let wire = |source| ConnectionError::Wire {
                message: R::Response::NAME,
                version,
                source,
            };
            ResponseHeader::decode(&mut r, api_key, version).map_err(wire)?;
            Ok(r.rest())
        }
    }

    /// Queues a request that the peer does not answer: a produce with acks=0.
    ///
    /// # Errors
    /// [`ConnectionError`].
    pub fn send_unanswered<R: Request>(
        &self,
        request: &R,
        version: i16,
    ) -> Result<(), ConnectionError> {
        self.queue(request, version, None).map(|_| ())
    }

    fn queue<R: Request>(
        &self,
        request: &R,
        version: i16,
        answer: Option<oneshot::Sender<Result<Bytes, ConnectionError>>>,
    ) -> Result<ApiKey, ConnectionError> {
        let wire = |source| ConnectionError::Wire {
            message: R::NAME,
            version,
            source,
        };
        let address = &self.shared.address;
        let api_key = ApiKey::from_code(R::API_KEY)
            .ok_or_else(|| wire(WireError::UnknownApiKey(R::API_KEY)))?;
        // The body is encoded outside of the lock, the short header within.
        let mut body = Writer::new();
        request.encode(&mut body, version).map_err(wire)?;
        let mut state = self.shared.state.lock();
        if let Some(error) = &state.ended {
            return Err(error.clone());
        }
        if state.waiting.len() >= MAX_IN_FLIGHT {
            return Err(ConnectionError::TooManyInFlight {
                address: address.clone(),
            });
        }
        let correlation_id = state.next_correlation_id;
        let header = RequestHeader {
            api_key,
            api_version: version,
            correlation_id,
            client_id: Some(self.shared.client_id.clone()),
        };
        let frame = frame(&header, body).map_err(wire)?;
        state.next_correlation_id = correlation_id.wrapping_add(1);
        if let Some(answer) = answer {
            state.waiting.push_back(Waiting {
                correlation_id,
                answer,
            });
        }
        if state.queue.send(frame).is_err() {
            let reason = "it was closed".to_owned();
            state.end(ConnectionError::Lost {
                address: address.clone(),
                reason,
            });
        }
        Ok(api_key)
    }
}

fn frame(header: &RequestHeader, body: Writer) -> Result<Vec<Segment>, WireError> {
    let mut w = Writer::new();
    header.encode(&mut w)?;
    for segment in body.into_segments() {
        match segment {
            Segment::Bytes(bytes) => w.raw_shared(&bytes),
            Segment::File { .. } => return Err(WireError::FileRecords),
        }
    }
    w.into_frame()
}

/// What a task needs to end the connection.
#[derive(Clone)]
struct Lost {
    address: String,
    state: Arc<Mutex<State>>,
}

impl Lost {
    fn because(&self, reason: impl ToString) {
        let address = self.address.clone();
        let error = ConnectionError::Lost {
            address,
            reason: reason.to_string(),
        };
        self.state.lock().end(error);
    }
}

async fn write_queued(
    mut stream: impl AsyncWrite + Unpin,
    mut queued: mpsc::UnboundedReceiver<Vec<Segment>>,
    lost: Lost,
) {
    let mut joined = BytesMut::new();
    while let Some(frame) = queued.recv().await {
        let mut frames = vec![frame];
        let mut bytes: usize = frames[0].iter().map(Segment::len).sum();
        while bytes < JOINED_BYTES
            && let Ok(next) = queued.try_recv()
        {
            bytes += next.iter().map(Segment::len).sum::<usize>();
            frames.push(next);
        }
        if let Err(error) = write_frames(&mut stream, &mut joined, frames).await {
            return lost.because(error);
        }
    }
}

async fn write_frames(
    stream: &mut (impl AsyncWrite + Unpin),
    joined: &mut BytesMut,
    frames: Vec<Vec<Segment>>,
) -> io::Result<()> {
    for segment in frames.into_iter().flatten() {
        // File segments were refused when the frame was made.
        let Segment::Bytes(bytes) = segment else {
            continue;
        };
        if joined.len() + bytes.len() <= JOINED_BYTES {
            joined.put_slice(&bytes);
            continue;
        }
        stream.write_all_buf(joined).await?;
        joined.clear();
        stream.write_all(&bytes).await?;
    }
    stream.write_all_buf(joined).await?;
    joined.clear();
    stream.flush().await
}

async fn read_answers(mut stream: impl AsyncRead + Unpin, max_frame_bytes: usize, lost: Lost) {
    let mut frames = FrameReader::new(max_frame_bytes);
    loop {
        let frame = match frames.next(&mut stream).await {
            Ok(Some(frame)) => frame,
            Ok(None) => return lost.because("the peer closed it"),
            Err(FrameError::Io(error)) => return lost.because(error),
            Err(error) => return lost.because(error),
        };
        let correlation_id = frame.first_chunk().map(|id| i32::from_be_bytes(*id));
        let waiting = lost.state.lock().waiting.pop_front();
        match (waiting, correlation_id) {
            (Some(waiting), Some(id)) if waiting.correlation_id == id => {
                // A caller that gave up no longer listens.
                let _ = waiting.answer.send(Ok(frame));
            }
            (waiting, id) => {
                let expected = waiting.as_ref().map(|waiting| waiting.correlation_id);
                lost.because(format!(
                    "it answered request {id:?} instead of {expected:?}"
                ));
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, DuplexStream};

    use super::*;
    use crate::message::encode_to_bytes;
    use crate::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
    use crate::messages::metadata::MetadataRequest;

    const LIMIT: Duration = Duration::from_secs(60);

    fn pair() -> (Connection, DuplexStream) {
        let (near, far) = tokio::io::duplex(1 << 20);
        (
            Connection::over(near, "peer:1", &ConnectionOptions::default()),
            far,
        )
    }

    async fn answer(far: &mut DuplexStream, correlation_id: i32, error_code: i16) {
        let body = HeartbeatResponse {
            error_code,
            ..HeartbeatResponse::default()
        };
        let body = encode_to_bytes(&body, 3).unwrap();
        far.write_i32(4 + body.len() as i32).await.unwrap();
        far.write_i32(correlation_id).await.unwrap();
        far.write_all(&body).await.unwrap();
    }

    #[tokio::test]
    async fn answers_go_to_their_requests_in_order() {
        let (connection, mut far) = pair();
        let request = HeartbeatRequest::default();
        let first = connection.send(&request, 3, LIMIT);
        let second = connection.send(&request, 3, LIMIT);
        answer(&mut far, 0, 25).await;
        answer(&mut far, 1, 27).await;
        assert_eq!(second.await.unwrap().error_code, 27);
        assert_eq!(first.await.unwrap().error_code, 25);
        let length = far.read_i32().await.unwrap();
        let mut frame = vec![0; length as usize];
        far.read_exact(&mut frame).await.unwrap();
        assert_eq!(frame[..10], [0, 12, 0, 3, 0, 0, 0, 0, 0, 0]);
    }

    #[tokio::test]
    async fn a_wrong_answer_ends_the_connection() {
        let (connection, mut far) = pair();
        let waiting = connection.send(&HeartbeatRequest::default(), 3, LIMIT);
        answer(&mut far, 9, 0).await;
        assert!(matches!(waiting.await, Err(ConnectionError::Lost { .. })));
        let later = connection
            .send(&HeartbeatRequest::default(), 3, LIMIT)
            .await;
        assert!(matches!(later, Err(ConnectionError::Lost { .. })));
    }

    #[tokio::test]
    async fn a_closed_connection_fails_what_waits() {
        let (connection, far) = pair();
        let waiting = connection.send(&HeartbeatRequest::default(), 3, LIMIT);
        drop(far);
        assert!(matches!(waiting.await, Err(ConnectionError::Lost { .. })));
    }

    #[tokio::test]
    async fn what_cannot_be_encoded_is_said() {
        let (connection, _far) = pair();
        let request = MetadataRequest {
            topics: None,
            ..MetadataRequest::default()
        };
        let error = connection.send(&request, 0, LIMIT).await.unwrap_err();
        assert!(matches!(
            error,
            ConnectionError::Wire {
                message: "MetadataRequest",
                ..
            }
        ));
        assert!(connection.ended().is_none());
    }
}
