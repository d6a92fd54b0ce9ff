//! Pure: joining a group and the rebalance that follows.

use bytestring::ByteString;
use kafka_wire::error_code::ErrorCode;

use crate::coordinator::group::group::{Group, GroupState, InitialDelay, JoinTimer};
use crate::coordinator::group::member::{Member, NEW_MEMBER_JOIN_TIMEOUT_MS, detached_protocols};
use crate::coordinator::group::message::{
    Effects, JoinRequest, JoinResult, Now, StaticRejoin, Stored, SyncResult, UNKNOWN_MEMBER_ID,
};
use crate::coordinator::group::records::group_append_error;
use crate::coordinator::topic_partition::detached;
use crate::coordinator::waiting::Ticket;

impl Group {
    /// Somebody joins; the answer comes as a reply to the ticket, perhaps much later.
    pub fn join(&mut self, request: &JoinRequest, ticket: Ticket, now: Now, effects: &mut Effects) {
        let failed = |error| JoinResult::failed(request.member_id.clone(), error);
        if !self.has_room_for(&request.member_id) {
            self.drop_member(&request.member_id, effects);
            let error = ErrorCode::GroupMaxSizeReached;
            effects.join(ticket, JoinResult::failed(UNKNOWN_MEMBER_ID.into(), error));
        } else if self.state == GroupState::Dead {
            effects.join(ticket, failed(ErrorCode::CoordinatorNotAvailable));
        } else if !self.supports(request) {
            effects.join(ticket, failed(ErrorCode::InconsistentGroupProtocol));
        } else if request.member_id == *UNKNOWN_MEMBER_ID {
            self.join_unknown(request, ticket, now, effects);
        } else if self.members.is_pending(&request.member_id) {
            if request.group_instance_id.is_some() {
                // Only dynamic members are given an id to come back with.
                let error = ErrorCode::UnknownServerError;
                effects.join(ticket, JoinResult::failed(UNKNOWN_MEMBER_ID.into(), error));
            } else {
                self.add_member(request.member_id.clone(), request, ticket, now, effects);
            }
        } else {
            let instance = request.group_instance_id.as_deref();
            match self.check_member(&request.member_id, instance) {
                Some(error) => effects.join(ticket, failed(error)),
                None => self.join_known(request, ticket, now, effects),
            }
        }
        self.try_complete_join(now, effects);
    }

    /// A full group takes nobody new. While it prepares, those who came back count, not those who
    /// are known: so the last to come back are shut out if the limit was lowered.
    fn has_room_for(&self, member_id: &str) -> bool {
        let max_size = self.settings.max_size;
        match self.state {
            GroupState::Empty | GroupState::Dead => true,
            GroupState::PreparingRebalance => {
                let waits = self
                    .members
                    .get(member_id)
                    .is_some_and(|m| m.awaiting_join.is_some());
                waits || self.members.awaiting_join() < max_size
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                self.members.has(member_id) || self.members.len() < max_size
            }
        }
    }

    fn supports(&self, request: &JoinRequest) -> bool {
        if self.state == GroupState::Empty {
            return !request.protocol_type.is_empty() && !request.protocols.is_empty();
        }
        self.protocol_type.as_ref() == Some(&request.protocol_type)
            && self.members.supports_any(&request.protocols)
    }

    fn join_unknown(
        &mut self,
        request: &JoinRequest,
        ticket: Ticket,
        now: Now,
        effects: &mut Effects,
    ) {
        let prefix = request
            .group_instance_id
            .as_ref()
            .unwrap_or(&request.client_id);
        let member_id = ByteString::from(format!("{prefix}-{}", request.fresh_uuid));
        let known = request
            .group_instance_id
            .as_ref()
            .and_then(|i| self.members.of_instance(i));
        match (known.cloned(), &request.group_instance_id) {
            (Some(old_id), Some(instance)) => {
                tracing::info!(group = %self.id, %instance, old = %old_id, new = %member_id,
                    "static member returned");
                let instance = instance.clone();
                self.replace_static(
                    &instance, &old_id, &member_id, request, ticket, now, effects,
                );
            }
            (None, None) if request.require_known_member_id => {
                let deadline = now
                    .mono_ms
                    .saturating_add(i64::from(request.session_timeout_ms));
                self.members.add_pending(member_id.clone(), deadline);
                self.note_deadline(deadline, effects);
                effects.join(
                    ticket,
                    JoinResult::failed(member_id, ErrorCode::MemberIdRequired),
                );
            }
            _ => self.add_member(member_id, request, ticket, now, effects),
        }
    }

