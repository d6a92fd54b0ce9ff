//! Pure: who is in a group: members by id, static instances, ids handed out but not used yet, the
//! leader, and the vote for a protocol.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytestring::ByteString;

use crate::coordinator::group::member::Member;
use crate::coordinator::group::message::Protocol;
use crate::coordinator::java;
use crate::coordinator::waiting::Ticket;

/// The members of a group.
#[derive(Clone, Debug, Default)]
pub struct Membership {
    members: BTreeMap<ByteString, Member>,
    /// Instance id to member id.
    instances: HashMap<ByteString, ByteString>,
    /// Ids given to members that have to come back with them, and until when (monotonic).
    pending: BTreeMap<ByteString, i64>,
    leader: Option<ByteString>,
    awaiting_join: usize,
    /// How many members support each protocol.
    supporters: HashMap<ByteString, usize>,
}

impl Membership {
    /// Members, without pending ones.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Nobody has joined.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Has joined under this id.
    pub fn has(&self, member_id: &str) -> bool {
        self.members.contains_key(member_id)
    }

    /// A member by id.
    pub fn get(&self, member_id: &str) -> Option<&Member> {
        self.members.get(member_id)
    }

    /// A member by id, for changes that leave protocols and waiting joins alone.
    pub fn get_mut(&mut self, member_id: &str) -> Option<&mut Member> {
        self.members.get_mut(member_id)
    }

    /// Everybody, by member id.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// Everybody's id.
    pub fn ids(&self) -> Vec<ByteString> {
        self.members.keys().cloned().collect()
    }

    /// The leader's id.
    pub fn leader(&self) -> Option<&ByteString> {
        self.leader.as_ref()
    }

    /// Sets the leader as the log says it.
    pub fn set_leader(&mut self, leader: Option<ByteString>) {
        self.leader = leader;
    }

