//! Shell: frames of a four-byte length and that many bytes, as both protocols have them.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes of the length.
const LENGTH_BYTES: usize = 4;

/// The most that is set aside for a frame on the word of its length alone, in bytes; beyond it
/// the buffer grows as bytes come.
const TRUSTED_BYTES: usize = 1 << 20;

/// The least free space to read into, in bytes.
const READ_BYTES: usize = 8 << 10;

/// Why there is no next frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The announced length is negative or over the limit.
    #[error("frame length {length} is not within 0..={limit} bytes")]
    Length {
        /// What was announced.
        length: i32,
        /// What is allowed.
        limit: usize,
    },
    /// The peer closed within a frame.
    #[error("connection closed within a frame, {have} bytes into it")]
    Truncated {
        /// Bytes of it that had come, its length included.
        have: usize,
    },
    /// Reading failed.
    #[error("could not read: {0}")]
    Io(#[from] std::io::Error),
}

/// Cuts a stream into frames. Every method may be cancelled: what was read stays here.
#[derive(Debug)]
pub struct FrameReader {
    buffer: BytesMut,
    limit: usize,
}

impl FrameReader {
    /// A reader of frames of at most `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            limit,
        }
    }

    /// What was read and not yet taken, lengths included.
    #[must_use]
    pub fn buffered(&self) -> &[u8] {
        &self.buffer
    }

    /// Takes the next frame (without its length), waiting for it; none at the end of the stream.
    pub async fn next<R: AsyncRead + Unpin>(
        &mut self,
        stream: &mut R,
    ) -> Result<Option<Bytes>, FrameError> {
        loop {
            if let Some(frame) = self.take()? {
                return Ok(Some(frame));
            }
            if self.fill(stream).await? == 0 {
                let have = self.buffer.len();
                return if have == 0 {
                    Ok(None)
                } else {
                    Err(FrameError::Truncated { have })
                };
            }
        }
    }

    /// Takes the next frame if all of it was read.
    pub fn take(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some(length) = self.announced()? else {
            return Ok(None);
        };
        if self.buffer.len() < LENGTH_BYTES + length {
            return Ok(None);
        }
        self.buffer.advance(LENGTH_BYTES);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    /// Whether [`FrameReader::take`] would not come back empty.
    #[must_use]
    pub fn has_frame(&self) -> bool {
        match self.announced() {
            Ok(Some(length)) => self.buffer.len() >= LENGTH_BYTES + length,
            Ok(None) => false,
            Err(_) => true,
        }
    }

    /// Reads once; 0 at the end of the stream.
    pub async fn fill<R: AsyncRead + Unpin>(
        &mut self,
        stream: &mut R,
    ) -> Result<usize, FrameError> {
        let missing = match self.announced()? {
            Some(length) => (LENGTH_BYTES + length).saturating_sub(self.buffer.len()),
            None => 0,
        };
        self.buffer
            .reserve(missing.clamp(READ_BYTES, TRUSTED_BYTES));
        Ok(stream.read_buf(&mut self.buffer).await?)
    }

    /// The same over a socket that does not wait: `read` appends what is there to the buffer.
    pub fn try_fill(
        &mut self,
        read: impl FnOnce(&mut BytesMut) -> std::io::Result<usize>,
    ) -> Result<usize, FrameError> {
        let missing = match self.announced()? {
            Some(length) => (LENGTH_BYTES + length).saturating_sub(self.buffer.len()),
            None => 0,
        };
        self.buffer
            .reserve(missing.clamp(READ_BYTES, TRUSTED_BYTES));
        Ok(read(&mut self.buffer)?)
    }

    /// Gives the buffer back if it is empty, so that an idle connection costs no memory.
    pub fn shrink(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
    }

    /// The length of the frame that is next, if it is known.
    ///
    /// # Errors
    /// When it is negative or over the limit.
    pub fn announced(&self) -> Result<Option<usize>, FrameError> {
        let Some(bytes) = self.buffer.first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let length = i32::from_be_bytes(*bytes);
        match usize::try_from(length) {
            Ok(bytes) if bytes <= self.limit => Ok(Some(bytes)),
            _ => Err(FrameError::Length {
                length,
                limit: self.limit,
            }),
        }
    }
}

/// Appends a frame whose bytes `body` writes.
pub fn put_frame(out: &mut BytesMut, body: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_i32(0);
    body(out);
    let length = out.len() - start - LENGTH_BYTES;
    // Receivers refuse a length beyond an int, so nothing is lost by clamping.
    let length = i32::try_from(length).unwrap_or(i32::MAX);
    out[start..start + LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_come_whole_whatever_the_chunks() {
        let mut wire = BytesMut::new();
        put_frame(&mut wire, |out| out.put_slice(b"hello"));
        put_frame(&mut wire, |_| {});
        put_frame(&mut wire, |out| out.put_bytes(7, 100_000));
        let (mut near, mut far) = tokio::io::duplex(777);
        let writer = tokio::spawn(async move {
            tokio::io::AsyncWriteExt::write_all(&mut far, &wire)
                .await
                .unwrap();
        });
        let mut reader = FrameReader::new(100_000);
        assert_eq!(
            reader.next(&mut near).await.unwrap().unwrap(),
            &b"hello"[..]
        );
        assert_eq!(reader.next(&mut near).await.unwrap().unwrap(), &b""[..]);
        assert_eq!(
            reader.next(&mut near).await.unwrap().unwrap(),
            vec![7; 100_000]
        );
        assert!(reader.next(&mut near).await.unwrap().is_none());
        writer.await.unwrap();
    }

    #[tokio::test]
    async fn hostile_lengths_are_refused_before_anything_is_set_aside() {
        for bytes in [
            [0x7f, 0xff, 0xff, 0xff],
            [0xff, 0xff, 0xff, 0xff],
            [0, 0, 0, 11],
        ] {
            let mut stream = &bytes[..];
            let error = FrameReader::new(10).next(&mut stream).await.unwrap_err();
            assert!(
                matches!(error, FrameError::Length { limit: 10, .. }),
                "{error}"
            );
        }
        let mut stream = &[0, 0, 0, 5, 1][..];
        let error = FrameReader::new(10).next(&mut stream).await.unwrap_err();
        assert!(
            matches!(error, FrameError::Truncated { have: 5 }),
            "{error}"
        );
    }
}
