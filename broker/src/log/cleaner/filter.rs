//! Pure: what compaction keeps of a batch (`LogCleaner.scala`, `MemoryRecords.filterTo`).
//!
//! A batch goes as a whole if its transaction was aborted, or if it is a marker whose transaction has left nothing and whose
//! delete horizon has passed. Of the others the newest record of each key stays; tombstones until the delete horizon, which the
//! first pass over them writes into their batch. The batch with a producer's last sequence number stays even without records.
//! Offsets, sequence numbers, epochs and the codec never change.

use std::collections::HashMap;

use bytes::{BufMut, BytesMut};
use kafka_wire::records::batch::{
    BATCH_HEADER_LEN, BatchHeader, BatchView, LOG_OVERHEAD, NO_TIMESTAMP,
};
use kafka_wire::records::compression::{self, Codec};
use kafka_wire::records::control::{self, ControlType};
use kafka_wire::records::legacy::{MessageSetBuilder, MessageSetOptions, MessageView};
use kafka_wire::records::record::{
    RecordError, RecordReader, RecordSource as _, encode_with_timestamp_delta,
};

use crate::log::cleaner::offset_map::OffsetMap;
use crate::log::cleaner::transactions::CleanedTransactions;
use crate::log::codec::{self, MAX_DECOMPRESSED_BYTES, MAX_WHOLE_BYTES};
use crate::log::entry::EntryHeader;
use crate::log::txn_index::AbortedTxn;

/// Why a batch cannot be cleaned: a text for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadBatch(String);

impl BadBatch {
    fn new(reason: impl ToString) -> Self {
        BadBatch(reason.to_string())
    }
}

/// What must survive so that a producer can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastRecord {
    /// Last offset of its last batch; `None` if its last words were a marker.
    pub last_data_offset: Option<i64>,
    /// Its epoch.
    pub epoch: i16,
}

/// What was read and kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records read.
    pub records_read: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Records kept.
    pub records_kept: u64,
    /// Bytes kept.
    pub bytes_kept: u64,
    /// Records without a key, which a compacted topic should not have; they are dropped.
    pub keyless: u64,
}

/// A batch that was kept, at the end of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Its bytes.
    pub bytes: usize,
    /// Its last offset.
    pub last_offset: i64,
    /// Its largest timestamp, -1 if there is none.
    pub max_timestamp: i64,
}

/// What is done with one batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Filtered {
    /// The batch that was written, if any.
    pub kept: Option<Kept>,
    /// The aborted transaction that ends here and still has records.
    pub aborted: Option<AbortedTxn>,
}

/// What is the same for all batches of one pass over a log.
#[derive(Debug)]
pub struct Pass<'a> {
    /// The newest offset of each key.
    pub map: &'a OffsetMap,
    /// When the pass started, in milliseconds.
    pub now_ms: i64,
    /// `delete.retention.ms`.
    pub delete_retention_ms: i64,
}

/// Filters the batches of a log one after another.
#[derive(Debug)]
pub struct BatchFilter<'a> {
    pass: Pass<'a>,
    transactions: CleanedTransactions,
    producers: HashMap<i64, LastRecord>,
    retain_legacy_tombstones: bool,
    counts: Counts,
    /// The records of the batch at hand that stay.
    retained: Vec<Retained>,
    payload: BytesMut,
}

/// A record that stays, in the uncompressed payload.
#[derive(Debug, Clone, Copy)]
struct Retained {
    start: usize,
    end: usize,
    timestamp: i64,
    timestamp_delta: i64,
}

/// What the records of a batch were found to be.
#[derive(Debug, Clone, Copy)]
struct Survey {
    all_retained: bool,
    tombstones: bool,
}

impl<'a> BatchFilter<'a> {
    /// Filters from the start of a log.
    pub fn new(pass: Pass<'a>) -> Self {
        BatchFilter {
            pass,
            transactions: CleanedTransactions::default(),
            producers: HashMap::new(),
            retain_legacy_tombstones: true,
            counts: Counts::default(),
            retained: Vec::new(),
            payload: BytesMut::new(),
        }
    }

    /// Sets what producers the log knows at this time.
    pub fn set_producers(&mut self, producers: HashMap<i64, LastRecord>) {
        self.producers = producers;
    }

    /// Starts a segment: the aborted transactions of its range, and whether tombstones of old formats stay.
    pub fn start_segment(&mut self, aborted: &[AbortedTxn], retain_legacy_tombstones: bool) {
        self.transactions.add_aborted(aborted);
        self.retain_legacy_tombstones = retain_legacy_tombstones;
    }

