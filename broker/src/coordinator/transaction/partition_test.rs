//! The transactions of a partition against a plain model, from seeds: producers that compete for one id, appends that
//! fail or are lost with the broker, coordinators that move, markers that are lost, late or refused. Afterwards the
//! world heals, and then each write must have the one outcome that its producer was told.
//!
//! `TANDEM_SEED=<n>` runs one seed alone, `TANDEM_ROUNDS=<n>` that many.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use bytes::Bytes;

use super::*;
use crate::coordinator::transaction::last_words::orphaned;
use crate::coordinator::transaction::load::Loader;

const IDS: [&str; 3] = ["x", "y", "z"];
const TIMEOUT_MS: i32 = 1000;
const EXPIRATION_MS: i64 = 5000;

/// Random numbers that a seed decides (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// What a producer believes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// It has no producer id.
    New,
    /// It has one, and no transaction.
    Ready,
    /// It has a transaction.
    Open,
    /// It asked for the end of it, and has no answer yet.
    Ending(bool),
}

#[derive(Debug)]
struct Client {
    id: ByteString,
    identity: Option<ProducerIdentity>,
    phase: Phase,
    waits_for: Option<Ticket>,
    /// How many transactions it has begun.
    round: u32,
    added: BTreeSet<TopicPartition>,
}

/// Data that a producer wrote within a transaction.
#[derive(Debug)]
struct Written {
    at: TopicPartition,
    producer: ProducerIdentity,
    owner: (usize, u32),
    outcome: Option<bool>,
}

/// What a partition remembers of a producer id.
#[derive(Default)]
struct Known {
    epoch: i16,
    coordinator_epoch: i32,
}

struct World {
    random: Random,
    now_ms: i64,
    epoch: i32,
    machine: Option<TransactionPartition>,
    settings: Arc<TransactionSettings>,
    log: Vec<LogRecord>,
    /// How much of the log is replicated: never lost.
    safe: usize,
    /// Appends whose outcome is not known yet, with the end of the log after them.
    appends: VecDeque<(i32, usize, Stored)>,
    wire: Vec<Markers>,
    retries: Vec<(i32, ByteString)>,
    clients: Vec<Client>,
    written: Vec<Written>,
    /// What producers were told of the ends of their transactions.
    told: HashMap<(usize, u32), bool>,
    /// What they asked for.
    asked: HashMap<(usize, u32), bool>,
    known: HashMap<(TopicPartition, i64), Known>,
    /// All identities that were given out.
    given: BTreeSet<(i64, i16)>,
    next_id: i64,
    next_ticket: u64,
    is_healing: bool,
    /// Keys with a record in the log whose writer was told that it failed: the next one begins where that one did.
    contested: BTreeSet<Bytes>,
}

impl World {
    fn new(seed: u64) -> World {
        let client = |n: usize| Client {
            id: IDS[n % IDS.len()].into(),
            identity: None,
            phase: Phase::New,
            waits_for: None,
            round: 0,
            added: BTreeSet::new(),
        };
        let mut world = World {
            random: Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            now_ms: 1_000_000,
            epoch: 0,
            machine: None,
            settings: Arc::new(TransactionSettings {
                max_timeout_ms: TIMEOUT_MS,
                id_expiration_ms: EXPIRATION_MS,
            }),
            log: Vec::new(),
            safe: 0,
            appends: VecDeque::new(),
            wire: Vec::new(),
            retries: Vec::new(),
            clients: (0..6).map(client).collect(),
            written: Vec::new(),
            told: HashMap::new(),
            asked: HashMap::new(),
            known: HashMap::new(),
            given: BTreeSet::new(),
            next_id: 0,
            next_ticket: 0,
            is_healing: false,
            contested: BTreeSet::new(),
        };
        world.elect();
        world
    }

    /// A broker reads the log and coordinates from now on.
    fn elect(&mut self) {
        self.epoch += 1;
        let mut loader = Loader::default();
        for record in &self.log {
            loader
                .record(record.key.clone(), record.value.clone())
                .unwrap();
        }
        let mut effects = Effects::new();
        let settings = Arc::clone(&self.settings);
        let transactions = loader.finish();
        let machine = TransactionPartition::loaded(
            0,
            self.epoch,
            settings,
            transactions,
            self.now_ms,
            &mut effects,
        );
        self.machine = Some(machine);
        self.perform(effects);
    }

    /// The coordinator is gone; what was not replicated may be lost with it.
    fn crash(&mut self) {
        self.machine = None;
        let kept = self.safe + self.random.below(self.log.len() - self.safe + 1);
        self.log.truncate(kept);
        self.safe = kept;
        self.appends.clear();
        for client in &mut self.clients {
            client.waits_for = None;
        }
    }

