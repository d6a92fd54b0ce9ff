//! Pure: the phases of partitions and the election of their leaders
//! (`controller/PartitionStateMachine.scala`, and the elections of `KafkaController.scala`).

use std::collections::{BTreeMap, BTreeSet};

use crate::controller::context::PartitionPhase;
use crate::controller::effects::{ElectionFailure, ElectionKind, Question, Token};
use crate::controller::election::{self, Strategy};
use crate::controller::machine::{Machine, Step, Waiting};
use crate::zk::znodes::{LeaderAndIsr, NO_LEADER, PartitionState, StateWrite, TopicPartition};

impl Machine {
    pub(super) fn start_partitions(&mut self) {
        for partition in self.context.all_partitions().collect::<Vec<_>>() {
            let phase = match self.context.leadership.get(&partition) {
                None => PartitionPhase::New,
                Some(known)
                    if self
                        .context
                        .is_replica_online(known.leader_and_isr.leader, &partition) =>
                {
                    PartitionPhase::Online
                }
                Some(_) => PartitionPhase::Offline,
            };
            self.context.partition_phases.insert(partition, phase);
        }
        self.then([Step::TriggerOnline(None)]);
    }

    pub(super) fn trigger_online(&mut self, topic: Option<&str>) {
        let mut partitions = self.context.partitions_without_leader();
        partitions.retain(|partition| {
            topic.is_none_or(|topic| partition.topic == topic)
                && !self.context.is_queued_for_deletion(&partition.topic)
        });
        let strategy = Strategy::Offline {
            allow_unclean: false,
        };
        self.then([Step::PartitionsOnline(partitions, strategy)]);
    }

    /// The partitions that may go to the phase; the others are logged.
    fn allowed(
        &self,
        partitions: Vec<TopicPartition>,
        target: PartitionPhase,
    ) -> Vec<TopicPartition> {
        let may = |partition: &TopicPartition| {
            let from = self.context.partition_phase(partition);
            if !from.may_become(target) {
                tracing::error!(%partition, ?from, ?target, "illegal change of partition");
            }
            from.may_become(target)
        };
        partitions.into_iter().filter(may).collect()
    }

    pub(super) fn move_partitions(&mut self, partitions: &[TopicPartition], phase: PartitionPhase) {
        for partition in self.allowed(partitions.to_vec(), phase) {
            self.context.partition_phases.insert(partition, phase);
        }
    }

    pub(super) fn bring_online(&mut self, partitions: Vec<TopicPartition>, strategy: Strategy) {
        if partitions.is_empty() {
            return;
        }
        let allowed = self.allowed(partitions, PartitionPhase::Online);
        let (new, old): (Vec<_>, Vec<_>) = allowed
            .into_iter()
            .partition(|tp| self.context.partition_phase(tp) == PartitionPhase::New);
        self.then([Step::Elect(old, strategy), Step::Flush]);
        self.create_states(new);
    }

    /// The first live replica leads a new partition; all live ones are in sync.
    fn create_states(&mut self, partitions: Vec<TopicPartition>) {
        let mut states = Vec::new();
        for partition in partitions {
            let replicas = self.context.replicas(&partition).iter().copied();
            let live: Vec<i32> = replicas
                .filter(|id| self.context.is_replica_online(*id, &partition))
                .collect();
            let Some(leader) = live.first().copied() else {
                tracing::error!(%partition, "no assigned replica is alive, partition has no leader");
                continue;
            };
            let leader_and_isr = LeaderAndIsr {
                leader,
                leader_epoch: 0,
                isr: live,
                recovering: false,
                partition_epoch: 0,
            };
            let controller_epoch = self.context.epoch;
            states.push((
                partition,
                PartitionState {
                    leader_and_isr,
                    controller_epoch,
                },
            ));
        }
        if !states.is_empty() {
            self.ask(
                Question::CreateStates(states.clone()),
                Waiting::Creating(states),
            );
        }
    }

