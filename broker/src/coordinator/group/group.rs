//! Pure: a group of the classic protocol: its state, its timers, its answers to heartbeats,
//! departures and descriptions. Joining is in `join.rs`, syncing in `sync.rs`, offsets in
//! `commit.rs`.
//!
//! Behaviour from Kafka's `GroupCoordinator.scala` and `GroupMetadata.scala` (3.7.1):
//!
//! ```text
//!            first join                  all joined, or time is up           leader's sync stored
//!   Empty ---------------> Preparing ------------------------> Completing ----------------> Stable
//!     ^                     |   ^                                  |                          |
//!     +---- all left -------+   +----- member comes, goes, changes, or never syncs -----------+
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;

use crate::coordinator::group::member::Member;
use crate::coordinator::group::membership::Membership;
use crate::coordinator::group::message::{
    Effect, Effects, GroupSettings, GroupSummary, JoinResult, Leaver, Now, Stored, SyncResult,
    UNKNOWN_MEMBER_ID,
};
use crate::coordinator::group::offsets::Offsets;
use crate::coordinator::group::subscription::{CONSUMER_PROTOCOL_TYPE, subscribed_topics};

/// Where a group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupState {
    /// No members; offsets may be there.
    Empty,
    /// Waits for everybody to join.
    PreparingRebalance,
    /// Waits for the leader's assignment.
    CompletingRebalance,
    /// Everybody has an assignment, or may fetch it.
    Stable,
    /// Deleted or moved away.
    Dead,
}

impl GroupState {
    /// Kafka's name for it.
    pub fn name(self) -> &'static str {
        match self {
            GroupState::Empty => "Empty",
            GroupState::PreparingRebalance => "PreparingRebalance",
            GroupState::CompletingRebalance => "CompletingRebalance",
            GroupState::Stable => "Stable",
            GroupState::Dead => "Dead",
        }
    }

    fn may_follow(self, previous: GroupState) -> bool {
        use GroupState::{CompletingRebalance, Dead, Empty, PreparingRebalance, Stable};
        match self {
            PreparingRebalance => matches!(previous, Stable | CompletingRebalance | Empty),
            CompletingRebalance | Empty => previous == PreparingRebalance,
            Stable => previous == CompletingRebalance,
            Dead => true,
        }
    }
}

/// What ends the wait for joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JoinTimer {
    /// When, on the monotonic clock.
    pub(super) at_ms: i64,
    /// The first rebalance of an empty group waits for stragglers whether or not all have
    /// joined, and longer while they keep coming.
    pub(super) initial: Option<InitialDelay>,
}

/// How much longer the first rebalance may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InitialDelay {
    /// This wait.
    pub(super) delay_ms: i64,
    /// What is left of the rebalance timeout.
    pub(super) remaining_ms: i64,
}

/// What the log says about a group.
#[derive(Clone, Debug)]
pub struct LoadedGroup {
    /// Generation.
    pub generation: i32,
    /// Protocol type.
    pub protocol_type: Option<ByteString>,
    /// Chosen protocol.
    pub protocol_name: Option<ByteString>,
    /// Leader.
    pub leader: Option<ByteString>,
    /// When the state was entered; old records do not say.
    pub state_timestamp_ms: Option<i64>,
    /// Members, with assignments.
    pub members: Vec<Member>,
}

/// A group.
#[derive(Clone, Debug)]
pub struct Group {
    pub(super) id: ByteString,
    pub(super) settings: Arc<GroupSettings>,
    pub(super) state: GroupState,
    pub(super) state_timestamp_ms: Option<i64>,
    pub(super) generation: i32,
    pub(super) protocol_type: Option<ByteString>,
    pub(super) protocol_name: Option<ByteString>,
    pub(super) members: Membership,
    pub(super) offsets: Offsets,
    /// Topics that the members of a consumer group are subscribed to, if that is known.
    pub(super) subscribed: Option<BTreeSet<ByteString>>,
    /// Somebody joined since the first rebalance's timer was set.
    pub(super) new_member_added: bool,
    /// Members of this generation that have not synced yet.
    pub(super) pending_sync: BTreeSet<ByteString>,
    pub(super) join_timer: Option<JoinTimer>,
    pub(super) sync_deadline_ms: Option<i64>,
    /// The one timer that the shell holds for this group.
    armed_ms: Option<i64>,
}

