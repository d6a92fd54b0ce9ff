//! Shell: a segment whose offsets run further than its indexes can tell from its base offset, as brokers of old could leave one, is
//! written as several that have none so far (`LocalLog.splitOverflowedSegment`).
//!
//! Like the output of compaction they are named `.cleaned`, then `.swap`, so that a crash leaves all of them or none.

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use kafka_wire::records::legacy::MessageView;

use crate::log::cleaner::cleaned_segment::{CleanedSegment, remove_files};
use crate::log::cleaner::filter::Kept;
use crate::log::codec::MAX_DECOMPRESSED_BYTES;
use crate::log::config::LogConfig;
use crate::log::entry::EntryHeader;
use crate::log::error::{IoContext, StorageError, StorageResult};
use crate::log::names::LOG_SUFFIX;
use crate::log::partition_log::PartitionLog;
use crate::log::replace::{finish_files, put_in_place};
use crate::log::scan::{Located, Scanner};
use crate::log::segment::Segment;
use crate::log::txn_index::AbortedTxn;

/// Bytes read at once.
const CHUNK: usize = 256 * 1024;

impl PartitionLog {
    /// Splits a segment, not the last one, of which no index need be rebuilt. Nothing is done if the log has changed meanwhile.
    ///
    /// # Errors
    /// [`StorageError`] if a file cannot be read or written, the segment's last offset is not too far from its base offset, or a piece
    /// would come behind the segment that follows: its records would then be the newest ones.
    pub fn split_segment(&self, segment: &Arc<Segment>, now_ms: i64) -> StorageResult<()> {
        let mut aborted = Vec::new();
        segment.txn_index().collect(0, i64::MAX, &mut aborted)?;
        let segments = self.segments.load();
        let at = segments.partition_point(|one| one.base_offset() <= segment.base_offset());
        let next = segments.get(at).map_or(i64::MAX, |one| one.base_offset());
        drop(segments);
        let bases = write_pieces(segment, next, &self.config(), Some(&aborted))?;
        if !self.replace_segments(std::slice::from_ref(segment), &bases, now_ms)? {
            for base_offset in bases {
                remove_files(&self.dir, base_offset)?;
            }
        }
        Ok(())
    }
}

/// Splits a segment of a log that is being loaded, which nobody reads, into segments without indexes: these are to be made by recovery.
/// `remove` puts the old files out of the way. Answers the new base offsets, which may lie behind those of segments that follow.
///
/// # Errors
/// [`StorageError`] as for [`PartitionLog::split_segment`].
pub(super) fn split_at_load(
    segment: &Segment,
    config: &LogConfig,
    remove: impl FnOnce() -> StorageResult<()>,
) -> StorageResult<Vec<i64>> {
    let bases = write_pieces(segment, i64::MAX, config, None)?;
    finish_files(&segment.dir, &bases)?;
    remove()?;
    put_in_place(&segment.dir, &bases)?;
    Ok(bases)
}

/// A part of a segment whose offsets its first one can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    base_offset: i64,
    start: u64,
    end: u64,
}

/// Writes the `.cleaned` files. Indexes are among them if the segment's aborted transactions are told. All begin below `next_base`.
fn write_pieces(
    segment: &Segment,
    next_base: i64,
    config: &LogConfig,
    aborted: Option<&[AbortedTxn]>,
) -> StorageResult<Vec<i64>> {
    let pieces = pieces(segment)?;
    let bases: Vec<i64> = pieces.iter().map(|piece| piece.base_offset).collect();
    let taken = |base_offset: &&i64| {
        **base_offset >= next_base
            || **base_offset != segment.base_offset()
                && segment.dir.file(**base_offset, LOG_SUFFIX).exists()
    };
    if let Some(base_offset) = bases.iter().find(taken) {
        let path = segment.dir.file(segment.base_offset(), LOG_SUFFIX);
        let reason = format!("offset {base_offset} belongs to another segment; it cannot be split");
        return Err(StorageError::corrupt(&path, reason));
    }
    tracing::info!(
        partition = %segment.dir.path().display(), base_offset = segment.base_offset(), into = ?bases,
        "splitting a segment with offsets too far from its base offset"
    );
    let modified_ms = segment.modified_ms()?;
    for (index, piece) in pieces.iter().enumerate() {
        let written = write_piece(segment, config, piece).and_then(|mut cleaned| {
            let next = bases.get(index + 1).copied().unwrap_or(i64::MAX);
            for aborted in aborted.unwrap_or_default() {
                if aborted.last_offset < next
                    && (index == 0 || aborted.last_offset >= piece.base_offset)
                {
                    cleaned.add_aborted(aborted);
                }
            }
            cleaned.finish(modified_ms, aborted.is_some())
        });
        if let Err(error) = written {
            for base_offset in &bases[..index] {
                remove_files(&segment.dir, *base_offset)?;
            }
            return Err(error);
        }
    }
    Ok(bases)
}

