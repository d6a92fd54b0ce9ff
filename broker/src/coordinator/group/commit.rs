//! Pure: committing, deleting and expiring a group's offsets, and deleting the group.

use std::collections::BTreeSet;

use kafka_wire::error_code::ErrorCode;
use kafka_wire::wire::WireError;

use crate::coordinator::group::group::{Group, GroupState};
use crate::coordinator::group::message::{
    CommitRequest, Effect, Effects, GroupRecord, Now, OffsetAppend, Stored, UNKNOWN_MEMBER_ID,
};
use crate::coordinator::group::offsets::OffsetAndMetadata;
use crate::coordinator::group::records::{
    group_key, offset_append_error, offset_key, offset_record,
};
use crate::coordinator::group::subscription::CONSUMER_PROTOCOL_TYPE;
use crate::coordinator::topic_partition::TopicPartition;
use crate::coordinator::waiting::Ticket;

/// What is left to do after offsets were removed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cleanup {
    /// To be appended.
    pub tombstones: Vec<GroupRecord>,
    /// How many offsets were removed.
    pub offsets: usize,
    /// The group is dead and has to be forgotten.
    pub is_dead: bool,
}

impl Group {
    /// Offsets are to be committed; the answer comes as a reply to the ticket.
    pub fn commit(
        &mut self,
        request: CommitRequest,
        ticket: Ticket,
        now: Now,
        effects: &mut Effects,
    ) {
        if let Some(error) = self.check_commit(&request) {
            effects.commit_failed(ticket, request.offsets, error);
            return;
        }
        if request.producer.is_none() {
            match self.state {
                // Whoever commits has seen this generation, so it has to sync first.
                GroupState::CompletingRebalance => {
                    let error = ErrorCode::RebalanceInProgress;
                    effects.commit_failed(ticket, request.offsets, error);
                    return;
                }
                GroupState::Stable | GroupState::PreparingRebalance => {
                    self.schedule_session(&request.member_id, now, effects);
                }
                GroupState::Empty | GroupState::Dead => {}
            }
        }
        self.store_offsets(request, ticket, effects);
    }

    fn check_commit(&self, request: &CommitRequest) -> Option<ErrorCode> {
        if self.state == GroupState::Dead {
            return Some(ErrorCode::CoordinatorNotAvailable);
        }
        let is_empty = self.state == GroupState::Empty;
        if request.generation < 0 && is_empty {
            // An administrator, or a consumer without group management.
            return None;
        }
        let instance = request.group_instance_id.as_deref();
        let is_anonymous = request.member_id == *UNKNOWN_MEMBER_ID && instance.is_none();
        if request.generation >= 0 || !is_anonymous {
            if let Some(error) = self.check_member(&request.member_id, instance) {
                return Some(error);
            }
            let is_current = request.generation == self.generation;
            return (!is_current).then_some(ErrorCode::IllegalGeneration);
        }
        // Only members commit to a group that has some; old transactional producers do not say
        // who they are.
        (request.producer.is_none() && !is_empty).then_some(ErrorCode::UnknownMemberId)
    }

    fn store_offsets(&mut self, request: CommitRequest, ticket: Ticket, effects: &mut Effects) {
        let mut results = Vec::with_capacity(request.offsets.len());
        let mut offsets: Vec<(TopicPartition, OffsetAndMetadata)> = Vec::new();
        let mut records = Vec::new();
        for (partition, value) in request.offsets {
            if utf16_len(&value.metadata) > self.settings.max_offset_metadata_size {
                results.push((partition, Some(ErrorCode::OffsetMetadataTooLarge)));
                continue;
            }
            match offset_record(&self.id, &partition, &value) {
                Ok(record) => {
                    records.push(record);
                    results.push((partition.clone(), None));
                    offsets.push((partition, value));
                }
                Err(error) => {
                    tracing::warn!(group = %self.id, %partition, %error, "offset cannot be written");
                    results.push((partition, Some(ErrorCode::UnknownServerError)));
                }
            }
        }
        let append = OffsetAppend {
            ticket,
            results,
            offsets,
            producer: request.producer,
        };
        if records.is_empty() {
            effects.0.push(append.reply(ErrorCode::None));
            return;
        }
        let producer_id = request.producer.map(|p| p.id);
        for (partition, value) in &append.offsets {
            self.offsets.prepare(producer_id, partition, value);
        }
        let producer = request.producer;
        effects.0.push(Effect::Append {
            records,
            producer,
            then: Stored::Offsets(append),
        });
    }

    /// Offsets are in the log, or are not.
    pub(super) fn offsets_stored(
        &mut self,
        append: OffsetAppend,
        outcome: Result<i64, ErrorCode>,
        effects: &mut Effects,
    ) {
        let producer_id = append.producer.map(|p| p.id);
        for (partition, value) in &append.offsets {
            match outcome {
                Ok(batch) => self.offsets.appended(producer_id, partition, value, batch),
                Err(_) => self.offsets.failed(producer_id, partition, value),
            }
        }
        let error = outcome.err().map_or(ErrorCode::None, offset_append_error);
        effects.0.push(append.reply(error));
    }

