//! Shell: a server on its own: decide at once, then commit a group of writes with one sync.

use std::collections::VecDeque;

use bytes::BytesMut;

use crate::pipeline::commit::{Commit, Committed, Ticket};
use crate::state::database::Database;
use crate::state::prepare::prepare;
use crate::state::request::Write;
use crate::storage::error::StorageError;
use crate::storage::log_file::{MAX_BATCH_ENTRIES, put_entry};
use crate::storage::log_writer::{Batch, LogWriter, Written};

/// A buffer that grew beyond this is not kept for the next batch, in bytes.
const KEPT_BUFFER_BYTES: usize = 1 << 20;

/// What goes to the log together.
#[derive(Debug, Default)]
struct Group {
    members: Vec<Committed>,
    bytes: BytesMut,
    first_zxid: i64,
    entries: u64,
}

/// The log, and what waits for it.
#[derive(Debug)]
pub struct Standalone {
    writer: LogWriter,
    waiting: VecDeque<Group>,
    in_flight: Option<Vec<Committed>>,
    committed: Vec<Committed>,
    spare: BytesMut,
    roll: bool,
    outstanding: usize,
    logged_bytes: u64,
}

impl Standalone {
    /// Writes to this log.
    pub fn new(writer: LogWriter) -> Self {
        Self {
            writer,
            waiting: VecDeque::new(),
            in_flight: None,
            committed: Vec::new(),
            spare: BytesMut::new(),
            roll: true,
            outstanding: 0,
            logged_bytes: 0,
        }
    }

    fn group(&mut self) -> &mut Group {
        let full = |group: &Group| group.members.len() as i64 >= MAX_BATCH_ENTRIES;
        if self.waiting.back().is_none_or(full) {
            let bytes = std::mem::take(&mut self.spare);
            self.waiting.push_back(Group {
                bytes,
                ..Group::default()
            });
        }
        let last = self.waiting.len() - 1;
        &mut self.waiting[last]
    }
}

impl Commit for Standalone {
    fn submit(&mut self, db: &mut Database, write: &Write, ticket: Ticket, wall_ms: i64) {
        let entry = prepare(db, write, wall_ms);
        self.outstanding += 1;
        let group = self.group();
        if group.bytes.is_empty() {
            group.first_zxid = entry.header.zxid;
        }
        put_entry(&entry, &mut group.bytes);
        group.entries += 1;
        group.members.push(Committed {
            ticket,
            entry: Some(entry),
        });
    }

    fn barrier(&mut self, ticket: Ticket) {
        self.outstanding += 1;
        self.group().members.push(Committed {
            ticket,
            entry: None,
        });
    }

    fn flush(&mut self) {
        while self.in_flight.is_none()
            && let Some(group) = self.waiting.pop_front()
        {
            if group.bytes.is_empty() {
                // Barriers only: everything before them is out.
                self.spare = group.bytes;
                self.committed.extend(group.members);
                continue;
            }
            let roll = std::mem::take(&mut self.roll);
            self.in_flight = Some(group.members);
            self.logged_bytes += group.bytes.len() as u64;
            self.writer.write(Batch {
                bytes: group.bytes,
                first_zxid: group.first_zxid,
                roll,
                entries: group.entries,
            });
        }
    }

    fn written(&mut self, written: Written) -> Result<(), StorageError> {
        written.result?;
        if written.buffer.capacity() <= KEPT_BUFFER_BYTES {
            self.spare = written.buffer;
        }
        self.committed
            .extend(self.in_flight.take().unwrap_or_default());
        Ok(())
    }

    fn take_committed(&mut self) -> Vec<Committed> {
        self.outstanding -= self.committed.len();
        std::mem::take(&mut self.committed)
    }

    fn outstanding(&self) -> usize {
        self.outstanding
    }

    fn take_logged_bytes(&mut self) -> u64 {
        std::mem::take(&mut self.logged_bytes)
    }

    fn roll(&mut self) {
        self.roll = true;
    }
}