impl Group {
    /// A group without members.
    pub fn empty(id: ByteString, settings: Arc<GroupSettings>, now: Now) -> Group {
        Group {
            id,
            settings,
            state: GroupState::Empty,
            state_timestamp_ms: Some(now.wall_ms),
            generation: 0,
            protocol_type: None,
            protocol_name: None,
            members: Membership::default(),
            offsets: Offsets::default(),
            subscribed: None,
            new_member_added: false,
            pending_sync: BTreeSet::new(),
            join_timer: None,
            sync_deadline_ms: None,
            armed_ms: None,
        }
    }

    /// A group as the log has it. Members have a session's time to show up; a group that is
    /// larger than it may be rebalances, which lets its members commit first.
    pub fn load(
        id: ByteString,
        settings: Arc<GroupSettings>,
        loaded: LoadedGroup,
        now: Now,
        effects: &mut Effects,
    ) -> Group {
        let mut group = Group::empty(id, settings, now);
        group.state_timestamp_ms = loaded.state_timestamp_ms;
        group.generation = loaded.generation;
        group.protocol_type = loaded.protocol_type;
        group.protocol_name = loaded.protocol_name;
        group.members.set_leader(loaded.leader);
        if !loaded.members.is_empty() {
            group.state = GroupState::Stable;
        }
        for member in loaded.members {
            group.members.add(member);
        }
        group.subscribed = group.compute_subscribed();
        if group.members.len() > group.settings.max_size {
            group.prepare_rebalance("freshly loaded group is over capacity", now, effects);
        }
        for id in group.members.ids() {
            group.schedule_session(&id, now, effects);
        }
        group
    }

    /// Takes the offsets that the log has for this group.
    pub fn set_offsets(&mut self, offsets: Offsets) {
        self.offsets = offsets;
    }

    /// Group id.
    pub fn id(&self) -> &ByteString {
        &self.id
    }

    /// State.
    pub fn state(&self) -> GroupState {
        self.state
    }

    /// Generation.
    pub fn generation(&self) -> i32 {
        self.generation
    }

    /// Protocol type, or empty.
    pub fn protocol_type(&self) -> ByteString {
        self.protocol_type.clone().unwrap_or_default()
    }

    /// Members.
    pub fn members(&self) -> &Membership {
        &self.members
    }

    /// Offsets.
    pub fn offsets(&self) -> &Offsets {
        &self.offsets
    }

    /// The chosen protocol.
    pub fn protocol_name(&self) -> Option<&ByteString> {
        self.protocol_name.as_ref()
    }

    /// When the state was entered, wall clock.
    pub fn state_timestamp_ms(&self) -> Option<i64> {
        self.state_timestamp_ms
    }

    /// What DescribeGroups shows.
    pub fn summary(&self) -> GroupSummary {
        let protocol = match self.state {
            GroupState::Stable => self.protocol_name.clone(),
            _ => None,
        };
        GroupSummary {
            state: self.state.name(),
            protocol_type: self.protocol_type(),
            protocol: protocol.clone().unwrap_or_default(),
            members: self
                .members
                .iter()
                .map(|m| m.summary(protocol.as_deref()))
                .collect(),
        }
    }

    /// A member says that it lives.
    pub fn heartbeat(
        &mut self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
        now: Now,
        effects: &mut Effects,
    ) -> ErrorCode {
        if self.state == GroupState::Dead {
            return ErrorCode::CoordinatorNotAvailable;
        }
        if let Some(error) = self.check_member(member_id, instance_id) {
            return error;
        }
        if generation != self.generation {
            return ErrorCode::IllegalGeneration;
        }
        match self.state {
            GroupState::Empty | GroupState::Dead => ErrorCode::UnknownMemberId,
            // Members may send heartbeats as soon as their join is answered.
            GroupState::CompletingRebalance | GroupState::Stable => {
                self.schedule_session(member_id, now, effects);
                ErrorCode::None
            }
            GroupState::PreparingRebalance => {
                self.schedule_session(member_id, now, effects);
                ErrorCode::RebalanceInProgress
            }
        }
    }

