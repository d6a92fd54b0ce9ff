//! Pure: the phases of replicas (`controller/ReplicaStateMachine.scala`), answers of brokers about
//! them, and controlled shutdown (`KafkaController.scala`).

use std::collections::{BTreeMap, BTreeSet};

use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::leader_and_isr::LeaderAndIsrResponse;

use crate::controller::context::{Replica, ReplicaPhase};
use crate::controller::effects::{Question, Reply, Token};
use crate::controller::election::Strategy;
use crate::controller::machine::{Machine, Step, Waiting};
use crate::zk::znodes::{LeaderAndIsr, NO_LEADER, StateWrite, TopicPartition};

impl Machine {
    pub(super) fn start_replicas(&mut self) {
        let all: Vec<_> = self.context.all_partitions().collect();
        let (online, offline): (Vec<_>, Vec<_>) = self
            .context
            .partition_replicas(&all)
            .into_iter()
            .partition(|r| self.context.is_replica_online(r.broker, &r.partition));
        for replica in &online {
            self.context
                .replica_phases
                .insert(replica.clone(), ReplicaPhase::Online);
        }
        for replica in &offline {
            self.context
                .replica_phases
                .insert(replica.clone(), ReplicaPhase::DeletionIneligible);
        }
        self.then([
            Step::Replicas(online, ReplicaPhase::Online),
            Step::Replicas(offline, ReplicaPhase::Offline),
        ]);
    }

    pub(super) fn move_replicas(&mut self, replicas: Vec<Replica>, target: ReplicaPhase) {
        if replicas.is_empty() {
            return;
        }
        let mut by_broker: BTreeMap<i32, Vec<Replica>> = BTreeMap::new();
        for replica in replicas {
            let from = self.context.replica_phase(&replica);
            if from.may_become(target) {
                by_broker.entry(replica.broker).or_default().push(replica);
            } else {
                tracing::error!(partition = %replica.partition, broker = replica.broker, ?from,
                    ?target, "illegal change of replica");
            }
        }
        self.then([Step::Flush]);
        // Each broker's steps go in front of the last; the order among brokers does not matter.
        for (broker, replicas) in by_broker {
            self.move_replicas_of(broker, replicas, target);
        }
    }

    fn move_replicas_of(&mut self, broker: i32, replicas: Vec<Replica>, target: ReplicaPhase) {
        match target {
            ReplicaPhase::New => replicas.iter().for_each(|replica| self.start_new(replica)),
            ReplicaPhase::Online => replicas.iter().for_each(|replica| self.bring_up(replica)),
            ReplicaPhase::Offline => self.take_down(broker, &replicas),
            ReplicaPhase::DeletionStarted => {
                for replica in replicas {
                    self.batch
                        .add_stop(&self.context, broker, &replica.partition, true);
                    self.context.replica_phases.insert(replica, target);
                }
            }
            ReplicaPhase::DeletionIneligible | ReplicaPhase::DeletionSuccessful => {
                for replica in replicas {
                    self.context.replica_phases.insert(replica, target);
                }
            }
            ReplicaPhase::NonExistent => {
                for replica in replicas {
                    self.forget_replica(&replica);
                }
            }
        }
    }

    fn start_new(&mut self, replica: &Replica) {
        if let Some(known) = self.context.leadership.get(&replica.partition) {
            if known.leader_and_isr.leader == replica.broker {
                tracing::error!(partition = %replica.partition, broker = replica.broker,
                    "replica leads and cannot be new");
                return;
            }
            let brokers = [replica.broker];
            self.batch
                .add_leader_and_isr(&self.context, &brokers, &replica.partition, true);
        }
        self.context
            .replica_phases
            .insert(replica.clone(), ReplicaPhase::New);
    }

    fn bring_up(&mut self, replica: &Replica) {
        if self.context.replica_phase(replica) != ReplicaPhase::New {
            let brokers = [replica.broker];
            self.batch
                .add_leader_and_isr(&self.context, &brokers, &replica.partition, false);
        }
        self.context
            .replica_phases
            .insert(replica.clone(), ReplicaPhase::Online);
    }

    fn take_down(&mut self, broker: i32, replicas: &[Replica]) {
        let mut led = Vec::new();
        for replica in replicas {
            let partition = &replica.partition;
            self.batch.add_stop(&self.context, broker, partition, false);
            if self.context.leadership.contains_key(partition) {
                led.push(partition.clone());
            } else {
                let everyone = self.context.registered_ids();
                let partitions = std::slice::from_ref(partition);
                self.batch
                    .add_metadata(&self.context, &everyone, partitions);
                self.context
                    .replica_phases
                    .insert(replica.clone(), ReplicaPhase::Offline);
            }
        }
        self.then([Step::RemoveFromIsr(broker, led)]);
    }

    fn forget_replica(&mut self, replica: &Replica) {
        let Replica { partition, broker } = replica;
        let topic = self.context.topics.get_mut(&partition.topic);
        if let Some(found) = topic.and_then(|t| t.partitions.get_mut(&partition.partition)) {
            found.replicas.retain(|id| id != broker);
            found.adding.retain(|id| id != broker);
            found.removing.retain(|id| id != broker);
        }
        self.context.replica_phases.remove(replica);
    }

