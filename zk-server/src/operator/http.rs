//! Shell: a small HTTP/1.1 server for the few clients that monitoring has.
//!
//! It lives on a thread of its own with its own loop, so whatever its clients do costs the
//! server's loop nothing. Requests are bounded in size and time, connections in number. Answers
//! to wrong requests are those of the Jetty inside ZooKeeper.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Buf, BytesMut};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::LocalSet;
use tokio::time::timeout;

use crate::operator::java_text;
use crate::operator::stream::Stream;

/// Bytes that the head of a request may have, as in Jetty.
const HEAD_LIMIT_BYTES: usize = 8 << 10;

/// Header lines that a request may have.
const HEADERS: usize = 100;

/// A body longer than this is not read; the connection ends after the answer.
const BODY_LIMIT_BYTES: usize = 64 << 10;

/// How long, and for how many bytes, a client is listened to that was told of a wrong request.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_LIMIT_BYTES: usize = 1 << 20;

/// Connections at once; more wait to be accepted.
const CONNECTIONS: usize = 100;

/// A request that has been understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET` and so on.
    pub method: String,
    /// The path, decoded, without parameters and with `..` resolved.
    pub path: String,
    /// Names and values of the query, decoded, in order.
    pub query: Vec<(String, String)>,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The words after it.
    pub reason: &'static str,
    /// `Content-Type`; none if there is nothing to describe.
    pub content_type: Option<&'static str>,
    /// More header lines, each with its end of line.
    pub headers: &'static str,
    /// The body.
    pub body: String,
}

impl Response {
    /// A good answer.
    pub fn ok(content_type: Option<&'static str>, body: String) -> Self {
        Self {
            status: 200,
            reason: "OK",
            content_type,
            headers: "",
            body,
        }
    }

    /// An answer without a body.
    pub fn empty(status: u16, reason: &'static str) -> Self {
        Self {
            status,
            reason,
            content_type: None,
            headers: "",
            body: String::new(),
        }
    }

    /// A page that says what is wrong.
    pub fn error(status: u16, reason: &'static str, path: &str, message: &str) -> Self {
        let path = escaped(path);
        Self {
            status,
            reason,
            content_type: Some("text/html;charset=utf-8"),
            headers: "Cache-Control: must-revalidate,no-cache,no-store\r\n",
            body: format!(
                "<html>\n<head>\n<title>Error {status} {message}</title>\n</head>\n<body><h2>HTTP ERROR {status} {message}</h2>\n<table>\n<tr><th>URI:</th><td>{path}</td></tr>\n<tr><th>STATUS:</th><td>{status}</td></tr>\n<tr><th>MESSAGE:</th><td>{message}</td></tr>\n</table>\n</body>\n</html>\n"
            ),
        }
    }
}

/// Text as it may stand in a page.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// What answers requests.
pub trait Service: 'static {
    /// Answers one.
    fn answer(&self, request: Request) -> impl Future<Output = Response>;

    /// A client came without TLS where there is TLS too.
    fn insecure(&self) {}
}

/// Where and how long.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// Name of the thread.
    pub thread: &'static str,
    /// How long a client may take for a request, or to read an answer, or do nothing.
    pub idle: Duration,
    /// TLS, if it is spoken.
    pub tls: Option<HttpTls>,
}

/// TLS on a port for HTTP.
#[derive(Clone, Debug)]
pub struct HttpTls {
    /// For the sessions.
    pub config: Arc<rustls::ServerConfig>,
    /// Whether nothing else is spoken there.
    pub only: bool,
}

/// The first byte of a TLS connection: a handshake record (RFC 8446, section 5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// Serves a listener on a thread of its own until the process ends. The service is made on that
/// thread.
///
/// # Errors
/// When the thread cannot be started.
pub fn serve<S: Service>(
    listener: TcpListener,
    options: HttpOptions,
    service: impl FnOnce() -> S + Send + 'static,
) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    let thread = std::thread::Builder::new()
        .name(options.thread.to_owned())
        .stack_size(512 << 10);
    thread.spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        match runtime {
            Ok(runtime) => {
                let accepting = accept(listener, options, Rc::new(service()));
                LocalSet::new().block_on(&runtime, accepting);
            }
            Err(error) => tracing::error!("{} could not be started: {error}", options.thread),
        }
    })?;
    Ok(())
}

