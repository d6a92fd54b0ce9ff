//! Shell: opens a partition directory: leftovers removed, after an unclean stop everything behind the recovery point re-read and cut
//! at the first bad byte, producers rebuilt (`LogLoader.scala`).

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use crate::log::config::LogConfig;
use crate::log::error::{IoContext, StorageError, StorageResult};
use crate::log::interrupted::finish_interrupted_work;
use crate::log::leader_epochs::LeaderEpochs;
use crate::log::names::{
    DELETED_SUFFIX, INDEX_SUFFIX, LOG_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX, TopicPartition,
    parse_file,
};
use crate::log::partition_dir::PartitionDir;
use crate::log::partition_log::{Loaded, PartitionLog, segment_jitter};
use crate::log::partition_metadata;
use crate::log::producer_replay::load_producers;
use crate::log::producer_state::ProducerStates;
use crate::log::segment::{SEGMENT_SUFFIXES, Segment};
use crate::log::segment_recovery::{Verified, verify};
use crate::log::snapshots::Snapshots;
use crate::log::split::split_at_load;

/// What is known about a log before it is opened.
#[derive(Debug, Clone, Copy)]
pub struct LoadOptions {
    /// True if the last stop left its marker: nothing needs checking.
    pub clean: bool,
    /// Offset below which all is on disk, from the checkpoint.
    pub recovery_point: i64,
    /// First offset of the log, from the checkpoint.
    pub log_start_offset: i64,
    /// Silence after which a producer is forgotten, in milliseconds (`producer.id.expiration.ms`).
    pub producer_expiration_ms: i64,
    /// The time, in milliseconds since the epoch.
    pub now_ms: i64,
}

/// Opens the log in `dir`, or makes a new one there.
///
/// # Errors
/// [`StorageError`] if a file cannot be used; the log directory is to be taken out of service.
pub fn open_log(
    dir: Arc<PartitionDir>,
    partition: TopicPartition,
    config: Arc<LogConfig>,
    options: &LoadOptions,
) -> StorageResult<PartitionLog> {
    let loader = Loader {
        dir: &dir,
        name: partition.to_string(),
        config: &config,
        options,
    };
    let loaded = loader.load()?;
    let (expiration, now) = (options.producer_expiration_ms, options.now_ms);
    Ok(PartitionLog::from_loaded(
        partition, dir, config, expiration, now, loaded,
    ))
}

struct Loader<'a> {
    dir: &'a Arc<PartitionDir>,
    name: String,
    config: &'a LogConfig,
    options: &'a LoadOptions,
}

/// What loading changes besides the segments.
struct Books {
    epochs: LeaderEpochs,
    snapshots: Snapshots,
    /// Files to be removed, and when (milliseconds since the epoch).
    doomed_files: Vec<(String, i64)>,
}

