//! Shell: the thread that writes the log: one write and one sync for each batch.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use crate::storage::error::StorageError;
use crate::storage::files::{Directories, sync_directory};
use crate::storage::log_file::HEADER;

/// A file grows by `preallocate_bytes` when less than this is left of it (FilePadding.java).
const PADDING_MARGIN_BYTES: u64 = 4096;

/// So many bytes of zeros are written ahead of the log at a time. Where blocks are in place
/// already, a sync writes the batch and nothing of the file system's own, which halves its time
/// and lets it not wait for others' writes.
const ZEROS_AHEAD_BYTES: usize = 512 << 10;

/// A larger batch brings new blocks of its own: writing them twice costs more than it saves.
const LARGE_BATCH_BYTES: usize = 64 << 10;

static ZEROS: [u8; ZEROS_AHEAD_BYTES] = [0; ZEROS_AHEAD_BYTES];

/// How the log is written.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// `preAllocSize` in bytes; 0 switches preallocation off.
    pub preallocate_bytes: u64,
    /// `forceSync`: a batch is on disk before it is acknowledged.
    pub force_sync: bool,
    /// `txnLogSizeLimitInKb` in bytes: a new file after that much; 0 is no limit.
    pub size_limit_bytes: u64,
    /// `fsync.warningthresholdms`: a slower sync is told in the log.
    pub warn_sync_after: Duration,
}

/// Entries that go to disk together.
#[derive(Debug)]
pub struct Batch {
    /// The entries as they go to disk.
    pub bytes: BytesMut,
    /// Zxid of the first, which names a new file.
    pub first_zxid: i64,
    /// Whether a new file begins with it.
    pub roll: bool,
    /// How many there are.
    pub entries: u64,
}

/// A batch is on disk, or is not.
#[derive(Debug)]
pub struct Written {
    /// The batch's buffer, emptied, for the next one.
    pub buffer: BytesMut,
    /// What went wrong; nothing more will be written then.
    pub result: Result<(), StorageError>,
    /// Whether the sync took longer than `warn_sync_after`.
    pub slow: bool,
    /// How many entries the batch had.
    pub entries: u64,
    /// How long writing and syncing took.
    pub took: Duration,
    /// How long the sync took, if there was one.
    pub sync: Option<Duration>,
}

/// The thread and the way to it. Dropping it ends the thread after the last batch.
#[derive(Debug)]
pub struct LogWriter {
    batches: Option<Sender<Batch>>,
    thread: Option<JoinHandle<()>>,
}

impl LogWriter {
    /// Starts the thread; `written` is called on it after each batch.
    pub fn start(
        directories: Directories,
        options: LogOptions,
        written: impl FnMut(Written) + Send + 'static,
    ) -> Result<Self, StorageError> {
        let (batches, inbox) = channel();
        let path = directories.logs.clone();
        let log = Log {
            directories,
            options,
            current: None,
        };
        let thread = std::thread::Builder::new()
            .name("log-writer".to_owned())
            .stack_size(256 << 10)
            .spawn(move || run(log, &inbox, written))
            .map_err(|e| StorageError::io("start a thread for", &path, e))?;
        Ok(Self {
            batches: Some(batches),
            thread: Some(thread),
        })
    }