    /// Writes ISRs without the broker; the last member of an ISR stays in it.
    pub(super) fn remove_from_isr(&mut self, broker: i32, partitions: Vec<TopicPartition>) {
        let mut updates = Vec::new();
        for partition in partitions {
            let Some(known) = self.context.leadership.get(&partition) else {
                continue;
            };
            let current = &known.leader_and_isr;
            if !current.isr.contains(&broker) {
                let (state, version) = (current.clone(), current.partition_epoch);
                self.remember(&partition, state, version);
                self.replica_is_offline(broker, &partition);
                continue;
            }
            let leader = if current.leader == broker {
                NO_LEADER
            } else {
                current.leader
            };
            let isr = match current.isr.as_slice() {
                [_] => current.isr.clone(),
                isr => isr.iter().copied().filter(|id| *id != broker).collect(),
            };
            let leader_epoch = current.leader_epoch + 1;
            let state = LeaderAndIsr {
                leader,
                leader_epoch,
                isr,
                ..current.clone()
            };
            updates.push((partition, state));
        }
        if !updates.is_empty() {
            let question = Question::UpdateStates(updates.clone());
            self.ask(question, Waiting::Shrinking(broker, updates));
        }
    }

    pub(super) fn isr_shrunk(
        &mut self,
        broker: i32,
        states: Vec<(TopicPartition, LeaderAndIsr)>,
        results: Vec<StateWrite>,
    ) {
        let mut again = Vec::new();
        for ((partition, state), result) in states.into_iter().zip(results) {
            match result {
                StateWrite::Written(version) => {
                    self.remember(&partition, state, version);
                    self.replica_is_offline(broker, &partition);
                }
                StateWrite::Conflict(Some(current)) => {
                    if self.adopt(&partition, current) {
                        again.push(partition);
                    }
                }
                StateWrite::Conflict(None)
                    if self.context.is_queued_for_deletion(&partition.topic) => {}
                failed => {
                    tracing::error!(%partition, broker, ?failed, "cannot take replica offline");
                }
            }
        }
        self.then([Step::RemoveFromIsr(broker, again)]);
    }

    fn replica_is_offline(&mut self, broker: i32, partition: &TopicPartition) {
        if !self.context.is_queued_for_deletion(&partition.topic) {
            let replicas = self.context.replicas(partition).iter().copied();
            let others: Vec<i32> = replicas.filter(|id| *id != broker).collect();
            self.batch
                .add_leader_and_isr(&self.context, &others, partition, false);
        }
        let replica = Replica {
            partition: partition.clone(),
            broker,
        };
        self.context
            .replica_phases
            .insert(replica, ReplicaPhase::Offline);
    }

    /// A broker that cannot use a log directory says so for each partition in it.
    pub(super) fn leader_and_isr_answered(&mut self, broker: i32, response: &LeaderAndIsrResponse) {
        if response.error_code != 0 {
            let error_code = response.error_code;
            tracing::error!(broker, error_code, "broker refused LeaderAndIsr");
            return;
        }
        let mut failed = BTreeSet::new();
        let mut fine = BTreeSet::new();
        for topic in &response.topics {
            let Some(name) = self.context.topic_name(topic.topic_id) else {
                continue;
            };
            for partition in &topic.partition_errors {
                let tp = TopicPartition::new(name, partition.partition_index);
                match partition.error_code {
                    code if code == ErrorCode::KafkaStorageError.code() => failed.insert(tp),
                    0 => fine.insert(tp),
                    _ => false,
                };
            }
        }
        let known = self.context.offline_dirs.entry(broker).or_default();
        known.retain(|partition| !fine.contains(partition));
        let new: Vec<_> = failed
            .into_iter()
            .filter(|tp| known.insert(tp.clone()))
            .collect();
        if !new.is_empty() {
            tracing::info!(broker, partitions = ?new, "replicas are on failed log directories");
            let replicas = new
                .into_iter()
                .map(|partition| Replica { partition, broker })
                .collect();
            self.then([Step::ReplicasOffline(replicas)]);
        }
    }

    pub(super) fn controlled_shutdown(&mut self, broker: i32, epoch: i64, token: Token) {
        let known = self.context.brokers.get(&broker).map(|known| known.epoch);
        let refused = match known {
            None if epoch == -1 => Some(ErrorCode::BrokerNotAvailable),
            None => Some(ErrorCode::UnknownServerError),
            Some(current) if epoch != -1 && epoch < current => Some(ErrorCode::StaleBrokerEpoch),
            Some(_) => None,
        };
        if let Some(code) = refused {
            tracing::info!(broker, epoch, ?known, "refused controlled shutdown");
            self.reply(token, Reply::ControlledShutdown(Err(code.code())));
            return;
        }
        tracing::info!(broker, "shutting down broker");
        self.context.shutting_down.insert(broker);
        let mut led = Vec::new();
        let mut followed = Vec::new();
        for replica in self.context.replicas_on(&[broker]) {
            let partition = replica.partition;
            let Some(state) = self.context.leadership.get(&partition) else {
                continue;
            };
            if self.context.replicas(&partition).len() < 2
                || self.context.is_queued_for_deletion(&partition.topic)
            {
                continue;
            }
            if state.leader_and_isr.leader == broker {
                led.push(partition);
            } else {
                followed.push(Replica { partition, broker });
            }
        }
        self.then([
            Step::PartitionsOnline(led, Strategy::ControlledShutdown),
            // Taking the replicas offline tells the broker to stop them.
            Step::Replicas(followed, ReplicaPhase::Offline),
            Step::AnswerShutdown(broker, token),
        ]);
    }
}