/// Where to cut: before each batch that the piece so far cannot hold. What is behind the last whole batch goes with the last piece.
fn pieces(segment: &Segment) -> StorageResult<Vec<Piece>> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut last_offset = segment.base_offset();
    let mut scanner = Scanner::new(segment.file(), 0, segment.size());
    // Recovery will say what it thinks of a bad batch at the end.
    while let Ok(Some(entry)) = scanner.next_entry() {
        last_offset = entry.header.last_offset();
        let fits = |piece: &Piece| {
            let relative = last_offset.checked_sub(piece.base_offset);
            relative.is_some_and(|relative| (0..=i64::from(i32::MAX)).contains(&relative))
        };
        match pieces.last_mut() {
            Some(piece) if fits(piece) => piece.end = entry.end(),
            _ => pieces.push(Piece {
                base_offset: first_offset(segment, &mut scanner, &entry)?,
                start: entry.position,
                end: entry.end(),
            }),
        }
    }
    let rising = pieces
        .windows(2)
        .all(|pair| pair[0].base_offset < pair[1].base_offset);
    if segment.can_hold(last_offset) || !rising {
        let path = segment.dir.file(segment.base_offset(), LOG_SUFFIX);
        let reason = format!("offsets jump to and fro, last to {last_offset}; it cannot be split");
        return Err(StorageError::corrupt(&path, reason));
    }
    if let Some(piece) = pieces.last_mut() {
        piece.end = segment.size();
    }
    Ok(pieces)
}

/// The first record's offset; in old formats that is within a wrapping message.
fn first_offset(
    segment: &Segment,
    scanner: &mut Scanner<'_>,
    entry: &Located,
) -> StorageResult<i64> {
    if let EntryHeader::V2(header) = &entry.header {
        return Ok(header.base_offset);
    }
    let path = segment.dir.file(segment.base_offset(), LOG_SUFFIX);
    let bytes = scanner.bytes_of(entry).context("read", &path)?;
    let records =
        MessageView::parse(bytes).and_then(|message| message.records(MAX_DECOMPRESSED_BYTES));
    let records = records.map_err(|error| {
        StorageError::corrupt(&path, format!("position {}: {error}", entry.position))
    })?;
    Ok(records
        .first()
        .map_or(entry.header.base_offset(), |first| first.offset))
}

fn write_piece(
    segment: &Segment,
    config: &LogConfig,
    piece: &Piece,
) -> StorageResult<CleanedSegment> {
    let (interval, most) = (config.index_interval_bytes, config.segment_index_bytes);
    let mut cleaned = CleanedSegment::create(&segment.dir, piece.base_offset, interval, most)?;
    let path = || segment.dir.file(segment.base_offset(), LOG_SUFFIX);
    let mut scanner = Scanner::with_chunk(segment.file(), piece.start, piece.end, CHUNK);
    while let Ok(Some(entry)) = scanner.next_entry() {
        let bytes = scanner.bytes_of(&entry).context("read", &path())?;
        cleaned.buffer().extend_from_slice(bytes);
        cleaned.added(&Kept {
            bytes: bytes.len(),
            last_offset: entry.header.last_offset(),
            max_timestamp: entry.header.max_timestamp(),
        })?;
    }
    let mut position = scanner.position();
    let mut rest = vec![0; CHUNK];
    while position < piece.end {
        let count = (piece.end - position).min(CHUNK as u64) as usize;
        let read = segment.file().read_exact_at(&mut rest[..count], position);
        read.context("read", &path())?;
        cleaned.add_unread(&rest[..count])?;
        position += count as u64;
    }
    Ok(cleaned)
}

#[cfg(test)]
#[path = "split_test.rs"]
mod tests;