    /// A transaction's marker is in the log.
    pub fn complete_transaction(&mut self, producer_id: i64, commit: bool) {
        if self.state != GroupState::Dead {
            self.offsets.complete_transaction(producer_id, commit);
        }
    }

    /// An administrator deletes the group, which must have no members.
    ///
    /// # Errors
    /// `NON_EMPTY_GROUP`, or `GROUP_ID_NOT_FOUND` if it is dead already.
    pub fn delete(&mut self, now: Now) -> Result<Cleanup, ErrorCode> {
        match self.state {
            GroupState::Dead => Err(ErrorCode::GroupIdNotFound),
            GroupState::Empty => {
                self.enter(GroupState::Dead, now);
                let removed = self.offsets.remove_all();
                Ok(self.clean_up(&removed, now))
            }
            _ => Err(ErrorCode::NonEmptyGroup),
        }
    }

    /// An administrator deletes offsets of topics that nobody is subscribed to.
    ///
    /// # Errors
    /// `NON_EMPTY_GROUP` if it cannot be known what the members use, or `GROUP_ID_NOT_FOUND`.
    pub fn delete_offsets(
        &mut self,
        partitions: &[TopicPartition],
        now: Now,
    ) -> Result<(Vec<ErrorCode>, Cleanup), ErrorCode> {
        let is_used = |topic: &str| self.subscribed.as_ref().is_none_or(|s| s.contains(topic));
        let is_consumer = self.protocol_type.as_deref() == Some(CONSUMER_PROTOCOL_TYPE);
        let results: Vec<_> = match self.state {
            GroupState::Dead => return Err(ErrorCode::GroupIdNotFound),
            GroupState::Empty => partitions.iter().map(|_| ErrorCode::None).collect(),
            _ if is_consumer => partitions
                .iter()
                .map(|p| match is_used(&p.topic) {
                    true => ErrorCode::GroupSubscribedToTopic,
                    false => ErrorCode::None,
                })
                .collect(),
            _ => return Err(ErrorCode::NonEmptyGroup),
        };
        let eligible: Vec<_> = partitions
            .iter()
            .zip(&results)
            .filter(|(_, result)| result.is_none())
            .map(|(partition, _)| partition.clone())
            .collect();
        if eligible.is_empty() {
            return Ok((results, Cleanup::default()));
        }
        let removed = self.offsets.remove(&eligible);
        Ok((results, self.clean_up(&removed, now)))
    }

    /// Topics were deleted: their offsets go, whoever uses them.
    pub fn forget_partitions(&mut self, partitions: &[TopicPartition], now: Now) -> Cleanup {
        let removed = self.offsets.remove(partitions);
        self.clean_up(&removed, now)
    }

    /// Drops what has expired: in an empty group everything, counted from when it became empty;
    /// in a stable consumer group the topics that nobody is subscribed to any more; without group
    /// management everything, counted from its commit.
    pub fn expire(&mut self, now: Now) -> Cleanup {
        let retention = self.settings.offsets_retention_ms;
        let nothing = BTreeSet::new();
        let subscribed = self.subscribed.as_ref();
        let removed = match (self.protocol_type.as_deref(), self.state, subscribed) {
            (Some(_), GroupState::Empty, _) => {
                let since = self.state_timestamp_ms;
                self.offsets
                    .remove_expired(now.wall_ms, retention, since, &nothing)
            }
            (Some(CONSUMER_PROTOCOL_TYPE), GroupState::Stable, Some(subscribed)) => self
                .offsets
                .remove_expired(now.wall_ms, retention, None, subscribed),
            (None, _, _) => self
                .offsets
                .remove_expired(now.wall_ms, retention, None, &nothing),
            _ => Vec::new(),
        };
        self.clean_up(&removed, now)
    }

    /// An empty group without offsets dies. It leaves a tombstone only if it ever had a
    /// generation: else it never had a record.
    fn clean_up(&mut self, removed: &[TopicPartition], now: Now) -> Cleanup {
        if self.state == GroupState::Empty && self.offsets.is_empty() {
            tracing::info!(group = %self.id, generation = self.generation, "group is dead");
            self.enter(GroupState::Dead, now);
        }
        let is_dead = self.state == GroupState::Dead;
        let tombstones = self.tombstones(removed, is_dead).unwrap_or_else(|error| {
            tracing::error!(group = %self.id, %error, "tombstones cannot be written");
            Vec::new()
        });
        Cleanup {
            tombstones,
            offsets: removed.len(),
            is_dead,
        }
    }

    fn tombstones(
        &self,
        removed: &[TopicPartition],
        is_dead: bool,
    ) -> Result<Vec<GroupRecord>, WireError> {
        let mut tombstones = Vec::with_capacity(removed.len() + 1);
        for partition in removed {
            let key = offset_key(&self.id, partition)?;
            tombstones.push(GroupRecord { key, value: None });
        }
        if is_dead && self.generation > 0 {
            tombstones.push(GroupRecord {
                key: group_key(&self.id)?,
                value: None,
            });
        }
        Ok(tombstones)
    }
}

/// Length as Java counts it.
fn utf16_len(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}
