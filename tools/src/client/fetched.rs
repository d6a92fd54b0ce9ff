//! Pure: the records in what a fetch brought, without those of aborted transactions.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use kafka_wire::error_code::ErrorCode;
use kafka_wire::records::batch::{BatchView, MAGIC_POSITION, MAGIC_V2, TimestampType};
use kafka_wire::records::compression::{self, Codec};
use kafka_wire::records::legacy::MessageView;
use kafka_wire::records::record::Record;

use crate::client::assignor::Place;
use crate::client::error::ClientError;

/// The largest batch that is unpacked, in bytes.
const MAX_BATCH_BYTES: usize = 1 << 30;
/// The key of a control record that ends an aborted transaction: version 0, type 0.
const ABORT_KEY: [u8; 4] = [0, 0, 0, 0];

/// A record with where it was.
#[derive(Debug, Clone)]
pub struct ConsumerRecord {
    /// Partition.
    pub partition: i32,
    /// Kind of the timestamp; none in message sets of magic 0.
    pub timestamp_type: Option<TimestampType>,
    /// Offset, timestamp, key, value and headers.
    pub record: Record,
}

/// Batches of one partition that are not unpacked yet, and the records of the one that is.
#[derive(Debug)]
pub struct Fetched {
    place: Place,
    rest: Bytes,
    /// The offset to go on from when all that was unpacked has been taken.
    position: i64,
    records: VecDeque<ConsumerRecord>,
    /// Epoch of the leader that wrote the batch of these records, or -1.
    leader_epoch: i32,
    /// Aborted transactions to come, as (first offset, producer id), by offset; `None` when
    /// uncommitted records are wanted as well.
    aborted: Option<VecDeque<(i64, i64)>>,
    aborting: BTreeSet<i64>,
}

impl Fetched {
    /// What a fetch from `position` brought.
    #[must_use]
    pub fn new(
        place: Place,
        position: i64,
        batches: Bytes,
        aborted: Option<Vec<(i64, i64)>>,
    ) -> Self {
        let aborted = aborted.map(|mut list| {
            list.sort_unstable();
            VecDeque::from(list)
        });
        let (records, aborting) = (VecDeque::new(), BTreeSet::new());
        Self {
            place,
            rest: batches,
            position,
            records,
            leader_epoch: -1,
            aborted,
            aborting,
        }
    }

    /// Epoch of the leader that wrote the record that was taken last, or -1.
    #[must_use]
    pub fn leader_epoch(&self) -> i32 {
        self.leader_epoch
    }

    /// Whether the next record needs no more unpacking.
    #[must_use]
    pub fn has_unpacked(&self) -> bool {
        !self.records.is_empty()
    }

    /// The next record with the position after it, or `Err(position)` at the end.
    ///
    /// # Errors
    /// [`ClientError`] for batches that are not well-formed.
    pub fn next(&mut self) -> Result<Result<(ConsumerRecord, i64), i64>, ClientError> {
        loop {
            if let Some(record) = self.records.pop_front() {
                let after = match self.records.front() {
                    Some(_) => record.record.offset + 1,
                    None => self.position,
                };
                return Ok(Ok((record, after)));
            }
            if !self.unpack()? {
                return Ok(Err(self.position));
            }
        }
    }

    /// Unpacks the next batch; false when there is none.
    fn unpack(&mut self) -> Result<bool, ClientError> {
        let Some(magic) = self.rest.get(MAGIC_POSITION) else {
            return Ok(false);
        };
        let wanted_from = self.position;
        let (size, next_offset, timestamp_type, records) = if *magic == MAGIC_V2 as u8 {
            let rest = self.rest.clone();
            let Ok(batch) = BatchView::parse(&rest) else {
                return Ok(false);
            };
            let header = batch.header;
            if !batch.crc_ok() {
                return Err(self.corrupt(header.base_offset, "Record is corrupt"));
            }
            let records = self.batch_records(&batch)?;
            let kind = Some(header.timestamp_type());
            self.leader_epoch = header.partition_leader_epoch;
            (batch.bytes().len(), header.next_offset(), kind, records)
        } else {
            let rest = self.rest.clone();
            let Ok(message) = MessageView::parse(&rest) else {
                return Ok(false);
            };
            if !message.crc_ok() {
                return Err(self.corrupt(message.offset, "Record is corrupt"));
            }
            let records = message
                .records(MAX_BATCH_BYTES)
                .map_err(|error| self.corrupt(message.offset, &error.to_string()))?;
            let kind = (message.magic > 0).then_some(message.timestamp_type());
            (message.bytes().len(), message.offset + 1, kind, records)
        };
        self.rest = self.rest.slice(size..);
        self.position = self.position.max(next_offset);
        let kept = records
            .into_iter()
            .filter(|record| record.offset >= wanted_from);
        let located = kept.map(|record| ConsumerRecord {
            partition: self.place.1,
            timestamp_type,
            record,
        });
        self.records.extend(located);
        Ok(true)
    }

