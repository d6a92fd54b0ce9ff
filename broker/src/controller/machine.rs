//! Pure: the controller as a machine: an event goes in, effects come out
//! (`controller/KafkaController.scala`).
//!
//! An event becomes a list of [`Step`]s. A step changes the context, adds to the request batch, puts
//! further steps in front of the list, or asks something of `ZooKeeper`: then the machine stops, its
//! last effect is [`Effect::Ask`], and [`Machine::answer`] goes on where it stopped. Nothing else may
//! be handed in meanwhile, so that all of one event is done before the next, as on Kafka's one
//! controller thread.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::controller::alter_partition::PendingAlter;
use crate::controller::context::{
    ControllerContext, LiveBroker, PartitionPhase, Replica, ReplicaPhase,
};
use crate::controller::effects::{
    Answer, Effect, ElectionFailure, Event, Found, Question, Reply, Token,
};
use crate::controller::election::Strategy;
use crate::controller::request_batch::RequestBatch;
use crate::zk::znodes::{LeaderAndIsr, PartitionState, TopicAssignment, TopicPartition};

/// What the machine must know of its broker.
#[derive(Debug, Clone)]
pub struct Settings {
    /// This broker's id.
    pub broker_id: i32,
    /// The listener that brokers reach each other on.
    pub inter_broker_listener: String,
    /// `delete.topic.enable`.
    pub delete_topic_enable: bool,
    /// `leader.imbalance.per.broker.percentage`.
    pub leader_imbalance_percentage: i32,
}

/// One piece of work.
#[derive(Debug)]
pub(super) enum Step {
    /// Move partitions to a phase other than online.
    Partitions(Vec<TopicPartition>, PartitionPhase),
    /// Move partitions online: create the state of new ones, elect a leader for others.
    PartitionsOnline(Vec<TopicPartition>, Strategy),
    /// Try again for partitions without a leader, of one topic or of all.
    TriggerOnline(Option<String>),
    /// Elect leaders.
    Elect(Vec<TopicPartition>, Strategy),
    /// Move replicas to a phase.
    Replicas(Vec<Replica>, ReplicaPhase),
    /// Take a broker out of the ISR of partitions whose replica there went offline.
    RemoveFromIsr(i32, Vec<TopicPartition>),
    /// Send what the batch holds.
    Flush,
    /// Send metadata to some brokers.
    Metadata(Vec<i32>, Vec<TopicPartition>),
    /// Send metadata to all brokers.
    MetadataToAll(Vec<TopicPartition>),
    /// Give all replicas their first phase.
    StartReplicas,
    /// Give all partitions their first phase.
    StartPartitions,
    /// Brokers appeared.
    BrokerStartup(Vec<LiveBroker>),
    /// Brokers disappeared.
    BrokerFailure(Vec<i32>),
    /// Replicas went offline.
    ReplicasOffline(Vec<Replica>),
    /// If no request went to the brokers about new leaders, tell them at least who is alive.
    MetadataUnlessElected,
    /// New partitions get leaders.
    NewPartitions(Vec<TopicPartition>),
    /// See which deletions can go on.
    ResumeDeletions,
    /// Delete a topic whose replicas are all gone.
    FinishDeletion(String),
    /// Forget a deleted topic.
    ForgetTopic(String),
    /// Stop and delete the replicas of topics.
    DeleteReplicas(Vec<String>),
    /// Replicas could not be deleted.
    DeletionFailed(Vec<Replica>),
    /// Remove the request for preferred leaders.
    RemovePreferredElection,
    /// Tell a broker which partitions it still leads.
    AnswerShutdown(i32, Token),
    /// Tell an administrator the outcome of elections.
    AnswerElections(
        Token,
        BTreeMap<TopicPartition, Result<i32, ElectionFailure>>,
    ),
}

/// What the machine does with the answer it waits for.
#[derive(Debug)]
pub(super) enum Waiting {
    /// State nodes are being created.
    Creating(Vec<(TopicPartition, PartitionState)>),
    /// The topics that allow unclean elections are being looked up.
    Unclean(Vec<TopicPartition>, Strategy),
    /// New leaders are being written; each with the brokers to tell.
    Electing(Vec<(TopicPartition, LeaderAndIsr, Vec<i32>)>, Strategy),
    /// ISRs without a broker are being written.
    Shrinking(i32, Vec<(TopicPartition, LeaderAndIsr)>),
    /// ISRs that a leader asked for are being written.
    Altering(PendingAlter),
    /// Something is being done that has no result.
    Nothing,
}