    /// What was read and kept so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Writes what stays of the batch in `bytes` behind `out`.
    ///
    /// # Errors
    /// [`BadBatch`] if it is malformed.
    pub fn filter(
        &mut self,
        header: &EntryHeader,
        bytes: &[u8],
        out: &mut BytesMut,
    ) -> Result<Filtered, BadBatch> {
        self.counts.bytes_read += bytes.len() as u64;
        let filtered = match header {
            EntryHeader::V2(header) => self.filter_batch(header, bytes, out)?,
            EntryHeader::Legacy { .. } => Filtered {
                kept: self.filter_message(bytes, out)?,
                aborted: None,
            },
        };
        if let Some(kept) = filtered.kept {
            self.counts.bytes_kept += kept.bytes as u64;
        }
        Ok(filtered)
    }

    fn filter_batch(
        &mut self,
        header: &BatchHeader,
        bytes: &[u8],
        out: &mut BytesMut,
    ) -> Result<Filtered, BadBatch> {
        let view = BatchView::parse(bytes).map_err(BadBatch::new)?;
        let is_control = header.is_control();
        let (discardable, aborted) = if is_control {
            let says = control_type(&view)?;
            self.transactions.on_control_batch(header, says)
        } else {
            (self.transactions.on_batch(header), None)
        };
        let horizon = header.delete_horizon_ms();
        let discard = discardable
            && (!is_control || horizon.is_some_and(|horizon| horizon <= self.pass.now_ms));
        let remembers_producer = self.is_last_of_producer(header);
        let mut filtered = Filtered {
            kept: None,
            aborted,
        };
        if discard && !remembers_producer {
            return Ok(filtered);
        }
        let plain = codec::unpack_within(&view, MAX_DECOMPRESSED_BYTES).map_err(BadBatch::new)?;
        let survey = if plain.too_large {
            self.streamed_survey(&view, discard)?
        } else if let Some(error) = plain.broken {
            return Err(BadBatch::new(error));
        } else {
            self.survey(header, &plain.bytes, discard)?
        };
        self.counts.records_kept += self.retained.len() as u64;
        let new_horizon = horizon.is_none() && (survey.tombstones || (is_control && discardable));
        filtered.kept = if self.retained.is_empty() {
            remembers_producer.then(|| write_empty(header, out))
        } else if plain.too_large || (survey.all_retained && !new_horizon) {
            // What unpacks to so much is not written anew for the sake of single records: it stays until none of it is needed.
            out.put_slice(bytes);
            Some(Kept {
                bytes: bytes.len(),
                last_offset: header.last_offset(),
                max_timestamp: header.max_timestamp,
            })
        } else {
            let horizon = match new_horizon {
                true => Some(
                    self.pass
                        .now_ms
                        .saturating_add(self.pass.delete_retention_ms),
                ),
                false => horizon,
            };
            Some(self.write_retained(header, &plain.bytes, horizon, out)?)
        };
        Ok(filtered)
    }

    /// True if the log needs the batch to know its producer's last sequence number or epoch.
    fn is_last_of_producer(&self, header: &BatchHeader) -> bool {
        if !header.has_producer_id() {
            return false;
        }
        let Some(last) = self.producers.get(&header.producer_id) else {
            return false;
        };
        match last.last_data_offset {
            Some(offset) => header.last_offset() == offset,
            None => header.is_control() && header.producer_epoch == last.epoch,
        }
    }

    /// Finds the records that stay; none do if `discard`.
    fn survey(
        &mut self,
        header: &BatchHeader,
        plain: &[u8],
        discard: bool,
    ) -> Result<Survey, BadBatch> {
        self.retained.clear();
        let base = header.record_base();
        let mut reader = RecordReader::new(plain);
        let mut survey = Survey {
            all_retained: true,
            tombstones: false,
        };
        for _ in 0..header.record_count {
            let start = plain.len() - reader.remaining();
            let record = reader.next_record(&base).map_err(BadBatch::new)?;
            let has_value = record.value.is_some();
            if !self.surveyed(header, record.offset, record.key, has_value, discard) {
                survey.all_retained = false;
                continue;
            }
            survey.tombstones |= !has_value;
            self.retained.push(Retained {
                start,
                end: plain.len() - reader.remaining(),
                timestamp: record.timestamp,
                timestamp_delta: record.timestamp_delta,
            });
        }
        if header.record_count < 0 || !reader.is_empty() {
            let declared = header.record_count;
            return Err(BadBatch::new(RecordError::BadCount { declared }));
        }
        Ok(survey)
    }