    /// Members leave by themselves, or an administrator removes instances.
    ///
    /// # Errors
    /// `COORDINATOR_NOT_AVAILABLE` if the group was deleted or moved away meanwhile.
    pub fn leave(
        &mut self,
        leavers: &[Leaver],
        now: Now,
        effects: &mut Effects,
    ) -> Result<Vec<ErrorCode>, ErrorCode> {
        if self.state == GroupState::Dead {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        Ok(leavers
            .iter()
            .map(|leaver| self.leave_one(leaver, now, effects))
            .collect())
    }

    fn leave_one(&mut self, leaver: &Leaver, now: Now, effects: &mut Effects) -> ErrorCode {
        let instance = leaver.group_instance_id.as_deref();
        let member_id = if leaver.member_id == *UNKNOWN_MEMBER_ID {
            match instance.and_then(|i| self.members.of_instance(i)) {
                Some(member_id) => member_id.clone(),
                None => return ErrorCode::UnknownMemberId,
            }
        } else if self.members.is_pending(&leaver.member_id) {
            self.members.remove(&leaver.member_id);
            self.try_complete_join(now, effects);
            return ErrorCode::None;
        } else if let Some(error) = self.check_member(&leaver.member_id, instance) {
            return error;
        } else {
            leaver.member_id.clone()
        };
        let reason = leaver.reason.as_deref().unwrap_or("not provided");
        tracing::info!(group = %self.id, member = %member_id, reason, "member left");
        self.remove_member(&member_id, "a member left", now, effects);
        ErrorCode::None
    }

    /// The timer that was armed for `fired_at` has come; one that was replaced meanwhile is
    /// ignored.
    pub fn tick(&mut self, fired_at: i64, now: Now, effects: &mut Effects) {
        if self.armed_ms != Some(fired_at) || self.state == GroupState::Dead {
            return;
        }
        // Below any deadline, so that nothing is armed until all that is due has been done.
        self.armed_ms = Some(i64::MIN);
        let is_due = |at: Option<i64>| at.is_some_and(|at| at <= now.mono_ms);
        for id in self.members.ids() {
            if self
                .members
                .get(&id)
                .is_some_and(|m| is_due(m.session_deadline_ms))
            {
                self.expire_session(&id, now, effects);
            }
        }
        for id in self.members.expired_pending(now.mono_ms) {
            tracing::info!(group = %self.id, member = %id, "pending member never came back");
            self.members.remove(&id);
            self.try_complete_join(now, effects);
        }
        if is_due(self.join_timer.map(|t| t.at_ms)) {
            self.join_time_is_up(now, effects);
        }
        if is_due(self.sync_deadline_ms) {
            self.sync_time_is_up(now, effects);
        }
        self.armed_ms = None;
        let join_at = self.join_timer.map(|t| t.at_ms);
        let next = [
            self.members.next_deadline_ms(),
            join_at,
            self.sync_deadline_ms,
        ]
        .into_iter()
        .flatten();
        if let Some(at) = next.min() {
            self.note_deadline(at, effects);
        }
    }

    fn expire_session(&mut self, member_id: &str, now: Now, effects: &mut Effects) {
        let Some(member) = self.members.get_mut(member_id) else {
            return;
        };
        member.session_deadline_ms = None;
        if member.may_be_silent() {
            return;
        }
        tracing::info!(group = %self.id, member = %member_id, "session timed out");
        self.remove_member(member_id, "a member's session timed out", now, effects);
    }

    /// The partition moved to another broker: everybody who waits is told to look for it.
    pub fn unload(&mut self, now: Now, effects: &mut Effects) {
        for id in self.members.ids() {
            if let Some(ticket) = self.members.take_join(&id) {
                effects.join(
                    ticket,
                    JoinResult::failed(id.clone(), ErrorCode::NotCoordinator),
                );
            }
            let member = self.members.get_mut(&id);
            if let Some(ticket) = member.and_then(|m| m.awaiting_sync.take()) {
                effects.sync(ticket, SyncResult::failed(ErrorCode::NotCoordinator));
            }
        }
        self.enter(GroupState::Dead, now);
    }

    /// What an append was for is finished, or undone.
    pub fn appended(
        &mut self,
        then: Stored,
        outcome: Result<i64, ErrorCode>,
        now: Now,
        effects: &mut Effects,
    ) {
        match then {
            Stored::Assignment {
                generation,
                assignment,
            } => {
                self.assignment_stored(generation, &assignment, outcome, now, effects);
            }
            Stored::StaticMember(rejoin) => {
                self.static_member_stored(*rejoin, outcome, now, effects);
            }
            Stored::EmptyGeneration => {
                if let Err(error) = outcome {
                    // The generation before may become active again if the broker fails now; its
                    // members then time out, so nothing is lost.
                    tracing::warn!(group = %self.id, %error, "empty generation was not stored");
                }
            }
            Stored::Offsets(append) => self.offsets_stored(append, outcome, effects),
        }
    }

    /// The member exists, and is the current owner of the instance that it says it is.
    pub(super) fn check_member(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Option<ErrorCode> {
        if let Some(instance) = instance_id {
            match self.members.of_instance(instance) {
                Some(current) if *current != *member_id => {
                    return Some(ErrorCode::FencedInstanceId);
                }
                Some(_) => {}
                None => return Some(ErrorCode::UnknownMemberId),
            }
        }
        (!self.members.has(member_id)).then_some(ErrorCode::UnknownMemberId)
    }

    pub(super) fn enter(&mut self, state: GroupState, now: Now) {
        debug_assert!(
            state.may_follow(self.state),
            "{:?} after {:?}",
            state,
            self.state
        );
        self.state = state;
        self.state_timestamp_ms = Some(now.wall_ms);
    }

    /// The member was heard of: its session starts anew.
    pub(super) fn schedule_session(&mut self, member_id: &str, now: Now, effects: &mut Effects) {
        let Some(member) = self.members.get(member_id) else {
            return;
        };
        let timeout = i64::from(member.session_timeout_ms);
        self.schedule_expiry(member_id, timeout, now, effects);
    }

    pub(super) fn schedule_expiry(
        &mut self,
        member_id: &str,
        timeout_ms: i64,
        now: Now,
        effects: &mut Effects,
    ) {
        let Some(member) = self.members.get_mut(member_id) else {
            return;
        };
        member.session_deadline_ms =
            (!member.may_be_silent()).then(|| now.mono_ms.saturating_add(timeout_ms));
        if let Some(at) = member.session_deadline_ms {
            self.note_deadline(at, effects);
        }
    }

    /// Sees to it that the shell comes back by then.
    pub(super) fn note_deadline(&mut self, at_ms: i64, effects: &mut Effects) {
        if self.armed_ms.is_none_or(|armed| at_ms < armed) {
            self.armed_ms = Some(at_ms);
            effects.0.push(Effect::Arm(at_ms));
        }
    }

    /// Removes a member and rebalances, or sees whether the rebalance waited only for it.
    pub(super) fn remove_member(
        &mut self,
        member_id: &str,
        reason: &str,
        now: Now,
        effects: &mut Effects,
    ) {
        self.drop_member(member_id, effects);
        match self.state {
            GroupState::Stable | GroupState::CompletingRebalance => {
                self.prepare_rebalance(reason, now, effects);
            }
            GroupState::PreparingRebalance => self.try_complete_join(now, effects),
            GroupState::Empty | GroupState::Dead => {}
        }
    }

    /// Removes a member; whatever it waits for is answered, so that a client that is still there
    /// joins anew.
    pub(super) fn drop_member(&mut self, member_id: &str, effects: &mut Effects) {
        self.pending_sync.remove(member_id);
        if self.pending_sync.is_empty() {
            self.sync_deadline_ms = None;
        }
        let Some(member) = self.members.remove(member_id) else {
            return;
        };
        let error = ErrorCode::UnknownMemberId;
        if let Some(ticket) = member.awaiting_join {
            effects.join(ticket, JoinResult::failed(UNKNOWN_MEMBER_ID.into(), error));
        }
        if let Some(ticket) = member.awaiting_sync {
            effects.sync(ticket, SyncResult::failed(error));
        }
    }

    /// The topics of a consumer group; `None` if it isn't one, has no protocol yet, or a
    /// subscription cannot be read.
    pub(super) fn compute_subscribed(&self) -> Option<BTreeSet<ByteString>> {
        if self.protocol_type.as_deref() != Some(CONSUMER_PROTOCOL_TYPE) {
            return None;
        }
        if self.members.is_empty() {
            return Some(BTreeSet::new());
        }
        let protocol = self.protocol_name.as_deref()?;
        let mut all = BTreeSet::new();
        for member in self.members.iter() {
            let Some(topics) = subscribed_topics(&member.metadata(protocol)) else {
                tracing::warn!(group = %self.id, protocol, "subscription cannot be read");
                return None;
            };
            all.extend(topics);
        }
        Some(all)
    }
}

#[cfg(test)]
#[path = "group_test.rs"]
mod tests;