    /// Hands a batch over; `written` tells of its end.
    pub fn write(&self, batch: Batch) {
        if let Some(batches) = &self.batches {
            // The thread ends only after a failure, which it has told of.
            let _ = batches.send(batch);
        }
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(mut log: Log, inbox: &Receiver<Batch>, mut written: impl FnMut(Written)) {
    while let Ok(mut batch) = inbox.recv() {
        let started = Instant::now();
        let result = log.write(&batch);
        let took = started.elapsed();
        let sync = result.as_ref().ok().copied().flatten();
        let failed = result.is_err();
        batch.bytes.clear();
        written(Written {
            buffer: batch.bytes,
            result: result.map(|_| ()),
            slow: sync > Some(log.options.warn_sync_after),
            entries: batch.entries,
            took,
            sync,
        });
        if failed {
            return;
        }
    }
}

/// The file that is written to.
#[derive(Debug)]
struct Current {
    path: PathBuf,
    file: File,
    position: u64,
    size: u64,
    /// Up to here the file has blocks.
    zeroed: u64,
}

impl Current {
    /// Sees to it that a small batch finds blocks in place. Never beyond the preallocated size.
    fn write_zeros_ahead(&mut self, coming: usize) {
        let end = self.position + coming as u64;
        if end <= self.zeroed || coming > LARGE_BATCH_BYTES {
            return;
        }
        // The batch itself fills what is before.
        let length = (self.size.saturating_sub(end)).min(ZEROS_AHEAD_BYTES as u64) as usize;
        self.zeroed = match self.file.write_all_at(&ZEROS[..length], end) {
            Ok(()) => end + length as u64,
            // The disk may have room for the batch all the same; its own write will tell.
            Err(_) => u64::MAX,
        };
    }
}

#[derive(Debug)]
struct Log {
    directories: Directories,
    options: LogOptions,
    current: Option<Current>,
}

impl Log {
    /// Returns how long the sync took.
    fn write(&mut self, batch: &Batch) -> Result<Option<Duration>, StorageError> {
        let limit = self.options.size_limit_bytes;
        let full = self
            .current
            .as_ref()
            .is_some_and(|c| limit > 0 && c.position > limit);
        if batch.roll || full {
            self.current = None;
        }
        let mut current = match self.current.take() {
            Some(current) => current,
            None => self.create(batch.first_zxid)?,
        };
        self.preallocate(&mut current, batch.bytes.len() as u64)?;
        current.write_zeros_ahead(batch.bytes.len());
        current
            .file
            .write_all_at(&batch.bytes, current.position)
            .map_err(|e| StorageError::io("write to", &current.path, e))?;
        current.position += batch.bytes.len() as u64;
        current.size = current.size.max(current.position);
        let mut sync = None;
        if self.options.force_sync {
            let started = Instant::now();
            current
                .file
                .sync_data()
                .map_err(|e| StorageError::io("sync", &current.path, e))?;
            let took = started.elapsed();
            sync = Some(took);
            if took > self.options.warn_sync_after {
                tracing::warn!(
                    "fsync-ing the write ahead log {} took {}ms which will adversely effect operation latency",
                    current.path.display(),
                    took.as_millis()
                );
            }
        }
        self.current = Some(current);
        Ok(sync)
    }

    fn create(&self, first_zxid: i64) -> Result<Current, StorageError> {
        let path = self.directories.log(first_zxid);
        tracing::info!("Creating new log file: {}", path.display());
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .map_err(|e| StorageError::io("create", &path, e))?;
        file.write_all(&HEADER)
            .map_err(|e| StorageError::io("write to", &path, e))?;
        sync_directory(&self.directories.logs)?;
        let position = HEADER.len() as u64;
        Ok(Current {
            path,
            file,
            position,
            size: position,
            zeroed: position,
        })
    }

    /// Grows the file ahead of what is written, so that a sync need not record its size.
    fn preallocate(&self, current: &mut Current, coming: u64) -> Result<(), StorageError> {
        let size = padded(
            current.position + coming,
            current.size,
            self.options.preallocate_bytes,
        );
        if size == current.size {
            return Ok(());
        }
        current
            .file
            .set_len(size)
            .map_err(|e| StorageError::io("extend", &current.path, e))?;
        current.size = size;
        Ok(())
    }
}

/// The size that a file of `size` bytes gets before it is written up to `end`: where less than
/// 4 KiB would be left it grows by `step` bytes, as often as is needed.
fn padded(end: u64, size: u64, step: u64) -> u64 {
    if step == 0 || end + PADDING_MARGIN_BYTES < size {
        return size;
    }
    let missing = end + PADDING_MARGIN_BYTES - size;
    size + (missing / step + 1) * step
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_ahead_change_nothing_that_a_reader_sees() {
        let directory = tempfile::tempdir().unwrap();
        for preallocate_bytes in [0, 1 << 20] {
            let mut log = Log {
                directories: Directories::open(directory.path(), directory.path(), true).unwrap(),
                options: LogOptions {
                    preallocate_bytes,
                    force_sync: true,
                    size_limit_bytes: 0,
                    warn_sync_after: Duration::from_secs(60),
                },
                current: None,
            };
            let mut expected = HEADER.to_vec();
            // Small, across what was filled with zeros, too large to fill ahead for, small again.
            for (i, length) in [100, 60_000, 500_000, 100, 60_000].into_iter().enumerate() {
                let bytes = BytesMut::from(&vec![b'a' + i as u8; length][..]);
                expected.extend_from_slice(&bytes);
                let batch = Batch {
                    bytes,
                    first_zxid: 7,
                    roll: false,
                    entries: 1,
                };
                log.write(&batch).unwrap();
            }
            let written = std::fs::read(log.directories.log(7)).unwrap();
            let size = padded(
                expected.len() as u64,
                HEADER.len() as u64,
                preallocate_bytes,
            );
            assert_eq!(written.len() as u64, size.max(expected.len() as u64));
            assert_eq!(written[..expected.len()], expected);
            assert!(written[expected.len()..].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn files_grow_as_zookeepers_do() {
        let step = 64 << 20;
        // What every new log of ZooKeeper has.
        assert_eq!(padded(100, 16, step), 67_108_880);
        assert_eq!(padded(6000, 67_108_880, step), 67_108_880);
        let end = 67_108_880 - 4096;
        assert_eq!(padded(end, 67_108_880, step), 134_217_744);
        assert_eq!(padded(100, 16, 0), 16);
        // A batch may be larger than a step.
        assert!(padded(10_000, 16, 1024) >= 10_000);
    }
}