    fn perform(&mut self, effects: Effects) {
        let mut queue = VecDeque::from(effects);
        while let Some(effect) = queue.pop_front() {
            match effect {
                Effect::Reply(ticket, reply) => self.replied(ticket, reply),
                Effect::SendMarkers { markers, .. } => self.wire.push(markers),
                Effect::RetryCompletion(id) => self.retries.push((self.epoch, id)),
                Effect::Append { records, then, .. } => {
                    let is_refused = !self.is_healing && self.random.chance(4);
                    if is_refused {
                        let error = Err(ErrorCode::NotEnoughReplicas);
                        queue.extend(self.appended(self.epoch, then, error));
                        continue;
                    }
                    self.log.extend(records);
                    self.appends.push_back((self.epoch, self.log.len(), then));
                }
            }
        }
    }

    fn appended(&mut self, epoch: i32, then: Stored, outcome: Result<(), ErrorCode>) -> Effects {
        let mut effects = Effects::new();
        match &mut self.machine {
            Some(machine) if machine.coordinator_epoch() == epoch => {
                machine.appended(then, outcome, self.now_ms, &mut effects);
            }
            _ => orphaned(&then, outcome, ErrorCode::NotCoordinator, &mut effects),
        }
        effects
    }

    fn replicate(&mut self) {
        let Some((epoch, end, then)) = self.appends.pop_front() else {
            return;
        };
        self.safe = self.safe.max(end);
        // The record may be there though its writer was told that it took too long.
        let is_late = !self.is_healing && self.random.chance(4);
        if is_late {
            self.contested.insert(self.log[end - 1].key.clone());
        }
        let outcome = if is_late {
            Err(ErrorCode::RequestTimedOut)
        } else {
            Ok(())
        };
        let effects = self.appended(epoch, then, outcome);
        self.perform(effects);
    }

    fn replied(&mut self, ticket: Ticket, reply: Reply) {
        let Some(n) = self
            .clients
            .iter()
            .position(|c| c.waits_for == Some(ticket))
        else {
            return;
        };
        let client = &mut self.clients[n];
        client.waits_for = None;
        match (client.phase, reply) {
            (_, Reply::Init(Ok(identity))) => {
                assert!(
                    self.given.insert((identity.id, identity.epoch)),
                    "{identity:?} was given out twice"
                );
                client.identity = Some(identity);
                client.phase = Phase::Ready;
                client.added.clear();
            }
            (_, Reply::Init(Err(_))) => {}
            (Phase::Ready | Phase::Open, Reply::Done(ErrorCode::None)) => {
                if client.phase == Phase::Ready {
                    client.phase = Phase::Open;
                }
            }
            (Phase::Ending(commit), Reply::Done(ErrorCode::None)) => {
                self.told.insert((n, client.round), commit);
                client.phase = Phase::Ready;
                client.round += 1;
                client.added.clear();
            }
            (
                _,
                Reply::Done(
                    ErrorCode::ConcurrentTransactions
                    | ErrorCode::CoordinatorNotAvailable
                    | ErrorCode::NotCoordinator,
                ),
            ) => {}
            // Fenced, or the like: it starts anew.
            (_, Reply::Done(_)) => {
                client.phase = Phase::New;
                client.identity = None;
                client.round += 1;
                client.added.clear();
            }
        }
    }

    fn step(&mut self) {
        self.now_ms += 1 + self.random.below(30) as i64;
        match self.random.below(100) {
            0..=44 => self.client_step(),
            45..=64 => self.replicate(),
            65..=84 => self.deliver(),
            85..=89 => self.retry(),
            90..=93 => self.with_machine(|m, now, e| m.abort_timed_out(now, e)),
            94 => self.with_machine(|m, now, e| m.expire(now, 200, e)),
            95 => self.now_ms += 700,
            96 if self.random.chance(20) => self.now_ms += EXPIRATION_MS,
            97 | 98 => {
                self.crash();
                self.elect();
            }
            _ => {}
        }
    }

    fn with_machine(&mut self, act: impl FnOnce(&mut TransactionPartition, i64, &mut Effects)) {
        let mut effects = Effects::new();
        if let Some(machine) = &mut self.machine {
            act(machine, self.now_ms, &mut effects);
        }
        self.perform(effects);
    }

    fn retry(&mut self) {
        let Some((epoch, id)) = self.retries.pop() else {
            return;
        };
        if epoch == self.epoch {
            self.with_machine(|machine, _, effects| machine.retry_completion(&id, effects));
        }
    }