    fn join_known(
        &mut self,
        request: &JoinRequest,
        ticket: Ticket,
        now: Now,
        effects: &mut Effects,
    ) {
        let member_id = &request.member_id;
        let is_leader = self.members.is_leader(member_id);
        let is_same = self
            .members
            .get(member_id)
            .is_some_and(|m| m.matches(&request.protocols));
        match self.state {
            // The member may have missed the answer to its join.
            GroupState::CompletingRebalance if is_same => {
                effects.join(ticket, self.current_generation(member_id, is_leader));
            }
            // A leader rejoins because something changed that subscriptions do not show.
            GroupState::Stable if is_same && !is_leader => {
                effects.join(ticket, self.current_generation(member_id, false));
            }
            GroupState::PreparingRebalance => {
                self.update_member(member_id, request, ticket, effects)
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                self.update_member(member_id, request, ticket, effects);
                let reason = request.reason.as_deref().unwrap_or("a member joined again");
                self.prepare_rebalance(reason, now, effects);
            }
            GroupState::Empty | GroupState::Dead => {
                let error = ErrorCode::UnknownMemberId;
                effects.join(ticket, JoinResult::failed(member_id.clone(), error));
            }
        }
    }

    fn current_generation(&self, member_id: &ByteString, with_members: bool) -> JoinResult {
        let protocol = self.protocol_name.as_deref().unwrap_or_default();
        let members = match with_members {
            true => self.members.iter().map(|m| m.joined(protocol)).collect(),
            false => Vec::new(),
        };
        JoinResult {
            error: ErrorCode::None,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            leader: self.members.leader().cloned().unwrap_or_default(),
            skip_assignment: false,
            member_id: member_id.clone(),
            members,
        }
    }

    fn add_member(
        &mut self,
        member_id: ByteString,
        request: &JoinRequest,
        ticket: Ticket,
        now: Now,
        effects: &mut Effects,
    ) {
        let member_id = detached(&member_id);
        if self.state == GroupState::PreparingRebalance && self.generation == 0 {
            self.new_member_added = true;
        }
        if self.members.is_empty() {
            self.protocol_type = Some(detached(&request.protocol_type));
        }
        self.members
            .add(Member::joining(member_id.clone(), request, ticket));
        self.schedule_expiry(&member_id, NEW_MEMBER_JOIN_TIMEOUT_MS, now, effects);
        if self.state != GroupState::PreparingRebalance {
            let reason = request.reason.as_deref().unwrap_or("a new member joined");
            self.prepare_rebalance(reason, now, effects);
        }
    }

    fn update_member(
        &mut self,
        member_id: &str,
        request: &JoinRequest,
        ticket: Ticket,
        effects: &mut Effects,
    ) {
        self.members
            .set_protocols(member_id, detached_protocols(&request.protocols));
        if let Some(member) = self.members.get_mut(member_id) {
            member.rebalance_timeout_ms = request.rebalance_timeout_ms;
            member.session_timeout_ms = request.session_timeout_ms;
        }
        if let Some(superseded) = self.members.await_join(member_id, ticket) {
            let error = ErrorCode::RebalanceInProgress;
            effects.join(
                superseded,
                JoinResult::failed(request.member_id.clone(), error),
            );
        }
    }