    /// Is the leader.
    pub fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_ref().is_some_and(|l| *l == *member_id)
    }

    /// Member id of a static instance.
    pub fn of_instance(&self, instance_id: &str) -> Option<&ByteString> {
        self.instances.get(instance_id)
    }

    /// Static members.
    pub fn static_len(&self) -> usize {
        self.instances.len()
    }

    /// Members whose join waits.
    pub fn awaiting_join(&self) -> usize {
        self.awaiting_join
    }

    /// Everybody waits, and nobody is about to come.
    pub fn all_joined(&self) -> bool {
        self.members.len() == self.awaiting_join && self.pending.is_empty()
    }

    /// The longest that any member wants a rebalance to wait.
    pub fn rebalance_timeout_ms(&self) -> i64 {
        self.members
            .values()
            .map(|m| i64::from(m.rebalance_timeout_ms))
            .max()
            .unwrap_or(0)
            .max(0)
    }

    /// Hands out an id that its owner has to come back with.
    pub fn add_pending(&mut self, member_id: ByteString, deadline_ms: i64) {
        self.pending.insert(member_id, deadline_ms);
    }

    /// The id was handed out and not used yet.
    pub fn is_pending(&self, member_id: &str) -> bool {
        self.pending.contains_key(member_id)
    }

    /// Ids that were not used in time.
    pub fn expired_pending(&self, mono_ms: i64) -> Vec<ByteString> {
        self.pending
            .iter()
            .filter(|(_, at)| **at <= mono_ms)
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// The next time at which a session or a pending id ends.
    pub fn next_deadline_ms(&self) -> Option<i64> {
        let sessions = self.members.values().filter_map(|m| m.session_deadline_ms);
        sessions.chain(self.pending.values().copied()).min()
    }

    /// Adds a member; the first one leads.
    pub fn add(&mut self, member: Member) {
        if let Some(instance) = &member.group_instance_id {
            self.instances
                .insert(instance.clone(), member.member_id.clone());
        }
        if self.leader.is_none() {
            self.leader = Some(member.member_id.clone());
        }
        self.count_protocols(&member.protocols, true);
        if member.awaiting_join.is_some() {
            self.awaiting_join += 1;
        }
        self.pending.remove(&member.member_id);
        self.members.insert(member.member_id.clone(), member);
    }

    /// Removes a member or a pending id; a leader is followed by somebody else. What the member
    /// waited for is the caller's to answer.
    pub fn remove(&mut self, member_id: &str) -> Option<Member> {
        let removed = self.members.remove(member_id);
        if let Some(member) = &removed {
            self.count_protocols(&member.protocols, false);
            if member.awaiting_join.is_some() {
                self.awaiting_join -= 1;
            }
            if let Some(instance) = &member.group_instance_id {
                self.instances.remove(instance);
            }
        }
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        self.pending.remove(member_id);
        removed
    }

    /// Gives a static member a new id; its place, and its lead, stay.
    pub fn rename(&mut self, instance_id: &ByteString, old: &ByteString, new: &ByteString) {
        if let Some(mut member) = self.members.remove(old) {
            member.member_id = new.clone();
            self.members.insert(new.clone(), member);
        }
        if self.is_leader(old) {
            self.leader = Some(new.clone());
        }
        self.instances.insert(instance_id.clone(), new.clone());
    }

    /// Replaces what a member supports.
    pub fn set_protocols(&mut self, member_id: &str, protocols: Vec<Protocol>) {
        let Some(member) = self.members.get_mut(member_id) else {
            return;
        };
        let old = std::mem::replace(&mut member.protocols, protocols.clone());
        self.count_protocols(&old, false);
        self.count_protocols(&protocols, true);
    }

    /// A join starts to wait; answers the ticket of an earlier one that it supersedes.
    pub fn await_join(&mut self, member_id: &str, ticket: Ticket) -> Option<Ticket> {
        let member = self.members.get_mut(member_id)?;
        let earlier = member.awaiting_join.replace(ticket);
        if earlier.is_none() {
            self.awaiting_join += 1;
        }
        earlier
    }

    /// A join waits no longer.
    pub fn take_join(&mut self, member_id: &str) -> Option<Ticket> {
        let ticket = self.members.get_mut(member_id)?.awaiting_join.take();
        if ticket.is_some() {
            self.awaiting_join -= 1;
        }
        ticket
    }

    /// Before a generation starts: the leader must have come back, else somebody who has takes
    /// over. False if there is no leader or nobody came back.
    pub fn ensure_joined_leader(&mut self) -> bool {
        let Some(leader) = &self.leader else {
            return false;
        };
        if self
            .members
            .get(leader)
            .is_some_and(|m| m.awaiting_join.is_some())
        {
            return true;
        }
        let Some(joined) = self.members.values().find(|m| m.awaiting_join.is_some()) else {
            return false;
        };
        self.leader = Some(joined.member_id.clone());
        true
    }

    /// At least one of these is supported by everybody.
    pub fn supports_any(&self, protocols: &[Protocol]) -> bool {
        protocols
            .iter()
            .any(|p| self.supporters.get(&p.name).copied().unwrap_or(0) == self.members.len())
    }

    /// Each member votes for the first of its protocols that everybody supports; the most votes
    /// win, and of equals the first in the order of Kafka's map of votes. `None` if nobody is there
    /// or nothing is common.
    pub fn select_protocol(&self) -> Option<ByteString> {
        let everybody = self.members.len();
        let is_common = |p: &&Protocol| self.supporters.get(&p.name) == Some(&everybody);
        let mut votes: BTreeMap<&ByteString, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some(choice) = member.protocols.iter().find(is_common) {
                *votes.entry(&choice.name).or_insert(0) += 1;
            }
        }
        let most = votes.values().copied().max()?;
        let best = votes.into_iter().filter(|(_, count)| *count == most);
        java::first_in_hash_map(best.map(|(name, _)| &**name)).map(Into::into)
    }

    /// A member that names a protocol twice still counts once.
    fn count_protocols(&mut self, protocols: &[Protocol], up: bool) {
        let mut seen = HashSet::new();
        for protocol in protocols.iter().filter(|p| seen.insert(p.name.clone())) {
            let count = self.supporters.entry(protocol.name.clone()).or_insert(0);
            *count = if up {
                *count + 1
            } else {
                count.saturating_sub(1)
            };
            if *count == 0 {
                self.supporters.remove(&protocol.name);
            }
        }
    }
}
