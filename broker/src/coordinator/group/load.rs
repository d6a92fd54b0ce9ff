//! Pure: turns the records of one partition of `__consumer_offsets` back into groups.
//!
//! Behaviour from `GroupMetadataManager.scala`: later records win; offsets inside a transaction
//! count once its commit marker has been read, and by the position of their own batch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use kafka_wire::wire::WireError;

use crate::coordinator::group::group::{Group, LoadedGroup};
use crate::coordinator::group::message::{Effects, GroupSettings, Now};
use crate::coordinator::group::offsets::{CommitRecord, Offsets, PendingTransactions};
use crate::coordinator::group::records::{GroupKey, decode_group, decode_key, decode_offset};
use crate::coordinator::topic_partition::TopicPartition;

type GroupPartition = (ByteString, TopicPartition);

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Offset of the first record in the batch.
    pub batch_offset: i64,
    /// Set if the batch is transactional.
    pub producer_id: Option<i64>,
}

/// A group as loaded, with what has to be done for it at once.
pub type LoadedWithEffects = (Group, Effects);

/// Collects records in the order of the log.
#[derive(Debug, Default)]
pub struct Loader {
    groups: BTreeMap<ByteString, LoadedGroup>,
    offsets: BTreeMap<GroupPartition, CommitRecord>,
    transactions: BTreeMap<i64, BTreeMap<GroupPartition, CommitRecord>>,
}

impl Loader {
    /// Takes a record.
    ///
    /// # Errors
    /// If key or value cannot be read; the record is as if it were not there.
    pub fn record(
        &mut self,
        at: Placed,
        key: Bytes,
        value: Option<Bytes>,
    ) -> Result<(), WireError> {
        match decode_key(key)? {
            GroupKey::Offset(group, partition) => {
                let target = match at.producer_id {
                    Some(id) => self.transactions.entry(id).or_default(),
                    None => &mut self.offsets,
                };
                let key = (group, partition);
                match value {
                    None => {
                        target.remove(&key);
                    }
                    Some(value) => {
                        let value = decode_offset(value)?;
                        let batch_offset = Some(at.batch_offset);
                        target.insert(
                            key,
                            CommitRecord {
                                batch_offset,
                                value,
                            },
                        );
                    }
                }
            }
            GroupKey::Group(group) => match value {
                None => {
                    self.groups.remove(&group);
                }
                Some(value) => {
                    self.groups.insert(group, decode_group(value)?);
                }
            },
            GroupKey::Unknown(version) => {
                tracing::warn!(version, "skipping a key that a newer broker wrote");
            }
        }
        Ok(())
    }

    /// Takes a transaction's marker.
    pub fn marker(&mut self, producer_id: i64, commit: bool) {
        let Some(transaction) = self.transactions.remove(&producer_id) else {
            return;
        };
        if !commit {
            return;
        }
        for (key, record) in transaction {
            if self
                .offsets
                .get(&key)
                .is_none_or(|existing| existing.older_than(&record))
            {
                self.offsets.insert(key, record);
            }
        }
    }

    /// The groups, those with nothing but offsets too.
    pub fn finish(self, settings: &Arc<GroupSettings>, now: Now) -> Vec<LoadedWithEffects> {
        let mut committed: BTreeMap<ByteString, BTreeMap<TopicPartition, CommitRecord>> =
            BTreeMap::new();
        for ((group, partition), record) in self.offsets {
            committed
                .entry(group)
                .or_default()
                .insert(partition, record);
        }
        let mut open: BTreeMap<ByteString, PendingTransactions> = BTreeMap::new();
        for (producer_id, transaction) in self.transactions {
            for ((group, partition), record) in transaction {
                let producers = open.entry(group).or_default();
                producers
                    .entry(producer_id)
                    .or_default()
                    .insert(partition, record);
            }
        }
        let mut groups = self.groups;
        let mut ids: BTreeSet<ByteString> = groups.keys().cloned().collect();
        ids.extend(committed.keys().cloned());
        ids.extend(open.keys().cloned());
        let load = |id: ByteString| {
            let mut effects = Effects::new();
            let settings = Arc::clone(settings);
            let mut group = match groups.remove(&id) {
                Some(loaded) => Group::load(id.clone(), settings, loaded, now, &mut effects),
                None => Group::empty(id.clone(), settings, now),
            };
            let committed = committed.remove(&id).unwrap_or_default();
            let open = open.remove(&id).unwrap_or_default();
            group.set_offsets(Offsets::loaded(committed, open));
            (group, effects)
        };
        ids.into_iter().map(load).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::group::offsets::OffsetAndMetadata;
    use crate::coordinator::group::records::offset_record;

    fn put(loader: &mut Loader, batch_offset: i64, producer_id: Option<i64>, offset: i64) {
        let at = TopicPartition {
            topic: "t".into(),
            partition: 0,
        };
        let value = OffsetAndMetadata {
            offset,
            leader_epoch: None,
            metadata: ByteString::new(),
            commit_timestamp_ms: 1,
            expire_timestamp_ms: None,
        };
        let record = offset_record(&"g".into(), &at, &value).unwrap();
        let placed = Placed {
            batch_offset,
            producer_id,
        };
        loader.record(placed, record.key, record.value).unwrap();
    }

    fn loaded(loader: Loader) -> Group {
        let settings = Arc::new(GroupSettings {
            min_session_timeout_ms: 0,
            max_session_timeout_ms: 1000,
            max_size: 10,
            initial_rebalance_delay_ms: 0,
            max_offset_metadata_size: 10,
            offsets_retention_ms: 1000,
        });
        let now = Now {
            wall_ms: 10,
            mono_ms: 0,
        };
        let (group, _) = loader.finish(&settings, now).pop().unwrap();
        group
    }

    fn fetched(group: &Group, stable: bool) -> (i64, i16) {
        let at = TopicPartition {
            topic: "t".into(),
            partition: 0,
        };
        let (_, offset) = group.offsets().fetch(Some(&[at]), stable).pop().unwrap();
        (offset.offset, offset.error.code())
    }

    #[test]
    fn transactional_offsets_count_from_their_commit_and_by_their_own_position() {
        let mut loader = Loader::default();
        put(&mut loader, 0, None, 10);
        put(&mut loader, 1, Some(5), 20);
        put(&mut loader, 2, Some(6), 30);
        loader.marker(6, false);
        loader.marker(5, true);
        assert_eq!(fetched(&loaded(loader), true), (20, 0));

        // A plain commit after the transactional one wins, though the marker comes later.
        let mut loader = Loader::default();
        put(&mut loader, 1, Some(5), 20);
        put(&mut loader, 2, None, 25);
        loader.marker(5, true);
        assert_eq!(fetched(&loaded(loader), true), (25, 0));
    }

    #[test]
    fn offsets_of_an_open_transaction_make_the_old_ones_unstable() {
        let mut loader = Loader::default();
        put(&mut loader, 0, None, 10);
        put(&mut loader, 1, Some(5), 20);
        let mut group = loaded(loader);
        assert_eq!(fetched(&group, false), (10, 0));
        assert_eq!(fetched(&group, true), (-1, 88));
        group.complete_transaction(5, true);
        assert_eq!(fetched(&group, true), (20, 0));
    }
}