    /// The same for a batch that unpacks to too much. Where its records lie is not told.
    fn streamed_survey(&mut self, view: &BatchView<'_>, discard: bool) -> Result<Survey, BadBatch> {
        self.retained.clear();
        let header = &view.header;
        let base = header.record_base();
        let mut stream = codec::stream(view, true).map_err(BadBatch::new)?;
        let mut survey = Survey {
            all_retained: true,
            tombstones: false,
        };
        for _ in 0..header.record_count {
            let record = stream.skip_record(&base).map_err(BadBatch::new)?;
            let key = (record.key_size >= 0).then(|| stream.last_key());
            let has_value = record.value_size >= 0;
            if !self.surveyed(header, record.offset, key, has_value, discard) {
                survey.all_retained = false;
                continue;
            }
            survey.tombstones |= !has_value;
            self.retained.push(Retained {
                start: 0,
                end: 0,
                timestamp: record.timestamp,
                timestamp_delta: 0,
            });
        }
        Ok(survey)
    }

    /// Whether a record of a batch stays; counts it.
    fn surveyed(
        &mut self,
        header: &BatchHeader,
        offset: i64,
        key: Option<&[u8]>,
        has_value: bool,
        discard: bool,
    ) -> bool {
        self.counts.records_read += 1;
        let stays = !discard
            && (header.is_control()
                || self.stays(offset, key, has_value, || {
                    let horizon = header.delete_horizon_ms();
                    horizon.is_none_or(|horizon| self.pass.now_ms < horizon)
                }));
        if !stays && !discard {
            self.counts.keyless += u64::from(key.is_none());
        }
        stays
    }

    /// Whether a record stays in the log.
    fn stays(
        &self,
        offset: i64,
        key: Option<&[u8]>,
        has_value: bool,
        tombstone_stays: impl FnOnce() -> bool,
    ) -> bool {
        if offset > self.pass.map.latest_offset() {
            return true;
        }
        let Some(key) = key else {
            return false;
        };
        offset >= self.pass.map.get(key) && (has_value || tombstone_stays())
    }

    /// Writes a batch of the retained records.
    fn write_retained(
        &mut self,
        header: &BatchHeader,
        plain: &[u8],
        horizon: Option<i64>,
        out: &mut BytesMut,
    ) -> Result<Kept, BadBatch> {
        let mut header = *header;
        let first = self.retained.first().map_or(NO_TIMESTAMP, |r| r.timestamp);
        match horizon {
            Some(horizon) => header.set_delete_horizon_ms(horizon),
            None => header.base_timestamp = first,
        }
        header.max_timestamp = self
            .retained
            .iter()
            .map(|record| record.timestamp)
            .max()
            .unwrap_or(NO_TIMESTAMP);
        self.payload.clear();
        for record in &self.retained {
            let raw = &plain[record.start..record.end];
            let delta = record.timestamp.wrapping_sub(header.base_timestamp);
            if delta == record.timestamp_delta {
                self.payload.put_slice(raw);
            } else {
                encode_with_timestamp_delta(&mut self.payload, raw, delta)
                    .map_err(BadBatch::new)?;
            }
        }
        let codec = Codec::from_id(header.codec_id()).unwrap_or_default();
        let packed = compression::compress(codec, &self.payload).map_err(BadBatch::new)?;
        let length = BATCH_HEADER_LEN - LOG_OVERHEAD + packed.len();
        header.length =
            i32::try_from(length).map_err(|_| BadBatch::new("batch grew beyond 2 GiB"))?;
        header.record_count = self.retained.len() as i32;
        header.crc = header.compute_crc(&packed);
        out.put_slice(&header.encode());
        out.put_slice(&packed);
        Ok(Kept {
            bytes: header.size_bytes(),
            last_offset: header.last_offset(),
            max_timestamp: header.max_timestamp,
        })
    }

