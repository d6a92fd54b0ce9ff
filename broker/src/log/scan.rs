//! Shell: walks the batches of a `.log` file, of any magic, reading ahead in chunks.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use kafka_wire::records::batch::BATCH_HEADER_LEN;

use crate::log::entry::EntryHeader;

/// Bytes read at once when headers are walked for a lookup: the default index interval, twice.
const LOOKUP_CHUNK: usize = 8 * 1024;
/// An entry and where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Located {
    /// Position in the file, in bytes.
    pub position: u64,
    /// Its front.
    pub header: EntryHeader,
}

impl Located {
    /// Position after it.
    pub fn end(&self) -> u64 {
        self.position + self.header.size() as u64
    }
}

/// A failure while walking.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The bytes at `position` are not an entry.
    #[error("position {position}: {reason}")]
    Corrupt {
        /// In the file, in bytes.
        position: u64,
        /// What is wrong.
        reason: String,
    },
}

/// Walks entries from a position up to an end.
#[derive(Debug)]
pub struct Scanner<'a> {
    file: &'a File,
    position: u64,
    end: u64,
    chunk: usize,
    buffer: Vec<u8>,
    buffer_start: u64,
}

impl<'a> Scanner<'a> {
    /// Walks `position..end` for headers.
    pub fn new(file: &'a File, position: u64, end: u64) -> Self {
        Self::with_chunk(file, position, end, LOOKUP_CHUNK)
    }

    /// Walks `position..end`, reading `chunk` bytes at once.
    pub fn with_chunk(file: &'a File, position: u64, end: u64, chunk: usize) -> Self {
        Scanner {
            file,
            position,
            end,
            chunk,
            buffer: Vec::new(),
            buffer_start: 0,
        }
    }

    /// Where the next entry starts.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next entry; `None` at the end, or where the rest is too short for the entry it starts with.
    ///
    /// # Errors
    /// [`ScanError`] if the file cannot be read or holds no entry there.
    pub fn next_entry(&mut self) -> Result<Option<Located>, ScanError> {
        let position = self.position;
        let left = self.end.saturating_sub(position);
        let wanted = left.min(BATCH_HEADER_LEN as u64) as usize;
        let bytes = self.window(position, wanted)?;
        match EntryHeader::parse(bytes, left) {
            Ok(Some(header)) => {
                let located = Located { position, header };
                self.position = located.end();
                Ok(Some(located))
            }
            Ok(None) => Ok(None),
            Err(reason) => Err(ScanError::Corrupt { position, reason }),
        }
    }

    /// All bytes of an entry that this scanner found.
    ///
    /// # Errors
    /// The I/O error if the file cannot be read.
    pub fn bytes_of(&mut self, entry: &Located) -> io::Result<&[u8]> {
        self.window(entry.position, entry.header.size())
    }

    /// `len` bytes at `position`, from the buffer if it holds them.
    fn window(&mut self, position: u64, len: usize) -> io::Result<&[u8]> {
        let held = position >= self.buffer_start
            && position + len as u64 <= self.buffer_start + self.buffer.len() as u64;
        if !held && let Err(error) = self.fill(position, len) {
            self.buffer.clear();
            return Err(error);
        }
        let start = (position - self.buffer_start) as usize;
        Ok(&self.buffer[start..start + len])
    }

    /// Reads on from `position`; what is there of it already is kept, so that nothing is read twice.
    fn fill(&mut self, position: u64, len: usize) -> io::Result<()> {
        let skipped = position.wrapping_sub(self.buffer_start);
        let kept = match usize::try_from(skipped) {
            Ok(skipped) if skipped < self.buffer.len() => {
                self.buffer.copy_within(skipped.., 0);
                self.buffer.len() - skipped
            }
            _ => 0,
        };
        let left = self.end.saturating_sub(position);
        let size = left.min(self.chunk.max(len) as u64) as usize;
        self.buffer.resize(size, 0);
        self.buffer_start = position;
        self.file
            .read_exact_at(&mut self.buffer[kept..], position + kept as u64)
    }
}