impl Loader<'_> {
    fn load(&self) -> StorageResult<Loaded> {
        let names = finish_interrupted_work(&self.dir.path())?;
        let mut books = Books {
            epochs: LeaderEpochs::open(self.dir)?,
            snapshots: Snapshots::among(&names, self.dir),
            doomed_files: Vec::new(),
        };
        let mut segments = self.open_segments(&names, &mut books)?;
        let recovered = match self.options.clean {
            true => None,
            false => Some(self.recover(&mut segments, &mut books)?),
        };
        let mut log_end = self.log_end(&mut segments, &mut books)?;
        let checkpointed_start = self.options.log_start_offset;
        if log_end < checkpointed_start && !segments.is_empty() {
            tracing::warn!(
                partition = %self.name, log_end, log_start = checkpointed_start,
                "deleting all segments because the log ends before its start; were files deleted by hand?"
            );
            for segment in segments.drain(..) {
                self.doom(&segment, &mut books.doomed_files)?;
            }
            books.epochs.clear()?;
            books.snapshots.delete_where(|_| true)?;
        }
        let Books {
            mut epochs,
            mut snapshots,
            doomed_files,
        } = books;
        let new_files = !self.options.clean || segments.is_empty();
        if segments.is_empty() {
            let segment = self.open_segment(checkpointed_start)?;
            segment.preallocate(self.config)?;
            segments.push(segment);
            log_end = checkpointed_start;
        }
        let log_start = checkpointed_start.max(segments[0].base_offset());
        epochs.trim_loaded(checkpointed_start, log_end);
        let bases: Vec<i64> = segments
            .iter()
            .map(|segment| segment.base_offset())
            .collect();
        snapshots.delete_strays(&bases)?;
        let producers = self.producers(&mut snapshots, &segments, log_start, log_end, recovered)?;
        if let Some(active) = segments.last() {
            active.activate(self.config, log_end)?;
        }
        let recovery_point = match self.options.clean {
            true => log_end,
            false => self.options.recovery_point.min(log_end),
        };
        Ok(Loaded {
            segments,
            epochs,
            producers,
            snapshots,
            log_start,
            log_end,
            recovery_point,
            topic_id: partition_metadata::read(&self.dir.path())?,
            doomed_files,
            new_files,
        })
    }

    fn remove(&self, name: &str) -> StorageResult<()> {
        let path = self.dir.path().join(name);
        tracing::debug!(path = %path.display(), "removing leftover file");
        fs::remove_file(&path).context("delete", &path)
    }

    fn open_segment(&self, base_offset: i64) -> StorageResult<Arc<Segment>> {
        let jitter = segment_jitter(self.config);
        Segment::open(self.dir, base_offset, self.options.now_ms, jitter).map(Arc::new)
    }

    /// Opens all segments in order; those without an offset index are checked whatever the checkpoint says.
    fn open_segments(
        &self,
        names: &[String],
        books: &mut Books,
    ) -> StorageResult<Vec<Arc<Segment>>> {
        let mut files: BTreeMap<i64, Vec<&'static str>> = BTreeMap::new();
        for name in names {
            if let Some((offset, suffix)) = parse_file(name)
                && let Some(known) = SEGMENT_SUFFIXES.iter().find(|known| **known == suffix)
            {
                files.entry(offset).or_default().push(known);
            }
        }
        let mut segments = Vec::with_capacity(files.len());
        let bases: Vec<i64> = files.keys().copied().collect();
        for (index, (base_offset, suffixes)) in files.into_iter().enumerate() {
            if !suffixes.contains(&LOG_SUFFIX) {
                for suffix in suffixes {
                    tracing::warn!(partition = %self.name, base_offset, suffix, "removing orphaned index file");
                    self.remove(&format!("{base_offset:020}{suffix}"))?;
                }
                continue;
            }
            let segment = self.open_segment(base_offset)?;
            // Kafka goes on with an empty time index where none is; ours is complete.
            let has_indexes =
                suffixes.contains(&INDEX_SUFFIX) && suffixes.contains(&TIME_INDEX_SUFFIX);
            let bad_txn_index =
                suffixes.contains(&TXN_INDEX_SUFFIX) && segment.txn_index().check().is_err();
            // Those that reach behind the recovery point are checked later, and what follows a cut is dropped then.
            let end = bases.get(index + 1).copied().unwrap_or(i64::MAX);
            let checked_later = !self.options.clean && end > self.options.recovery_point;
            if (!has_indexes || bad_txn_index) && !checked_later {
                tracing::warn!(partition = %self.name, base_offset, "index missing or corrupt, rebuilding");
                self.rebuild(segment, &mut segments, books)?;
            } else {
                segments.push(segment);
            }
        }
        // A piece of one that was split may belong behind those that follow.
        segments.sort_by_key(|segment| segment.base_offset());
        Ok(segments)
    }

    /// Rebuilds the indexes of the segment that follows `segments`, and adds it to them; what cannot have indexes is split first.
    /// Answers the bytes cut.
    fn rebuild(
        &self,
        segment: Arc<Segment>,
        segments: &mut Vec<Arc<Segment>>,
        books: &mut Books,
    ) -> StorageResult<u64> {
        let mut producers = ProducerStates::default();
        let base_offset = segment.base_offset();
        self.producers_before(&mut producers, &mut books.snapshots, segments, base_offset)?;
        match self.recover_segment(&segment, &mut books.epochs, &mut producers) {
            Err(StorageError::Overflow { .. }) => {
                let mut cut = 0;
                for piece in self.split(&segment, books)? {
                    cut += self.rebuild(piece, segments, books)?;
                }
                Ok(cut)
            }
            cut => {
                segments.push(segment);
                cut
            }
        }
    }

    /// Splits a segment with offsets too far from its base offset. The pieces have no indexes.
    fn split(&self, segment: &Segment, books: &mut Books) -> StorageResult<Vec<Arc<Segment>>> {
        let bases = split_at_load(segment, self.config, || {
            // If they only waited for their deletion, they would be taken for the first piece's.
            for suffix in [INDEX_SUFFIX, TIME_INDEX_SUFFIX] {
                let path = self.dir.file(segment.base_offset(), suffix);
                match fs::remove_file(&path).context("delete", &path) {
                    Err(error) if !error.is_not_found() => return Err(error),
                    _ => {}
                }
            }
            self.doom(segment, &mut books.doomed_files)
        })?;
        if !bases.contains(&segment.base_offset()) {
            let gone = segment.base_offset();
            books.snapshots.delete_where(|offset| offset == gone)?;
        }
        let pieces = bases.iter().map(|base| self.open_segment(*base));
        pieces.collect()
    }

    /// Checks every segment that may hold unflushed records; cuts at the first bad byte and drops what follows.
    /// Answers the producers as of the end of what is left.
    fn recover(
        &self,
        segments: &mut Vec<Arc<Segment>>,
        books: &mut Books,
    ) -> StorageResult<ProducerStates> {
        let recovery_point = self.options.recovery_point;
        let first = segments
            .partition_point(|segment| segment.base_offset() <= recovery_point)
            .saturating_sub(1);
        let mut producers = ProducerStates::default();
        let from = segments
            .get(first)
            .map_or(0, |segment| segment.base_offset());
        // Later snapshots go, those of an earlier recovery, too: of each producer they have one batch only, and its
        // client may still repeat the ones before. What is read again has them.
        books.snapshots.delete_where(|offset| offset > from)?;
        self.producers_before(
            &mut producers,
            &mut books.snapshots,
            &segments[..first],
            from,
        )?;
        // Segments are read side by side, as many as there are processors, and then noted one after the other.
        let at_once = std::thread::available_parallelism().map_or(1, usize::from);
        let mut index = first;
        while index < segments.len() {
            let together = segments.len().min(index + at_once);
            for verified in self.verify_together(&segments[index..together]) {
                let segment = Arc::clone(&segments[index]);
                let base_offset = segment.base_offset();
                tracing::info!(
                    partition = %self.name, base_offset, "recovering unflushed segment {} of {}",
                    index - first + 1, segments.len() - first
                );
                let verified = match verified {
                    Err(StorageError::Overflow { .. }) => {
                        segments.splice(index..=index, self.split(&segment, books)?);
                        segments.sort_by_key(|segment| segment.base_offset());
                        break; // Begin with the first piece.
                    }
                    verified => verified?,
                };
                let cut = verified.apply(&segment, &mut books.epochs, &mut producers)?;
                index += 1;
                if cut > 0 {
                    let next_offset = producers.end_offset().max(base_offset);
                    tracing::warn!(
                        partition = %self.name, base_offset, bytes = cut, next_offset,
                        "corruption found, cut the segment and dropped those behind it"
                    );
                    for later in segments.drain(index..) {
                        self.doom(&later, &mut books.doomed_files)?;
                    }
                    books
                        .snapshots
                        .delete_where(|offset| offset > next_offset)?;
                    return Ok(producers);
                }
                if let Some(next) = segments.get(index) {
                    producers.set_end_offset(next.base_offset());
                    let log_start = self.options.log_start_offset;
                    books.snapshots.take(&producers, log_start, true)?;
                    self.forget_expired(&mut producers);
                }
            }
        }
        Ok(producers)
    }

    fn verify_together(&self, segments: &[Arc<Segment>]) -> Vec<StorageResult<Verified>> {
        let interval = self.config.index_interval_bytes;
        let verify_one = |segment: &Arc<Segment>| verify(segment, interval, &self.name);
        if let [segment] = segments {
            return vec![verify_one(segment)];
        }
        std::thread::scope(|scope| {
            let walks: Vec<_> = segments
                .iter()
                .map(|segment| (segment, scope.spawn(move || verify_one(segment))))
                .collect();
            // A walk that panicked is tried again here, where the panic is seen.
            walks
                .into_iter()
                .map(|(segment, walk)| walk.join().unwrap_or_else(|_| verify_one(segment)))
                .collect()
        })
    }

    /// Re-reads one segment: rebuilds its indexes, notes epochs and producers, cuts it where it is bad.
    /// Answers the bytes cut.
    fn recover_segment(
        &self,
        segment: &Segment,
        epochs: &mut LeaderEpochs,
        producers: &mut ProducerStates,
    ) -> StorageResult<u64> {
        verify(segment, self.config.index_interval_bytes, &self.name)?
            .apply(segment, epochs, producers)
    }

    /// The log's end. After a clean stop an index may still have been damaged, and is rebuilt; records that were, are not cut: nothing
    /// says that they were only half written.
    fn log_end(&self, segments: &mut Vec<Arc<Segment>>, books: &mut Books) -> StorageResult<i64> {
        let Some(last) = segments.last() else {
            return Ok(self.options.log_start_offset);
        };
        let index_fits = last.offset_index_fits()?;
        match last.next_offset() {
            Ok(end) if index_fits => return Ok(end),
            Err(error) if !error.is_of_records() || index_fits => return Err(error),
            _ => {}
        }
        let base_offset = last.base_offset();
        tracing::warn!(partition = %self.name, base_offset, "index does not fit its log, rebuilding");
        let last = Arc::clone(last);
        segments.pop();
        let cut = self.rebuild(last, segments, books)?;
        if cut > 0 {
            // Only reached if both were damaged; said as for damaged records alone.
            tracing::error!(partition = %self.name, base_offset, cut, "records were damaged, too, and cut");
        }
        let last = segments.last();
        last.map_or(Ok(self.options.log_start_offset), |last| last.next_offset())
    }

    fn doom(&self, segment: &Segment, doomed_files: &mut Vec<(String, i64)>) -> StorageResult<()> {
        let due = self
            .options
            .now_ms
            .saturating_add(self.config.file_delete_delay_ms);
        segment.rename_files(DELETED_SUFFIX)?;
        for suffix in SEGMENT_SUFFIXES {
            let name = format!("{:020}{suffix}{DELETED_SUFFIX}", segment.base_offset());
            doomed_files.push((name, due));
        }
        Ok(())
    }

    /// Producers as of a segment's start, for its recovery.
    fn producers_before(
        &self,
        producers: &mut ProducerStates,
        snapshots: &mut Snapshots,
        segments: &[Arc<Segment>],
        base_offset: i64,
    ) -> StorageResult<()> {
        let options = self.options;
        let (now, expiration) = (options.now_ms, options.producer_expiration_ms);
        let start = options.log_start_offset;
        *producers = load_producers(snapshots, segments, start, base_offset, now, expiration)?;
        Ok(())
    }

    fn forget_expired(&self, producers: &mut ProducerStates) {
        let (now, expiration) = (self.options.now_ms, self.options.producer_expiration_ms);
        producers.remove_expired(now, expiration);
    }

    /// Producers as of the log's end, and a snapshot of them.
    fn producers(
        &self,
        snapshots: &mut Snapshots,
        segments: &[Arc<Segment>],
        log_start: i64,
        log_end: i64,
        recovered: Option<ProducerStates>,
    ) -> StorageResult<ProducerStates> {
        let options = self.options;
        let (now, expiration) = (options.now_ms, options.producer_expiration_ms);
        let mut states = if snapshots.latest().is_none() && options.clean {
            // A clean stop without any snapshot: a log of before snapshots were written. Do not read all of it, and leave
            // snapshots so that a truncation later need not either.
            let mut none = ProducerStates::new(log_start);
            for segment in segments.iter().rev().take(2).rev() {
                none.set_end_offset(segment.base_offset());
                snapshots.take(&none, log_start, true)?;
            }
            none
        } else {
            snapshots.delete_where(|offset| offset > log_end || offset <= log_start)?;
            match recovered {
                Some(mut states) if states.end_offset() == log_end => {
                    // Apache's broker reads them back from the snapshot that its recovery has taken, without those that have expired.
                    snapshots.take(&states, log_start, true)?;
                    self.forget_expired(&mut states);
                    states
                }
                _ => load_producers(snapshots, segments, log_start, log_end, now, expiration)?,
            }
        };
        states.set_end_offset(log_end);
        snapshots.take(&states, log_start, true)?;
        Ok(states)
    }
}
