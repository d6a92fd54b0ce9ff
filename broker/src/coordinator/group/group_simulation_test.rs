//! Simulations: clients that join, sync, beat, leave, fall silent and return in a random order, with appends that
//! succeed, fail or are late, checked after every step. A failing run names its seed.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kafka_wire::error_code::ErrorCode;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{World, protocols};
use crate::coordinator::group::group::GroupState;
use crate::coordinator::group::message::Reply;
use crate::coordinator::waiting::Ticket;

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
