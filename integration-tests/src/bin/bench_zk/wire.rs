//! Pure: frames as clients send them, written without a detour, and what the load needs of the answers.

/// Bytes of a frame's length.
pub const LENGTH_BYTES: usize = 4;
/// Bytes of a reply's header: xid, zxid, error.
const HEADER_BYTES: usize = 16;
/// The xid of watch events.
const XID_EVENT: i32 = -1;

const CREATE: i32 = 1;
const EXISTS: i32 = 3;
const GET_DATA: i32 = 4;
const SET_DATA: i32 = 5;
const GET_CHILDREN: i32 = 8;
const ADD_WATCH: i32 = 106;
const CLOSE_SESSION: i32 = -11;

fn put_int(value: i32, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_sized(bytes: &[u8], out: &mut Vec<u8>) {
    put_int(i32::try_from(bytes.len()).unwrap_or(i32::MAX), out);
    out.extend_from_slice(bytes);
}

fn put_frame(xid: i32, op: i32, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    put_int(0, out);
    put_int(xid, out);
    put_int(op, out);
    body(out);
    end_frame(start, out);
}

fn end_frame(start: usize, out: &mut [u8]) {
    let length = i32::try_from(out.len() - start - LENGTH_BYTES).unwrap_or(i32::MAX);
    out[start..start + LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
}

/// Asks for a session; `session` with its password for an old one, (0, zeros) for a new one.
pub fn put_connect(timeout_ms: i32, session: (i64, [u8; 16]), out: &mut Vec<u8>) {
    let start = out.len();
    put_int(0, out);
    put_int(0, out);
    out.extend_from_slice(&0_i64.to_be_bytes());
    put_int(timeout_ms, out);
    out.extend_from_slice(&session.0.to_be_bytes());
    put_sized(&session.1, out);
    out.push(0);
    end_frame(start, out);
}

/// Session id and password from the answer to [`put_connect`] (without its length); none if it was refused.
pub fn session_of(frame: &[u8]) -> Option<(i64, [u8; 16])> {
    let timeout = i32::from_be_bytes(*frame.get(4..)?.first_chunk()?);
    let id = i64::from_be_bytes(*frame.get(8..)?.first_chunk()?);
    let password = *frame.get(20..)?.first_chunk()?;
    (timeout > 0).then_some((id, password))
}

/// Creates a persistent (flags 0) or ephemeral (1) node that is open to all.
pub fn put_create(xid: i32, path: &[u8], data: &[u8], flags: i32, out: &mut Vec<u8>) {
    put_frame(xid, CREATE, out, |out| {
        put_sized(path, out);
        put_sized(data, out);
        put_int(1, out);
        put_int(31, out);
        put_sized(b"world", out);
        put_sized(b"anyone", out);
        put_int(flags, out);
    });
}

/// Sets data, whatever the version.
pub fn put_set(xid: i32, path: &[u8], data: &[u8], out: &mut Vec<u8>) {
    put_frame(xid, SET_DATA, out, |out| {
        put_sized(path, out);
        put_sized(data, out);
        put_int(-1, out);
    });
}

/// Reads data, and leaves a watch if asked.
pub fn put_get(xid: i32, path: &[u8], watch: bool, out: &mut Vec<u8>) {
    put_watchable(xid, GET_DATA, path, watch, out);
}

/// Asks for a Stat.
pub fn put_exists(xid: i32, path: &[u8], out: &mut Vec<u8>) {
    put_watchable(xid, EXISTS, path, false, out);
}

/// Asks for the names of the children.
pub fn put_get_children(xid: i32, path: &[u8], out: &mut Vec<u8>) {
    put_watchable(xid, GET_CHILDREN, path, false, out);
}

fn put_watchable(xid: i32, op: i32, path: &[u8], watch: bool, out: &mut Vec<u8>) {
    put_frame(xid, op, out, |out| {
        put_sized(path, out);
        out.push(u8::from(watch));
    });
}

/// Leaves a persistent watch.
pub fn put_add_watch(xid: i32, path: &[u8], out: &mut Vec<u8>) {
    put_frame(xid, ADD_WATCH, out, |out| {
        put_sized(path, out);
        put_int(0, out);
    });
}

/// Ends the session.
pub fn put_close(xid: i32, out: &mut Vec<u8>) {
    put_frame(xid, CLOSE_SESSION, out, |_| {});
}

/// What a frame from the server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// A reply to a request, with its error code.
    Reply {
        /// The request's number.
        xid: i32,
        /// 0, or what went wrong.
        error: i32,
    },
    /// A watch event.
    Event,
}

/// The first whole frame in `bytes`: what it is, and how many bytes it takes with its length.
pub fn next_answer(bytes: &[u8]) -> Option<(Answer, usize)> {
    let length = i32::from_be_bytes(*bytes.first_chunk()?);
    let end = LENGTH_BYTES + usize::try_from(length).ok()?;
    let header: &[u8; HEADER_BYTES] = bytes.get(LENGTH_BYTES..end)?.first_chunk()?;
    let int = |at: usize| {
        i32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    let answer = match int(0) {
        XID_EVENT => Answer::Event,
        xid => Answer::Reply {
            xid,
            error: int(12),
        },
    };
    Some((answer, end))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use common::zk::jute::Reader;
    use common::zk::request::{CreateRequest, RequestHeader};

    use super::*;

    #[test]
    fn a_create_is_what_the_codec_reads() {
        let mut out = Vec::new();
        put_create(7, b"/a", b"xy", 1, &mut out);
        let mut reader = Reader::new(Bytes::from(out).slice(LENGTH_BYTES..));
        let header: RequestHeader = reader.read().unwrap();
        let request: CreateRequest = reader.read().unwrap();
        assert_eq!((header.xid, header.op, reader.remaining()), (7, CREATE, 0));
        assert_eq!((&*request.path, request.flags), ("/a", 1));
        assert_eq!(request.acl, common::zk::data::Acl::open());
    }

    #[test]
    fn answers_are_cut_where_they_end() {
        let mut frame = 20_i32.to_be_bytes().to_vec();
        frame.extend_from_slice(&9_i32.to_be_bytes());
        frame.extend_from_slice(&[0; 8]);
        frame.extend_from_slice(&(-101_i32).to_be_bytes());
        frame.extend_from_slice(&[0; 4]);
        let reply = Answer::Reply {
            xid: 9,
            error: -101,
        };
        assert_eq!(next_answer(&frame), Some((reply, 24)));
        assert_eq!(next_answer(&frame[..23]), None);
    }
}