/// The controller's state and its work in progress.
#[derive(Debug)]
pub struct Machine {
    pub(super) settings: Settings,
    pub(super) context: ControllerContext,
    pub(super) batch: RequestBatch,
    pub(super) steps: VecDeque<Step>,
    pub(super) effects: Vec<Effect>,
    pub(super) waiting: Option<Waiting>,
    /// Outcome of the elections of the event in progress.
    pub(super) elections: BTreeMap<TopicPartition, Result<i32, ElectionFailure>>,
}

impl Machine {
    /// A controller of the given generation; `epoch_zk_version` is the version of
    /// `/controller_epoch` that made it one.
    #[must_use]
    pub fn new(settings: Settings, epoch: i32, epoch_zk_version: i32) -> Self {
        let context = ControllerContext::new(epoch, epoch_zk_version);
        Self {
            settings,
            context,
            batch: RequestBatch::default(),
            steps: VecDeque::new(),
            effects: Vec::new(),
            waiting: None,
            elections: BTreeMap::new(),
        }
    }

    /// What the controller knows.
    #[must_use]
    pub fn context(&self) -> &ControllerContext {
        &self.context
    }

    /// Whether the machine waits for an answer.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Takes an event; must not be called while the machine waits for an answer.
    #[must_use]
    pub fn handle(&mut self, event: Event) -> Vec<Effect> {
        self.elections.clear();
        match event {
            Event::Elected(found) => self.elected(*found),
            Event::Brokers(brokers) => self.brokers_changed(brokers),
            Event::BrokerModified(broker) => self.broker_modified(broker),
            Event::Topics { all, added } => self.topics_changed(&all, added),
            Event::AssignmentModified { topic, assignment } => {
                self.assignment_modified(&topic, assignment);
            }
            Event::Deletions(topics) => self.deletions_requested(topics),
            Event::LogDirFailures(brokers) => {
                let replicas = self.context.replicas_on(&brokers);
                self.then([Step::Replicas(replicas, ReplicaPhase::Online)]);
            }
            Event::StatesChanged(states) => self.states_changed(states),
            Event::PreferredElectionRequested(partitions) => {
                self.preferred_election_requested(partitions);
            }
            Event::ControlledShutdown {
                broker,
                epoch,
                token,
            } => {
                self.controlled_shutdown(broker, epoch, token);
            }
            Event::AlterPartition {
                request,
                version,
                token,
            } => {
                self.alter_partition(&request, version, token);
            }
            Event::ElectLeaders {
                partitions,
                kind,
                token,
            } => {
                self.elect_leaders(partitions, kind, token);
            }
            Event::Rebalance => self.rebalance(),
            Event::UncleanAllowed(topic) => self.then([Step::TriggerOnline(topic)]),
            Event::LeaderAndIsrAnswered {
                broker,
                epoch,
                response,
            } => {
                if self.is_current(broker, epoch) {
                    self.leader_and_isr_answered(broker, &response);
                }
            }
            Event::UpdateMetadataAnswered { broker, error_code } => {
                if error_code != 0 {
                    tracing::error!(broker, error_code, "broker refused UpdateMetadata");
                }
            }
            Event::StopReplicaAnswered {
                broker,
                epoch,
                deleted,
                response,
            } => {
                if self.is_current(broker, epoch) {
                    self.stop_replica_answered(broker, &deleted, &response);
                }
            }
        }
        self.run()
    }

    /// Takes the answer to the last [`Effect::Ask`].
    #[must_use]
    pub fn answer(&mut self, answer: Answer) -> Vec<Effect> {
        match (self.waiting.take(), answer) {
            (Some(Waiting::Creating(states)), Answer::States(results)) => {
                self.states_created(states, results);
            }
            (Some(Waiting::Unclean(partitions, strategy)), Answer::UncleanTopics(topics)) => {
                self.elect_with(partitions, strategy, &topics);
            }
            (Some(Waiting::Electing(states, strategy)), Answer::States(results)) => {
                self.leaders_written(states, results, strategy);
            }
            (Some(Waiting::Shrinking(broker, states)), Answer::States(results)) => {
                self.isr_shrunk(broker, states, results);
            }
            (Some(Waiting::Altering(pending)), Answer::States(results)) => {
                self.partitions_altered(pending, results);
            }
            (Some(Waiting::Nothing), _) => {}
            (waiting, answer) => tracing::error!(?waiting, ?answer, "unexpected answer"),
        }
        self.run()
    }

