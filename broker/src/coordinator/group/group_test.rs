//! Single steps of the protocol, and simulations: clients that join, sync, beat, leave, fall
//! silent and return in a random order, with appends that succeed, fail or are late, checked
//! after every step. A failing run names its seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use kafka_wire::error_code::ErrorCode;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::coordinator::group::group::{Group, GroupState};
use crate::coordinator::group::message::{
    CommitRequest, Effect, Effects, GroupSettings, JoinRequest, JoinResult, Leaver, Now, Protocol,
    Reply, Stored, SyncRequest, SyncResult,
};
use crate::coordinator::group::offsets::OffsetAndMetadata;
use crate::coordinator::topic_partition::TopicPartition;
use crate::coordinator::waiting::Ticket;

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

/// One simulated client and what it believes.
#[derive(Clone, Default)]
struct Client {
    instance: Option<String>,
    member_id: String,
    generation: i32,
    waits: Option<Ticket>,
    leads: Vec<String>,
}

struct Simulation {
    world: World,
    rng: StdRng,
    clients: Vec<Client>,
    /// Who was told which assignment: by generation and member.
    assigned: BTreeMap<(i32, String), Bytes>,
    /// Who was told to lead a generation.
    leaders: BTreeMap<i32, String>,
}

impl Simulation {
    fn new(seed: u64) -> Simulation {
        let instance = |n: usize| (n < 2).then(|| format!("inst{n}"));
        let client = |n| Client {
            instance: instance(n),
            ..Client::default()
        };
        Simulation {
            world: World::new(4),
            rng: StdRng::seed_from_u64(seed),
            clients: (0..6).map(client).collect(),
            assigned: BTreeMap::new(),
            leaders: BTreeMap::new(),
        }
    }

    fn step(&mut self) {
        match self.rng.random_range(0..10) {
            0..=5 => {
                let client = self.rng.random_range(0..self.clients.len());
                self.client_step(client);
            }
            6 | 7 => {
                let ms = self.rng.random_range(1..400);
                self.world.advance(ms);
            }
            _ if !self.world.appends.is_empty() => {
                let place = self.rng.random_range(0..self.world.appends.len());
                let outcome = match self.rng.random_range(0..8) {
                    0 => Err(ErrorCode::NotEnoughReplicasAfterAppend),
                    _ => Ok(self.world.next_ticket as i64),
                };
                self.world.complete_append(place, outcome);
            }
            _ => {}
        }
        self.deliver();
        self.check();
    }

    fn client_step(&mut self, n: usize) {
        let client = self.clients[n].clone();
        let action = self.rng.random_range(0..12);
        let instance = client.instance.as_deref();
        if client.waits.is_some() && action > 0 {
            return;
        }
        match action {
            // A crash: it forgets everything, perhaps while it waits.
            0 => {
                self.clients[n] = Client {
                    instance: client.instance,
                    ..Client::default()
                }
            }
            1 => {
                let left = self.world.leave(&client.member_id, None);
                if left == ErrorCode::None {
                    self.clients[n].member_id.clear();
                }
            }
            2 if client.generation > 0 => {
                self.world.commit(&client.member_id, client.generation, 1);
            }
            3..=5 if client.generation > 0 => {
                let id = client.member_id.clone();
                if self.world.heartbeat(&id, client.generation) != ErrorCode::None {
                    self.clients[n].generation = 0;
                }
            }
            6..=8 if client.generation > 0 => {
                let parts: Vec<_> = client
                    .leads
                    .iter()
                    .map(|id| (id.clone(), format!("{}:{id}", client.generation)))
                    .collect();
                let parts: Vec<_> = parts.iter().map(|(a, b)| (&**a, &**b)).collect();
                let ticket = self
                    .world
                    .sync(&client.member_id, client.generation, &parts);
                self.clients[n].waits = Some(ticket);
            }
            _ => {
                let mut request = self.world.request(&client.member_id, instance);
                request.require_known_member_id = instance.is_none() && self.rng.random_bool(0.5);
                if self.rng.random_bool(0.2) {
                    request.protocols = protocols(&["sticky", "range"]);
                }
                let ticket = self.world.join_with(&request);
                self.clients[n].waits = Some(ticket);
            }
        }
    }