    /// A static member comes back without its id (KIP-345): whoever used the instance before is
    /// fenced. A stable group need not rebalance if its protocol stays the same.
    #[expect(
        clippy::too_many_arguments,
        reason = "one call, all of it is one event"
    )]
    fn replace_static(
        &mut self,
        instance: &ByteString,
        old_id: &ByteString,
        new_id: &ByteString,
        request: &JoinRequest,
        ticket: Ticket,
        now: Now,
        effects: &mut Effects,
    ) {
        let old_leader = self.members.leader().cloned().unwrap_or_default();
        let fenced = ErrorCode::FencedInstanceId;
        if let Some(waiting) = self.members.take_join(old_id) {
            effects.join(waiting, JoinResult::failed(old_id.clone(), fenced));
        }
        let Some(member) = self.members.get_mut(old_id) else {
            return;
        };
        if let Some(waiting) = member.awaiting_sync.take() {
            effects.sync(waiting, SyncResult::failed(fenced));
        }
        let rejoin = StaticRejoin {
            ticket,
            group_instance_id: detached(instance),
            old_member_id: old_id.clone(),
            new_member_id: new_id.clone(),
            old_leader,
            old_protocols: member.protocols.clone(),
            old_rebalance_timeout_ms: member.rebalance_timeout_ms,
            old_session_timeout_ms: member.session_timeout_ms,
            can_skip_assignment: request.can_skip_assignment,
        };
        self.rename(&rejoin.group_instance_id, old_id, new_id);
        self.schedule_session(new_id, now, effects);
        self.update_member(new_id, request, ticket, effects);
        match self.state {
            GroupState::Stable if self.members.select_protocol() == self.protocol_name => {
                let assignment = self.current_assignment();
                self.store(
                    &assignment,
                    Stored::StaticMember(Box::new(rejoin)),
                    now,
                    effects,
                );
            }
            // The leader may be computing an assignment for the old id.
            GroupState::Stable | GroupState::CompletingRebalance => {
                self.prepare_rebalance("a static member returned", now, effects);
            }
            GroupState::PreparingRebalance | GroupState::Empty | GroupState::Dead => {}
        }
    }

    fn rename(&mut self, instance: &ByteString, old_id: &ByteString, new_id: &ByteString) {
        self.members.rename(instance, old_id, new_id);
        if self.pending_sync.remove(old_id) {
            self.pending_sync.insert(new_id.clone());
        }
    }

    /// A static member's new id is stored, or is not and the old one is back. A rebalance that
    /// began meanwhile answers the join itself.
    pub(super) fn static_member_stored(
        &mut self,
        rejoin: StaticRejoin,
        outcome: Result<i64, ErrorCode>,
        now: Now,
        effects: &mut Effects,
    ) {
        let id = &rejoin.new_member_id;
        let waits = self
            .members
            .get(id)
            .is_some_and(|m| m.awaiting_join == Some(rejoin.ticket));
        if !waits || self.state != GroupState::Stable {
            return;
        }
        self.members.take_join(id);
        let mut result = self.current_generation(id, false);
        if let Err(error) = outcome {
            self.members.set_protocols(id, rejoin.old_protocols);
            if let Some(member) = self.members.get_mut(id) {
                member.rebalance_timeout_ms = rejoin.old_rebalance_timeout_ms;
                member.session_timeout_ms = rejoin.old_session_timeout_ms;
            }
            self.rename(&rejoin.group_instance_id, id, &rejoin.old_member_id);
            self.schedule_session(&rejoin.old_member_id, now, effects);
            result.error = group_append_error(error);
            result.member_id = UNKNOWN_MEMBER_ID.into();
            result.leader = rejoin.old_leader;
        } else {
            self.schedule_session(id, now, effects);
            if rejoin.can_skip_assignment {
                let is_leader = self.members.is_leader(id);
                result = self.current_generation(id, is_leader);
                result.skip_assignment = is_leader;
            } else {
                // Told the old leader's id, the member does not take itself for the leader, whose
                // assignment a stable group would ignore.
                result.leader = rejoin.old_leader;
            }
        }
        effects.join(rejoin.ticket, result);
    }

    /// Starts a rebalance, unless one is being prepared or the group is dead.
    pub(super) fn prepare_rebalance(&mut self, reason: &str, now: Now, effects: &mut Effects) {
        if matches!(
            self.state,
            GroupState::PreparingRebalance | GroupState::Dead
        ) {
            return;
        }
        if self.state == GroupState::CompletingRebalance {
            self.fail_syncs(ErrorCode::RebalanceInProgress, now, effects);
        }
        self.pending_sync.clear();
        self.sync_deadline_ms = None;
        let timeout_ms = self.members.rebalance_timeout_ms();
        let (delay_ms, initial) = if self.state == GroupState::Empty {
            let delay_ms = i64::from(self.settings.initial_rebalance_delay_ms);
            let remaining_ms = (timeout_ms - delay_ms).max(0);
            (
                delay_ms,
                Some(InitialDelay {
                    delay_ms,
                    remaining_ms,
                }),
            )
        } else {
            (timeout_ms, None)
        };
        tracing::info!(group = %self.id, generation = self.generation, reason, "preparing to rebalance");
        self.enter(GroupState::PreparingRebalance, now);
        self.set_join_timer(delay_ms, initial, now, effects);
        self.try_complete_join(now, effects);
    }

    fn set_join_timer(
        &mut self,
        delay_ms: i64,
        initial: Option<InitialDelay>,
        now: Now,
        effects: &mut Effects,
    ) {
        let at_ms = now.mono_ms.saturating_add(delay_ms);
        self.join_timer = Some(JoinTimer { at_ms, initial });
        self.note_deadline(at_ms, effects);
    }

    /// Goes on as soon as everybody has joined, but not before the first rebalance's delay.
    pub(super) fn try_complete_join(&mut self, now: Now, effects: &mut Effects) {
        let is_initial = self.join_timer.is_some_and(|t| t.initial.is_some());
        if self.state == GroupState::PreparingRebalance && !is_initial && self.members.all_joined()
        {
            self.complete_join(now, effects);
        }
    }

    /// The wait for joins is over.
    pub(super) fn join_time_is_up(&mut self, now: Now, effects: &mut Effects) {
        let Some(timer) = self.join_timer.take() else {
            return;
        };
        if let Some(initial) = timer
            .initial
            .filter(|i| self.new_member_added && i.remaining_ms != 0)
        {
            self.new_member_added = false;
            let configured = i64::from(self.settings.initial_rebalance_delay_ms);
            let delay_ms = configured.min(initial.remaining_ms);
            let remaining_ms = (initial.remaining_ms - initial.delay_ms).max(0);
            let next = InitialDelay {
                delay_ms,
                remaining_ms,
            };
            self.set_join_timer(delay_ms, Some(next), now, effects);
            return;
        }
        self.complete_join(now, effects);
    }

    /// Starts the next generation with those who joined, and static members whether they did or
    /// not.
    fn complete_join(&mut self, now: Now, effects: &mut Effects) {
        self.join_timer = None;
        let is_late = |m: &&Member| m.awaiting_join.is_none() && !m.is_static();
        let late: Vec<_> = self
            .members
            .iter()
            .filter(is_late)
            .map(|m| m.member_id.clone())
            .collect();
        for id in late {
            tracing::info!(group = %self.id, member = %id, "member did not join in time");
            self.drop_member(&id, effects);
        }
        if !self.members.ensure_joined_leader() && !self.members.is_empty() {
            // Only static members are left and none came back: wait until their sessions end.
            tracing::warn!(group = %self.id, "nobody joined in time, waiting once more");
            self.set_join_timer(self.members.rebalance_timeout_ms(), None, now, effects);
            return;
        }
        self.generation = self.generation.wrapping_add(1);
        self.pending_sync.clear();
        self.protocol_name = self.members.select_protocol();
        self.subscribed = self.compute_subscribed();
        if self.members.is_empty() {
            self.enter(GroupState::Empty, now);
            tracing::info!(group = %self.id, generation = self.generation, "group is now empty");
            self.store(&Default::default(), Stored::EmptyGeneration, now, effects);
            return;
        }
        self.enter(GroupState::CompletingRebalance, now);
        tracing::info!(group = %self.id, generation = self.generation,
            members = self.members.len(), "stabilized group");
        self.answer_joins(now, effects);
        let deadline = now
            .mono_ms
            .saturating_add(self.members.rebalance_timeout_ms());
        self.sync_deadline_ms = Some(deadline);
        self.note_deadline(deadline, effects);
    }

    fn answer_joins(&mut self, now: Now, effects: &mut Effects) {
        for id in self.members.ids() {
            if let Some(ticket) = self.members.take_join(&id) {
                let is_leader = self.members.is_leader(&id);
                effects.join(ticket, self.current_generation(&id, is_leader));
            }
            self.schedule_session(&id, now, effects);
            if let Some(member) = self.members.get_mut(&id) {
                member.is_new = false;
            }
            self.pending_sync.insert(id);
        }
    }
}