    pub(super) fn states_created(
        &mut self,
        states: Vec<(TopicPartition, PartitionState)>,
        results: Vec<StateWrite>,
    ) {
        for ((partition, state), result) in states.into_iter().zip(results) {
            match result {
                StateWrite::Written(version) => {
                    let isr = state.leader_and_isr.isr.clone();
                    self.remember(&partition, state.leader_and_isr, version);
                    self.batch
                        .add_leader_and_isr(&self.context, &isr, &partition, true);
                    self.context
                        .partition_phases
                        .insert(partition, PartitionPhase::Online);
                }
                failed => tracing::error!(%partition, ?failed, "cannot create partition state"),
            }
        }
    }

    pub(super) fn elect(&mut self, partitions: Vec<TopicPartition>, strategy: Strategy) {
        if partitions.is_empty() {
            return;
        }
        if strategy
            == (Strategy::Offline {
                allow_unclean: false,
            })
        {
            let without_isr = partitions.iter().filter(|tp| !self.has_live_in_sync(tp));
            let topics: BTreeSet<String> = without_isr.map(|tp| tp.topic.clone()).collect();
            if !topics.is_empty() {
                let waiting = Waiting::Unclean(partitions, strategy);
                self.ask(Question::UncleanTopics(topics), waiting);
                return;
            }
        }
        self.elect_with(partitions, strategy, &BTreeSet::new());
    }

    fn has_live_in_sync(&self, partition: &TopicPartition) -> bool {
        self.context.leadership.get(partition).is_some_and(|known| {
            let isr = &known.leader_and_isr.isr;
            isr.iter()
                .any(|id| self.context.is_replica_online(*id, partition))
        })
    }

    pub(super) fn elect_with(
        &mut self,
        partitions: Vec<TopicPartition>,
        strategy: Strategy,
        unclean_topics: &BTreeSet<String>,
    ) {
        let asked_for = strategy
            == (Strategy::Offline {
                allow_unclean: true,
            });
        let mut updates = Vec::new();
        for partition in partitions {
            let unclean = asked_for || unclean_topics.contains(&partition.topic);
            let known = self.context.leadership.get(&partition);
            let elected = known.and_then(|known| {
                let current = &known.leader_and_isr;
                election::elect(&self.context, &partition, current, strategy, unclean)
            });
            match elected {
                Some(elected) => updates.push((partition, elected.state, elected.recipients)),
                None => {
                    let why = format!("failed to elect leader for partition {partition}");
                    tracing::error!(%partition, ?strategy, "no replica may become leader");
                    let failure = ElectionFailure::NoEligibleLeader(why);
                    self.elections.insert(partition, Err(failure));
                }
            }
        }
        if !updates.is_empty() {
            let states = updates
                .iter()
                .map(|(tp, state, _)| (tp.clone(), state.clone()))
                .collect();
            self.ask(
                Question::UpdateStates(states),
                Waiting::Electing(updates, strategy),
            );
        }
    }

    pub(super) fn leaders_written(
        &mut self,
        states: Vec<(TopicPartition, LeaderAndIsr, Vec<i32>)>,
        results: Vec<StateWrite>,
        strategy: Strategy,
    ) {
        let mut again = Vec::new();
        for ((partition, state, recipients), result) in states.into_iter().zip(results) {
            let failure = match result {
                StateWrite::Written(version) => {
                    tracing::info!(%partition, leader = state.leader, epoch = state.leader_epoch,
                        isr = ?state.isr, ?strategy, "elected leader");
                    self.elections.insert(partition.clone(), Ok(state.leader));
                    self.remember(&partition, state, version);
                    self.batch
                        .add_leader_and_isr(&self.context, &recipients, &partition, false);
                    self.context
                        .partition_phases
                        .insert(partition, PartitionPhase::Online);
                    continue;
                }
                StateWrite::Conflict(Some(current)) => {
                    if self.adopt(&partition, current) {
                        again.push(partition);
                        continue;
                    }
                    let why = format!("state of {partition} was written by a newer controller");
                    ElectionFailure::NoEligibleLeader(why)
                }
                StateWrite::Conflict(None) => {
                    let why = format!("partition {partition} has no state in ZooKeeper");
                    ElectionFailure::NoEligibleLeader(why)
                }
                StateWrite::Failed(why) => ElectionFailure::Store(why),
            };
            tracing::error!(%partition, ?failure, "cannot elect leader");
            self.elections.insert(partition, Err(failure));
        }
        self.then([Step::Elect(again, strategy)]);
    }