    fn batch_records(&mut self, batch: &BatchView<'_>) -> Result<Vec<Record>, ClientError> {
        let header = batch.header;
        if let Some(aborted) = &mut self.aborted {
            while let Some((first, producer)) = aborted.front().copied()
                && first <= header.last_offset()
            {
                self.aborting.insert(producer);
                aborted.pop_front();
            }
            if header.is_transactional()
                && !header.is_control()
                && self.aborting.contains(&header.producer_id)
            {
                return Ok(Vec::new());
            }
        }
        let corrupt = |reason: String| self.corrupt(header.base_offset, &reason);
        let codec = Codec::from_id(header.codec_id())
            .ok_or_else(|| corrupt(format!("unknown codec {}", header.codec_id())))?;
        let payload = compression::decompress(codec, batch.payload(), MAX_BATCH_BYTES)
            .map_err(|error| corrupt(error.to_string()))?;
        let mut records = Vec::with_capacity(header.record_count.clamp(0, 10_000) as usize);
        for record in batch.records(&payload) {
            let record = record.map_err(|error| corrupt(error.to_string()))?;
            records.push(record.to_owned_record());
        }
        if header.is_control() {
            let ends_abort = |record: &Record| record.key.as_deref() == Some(&ABORT_KEY);
            if records.first().is_some_and(ends_abort) {
                self.aborting.remove(&header.producer_id);
            }
            records.clear();
        }
        Ok(records)
    }

    fn corrupt(&self, offset: i64, reason: &str) -> ClientError {
        ClientError::Api {
            code: ErrorCode::CorruptMessage,
            message: format!(
                "Record batch for partition {}-{} at offset {offset} is invalid, cause: {reason}",
                self.place.0, self.place.1
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use kafka_wire::records::batch_builder::{BatchBuilder, BatchBuilderOptions};

    use super::*;

    fn batch(base_offset: i64, producer_id: i64, control: bool, value: &str) -> Vec<u8> {
        let mut builder = BatchBuilder::new(BatchBuilderOptions {
            base_offset,
            producer_id,
            producer_epoch: 0,
            transactional: producer_id >= 0,
            control,
            ..BatchBuilderOptions::default()
        });
        let key: &[u8] = if control { &ABORT_KEY } else { b"k" };
        builder.append(0, Some(key), Some(value.as_bytes()));
        builder.build().to_vec()
    }

    fn values(mut fetched: Fetched) -> (Vec<String>, i64) {
        let mut values = Vec::new();
        loop {
            match fetched.next().unwrap() {
                Ok((record, _)) => {
                    let value = record.record.value.unwrap();
                    values.push(String::from_utf8(value.to_vec()).unwrap());
                }
                Err(position) => return (values, position),
            }
        }
    }

    #[test]
    fn aborted_and_control_records_are_left_out() {
        let bytes: Vec<u8> = [
            batch(5, -1, false, "a"),
            batch(6, 9, false, "aborted"),
            batch(7, 9, true, "marker"),
            batch(8, 9, false, "b"),
        ]
        .concat();
        let place: Place = ("t".into(), 0);
        let committed = Fetched::new(place.clone(), 5, bytes.clone().into(), Some(vec![(6, 9)]));
        assert_eq!(values(committed), (vec!["a".to_owned(), "b".to_owned()], 9));
        let all = Fetched::new(place.clone(), 6, bytes.clone().into(), None);
        assert_eq!(values(all), (vec!["aborted".to_owned(), "b".to_owned()], 9));
        let cut = Fetched::new(place, 5, Bytes::from(bytes).slice(..90), None);
        assert_eq!(values(cut), (vec!["a".to_owned()], 6));
    }
}