async fn accept<S: Service>(listener: TcpListener, options: HttpOptions, service: Rc<S>) {
    const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!("{} could not be started: {error}", options.thread);
            return;
        }
    };
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (service, options) = (service.clone(), options.clone());
                tokio::task::spawn_local(async move {
                    let opening = open(stream, options.tls, &*service);
                    if let Ok(Ok(stream)) = timeout(options.idle, opening).await {
                        connection(stream, peer, options.idle, &*service).await;
                    }
                    drop(place);
                });
            }
            // Such as too many open files: others have to go first.
            Err(_) => tokio::time::sleep(PAUSE_AFTER_ERROR).await,
        }
    }
}

/// Finds out what a connection speaks.
async fn open<S: Service>(
    socket: TcpStream,
    tls: Option<HttpTls>,
    service: &S,
) -> std::io::Result<Stream> {
    let Some(tls) = tls else {
        return Ok(Stream::plain(socket));
    };
    let mut first = [0];
    if !tls.only && (socket.peek(&mut first).await? == 0 || first != [HANDSHAKE_RECORD]) {
        service.insecure();
        return Ok(Stream::plain(socket));
    }
    Stream::secure(socket, tls.config)
}

/// Serves one connection to its end.
async fn connection<S: Service>(mut stream: Stream, peer: SocketAddr, idle: Duration, service: &S) {
    let mut buffer = BytesMut::with_capacity(HEAD_LIMIT_BYTES);
    loop {
        let head = match timeout(idle, read_head(&mut stream, &mut buffer)).await {
            Ok(Ok(Some(head))) => head,
            // The client has gone, or does nothing.
            Ok(Ok(None)) | Err(_) => return,
            Ok(Err(bad)) => {
                tracing::debug!("{peer}: {} {}", bad.status, bad.reason);
                let _ = timeout(idle, write(&mut stream, &bad, true, false)).await;
                let _ = timeout(LINGER, linger(&mut stream, &mut buffer)).await;
                return;
            }
        };
        let last = head.close || !head.body_is_read(&mut stream, &mut buffer, idle).await;
        let without_body = head.request.method == "HEAD";
        let response = service.answer(head.request).await;
        let written = timeout(idle, write(&mut stream, &response, last, without_body)).await;
        if last || !matches!(written, Ok(Ok(()))) {
            let _ = timeout(LINGER, stream.shutdown()).await;
            return;
        }
    }
}

/// Ends a connection whose client may still be sending: closed at once, the answer would be lost.
async fn linger(stream: &mut Stream, buffer: &mut BytesMut) {
    let _ = stream.shutdown().await;
    let mut passed = 0;
    while passed < LINGER_LIMIT_BYTES {
        buffer.clear();
        match stream.read_buf(buffer).await {
            Ok(count) if count > 0 => passed += count,
            _ => return,
        }
    }
}

/// The beginning of a request.
#[derive(Debug)]
struct Head {
    request: Request,
    close: bool,
    /// `None`: its end cannot be told.
    body_bytes: Option<usize>,
}

impl Head {
    /// Passes over the body; false if it is too long for that.
    async fn body_is_read(
        &self,
        stream: &mut Stream,
        buffer: &mut BytesMut,
        idle: Duration,
    ) -> bool {
        let Some(length) = self.body_bytes.filter(|length| *length <= BODY_LIMIT_BYTES) else {
            return false;
        };
        let reading = async {
            while buffer.len() < length {
                if !matches!(stream.read_buf(buffer).await, Ok(count) if count > 0) {
                    return false;
                }
            }
            buffer.advance(length);
            true
        };
        timeout(idle, reading).await.unwrap_or(false)
    }
}

/// Reads until a request's head is complete; `None` if the client goes before.
async fn read_head(stream: &mut Stream, buffer: &mut BytesMut) -> Result<Option<Head>, Response> {
    loop {
        if !buffer.is_empty()
            && let Some((head, length)) = parse(buffer)?
        {
            buffer.advance(length);
            return Ok(Some(head));
        }
        match stream.read_buf(buffer).await {
            Ok(0) | Err(_) => return Ok(None),
            Ok(_) => {}
        }
    }
}