    fn ticket(&mut self, n: usize) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.clients[n].waits_for = Some(ticket);
        ticket
    }

    fn client_step(&mut self) {
        let n = self.random.below(self.clients.len());
        if self.clients[n].waits_for.is_some() {
            if self.random.chance(5) {
                // It gives up waiting, and asks again.
                self.clients[n].waits_for = None;
            }
            return;
        }
        let (id, identity) = (self.clients[n].id.clone(), self.clients[n].identity);
        match (self.clients[n].phase, identity) {
            (Phase::New, _) | (_, None) => {
                if !self.random.chance(30) {
                    return;
                }
                self.clients[n].round += 1;
                self.next_id += 1;
                let (fresh, ticket) = (self.next_id, self.ticket(n));
                let request = InitRequest {
                    transactional_id: id,
                    timeout_ms: TIMEOUT_MS,
                    expected: None,
                };
                self.with_machine(|machine, now, effects| {
                    machine.init_producer_id(&request, Some(fresh), ticket, now, effects);
                });
            }
            (Phase::Ready, Some(producer)) => self.add(n, producer),
            (Phase::Open, Some(producer)) => match self.random.below(4) {
                0 => self.add(n, producer),
                1 => self.write(n, producer),
                2 => self.end(n, producer),
                // It is replaced by another process with the same name.
                _ if self.random.chance(10) => {
                    self.clients[n].phase = Phase::New;
                    self.clients[n].identity = None;
                    self.clients[n].round += 1;
                }
                _ => self.write(n, producer),
            },
            (Phase::Ending(_), Some(producer)) => self.end(n, producer),
        }
    }

    fn add(&mut self, n: usize, producer: ProducerIdentity) {
        let partitions: BTreeSet<TopicPartition> = (0..1 + self.random.below(2))
            .map(|_| at(self.random.below(4)))
            .collect();
        self.clients[n].added.extend(partitions.iter().cloned());
        let request = AddRequest {
            transactional_id: self.clients[n].id.clone(),
            producer,
            partitions,
        };
        let ticket = self.ticket(n);
        self.with_machine(|machine, now, effects| {
            machine.add_partitions(&request, ticket, now, effects);
        });
    }

    /// A partition takes data if the coordinator says that it is in the transaction.
    fn write(&mut self, n: usize, producer: ProducerIdentity) {
        let Some(machine) = &self.machine else { return };
        let all: Vec<TopicPartition> = self.clients[n].added.iter().cloned().collect();
        if all.is_empty() {
            return;
        }
        let chosen = all[self.random.below(all.len())].clone();
        let request = AddRequest {
            transactional_id: self.clients[n].id.clone(),
            producer,
            partitions: BTreeSet::from([chosen.clone()]),
        };
        let verdict = machine.verify_partitions(&request);
        if verdict.is_ok_and(|all| all.iter().all(|(_, error)| *error == ErrorCode::None)) {
            let known = self.known.entry((chosen.clone(), producer.id)).or_default();
            if known.epoch > producer.epoch {
                return;
            }
            known.epoch = producer.epoch;
            let owner = (n, self.clients[n].round);
            self.written.push(Written {
                at: chosen,
                producer,
                owner,
                outcome: None,
            });
        }
    }

    fn end(&mut self, n: usize, producer: ProducerIdentity) {
        let commit = match self.clients[n].phase {
            Phase::Ending(commit) => commit,
            _ => self.random.chance(60),
        };
        self.clients[n].phase = Phase::Ending(commit);
        let owner = (n, self.clients[n].round);
        self.asked.insert(owner, commit);
        let request = EndRequest {
            transactional_id: self.clients[n].id.clone(),
            producer,
            commit,
        };
        let ticket = self.ticket(n);
        self.with_machine(|machine, now, effects| machine.end(&request, ticket, now, effects));
    }

    /// One request with markers arrives, or is lost, or its answer is.
    fn deliver(&mut self) {
        if self.wire.is_empty() {
            return;
        }
        let place = match self.is_healing {
            true => 0,
            false => self.random.below(self.wire.len()),
        };
        let markers = self.wire.remove(place);
        let is_lost = !self.is_healing && self.random.chance(10);
        let is_answer_lost = !self.is_healing && self.random.chance(10);
        if is_lost || is_answer_lost {
            if is_answer_lost {
                self.apply(&markers);
            }
            if self
                .machine
                .as_mut()
                .is_some_and(|machine| machine.awaits(&markers))
            {
                self.wire.push(markers);
            }
            return;
        }
        let answers = self.apply(&markers);
        self.with_machine(|machine, _, effects| {
            machine.markers_answered(&markers, &answers, effects);
        });
    }

    fn apply(&mut self, markers: &Markers) -> Vec<(TopicPartition, ErrorCode)> {
        let mut answers = Vec::new();
        for partition in &markers.partitions {
            if !self.is_healing && self.random.chance(10) {
                answers.push((partition.clone(), ErrorCode::NotLeaderOrFollower));
                continue;
            }
            let key = (partition.clone(), markers.producer.id);
            let known = self.known.entry(key).or_default();
            let error = if markers.producer.epoch < known.epoch {
                ErrorCode::InvalidProducerEpoch
            } else if markers.coordinator_epoch < known.coordinator_epoch {
                ErrorCode::TransactionCoordinatorFenced
            } else {
                known.epoch = markers.producer.epoch;
                known.coordinator_epoch = markers.coordinator_epoch;
                for written in &mut self.written {
                    let is_open = written.outcome.is_none()
                        && written.at == *partition
                        && written.producer.id == markers.producer.id;
                    if is_open {
                        written.outcome = Some(markers.commit);
                    }
                }
                ErrorCode::None
            };
            answers.push((partition.clone(), error));
        }
        answers
    }

    /// Nothing fails any more, and time passes, until nothing is left to do.
    fn heal(&mut self) {
        self.is_healing = true;
        self.crash();
        self.elect();
        for _ in 0..4 {
            self.now_ms += i64::from(TIMEOUT_MS) + 1;
            self.with_machine(|machine, now, effects| machine.abort_timed_out(now, effects));
            while !(self.appends.is_empty() && self.wire.is_empty() && self.retries.is_empty()) {
                self.replicate();
                self.deliver();
                self.retry();
            }
        }
        for client in &mut self.clients {
            client.phase = Phase::New;
            client.identity = None;
            client.round += 1;
            client.waits_for = None;
        }
        self.is_healing = false;
    }

    fn check(&self) {
        let machine = self.machine.as_ref().unwrap();
        for id in IDS {
            let Some(transaction) = machine.transaction(id) else {
                continue;
            };
            assert!(
                transaction.state.may_expire(),
                "{id} is still {transaction:?}"
            );
            assert_eq!(transaction.pending, None, "{id}");
        }
        let mut outcomes: BTreeMap<(usize, u32), bool> = BTreeMap::new();
        for written in &self.written {
            let outcome = written
                .outcome
                .unwrap_or_else(|| panic!("open for ever: {written:?}"));
            let first = *outcomes.entry(written.owner).or_insert(outcome);
            assert_eq!(first, outcome, "one transaction, two outcomes: {written:?}");
            match self.told.get(&written.owner) {
                Some(told) => assert_eq!(
                    *told, outcome,
                    "its producer was told otherwise: {written:?}"
                ),
                None => assert!(
                    !outcome || self.asked.get(&written.owner) == Some(&true),
                    "nobody asked for this commit: {written:?}"
                ),
            }
        }
        self.check_log();
    }

    /// What was written to the log is what another broker would have to follow.
    fn check_log(&self) {
        let mut last: HashMap<Bytes, (i64, i16)> = HashMap::new();
        for record in &self.log {
            let Some(value) = record.value.clone() else {
                last.remove(&record.key);
                continue;
            };
            let transaction =
                crate::coordinator::transaction::records::decode_value(value).unwrap();
            let producer = (transaction.producer_id, transaction.epoch);
            if self.contested.contains(&record.key) {
                continue;
            }
            if let Some(before) = last.insert(record.key.clone(), producer) {
                assert!(before <= producer, "{before:?} before {producer:?}");
            }
        }
    }
}

fn at(partition: usize) -> TopicPartition {
    TopicPartition {
        topic: "t".into(),
        partition: partition as i32,
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn each_write_has_the_one_outcome_that_its_producer_was_told() {
    let seeds = match number("TANDEM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..1 + number("TANDEM_ROUNDS").unwrap_or(300),
    };
    let (mut commits, mut aborts) = (0, 0);
    let rounds = usize::try_from(seeds.end - seeds.start).unwrap();
    for seed in seeds {
        let result = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            for _ in 0..3 {
                for _ in 0..400 {
                    world.step();
                }
                world.heal();
                world.check();
            }
            let committed = world
                .written
                .iter()
                .filter(|w| w.outcome == Some(true))
                .count();
            (committed, world.written.len() - committed)
        });
        let Ok((committed, aborted)) = result else {
            panic!("failed; run again with TANDEM_SEED={seed}");
        };
        commits += committed;
        aborts += aborted;
    }
    // So that the test does not come to test nothing.
    if number("TANDEM_SEED").is_none() {
        assert!(
            commits > rounds / 3 && aborts > rounds / 3,
            "{commits} commits, {aborts} aborts"
        );
    }
}
