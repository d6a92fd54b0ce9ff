//! Single steps of the protocol in a world of one group, its clock and its log; `group_simulation_test.rs` has random ones.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use kafka_wire::error_code::ErrorCode;

use crate::coordinator::group::group::{Group, GroupState};
use crate::coordinator::group::message::{
    CommitRequest, Effect, Effects, GroupSettings, JoinRequest, JoinResult, Leaver, Now, Protocol,
    Reply, Stored, SyncRequest, SyncResult,
};
use crate::coordinator::group::offsets::OffsetAndMetadata;
use crate::coordinator::topic_partition::TopicPartition;
use crate::coordinator::waiting::Ticket;

#[path = "group_simulation_test.rs"]
mod simulation;

/// A group, its clock, its timers, and an append log that the test completes.
struct World {
    group: Group,
    now: Now,
    next_ticket: u64,
    armed: Vec<i64>,
    appends: Vec<Stored>,
    replies: BTreeMap<Ticket, Reply>,
    asked: BTreeSet<Ticket>,
    uuid: u64,
}

impl World {
    fn new(max_size: usize) -> World {
        let settings = GroupSettings {
            min_session_timeout_ms: 100,
            max_session_timeout_ms: 60_000,
            max_size,
            initial_rebalance_delay_ms: 300,
            max_offset_metadata_size: 16,
            offsets_retention_ms: 1_000_000,
        };
        let now = Now {
            wall_ms: 1_000_000,
            mono_ms: 0,
        };
        World {
            group: Group::empty("g".into(), Arc::new(settings), now),
            now,
            next_ticket: 0,
            armed: Vec::new(),
            appends: Vec::new(),
            replies: BTreeMap::new(),
            asked: BTreeSet::new(),
            uuid: 0,
        }
    }

    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        self.asked.insert(Ticket(self.next_ticket));
        Ticket(self.next_ticket)
    }

    fn absorb(&mut self, effects: Effects) {
        for effect in effects.0 {
            match effect {
                Effect::Reply(ticket, reply) => {
                    assert!(self.asked.remove(&ticket), "{ticket:?} is answered twice");
                    self.replies.insert(ticket, reply);
                }
                Effect::Append { then, records, .. } => {
                    assert!(!records.is_empty());
                    self.appends.push(then);
                }
                Effect::Arm(at) => self.armed.push(at),
                Effect::Tombstones(_) | Effect::RebalanceCompleted => {}
            }
        }
    }

    fn act<R>(&mut self, act: impl FnOnce(&mut Group, Now, &mut Effects) -> R) -> R {
        let mut effects = Effects::new();
        let result = act(&mut self.group, self.now, &mut effects);
        self.absorb(effects);
        result
    }

    /// Time passes; timers come in order.
    fn advance(&mut self, ms: i64) {
        let end = self.now.mono_ms + ms;
        loop {
            self.armed.sort_unstable();
            let Some(at) = self.armed.first().copied().filter(|at| *at <= end) else {
                break;
            };
            self.armed.remove(0);
            let passed = (at - self.now.mono_ms).max(0);
            self.now.mono_ms += passed;
            self.now.wall_ms += passed;
            self.act(|group, now, effects| group.tick(at, now, effects));
        }
        self.now.wall_ms += end - self.now.mono_ms;
        self.now.mono_ms = end;
    }

    fn complete_append(&mut self, place: usize, outcome: Result<i64, ErrorCode>) {
        let then = self.appends.remove(place);
        self.act(|group, now, effects| group.appended(then, outcome, now, effects));
    }

    fn complete_appends(&mut self) {
        while !self.appends.is_empty() {
            self.complete_append(0, Ok(0));
        }
    }

    fn request(&mut self, member_id: &str, instance: Option<&str>) -> JoinRequest {
        self.uuid += 1;
        JoinRequest {
            member_id: member_id.into(),
            group_instance_id: instance.map(Into::into),
            client_id: "client".into(),
            client_host: "/127.0.0.1".into(),
            session_timeout_ms: 1000,
            rebalance_timeout_ms: 2000,
            protocol_type: "consumer".into(),
            protocols: protocols(&["range", "sticky"]),
            require_known_member_id: false,
            can_skip_assignment: true,
            reason: None,
            fresh_uuid: format!("{:08}", self.uuid).into(),
        }
    }

    fn join(&mut self, member_id: &str, instance: Option<&str>) -> Ticket {
        let request = self.request(member_id, instance);
        self.join_with(&request)
    }

    fn join_with(&mut self, request: &JoinRequest) -> Ticket {
        let ticket = self.ticket();
        self.act(|group, now, effects| group.join(request, ticket, now, effects));
        ticket
    }

    fn sync(&mut self, member_id: &str, generation: i32, parts: &[(&str, &str)]) -> Ticket {
        let ticket = self.ticket();
        let part = |(id, part): &(&str, &str)| ((*id).into(), Bytes::from(part.to_string()));
        let request = SyncRequest {
            member_id: member_id.into(),
            group_instance_id: None,
            generation,
            protocol_type: None,
            protocol_name: None,
            assignments: parts.iter().map(part).collect(),
        };
        self.act(|group, now, effects| group.sync(&request, ticket, now, effects));
        ticket
    }

    fn heartbeat(&mut self, member_id: &str, generation: i32) -> ErrorCode {
        self.act(|group, now, effects| group.heartbeat(member_id, None, generation, now, effects))
    }

    fn leave(&mut self, member_id: &str, instance: Option<&str>) -> ErrorCode {
        let leaver = Leaver {
            member_id: member_id.into(),
            group_instance_id: instance.map(Into::into),
            reason: None,
        };
        self.act(|group, now, effects| group.leave(&[leaver], now, effects))
            .unwrap()[0]
    }

    fn commit(&mut self, member_id: &str, generation: i32, offset: i64) -> Ticket {
        let ticket = self.ticket();
        let request = CommitRequest {
            member_id: member_id.into(),
            group_instance_id: None,
            generation,
            producer: None,
            offsets: vec![(topic("t"), position(offset))],
        };
        self.act(|group, now, effects| group.commit(request, ticket, now, effects));
        ticket
    }

    fn joined(&self, ticket: Ticket) -> &JoinResult {
        match &self.replies[&ticket] {
            Reply::Join(result) => result,
            other => panic!("{other:?}"),
        }
    }

    fn synced(&self, ticket: Ticket) -> &SyncResult {
        match &self.replies[&ticket] {
            Reply::Sync(result) => result,
            other => panic!("{other:?}"),
        }
    }

    fn committed(&self, ticket: Ticket) -> ErrorCode {
        match &self.replies[&ticket] {
            Reply::Commit(results) => results[0].1,
            other => panic!("{other:?}"),
        }
    }

    /// One member in a stable group.
    fn stable(&mut self) -> String {
        let join = self.join("", None);
        self.advance(300);
        let id = self.joined(join).member_id.to_string();
        let sync = self.sync(&id, 1, &[(&id, "all")]);
        self.complete_appends();
        assert_eq!(self.synced(sync).assignment, "all");
        assert_eq!(self.group.state(), GroupState::Stable);
        id
    }
}