/// Jetty's answer to what is no proper request.
fn bad(status: u16, reason: &'static str) -> Response {
    Response {
        status,
        reason,
        content_type: Some("text/html;charset=iso-8859-1"),
        headers: "",
        body: format!("<h1>Bad Message {status}</h1><pre>reason: {reason}</pre>"),
    }
}

/// The head at the beginning of `bytes` and its length, or `None` if it is not complete.
fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, Response> {
    let mut lines = [httparse::EMPTY_HEADER; HEADERS];
    let mut parsed = httparse::Request::new(&mut lines);
    let status = parsed.parse(bytes);
    let length = match status {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_LIMIT_BYTES => return Ok(None),
        Ok(httparse::Status::Partial) if parsed.path.is_none() => {
            return Err(bad(414, "URI Too Long"));
        }
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Err(bad(431, "Request Header Fields Too Large"));
        }
        Err(_) => return Err(wrong_request(bytes)),
    };
    if length > HEAD_LIMIT_BYTES {
        return Err(bad(431, "Request Header Fields Too Large"));
    }
    let header = |name: &str| {
        parsed
            .headers
            .iter()
            .find(|line| line.name.eq_ignore_ascii_case(name))
            .map(|line| String::from_utf8_lossy(line.value).trim().to_owned())
    };
    let old = parsed.version == Some(0);
    if !old && header("Host").is_none() {
        return Err(bad(400, "No Host"));
    }
    let connection = header("Connection").unwrap_or_default().to_lowercase();
    let close = connection.contains("close")
        || old && !connection.contains("keep-alive")
        // Whoever waits for leave to send a body gets the answer instead.
        || header("Expect").is_some();
    let body_bytes = match (header("Transfer-Encoding"), header("Content-Length")) {
        (Some(_), _) => None,
        (None, None) => Some(0),
        (None, Some(length)) => match length.parse() {
            Ok(length) => Some(length),
            Err(_) => return Err(bad(400, "Invalid Content-Length Value")),
        },
    };
    let head = Head {
        request: Request::of(
            parsed.method.unwrap_or_default(),
            parsed.path.unwrap_or_default(),
        ),
        close,
        body_bytes,
    };
    Ok(Some((head, length)))
}

fn wrong_request(bytes: &[u8]) -> Response {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or(bytes);
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    match words.as_slice() {
        [_, target] if target.starts_with(b"/") => bad(505, "HTTP/0.9 not supported"),
        [_, _, version] if version.starts_with(b"HTTP/2") => bad(426, "Upgrade Required"),
        [_, _, version] if !version.starts_with(b"HTTP/1.") => bad(400, "Unknown Version"),
        _ => bad(400, "Bad Request"),
    }
}

impl Request {
    /// The parts of a target such as `/a/b;x=1?c=d` or `http://host/a/b`.
    fn of(method: &str, target: &str) -> Self {
        let without_scheme = target
            .split_once("://")
            .filter(|(scheme, _)| !scheme.contains(['/', '?']))
            .map(|(_, rest)| rest.find('/').map_or("/", |at| &rest[at..]));
        let target = without_scheme.unwrap_or(target);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut parts: VecDeque<String> = VecDeque::new();
        for part in path.split('/') {
            match part.split(';').next().unwrap_or(part) {
                "." => {}
                ".." => {
                    parts.pop_back();
                }
                part => parts.push_back(decoded(part, false)),
            }
        }
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        Self {
            method: method.to_owned(),
            path: parts.make_contiguous().join("/"),
            query: pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(name, value)| (decoded(name, true), decoded(value, true)))
                .collect(),
        }
    }

    /// The first value of a name in the query.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Text with `%xx`, and if asked for `+`, undone. What is not UTF-8 is taken as Latin-1.
