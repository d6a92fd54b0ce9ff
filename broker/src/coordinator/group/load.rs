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
use crate::coordinator::group::message::{Effects, GroupSettings, Now, TopicPartition};
use crate::coordinator::group::offsets::{CommitRecord, Offsets, PendingTransactions};
use crate::coordinator::group::records::{GroupKey, decode_group, decode_key, decode_offset};

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
