//! Pure: cuts what a connection received into requests: an i32 size, then that many bytes.
//!
//! The buffer is kept from request to request, so that a busy producer costs no allocation, and grows only as bytes
//! really arrive, so that a size that is announced but not sent costs nothing.

use bytes::buf::Limit;
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The least and the most room to read into when nothing is known of the next request, in bytes. It doubles as long
/// as reads fill it, so that a busy producer's requests come many to a system call.
const MIN_READ_BYTES: usize = 4 * 1024;
const MAX_READ_BYTES: usize = 128 * 1024;
/// The most room that is made at once for an announced request, beyond what has already arrived, in bytes.
const GROWTH_BYTES: usize = 256 * 1024;
/// Of a request larger than this nothing beyond its end is read, in bytes: the next one then begins where the buffer
/// begins, and what has come of it need not be moved there.
const EXACT_BYTES: usize = 256 * 1024;
/// The most room that is kept ready for a next request as large as an earlier one, in bytes.
const READY_BYTES: usize = 1024 * 1024;
/// A buffer up to this size is kept by an idle connection, in bytes.
const IDLE_BYTES: usize = 4 * 1024;

/// A size that no request may have.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("request of {size} bytes; the limit is {limit} (socket.request.max.bytes)")]
pub struct BadSize {
    /// The size announced.
    pub size: i32,
    /// The largest size allowed.
    pub limit: usize,
}

/// What was received and not yet taken.
#[derive(Debug)]
pub struct Frames {
    buffer: BytesMut,
    limit: usize,
    read_bytes: usize,
    /// The largest request that really came, in bytes: room for as much is made at once.
    proven: usize,
}

impl Frames {
    /// An empty buffer for requests of up to `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            limit,
            read_bytes: MIN_READ_BYTES,
            proven: 0,
        }
    }

    /// The next whole request, without its size.
    ///
    /// # Errors
    /// When the size announced is negative or above the limit: the connection must be closed.
    pub fn take(&mut self) -> Result<Option<Bytes>, BadSize> {
        let Some(size) = self.announced()? else {
            return Ok(None);
        };
        if self.buffer.len() < 4 + size {
            return Ok(None);
        }
        self.proven = self.proven.max(4 + size);
        self.buffer.advance(4);
        Ok(Some(self.buffer.split_to(size).freeze()))
    }

    /// The buffer to read into, with room for what is expected next.
    pub fn spare(&mut self) -> Limit<&mut BytesMut> {
        let whole = match self.announced() {
            Ok(Some(size)) => 4 + size,
            // Perhaps one like an earlier one. An empty buffer goes back to where its memory begins.
            _ if self.buffer.is_empty() => self.proven.min(READY_BYTES),
            _ => 0,
        };
        let missing = whole.saturating_sub(self.buffer.len());
        if whole > EXACT_BYTES && missing > 0 {
            let growth = GROWTH_BYTES.max(self.buffer.len()).max(self.proven);
            self.buffer.reserve(missing.min(growth));
            return (&mut self.buffer).limit(missing);
        }
        self.buffer.reserve(missing.max(self.read_bytes));
        (&mut self.buffer).limit(usize::MAX)
    }

    /// Notes how much a read brought, to make more or less room for the next one.
    pub fn received(&mut self, bytes: usize) {
        if bytes >= self.read_bytes {
            self.read_bytes = (self.read_bytes * 2).min(MAX_READ_BYTES);
        } else if bytes < self.read_bytes / 4 {
            self.read_bytes = (self.read_bytes / 2).max(MIN_READ_BYTES);
        }
    }

    /// Whether nothing of a next request has arrived.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Gives memory back when the connection is idle.
    pub fn shrink(&mut self) {
        if self.buffer.is_empty() && self.buffer.capacity() > IDLE_BYTES {
            self.buffer = BytesMut::new();
            self.read_bytes = MIN_READ_BYTES;
            self.proven = 0;
        }
    }

    fn announced(&self) -> Result<Option<usize>, BadSize> {
        let Some(head) = self.buffer.first_chunk::<4>() else {
            return Ok(None);
        };
        let size = i32::from_be_bytes(*head);
        match usize::try_from(size) {
            Ok(bytes) if bytes <= self.limit => Ok(Some(bytes)),
            _ => Err(BadSize {
                size,
                limit: self.limit,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_come_out_whole_however_they_arrive() {
        let mut frames = Frames::new(100);
        let wire = b"\0\0\0\x03abc\0\0\0\0\0\0\0\x02de";
        let mut seen = Vec::new();
        for byte in wire {
            frames.spare().put_u8(*byte);
            while let Some(request) = frames.take().unwrap() {
                seen.push(request);
            }
        }
        assert_eq!(seen, ["abc", "", "de"]);
        assert!(frames.is_empty());
    }

    #[test]
    fn impossible_sizes_are_refused_before_memory_is_taken() {
        for size in [-1_i32, 101, i32::MAX] {
            let mut frames = Frames::new(100);
            frames.spare().put_i32(size);
            assert_eq!(frames.take(), Err(BadSize { size, limit: 100 }));
        }
        let mut frames = Frames::new(100 << 20);
        frames.spare().put_i32(100 << 20);
        assert_eq!(frames.take(), Ok(None));
        assert!(frames.spare().get_ref().capacity() < 2 * GROWTH_BYTES);
    }
}