fn decoded(text: &str, plus_is_blank: bool) -> String {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut bytes = Vec::with_capacity(text.len());
    let raw = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = raw.get(at) {
        at += 1;
        match byte {
            b'%' => match (digit(raw.get(at)), digit(raw.get(at + 1))) {
                (Some(high), Some(low)) => {
                    bytes.push((high << 4 | low) as u8);
                    at += 2;
                }
                _ => bytes.push(b'%'),
            },
            b'+' if plus_is_blank => bytes.push(b' '),
            byte => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes)
        .unwrap_or_else(|wrong| wrong.into_bytes().into_iter().map(char::from).collect())
}

async fn write(
    stream: &mut Stream,
    response: &Response,
    last: bool,
    without_body: bool,
) -> std::io::Result<()> {
    let mut text = format!("HTTP/1.1 {} {}\r\n", response.status, response.reason);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let date = java_text::http_date(i64::try_from(now.as_millis()).unwrap_or_default());
    let _ = write!(text, "Date: {date}\r\n{}", response.headers);
    if let Some(content_type) = response.content_type {
        let _ = write!(text, "Content-Type: {content_type}\r\n");
    }
    let _ = write!(text, "Content-Length: {}\r\n", response.body.len());
    if last {
        text.push_str("Connection: close\r\n");
    }
    if stream.is_secure() {
        // As long as ZooKeeper says.
        text.push_str("Strict-Transport-Security: max-age=86400; includeSubDomains\r\n");
    }
    let _ = write!(text, "Server: Tandem/{}\r\n\r\n", env!("CARGO_PKG_VERSION"));
    if !without_body {
        text.push_str(&response.body);
    }
    stream.write_all(text.as_bytes()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> (String, Vec<(String, String)>) {
        let request = Request::of("GET", text);
        (request.path, request.query)
    }

    #[test]
    fn targets_are_understood_as_jetty_does() {
        for (text, path) in [
            ("/commands/%72uok", "/commands/ruok"),
            ("http://x/commands/ruok", "/commands/ruok"),
            ("http://x", "/"),
            ("/commands/../commands/ruok", "/commands/ruok"),
            ("/commands//ruok", "/commands//ruok"),
            ("/commands/ruok;jsessionid=3", "/commands/ruok"),
            ("/commands/%e4%bd", "/commands/ä½"),
            ("/%", "/%"),
        ] {
            assert_eq!(target(text).0, path, "{text}");
        }
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let query = vec![pair("a", " 4"), pair("a", "b"), pair("c", "")];
        assert_eq!(target("/?a=+4&a=%62&&c").1, query);
    }

    fn refused(text: &[u8]) -> u16 {
        match parse(text) {
            Err(response) => response.status,
            Ok(Some(_)) => 200,
            Ok(None) => 0,
        }
    }

    proptest::proptest! {
        /// Whatever comes is understood, refused or waited for.
        #[test]
        fn any_bytes_have_an_end(
            begin in "(GET|POST|) ?(/|http://)[ -~]{0,40}",
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
            cut in 0_usize..260,
        ) {
            let mut text = [begin.as_bytes(), &bytes].concat();
            text.truncate(cut);
            if let Ok(Some((_, length))) = parse(&text) {
                proptest::prop_assert!(length <= text.len());
            }
            let _ = Request::of("GET", &String::from_utf8_lossy(&text));
        }
    }

    #[test]
    fn wrong_requests_are_refused_as_jetty_does() {
        let long = [b"GET /", &[b'a'; 9000][..], b" HTTP/1.1\r\n\r\n"].concat();
        let wide = [b"GET / HTTP/1.1\r\nX: ", &[b'a'; 9000][..]].concat();
        for (text, status) in [
            (&b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n"[..], 200),
            (b"GET /x HTTP/1.1\nHost: x\n\n", 200),
            (b"GET /x HTTP/1.0\r\n\r\n", 200),
            (b"GET /x HTTP/1.1\r\n\r\n", 400),
            (b"GET /x HTTP/1.1\r\nHost", 0),
            (b"GET /x HTTP/2.0\r\nHost: x\r\n\r\n", 426),
            (b"GET /x\r\n\r\n", 505),
            (b"GARBAGE\r\n\r\n", 400),
            (b"\x16\x03\x01\x02\x00\x01", 400),
            (&wide, 431),
            (&long, 431),
            (&long[..9000], 414),
        ] {
            let shown = String::from_utf8_lossy(&text[..text.len().min(40)]);
            assert_eq!(refused(text), status, "{shown}");
        }
    }
}