fn topic(name: &str) -> TopicPartition {
    TopicPartition {
        topic: name.into(),
        partition: 0,
    }
}

fn position(offset: i64) -> OffsetAndMetadata {
    OffsetAndMetadata {
        offset,
        leader_epoch: None,
        metadata: "".into(),
        commit_timestamp_ms: 1_000_000,
        expire_timestamp_ms: None,
    }
}

/// Version 0 of a subscription to "t".
fn protocols(names: &[&str]) -> Vec<Protocol> {
    let metadata = Bytes::from_static(b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff");
    names
        .iter()
        .map(|n| Protocol {
            name: (*n).into(),
            metadata: metadata.clone(),
        })
        .collect()
}

#[test]
fn the_first_rebalance_waits_longer_while_members_come() {
    let mut w = World::new(100);
    let first = w.join("", None);
    w.advance(200);
    let second = w.join("", None);
    w.advance(100);
    assert!(
        w.replies.is_empty(),
        "the delay starts again for the second member"
    );
    w.advance(300);
    assert_eq!(w.joined(first).generation, 1);
    assert_eq!(w.joined(first).members.len(), 2, "the leader sees both");
    assert_eq!(w.joined(second).members.len(), 0);
    assert_eq!(w.joined(second).leader, w.joined(first).member_id);
}

#[test]
fn the_first_rebalance_waits_no_longer_than_the_rebalance_timeout() {
    let mut w = World::new(100);
    let first = w.join("", None);
    for _ in 0..30 {
        w.advance(100);
        w.join("", None);
        if w.replies.contains_key(&first) {
            break;
        }
    }
    assert!(w.now.mono_ms <= 2300, "{}", w.now.mono_ms);
    assert_eq!(w.joined(first).generation, 1);
}

#[test]
fn an_id_that_is_never_used_holds_a_rebalance_up_only_for_its_session() {
    let mut w = World::new(100);
    let id = w.stable();
    let mut request = w.request("", None);
    request.require_known_member_id = true;
    let required = w.join_with(&request);
    assert_eq!(w.joined(required).error, ErrorCode::MemberIdRequired);
    assert_eq!(w.joined(required).member_id, "client-00000002");
    let again = w.join(&id, None);
    w.advance(900);
    assert!(!w.replies.contains_key(&again));
    w.advance(100);
    assert_eq!(w.joined(again).generation, 2);
}

#[test]
fn a_member_that_does_not_rejoin_is_out_and_somebody_else_leads() {
    let mut w = World::new(100);
    let (a, b) = (w.join("", None), w.join("", None));
    w.advance(600);
    let (a, b) = (w.joined(a).member_id.clone(), w.joined(b).member_id.clone());
    let (leader, follower) = if w.group.members().is_leader(&a) {
        (a, b)
    } else {
        (b, a)
    };
    let mut changed = w.request(&follower, None);
    changed.protocols = protocols(&["sticky", "range"]);
    let again = w.join_with(&changed);
    // The leader beats, is told, and does not come.
    w.advance(900);
    assert_eq!(w.heartbeat(&leader, 1), ErrorCode::RebalanceInProgress);
    w.advance(900);
    assert_eq!(w.heartbeat(&leader, 1), ErrorCode::RebalanceInProgress);
    w.advance(200);
    let joined = w.joined(again);
    assert_eq!((joined.generation, &joined.leader), (2, &follower));
    assert_eq!(joined.protocol_name.as_deref(), Some("sticky"));
    assert_eq!(w.heartbeat(&leader, 1), ErrorCode::UnknownMemberId);
}

#[test]
fn whoever_does_not_sync_in_time_is_out() {
    let mut w = World::new(100);
    let (a, b) = (w.join("", None), w.join("", None));
    w.advance(600);
    let leader = w.joined(a).leader.clone();
    let other = if w.joined(a).member_id == leader {
        b
    } else {
        a
    };
    let other = w.joined(other).member_id.clone();
    let sync = w.sync(&leader, 1, &[(&leader, "x"), (&other, "y")]);
    w.complete_appends();
    assert_eq!(w.synced(sync).assignment, "x");
    // It beats, but does not fetch its assignment.
    for _ in 0..4 {
        w.advance(499);
        assert_eq!(w.heartbeat(&other, 1), ErrorCode::None);
        assert_eq!(w.heartbeat(&leader, 1), ErrorCode::None);
    }
    w.advance(10);
    assert_eq!(w.heartbeat(&other, 1), ErrorCode::UnknownMemberId);
    assert_eq!(w.heartbeat(&leader, 1), ErrorCode::RebalanceInProgress);
}

#[test]
fn an_assignment_that_cannot_be_stored_starts_another_rebalance() {
    let mut w = World::new(100);
    let join = w.join("", None);
    w.advance(300);
    let id = w.joined(join).member_id.clone();
    let sync = w.sync(&id, 1, &[(&id, "x")]);
    w.complete_append(0, Err(ErrorCode::NotEnoughReplicas));
    assert_eq!(w.synced(sync).error, ErrorCode::CoordinatorNotAvailable);
    assert_eq!(w.group.state(), GroupState::PreparingRebalance);
    let again = w.join(&id, None);
    assert_eq!(w.joined(again).generation, 2);
}

#[test]
fn a_static_member_returns_without_a_rebalance_and_fences_its_predecessor() {
    let mut w = World::new(100);
    let join = w.join("", Some("i"));
    w.advance(300);
    let old = w.joined(join).member_id.clone();
    assert_eq!(old, "i-00000001");
    w.sync(&old, 1, &[(&old, "all")]);
    w.complete_appends();
    let back = w.join("", Some("i"));
    w.complete_appends();
    let joined = w.joined(back).clone();
    assert_eq!((joined.error, joined.generation), (ErrorCode::None, 1));
    assert!(joined.skip_assignment);
    assert_eq!(joined.leader, joined.member_id);
    let fenced = w.act(|g, now, effects| g.heartbeat(&old, Some("i"), 1, now, effects));
    assert_eq!(fenced, ErrorCode::FencedInstanceId);
    // If the new id cannot be stored, the old one is back.
    let mut without_skip = w.request("", Some("i"));
    without_skip.can_skip_assignment = false;
    let failed = w.join_with(&without_skip);
    w.complete_append(0, Err(ErrorCode::NotLeaderOrFollower));
    assert_eq!(w.joined(failed).error, ErrorCode::NotCoordinator);
    assert_eq!(w.group.members().of_instance("i"), Some(&joined.member_id));
}

#[test]
fn commits_become_visible_once_stored_and_in_the_order_of_the_log() {
    let mut w = World::new(100);
    let id = w.stable();
    let (first, second) = (w.commit(&id, 1, 10), w.commit(&id, 1, 20));
    let fetch = |w: &World, stable| w.group.offsets().fetch(Some(&[topic("t")]), stable);
    assert_eq!(fetch(&w, false)[0].1.offset, -1);
    assert_eq!(fetch(&w, true)[0].1.error, ErrorCode::UnstableOffsetCommit);
    // The replicas confirm the later batch first.
    w.complete_append(1, Ok(8));
    w.complete_append(0, Ok(7));
    assert_eq!(
        (w.committed(first), w.committed(second)),
        (ErrorCode::None, ErrorCode::None)
    );
    assert_eq!(fetch(&w, true)[0].1.offset, 20);
    let failed = w.commit(&id, 1, 30);
    w.complete_append(0, Err(ErrorCode::MessageTooLarge));
    assert_eq!(w.committed(failed), ErrorCode::InvalidCommitOffsetSize);
    assert_eq!(fetch(&w, true)[0].1.offset, 20);
}

#[test]
fn offsets_expire_from_when_the_group_became_empty() {
    let mut w = World::new(100);
    let id = w.stable();
    w.commit(&id, 1, 10);
    w.complete_appends();
    w.now.wall_ms += 5_000_000;
    assert_eq!(
        w.group.expire(w.now).offsets,
        0,
        "subscribed topics of a stable group stay"
    );
    w.leave(&id, None);
    w.complete_appends();
    assert_eq!(w.group.state(), GroupState::Empty);
    w.now.wall_ms += 999_999;
    assert_eq!(w.group.expire(w.now).offsets, 0);
    w.now.wall_ms += 1;
    let cleanup = w.group.expire(w.now);
    assert_eq!(
        (cleanup.offsets, cleanup.tombstones.len(), cleanup.is_dead),
        (1, 2, true)
    );
}
