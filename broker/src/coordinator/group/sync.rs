//! Pure: the leader's assignment, and handing it out.

use std::collections::BTreeMap;

use bytes::Bytes;
use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;

use crate::coordinator::group::group::{Group, GroupState};
use crate::coordinator::group::message::{Effect, Effects, Now, Stored, SyncRequest, SyncResult};
use crate::coordinator::group::records::{group_append_error, group_record};
use crate::coordinator::waiting::Ticket;

impl Group {
    /// A member asks for its assignment, the leader brings everybody's; the answer comes as a
    /// reply to the ticket.
    pub fn sync(&mut self, request: &SyncRequest, ticket: Ticket, now: Now, effects: &mut Effects) {
        if let Some(error) = self.check_sync(request) {
            effects.sync(ticket, SyncResult::failed(error));
            return;
        }
        let member_id = &request.member_id;
        match self.state {
            GroupState::Empty | GroupState::Dead => {
                effects.sync(ticket, SyncResult::failed(ErrorCode::UnknownMemberId));
            }
            GroupState::PreparingRebalance => {
                effects.sync(ticket, SyncResult::failed(ErrorCode::RebalanceInProgress));
            }
            GroupState::CompletingRebalance => {
                let member = self.members.get_mut(member_id);
                if let Some(earlier) = member.and_then(|m| m.awaiting_sync.replace(ticket)) {
                    effects.sync(earlier, SyncResult::failed(ErrorCode::RebalanceInProgress));
                }
                self.sync_received(member_id);
                if self.members.is_leader(member_id) {
                    self.store_assignment(request, now, effects);
                }
            }
            GroupState::Stable => {
                self.sync_received(member_id);
                let assignment = self.members.get(member_id).map(|m| m.assignment.clone());
                effects.sync(ticket, self.assigned(assignment.unwrap_or_default()));
                self.schedule_session(member_id, now, effects);
            }
        }
    }

    fn check_sync(&self, request: &SyncRequest) -> Option<ErrorCode> {
        if self.state == GroupState::Dead {
            return Some(ErrorCode::CoordinatorNotAvailable);
        }
        let instance = request.group_instance_id.as_deref();
        if let Some(error) = self.check_member(&request.member_id, instance) {
            return Some(error);
        }
        if request.generation != self.generation {
            return Some(ErrorCode::IllegalGeneration);
        }
        let differs = |asked: &Option<ByteString>, ours: &Option<ByteString>| {
            asked.is_some() && asked != ours
        };
        let is_inconsistent = differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol_name, &self.protocol_name);
        is_inconsistent.then_some(ErrorCode::InconsistentGroupProtocol)
    }

    fn sync_received(&mut self, member_id: &str) {
        self.pending_sync.remove(member_id);
        if self.pending_sync.is_empty() {
            self.sync_deadline_ms = None;
        }
    }

    /// Members that the leader forgot get nothing.
    fn store_assignment(&mut self, request: &SyncRequest, now: Now, effects: &mut Effects) {
        tracing::info!(group = %self.id, generation = self.generation, leader = %request.member_id,
            members = self.members.len(), static_members = self.members.static_len(),
            "assignment received");
        let mut assignment = BTreeMap::new();
        for id in self.members.ids() {
            let part = request.assignments.get(&id);
            if part.is_none() {
                tracing::warn!(group = %self.id, member = %id, "leader assigned nothing");
            }
            assignment.insert(
                id,
                part.map(|p| Bytes::copy_from_slice(p)).unwrap_or_default(),
            );
        }
        let then = Stored::Assignment {
            generation: self.generation,
            assignment: assignment.clone(),
        };
        effects.0.push(Effect::RebalanceCompleted);
        self.store(&assignment, then, now, effects);
    }

    /// Appends the group's record with the given assignment.
    pub(super) fn store(
        &mut self,
        assignment: &BTreeMap<ByteString, Bytes>,
        then: Stored,
        now: Now,
        effects: &mut Effects,
    ) {
        match group_record(self, assignment) {
            Ok(record) => {
                effects.0.push(Effect::Append {
                    records: vec![record],
                    producer: None,
                    then,
                });
            }
            Err(error) => {
                tracing::error!(group = %self.id, %error, "group metadata cannot be written");
                self.appended(then, Err(ErrorCode::UnknownServerError), now, effects);
            }
        }
    }

    /// What everybody holds now.
    pub(super) fn current_assignment(&self) -> BTreeMap<ByteString, Bytes> {
        self.members
            .iter()
            .map(|m| (m.member_id.clone(), m.assignment.clone()))
            .collect()
    }

    /// The assignment is stored: everybody who waits gets it. A generation that is over by now
    /// has been answered already.
    pub(super) fn assignment_stored(
        &mut self,
        generation: i32,
        assignment: &BTreeMap<ByteString, Bytes>,
        outcome: Result<i64, ErrorCode>,
        now: Now,
        effects: &mut Effects,
    ) {
        if self.state != GroupState::CompletingRebalance || generation != self.generation {
            return;
        }
        if let Err(error) = outcome {
            self.fail_syncs(group_append_error(error), now, effects);
            self.prepare_rebalance("the assignment could not be stored", now, effects);
            return;
        }
        for id in self.members.ids() {
            let part = assignment.get(&id).cloned().unwrap_or_default();
            let Some(member) = self.members.get_mut(&id) else {
                continue;
            };
            member.assignment = part.clone();
            if let Some(ticket) = member.awaiting_sync.take() {
                effects.sync(ticket, self.assigned(part));
                self.schedule_session(&id, now, effects);
            }
        }
        self.enter(GroupState::Stable, now);
    }

    /// Takes everybody's assignment away and tells those who wait why.
    pub(super) fn fail_syncs(&mut self, error: ErrorCode, now: Now, effects: &mut Effects) {
        for id in self.members.ids() {
            let Some(member) = self.members.get_mut(&id) else {
                continue;
            };
            member.assignment = Bytes::new();
            if let Some(ticket) = member.awaiting_sync.take() {
                effects.sync(ticket, SyncResult::failed(error));
                // The session did not count while the member waited.
                self.schedule_session(&id, now, effects);
            }
        }
    }

    /// Members that joined but never synced are out, and the others start over.
    pub(super) fn sync_time_is_up(&mut self, now: Now, effects: &mut Effects) {
        self.sync_deadline_ms = None;
        let is_waiting = matches!(
            self.state,
            GroupState::CompletingRebalance | GroupState::Stable
        );
        if !is_waiting || self.pending_sync.is_empty() {
            return;
        }
        for id in std::mem::take(&mut self.pending_sync) {
            tracing::info!(group = %self.id, member = %id, "member did not sync in time");
            self.drop_member(&id, effects);
        }
        self.prepare_rebalance("members did not sync in time", now, effects);
    }

    fn assigned(&self, assignment: Bytes) -> SyncResult {
        SyncResult {
            error: ErrorCode::None,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            assignment,
        }
    }
}