    /// The same for a message of magic 0 or 1, which may wrap others.
    fn filter_message(
        &mut self,
        bytes: &[u8],
        out: &mut BytesMut,
    ) -> Result<Option<Kept>, BadBatch> {
        let message = MessageView::parse(bytes).map_err(BadBatch::new)?;
        let records = message
            .records(MAX_DECOMPRESSED_BYTES)
            .map_err(BadBatch::new)?;
        let total = records.len();
        let mut retained = Vec::with_capacity(total);
        for record in records {
            self.counts.records_read += 1;
            let (key, has_value) = (record.key.as_deref(), record.value.is_some());
            if self.stays(record.offset, key, has_value, || {
                self.retain_legacy_tombstones
            }) {
                retained.push(record);
            } else {
                self.counts.keyless += u64::from(record.key.is_none());
            }
        }
        self.counts.records_kept += retained.len() as u64;
        let Some(first) = retained.first() else {
            return Ok(None);
        };
        if retained.len() == total {
            out.put_slice(bytes);
            return Ok(Some(Kept {
                bytes: bytes.len(),
                last_offset: message.offset,
                max_timestamp: message.timestamp,
            }));
        }
        let by_broker =
            message.timestamp_type() == kafka_wire::records::batch::TimestampType::LogAppendTime;
        let mut builder = MessageSetBuilder::new(MessageSetOptions {
            magic: message.magic,
            codec: Codec::from_id(message.codec_id()).unwrap_or_default(),
            base_offset: first.offset,
            log_append_time: by_broker.then_some(message.timestamp),
        });
        for record in &retained {
            let (key, value) = (record.key.as_deref(), record.value.as_deref());
            builder.push(record.offset, record.timestamp, key, value);
        }
        let rebuilt = builder.finish().map_err(BadBatch::new)?;
        let rebuilt = MessageView::parse(&rebuilt).map_err(BadBatch::new)?;
        out.put_slice(rebuilt.bytes());
        Ok(Some(Kept {
            bytes: rebuilt.bytes().len(),
            last_offset: rebuilt.offset,
            max_timestamp: rebuilt.timestamp,
        }))
    }
}

/// Writes the batch without its records.
fn write_empty(header: &BatchHeader, out: &mut BytesMut) -> Kept {
    let mut header = *header;
    header.set_empty();
    out.put_slice(&header.encode());
    Kept {
        bytes: BATCH_HEADER_LEN,
        last_offset: header.last_offset(),
        max_timestamp: header.max_timestamp,
    }
}

/// What the first record of a control batch says; `None` if it has none any more.
fn control_type(view: &BatchView<'_>) -> Result<Option<ControlType>, BadBatch> {
    let plain = codec::decompress(view).map_err(BadBatch::new)?;
    let Some(record) = view.records(&plain).next() else {
        return Ok(None);
    };
    let record = record.map_err(BadBatch::new)?;
    control::parse_key(record.key)
        .map(Some)
        .map_err(BadBatch::new)
}

/// Brings the keys of a batch into the map, from `start_offset` on. False if the map is full.
///
/// # Errors
/// [`BadBatch`] if it is malformed.
pub fn index_keys(
    map: &mut OffsetMap,
    transactions: &mut CleanedTransactions,
    header: &EntryHeader,
    bytes: &[u8],
    start_offset: i64,
) -> Result<bool, BadBatch> {
    match header {
        EntryHeader::Legacy { .. } => {
            let message = MessageView::parse(bytes).map_err(BadBatch::new)?;
            let records = message
                .records(MAX_DECOMPRESSED_BYTES)
                .map_err(BadBatch::new)?;
            for record in records {
                if let Some(key) = &record.key
                    && record.offset >= start_offset
                    && !map.put(key, record.offset)
                {
                    return Ok(false);
                }
            }
        }
        EntryHeader::V2(header) => {
            let view = BatchView::parse(bytes).map_err(BadBatch::new)?;
            if header.is_control() {
                transactions.on_control_batch(header, control_type(&view)?);
            } else if !transactions.on_batch(header) {
                let plain = codec::unpack_within(&view, MAX_WHOLE_BYTES).map_err(BadBatch::new)?;
                let mut put = |key: Option<&[u8]>, offset: i64| {
                    key.is_none_or(|key| offset < start_offset || map.put(key, offset))
                };
                if plain.too_large {
                    drop(plain);
                    let base = header.record_base();
                    let mut stream = codec::stream(&view, true).map_err(BadBatch::new)?;
                    for _ in 0..header.record_count {
                        let record = stream.skip_record(&base).map_err(BadBatch::new)?;
                        let key = (record.key_size >= 0).then(|| stream.last_key());
                        if !put(key, record.offset) {
                            return Ok(false);
                        }
                    }
                } else if let Some(error) = plain.broken {
                    return Err(BadBatch::new(error));
                } else {
                    for record in view.records(&plain.bytes) {
                        let record = record.map_err(BadBatch::new)?;
                        if !put(record.key, record.offset) {
                            return Ok(false);
                        }
                    }
                }
            }
        }
    }
    if header.last_offset() >= start_offset {
        map.set_latest_offset(header.last_offset());
    }
    Ok(true)
}
