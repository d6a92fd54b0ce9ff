//! Shell: walks the batches of a `.log` file, of any magic, reading ahead in chunks.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use kafka_wire::records::batch::{
    BATCH_HEADER_LEN, BatchHeader, LOG_OVERHEAD, MAGIC_POSITION, MAGIC_V2, NO_LEADER_EPOCH,
    NO_TIMESTAMP,
};

/// Bytes read at once when headers are walked for a lookup: the default index interval, twice.
const LOOKUP_CHUNK: usize = 8 * 1024;
/// Smallest size field of a message of magic 0: checksum, magic, attributes and two lengths.
const MIN_LEGACY_SIZE: i32 = 14;
/// Bytes needed to know a legacy message's timestamp.
const LEGACY_HEADER_LEN: usize = 26;

/// The front of a batch, or of a message of the old formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryHeader {
    /// A batch of magic 2.
    V2(BatchHeader),
    /// A message of magic 0 or 1, perhaps one that wraps others.
    Legacy {
        /// Its offset; of the last message if it wraps others.
        offset: i64,
        /// Bytes of the whole entry.
        size: usize,
        /// 0 or 1.
        magic: i8,
        /// Milliseconds, -1 for magic 0.
        timestamp: i64,
    },
}

impl EntryHeader {
    /// Reads the front of an entry; `Err` names what makes it impossible. `available` is how long an entry may be.
    ///
    /// # Errors
    /// A text for the log.
    pub fn parse(bytes: &[u8], available: u64) -> Result<Option<Self>, String> {
        let Some(head) = bytes.first_chunk::<{ MAGIC_POSITION + 1 }>() else {
            return Ok(None);
        };
        let mut offset = [0; 8];
        offset.copy_from_slice(&head[..8]);
        let offset = i64::from_be_bytes(offset);
        let size = i32::from_be_bytes([head[8], head[9], head[10], head[11]]);
        if size < MIN_LEGACY_SIZE {
            return Err(format!(
                "entry at offset {offset} declares a size of {size} bytes"
            ));
        }
        let magic = head[MAGIC_POSITION] as i8;
        let whole = LOG_OVERHEAD + size as usize;
        if whole as u64 > available {
            return Ok(None);
        }
        match magic {
            MAGIC_V2 => match BatchHeader::parse(bytes) {
                Ok(header) => Ok(Some(EntryHeader::V2(header))),
                Err(error) => Err(error.to_string()),
            },
            0 => Ok(Some(EntryHeader::Legacy {
                offset,
                size: whole,
                magic,
                timestamp: NO_TIMESTAMP,
            })),
            1 => {
                let Some(field) = bytes.get(LEGACY_HEADER_LEN - 8..LEGACY_HEADER_LEN) else {
                    return Err(format!(
                        "message at offset {offset} has no room for a timestamp"
                    ));
                };
                let mut timestamp = [0; 8];
                timestamp.copy_from_slice(field);
                let timestamp = i64::from_be_bytes(timestamp);
                Ok(Some(EntryHeader::Legacy {
                    offset,
                    size: whole,
                    magic,
                    timestamp,
                }))
            }
            _ => Err(format!(
                "entry at offset {offset} has unknown magic {magic}"
            )),
        }
    }

    /// Bytes of the whole entry.
    pub fn size(&self) -> usize {
        match self {
            EntryHeader::V2(header) => header.size_bytes(),
            EntryHeader::Legacy { size, .. } => *size,
        }
    }

    /// Offset of the first record; for old wrapping messages that of the last, since the first is inside.
    pub fn base_offset(&self) -> i64 {
        match self {
            EntryHeader::V2(header) => header.base_offset,
            EntryHeader::Legacy { offset, .. } => *offset,
        }
    }

    /// Offset of the last record.
    pub fn last_offset(&self) -> i64 {
        match self {
            EntryHeader::V2(header) => header.last_offset(),
            EntryHeader::Legacy { offset, .. } => *offset,
        }
    }

    /// Largest timestamp in milliseconds, -1 if there is none.
    pub fn max_timestamp(&self) -> i64 {
        match self {
            EntryHeader::V2(header) => header.max_timestamp,
            EntryHeader::Legacy { timestamp, .. } => *timestamp,
        }
    }

    /// Epoch of the leader that appended it, -1 if unknown.
    pub fn leader_epoch(&self) -> i32 {
        match self {
            EntryHeader::V2(header) => header.partition_leader_epoch,
            EntryHeader::Legacy { .. } => NO_LEADER_EPOCH,
        }
    }
}

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
        if !held {
            let left = self.end.saturating_sub(position);
            let size = left.min(self.chunk.max(len) as u64) as usize;
            self.buffer.resize(size, 0);
            self.buffer_start = position;
            self.file.read_exact_at(&mut self.buffer, position)?;
        }
        let start = (position - self.buffer_start) as usize;
        Ok(&self.buffer[start..start + len])
    }
}