    /// Works until there is nothing to do or something to wait for.
    fn run(&mut self) -> Vec<Effect> {
        while self.waiting.is_none() {
            let Some(step) = self.steps.pop_front() else {
                break;
            };
            self.step(step);
        }
        std::mem::take(&mut self.effects)
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Partitions(partitions, phase) => self.move_partitions(&partitions, phase),
            Step::PartitionsOnline(partitions, strategy) => self.bring_online(partitions, strategy),
            Step::TriggerOnline(topic) => self.trigger_online(topic.as_deref()),
            Step::Elect(partitions, strategy) => self.elect(partitions, strategy),
            Step::Replicas(replicas, phase) => self.move_replicas(replicas, phase),
            Step::RemoveFromIsr(broker, partitions) => self.remove_from_isr(broker, partitions),
            Step::Flush => self.flush(),
            Step::Metadata(brokers, partitions) => {
                self.batch
                    .add_metadata(&self.context, &brokers, &partitions);
                self.flush();
            }
            Step::MetadataToAll(partitions) => {
                self.batch
                    .add_metadata(&self.context, &self.context.registered_ids(), &partitions);
                self.flush();
            }
            Step::StartReplicas => self.start_replicas(),
            Step::StartPartitions => self.start_partitions(),
            Step::BrokerStartup(brokers) => self.broker_startup(brokers),
            Step::BrokerFailure(brokers) => self.broker_failure(&brokers),
            Step::ReplicasOffline(replicas) => self.replicas_offline(replicas),
            Step::MetadataUnlessElected => {
                if self.elections.values().all(Result::is_err) {
                    self.then([Step::MetadataToAll(Vec::new())]);
                }
            }
            Step::NewPartitions(partitions) => self.new_partitions(partitions),
            Step::ResumeDeletions => self.resume_deletions(),
            Step::FinishDeletion(topic) => self.finish_deletion(topic),
            Step::ForgetTopic(topic) => self.context.remove_topic(&topic),
            Step::DeleteReplicas(topics) => self.delete_replicas(&topics),
            Step::DeletionFailed(replicas) => self.deletion_failed(replicas),
            Step::RemovePreferredElection => {
                self.ask(Question::RemovePreferredElection, Waiting::Nothing);
            }
            Step::AnswerShutdown(broker, token) => {
                let remaining = self.context.partitions_led_by(broker);
                self.reply(token, Reply::ControlledShutdown(Ok(remaining)));
            }
            Step::AnswerElections(token, mut results) => {
                results.extend(std::mem::take(&mut self.elections));
                self.reply(token, Reply::Elections(results));
            }
        }
    }

    /// Puts steps in front of all others, the first one first.
    pub(super) fn then<const N: usize>(&mut self, steps: [Step; N]) {
        for step in steps.into_iter().rev() {
            self.steps.push_front(step);
        }
    }

    pub(super) fn ask(&mut self, question: Question, waiting: Waiting) {
        self.effects.push(Effect::Ask(question));
        self.waiting = Some(waiting);
    }

    pub(super) fn reply(&mut self, token: Token, reply: Reply) {
        self.effects.push(Effect::Reply { token, reply });
    }

    pub(super) fn flush(&mut self) {
        let Settings {
            broker_id,
            inter_broker_listener,
            ..
        } = &self.settings;
        let requests = self
            .batch
            .take(&self.context, *broker_id, inter_broker_listener);
        self.effects.extend(requests);
    }

    /// Whether a broker that was asked under `epoch` is still the same process: what an earlier one
    /// said of its disks and logs no longer counts.
    fn is_current(&self, broker: i32, epoch: i64) -> bool {
        self.context
            .brokers
            .get(&broker)
            .is_some_and(|known| known.epoch == epoch)
    }

    /// Remembers the state of a partition as written by this controller with the version `version`.
    pub(super) fn remember(
        &mut self,
        partition: &TopicPartition,
        state: LeaderAndIsr,
        version: i32,
    ) {
        let leader_and_isr = LeaderAndIsr {
            partition_epoch: version,
            ..state
        };
        let controller_epoch = self.context.epoch;
        self.context.leadership.insert(
            partition.clone(),
            PartitionState {
                leader_and_isr,
                controller_epoch,
            },
        );
    }

    /// Takes over the state that somebody else wrote; says whether this controller may go on with
    /// the partition.
    pub(super) fn adopt(&mut self, partition: &TopicPartition, state: PartitionState) -> bool {
        if state.controller_epoch > self.context.epoch {
            tracing::error!(%partition, by = state.controller_epoch, own = self.context.epoch,
                "state was written by a newer controller");
            return false;
        }
        self.context.leadership.insert(partition.clone(), state);
        true
    }

    fn elected(&mut self, found: Found) {
        for broker in &found.brokers {
            self.effects.push(Effect::OpenChannel(broker.clone()));
        }
        self.context.brokers = found
            .brokers
            .into_iter()
            .map(|broker| (broker.registration.id, broker))
            .collect();
        for (topic, assignment) in found.topics {
            self.context.insert_topic(&topic, assignment);
        }
        for (partition, state) in found.states {
            self.context.leadership.insert(partition, state);
        }
        let preferred = found
            .preferred_election
            .map(|wanted| self.pending_preferred(wanted));
        let registered = self.context.registered_ids();
        // Brokers must know each other before they can follow anyone.
        self.then([
            Step::Metadata(registered, Vec::new()),
            Step::StartReplicas,
            Step::StartPartitions,
            Step::ResumeDeletions,
        ]);
        self.adopt_deletions(found.deletions);
        if let Some(partitions) = preferred {
            self.steps
                .push_back(Step::PartitionsOnline(partitions, Strategy::Preferred));
            self.steps.push_back(Step::RemovePreferredElection);
        }
    }

    fn topics_changed(&mut self, all: &BTreeSet<String>, added: BTreeMap<String, TopicAssignment>) {
        let known = self.context.topics.keys().cloned();
        for gone in known
            .filter(|topic| !all.contains(topic))
            .collect::<Vec<_>>()
        {
            tracing::info!(topic = gone, "topic is gone");
            self.context.remove_topic(&gone);
        }
        let mut partitions = Vec::new();
        for (topic, assignment) in added {
            tracing::info!(topic, partitions = assignment.partitions.len(), "new topic");
            self.context.insert_topic(&topic, assignment);
            partitions.extend(self.context.topic_partitions(&topic));
        }
        self.then([Step::NewPartitions(partitions)]);
    }

    fn new_partitions(&mut self, partitions: Vec<TopicPartition>) {
        let replicas = self.context.partition_replicas(&partitions);
        self.then([
            Step::Partitions(partitions.clone(), PartitionPhase::New),
            Step::Replicas(replicas.clone(), ReplicaPhase::New),
            Step::PartitionsOnline(
                partitions,
                Strategy::Offline {
                    allow_unclean: false,
                },
            ),
            Step::Replicas(replicas, ReplicaPhase::Online),
        ]);
    }

    fn assignment_modified(&mut self, topic: &str, assignment: TopicAssignment) {
        let Some(known) = self.context.topics.get(topic) else {
            return;
        };
        let is_new = |p: &i32| {
            known
                .partitions
                .get(p)
                .is_none_or(|a| a.replicas.is_empty())
        };
        let added: Vec<i32> = assignment
            .partitions
            .keys()
            .copied()
            .filter(|partition| is_new(partition))
            .collect();
        if added.is_empty() {
            return;
        }
        if self.context.is_queued_for_deletion(topic) {
            tracing::warn!(
                topic,
                ?added,
                "topic is being deleted, takes no new partitions"
            );
            let question = Question::WriteAssignment(topic.to_string(), known.clone());
            self.ask(question, Waiting::Nothing);
            return;
        }
        tracing::info!(topic, ?added, "new partitions");
        if let Some(known) = self.context.topics.get_mut(topic) {
            for partition in &added {
                let replicas = assignment
                    .partitions
                    .get(partition)
                    .cloned()
                    .unwrap_or_default();
                known.partitions.insert(*partition, replicas);
            }
        }
        let partitions = added
            .iter()
            .map(|p| TopicPartition::new(topic, *p))
            .collect();
        self.then([Step::NewPartitions(partitions)]);
    }

    fn states_changed(&mut self, states: Vec<(TopicPartition, PartitionState)>) {
        let partitions: Vec<_> = states
            .iter()
            .map(|(partition, _)| partition.clone())
            .collect();
        for (partition, state) in states {
            self.context.leadership.insert(partition, state);
        }
        if !partitions.is_empty() {
            self.then([Step::MetadataToAll(partitions)]);
        }
    }
}

#[cfg(test)]
#[path = "machine_test.rs"]
mod tests;