    /// Clients learn what they were answered.
    fn deliver(&mut self) {
        for client in &mut self.clients {
            let Some(reply) = client
                .waits
                .and_then(|t| self.world.replies.get(&t).cloned())
            else {
                continue;
            };
            client.waits = None;
            match reply {
                Reply::Join(result) if result.error == ErrorCode::None => {
                    client.member_id = result.member_id.to_string();
                    client.generation = result.generation;
                    let is_leader = result.leader == result.member_id;
                    client.leads = match is_leader && !result.skip_assignment {
                        true => result
                            .members
                            .iter()
                            .map(|m| m.member_id.to_string())
                            .collect(),
                        false => Vec::new(),
                    };
                    if !client.leads.is_empty() {
                        let leader = self.leaders.entry(result.generation);
                        let first = leader.or_insert_with(|| client.member_id.clone());
                        assert_eq!(*first, client.member_id, "two leaders of one generation");
                    }
                }
                Reply::Join(result) => {
                    client.generation = 0;
                    client.member_id = match result.error {
                        ErrorCode::MemberIdRequired => result.member_id.to_string(),
                        ErrorCode::RebalanceInProgress | ErrorCode::CoordinatorNotAvailable => {
                            continue;
                        }
                        _ => String::new(),
                    };
                }
                Reply::Sync(result) if result.error == ErrorCode::None => {
                    let key = (client.generation, client.member_id.clone());
                    let told = self
                        .assigned
                        .entry(key)
                        .or_insert(result.assignment.clone());
                    assert_eq!(
                        *told, result.assignment,
                        "an assignment changed in a generation"
                    );
                }
                Reply::Sync(_) => client.generation = 0,
                Reply::Commit(_) => {}
            }
        }
    }

    fn check(&self) {
        let group = &self.world.group;
        let members = group.members();
        let is_waiting = |t: &Ticket| self.world.asked.contains(t);
        for member in members.iter() {
            assert!(
                member.awaiting_join.iter().all(is_waiting),
                "waits for nothing"
            );
            assert!(
                member.awaiting_sync.iter().all(is_waiting),
                "waits for nothing"
            );
            if member.awaiting_join.is_none() && member.awaiting_sync.is_none() {
                assert!(
                    member.session_deadline_ms.is_some(),
                    "a silent member would never leave"
                );
            }
            if let Some(instance) = &member.group_instance_id {
                assert_eq!(members.of_instance(instance), Some(&member.member_id));
            }
        }
        assert!(
            members.leader().is_none_or(|l| members.has(l)),
            "the leader is no member"
        );
        assert_eq!(members.is_empty(), members.leader().is_none());
        match group.state() {
            GroupState::Stable | GroupState::CompletingRebalance => {
                assert!(!members.is_empty());
                // As in Kafka, static members that did not come back do not count.
                assert!(
                    members.len() <= 4 + members.static_len(),
                    "larger than it may be"
                );
                assert!(members.select_protocol().is_some());
            }
            GroupState::Empty => assert!(members.is_empty()),
            GroupState::PreparingRebalance => assert!(!self.world.armed.is_empty()),
            GroupState::Dead => unreachable!("nobody deletes it"),
        }
        let has_timer = members.next_deadline_ms().is_none_or(|d| {
            self.world
                .armed
                .iter()
                .any(|at| *at <= d.max(self.world.now.mono_ms))
        });
        assert!(has_timer, "a deadline without a timer");
    }

    /// Without faults everybody is answered and the group becomes stable again.
    fn heal(&mut self) {
        for client in &mut self.clients[4..] {
            *client = Client::default();
        }
        for _ in 0..400 {
            self.world.complete_appends();
            self.deliver();
            for n in 0..4 {
                let client = self.clients[n].clone();
                if client.waits.is_some() {
                    continue;
                }
                if client.generation == 0 {
                    let request = self
                        .world
                        .request(&client.member_id, client.instance.as_deref());
                    let ticket = self.world.join_with(&request);
                    self.clients[n].waits = Some(ticket);
                    continue;
                }
                let key = (client.generation, client.member_id.clone());
                let has_assignment = self.assigned.contains_key(&key);
                let beat = self.world.heartbeat(&client.member_id, client.generation);
                if beat != ErrorCode::None {
                    self.clients[n].generation = 0;
                } else if !has_assignment {
                    let parts: Vec<_> = client.leads.iter().map(|id| (&**id, "part")).collect();
                    let ticket = self
                        .world
                        .sync(&client.member_id, client.generation, &parts);
                    self.clients[n].waits = Some(ticket);
                }
            }
            self.deliver();
            self.check();
            self.world.advance(100);
        }
        self.world.complete_appends();
        let group = &self.world.group;
        assert_eq!(group.state(), GroupState::Stable);
        assert_eq!(group.members().len(), 4);
        assert_eq!(
            self.world.asked,
            BTreeSet::new(),
            "somebody was never answered"
        );
    }
}

fn simulate(seed: u64) {
    let run = std::panic::catch_unwind(|| {
        let mut simulation = Simulation::new(seed);
        for _ in 0..400 {
            simulation.step();
        }
        simulation.heal();
    });
    assert!(
        run.is_ok(),
        "seed {seed} fails: run `TANDEM_SEED={seed} cargo test -p broker simulated`"
    );
}

#[test]
fn simulated_groups_keep_their_invariants_and_heal() {
    let only = std::env::var("TANDEM_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let count = std::env::var("TANDEM_ROUNDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(150);
    match only {
        Some(seed) => simulate(seed),
        None => (0..count).for_each(simulate),
    }
}