    /// Partitions of a request for preferred leaders that still need one.
    pub(super) fn pending_preferred(&self, wanted: Vec<TopicPartition>) -> Vec<TopicPartition> {
        let pending = |partition: &TopicPartition| {
            let head = self.context.replicas(partition).first();
            let leader = self
                .context
                .leadership
                .get(partition)
                .map(|s| s.leader_and_isr.leader);
            head.is_some()
                && leader.is_some_and(|leader| Some(&leader) != head)
                && !self.context.is_queued_for_deletion(&partition.topic)
        };
        wanted.into_iter().filter(pending).collect()
    }

    pub(super) fn preferred_election_requested(&mut self, wanted: Vec<TopicPartition>) {
        let partitions = self.pending_preferred(wanted);
        self.then([
            Step::PartitionsOnline(partitions, Strategy::Preferred),
            Step::RemovePreferredElection,
        ]);
    }

    pub(super) fn elect_leaders(
        &mut self,
        partitions: Option<Vec<TopicPartition>>,
        kind: ElectionKind,
        token: Token,
    ) {
        let all = partitions.is_none();
        let partitions = partitions.unwrap_or_else(|| self.context.all_partitions().collect());
        let mut results = BTreeMap::new();
        let mut electable = Vec::new();
        for partition in partitions {
            let failure = if self.context.assignment(&partition).is_none() {
                ElectionFailure::UnknownPartition
            } else if self.context.is_queued_for_deletion(&partition.topic) {
                ElectionFailure::TopicDeleted
            } else if self.needs_leader(&partition, kind) {
                electable.push(partition);
                continue;
            } else if all {
                // Who asks for everything is not told of what was fine.
                continue;
            } else {
                ElectionFailure::NotNeeded
            };
            results.insert(partition, Err(failure));
        }
        let strategy = match kind {
            ElectionKind::Preferred => Strategy::Preferred,
            ElectionKind::Unclean => Strategy::Offline {
                allow_unclean: true,
            },
        };
        self.then([
            Step::PartitionsOnline(electable, strategy),
            Step::AnswerElections(token, results),
        ]);
    }

    fn needs_leader(&self, partition: &TopicPartition, kind: ElectionKind) -> bool {
        let known = self.context.leadership.get(partition);
        let leader = known.map_or(NO_LEADER, |known| known.leader_and_isr.leader);
        match kind {
            ElectionKind::Preferred => self.context.replicas(partition).first() != Some(&leader),
            ElectionKind::Unclean => leader == NO_LEADER || !self.context.is_live(leader),
        }
    }

    /// Gives brokers back the partitions that they should lead, if they miss too many of them.
    pub(super) fn rebalance(&mut self) {
        let mut preferred: BTreeMap<i32, (usize, Vec<TopicPartition>)> = BTreeMap::new();
        for partition in self.context.all_partitions() {
            let Some(head) = self.context.replicas(&partition).first().copied() else {
                continue;
            };
            if self.context.is_queued_for_deletion(&partition.topic) {
                continue;
            }
            let (count, missing) = preferred.entry(head).or_default();
            *count += 1;
            let known = self.context.leadership.get(&partition);
            if known.is_some_and(|known| known.leader_and_isr.leader != head) {
                missing.push(partition);
            }
        }
        let threshold = self.settings.leader_imbalance_percentage;
        let mut candidates = Vec::new();
        for (head, (count, missing)) in preferred {
            // missing / count > threshold / 100, without fractions.
            if (missing.len() * 100) as u64 > (count as u64) * u64::from(threshold.unsigned_abs()) {
                let in_sync = |tp: &TopicPartition| {
                    let known = self.context.leadership.get(tp);
                    known.is_some_and(|known| known.leader_and_isr.isr.contains(&head))
                        && self.context.is_replica_online(head, tp)
                };
                candidates.extend(missing.into_iter().filter(in_sync));
            }
        }
        if !candidates.is_empty() {
            tracing::info!(partitions = candidates.len(), "electing preferred leaders");
            self.then([Step::PartitionsOnline(candidates, Strategy::Preferred)]);
        }
    }
}
