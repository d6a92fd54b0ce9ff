//! Shell: writes snapshots while the server goes on: the loop makes parts of them in between, a
//! thread writes the parts.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use bytes::BytesMut;

use crate::state::database::Database;
use crate::storage::compression::Compression;
use crate::storage::error::StorageError;
use crate::storage::files::Directories;
use crate::storage::snapshot;
use crate::storage::snapshot_writer::SnapshotWriter;

/// How much of the tree is put into one part, in bytes: clients wait for no more than some tens of
/// microseconds.
const PART_BYTES: usize = 16 << 10;

/// Parts on their way to the thread at once.
const PARTS_AHEAD: usize = 4;

/// When snapshots are written, and how.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotOptions {
    /// `snapCount`: transactions between two.
    pub count: u64,
    /// `snapSizeLimitInKb` in bytes of log between two; 0 is no limit.
    pub size_limit_bytes: u64,
    /// `snapshot.compression.method`.
    pub compression: Compression,
}

/// What the thread tells.
#[derive(Debug)]
pub enum SnapshotEvent {
    /// A part is written: here is its buffer.
    Part(BytesMut),
    /// The snapshot is complete, or could not be written.
    Done(Result<(), StorageError>),
}

enum Part {
    Bytes(BytesMut),
    End(Option<u64>),
}

/// The snapshot that is being written.
struct InProgress {
    parts: Sender<Part>,
    ahead: usize,
    digest: Option<u64>,
    spare: Vec<BytesMut>,
    walked: bool,
    began: Instant,
}

/// Knows when a snapshot is due, and writes one at a time.
pub struct Snapshots {
    directories: Directories,
    tell: std::rc::Rc<dyn Fn() -> Teller>,
    options: SnapshotOptions,
    next_count: u64,
    next_bytes: u64,
    count: u64,
    bytes: u64,
    random: u64,
    current: Option<InProgress>,
}

/// How the thread reports.
pub type Teller = Box<dyn Fn(SnapshotEvent) + Send>;

impl std::fmt::Debug for Snapshots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshots")
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

impl Snapshots {
    /// A snapshot is due between half and all of what the options say, so that servers do not
    /// all write at once.
    pub fn new(
        directories: Directories,
        options: SnapshotOptions,
        seed: u64,
        tell: impl Fn() -> Teller + 'static,
    ) -> Self {
        let mut snapshots = Self {
            directories,
            options,
            tell: std::rc::Rc::new(tell),
            next_count: 0,
            next_bytes: 0,
            count: 0,
            bytes: 0,
            random: seed | 1,
            current: None,
        };
        snapshots.set_next();
        snapshots
    }

    fn set_next(&mut self) {
        self.count = 0;
        self.bytes = 0;
        let mut half_to_whole = |limit: u64| {
            // xorshift: any spread will do.
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            limit / 2 + self.random % (limit / 2).max(1)
        };
        self.next_count = half_to_whole(self.options.count);
        self.next_bytes = half_to_whole(self.options.size_limit_bytes);
    }

    /// Counts transactions and their bytes in the log; true if a snapshot is due now.
    pub fn count(&mut self, transactions: u64, bytes: u64) -> bool {
        self.count += transactions;
        self.bytes += bytes;
        let due = self.count > self.next_count
            || self.options.size_limit_bytes > 0 && self.bytes > self.next_bytes;
        if due {
            self.set_next();
        }
        due
    }

    /// Whether a snapshot is being written.
    pub fn is_busy(&self) -> bool {
        self.current.is_some()
    }

    /// Begins a snapshot of what is applied. Nothing happens if one is being written.
    pub fn start(&mut self, db: &mut Database) -> Result<(), StorageError> {
        if self.current.is_some() {
            tracing::warn!("Too busy to snap, skipping");
            return Ok(());
        }
        let zxid = db.applied_zxid;
        let path = self.directories.snapshot(zxid, self.options.compression);
        tracing::info!("Snapshotting: 0x{zxid:x} to {}", path.display());
        let writer = SnapshotWriter::create(&self.directories, zxid, self.options.compression)?;
        let (parts, inbox) = channel();
        let tell = (self.tell)();
        std::thread::Builder::new()
            .name("snapshot".to_owned())
            .stack_size(256 << 10)
            .spawn(move || write(writer, &inbox, &tell))
            .map_err(|e| StorageError::io("start a thread for", &path, e))?;
        let mut head = BytesMut::new();
        snapshot::put_head(&db.sessions.committed(), &db.tree, &mut head);
        db.tree.start_checkpoint();
        let digest = db.options.tree.digests.then(|| db.tree.digest());
        let _ = parts.send(Part::Bytes(head));
        self.current = Some(InProgress {
            parts,
            ahead: 1,
            digest,
            spare: Vec::new(),
            walked: false,
            began: Instant::now(),
        });
        Ok(())
    }

    /// Makes the next part if the thread is ready for one; true if there may be more to do at
    /// once.
    pub fn make_part(&mut self, db: &mut Database) -> bool {
        let Some(current) = &mut self.current else {
            return false;
        };
        if current.walked || current.ahead >= PARTS_AHEAD {
            return false;
        }
        let mut part = current.spare.pop().unwrap_or_default();
        while part.len() < PART_BYTES {
            if !db
                .tree
                .next_of_checkpoint(|path, node| snapshot::put_node(path, node, &mut part))
            {
                snapshot::put_end_of_nodes(&mut part);
                current.walked = true;
                break;
            }
        }
        // If the thread has failed it has told so.
        let _ = current.parts.send(Part::Bytes(part));
        current.ahead += 1;
        if current.walked {
            db.tree.end_checkpoint();
            let _ = current.parts.send(Part::End(current.digest));
        }
        true
    }

    /// The thread has told something: how long a snapshot took that is complete now. One that
    /// could not be written is given up: the logs are all still there.
    pub fn on_event(&mut self, event: SnapshotEvent, db: &mut Database) -> Option<Duration> {
        match (event, &mut self.current) {
            (SnapshotEvent::Part(mut buffer), Some(current)) => {
                buffer.clear();
                current.ahead -= 1;
                current.spare.push(buffer);
                None
            }
            (SnapshotEvent::Part(_), None) => None,
            (SnapshotEvent::Done(result), _) => {
                let done = self.current.take();
                db.tree.end_checkpoint();
                if let Err(error) = &result {
                    tracing::warn!("the snapshot could not be written: {error}");
                }
                result.ok()?;
                done.map(|done| done.began.elapsed())
            }
        }
    }
}

fn write(mut writer: SnapshotWriter, inbox: &Receiver<Part>, tell: &Teller) {
    while let Ok(part) = inbox.recv() {
        match part {
            Part::Bytes(bytes) => match writer.write(&bytes) {
                Ok(()) => tell(SnapshotEvent::Part(bytes)),
                Err(error) => return tell(SnapshotEvent::Done(Err(error))),
            },
            Part::End(digest) => return tell(SnapshotEvent::Done(writer.finish(digest))),
        }
    }
}
